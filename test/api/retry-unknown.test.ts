import assert from 'node:assert/strict';
import type { Params } from '../../lib/index.js';
import type { LedgerEntry, TestGateway } from '../../lib/testing/index.js';
import { refusal } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

const AGENT: Params<'agents.create'> = { name: 'tenant', workspace: '/workspaces/tenant' };
const CHAT: Params<'chat.send'> = { sessionKey: 'agent:main:main', message: 'Hello.' };

function sent(peer: TestGateway, method: string): LedgerEntry[] {
  return peer.ledger.filter((entry) => entry.method === method);
}

function executed(peer: TestGateway, method: string): number {
  return sent(peer, method).filter((entry) => entry.executed).length;
}

describe('a call of unknown outcome that may run only once', () => {
  it('is never sent again: exactly one frame, whatever cut it, whatever the retry', async () => {
    for (const retry of ['restart', 'always', 'never'] as const) {
      for (const execute of [true, false]) {
        await using peer = await gateway();
        await using session = await attach(peer);
        peer.inject({ name: 'cut-call', methods: ['test.count'], execute });
        const error = await refusal(session.client.call('test.count', { key: 'x' }, { retry }));
        assert.deepEqual([error.reason, error.outcome], ['outage', 'unknown']);
        peer.heal();
        await session.client.ready({ timeout: 5000 });
        await session.client.call('health', {});
        assert.equal(sent(peer, 'test.count').length, 1);
        assert.equal(peer.count('x'), execute ? 1 : 0);
      }
    }
  });

  it('is looked after by the confirm of the caller: sent again only when it proves that it did not run', async () => {
    for (const found of ['ran', 'did not run', 'cannot tell'] as const) {
      await using peer = await gateway();
      await using session = await attach(peer);
      peer.inject({ name: 'cut-call', methods: ['test.count'], times: 1, execute: found === 'ran' });
      const calling = session.client.callDetailed(
        'test.count',
        { key: 'x' },
        {
          retry: 'always',
          confirm: async ({ call, signal }) => {
            assert.equal(signal.aborted, false);
            await call('health', {});
            if (found === 'cannot tell') return { executed: 'unknown' };
            return found === 'ran' ? { executed: true, result: 'found' } : { executed: false };
          },
        },
      );
      if (found === 'cannot tell') assert.equal((await refusal(calling)).outcome, 'unknown');
      else assert.deepEqual((await calling).result, found === 'ran' ? 'found' : { key: 'x', count: 1 });
      assert.equal(sent(peer, 'test.count').length, found === 'did not run' ? 2 : 1);
    }
  });

  it('stays unknown when its confirm throws', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    peer.inject({ name: 'cut-call', methods: ['test.count'], times: 1 });
    const confirm = (): never => {
      throw new Error('no idea');
    };
    const error = await refusal(session.client.call('test.count', { key: 'x' }, { retry: 'always', confirm }));
    assert.equal(error.outcome, 'unknown');
    assert.equal(sent(peer, 'test.count').length, 1);
  });
});

describe('agents.create cut before its answer', () => {
  it('Q02a is found in agents.list after the restart, and counts as executed', async () => {
    await using peer = await gateway({ timings: { createMs: 10_000 } });
    await using session = await attach(peer);
    const creating = session.client.callDetailed('agents.create', AGENT);
    await peer.until(() => executed(peer, 'agents.create') === 1);
    await peer.restart();
    const { result, attempts, restarts } = await creating;
    assert.deepEqual(result, { ok: true, agentId: 'tenant', ...AGENT });
    assert.deepEqual(
      attempts.map(({ outcome, reason }) => [outcome, reason]),
      [['unknown', 'gateway-restart']],
    );
    assert.equal(restarts.length, 1);
    assert.deepEqual([sent(peer, 'agents.create').length, sent(peer, 'agents.list').length], [1, 1]);
  });

  it('Q02b is sent once more when agents.list does not show it', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    peer.inject({ name: 'no-responses', methods: ['agents.create'] });
    const creating = session.client.callDetailed('agents.create', AGENT);
    await peer.until(() => sent(peer, 'agents.create').length === 1);
    peer.heal();
    await peer.restart();
    const { result, attempts } = await creating;
    assert.equal(result.agentId, 'tenant');
    assert.deepEqual(
      attempts.map(({ outcome }) => outcome),
      ['unknown', 'executed'],
    );
    assert.deepEqual([sent(peer, 'agents.create').length, executed(peer, 'agents.create')], [2, 1]);
  });

  it('is rejected, unknown, when an agent of that name has another workspace', async () => {
    await using peer = await gateway({ timings: { createMs: 10_000, settleMs: 0 } });
    await using session = await attach(peer);
    const creating = refusal(session.client.call('agents.create', AGENT));
    await peer.until(() => executed(peer, 'agents.create') === 1);
    peer.inject({ name: 'no-responses', methods: ['agents.list'] });
    const restarted = peer.restart();
    await peer.until(() => sent(peer, 'agents.list').length === 1);
    peer.heal();
    await using other = await attach(peer);
    await other.client.call('agents.update', { agentId: 'tenant', workspace: '/workspaces/somebody' });
    peer.cutAll('reset');
    const error = await creating;
    assert.equal(error.outcome, 'unknown');
    assert.equal(sent(peer, 'agents.create').length, 1);
    await restarted;
  });

  it('Q12c counts as executed when a repeat of our own is answered "already exists", listed yet or not', async () => {
    // The link is cut, the gateway is not: the agent exists, and is not listed for a while.
    await using peer = await gateway({ timings: { settleMs: 600 } });
    await using session = await attach(peer);
    peer.inject({ name: 'cut-call', methods: ['agents.create'], times: 1 });
    const { result } = await session.client.callDetailed('agents.create', AGENT, { retry: 'always' });
    assert.equal(result.agentId, 'tenant');
    assert.equal(executed(peer, 'agents.create'), 1);
  });
});

describe('a keyed call cut before its answer', () => {
  it('Q12a is sent again under its key to the same gateway instance, and joins its first copy', async () => {
    await using peer = await gateway({ timings: { runMs: 2000 } });
    await using session = await attach(peer);
    peer.inject({ name: 'cut-call', methods: ['chat.send'], times: 1 });
    const { result, attempts } = await session.client.callDetailed('chat.send', CHAT, { retry: 'always' });
    assert.equal(result.status, 'in_flight');
    assert.deepEqual(
      attempts.map(({ outcome }) => outcome),
      ['unknown', 'executed'],
    );
    const keys = sent(peer, 'chat.send').map(({ params }) => (params as Record<string, unknown>)['idempotencyKey']);
    assert.deepEqual([keys.length, new Set(keys).size, executed(peer, 'chat.send')], [2, 1, 1]);
    assert.equal(result.runId, keys[0]);
  });

  it('Q12b is not sent to another instance, which does not know the key', async () => {
    for (const how of ['restart', 'kill'] as const) {
      await using peer = await gateway();
      await using session = await attach(peer);
      peer.inject({ name: 'no-responses', methods: ['chat.send'], execute: true });
      const failing = refusal(session.client.call('chat.send', CHAT, { retry: 'always' }));
      await peer.until(() => executed(peer, 'chat.send') === 1);
      if (how === 'restart') await peer.restart();
      else await peer.kill().then(() => peer.start());
      const error = await failing;
      assert.deepEqual([error.reason, error.outcome], [how === 'restart' ? 'gateway-restart' : 'outage', 'unknown']);
      assert.equal(sent(peer, 'chat.send').length, 1);
    }
  });
});
