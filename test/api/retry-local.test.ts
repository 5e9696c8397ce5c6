import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway, idle } from '../support/gateways.js';

const CHAT = { sessionKey: 'agent:main:main', message: 'Hello.' };

describe('what is refused before anything is sent', () => {
  it('an idempotency key that is used again with other parameters', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const { client } = session;
    await client.call('chat.send', CHAT, { idempotencyKey: 'mine' });
    await client.call('chat.send', CHAT, { idempotencyKey: 'mine' });
    const error = await refusal(
      client.with({}).call('chat.send', { ...CHAT, message: 'Other.' }, { idempotencyKey: 'mine' }),
    );
    assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_KEY_REUSED', 'local', 'not-sent']);
    const twice = await refusal(
      client.call('chat.send', { ...CHAT, idempotencyKey: 'one' }, { idempotencyKey: 'another' }),
    );
    assert.deepEqual([twice.code, twice.outcome], ['HOLDFAST_KEY', 'not-sent']);
    const none = await refusal(client.call('agents.list', {}, { idempotencyKey: 'mine' }));
    assert.deepEqual([none.code, none.outcome], ['HOLDFAST_KEY', 'not-sent']);
    assert.equal(peer.ledger.filter(({ method }) => method === 'chat.send').length, 2);
  });

  it('an origin that does not fit: an address of another channel, another recipient, a method that delivers nothing', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const { client } = session;
    const wechat = { channel: 'openclaw-weixin', to: 'o9cq80abcdefghij@im.wechat', accountId: 'bot' };
    const wrong: [string, Record<string, unknown>][] = [
      ['send', { to: wechat.to, channel: 'feishu', message: 'Hello.' }],
      ['agent', { message: 'Hello.', channel: 'feishu', to: wechat.to, deliver: true }],
      ['agents.list', {}],
    ];
    for (const [method, params] of wrong) {
      const error = await refusal(client.call<unknown>(method, params, { origin: wechat }));
      assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_ORIGIN', 'local', 'not-sent'], method);
      assert.ok(error.remedy.length > 0);
    }
    assert.deepEqual(
      peer.ledger.filter(({ method }) => method !== 'connect'),
      [],
    );
  });

  it('an origin that fits is filled in, and is the same in every attempt', async () => {
    await using peer = await gateway({
      faults: [{ name: 'reject-call', preset: 'busy', methods: ['send'], times: 2 }],
    });
    await using session = await attach(peer);
    const origin = { channel: 'telegram', to: '1234567', accountId: 'bot' };
    await session.client.call<unknown>('send', { message: 'Hello.' }, { origin });
    const sent = peer.ledger.filter(({ method }) => method === 'send').map(({ params }) => params);
    assert.equal(sent.length, 3);
    for (const params of sent) {
      const { channel, to, accountId } = params as Record<string, unknown>;
      assert.deepEqual({ channel, to, accountId }, origin);
    }
    assert.deepEqual([sent[1], sent[2]], [sent[0], sent[0]]);
  });
});

describe('abort', () => {
  it('Q13 ends a call at once at every stage, and nothing is sent afterwards', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const { client } = session;
    const stages: [string, string, () => Promise<void>][] = [
      ['before it is made', 'not-sent', async () => {}],
      ['in flight', 'unknown', () => peer.until(() => peer.ledger.some(({ method }) => method === 'test.sleep'))],
      [
        'between two attempts',
        'not-executed',
        async () => void (await session.events.until((event) => event.type === 'retry')),
      ],
    ];
    for (const [stage, outcome, reached] of stages) {
      const controller = new AbortController();
      if (stage === 'before it is made') controller.abort();
      if (stage === 'between two attempts')
        peer.inject({ name: 'reject-call', preset: 'busy', retryAfterMs: 600, times: 1 });
      const failing = refusal(client.call('test.sleep', { ms: 60_000, stage }, { signal: controller.signal }));
      await reached();
      const { value: error, ms } = await timed(() => {
        controller.abort('enough');
        return failing;
      });
      assert.ok(ms < 50, `${stage}: ${ms} ms`);
      assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_ABORTED', 'local', outcome], stage);
      if (stage !== 'before it is made') assert.equal(error.cause, 'enough');
      const before = peer.ledger.length;
      await client.call('health', {});
      assert.equal(peer.ledger.length, before + 1, stage);
      peer.clearLedger();
    }
    const { inFlight, waiting } = client.health().calls;
    assert.deepEqual([inFlight, waiting], [0, 0]);
  });

  it('Q13 ends a call that waits for the link, or whose outcome is being looked for', async () => {
    await using peer = await gateway();
    await using waiting = idle(peer);
    waiting.client.start();
    const early = new AbortController();
    const queued = refusal(waiting.client.call('test.count', { key: 'x' }, { signal: early.signal }));
    early.abort();
    assert.deepEqual([(await queued).code, (await queued).outcome], ['HOLDFAST_ABORTED', 'not-sent']);
    await waiting.client.ready({ timeout: 5000 });

    peer.inject({ name: 'cut-call', methods: ['test.count'], times: 1, execute: false });
    const late = new AbortController();
    const looking = new Promise<AbortSignal>((resolve) => {
      const confirm = ({ signal }: { signal: AbortSignal }): Promise<never> => {
        resolve(signal);
        return new Promise(() => {});
      };
      waiting.client
        .call('test.count', { key: 'x' }, { retry: 'always', confirm, signal: late.signal })
        .catch(() => {});
    });
    const inner = await looking;
    late.abort();
    assert.equal(inner.aborted, true, 'who looks is told to stop');
    assert.equal(waiting.client.health().calls.waiting, 0);
    assert.equal(peer.count('x'), 0);
  });
});

describe('close', () => {
  it('lets calls finish within its grace, and says of the others what became of them', async () => {
    await using peer = await gateway({
      faults: [{ name: 'reject-call', preset: 'busy', methods: ['models.list'], retryAfterMs: 60_000 }],
    });
    await using session = await attach(peer);
    const { client } = session;
    const quick = client.call('test.sleep', { ms: 100 });
    const slow = refusal(client.call('test.sleep', { ms: 60_000 }));
    const refused = refusal(client.call('models.list', {}));
    await session.events.until((event) => event.type === 'retry');
    const { ms } = await timed(async () => {
      const first = client.close({ grace: 1500 });
      const after = await refusal(client.call('health', {}));
      assert.deepEqual([after.reason, after.outcome], ['local', 'not-sent']);
      await Promise.all([first, client.close({ grace: 60_000 })]);
    });
    assert.deepEqual(await quick, { slept: 100 });
    assert.deepEqual([(await slow).reason, (await slow).outcome], ['local', 'unknown']);
    assert.equal((await refused).outcome, 'not-executed');
    assert.ok(ms < 1600, `${ms} ms`);
    await sleep(0);
  });

  it('ends at once what waits for a link, not sent', async () => {
    await using peer = await gateway({ timings: { portShutMs: 60_000 } });
    await using session = await attach(peer);
    void peer.restart();
    await session.events.until((event) => event.type === 'state' && event.to === 'waiting');
    const held = refusal(session.client.call('test.count', { key: 'x' }));
    const { ms } = await timed(() => session.client.close({ grace: 5000 }));
    assert.equal((await held).outcome, 'not-sent');
    assert.ok(ms < 500, `${ms} ms`);
  });
});
