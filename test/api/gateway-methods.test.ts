import assert from 'node:assert/strict';
import { createGatewayMethods, type GatewayMethods } from '../../lib/api/gateway-methods.js';
import type { LedgerEntry, TestGateway } from '../../lib/testing/index.js';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway, QUICK, type Session } from '../support/gateways.js';

const AGENT = { name: 'tenant', workspace: '/workspaces/tenant' };

function requests(peer: TestGateway, method: string): LedgerEntry[] {
  return peer.ledger.filter((entry) => entry.method === method);
}

function methodsOf(session: Session): GatewayMethods {
  return createGatewayMethods(session.client);
}

describe('the methods of the gateway', () => {
  it('send what they are named after, and resolve with what the gateway answers', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const methods = methodsOf(session);
    const { agentId } = await methods.agents.create(AGENT);
    assert.equal(agentId, 'tenant');
    const { agents } = await methods.agents.list();
    assert.ok(agents.some(({ id }) => id === agentId));
    assert.equal((await methods.agents.update({ agentId, name: 'Tenant' })).agentId, agentId);
    const set = await methods.agents.files.set({ agentId, name: 'SOUL.md', content: 'a soul' });
    assert.equal(set.file.name, 'SOUL.md');
    assert.equal((await methods.agents.files.get({ agentId, name: 'SOUL.md' })).file.content, 'a soul');
    assert.ok((await methods.agents.files.list({ agentId })).files.some(({ name }) => name === 'SOUL.md'));
    const { runId } = await methods.chat.send({ sessionKey: 'agent:tenant:main', message: 'Hello.' });
    assert.equal(requests(peer, 'chat.send')[0]?.answered, true);
    assert.equal(typeof runId, 'string');
    assert.deepEqual((await methods.chat.history({ sessionKey: 'agent:tenant:main' })).messages, []);
    assert.equal((await methods.chat.abort({ sessionKey: 'agent:tenant:main', runId })).ok, true);
    assert.ok((await methods.models.list()).models.length > 0);
    assert.deepEqual((await methods.sessions.list()).sessions, []);
    assert.equal((await methods.health()).ok, true);
    assert.equal((await methods.status()).runtimeVersion, '2026.9.6');
    const sent = await methods.send({ to: '1234567', channel: 'telegram', message: 'Hello.' });
    assert.equal(sent.channel, 'telegram');
    assert.equal((await methods.agents.delete({ agentId })).agentId, agentId);
    assert.ok(peer.ledger.every(({ executed, method }) => executed || method === 'agents.files.list'));
  });

  it('take the options of a call, and the defaults of their view', async () => {
    await using peer = await gateway({ faults: [{ name: 'no-responses', methods: ['agents.list', 'models.list'] }] });
    await using session = await attach(peer);
    const own = refusal(methodsOf(session).agents.list({}, { timeout: 40, retry: 'never' }));
    const viewed = refusal(createGatewayMethods(session.client.with({ timeout: 40, retry: 'never' })).models.list());
    assert.deepEqual([(await own).reason, (await viewed).reason], ['timeout', 'timeout']);
  });
});

describe('agents.create', () => {
  it('returns an agent that 2026.9.6 knows: files.set right behind it needs no second attempt', async () => {
    await using peer = await gateway({ timings: { settleMs: 300 } });
    await using session = await attach(peer);
    const { value, ms } = await timed(() => methodsOf(session).agents.create(AGENT));
    assert.ok(ms >= 290 && ms < 800, `${ms} ms for a window of 300`);
    await session.client.call('agents.files.set', { agentId: value.agentId, name: 'SOUL.md', content: '' });
    assert.equal(requests(peer, 'agents.files.set').length, 1);
    assert.equal(session.events.all.filter(({ type }) => type === 'retry').length, 0);
  });

  it('adds a read, and no delay, where the agent is known at once', async () => {
    await using peer = await gateway({ timings: { settleMs: 0 } });
    await using session = await attach(peer);
    const { ms } = await timed(() => methodsOf(session).agents.create(AGENT));
    assert.ok(ms < 150, `${ms} ms`);
    assert.equal(requests(peer, 'agents.files.list').length, 1);
  });

  it('returns after the restart that 2026.4.26 makes of it: nothing is sent into it', async () => {
    await using peer = await gateway({ emulate: '2026.4.26' });
    await using session = await attach(peer);
    const { agentId } = await methodsOf(session).agents.create(AGENT);
    assert.equal(peer.hellos, 2);
    await session.client.call('agents.files.set', { agentId, name: 'SOUL.md', content: '' });
    const { status } = await session.client.fetch('/v1/models');
    assert.equal(status, 200);
    assert.ok(peer.ledger.every(({ answered }) => answered));
    assert.equal(session.events.all.filter(({ type }) => type === 'retry').length, 0);
  });

  it('waits a bounded time for a restart that does not come', async () => {
    // A gateway of this version is expected to restart; one that is busy may do so minutes later, or never.
    await using peer = await gateway({ emulate: '2026.4.26', timings: { createToRestartMs: 60_000 } });
    await using session = await attach(peer);
    const methods = methodsOf(session);
    peer.inject({ name: 'no-responses', methods: ['agents.files.list'] });
    const { value, ms } = await timed(() => refusal(methods.agents.create(AGENT, { deadline: 1500 })));
    assert.deepEqual([value.code, value.outcome, value.reason], ['HOLDFAST_NOT_USABLE', 'executed', 'timeout']);
    assert.ok(ms >= 1400 && ms < 1900, `${ms} ms`);
  });

  it('returns at the ok when that is wanted', async () => {
    for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
      await using peer = await gateway({ emulate });
      await using session = await attach(peer);
      await methodsOf(session).agents.create(AGENT, { usable: false });
      assert.equal(requests(peer, 'agents.files.list').length, 0);
      assert.equal(peer.hellos, 1);
    }
  });

  it('says that the agent exists when only the wait for it fails', async () => {
    await using peer = await gateway({ timings: { settleMs: 60_000 } });
    await using session = await attach(peer);
    const { value: late, ms } = await timed(() => refusal(methodsOf(session).agents.create(AGENT, { deadline: 300 })));
    assert.deepEqual([late.code, late.outcome], ['HOLDFAST_NOT_USABLE', 'executed']);
    assert.match(late.message, /"tenant" was created/);
    assert.ok(ms < 400, `${ms} ms`);
    const signal = AbortSignal.timeout(120);
    const aborted = await refusal(methodsOf(session).agents.create({ ...AGENT, name: 'other' }, { signal }));
    assert.deepEqual([aborted.code, aborted.outcome, aborted.reason], ['HOLDFAST_ABORTED', 'executed', 'local']);
  });

  it('fails at once when the restart turns into an outage, and waits it out when it is told to', async () => {
    for (const retry of ['restart', 'always'] as const) {
      await using peer = await gateway({ emulate: '2026.4.26' });
      await using session = await attach(peer, { reconnect: { ...QUICK.reconnect, restart: { window: 200 } } });
      const off = session.client.on('restart', ({ phase }) => {
        off();
        if (phase === 'began') void peer.kill();
      });
      const creating = methodsOf(session).agents.create(AGENT, { retry });
      if (retry === 'restart') {
        const error = await refusal(creating);
        assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_NOT_USABLE', 'outage', 'executed']);
      } else {
        await session.events.until((event) => event.type === 'restart' && event.phase === 'became-outage');
        await peer.start();
        assert.equal((await creating).agentId, 'tenant');
      }
      assert.equal(requests(peer, 'agents.create').length, 1);
    }
  });
});
