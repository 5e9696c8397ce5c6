/** A real OpenAI client over `client.fetch`: its errors, its streams, its aborts; and no retry of its own does harm. */
import assert from 'node:assert/strict';
import OpenAI, {
  APIConnectionError,
  APIConnectionTimeoutError,
  APIUserAbortError,
  AuthenticationError,
  InternalServerError,
} from 'openai';
import { isGatewayError } from '../../lib/index.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { bounded } from '../support/collect.js';
import { attach, gateway, type Session } from '../support/gateways.js';
import { until } from '../support/scripted-link.js';

const ASK = { model: 'openclaw', messages: [{ role: 'user' as const, content: 'hello' }] };

function openai(session: Session, peer: TestGateway, options: { maxRetries?: number; timeout?: number } = {}): OpenAI {
  const { client } = session;
  return new OpenAI({
    baseURL: `${peer.httpUrl}/v1`,
    apiKey: 'placeholder',
    maxRetries: 0,
    fetch: (input, init) => client.fetch(input, init),
    ...options,
  });
}

async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  return await bounded(
    Promise.resolve(promise).then(
      () => assert.fail('it did not reject'),
      (error: unknown) => error,
    ),
    'a rejection',
  );
}

function posts(peer: TestGateway): number {
  return peer.ledger.filter(({ method }) => method === 'POST /v1/chat/completions').length;
}

/** Resolves when the connection of the last completion is gone, as the gateway sees it. */
async function gone(peer: TestGateway): Promise<void> {
  const conn = peer.ledger.findLast(({ kind }) => kind === 'http')?.conn;
  await peer.until(() => peer.connections.find((connection) => connection.conn === conn)?.open === false);
}

