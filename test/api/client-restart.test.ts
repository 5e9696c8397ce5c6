import assert from 'node:assert/strict';
import type { TestGateway } from '../../lib/testing/index.js';
import { sideBySide, timed } from '../support/collect.js';
import { attach, begin, gateway, type Session } from '../support/gateways.js';

/** Waits until the client is online on the `count`-th hello of its gateway. */
async function back(session: Session, peer: TestGateway, count: number): Promise<void> {
  await peer.until(() => peer.hellos >= count, 8000);
  await session.client.ready({ timeout: 5000 });
}

/** An id begins with a mark of its client and ends with a number. */
function numbered(id: string | undefined): string {
  return (id ?? 'none').replace(/^.+-/, '');
}

function phasesOf(session: Session): string[] {
  return session.journal.of('restart').map((line) => `${numbered(line.restartId)} ${line.phase} ${line.evidence}`);
}

describe('a restart of the gateway', () => {
  const beside = sideBySide();

  it(
    'R01 is a restart from the shutdown event on: one id on every line until online, never an outage',
    beside(async () => {
      await using peer = await gateway({ timings: { portShutMs: 300, startingMs: 50, shutdownToCloseMs: 60 } });
      await using session = await attach(peer);
      const restarted = peer.restart();
      const began = await session.journal.until((line) => line.event === 'restart', 'the begin of the restart');
      const health = session.client.health();
      assert.deepEqual([health.state, health.ok, health.reason], ['online', false, 'gateway-restart']);
      assert.equal(health.restart?.id, began.restartId);
      assert.equal(health.restart?.expectedMs, 1500);
      await restarted;
      await back(session, peer, 2);
      assert.deepEqual(phasesOf(session), ['1 began shutdown', '1 ended shutdown']);
      const lines = session.journal.all;
      const first = lines.indexOf(began);
      const during = lines
        .slice(
          first,
          lines.findLastIndex((line) => line.phase === 'ended'),
        )
        .filter((line) => line.event !== 'hello-defaulted');
      assert.ok(during.length >= 4, `${during.length} lines`);
      for (const line of during) assert.equal(line.restartId, began.restartId, JSON.stringify(line));
      const reasons = new Set(session.journal.failures.map((line) => line.reason));
      assert.ok(reasons.has('gateway-restart'));
      assert.ok(
        [...reasons].every((reason) => reason === 'gateway-restart' || reason === 'gateway-starting'),
        [...reasons].join(),
      );
      assert.equal(session.client.health().restart, undefined);
      assert.equal(session.client.health().restartsSeen, 1);
    }),
  );

  it(
    'R01 tells its listeners: began with the hint, ended with the time without a link',
    beside(async () => {
      await using peer = await gateway({ timings: { portShutMs: 120 } });
      await using session = await attach(peer);
      await peer.restart({ restartExpectedMs: 700 });
      await back(session, peer, 2);
      const restarts = session.events.all.filter((event) => event.type === 'restart');
      assert.equal(restarts.length, 2);
      const [began, ended] = restarts;
      assert.deepEqual(
        { ...began, id: '' },
        { type: 'restart', id: '', phase: 'began', evidence: 'shutdown', expectedMs: 700 },
      );
      assert.deepEqual([ended?.phase, ended?.id], ['ended', began?.id]);
      assert.ok(ended?.downMs !== undefined && ended.downMs >= 110, `${ended?.downMs} ms`);
    }),
  );

  it(
    'comes back within a fraction of a second of a gateway that is ready: the hint is no deadline',
    beside(async () => {
      await using peer = await gateway({ timings: { portShutMs: 700 } });
      await using session = await attach(peer, { reconnect: {} });
      await peer.restart({ restartExpectedMs: 30_000 });
      const { ms } = await timed(() => back(session, peer, 2));
      assert.ok(ms < 400, `${ms} ms after it was ready`);
    }),
  );

  it(
    'R02a takes a 1012 "service restart" without the event for a restart',
    beside(async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      await peer.restart({ shutdownEvent: false });
      await back(session, peer, 2);
      assert.deepEqual(phasesOf(session), ['1 began close-1012', '1 ended close-1012']);
    }),
  );

  it(
    'R02b, c takes any other text of 1012 for no restart',
    beside(async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      for (const [index, text] of ['node capabilities changed', 'browser identity route changed'].entries()) {
        peer.closeAll(1012, text);
        await back(session, peer, index + 2);
        const lost = session.journal
          .of('state')
          .filter((line) => line.prevState === 'online')
          .at(-1);
        assert.deepEqual([lost?.reason, lost?.closeCode, lost?.closeReason], ['outage', 1012, text]);
      }
      assert.equal(session.journal.of('restart').length, 0);
      assert.equal(session.client.health().restartsSeen, 0);
    }),
  );

  it(
    'R05 calls a stop for good by its name, whatever the close frame says',
    beside(async () => {
      await using peer = await gateway();
      await using older = await gateway({ emulate: '2026.4.26' });
      for (const each of [peer, older]) {
        await using session = await attach(each);
        await each.stop();
        const [refused] = await session.journal.failed(1);
        const lost = session.journal.of('state').find((line) => line.prevState === 'online');
        assert.deepEqual(
          [lost?.reason, lost?.closeCode, lost?.closeReason],
          ['gateway-stopped', 1012, 'service restart'],
        );
        assert.deepEqual([refused?.reason, refused?.code], ['gateway-stopped', 'ECONNREFUSED']);
        assert.equal(session.client.health().reason, 'gateway-stopped');
        assert.equal(session.journal.of('restart').length, 0);
        await each.start();
        await back(session, each, 2);
      }
    }),
  );

  it(
    'R06a calls a death without a word an outage, and a restart once a new boot id proves it',
    beside(async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      await peer.kill();
      const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
      assert.equal(lost.reason, 'outage');
      await session.journal.failed(1);
      await peer.start();
      await back(session, peer, 2);
      assert.deepEqual(phasesOf(session), ['1 began boot-id', '1 ended boot-id']);
      const order = session.journal.all.map((line) => `${line.event} ${line.phase ?? line.state}`);
      assert.ok(order.indexOf('restart began') < order.lastIndexOf('state online'), 'it is told before online');
    }),
  );

  it(
    'R06b never takes cut links for a restart while the boot id stays',
    beside(async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      for (let round = 2; round <= 4; round += 1) {
        peer.cutAll('reset');
        await back(session, peer, round);
      }
      assert.equal(session.client.health().restartsSeen, 0);
    }),
  );

  it(
    'R07 is dialled the moment the gateway says that it is ready, not at the end of the hint',
    beside(async () => {
      await using peer = await gateway();
      await peer.stop();
      const starting = peer.start({ startingMs: 700 });
      await using session = begin(peer);
      const refused = await session.journal.until((line) => line.reason === 'gateway-starting', 'the refusal');
      assert.deepEqual([refused.code, refused.retryAfterMs, refused.phase], ['startup-sidecars', 500, 'hello']);
      await starting;
      const { ms } = await timed(() => session.client.ready({ timeout: 5000 }));
      assert.ok(ms < 300, `${ms} ms after it was ready`);
    }),
  );

  it(
    'R07, R08 keeps to the pace of the hint while a gateway goes on starting, with a line for each dial',
    beside(async () => {
      await using peer = await gateway({
        faults: [
          { name: 'reject-connect', preset: 'startup-sidecars', retryAfterMs: 300 },
          { name: 'health-lies', variant: 'unready' },
        ],
      });
      await using session = begin(peer);
      const lines = await session.journal.failed(4);
      for (const [index, line] of lines.entries()) {
        assert.deepEqual([line.reason, line.attempt, line.level], ['gateway-starting', index + 1, 'warn']);
        assert.ok(line.delayMs !== undefined && line.delayMs >= 300 && line.delayMs <= 550, `delay ${line.delayMs}`);
      }
      peer.heal();
      await session.client.ready({ timeout: 5000 });
    }),
  );

  it(
    'R10 knows of a drain from the first refused call, and dials no sooner than it is told',
    beside(async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      const open = peer.drain();
      await session.client.call('health', {}, { retry: 'never' }).catch(() => {});
      const { reason, ok, state } = session.client.health();
      assert.deepEqual([state, ok, reason], ['online', false, 'gateway-draining']);
      await using other = begin(peer);
      const [refused] = await other.journal.failed(1);
      assert.deepEqual([refused?.phase, refused?.httpStatus], ['upgrade', 503]);
      open();
      await other.client.ready({ timeout: 5000 });
      await session.client.call('health', {});
      assert.equal(session.client.health().ok, true);
    }),
  );

  it(
    'R13 stays attached while the host is suspended, and says that calls are held',
    beside(async () => {
      await using peer = await gateway({ faults: [{ name: 'suspended' }] });
      await using session = await attach(peer);
      await session.client.call('health', {}, { retry: 'never' }).catch(() => {});
      const { state, reason } = session.client.health();
      assert.deepEqual([state, reason], ['online', 'gateway-draining']);
      assert.equal(peer.dials, 1);
      peer.heal();
      await session.client.call('health', {});
      assert.equal(session.client.health().ok, true);
    }),
  );

  it(
    'R04 gives each of many restarts its own id, and never opens two sockets',
    beside(async () => {
      await using peer = await gateway({ timings: { portShutMs: 20 } });
      await using session = await attach(peer);
      for (let round = 1; round <= 5; round += 1) {
        await peer.restart();
        await back(session, peer, round + 1);
        assert.ok(peer.connections.filter((connection) => connection.open).length <= 1);
      }
      const ids = session.journal
        .of('restart')
        .filter((line) => line.phase === 'began')
        .map((line) => numbered(line.restartId));
      assert.deepEqual(ids, ['1', '2', '3', '4', '5']);
    }),
  );

  it(
    'becomes an outage when it outlives its window',
    beside(async () => {
      await using peer = await gateway();
      await using session = await attach(peer, {
        reconnect: { initialDelay: 20, maxDelay: 100, restart: { window: 200 } },
      });
      const restarted = peer.restart({ portShutMs: 600 });
      await session.journal.until((line) => line.phase === 'became-outage', 'the end of the window');
      const next = session.journal.failures.length + 1;
      const lines = await session.journal.failed(next);
      assert.equal(lines.at(-1)?.reason, 'outage');
      assert.equal(lines.at(-1)?.restartId, undefined);
      await restarted;
      await back(session, peer, 2);
      assert.deepEqual(phasesOf(session), ['1 began shutdown', '1 became-outage shutdown']);
    }),
  );
});
