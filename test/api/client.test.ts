import assert from 'node:assert/strict';
import { type GatewayClient, isGatewayError } from '../../lib/index.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { bounded, eventually, refusal, timed } from '../support/collect.js';
import { attach, begin, gateway, idle, nobody, type Session } from '../support/gateways.js';

/** Brings a client into one state and leaves it there. */
const STATES: Readonly<Record<string, (peer: TestGateway) => Promise<Session>>> = {
  idle: async (peer) => idle(peer),
  connecting: async (peer) => {
    peer.inject({ name: 'silent' });
    const session = begin(peer);
    await peer.until(() => peer.dials > 0);
    return session;
  },
  handshaking: async (peer) => {
    peer.inject({ name: 'no-hello' });
    const session = begin(peer);
    await session.journal.entered('handshaking');
    return session;
  },
  online: (peer) => attach(peer),
  waiting: async (peer) => {
    peer.inject({ name: 'refuse' });
    const session = begin(peer, { reconnect: { initialDelay: 60_000, maxDelay: 60_000 } });
    await session.journal.entered('waiting');
    return session;
  },
  blocked: async (peer) => {
    const session = begin({ url: peer.url, token: 'not the token' }, { blocked: { initialDelay: 60_000 } });
    await session.journal.entered('blocked');
    return session;
  },
  stopped: async (peer) => {
    const session = await attach(peer);
    await session.client.close();
    return session;
  },
};