describe('an OpenAI client over client.fetch', () => {
  it('completes, lists and streams, with the credential of the gateway in place of its own', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const ai = openai(session, peer);
    const completion = await ai.chat.completions.create(ASK);
    const text = completion.choices[0]?.message.content ?? '';
    assert.ok(text.length > 0);
    assert.ok((await ai.models.list()).data.length >= 2);
    let streamed = '';
    for await (const chunk of await ai.chat.completions.create({ ...ASK, stream: true }))
      streamed += chunk.choices[0]?.delta.content ?? '';
    assert.equal(streamed.trim(), text.trim());
    const { response } = await ai.chat.completions.create(ASK).withResponse();
    assert.equal(response.url, `${peer.httpUrl}/v1/chat/completions`);
  });

  it('rides out a restart without a retry of anybody', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const ai = openai(session, peer);
    const restarted = peer.restart();
    await session.events.until((event) => event.type === 'restart', 'the begin of the restart');
    const [plain, stream] = await Promise.all([
      ai.chat.completions.create(ASK),
      ai.chat.completions.create({ ...ASK, stream: true }),
    ]);
    assert.ok(plain.id.startsWith('chatcmpl_'));
    for await (const chunk of stream) assert.equal(chunk.object, 'chat.completion.chunk');
    assert.equal(posts(peer), 2);
    await restarted;
  });

  it('gets error statuses as errors of its own', async () => {
    await using peer = await gateway({ faults: [{ name: 'no-provider', times: 1 }] });
    await using session = await attach(peer);
    const ai = openai(session, peer);
    const unpaid = await rejection(ai.chat.completions.create(ASK));
    assert.ok(unpaid instanceof AuthenticationError);
    assert.match(unpaid.message, /No route-compatible authentication source/);
    peer.drain();
    const draining = await rejection(ai.chat.completions.create(ASK, { signal: AbortSignal.timeout(150) }));
    assert.ok(draining instanceof APIUserAbortError);
    const view = session.client.with({ maxAttempts: 1 });
    const once = new OpenAI({
      baseURL: `${peer.httpUrl}/v1`,
      apiKey: 'x',
      fetch: (input, init) => view.fetch(input, init),
    });
    const before = posts(peer);
    const refused = await rejection(once.chat.completions.create(ASK));
    assert.ok(refused instanceof InternalServerError);
    assert.deepEqual(
      [refused.status, refused.headers?.get('holdfast-reason'), refused.headers?.get('holdfast-outcome')],
      [503, 'gateway-draining', 'not-executed'],
    );
    assert.equal(posts(peer), before + 1, 'marked answers are not retried by its default of two');
  });

  it('does not send again, by its own retries, what fell into a restart', async () => {
    await using peer = await gateway({ emulate: '2026.4.26', timings: { runMs: 300, lingerMs: 200 } });
    await using session = await attach(peer);
    const ai = openai(session, peer, { maxRetries: 2 });
    const failed = rejection(ai.chat.completions.create(ASK));
    await peer.until(() => posts(peer) === 1);
    await peer.restart();
    const error = await failed;
    assert.ok(error instanceof InternalServerError);
    assert.deepEqual([error.status, error.headers?.get('holdfast-outcome'), posts(peer)], [500, 'unknown', 1]);
  });

  it('carries what was thrown as the cause of its connection error', async () => {
    await using peer = await gateway({ faults: [{ name: 'http-fault', kind: 'reset' }] });
    await using session = await attach(peer);
    const error = await rejection(openai(session, peer).chat.completions.create(ASK));
    assert.ok(error instanceof APIConnectionError);
    assert.ok(isGatewayError(error.cause, 'outage'));
    assert.equal(error.cause.outcome, 'unknown');
  });

  it('knows its own timeout and its own abort', async () => {
    await using peer = await gateway({ faults: [{ name: 'http-fault', kind: 'no-headers' }] });
    await using session = await attach(peer);
    const ai = openai(session, peer, { timeout: 60 });
    assert.ok((await rejection(ai.chat.completions.create(ASK))) instanceof APIConnectionTimeoutError);
    const abort = new AbortController();
    const aborted = rejection(ai.chat.completions.create(ASK, { signal: abort.signal, timeout: 5000 }));
    await peer.until(() => posts(peer) === 2);
    abort.abort();
    assert.ok((await aborted) instanceof APIUserAbortError);
  });

  it('ends an aborted stream quietly, as it does with fetch, and its connection goes', async () => {
    await using peer = await gateway({ faults: [{ name: 'http-fault', kind: 'stalled-stream' }] });
    await using session = await attach(peer);
    const stream = await openai(session, peer).chat.completions.create({ ...ASK, stream: true });
    let chunks = 0;
    for await (const _chunk of stream) {
      chunks += 1;
      if (chunks === 3) stream.controller.abort();
    }
    assert.equal(chunks, 3);
    await gone(peer);
    assert.equal(session.client.health().calls.inFlight, 0);
  });

  it('leaves a stream early, and its connection goes', async () => {
    await using peer = await gateway({ faults: [{ name: 'http-fault', kind: 'stalled-stream' }] });
    await using session = await attach(peer);
    for await (const _chunk of await openai(session, peer).chat.completions.create({ ...ASK, stream: true })) break;
    await gone(peer);
    assert.equal(session.client.health().calls.inFlight, 0);
  });

  it('is told of a stream that stalls or is cut: it never ends as if it were whole', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const view = session.client.with({});
    const ai = new OpenAI({
      baseURL: `${peer.httpUrl}/v1`,
      apiKey: 'x',
      fetch: (input, init) => view.fetch(input, { ...init, gateway: { timeout: 250 } }),
    });
    const chunks: string[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of await ai.chat.completions.create({ ...ASK, stream: true }))
        chunks.push(chunk.choices[0]?.delta.content ?? '');
    };
    peer.inject({ name: 'http-fault', kind: 'stalled-stream', times: 1 });
    const stalled = await rejection(read());
    assert.ok(isGatewayError(stalled, 'timeout'));
    assert.equal(chunks.length, 3);
    peer.inject({ name: 'http-fault', kind: 'stalled-stream', times: 1 });
    const cut = rejection(read());
    await until(() => chunks.length === 6);
    await peer.kill();
    const error = await cut;
    assert.ok(isGatewayError(error));
    assert.deepEqual([error.reason, error.outcome, error.code], ['outage', 'unknown', 'HOLDFAST_BODY_CUT']);
  });
});
