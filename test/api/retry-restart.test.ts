import assert from 'node:assert/strict';
import type { CallAttempt } from '../../lib/index.js';
import type { LedgerEntry, TestGateway } from '../../lib/testing/index.js';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

function sent(peer: TestGateway, method: string): LedgerEntry[] {
  return peer.ledger.filter((entry) => entry.method === method);
}

function numbers(entries: readonly LedgerEntry[]): unknown[] {
  return entries.map(({ params }) => (params as Record<string, unknown>)['number']);
}

describe('calls and a restart of the gateway', () => {
  it('Q01 cut by it: reads and repeatables are sent again, and every attempt says what it fell into', async () => {
    await using peer = await gateway({ timings: { shutdownToCloseMs: 30 } });
    await using session = await attach(peer);
    peer.inject({ name: 'no-responses', methods: ['agents.list', 'agents.files.set', 'test.count'], execute: true });
    const seen: CallAttempt[] = [];
    const { client } = session;
    const read = client.callDetailed('agents.list', {}, { onAttempt: (attempt) => seen.push(attempt) });
    const repeatable = client.callDetailed('agents.files.set', { agentId: 'main', name: 'SOUL.md', content: 'a soul' });
    const once = refusal(client.call('test.count', { key: 'once' }));
    await peer.until(() => peer.ledger.filter(({ executed }) => executed).length === 4);
    const restarted = peer.restart();
    const error = await once;
    peer.heal();
    assert.deepEqual([error.reason, error.outcome], ['gateway-restart', 'unknown']);
    assert.equal(error.restart?.id, client.health().restart?.id ?? error.restart?.id);
    assert.match(error.restart?.id ?? '', /restart-1$/);
    assert.ok(error.remedy.length > 0);
    for (const { attempts, restarts, waited, result } of await Promise.all([read, repeatable])) {
      assert.ok(result !== null);
      assert.deepEqual(
        attempts.map(({ outcome, reason, restartId }) => [outcome, reason, restartId]),
        [
          ['unknown', 'gateway-restart', error.restart?.id],
          ['executed', undefined, undefined],
        ],
      );
      assert.deepEqual(restarts, [error.restart?.id]);
      assert.ok(waited > 0);
    }
    // Told as it ends; how long the next one waits is known only afterwards.
    const untimed = (await read).attempts.map(({ delay: _, ...attempt }) => attempt);
    assert.deepEqual(seen, untimed);
    await restarted;
    assert.equal(peer.count('once'), 1);
    assert.equal(sent(peer, 'test.count').length, 1);
    const retries = session.events.all.filter((event) => event.type === 'retry');
    assert.deepEqual(retries.map((event) => event.call).sort(), ['agents.files.set', 'agents.list']);
    assert.ok(retries.every((event) => event.reason === 'gateway-restart' && event.outcome === 'unknown'));
    const { retried, unknown } = client.health().calls;
    assert.deepEqual([retried, unknown], [2, 1]);
  });

  it('Q04 made after `shutdown` was read are not written into it, and run once after the hello', async () => {
    await using peer = await gateway({ timings: { shutdownToCloseMs: 80 } });
    await using session = await attach(peer);
    const restarted = peer.restart();
    await session.events.until((event) => event.type === 'restart' && event.phase === 'began');
    assert.equal(session.client.health().state, 'online');
    const { result, attempts } = await session.client.callDetailed('test.count', { key: 'held' });
    assert.deepEqual([result, attempts.length], [{ key: 'held', count: 1 }, 1]);
    assert.deepEqual(
      sent(peer, 'test.count').map(({ conn }) => conn),
      [2],
    );
    await restarted;
  });

  it('go out in the order in which they were made, the cut ones before those that came meanwhile', async () => {
    await using peer = await gateway({ timings: { portShutMs: 150 } });
    await using session = await attach(peer);
    peer.inject({ name: 'no-responses', methods: ['test.echo'] });
    const echo = (number: number): Promise<unknown> =>
      session.client.call('test.echo', { number }, { safety: 'repeatable' });
    const calls = [0, 1, 2, 3].map(echo);
    await peer.until(() => sent(peer, 'test.echo').length === 4);
    const restarted = peer.restart();
    await session.events.until((event) => event.type === 'state' && event.to === 'waiting');
    calls.push(...[4, 5, 6, 7].map(echo));
    peer.heal();
    peer.clearLedger();
    assert.deepEqual(
      await Promise.all(calls),
      [0, 1, 2, 3, 4, 5, 6, 7].map((number) => ({ number })),
    );
    assert.deepEqual(numbers(sent(peer, 'test.echo')), [0, 1, 2, 3, 4, 5, 6, 7]);
    await restarted;
  });

  it('H06 are let out slowly: one, then two, then four … in flight', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const restarted = peer.restart();
    await session.events.until((event) => event.type === 'restart' && event.phase === 'began');
    const calls = Array.from({ length: 64 }, () => session.client.call('test.sleep', { ms: 10 }, { safety: 'read' }));
    let most = 0;
    let tooMany = '';
    // Looked at after everything that happens to the gateway.
    const done = peer.until(() => {
      const arrived = sent(peer, 'test.sleep');
      const answered = arrived.filter((entry) => entry.answered).length;
      const inFlight = arrived.length - answered;
      most = Math.max(most, inFlight);
      if (inFlight > 2 ** Math.min(answered, 10)) tooMany = `${inFlight} in flight after ${answered} answers`;
      return answered === 64;
    });
    await Promise.all(calls);
    await done;
    assert.equal(tooMany, '');
    assert.ok(most >= 8, `${most} in flight at most: it must not stay slow`);
    await restarted;
  });

  it('are not held up by one that the gateway never answers', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const restarted = peer.restart();
    await session.events.until((event) => event.type === 'restart' && event.phase === 'began');
    peer.inject({ name: 'no-responses', methods: ['test.echo'] });
    const { client } = session;
    const mute = refusal(client.call('test.echo', {}, { timeout: 200, maxAttempts: 1 }));
    const aborting = new AbortController();
    const aborted = refusal(client.call('test.echo', {}, { signal: aborting.signal }));
    const behind = timed(() => client.call('test.count', { key: 'behind' }));
    assert.equal((await mute).reason, 'timeout');
    await peer.until(() => sent(peer, 'test.echo').length === 2);
    aborting.abort();
    assert.equal((await aborted).outcome, 'unknown');
    const { ms } = await behind;
    assert.ok(ms < 1500, `${ms} ms`);
    await restarted;
  });

  it('are not held up by one that takes long', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const { client } = session;
    const restarted = peer.restart();
    await session.events.until((event) => event.type === 'restart' && event.phase === 'began');
    const waiting = refusal(client.call('test.sleep', { ms: 3000 }, { safety: 'read' }));
    const { ms } = await timed(() => client.call('health', {}));
    assert.ok(ms < 1500, `${ms} ms behind a call that takes 3000`);
    await client.close({ grace: 0 });
    await waiting;
    await restarted;
  });

  it('Q06 are refused at once when too many wait, by count and by bytes, and those that wait are not touched', async () => {
    await using peer = await gateway({ timings: { portShutMs: 60_000 } });
    await using session = await attach(peer);
    void peer.restart();
    await session.events.until((event) => event.type === 'state' && event.to === 'waiting');
    const { client } = session;
    const failing: Promise<unknown>[] = [];
    const wait = (params: unknown): void =>
      void failing.push(client.call('test.echo', params).catch((error: unknown) => error));
    const megabyte = 'x'.repeat(1024 * 1024);
    for (let index = 0; index < 63; index += 1) wait({ megabyte });
    const heavy = await timed(() => refusal(client.call('test.echo', { megabyte })));
    assert.deepEqual(
      [heavy.value.code, heavy.value.reason, heavy.value.outcome],
      ['HOLDFAST_QUEUE_FULL', 'local', 'not-sent'],
    );
    for (let index = 63; index < 20_000; index += 1) wait({});
    assert.equal(client.health().calls.waiting, 20_000);
    const one = await timed(() => refusal(client.call('health', {})));
    assert.deepEqual([one.value.code, one.value.outcome], ['HOLDFAST_QUEUE_FULL', 'not-sent']);
    for (const { ms } of [heavy, one]) assert.ok(ms < 20, `${ms} ms`);
    assert.equal(client.health().calls.waiting, 20_000);
    await client.close({ grace: 0 });
    const ended = await Promise.all(failing);
    assert.ok(ended.every((error) => (error as { outcome?: string }).outcome === 'not-sent'));
  });

  it('fail as an outage when it outlives its window, except for those that wait for ever', async () => {
    await using peer = await gateway();
    await using session = await attach(peer, {
      reconnect: { initialDelay: 20, maxDelay: 60, restart: { window: 150 } },
    });
    const restarted = peer.restart({ portShutMs: 500 });
    await session.events.until((event) => event.type === 'state' && event.to === 'waiting');
    const patient = session.client.call('test.count', { key: 'patient' }, { retry: 'always' });
    const { value: error, ms } = await timed(() => refusal(session.client.call('test.count', { key: 'hasty' })));
    assert.deepEqual([error.reason, error.outcome], ['outage', 'not-sent']);
    assert.ok(ms < 400, `${ms} ms`);
    assert.deepEqual(await patient, { key: 'patient', count: 1 });
    assert.equal(peer.count('hasty'), 0);
    await restarted;
  });
});
