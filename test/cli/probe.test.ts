import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseFlags, probeCommand } from '../../lib/cli/probe.js';
import { encodeRecord, type LivenessRecord } from '../../lib/core/liveness.js';
import { identityOf } from '../../lib/io/process-identity.js';
import { recordOf, scratch, stopped, waiting } from '../support/liveness-records.js';

interface Ran {
  code: number;
  out: string;
  err: string;
}

async function run(...argv: string[]): Promise<Ran> {
  const ran = { out: '', err: '' };
  const stdout = { write: (text: string) => (ran.out += text) };
  const stderr = { write: (text: string) => (ran.err += text) };
  return { code: await probeCommand(argv, { stdout, stderr }), ...ran };
}

/** A record of this process whose every time is shifted to now. */
function own(changes: Partial<LivenessRecord> = {}): string {
  const shift = Date.now() - recordOf().writtenAtMs;
  const base = recordOf({ ...changes, writer: identityOf('own'), writtenMonoNs: String(process.hrtime.bigint()) });
  const shifted = Object.entries(base).map(([key, value]) => [
    key,
    key.endsWith('AtMs') || key.endsWith('SinceMs') ? Number(value) + shift : value,
  ]);
  return encodeRecord(Object.fromEntries(shifted));
}

const entry = fileURLToPath(new URL('../../lib/cli/probe.js', import.meta.url));

describe('holdfast probe', () => {
  it('exits 0 for a live client with one line for people', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('live'), own(waiting));
    const { code, out, err } = await run('--file', dir.at('live'));
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /^alive: fresh: waiting \(outage\), attempt 7, disconnected for 1m 40s\n$/);
  });

  it('exits 1 for one that is not, and says why', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('live'), own(waiting));
    const cases: [string[], RegExp][] = [
      [['--file', dir.at('none')], /^not alive: missing: no such file\n$/],
      [['--file', dir.at('live'), '--max-age', '0s', '--confirm-after=1ms'], /^not alive: stale: /],
      [
        [`--file=${dir.at('live')}`, '--max-disconnected=10s'],
        /^not alive: fresh: disconnected for 1m 40s, more than 10s;/,
      ],
    ];
    for (const [argv, expected] of cases) {
      const { code, out } = await run(...argv);
      assert.equal(code, 1);
      assert.match(out, expected);
    }
  });

  it('takes blocked for alive unless told otherwise', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('live'), own({ ...waiting, state: 'blocked', awaiting: 'openclaw devices approve d-1' }));
    assert.equal((await run('--file', dir.at('live'), '--max-disconnected', '1s')).code, 0);
    const strict = await run('--file', dir.at('live'), '--fail-when-blocked');
    assert.equal(strict.code, 1);
    assert.match(strict.out, /openclaw devices approve d-1/);
  });

  it('prints one line of JSON for programs', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('live'), own(stopped));
    const { code, out } = await run('--json', '--file', dir.at('live'));
    assert.equal(out.split('\n').length, 2);
    const line = JSON.parse(out);
    const { ok, cause, state, attempt, exit, exitCode } = line;
    assert.deepEqual(
      { ok, cause, state, attempt, exit, exitCode },
      { ok: false, cause: 'stopped', state: 'stopped', attempt: 7, exit: stopped.exit, exitCode: 1 },
    );
    assert.deepEqual([code, line.writer.pid], [1, process.pid]);
    const missing = JSON.parse((await run('--file', dir.at('none'), '--json')).out);
    assert.deepEqual(missing, {
      ...{ ok: false, verdict: 'missing', cause: 'missing', why: 'no such file' },
      ...{ file: dir.at('none'), looks: 1, exitCode: 1 },
    });
  });

  it('exits 2 when asked wrongly, and names the flag', async () => {
    const cases: [string[], RegExp][] = [
      [[], /--file is required/],
      [['--file'], /--file needs a value/],
      [['--file='], /--file needs a value/],
      [['--file', '--json'], /--file needs a value/],
      [['--file', 'f', '--verbose'], /unknown flag --verbose/],
      [['--file', 'f', '--watch'], /unknown flag --watch/],
      [['--file', 'f', '--__proto__'], /unknown flag --__proto__/],
      [['--file', 'f', '--json=yes'], /--json takes no value/],
      [['--file', 'f', '--max-age', '45'], /--max-age: "45" is not a duration: write it like 500ms, 45s, 10m or 2h/],
    ];
    for (const [argv, expected] of cases) {
      const { code, out, err } = await run(...argv);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, expected);
    }
  });

  it('does not echo a word that may be a secret', async () => {
    const { code, err } = await run('--file', 'f', 'sk-secret');
    assert.equal(code, 2);
    assert.ok(!err.includes('sk-secret'));
  });

  it('explains itself', async () => {
    for (const flag of ['--help', '-h']) {
      const { code, out } = await run('--file', 'f', flag);
      assert.equal(code, 0);
      for (const word of [
        '--file',
        '--max-age',
        '--max-disconnected',
        '--confirm-after',
        '--fail-when-blocked',
        '--json',
        'Exit code: 0 alive, 1 not alive, 2 asked wrongly',
      ]) {
        assert.ok(out.includes(word), word);
      }
    }
    assert.equal(parseFlags(['--file', '0'], ['--file']).kind, 'flags');
  });

  it('writes to the real outputs', () => {
    const code = `import { directIo, probeCommand } from ${JSON.stringify(entry)};
      process.exitCode = await probeCommand(process.argv.slice(1), directIo);`;
    const node = (...argv: string[]): SpawnSyncReturns<string> =>
      spawnSync(process.execPath, ['--input-type=module', '-e', code, '--', ...argv], { encoding: 'utf8' });
    const missing = node('--file', '/nowhere/live');
    assert.deepEqual([missing.status, missing.stdout, missing.stderr], [1, 'not alive: missing: no such file\n', '']);
    const wrong = node('--fil');
    assert.deepEqual([wrong.status, wrong.stdout], [2, '']);
    assert.match(wrong.stderr, /unknown flag --fil\n/);
  });

  it('loads nothing but the judge and Node', () => {
    const seen = new Set<string>();
    const walk = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const [, from = ''] of fs.readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
        if (from.startsWith('.')) walk(fileURLToPath(new URL(from, `file://${file}`)));
        else assert.match(from, /^node:(fs\/promises|os)$/, `${file} imports ${from}`);
      }
    };
    walk(entry);
    assert.ok(seen.size <= 7, [...seen].join('\n'));
  });

  it('does not hang on a FIFO', async () => {
    using dir = scratch();
    execFileSync('mkfifo', [dir.at('fifo')]);
    const { code, out } = await run('--file', dir.at('fifo'));
    assert.deepEqual([code, out], [1, 'not alive: corrupt: not a regular file\n']);
  });
});
