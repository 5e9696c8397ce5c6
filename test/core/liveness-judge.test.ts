import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  judge,
  type Limits,
  type LivenessRecord,
  type Observation,
  relation,
  type Verdict,
} from '../../lib/core/liveness.js';
import { identity, NOW_MS, NOW_NS, recordOf, stopped, waiting } from '../support/liveness-records.js';

const DAY_MS = 86_400_000;
const blocked: Partial<LivenessRecord> = {
  ...waiting,
  state: 'blocked',
  reason: 'pairing-required',
  awaiting: 'openclaw devices approve d-1',
  disconnectedSinceMs: NOW_MS - DAY_MS,
};

function ns(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6));
}

/** An observer in the place of the writer, `afterMs` after the record by both clocks. */
function seen(afterMs: number, changes: Partial<Observation> = {}): Observation {
  const { host, bootId = '', pidNs = '', timeNs = '' } = identity;
  return {
    nowMs: NOW_MS + afterMs,
    nowMonoNs: NOW_NS + ns(afterMs),
    writer: 'alive',
    host,
    bootId,
    pidNs,
    timeNs,
    ...changes,
  };
}

/** An observer that knows no boot id, so that only the wall clock is left. */
function wallOnly(afterMs: number, changes: Partial<Observation> = {}): Observation {
  return { nowMs: NOW_MS + afterMs, nowMonoNs: 1n, writer: 'unknown', host: identity.host, ...changes };
}

function expect(record: LivenessRecord, at: Observation, verdict: Verdict, cause: string, limits: Limits = {}): string {
  const judged = judge({ kind: 'record', record }, at, limits);
  assert.deepEqual([judged.verdict, judged.cause, judged.ok], [verdict, cause, cause === 'alive'], judged.why);
  return judged.why;
}

