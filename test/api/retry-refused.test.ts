import assert from 'node:assert/strict';
import type { CallAttempt } from '../../lib/index.js';
import type { CallPreset } from '../../lib/testing/faults.js';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

describe('a call that the gateway did not execute', () => {
  const refused: [CallPreset, string][] = [
    ['busy', 'rate-limited'],
    ['restarting', 'gateway-draining'],
    ['suspending', 'gateway-draining'],
    ['starting', 'gateway-starting'],
    ['not-started', 'rejected'],
    ['entry-closed', 'gateway-draining'],
  ];
  for (const [preset, reason] of refused) {
    it(`Q09 is sent again, although it may run only once: ${preset}`, async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      peer.inject({
        name: 'reject-call',
        preset,
        times: 2,
        methods: ['test.count'],
        ...(preset !== 'busy' && { retryAfterMs: 60 }),
      });
      const seen: CallAttempt[] = [];
      const { result, attempts } = await session.client.callDetailed(
        'test.count',
        { key: preset },
        { onAttempt: (a) => seen.push(a) },
      );
      assert.deepEqual(result, { key: preset, count: 1 });
      assert.deepEqual(
        attempts.map(({ outcome }) => outcome),
        ['not-executed', 'not-executed', 'executed'],
      );
      for (const attempt of attempts.slice(0, 2)) assert.equal(attempt.reason, reason);
      const [first, second, third] = peer.ledger.filter(({ method }) => method === 'test.count').map(({ at }) => at);
      assert.ok(first !== undefined && second !== undefined && third !== undefined);
      // Never sooner than it was told; the ledger counts whole milliseconds.
      for (const gap of [second - first, third - second]) assert.ok(gap >= (preset === 'busy' ? 20 : 59), `${gap} ms`);
      assert.equal(seen.length, 3);
      const retries = session.events.all.filter((event) => event.type === 'retry');
      assert.deepEqual(
        retries.map((event) => [event.call, event.attempt, event.reason, event.outcome]),
        [1, 2].map((number) => ['test.count', number, reason, 'not-executed']),
      );
      assert.equal(session.client.health().calls.retried, 2);
    });
  }

  it('waits for as long as the gateway says, and a little longer', async () => {
    await using peer = await gateway({ limits: { controlPlane: 1, controlPlaneWindowMs: 400 } });
    await using session = await attach(peer);
    const params = { id: 'no-such-job' };
    await refusal(session.client.call('cron.remove', params));
    const { value: error, ms } = await timed(() => refusal(session.client.call('cron.remove', params)));
    assert.equal(error.gateway?.code, 'INVALID_REQUEST');
    assert.deepEqual(
      error.attempts.map(({ reason }) => reason),
      ['rate-limited', 'rejected'],
    );
    assert.ok(ms >= 300 && ms < 900, `${ms} ms`);
  });

  it('Q14 ends at once when it is to wait beyond its deadline, and says until when', async () => {
    await using peer = await gateway({
      faults: [{ name: 'reject-call', preset: 'rate-limited', methods: ['test.count'] }],
    });
    await using session = await attach(peer);
    const { value: error, ms } = await timed(() =>
      refusal(session.client.call('test.count', { key: 'x' }, { deadline: 5000 })),
    );
    assert.ok(ms < 50, `${ms} ms`);
    assert.deepEqual([error.reason, error.outcome, error.retryAfter], ['rate-limited', 'not-executed', 60_000]);
    assert.match(error.message, /asks to wait 60\.\d s, longer than the deadline/);
    assert.equal(peer.ledger.filter(({ method }) => method === 'test.count').length, 1);
  });

  it('is not sent again with retry `never`, or beyond maxAttempts', async () => {
    await using peer = await gateway({ faults: [{ name: 'reject-call', preset: 'busy', methods: ['test.count'] }] });
    await using session = await attach(peer);
    const never = await refusal(session.client.call('test.count', { key: 'x' }, { retry: 'never' }));
    const twice = await refusal(session.client.call('test.count', { key: 'x' }, { maxAttempts: 2 }));
    assert.deepEqual([never.attempts.length, twice.attempts.length], [1, 2]);
    assert.deepEqual([never.outcome, twice.outcome], ['not-executed', 'not-executed']);
  });
});

describe('a gateway that drains for ever', () => {
  it('ends every call by its deadline with gateway-draining, and says for how long', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    peer.inject({ name: 'stuck-drain' });
    const { value: error, ms } = await timed(() =>
      refusal(session.client.call('test.count', { key: 'x' }, { deadline: 3500 })),
    );
    assert.equal(error.reason, 'gateway-draining');
    assert.ok(error.outcome === 'not-executed' || error.outcome === 'not-sent', error.outcome);
    assert.match(error.message, /\d\.\d s/);
    assert.ok(ms < 3600, `${ms} ms`);
    assert.ok(
      error.attempts.length >= 2,
      `${error.attempts.length} attempts: it was asked again at the pace of the hint`,
    );
    assert.equal(peer.count('x'), 0);
    assert.equal(session.client.health().reason, 'gateway-draining');
  });

  it('serves the call when it stops draining', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const open = peer.drain();
    const calling = session.client.callDetailed('test.count', { key: 'x' });
    await session.events.until((event) => event.type === 'retry');
    open();
    const { result, attempts } = await calling;
    assert.deepEqual(result, { key: 'x', count: 1 });
    assert.equal(attempts[0]?.reason, 'gateway-draining');
    assert.equal(session.client.health().ok, true);
  });
});

describe('a call that the gateway may have executed', () => {
  for (const preset of ['may-have-executed', 'handler-error'] as const) {
    it(`Q10 is not sent again, and is of unknown outcome: ${preset}`, async () => {
      await using peer = await gateway({
        faults: [{ name: 'reject-call', preset, execute: true, methods: ['test.count'] }],
      });
      await using session = await attach(peer);
      for (const retry of ['restart', 'always'] as const) {
        const key = `${preset} ${retry}`;
        const error = await refusal(session.client.call('test.count', { key }, { retry }));
        assert.deepEqual([error.reason, error.outcome], ['rejected', 'unknown']);
        assert.equal(peer.count(key), 1);
      }
      assert.equal(session.client.health().calls.unknown, 2);
    });
  }
});
