import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { encodeRecord, type LivenessRecord, parseRecord, READ_LIMIT, RECORD_LENGTH } from '../../lib/core/liveness.js';
import { recordOf, stopped, waiting } from '../support/liveness-records.js';

/** Frames a JSON object as the format says, with Node's checksum. */
function frame(json: string): string {
  const body = json.slice(0, -1);
  return `${body.padEnd(RECORD_LENGTH - 19)},"crc":"${crc32(body).toString(16).padStart(8, '0')}"}\n`;
}

function why(text: string): string {
  const parsed = parseRecord(text);
  assert.ok(!parsed.ok);
  return parsed.why;
}

const text = fc.oneof(fc.string({ maxLength: 90 }), fc.string({ unit: 'binary', maxLength: 2000 }));
const number = fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger());
const anyError = fc.record(
  { code: text, reason: text, phase: text, message: text },
  { requiredKeys: ['code', 'reason', 'message'] },
);
const anyRecord: fc.Arbitrary<LivenessRecord> = fc.record(
  {
    v: fc.constant(1 as const),
    seq: number,
    state: fc.constantFrom('idle', 'connecting', 'handshaking', 'online', 'waiting', 'blocked', 'closing', 'stopped'),
    stateSinceMs: number,
    reason: text,
    attempt: number,
    nextAttemptAtMs: number,
    giveUpAtMs: number,
    disconnectedSinceMs: number,
    lastConnectedAtMs: number,
    lastFrameAtMs: number,
    lastError: anyError,
    awaiting: text,
    restart: fc.record({ id: text, sinceMs: number, expectedMs: number }, { requiredKeys: ['id', 'sinceMs'] }),
    restartsSeen: number,
    gateway: fc.record({ version: text, bootId: text, connId: text, protocol: number }, { requiredKeys: [] }),
    calls: fc.record({ inFlight: number, waiting: number, retried: number, unknown: number }),
    loopLagMaxMs: number,
    exit: fc.record(
      {
        code: number,
        outcome: fc.constantFrom('closed', 'gave-up', 'fatal'),
        reason: text,
        attempts: number,
        elapsedMs: number,
      },
      { requiredKeys: ['code', 'outcome'] },
    ),
    writer: fc.record(
      { pid: number, startToken: text, bootId: text, pidNs: text, timeNs: text, host: text, instanceId: text },
      { requiredKeys: ['pid', 'host', 'instanceId'] },
    ),
    intervalMs: number,
    writtenAtMs: number,
    writtenMonoNs: fc.oneof(text, number, fc.bigInt({ min: 0n, max: 2n ** 63n }).map(String)),
    version: text,
  },
  {
    requiredKeys: [
      ...(['v', 'seq', 'state', 'stateSinceMs', 'attempt', 'restartsSeen', 'calls', 'loopLagMaxMs'] as const),
      ...(['writer', 'intervalMs', 'writtenAtMs', 'writtenMonoNs', 'version'] as const),
    ],
  },
);

