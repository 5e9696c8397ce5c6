import assert from 'node:assert/strict';
import type { Fault, TestGateway } from '../../lib/testing/index.js';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway, type Session } from '../support/gateways.js';

/** Answers that come long after the gateway has died. */
const SLOW: Fault = { name: 'slow-responses', ms: 60_000 };

type Retry = 'restart' | 'always' | 'never';

/** One call of each safety, in flight. */
async function inFlight(peer: TestGateway, session: Session, retry: Retry): Promise<Record<string, Promise<unknown>>> {
  await session.client.call('agents.create', { name: 'tenant', workspace: '/workspaces/tenant' });
  await peer.until(() => peer.ledger.some(({ method, answered }) => method === 'agents.create' && answered));
  peer.inject(SLOW);
  peer.clearLedger();
  const { client } = session;
  const calls = {
    read: client.call('agents.list', {}, { retry }),
    repeatable: client.call('agents.files.set', { agentId: 'main', name: 'SOUL.md', content: 'a soul' }, { retry }),
    keyed: client.call('chat.send', { sessionKey: 'agent:main:main', message: 'Hello.' }, { retry }),
    once: client.call('test.count', { key: 'once' }, { retry }),
  };
  await peer.until(() => peer.ledger.filter(({ executed }) => executed).length === 4);
  return calls;
}

function count(peer: TestGateway, method: string): number {
  return peer.ledger.filter((entry) => entry.method === method).length;
}

describe('kill -9 of the gateway with calls in flight', () => {
  it('with retry `always` reads and repeatables complete when it is back; nothing else is sent again', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const calls = await inFlight(peer, session, 'always');
    const failing = Promise.all([
      refusal(calls['keyed'] as Promise<unknown>),
      refusal(calls['once'] as Promise<unknown>),
    ]);
    await peer.kill();
    peer.heal();
    await peer.start();
    const list = (await calls['read']) as { agents: unknown[] };
    assert.equal(list.agents.length, 2);
    assert.equal(((await calls['repeatable']) as { ok: boolean }).ok, true);
    for (const error of await failing) {
      assert.deepEqual([error.reason, error.outcome], ['outage', 'unknown'], error.message);
      assert.deepEqual(
        error.attempts.map(({ outcome }) => outcome),
        ['unknown'],
      );
    }
    const sent = ['agents.list', 'agents.files.set', 'chat.send', 'test.count'].map((method) => count(peer, method));
    assert.deepEqual(sent, [2, 2, 1, 1]);
    assert.equal(peer.count('once'), 1);
  });

  for (const retry of ['restart', 'never'] as const) {
    it(`with retry \`${retry}\` they all reject at once, unknown`, async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      const calls = await inFlight(peer, session, retry);
      const failing = Promise.all(Object.values(calls).map((call) => refusal(call)));
      const lost = session.journal.until((line) => line.prevState === 'online', 'the loss');
      await peer.kill();
      const { value: errors, ms } = await timed(async () => {
        await lost;
        return await failing;
      });
      for (const error of errors) assert.deepEqual([error.reason, error.outcome], ['outage', 'unknown'], error.message);
      assert.ok(ms < 100, `${ms} ms`);
      peer.heal();
      await peer.start();
      await session.client.ready({ timeout: 5000 });
      await session.client.call('health', {});
      assert.equal(peer.count('once'), 1);
    });
  }
});

describe('a genuine outage', () => {
  it('rejects a call within 5 ms, not sent, once it is known', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await peer.kill();
    await session.journal.failed(1);
    const { client } = session;
    // The first of all costs what code costs that never ran before.
    await refusal(client.call('agents.list', {}));
    for (const method of ['agents.list', 'agents.files.set', 'chat.send', 'agents.create', 'test.count']) {
      const { value: error, ms } = await timed(() => refusal(client.call<unknown>(method, { name: 'x', key: 'x' })));
      assert.deepEqual([error.reason, error.outcome], ['outage', 'not-sent'], method);
      assert.ok(ms < 5, `${method}: ${ms} ms`);
    }
    assert.equal(client.health().calls.waiting, 0);
  });

  it('rejects what is in flight within 5 ms of the moment at which it is known', async () => {
    await using peer = await gateway({ faults: [SLOW] });
    await using session = await attach(peer);
    let knownAt = 0;
    session.client.on('state', ({ from }) => {
      if (from === 'online') knownAt = performance.now();
    });
    const failing = refusal(session.client.call('agents.list', {})).then(() => performance.now());
    await peer.until(() => count(peer, 'agents.list') === 1);
    await peer.kill();
    const ms = (await failing) - knownAt;
    assert.ok(ms < 5, `${ms} ms`);
  });

  it('is waited out with retry `always`, and the call is sent exactly once', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await peer.kill();
    await session.journal.failed(1);
    const waiting = session.client.callDetailed('test.count', { key: 'patient' }, { retry: 'always' });
    await peer.start();
    const { result, attempts, waited } = await waiting;
    assert.deepEqual(result, { key: 'patient', count: 1 });
    assert.equal(attempts.at(-1)?.outcome, 'executed');
    assert.ok(waited > 0);
    assert.equal(count(peer, 'test.count'), 1);
  });

  it('ends a call that waits it out by its deadline, and says for what and for how long', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await peer.kill();
    await session.journal.failed(1);
    const { value: error, ms } = await timed(() =>
      refusal(session.client.call('agents.list', {}, { retry: 'always', deadline: 200 })),
    );
    assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_DEADLINE', 'outage', 'not-sent']);
    assert.match(error.message, /0\.2 s of outage/);
    assert.ok(ms >= 195 && ms < 300, `${ms} ms`);
  });
});
