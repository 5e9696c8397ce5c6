import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import * as fs from 'node:fs';
import { type ProbeOptions, type ProbeResult, type ProbeWorld, probeWith } from '../../lib/api/probe.js';
import { encodeRecord, type LivenessRecord, RECORD_LENGTH } from '../../lib/core/liveness.js';
import { identityOf } from '../../lib/io/process-identity.js';
import { probe } from '../../lib/probe.js';
import { identity, NOW_MS, NOW_NS, recordOf, scratch, stopped, waiting } from '../support/liveness-records.js';

/** A record of this very process, written now. */
function own(changes: Partial<LivenessRecord> = {}): LivenessRecord {
  const stamps = { writtenAtMs: Date.now(), writtenMonoNs: String(process.hrtime.bigint()) };
  return recordOf({ writer: identityOf('own'), ...stamps, ...changes });
}

/** A world whose clocks move only by waiting, and in which each wait may do something. */
function world(
  afterMs: number,
  during: (wait: number) => void = () => undefined,
  slept = 0,
): ProbeWorld & { waits: number[] } {
  const waits: number[] = [];
  let mono = NOW_NS + BigInt(afterMs) * 1_000_000n;
  let wall = NOW_MS + afterMs;
  return {
    waits,
    nowMs: () => wall,
    monoNs: () => mono,
    async wait(ms) {
      waits.push(ms);
      mono += BigInt(ms) * 1_000_000n;
      wall += ms + (waits.length === 1 ? slept : 0);
      during(waits.length);
    },
    here: () => ({ host: 'mill', bootId: 'boot-h', pidNs: '4026531836', timeNs: '4026531834' }),
    writer: () => 'alive',
  };
}

async function verdictOf(options: ProbeOptions): Promise<string> {
  const { ok, verdict, why } = await probe(options);
  return `${ok} ${verdict}: ${why}`;
}

