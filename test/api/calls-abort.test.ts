import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { refusal, timed } from '../support/collect.js';
import { attach, begin, gateway, idle } from '../support/gateways.js';

describe('a call that is aborted (Q13)', () => {
  it('before it is made sends nothing', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const signal = AbortSignal.abort(new Error('enough'));
    const error = await refusal(session.client.call('test.count', { key: 'never' }, { signal }));
    assert.deepEqual([error.reason, error.outcome, error.code], ['local', 'not-sent', 'HOLDFAST_ABORTED']);
    assert.equal(error.cause, signal.reason);
    await session.client.call('test.echo', {});
    assert.equal(
      gw.ledger.some((entry) => entry.method === 'test.count'),
      false,
    );
  });

  it('while it waits for the link sends nothing, now or later', async () => {
    await using gw = await gateway({ faults: [{ name: 'slow-upgrade', ms: 150, times: 1 }] });
    await using session = begin(gw);
    const controller = new AbortController();
    const call = refusal(
      session.client.call('test.count', { key: 'queued' }, { signal: controller.signal, retry: 'always' }),
    );
    assert.equal(session.client.health().calls.waiting, 1);
    const { ms } = await timed(async () => {
      controller.abort('a reason that is no Error');
      await call;
    });
    const error = await call;
    assert.deepEqual([error.reason, error.outcome, error.cause], ['local', 'not-sent', 'a reason that is no Error']);
    assert.ok(ms < 50, `${ms} ms`);
    await session.client.ready({ timeout: 5000 });
    await session.client.call('test.echo', {});
    assert.equal(gw.count('queued'), 0);
    assert.equal(session.client.health().calls.waiting, 0);
  });

  it('in flight is of unknown outcome, at once, and its late answer harms nobody', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const controller = new AbortController();
    const call = refusal(session.client.call('test.sleep', { ms: 80 }, { signal: controller.signal }));
    await gw.until(() => gw.ledger.some((entry) => entry.method === 'test.sleep'));
    const { ms } = await timed(async () => {
      controller.abort();
      await call;
    });
    const error = await call;
    assert.deepEqual([error.reason, error.outcome], ['local', 'unknown']);
    assert.ok(ms < 50, `${ms} ms`);
    await session.journal.until((line) => line.event === 'stray-answer', 'the late answer');
    assert.deepEqual(await session.client.call('test.echo', { next: 1 }), { next: 1 });
    assert.equal(gw.ledger.filter((entry) => entry.method === 'test.sleep').length, 1);
  });

  it('in whatever way it settles, no listener stays on the signal', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const { signal } = new AbortController();
    const once = { signal, retry: 'never', safety: 'once' } as const;
    await session.client.call('test.echo', {}, once);
    await refusal(session.client.call('test.fail', {}, once));
    await refusal(session.client.call('test.sleep', { ms: 60_000 }, { ...once, timeout: 30 }));
    await refusal(session.client.call('test.echo', { big: 1n }, once));
    const cut = refusal(session.client.call('test.sleep', { ms: 60_000 }, once));
    await gw.kill();
    await cut;
    await refusal(session.client.call('test.echo', {}, once));
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    const controller = new AbortController();
    await using other = idle(gw);
    const ready = refusal(other.client.ready({ signal: controller.signal }));
    controller.abort();
    await ready;
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });
});
