import assert from 'node:assert/strict';
import { isGatewayError } from '../../lib/index.js';
import { eventually, refusal, timed } from '../support/collect.js';
import { attach, begin, gateway, idle, nobody } from '../support/gateways.js';

describe('a call and its link', () => {
  it('made before the first hello waits for it, whatever its safety, and runs once', async () => {
    await using gw = await gateway({ faults: [{ name: 'slow-upgrade', ms: 150, times: 1 }] });
    await using session = begin(gw);
    const results = await Promise.all([
      session.client.call('test.count', { key: 'early' }, { safety: 'once' }),
      session.client.call('test.echo', { early: true }),
    ]);
    assert.deepEqual(results, [{ key: 'early', count: 1 }, { early: true }]);
    assert.equal(gw.count('early'), 1);
  });

  it('made before the first hello fails as soon as a first failed attempt says what is wrong', async () => {
    await using session = begin(await nobody());
    const { value, ms } = await timed(() => refusal(session.client.call('test.echo', {})));
    assert.deepEqual([value.reason, value.outcome, value.code], ['outage', 'not-sent', 'ECONNREFUSED']);
    assert.ok(ms < 500, `${ms} ms`);
  });

  it('made while the link is down fails at once, not sent, for what keeps the link away', async () => {
    await using gw = await gateway();
    await using down = await attach(gw);
    await using blocked = begin({ url: gw.url, token: 'not the token at all' });
    await blocked.journal.entered('blocked');
    await gw.kill();
    await down.journal.entered('waiting');
    for (const [session, reason] of [
      [down, 'outage'],
      [blocked, 'unauthorized'],
    ] as const) {
      const { value, ms } = await timed(() => refusal(session.client.call('test.echo', {})));
      assert.deepEqual([value.reason, value.outcome], [reason, 'not-sent']);
      assert.ok(ms < 50, `${ms} ms`);
    }
    await gw.start();
    await down.client.ready({ timeout: 5000 });
    await eventually(() => down.client.health().calls.waiting === 0, 'an empty queue');
    assert.deepEqual(
      gw.ledger.filter((entry) => entry.method === 'test.echo'),
      [],
      'what failed is never sent later',
    );
  });

  it('Q05 with retry `always` outlasts an outage and runs once; its deadline holds', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    await gw.kill();
    await session.journal.entered('waiting');
    const patient = session.client.call('test.count', { key: 'patient' }, { retry: 'always', safety: 'once' });
    const { value, ms } = await timed(() =>
      refusal(session.client.call('test.count', { key: 'hasty' }, { retry: 'always', deadline: 150 })),
    );
    assert.deepEqual([value.outcome, value.reason], ['not-sent', 'outage']);
    assert.ok(ms >= 145 && ms < 300, `${ms} ms`);
    assert.equal(session.client.health().calls.waiting, 1);
    await gw.start();
    assert.deepEqual(await patient, { key: 'patient', count: 1 });
    assert.deepEqual([gw.count('patient'), gw.count('hasty')], [1, 0]);
  });

  it('in flight when the gateway dies is of unknown outcome, at once', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const call = refusal(session.client.call('test.count', { key: 'cut', ms: 60_000 }, { safety: 'once' }));
    await gw.until(() => gw.ledger.some((entry) => entry.executed && entry.method === 'test.count'));
    const { ms } = await timed(async () => {
      await gw.kill();
      await call;
    });
    assert.ok(ms < 300, `${ms} ms`);
    const error = await call;
    assert.deepEqual([error.reason, error.outcome, error.method], ['outage', 'unknown', 'test.count']);
    assert.equal(session.client.health().calls.unknown, 1);
    assert.deepEqual(
      error.attempts.map((attempt) => attempt.outcome),
      ['unknown'],
    );
  });

  it('Q01 in flight at a restart of the gateway tells of the restart, and a once-only one is not repeated', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const call = refusal(session.client.call('test.count', { key: 'once', ms: 60_000 }, { safety: 'once' }));
    await gw.until(() => gw.ledger.some((entry) => entry.executed && entry.method === 'test.count'));
    const restarted = gw.restart();
    const error = await call;
    const [began] = session.journal.of('restart');
    assert.deepEqual([error.reason, error.outcome], ['gateway-restart', 'unknown']);
    assert.ok(error.restart !== undefined && error.restart.id === began?.restartId);
    await restarted;
    await session.client.ready({ timeout: 5000 });
    await session.client.call('test.echo', {});
    assert.equal(gw.ledger.filter((entry) => entry.method === 'test.count').length, 1);
  });

  it('made during a restart is held and runs after it, once', async () => {
    await using gw = await gateway({ timings: { portShutMs: 150 } });
    await using session = await attach(gw);
    const restarted = gw.restart();
    await session.journal.until((line) => line.event === 'restart', 'the begin of the restart');
    const held = session.client.call('test.count', { key: 'held' }, { safety: 'once' });
    assert.deepEqual(await held, { key: 'held', count: 1 });
    await restarted;
    assert.equal(gw.count('held'), 1);
  });

  it('settles exactly once each, whatever happens to a hundred of them', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const settled = new Map<number, number>();
    const calls = Array.from({ length: 100 }, (_, index) =>
      session.client
        .call('test.count', { key: `c${index}`, ms: index }, { safety: 'once', timeout: 500, deadline: 1500 })
        .then(
          () => {},
          (error: unknown) => assert.ok(isGatewayError(error), String(error)),
        )
        .then(() => settled.set(index, (settled.get(index) ?? 0) + 1)),
    );
    await gw.until(() => gw.ledger.filter((entry) => entry.executed && entry.method === 'test.count').length === 100);
    gw.cutAll('reset');
    await Promise.all(calls);
    assert.deepEqual(
      [...settled.values()],
      Array.from({ length: 100 }, () => 1),
    );
    for (let index = 0; index < 100; index += 1) assert.ok(gw.count(`c${index}`) <= 1, `c${index} ran twice`);
    const { inFlight, waiting } = session.client.health().calls;
    assert.deepEqual([inFlight, waiting], [0, 0]);
  });

  it('is never the first frame on a socket: that is `connect`, on each of them', async () => {
    await using gw = await gateway({ timings: { portShutMs: 20 } });
    await using session = begin(gw);
    for (let round = 1; round <= 4; round += 1) {
      const calls = Array.from({ length: 5 }, () =>
        session.client.call('test.echo', { round }, { retry: 'always', safety: 'read' }),
      );
      await Promise.allSettled(calls);
      if (round % 2 === 0) await gw.restart();
      else gw.cutAll('reset');
      await gw.until(() => gw.hellos > round);
    }
    const first = gw.connections
      .filter((connection) => connection.firstFrame !== undefined)
      .map((connection) => connection.firstFrame);
    assert.ok(first.length >= 5);
    assert.deepEqual(new Set(first), new Set(['connect']));
  });

  it('made before start() or after close() is refused at once, not sent', async () => {
    await using gw = await gateway();
    await using session = idle(gw);
    const early = await refusal(session.client.call('test.echo', {}));
    assert.deepEqual([early.reason, early.outcome], ['local', 'not-sent']);
    session.client.start();
    await session.client.ready({ timeout: 5000 });
    await session.client.close();
    const after = await refusal(session.client.call('test.echo', {}));
    assert.deepEqual([after.reason, after.outcome, after.code], ['local', 'not-sent', 'HOLDFAST_CLOSED']);
  });
});