describe('liveness judge', () => {
  it('passes on what is not a record', () => {
    for (const kind of ['missing', 'corrupt'] as const) {
      const judged = judge({ kind, why: 'no such file' }, seen(0));
      assert.deepEqual(judged, { ok: false, verdict: kind, cause: kind, why: 'no such file', slept: false });
    }
  });

  it('is fresh up to four intervals and stale beyond', () => {
    expect(recordOf(), seen(40_000), 'fresh', 'alive');
    assert.match(expect(recordOf(), seen(40_001), 'stale', 'stale'), /40s old, more than 40s/);
    expect(recordOf(), seen(40_001), 'fresh', 'alive', { maxAge: 60_000 });
    expect(recordOf(), seen(1), 'stale', 'stale', { maxAge: 0 });
    expect(recordOf(), seen(0), 'fresh', 'alive', { maxAge: 0 });
  });

  it('gives loop age and link age apart', () => {
    const judged = judge({ kind: 'record', record: recordOf(waiting) }, seen(2500));
    assert.deepEqual(judged.ages, { loopMs: 2500, linkMs: 3500, disconnectedMs: 102_500 });
    assert.equal(judge({ kind: 'record', record: recordOf() }, seen(0)).ages?.disconnectedMs, undefined);
  });

  it('is green while reconnecting inside the limit', () => {
    assert.match(
      expect(recordOf(waiting), seen(500), 'fresh', 'alive'),
      /waiting \(outage\), attempt 7, disconnected for 1m 40s/,
    );
    expect(recordOf(waiting), seen(500), 'fresh', 'alive', { maxDisconnected: 101_000 });
    expect(recordOf(waiting), seen(1500), 'fresh', 'disconnected', { maxDisconnected: 101_000 });
    expect(recordOf(), seen(1500), 'fresh', 'alive', { maxDisconnected: 0 });
    const { disconnectedSinceMs: _, ...neverLost } = recordOf(waiting);
    expect(neverLost, seen(0), 'fresh', 'disconnected', { maxDisconnected: 1999 });
  });

  it('holds a client alive that waits for a human, unless told otherwise', () => {
    const why = expect(recordOf(blocked), seen(0), 'fresh', 'alive', { maxDisconnected: 1000 });
    assert.match(why, /blocked \(pairing-required\), attempt 7: openclaw devices approve d-1/);
    expect(recordOf(blocked), seen(0), 'fresh', 'blocked', { failWhenBlocked: true });
  });

  it('knows a client that stopped, whether its process is there or not', () => {
    const why = 'gave up after 41 attempts in 10m (outage), exit code 75';
    assert.equal(expect(recordOf(stopped), seen(0), 'fresh', 'stopped'), why);
    assert.equal(expect(recordOf(stopped), seen(DAY_MS), 'stale', 'stopped'), why);
    assert.equal(expect(recordOf(stopped), seen(0, { writer: 'dead' }), 'dead-writer', 'stopped'), why);
    const closed = recordOf({ state: 'stopped', exit: { code: 0, outcome: 'closed' } });
    assert.equal(expect(closed, seen(0), 'fresh', 'stopped'), 'closed by its owner, exit code 0');
  });

  it('names a dead writer at once, even if a backup touched the file', () => {
    const at = seen(10, { writer: 'dead', mtimeMs: NOW_MS + 10 });
    assert.match(expect(recordOf(), at, 'dead-writer', 'dead-writer'), /pid 7, is gone; last state: online/);
    expect(recordOf(), seen(10, { bootId: 'next-boot' }), 'dead-writer', 'dead-writer');
  });

  it('does not judge a stranger by its pid', () => {
    const elsewhere = [seen(0, { pidNs: '1' }), seen(0, { bootId: 'b', host: 'h' }), wallOnly(0, { host: 'h' })];
    for (const at of elsewhere) {
      assert.match(expect(recordOf(), { ...at, writer: 'dead' }, 'foreign-host', 'foreign-host'), /pid 7 on mill/);
      expect(recordOf(), at, 'fresh', 'alive', { allowForeign: true });
    }
    expect(recordOf(), seen(50_000, { pidNs: '1' }), 'stale', 'stale', { allowForeign: true });
  });

  it('places a writer', () => {
    const here = { host: 'mill', bootId: 'boot-h', pidNs: '4026531836' };
    assert.equal(relation(identity, here), 'same');
    // A laptop changes its name with the network.
    assert.equal(relation({ host: 'a', bootId: 'b' }, { host: 'z', bootId: 'b' }), 'same');
    assert.equal(relation({ host: 'a', bootId: 'b', pidNs: '1' }, { host: 'z', bootId: 'b' }), 'foreign');
    assert.equal(relation({ host: 'a', bootId: 'b', pidNs: '1' }, { host: 'a', bootId: 'b' }), 'same');
    assert.equal(relation({ host: 'a' }, { host: 'a', bootId: 'b' }), 'same');
  });

  it('asks the wall clock only where there is no other', () => {
    expect(recordOf(), wallOnly(39_000), 'fresh', 'alive');
    expect(recordOf(), wallOnly(41_000), 'stale', 'stale');
    expect(recordOf(), seen(41_000, { timeNs: '1' }), 'stale', 'stale');
  });

  it('takes small differences of clocks for zero and large ones for what they are', () => {
    expect(recordOf(), wallOnly(-5000), 'fresh', 'alive');
    expect(recordOf(), wallOnly(-5001), 'clock-skew', 'clock-skew');
    expect(recordOf(), wallOnly(-DAY_MS), 'clock-skew', 'clock-skew');
  });

  it('believes two looks more than any clock', () => {
    const previous = { instanceId: 'instance-1', seq: 11, monoNs: 1n };
    for (const off of [-DAY_MS, DAY_MS]) {
      const at = wallOnly(off, { nowMonoNs: ns(5000), previous });
      expect(recordOf(waiting), at, 'fresh', 'alive', { maxDisconnected: 110_000 });
      expect(
        recordOf(),
        { ...at, previous: { ...previous, seq: 12 } },
        off < 0 ? 'clock-skew' : 'stale',
        off < 0 ? 'clock-skew' : 'stale',
      );
      expect(
        recordOf({ seq: 99 }),
        { ...at, previous: { ...previous, instanceId: 'other' } },
        off < 0 ? 'clock-skew' : 'stale',
        off < 0 ? 'clock-skew' : 'stale',
      );
    }
  });

  it('counts the marked time of the file, and no other', () => {
    const marked = Math.floor((NOW_MS + 95_000) / 1000) * 1000;
    expect(recordOf(), seen(100_000, { mtimeMs: marked }), 'fresh', 'alive');
    expect(recordOf(), seen(100_000, { mtimeMs: marked + 123.4 }), 'stale', 'stale');
    expect(recordOf(), seen(200_000, { mtimeMs: marked }), 'stale', 'stale');
    expect(recordOf(), wallOnly(100_000, { mtimeMs: marked }), 'fresh', 'alive');
    // From the future: not ours.
    expect(recordOf(), seen(100_000, { mtimeMs: marked + DAY_MS }), 'stale', 'stale');
    // The text is older than the sign of life: time without a link goes on.
    const at = seen(100_000, { mtimeMs: marked });
    assert.deepEqual(judge({ kind: 'record', record: recordOf(waiting) }, at).ages?.disconnectedMs, 200_000);
    const previous = { instanceId: 'instance-1', seq: 12, mtimeMs: marked - 10_000, monoNs: 1n };
    expect(recordOf(), wallOnly(DAY_MS, { nowMonoNs: ns(5000), mtimeMs: marked, previous }), 'fresh', 'alive');
  });

  it('sees a machine that stands still under a loop that turns', () => {
    const due = { ...waiting, nextAttemptAtMs: NOW_MS - 40_001 };
    assert.match(expect(recordOf(due), seen(0), 'stale', 'stalled'), /next attempt was due 40s before/);
    expect(recordOf({ ...due, state: 'blocked' }), seen(0), 'stale', 'stalled');
    expect(recordOf({ ...waiting, nextAttemptAtMs: NOW_MS - 40_000 }), seen(0), 'fresh', 'alive');
    assert.match(
      expect(recordOf({ ...waiting, giveUpAtMs: NOW_MS - 50_000 }), seen(0), 'stale', 'stalled'),
      /given up 50s before/,
    );
    expect(recordOf({ giveUpAtMs: NOW_MS - 50_000 }), seen(0), 'fresh', 'alive');
  });

  it('tells that the host slept', () => {
    assert.equal(judge({ kind: 'record', record: recordOf() }, seen(1000, { nowMs: NOW_MS + 8000 })).slept, true);
    assert.equal(judge({ kind: 'record', record: recordOf() }, seen(1000)).slept, false);
  });

  const ms = fc.integer({ min: 0, max: 200_000 });
  const anyFacts = fc.constantFrom<Partial<LivenessRecord>>({}, waiting, blocked, stopped);

  it('on one boot does not care what the wall clock says', () => {
    fc.assert(
      fc.property(ms, anyFacts, fc.integer({ min: -1e13, max: 1e13 }), (after, changes, nowMs) => {
        const reading = { kind: 'record', record: recordOf(changes) } as const;
        const { slept: _, ...one } = judge(reading, seen(after), { maxDisconnected: 150_000 });
        const { slept: __, ...other } = judge(reading, seen(after, { nowMs }), { maxDisconnected: 150_000 });
        assert.deepEqual(other, one);
      }),
    );
  });

  it('never calls a silent writer alive again', () => {
    fc.assert(
      fc.property(ms, ms, anyFacts, fc.option(ms, { nil: 0 }), (first, more, changes, maxAge) => {
        const reading = { kind: 'record', record: recordOf(changes) } as const;
        const before = judge(reading, seen(first), { maxAge }).ok;
        assert.ok(before || !judge(reading, seen(first + more), { maxAge }).ok);
      }),
    );
  });
});