describe('liveness record', () => {
  it('says what it was told', () => {
    for (const record of [
      recordOf(),
      recordOf(waiting),
      recordOf(stopped),
      recordOf({ writtenMonoNs: '18446744073709551615' }),
    ]) {
      assert.deepEqual(parseRecord(encodeRecord(record)), { ok: true, record });
    }
  });

  it('is one line of JSON for other tools, with the checksum of zip', () => {
    const line = encodeRecord(recordOf());
    assert.equal(JSON.parse(line).writer.pid, 7);
    const body = line.slice(0, -19).trimEnd();
    assert.equal(JSON.parse(line).crc, crc32(body).toString(16).padStart(8, '0'));
  });

  it('has one length, no control characters, and reads back, whatever it is given', () => {
    fc.assert(
      fc.property(anyRecord, (record) => {
        const line = encodeRecord(record);
        assert.equal(line.length, RECORD_LENGTH);
        assert.match(line, /^[ -~]+\n$/);
        const parsed = parseRecord(line);
        assert.ok(parsed.ok, parsed.ok ? '' : parsed.why);
        assert.equal(encodeRecord(parsed.record), line);
      }),
      { numRuns: 300 },
    );
  });

  it('fits when every text is as long and as costly as can be', () => {
    const worst = '"\u{1f600}é'.repeat(200_000);
    const all = Number.MAX_SAFE_INTEGER;
    const record = recordOf({
      ...{
        seq: all,
        state: 'handshaking',
        stateSinceMs: -all,
        reason: worst,
        attempt: all,
        awaiting: worst,
        version: worst,
      },
      ...{
        nextAttemptAtMs: -all,
        giveUpAtMs: -all,
        disconnectedSinceMs: -all,
        lastConnectedAtMs: -all,
        lastFrameAtMs: -all,
      },
      ...{ restartsSeen: all, loopLagMaxMs: all, intervalMs: all, writtenAtMs: -all, writtenMonoNs: '9'.repeat(20) },
      lastError: { code: worst, reason: worst, phase: worst, message: worst },
      restart: { id: worst, sinceMs: -all, expectedMs: all },
      gateway: { version: worst, bootId: worst, connId: worst, protocol: all },
      calls: { inFlight: all, waiting: all, retried: all, unknown: all },
      exit: { code: all, outcome: 'gave-up', reason: worst, attempts: all, elapsedMs: all },
      writer: {
        pid: all,
        startToken: worst,
        bootId: worst,
        pidNs: worst,
        timeNs: worst,
        host: worst,
        instanceId: worst,
      },
    });
    const line = encodeRecord(record);
    assert.equal(line.length, RECORD_LENGTH);
    assert.ok(parseRecord(line).ok);
  });

  it('leaves out a time that is not finite and keeps a zero', () => {
    const parsed = parseRecord(encodeRecord(recordOf({ giveUpAtMs: Number.POSITIVE_INFINITY, nextAttemptAtMs: 0 })));
    assert.ok(parsed.ok && !('giveUpAtMs' in parsed.record) && parsed.record.nextAttemptAtMs === 0);
  });

  it('is old, new or corrupt when torn at any place, never a mixture', () => {
    const before = encodeRecord(recordOf());
    const after = encodeRecord(recordOf({ ...waiting, seq: 13 }));
    for (let cut = 0; cut <= RECORD_LENGTH; cut += 1) {
      const parsed = parseRecord(after.slice(0, cut) + before.slice(cut));
      if (!parsed.ok) continue;
      const seq = parsed.record.seq;
      assert.equal(encodeRecord(parsed.record), seq === 12 ? before : after);
    }
  });

  it('is corrupt when cut short or changed', () => {
    const line = encodeRecord(recordOf());
    for (let length = 0; length < RECORD_LENGTH; length += 1) assert.ok(!parseRecord(line.slice(0, length)).ok);
    const used = line.indexOf('   ');
    fc.assert(
      fc.property(fc.nat(used - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = String.fromCharCode(line.charCodeAt(at) ^ mask);
        assert.ok(!parseRecord(line.slice(0, at) + changed + line.slice(at + 1)).ok);
      }),
    );
  });

  it('never throws on other text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (other) => !parseRecord(other).ok && !parseRecord(frame(other)).ok),
    );
  });

  it('says what is wrong', () => {
    const json = (changes: object): string => frame(JSON.stringify({ ...recordOf(), ...changes }));
    assert.equal(why(''), 'empty');
    assert.equal(why('{"pid":7}'), 'no checksum at its end');
    assert.equal(why(encodeRecord(recordOf()).replace('online', 'OFFline')), 'checksum differs');
    assert.equal(why('x'.repeat(READ_LIMIT + 1)), `larger than ${READ_LIMIT} bytes`);
    assert.equal(why(frame('{"v":1,}')), 'not JSON');
    assert.equal(why(frame('[]')), 'not JSON');
    assert.equal(why(json({ v: 2 })), 'record.v is not one of 1');
    assert.equal(why(json({ seq: -1 })), 'record.seq is below 0');
    assert.equal(why(json({ intervalMs: 0 })), 'record.intervalMs is below 1');
    assert.equal(why(json({ attempt: '1' })), 'record.attempt is not a number');
    assert.equal(why(json({ writer: null })), 'record.writer is no object');
    assert.equal(why(json({ calls: [] })), 'record.calls is no object');
    assert.equal(why(json({ calls: {} })), 'record.calls.inFlight is missing');
    assert.equal(why(json({ version: 'x'.repeat(65) })), 'record.version is longer than 64');
    assert.equal(why(json({ awaiting: '\u001b[2J' })), 'record.awaiting holds control characters');
    assert.equal(why(json({ writtenMonoNs: -1 })), 'record.writtenMonoNs is not a count of nanoseconds');
  });

  it('passes over fields that it does not know', () => {
    const parsed = parseRecord(frame(JSON.stringify({ ...recordOf(), later: { more: true } })));
    assert.deepEqual(parsed, { ok: true, record: recordOf() });
  });

  it('takes nothing from a prototype and survives depth', () => {
    const { writer: _, ...rest } = recordOf();
    const polluted = frame(
      JSON.stringify(rest).replace('{', `{"__proto__":${JSON.stringify({ writer: recordOf().writer })},`),
    );
    assert.equal(why(polluted), 'record.writer is missing');
    assert.equal(Object.hasOwn(Object.prototype, 'writer'), false);
    const deep = '['.repeat(30_000) + ']'.repeat(30_000);
    assert.equal(why(frame(`{"v":${deep}}`)), 'record.v is not one of 1');
  });
});