describe('a client', () => {
  it('connects, says who answered, and is ready', async () => {
    await using peer = await gateway();
    await using session = begin(peer);
    const hello = await session.client.ready({ timeout: 5000 });
    assert.equal(hello.server.version, '2026.9.6');
    assert.equal(hello.server.bootId, peer.bootId);
    assert.equal(hello.protocol, 4);
    assert.equal(session.client.health().ok, true);
    assert.equal(peer.connections.at(-1)?.role, 'operator');
  });

  it('speaks protocol 3 with an older gateway, in the same single dial', async () => {
    await using peer = await gateway({ emulate: '2026.4.26' });
    await using session = await attach(peer);
    const { gateway: seen } = session.client.health();
    assert.deepEqual([seen?.protocol, seen?.version, seen?.bootId], [3, '2026.4.26', undefined]);
    assert.equal(peer.dials, 1);
  });

  it('is inert until start()', async () => {
    await using peer = await gateway();
    const before = process.getActiveResourcesInfo().length;
    await using session = idle(peer);
    assert.equal(process.getActiveResourcesInfo().length, before);
    const { state, attempt, ok } = session.client.health();
    assert.deepEqual([state, attempt, ok], ['idle', 0, false]);
    // Whatever a client does, it does within one turn of the loop after this call; another client is the clock here.
    await using other = await attach(peer);
    assert.equal(peer.dials, 1);
    assert.equal(session.journal.all.length, 0);
    assert.equal(other.client.health().ok, true);
  });

  it('starts once, however often it is asked', async () => {
    await using peer = await gateway();
    await using session = idle(peer);
    assert.equal(session.client.start(), session.client);
    session.client.start();
    await session.client.ready({ timeout: 5000 });
    session.client.start();
    await session.client.call('health', {});
    assert.equal(peer.dials, 1);
  });

  it('refuses to start again once it has stopped, or while it closes', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const closing = session.client.close();
    const local = (error: unknown): boolean => isGatewayError(error, 'local') && error.outcome === 'not-sent';
    assert.throws(() => session.client.start(), local);
    await closing;
    assert.throws(() => session.client.start(), local);
    assert.equal(peer.dials, 1);
  });

  it('answers health() in every state, truly and with plain data', async () => {
    for (const [state, bring] of Object.entries(STATES)) {
      await using peer = await gateway();
      await using session = await bring(peer);
      const health = session.client.health();
      assert.equal(health.state, state);
      assert.equal(health.ok, state === 'online', state);
      assert.equal(health.nextAttemptAt !== undefined, state === 'waiting' || state === 'blocked', state);
      assert.equal(health.awaiting !== undefined, state === 'blocked', state);
      assert.deepEqual(structuredClone(health), health);
    }
  });

  it('P07, P08 closes from every state within its grace, and a second close joins the first', async () => {
    for (const [state, bring] of Object.entries(STATES)) {
      await using peer = await gateway();
      await using session = await bring(peer);
      const { ms } = await timed(async () => {
        const first = session.client.close({ grace: 1000 });
        const second = session.client.close({ grace: 60_000 });
        await Promise.all([first, second]);
      });
      assert.ok(ms < 1000, `from ${state}: ${ms} ms`);
      const end = await bounded(session.client.done, `the end from ${state}`);
      assert.deepEqual(end, { outcome: 'closed', exitCode: 0 });
      assert.equal(session.client.health().state, 'stopped');
    }
  });

  it('says goodbye with 1000 when it closes a good link', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await session.client.close();
    await peer.until(() => peer.connections[0]?.open === false);
    assert.equal(peer.connections[0]?.closeCode, 1000);
    assert.equal(peer.connections[0]?.closedBy, 'peer');
  });

  it('L12 closes within its grace although the gateway never answers the close frame', async () => {
    await using peer = await gateway({ faults: [{ name: 'mute-close' }] });
    await using patient = await attach(peer);
    await using hasty = await attach(peer);
    const [slow, quick] = await Promise.all([
      timed(() => patient.client.close({ grace: 2000 })),
      timed(() => hasty.client.close({ grace: 300 })),
    ]);
    assert.ok(slow.ms < 2000, `grace 2000: ${slow.ms} ms`);
    assert.ok(quick.ms < 600, `grace 300: ${quick.ms} ms`);
  });

  it('lets calls in flight finish within the grace, and no longer', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const short = session.client.call('test.sleep', { ms: 100 });
    const long = refusal(session.client.call('test.sleep', { ms: 60_000 }));
    const { ms } = await timed(() => session.client.close({ grace: 1300 }));
    assert.deepEqual(await short, { slept: 100 });
    const error = await long;
    assert.deepEqual([error.reason, error.outcome], ['local', 'unknown']);
    assert.ok(ms >= 250 && ms < 1800, `${ms} ms`);
  });

  it('resolves done once, with the very same outcome for everybody who asks', async () => {
    await using away = { ...(await nobody()), async [Symbol.asyncDispose]() {} };
    await using session = begin(away, { giveUp: { maxAttempts: 2 } });
    const [first, second] = await Promise.all([session.client.done, session.client.with({}).done]);
    assert.equal(first, second);
    assert.deepEqual([first.outcome, first.reason, first.exitCode], ['gave-up', 'outage', 75]);
    assert.ok(isGatewayError(first.error, 'outage'));
    await session.client.close();
    assert.equal(await session.client.done, first);
    assert.equal(session.journal.failures.length, 2);
    assert.equal(session.journal.of('giveup').length, 1);
  });

  it('INV9 leaves nothing behind: no timer, no socket, however it ended', async () => {
    const peer = await gateway();
    const before = process
      .getActiveResourcesInfo()
      .filter((name) => name !== 'Immediate')
      .sort();
    const ended: GatewayClient[] = [];
    const online = await attach(peer);
    await online.client.call('test.echo', { text: 'hello' });
    ended.push(online.client);
    for (const state of ['connecting', 'handshaking', 'waiting']) {
      const other = await gateway();
      const session = await STATES[state]?.(other);
      assert.ok(session !== undefined);
      await session.client.close();
      ended.push(session.client);
      await other.close();
    }
    const gaveUp = begin(await nobody(), { giveUp: { after: 50 } });
    await gaveUp.client.done;
    await online.client.close();
    const left = (): string[] =>
      process
        .getActiveResourcesInfo()
        .filter((name) => name !== 'Immediate')
        .sort();
    await eventually(
      () => left().length <= before.length,
      `resources as before: ${before.join()}, now ${left().join()}`,
    );
    assert.deepEqual(left(), before);
    assert.ok(ended.every((client) => client.health().state === 'stopped'));
    await peer.close();
  });

  it('is closed by `await using`', async () => {
    await using peer = await gateway();
    const session = await attach(peer);
    {
      await using client = session.client;
      assert.equal(client.health().ok, true);
    }
    assert.equal(session.client.health().state, 'stopped');
  });

  it('ready() rejects by its time, by its signal and at the end, with a GatewayError each', async () => {
    await using away = { ...(await nobody()), async [Symbol.asyncDispose]() {} };
    await using session = begin(away);
    const late = await refusal(session.client.ready({ timeout: 60 }));
    assert.deepEqual([late.code, late.reason], ['HOLDFAST_TIMEOUT', 'outage']);
    const controller = new AbortController();
    const aborted = refusal(session.client.ready({ signal: controller.signal }));
    controller.abort();
    assert.deepEqual([(await aborted).code, (await aborted).reason], ['HOLDFAST_ABORTED', 'local']);
    assert.equal((await refusal(session.client.ready({ signal: AbortSignal.abort() }))).code, 'HOLDFAST_ABORTED');
    const waiting = refusal(session.client.ready());
    await session.client.close();
    assert.equal((await waiting).reason, 'local');
    assert.equal((await refusal(session.client.ready())).reason, 'local');
  });

  it('shares one socket among its views, each with defaults of its own', async () => {
    await using peer = await gateway({ faults: [{ name: 'no-responses', methods: ['test.echo'] }] });
    await using session = await attach(peer);
    const hasty = session.client.with({ timeout: 50, deadline: 60_000, maxAttempts: 1 });
    const error = await refusal(hasty.call('test.echo', {}));
    assert.deepEqual([error.reason, error.outcome], ['timeout', 'unknown']);
    assert.deepEqual(await session.client.call('test.sleep', { ms: 80 }), { slept: 80 });
    assert.equal(peer.dials, 1);
    assert.throws(() => session.client.with({ timeout: -1 }), /timeout/);
  });
});