describe('probe', () => {
  it('finds a live writer alive', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('live'), encodeRecord(own()));
    const result = await probe({ file: dir.at('live') });
    assert.deepEqual([result.ok, result.verdict, result.cause, result.looks], [true, 'fresh', 'alive', 1]);
    assert.equal(result.record?.writer.pid, process.pid);
    assert.ok(result.ages !== undefined && result.ages.loopMs < 5000);
  });

  it('says what is at the path, whatever it is', async () => {
    using dir = scratch();
    fs.mkdirSync(dir.at('directory'));
    execFileSync('mkfifo', [dir.at('fifo')]);
    fs.writeFileSync(dir.at('real'), encodeRecord(own()));
    fs.symlinkSync(dir.at('real'), dir.at('link'));
    fs.writeFileSync(dir.at('empty'), '');
    fs.writeFileSync(dir.at('huge'), '');
    fs.truncateSync(dir.at('huge'), 2 ** 30);
    fs.writeFileSync(dir.at('torn'), encodeRecord(own()).slice(0, 2000));
    const cases = {
      nothing: 'missing: no such file',
      'real/live': 'missing: no such file',
      directory: 'corrupt: not a regular file',
      fifo: 'corrupt: not a regular file',
      link: 'corrupt: a symbolic link, which is never followed',
      empty: 'corrupt: empty',
      huge: 'corrupt: larger than 65536 bytes',
      torn: 'corrupt: no checksum at its end',
      ['x'.repeat(300)]: 'corrupt: cannot be read: ENAMETOOLONG',
      '\0': 'corrupt: cannot be read: ERR_INVALID_ARG_VALUE',
    };
    const found = await Promise.all(Object.keys(cases).map((name) => verdictOf({ file: dir.at(name) })));
    assert.deepEqual(
      found,
      Object.values(cases).map((text) => `false ${text}`),
    );
  });

  it('names a writer dead that was killed, at once, though its record is fresh and touched', async () => {
    using dir = scratch();
    const code = `
      import { LivenessFile } from ${JSON.stringify(new URL('../../lib/io/liveness-file.js', import.meta.url).href)};
      import { identityOf } from ${JSON.stringify(new URL('../../lib/io/process-identity.js', import.meta.url).href)};
      const options = { file: process.argv[1], intervalMs: 10000, identity: identityOf('child'), version: '0' };
      const file = new LivenessFile(options);
      const facts = ${JSON.stringify(waiting)};
      let told = false;
      for (;;) {
        await file.write(facts);
        if (!told) process.stdout.write('up');
        told = true;
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code, dir.at('live')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.ok(child.stdout !== null);
    await once(child.stdout, 'data');
    // It writes as fast as it can: no look may find half a record.
    for (let i = 0; i < 100; i += 1) {
      const alive = await probe({ file: dir.at('live') });
      assert.deepEqual([alive.ok, alive.verdict], [true, 'fresh'], alive.why);
    }
    child.kill('SIGKILL');
    await once(child, 'exit');
    fs.utimesSync(dir.at('live'), Math.ceil(Date.now() / 1000), Math.ceil(Date.now() / 1000));
    const dead = await probe({ file: dir.at('live'), confirmAfter: 60_000 });
    assert.deepEqual([dead.ok, dead.verdict, dead.looks], [false, 'dead-writer', 1]);
  });

  it('is not fooled by a reused pid', async () => {
    using dir = scratch();
    const self = identityOf('own');
    if (self.startToken === undefined) self.bootId = 'earlier';
    fs.writeFileSync(dir.at('live'), encodeRecord(own({ writer: { ...self, startToken: '1' } })));
    const { verdict } = await probe({ file: dir.at('live') });
    assert.equal(verdict, 'dead-writer');
  });

  it('reads again after 50 ms what was torn', async () => {
    using dir = scratch();
    const line = encodeRecord(recordOf());
    fs.writeFileSync(dir.at('live'), line.slice(0, 100).padEnd(RECORD_LENGTH));
    const w = world(0, () => fs.writeFileSync(dir.at('live'), line));
    const { ok, looks } = await probeWith({ file: dir.at('live') }, w);
    assert.deepEqual([ok, looks, w.waits], [true, 1, [50]]);
  });

  async function twice(options: Omit<ProbeOptions, 'file'>, w: ProbeWorld, first = recordOf()): Promise<ProbeResult> {
    using dir = scratch();
    current = dir.at('live');
    fs.writeFileSync(current, encodeRecord(first));
    // Awaited here: the directory is gone once this returns.
    return await probeWith({ file: current, ...options }, w);
  }
  let current = '';
  const beat = (changes: Partial<LivenessRecord> = {}): void =>
    fs.writeFileSync(current, encodeRecord(recordOf({ seq: 13, ...changes })));

  it('looks once unless asked, and no more than needed', async () => {
    for (const [options, after, looks] of [
      [{}, 41_000, 1],
      [{ confirmAfter: 5000 }, 1000, 1],
      [{ confirmAfter: 5000 }, 41_000, 2],
      [{ confirmAfter: 0 }, 41_000, 2],
    ] as const) {
      const w = world(after);
      const result = await twice(options, w);
      assert.deepEqual([result.ok, result.looks, w.waits.length], [after === 1000, looks, looks - 1]);
    }
  });

  it('finds a host that woke up alive at the second look', async () => {
    // The monotonic clock of macOS counts sleep: the record looks eight hours old.
    const w = world(28_800_000, () => beat());
    const { ok, verdict, looks, ages } = await twice({ confirmAfter: 5000 }, w);
    assert.deepEqual([ok, verdict, looks, ages?.loopMs, w.waits], [true, 'fresh', 2, 5000, [5000]]);
  });

  it('gives a host one interval and 15 s where the clocks say that it slept', async () => {
    const w = { ...world(41_000), nowMs: () => NOW_MS + 28_800_000 };
    const { ok, looks } = await twice({ confirmAfter: 5000 }, w);
    assert.deepEqual([ok, looks, w.waits], [false, 2, [25_000]]);
  });

  it('looks a third time when its own wait was slept through', async () => {
    const w = world(41_000, (wait) => (wait === 2 ? beat() : undefined), 3_600_000);
    const { ok, looks } = await twice({ confirmAfter: 5000 }, w);
    assert.deepEqual([ok, looks, w.waits], [true, 3, [5000, 25_000]]);
  });

  it('lets a link come back, and does not wait for one that stopped', async () => {
    const back = world(0, () => beat());
    assert.equal((await twice({ confirmAfter: 5000, maxDisconnected: 1000 }, back, recordOf(waiting))).ok, true);
    const over = await twice({ confirmAfter: 5000 }, world(0), recordOf(stopped));
    assert.deepEqual([over.ok, over.cause, over.looks], [false, 'stopped', 1]);
  });

  it('obeys a signal, before, during a read and during a wait', async () => {
    using dir = scratch();
    const reason = new Error('enough');
    await assert.rejects(probe({ file: dir.at('x'), signal: AbortSignal.abort(reason) }), reason);
    const early = new AbortController();
    const reading = probe({ file: dir.at('x'), signal: early.signal });
    early.abort(reason);
    await assert.rejects(reading, reason);
    const late = new AbortController();
    fs.writeFileSync(dir.at('x'), encodeRecord(own({ writtenAtMs: 0, writtenMonoNs: 0, writer: identity })));
    const asked = probe({ file: dir.at('x'), confirmAfter: 60_000, signal: late.signal });
    setImmediate(() => late.abort(reason));
    await assert.rejects(asked, reason);
  });

  it('leaves nothing on a signal that did not abort', async () => {
    const { signal } = new AbortController();
    await probe({ file: '/nowhere/live', confirmAfter: 1, signal });
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  it('refuses wrong options, and only those', async () => {
    for (const wrong of [
      { file: '' },
      { file: 'x', maxAge: -1 },
      { file: 'x', maxDisconnected: Number.NaN },
      { file: 'x', confirmAfter: 2 ** 31 },
    ]) {
      await assert.rejects(probe(wrong), TypeError);
    }
    assert.equal((await probe({ file: '/nowhere/at/all', maxAge: Number.POSITIVE_INFINITY })).verdict, 'missing');
  });
});
