import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { TestGateway } from '../../lib/testing/index.js';
import { Bench, operator, RawClient } from './raw-client.js';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers: Headers;
}

describe('the embedded gateway: HTTP', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  const call = async (gateway: TestGateway, path: string, init: RequestInit = {}): Promise<Answer> => {
    const authorized = { authorization: `Bearer ${gateway.token}`, ...init.headers };
    const response = await fetch(`${gateway.httpUrl}${path}`, { ...init, headers: authorized });
    const { status, headers } = response;
    return { status, headers, type: headers.get('content-type') ?? '', body: await response.text() };
  };
  const post = (body: unknown): RequestInit => ({ method: 'POST', body: JSON.stringify(body) });
  const CHAT = { model: 'openclaw', messages: [{ role: 'user', content: 'hello' }] };

  it('answers probes when live', async () => {
    const gateway = await bench.gateway();
    for (const path of ['/health', '/healthz']) {
      assert.equal((await call(gateway, path)).body, '{"ok":true,"status":"live"}');
    }
    const ready = JSON.parse((await call(gateway, '/readyz')).body);
    assert.deepEqual([ready.ready, ready.failing], [true, []]);
    assert.equal(JSON.parse((await call(gateway, '/startupz')).body).status, 'started');
    const wrong = await call(gateway, '/readyz', { method: 'POST' });
    assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'GET, HEAD']);
    assert.deepEqual([(await call(gateway, '/healthz', { method: 'HEAD' })).status], [200]);
  });

  it('has no /startupz on 2026.4.26: 200 with HTML, like any unknown path', async () => {
    const older = await bench.gateway({ emulate: '2026.4.26' });
    const startup = await call(older, '/startupz');
    assert.deepEqual([startup.status, startup.type], [200, 'text/html; charset=utf-8']);
    const gateway = await bench.gateway();
    const page = await call(gateway, '/no/such/page');
    assert.deepEqual([page.status, page.type], [200, 'text/html; charset=utf-8']);
    const json = { headers: { accept: 'application/json' } };
    for (const [path, init] of [
      ['/no/such/page', json],
      ['/api/x', {}],
      ['/v1/x', {}],
      ['/x.js', {}],
      ['/readyz/', {}],
      ['/x', { method: 'POST' }],
    ] as const) {
      assert.equal((await call(gateway, path, init)).status, 404, path);
    }
  });

  it('completes a chat: canned, streamed, or refused', async () => {
    const gateway = await bench.gateway();
    const answer = JSON.parse((await call(gateway, '/v1/chat/completions', post(CHAT))).body);
    assert.equal(answer.choices[0].message.content, 'This is a canned answer.');
    const streamed = await call(gateway, '/v1/chat/completions', post({ ...CHAT, stream: true }));
    assert.match(streamed.type, /^text\/event-stream/);
    assert.equal(streamed.body.split('\n\n').at(-2), 'data: [DONE]');
    assert.equal((streamed.body.match(/"content"/g) ?? []).length, 5);
    const unknown = await call(gateway, '/v1/chat/completions', post({ ...CHAT, model: 'openclaw/nope' }));
    assert.equal(unknown.body, '{"error":{"message":"Unknown agent \'nope\'.","type":"invalid_request_error"}}');
    assert.equal((await call(gateway, '/v1/chat/completions', post({}))).status, 400);
    assert.match((await call(gateway, '/v1/models')).body, /openclaw\/main/);
    assert.equal((await call(gateway, '/tools/invoke', post({ tool: 'exec' }))).status, 404);
    gateway.inject({ name: 'no-provider', times: 1 });
    const unpaid = await call(gateway, '/v1/chat/completions', post(CHAT));
    assert.equal(unpaid.status, 401);
    assert.equal(JSON.parse(unpaid.body).error.type, 'authentication_error');
    const executed = gateway.ledger.filter(({ method }) => method === 'POST /v1/chat/completions');
    assert.deepEqual(
      executed.map((entry) => entry.executed),
      [true, true, false, false, true],
    );
  });

  it('wants the token', async () => {
    const gateway = await bench.gateway();
    const answer = await call(gateway, '/v1/models', { headers: { authorization: 'Bearer wrong' } });
    assert.deepEqual([answer.status, answer.body], [401, '{"error":{"message":"Unauthorized","type":"unauthorized"}}']);
  });

  /** Two requests on one kept-alive connection, the second when `between` has passed. */
  const keptAlive = async (gateway: TestGateway, between: () => Promise<unknown>): Promise<IncomingMessage> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const get = (): ClientRequest => request(`${gateway.httpUrl}/readyz`, { agent });
    try {
      const first = get().end();
      const [one]: IncomingMessage[] = await once(first, 'response');
      await once(one?.resume() ?? first, 'end');
      await between();
      const [two]: IncomingMessage[] = await once(get().end(), 'response');
      assert.ok(two);
      return two.resume();
    } finally {
      agent.destroy();
    }
  };

  it('on 2026.4.26 a kept-alive connection says ready after the port has closed', async () => {
    const gateway = await bench.gateway({ emulate: '2026.4.26', timings: { portShutMs: 2000, lingerMs: 1000 } });
    const answer = await keptAlive(gateway, async () => {
      void gateway.restart();
      await gateway.until(() => gateway.state === 'restarting');
      assert.equal(gateway.listening, false);
    });
    assert.equal(answer.statusCode, 200);
  });

  it('on 2026.9.6 it is closed with the port', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 2000 } });
    const lost = keptAlive(gateway, async () => {
      void gateway.restart();
      await gateway.until(() => gateway.state === 'restarting');
    });
    await assert.rejects(lost, (error: NodeJS.ErrnoException) => /ECONNREFUSED|ECONNRESET/.test(error.code ?? ''));
  });

  it('lets work that was accepted before a restart end on 2026.9.6', async () => {
    const gateway = await bench.gateway({ timings: { runMs: 60, lingerMs: 1000, portShutMs: 2000 } });
    const answer = call(gateway, '/v1/chat/completions', post(CHAT));
    await gateway.until(() => gateway.ledger.some(({ executed }) => executed));
    void gateway.restart({ drainMs: 0, shutdownToCloseMs: 1 });
    assert.equal((await answer).status, 200);
    assert.equal(gateway.listening, false);
  });

  it('serves TLS with the key and certificate it is given', async () => {
    await assert.rejects(bench.gateway({ tls: { key: 'no key', cert: 'no certificate' } }));
    const [key, cert] = ['key', 'cert'].map((part) =>
      readFileSync(new URL(`../../../test/testing/fixtures/localhost-${part}.pem`, import.meta.url)),
    );
    assert.ok(key && cert);
    const gateway = await bench.gateway({ tls: { key, cert } });
    const trusting = bench.keep(await RawClient.open(gateway.url, { ca: cert }));
    assert.match(gateway.url, /^wss:/);
    await trusting.ok('connect', operator());
    assert.equal(gateway.connections[0]?.upgraded, true);
    await assert.rejects(RawClient.open(gateway.url), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    gateway.inject({ name: 'half-open' });
    trusting.request('health');
    gateway.closeAll(1000);
  });
});
