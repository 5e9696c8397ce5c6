import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { type ProbeResult, type ProbeWorld, probeWith } from '../../lib/api/probe.js';
import { type StatusWorld, statusCommand } from '../../lib/cli/status.js';
import { encodeRecord, type LivenessRecord } from '../../lib/core/liveness.js';
import { NOW_MS, NOW_NS, recordOf, scratch, stopped, waiting } from '../support/liveness-records.js';

class Sink {
  out = '';
  err = '';
  readonly stdout: { write(text: string): void; isTTY: boolean };
  readonly stderr: { write(text: string): void };

  constructor(isTTY: boolean) {
    this.stdout = {
      write: (text) => {
        this.out += text;
      },
      isTTY,
    };
    this.stderr = {
      write: (text) => {
        this.err += text;
      },
    };
  }
}

function sink(isTTY: boolean = false): Sink {
  return new Sink(isTTY);
}

/** Looks at the file as it stands, `afterMs` after the record. */
function at(afterMs: number): (options: { file: string }) => Promise<ProbeResult> {
  const w: ProbeWorld = {
    nowMs: () => NOW_MS + 86_400_000,
    monoNs: () => NOW_NS + BigInt(afterMs) * 1_000_000n,
    wait: async () => undefined,
    here: () => ({ host: 'mill', bootId: 'boot-h', pidNs: '4026531836', timeNs: '4026531834' }),
    writer: () => 'alive',
  };
  return (options) => probeWith(options, w);
}

async function show(record: LivenessRecord, ...flags: string[]): Promise<{ code: number; out: string }> {
  using dir = scratch();
  fs.writeFileSync(dir.at('live'), encodeRecord(record));
  const io = sink();
  const code = await statusCommand(['--file', dir.at('live'), ...flags], io, {
    probe: at(1000),
    pause: async () => undefined,
  });
  return { code, out: io.out };
}

/** Watches through the given records, one a second, and ends by abort. */
async function watch(
  records: readonly LivenessRecord[],
  isTTY: boolean,
  ...flags: string[]
): Promise<{ code: number; out: string }> {
  using dir = scratch();
  const io = sink(isTTY);
  const end = new AbortController();
  const rest = [...records];
  const next = (): void => {
    const record = rest.shift();
    if (record === undefined) end.abort();
    else fs.writeFileSync(dir.at('live'), encodeRecord(record));
  };
  const world: StatusWorld = {
    probe: at(1000),
    async pause(_ms, signal) {
      next();
      signal?.throwIfAborted();
    },
  };
  next();
  const code = await statusCommand(
    ['--file', dir.at('live'), '--watch', ...flags],
    { stdout: io.stdout, stderr: io.stderr, signal: end.signal },
    world,
  );
  return { code, out: io.out };
}

describe('holdfast status', () => {
  it('shows a client that waits, by the clock of its writer', async () => {
    const restart = { id: 'r-1', sinceMs: NOW_MS - 4000, expectedMs: 1500 };
    const { code, out } = await show(recordOf({ ...waiting, restart }));
    assert.equal(code, 0);
    assert.deepEqual(out.trimEnd().split('\n'), [
      'liveness    alive: fresh: waiting (outage), attempt 7, disconnected for 1m 41s',
      'state       waiting for 3s, since 2027-01-15T07:59:58.000Z',
      'next try    in 2s',
      'gives up    in 8m 19s',
      'restart     r-1, for 5s, expected to take 1.5s',
      'last error  ECONNREFUSED (outage) at tcp: connect ECONNREFUSED 127.0.0.1:18789',
      'gateway     2026.9.6, boot boot-g, connection c-1, protocol 4',
      'restarts    1 seen',
      'calls       1 in flight, 2 waiting, 3 retried, 0 of unknown outcome',
      'loop        1s ago, longest delay 12ms, last frame 2s ago',
      'writer      pid 7 on mill (alive), instance instance-1, holdfast 0.1.0',
    ]);
  });

  it('shows whom a blocked client waits for, and how one stopped', async () => {
    const blocked = await show(
      recordOf({ ...waiting, state: 'blocked', awaiting: 'openclaw devices approve d-1', nextAttemptAtMs: NOW_MS }),
    );
    assert.match(blocked.out, /awaiting {4}openclaw devices approve d-1\nnext try {4}now\n/);
    const over = await show(recordOf({ ...stopped, gateway: {} }));
    assert.equal(over.code, 1);
    assert.match(over.out, /stopped {5}gave up after 41 attempts in 10m \(outage\), exit code 75\n/);
    assert.doesNotMatch(over.out, /next try|gives up|gateway/);
    assert.equal((await show(recordOf({ stateSinceMs: Number.MAX_SAFE_INTEGER }))).code, 0);
  });

  it('prints the whole record as one line of JSON', async () => {
    const { out } = await show(recordOf(waiting), '--json');
    const { record, exitCode, writerState } = JSON.parse(out);
    assert.deepEqual([record, exitCode, writerState], [recordOf(waiting), 0, 'alive']);
  });

  it('exits 1 without a file and 2 when asked wrongly', async () => {
    const missing = sink();
    assert.equal(await statusCommand(['--file', '/nowhere/live'], missing), 1);
    assert.equal(missing.out, 'liveness    not alive: missing: no such file\n');
    for (const [argv, why] of [
      [['--watch'], '--file is required'],
      [['--file', 'f', '--max-age', '1s'], 'unknown flag --max-age'],
    ] as const) {
      const wrong = sink();
      assert.equal(await statusCommand(argv, wrong), 2);
      assert.ok(wrong.err.includes(why) && wrong.out === '');
    }
    const help = sink();
    assert.equal(await statusCommand(['--help'], help), 0);
    assert.match(help.out, /--watch/);
  });

  it('prints a line per change where there is no terminal', async () => {
    const records = [
      recordOf(),
      recordOf({ seq: 13 }),
      recordOf(waiting),
      recordOf({ ...waiting, loopLagMaxMs: 1 }),
      recordOf(stopped),
    ];
    const { code, out } = await watch(records, false);
    assert.equal(code, 1);
    assert.deepEqual(out.match(/^(not )?alive: fresh: [a-z]+/gm), [
      'alive: fresh: online',
      'alive: fresh: waiting',
      'not alive: fresh: gave',
    ]);
    const json = await watch(records, true, '--json');
    assert.equal(json.out.trimEnd().split('\n').length, 3);
  });

  it('redraws a terminal in place', async () => {
    const { code, out } = await watch([recordOf(), recordOf({ seq: 13 })], true);
    assert.equal(code, 0);
    const [first = '', second = ''] = out.split('\u001b[7A\u001b[J');
    assert.equal(first.split('\n').length, 8);
    assert.equal(second, first);
  });

  it('ends its wait at once when told to', async () => {
    const end = new AbortController();
    const io = sink();
    const watching = statusCommand(['--file', '/nowhere/live', '--watch'], {
      stdout: io.stdout,
      stderr: io.stderr,
      signal: end.signal,
    });
    setImmediate(() => end.abort());
    assert.equal(await watching, 1);
  });
});
