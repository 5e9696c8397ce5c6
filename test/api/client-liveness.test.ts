import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { type LivenessRecord, parseRecord } from '../../lib/core/liveness.js';
import { probe } from '../../lib/probe.js';
import { eventually, sideBySide } from '../support/collect.js';
import { attach, begin, gateway, nobody } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/** The record now in the file; null while there is none. */
function recordAt(file: string): LivenessRecord | null {
  try {
    const parsed = parseRecord(readFileSync(file, 'utf8'));
    return parsed.ok ? parsed.record : null;
  } catch {
    return null;
  }
}

/** Waits for a record that fits. */
async function record(file: string, fits: (record: LivenessRecord) => boolean): Promise<LivenessRecord> {
  let found: LivenessRecord | null = null;
  await eventually(() => {
    const now = recordAt(file);
    if (now !== null && fits(now)) found = now;
    return found !== null;
  }, 'a record that fits');
  assert.ok(found !== null);
  return found;
}

describe('the liveness file of a client', () => {
  const beside = sideBySide();

  it(
    'says in each state what health() says, and who wrote it',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      const file = dir.at('live');
      await using session = await attach(gw, { liveness: { file, interval: 60_000 }, giveUp: { after: 60_000 } });
      const online = await record(file, ({ state }) => state === 'online');
      const health = session.client.health();
      assert.deepEqual([online.gateway, online.attempt, online.writer.pid], [health.gateway, 1, process.pid]);
      assert.equal(online.writer.instanceId, health.instanceId);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      await gw.kill();
      const waiting = await record(file, ({ state }) => state === 'waiting');
      const { reason, lastError, nextAttemptAtMs, giveUpAtMs, disconnectedSinceMs } = waiting;
      assert.equal(reason, 'outage');
      assert.ok(lastError !== undefined && lastError.message.length > 0);
      assert.ok(nextAttemptAtMs !== undefined && nextAttemptAtMs > waiting.writtenAtMs - 1000);
      assert.ok(
        giveUpAtMs !== undefined &&
          disconnectedSinceMs !== undefined &&
          Math.abs(giveUpAtMs - disconnectedSinceMs - 60_000) <= 2,
      );
      await session.client.close();
      const stopped = recordAt(file);
      assert.deepEqual([stopped?.state, stopped?.exit?.code, stopped?.exit?.outcome], ['stopped', 0, 'closed']);
    }),
  );

  it(
    'is written at every interval without a change, and its number grows',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      const file = dir.at('live');
      await using session = await attach(gw, { liveness: { file, interval: 50 } });
      const first = await record(file, ({ state }) => state === 'online');
      const later = await record(file, ({ seq }) => seq >= first.seq + 4);
      assert.ok(
        later.writtenAtMs - first.writtenAtMs >= 150,
        `${later.writtenAtMs - first.writtenAtMs} ms for four intervals`,
      );
      assert.deepEqual([later.state, later.intervalMs], ['online', 50]);
      assert.equal((await probe({ file })).ok, true);
      assert.equal(session.client.health().state, 'online');
    }),
  );

  it(
    'waits with the time of the next dial, and is alive for a probe all along',
    beside(async () => {
      using dir = scratch();
      const file = dir.at('live');
      await using session = begin(await nobody(), {
        liveness: { file, interval: 50 },
        reconnect: { initialDelay: 300, maxDelay: 300, jitter: 0 },
      });
      const waiting = await record(file, ({ state }) => state === 'waiting');
      const line = session.journal.failures.at(-1);
      assert.ok(Math.abs((waiting.nextAttemptAtMs ?? 0) - Date.parse(line?.nextAttemptAt ?? '')) <= 5);
      assert.equal((await probe({ file })).ok, true);
      await record(file, ({ attempt }) => attempt >= 2);
      assert.equal((await probe({ file })).ok, true);
    }),
  );

  it(
    'says whom a blocked client waits for',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'reject-connect', preset: 'pairing-required' }] });
      using dir = scratch();
      const file = dir.at('live');
      await using _session = begin(gw, { liveness: { file, interval: 50 } });
      const blocked = await record(file, ({ state }) => state === 'blocked');
      assert.match(blocked.awaiting ?? '', /openclaw devices approve/);
      assert.equal(blocked.reason, 'pairing-required');
    }),
  );

  it(
    'names a restart of the gateway while it lasts',
    beside(async () => {
      await using gw = await gateway({ timings: { portShutMs: 300 } });
      using dir = scratch();
      const file = dir.at('live');
      await using session = await attach(gw, { liveness: { file, interval: 50 } });
      const restarted = gw.restart();
      const during = await record(file, ({ restart }) => restart !== undefined);
      assert.equal(during.restart?.id, session.journal.of('restart')[0]?.restartId);
      assert.equal(during.restart?.expectedMs, 1500);
      await restarted;
      const after = await record(file, ({ state, restart }) => state === 'online' && restart === undefined);
      assert.equal(after.restartsSeen, 1);
    }),
  );

  it(
    'holds the give-up, on disk before the outcome is known',
    beside(async () => {
      using dir = scratch();
      const file = dir.at('live');
      await using session = begin(await nobody(), { liveness: { file }, giveUp: { maxAttempts: 2 } });
      const { exitCode } = await session.client.done;
      const last = recordAt(file);
      assert.deepEqual(
        [last?.state, last?.exit?.outcome, last?.exit?.code, last?.exit?.reason, last?.exit?.attempts],
        ['stopped', 'gave-up', exitCode, 'outage', 2],
      );
      const dead = await probe({ file });
      assert.deepEqual([dead.ok, dead.cause], [false, 'stopped']);
    }),
  );

  it(
    'F02 that cannot be written leaves the connection alone and shows in health(), with one line; it heals by itself',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      const folder = dir.at('folder');
      writeFileSync(folder, 'a file where a folder should be');
      const file = `${folder}/live`;
      await using session = await attach(gw, { liveness: { file, interval: 50 } });
      await eventually(() => session.client.health().liveness.error !== undefined, 'the error in health()');
      const { error, mode } = session.client.health().liveness;
      assert.ok(error?.code === 'ENOTDIR' || error?.code === 'EEXIST', error?.code);
      assert.equal(mode, 'memory');
      assert.deepEqual(await session.client.call('test.echo', { a: 1 }), { a: 1 });
      assert.deepEqual([session.client.health().ok, gw.dials], [true, 1]);
      assert.equal(session.journal.of('liveness').length, 1, 'one line per change');
      rmSync(folder);
      mkdirSync(folder);
      await record(file, ({ state }) => state === 'online');
      await eventually(() => session.client.health().liveness.error === undefined, 'the end of the error');
      assert.equal(session.journal.of('liveness').length, 2);
    }),
  );

  it(
    'F02 in a folder that may not be written to leaves the connection alone',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      const folder = dir.at('folder');
      mkdirSync(folder);
      chmodSync(folder, 0o500);
      await using session = await attach(gw, { liveness: { file: `${folder}/live`, interval: 50 } });
      // Root may write everywhere; for it the file appears, and the connection is as well off.
      await eventually(
        () => session.client.health().liveness.error !== undefined || recordAt(`${folder}/live`) !== null,
        'an error or a record',
      );
      assert.deepEqual([session.client.health().ok, gw.dials], [true, 1]);
      chmodSync(folder, 0o700);
    }),
  );

  it(
    'X08 is never written through a symbolic link',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      writeFileSync(dir.at('target'), 'precious');
      symlinkSync(dir.at('target'), dir.at('live'));
      await using session = await attach(gw, { liveness: { file: dir.at('live'), interval: 50 } });
      await eventually(
        () => session.client.health().liveness.error !== undefined || recordAt(dir.at('live')) !== null,
        'an error or a record',
      );
      assert.equal(readFileSync(dir.at('target'), 'utf8'), 'precious');
      assert.equal(session.client.health().ok, true);
    }),
  );
});
