import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FAULTS, type Fault, type FaultName, type TestGateway } from '../../lib/testing/index.js';
import { Bench, type Frame, operator, RawClient } from './raw-client.js';

const bench = new Bench();

/** A TCP connection that has sent an upgrade request; keeps what it hears and how it ends. */
class Tcp {
  readonly socket: Socket;
  readonly ended: Promise<string>;
  heard = '';

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk) => {
      this.heard += chunk.toString('latin1');
    });
    this.ended = new Promise((resolve) => {
      this.socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      this.socket.on('end', () => resolve('end'));
    });
    this.socket.write(
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
  }
}

const ms = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time));
const names = (client: RawClient): unknown[] => client.frames.map(({ event }) => event);

/** Calls something harmless and returns the answer, or undefined when none came within the time of another gateway's answer. */
async function silent(client: RawClient): Promise<boolean> {
  const id = client.request('test.echo', {});
  await ms(40);
  return !client.frames.some((frame) => frame.id === id);
}

async function hello(gateway: TestGateway): Promise<Frame> {
  const client = await bench.dial(gateway);
  return await client.call('connect', operator());
}

/** Each fault does what it says; the compiler sees to it that none is left out. */
const CASES: Readonly<Record<FaultName, (gateway: TestGateway) => Promise<void>>> = {
  refuse: async (gateway) => {
    const client = await bench.operator(gateway);
    const heal = gateway.inject({ name: 'refuse' });
    await assert.rejects(RawClient.open(gateway.url), { code: 'ECONNREFUSED' });
    await client.ok('health');
    heal();
    await gateway.until(() => gateway.listening);
  },
  'reset-on-accept': async (gateway) => {
    gateway.inject({ name: 'reset-on-accept', times: 1 });
    gateway.inject({ name: 'reset-on-accept', after: 'request', times: 1 });
    assert.equal(await new Tcp(gateway.port).ended, 'ECONNRESET');
    assert.equal(await new Tcp(gateway.port).ended, 'ECONNRESET');
    await bench.operator(gateway);
  },
  'close-on-accept': async (gateway) => {
    gateway.inject({ name: 'close-on-accept', times: 1 });
    const tcp = new Tcp(gateway.port);
    assert.match(await tcp.ended, /end|ECONNRESET/);
    assert.equal(tcp.heard, '');
  },
  silent: async (gateway) => {
    gateway.inject({ name: 'silent' });
    const tcp = new Tcp(gateway.port);
    await gateway.until(() => gateway.dials === 1);
    gateway.heal();
    await bench.operator(gateway);
    tcp.socket.end();
    await ms(20);
    assert.equal(tcp.heard, '', 'it stays silent after healing');
    assert.equal(gateway.connections[0]?.open, true, 'and keeps the socket');
    tcp.socket.destroy();
  },
  banner: async (gateway) => {
    gateway.inject({ name: 'banner', times: 1 });
    const tcp = new Tcp(gateway.port);
    await once(tcp.socket, 'data');
    assert.match(tcp.heard, /^SSH-2\.0/);
    tcp.socket.destroy();
  },
  trickle: async (gateway) => {
    gateway.inject({ name: 'trickle', intervalMs: 2, times: 1 });
    const tcp = new Tcp(gateway.port);
    let pieces = 0;
    tcp.socket.on('data', () => {
      pieces += 1;
    });
    while (!tcp.heard.includes('\r\n\r\n')) await once(tcp.socket, 'data');
    assert.ok(pieces > 60, `the answer came in ${pieces} pieces`);
    tcp.socket.destroy();
  },
  'slow-link': async (gateway) => {
    gateway.inject({ name: 'slow-link', latencyMs: 30, times: 1 });
    const client = await bench.operator(gateway);
    const started = performance.now();
    await client.ok('health');
    assert.ok(performance.now() - started >= 58);
  },
  'half-open': async (gateway) => {
    const client = await bench.operator(gateway);
    const heal = gateway.inject({ name: 'half-open', fresh: 'dead' });
    const tcp = new Tcp(gateway.port);
    assert.ok(await silent(client));
    gateway.send('news', {});
    heal();
    assert.ok(await silent(client), 'what has vanished stays so');
    assert.equal(client.ws.readyState, client.ws.OPEN);
    assert.equal(tcp.heard, '');
    gateway.heal();
    const forgotten = await bench.operator(gateway);
    gateway.inject({ name: 'half-open', reset: true });
    forgotten.request('test.echo', {});
    assert.equal((await forgotten.closed).code, 1006, 'a forgotten flow is reset');
    gateway.heal();
    await gateway.kill();
    await ms(10);
    assert.equal(client.ws.readyState, client.ws.OPEN, 'no FIN, whatever happens to the gateway');
    await gateway.start({ startingMs: 0 });
    assert.equal(gateway.ledger.filter(({ method }) => method === 'test.echo').length, 0);
  },
  'slow-upgrade': async (gateway) => {
    gateway.inject({ name: 'slow-upgrade', ms: 40, times: 1 });
    const started = performance.now();
    await bench.operator(gateway);
    assert.ok(performance.now() - started >= 38);
  },
  'http-status': async (gateway) => {
    const headers = { 'Retry-After': '7' };
    gateway.inject({ name: 'http-status', status: 401, endless: true, times: 1 });
    gateway.inject({ name: 'http-status', status: 503, headers, body: 'later', times: 1 });
    const tcp = new Tcp(gateway.port);
    await tcp.ended;
    assert.match(tcp.heard, /^HTTP\/1\.1 503 Service Unavailable\r\n[\s\S]*Retry-After: 7\r\n[\s\S]*later$/);
    const endless = new Tcp(gateway.port);
    while (endless.heard.split('wait').length < 3) await once(endless.socket, 'data');
    assert.match(endless.heard, /^HTTP\/1\.1 401/);
    endless.socket.destroy();
  },
  'not-a-gateway': async (gateway) => {
    gateway.inject({ name: 'not-a-gateway' });
    assert.match(await bench.keep(new RawClient(gateway.url)).refusal(), /^200 <!doctype html>/);
    const page = await fetch(`${gateway.httpUrl}/healthz`);
    assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  },
  'bad-accept': async (gateway) => {
    for (const variant of ['headers', 'extension', 'subprotocol', 'accept'] as const) {
      gateway.inject({ name: 'bad-accept', variant, times: 1 });
      await assert.rejects(RawClient.open(gateway.url), variant);
    }
  },
  echo: async (gateway) => {
    gateway.inject({ name: 'echo' });
    const client = bench.keep(await RawClient.open(gateway.url));
    client.ws.send('"hello?"');
    await client.until(() => client.texts.length > 0);
    assert.deepEqual(client.texts, ['"hello?"']);
  },
  foreign: async (gateway) => {
    gateway.inject({ name: 'foreign' });
    const client = bench.keep(await RawClient.open(gateway.url));
    await client.until(() => client.texts.length > 0);
    assert.match(client.texts[0] ?? '', /jsonrpc/);
  },
  'no-challenge': async (gateway) => {
    gateway.inject({ name: 'no-challenge', times: 1 });
    const client = bench.keep(await RawClient.open(gateway.url));
    await ms(20);
    assert.equal(client.frames.length, 0);
    await client.ok('connect', operator());
  },
  'no-hello': async (gateway) => {
    gateway.inject({ name: 'no-hello', times: 1 });
    const client = await bench.dial(gateway);
    client.request('connect', operator());
    await gateway.until(() => gateway.ledger.length === 1);
    await ms(20);
    assert.deepEqual(names(client), ['connect.challenge']);
    assert.equal(gateway.ledger[0]?.answered, false);
  },
  'bad-challenge': async (gateway) => {
    const expected: [variant: Extract<Fault, { name: 'bad-challenge' }>['variant'], fits: (p: unknown) => boolean][] = [
      ['blank', (p) => Reflect.get(Object(p), 'nonce') === '   '],
      ['missing', (p) => !('nonce' in Object(p))],
      ['number', (p) => typeof Reflect.get(Object(p), 'nonce') === 'number'],
      ['long', (p) => String(Reflect.get(Object(p), 'nonce')).length > 512],
      ['pipe', (p) => String(Reflect.get(Object(p), 'nonce')).includes('|')],
      ['newline', (p) => String(Reflect.get(Object(p), 'nonce')).includes('\r\n')],
      ['no-ts', (p) => !('ts' in Object(p)) && 'nonce' in Object(p)],
      ['no-payload', (p) => p === undefined],
    ];
    for (const [variant, fits] of expected) {
      gateway.inject({ name: 'bad-challenge', times: 1, ...(variant === undefined ? {} : { variant }) });
      const { payload } = await (await bench.dial(gateway)).event('connect.challenge');
      assert.ok(fits(payload), variant);
    }
    gateway.inject({ name: 'bad-challenge', variant: 'twice', times: 1 });
    const client = await bench.dial(gateway);
    await client.until(() => client.frames.length === 2);
  },
  'early-events': async (gateway) => {
    gateway.inject({ name: 'early-events', times: 1 });
    const client = await bench.dial(gateway);
    await client.until(() => client.frames.length === 4);
    assert.deepEqual(names(client), ['connect.challenge', 'tick', 'presence', 'connect.challenge']);
    await client.ok('connect', operator());
  },
  'reject-connect': async (gateway) => {
    gateway.inject({
      name: 'reject-connect',
      code: 'TEAPOT',
      message: 'short',
      details: { a: 1 },
      retryable: true,
      retryAfterMs: '1500',
      closeCode: 4000,
      closeReason: 'stout',
      times: 1,
    });
    const client = await bench.dial(gateway);
    const error = { code: 'TEAPOT', message: 'short', details: { a: 1 }, retryable: true, retryAfterMs: '1500' };
    assert.deepEqual(await client.fails('connect', operator()), error);
    assert.deepEqual(await client.closed, { code: 4000, reason: 'stout' });
    for (const [preset, code] of [
      ['startup-sidecars', 1013],
      ['protocol-mismatch', 1002],
      ['pairing-required', 1008],
      ['close-1000', 1000],
    ] as const) {
      gateway.inject({ name: 'reject-connect', preset, times: 1 });
      const refused = await bench.dial(gateway);
      refused.request('connect', operator());
      assert.equal((await refused.closed).code, code, preset);
    }
    gateway.inject({ name: 'reject-connect', role: 'node' });
    gateway.inject({ name: 'reject-connect', preset: 'rate-limited', closeCode: null, times: 1 });
    const open = await bench.dial(gateway);
    assert.equal((await open.fails('connect', operator()))['retryAfterMs'], 2000);
    assert.equal(open.ws.readyState, open.ws.OPEN);
    assert.equal((await hello(gateway)).ok, true, 'the other role gets in');
  },
  'bad-hello': async (gateway) => {
    const policyWith = async (fault: Fault): Promise<Record<string, unknown>> => {
      gateway.inject(fault);
      return Object((await hello(gateway)).payload);
    };
    const tick = async (variant: 'tick-zero' | 'tick-negative' | 'tick-text' | 'tick-huge' | 'tick-null') =>
      Reflect.get(Object((await policyWith({ name: 'bad-hello', variant, times: 1 }))['policy']), 'tickIntervalMs');
    assert.ok(!('policy' in (await policyWith({ name: 'bad-hello', variant: 'no-policy', times: 1 }))));
    assert.deepEqual(
      [
        await tick('tick-zero'),
        await tick('tick-negative'),
        await tick('tick-text'),
        await tick('tick-huge'),
        await tick('tick-null'),
      ],
      [0, -1, '30000', 1e12, null],
    );
    const patched = await policyWith({
      name: 'bad-hello',
      patch: { server: { version: '9' }, auth: undefined },
      times: 1,
    });
    assert.equal(Reflect.get(Object(patched['server']), 'version'), '9');
    assert.ok('connId' in Object(patched['server']) && !('auth' in patched));
    assert.equal((await policyWith({ name: 'bad-hello', variant: 'not-hello', times: 1 }))['type'], 'welcome');
    gateway.inject({ name: 'bad-hello', variant: 'prototype', times: 1 });
    const client = await bench.dial(gateway);
    await client.call('connect', operator());
    assert.match(client.texts.join(''), /"__proto__":\{"polluted":true\}/);
  },
  'boot-id-flap': async (gateway) => {
    gateway.inject({ name: 'boot-id-flap' });
    const ids: unknown[] = [];
    for (const _dial of [1, 2, 3]) ids.push(Reflect.get(Object((await hello(gateway)).payload?.['server']), 'bootId'));
    assert.equal(ids[0], ids[2]);
    assert.notEqual(ids[0], ids[1]);
  },
  'drop-after-hello': async (gateway) => {
    gateway.inject({ name: 'drop-after-hello', ms: 5, cut: 'fin', times: 1 });
    gateway.inject({ name: 'drop-after-hello', ms: 5, code: 1001, reason: 'away', times: 1 });
    assert.deepEqual(await (await bench.operator(gateway)).closed, { code: 1001, reason: 'away' });
    assert.equal((await (await bench.operator(gateway)).closed).code, 1006);
  },
  'no-responses': async (gateway) => {
    const client = await bench.operator(gateway);
    const heal = gateway.inject({ name: 'no-responses', methods: ['test.echo'] });
    assert.ok(await silent(client));
    await client.ok('health');
    heal();
    gateway.inject({ name: 'no-responses', execute: true, times: 1 });
    client.request('test.count', { key: 'k' });
    await gateway.until(() => gateway.count('k') === 1);
    assert.equal(gateway.ledger.at(-1)?.answered, false);
  },
  'slow-responses': async (gateway) => {
    const client = await bench.operator(gateway);
    gateway.inject({ name: 'slow-responses', ms: 30, times: 1 });
    const started = performance.now();
    await client.ok('test.echo', {});
    assert.ok(performance.now() - started >= 28);
  },
  'no-ticks': async (gateway) => {
    gateway.inject({ name: 'no-ticks', pongs: false });
    const client = await bench.operator(gateway);
    let pongs = 0;
    client.ws.on('pong', () => {
      pongs += 1;
    });
    client.ws.ping();
    await ms(50);
    assert.deepEqual(names(client), ['connect.challenge', undefined]);
    assert.deepEqual([client.pings, pongs], [0, 0]);
    gateway.heal();
    await client.event('tick');
    client.ws.ping();
    await once(client.ws, 'pong');
  },
  'wrong-frames': async (gateway) => {
    const client = await bench.operator(gateway);
    const stray = [
      'broken-json',
      'array',
      'number',
      'null',
      'binary',
      'deep',
      'unknown-type',
      'unknown-event',
    ] as const;
    for (const variant of [...stray, 'prototype', 'unknown-id'] as const) {
      gateway.inject({ name: 'wrong-frames', variant, times: 1 });
      const before = client.texts.length;
      assert.deepEqual(await client.ok('test.echo', { variant }), { variant });
      const extra = client.texts.slice(before).filter((text) => !text.includes('"tick"') && !text.includes('"health"'));
      assert.equal(extra.length, 2, variant);
    }
    gateway.inject({ name: 'wrong-frames', variant: 'duplicate-response', times: 1 });
    const twice = client.request('test.echo', {});
    await client.until(() => client.frames.filter(({ id }) => id === twice).length === 2);
    gateway.inject({ name: 'wrong-frames', variant: 'no-result', times: 1 });
    const { type, id, ...rest } = await client.call('test.echo', {});
    assert.ok(type === 'res' && id !== undefined);
    assert.deepEqual(rest, {});
    gateway.inject({ name: 'wrong-frames', variant: 'bad-utf8', times: 1 });
    client.request('test.echo', {});
    const behind = await bench.dial(gateway);
    gateway.inject({ name: 'wrong-frames', times: 1 });
    await behind.ok('connect', operator());
    await behind.until(() => behind.texts.some((text) => text.endsWith('"event":')));
  },
  'giant-frame': async (gateway) => {
    gateway.inject({ name: 'giant-frame', bytes: 200_000, times: 1 });
    const small = bench.keep(await RawClient.open(gateway.url, { maxPayload: 100_000 }));
    await small.event('connect.challenge');
    await small.ok('connect', operator());
    small.request('test.echo', {});
    assert.equal((await small.closed).code, 1006);
    for (const variant of ['claim', 'endless'] as const) {
      gateway.inject({ name: 'giant-frame', variant, times: 1 });
      const client = bench.keep(await RawClient.open(gateway.url, { maxPayload: 100_000 }));
      await client.event('connect.challenge');
      await client.ok('connect', operator());
      client.request('test.echo', {});
      assert.equal((await client.closed).code, 1006, variant);
    }
  },
  'reject-call': async (gateway) => {
    const client = await bench.operator(gateway);
    gateway.inject({ name: 'reject-call', methods: ['test.count'], preset: 'busy', times: 1 });
    assert.deepEqual(await client.fails('test.count', { key: 'r' }), {
      code: 'UNAVAILABLE',
      message: 'The server is busy. Please try again in a moment.',
      retryable: true,
    });
    assert.equal(gateway.count('r'), 0);
    gateway.inject({ name: 'reject-call', preset: 'may-have-executed', execute: true, times: 1 });
    const error = await client.fails('test.count', { key: 'r' });
    assert.deepEqual(error['details'], { execution: 'may_have_executed' });
    assert.equal(gateway.count('r'), 1);
    for (const preset of [
      'restarting',
      'suspending',
      'starting',
      'not-started',
      'entry-closed',
      'rate-limited',
    ] as const) {
      gateway.inject({ name: 'reject-call', preset, times: 1 });
      assert.equal((await client.fails('test.echo', {}))['code'], 'UNAVAILABLE', preset);
    }
    gateway.inject({ name: 'reject-call', code: 'X', message: 'y', retryAfterMs: -1, times: 1 });
    const own = await client.fails('test.echo', {});
    assert.deepEqual([own['code'], own['message'], own['retryAfterMs']], ['X', 'y', -1]);
  },
  'cut-call': async (gateway) => {
    for (const [cut, execute, code] of [
      ['reset', true, 1006],
      ['fin', false, 1006],
      ['mid-frame', true, 1006],
      ['no-status', false, 1005],
    ] as const) {
      const client = await bench.operator(gateway);
      gateway.inject({ name: 'cut-call', cut, execute, times: 1 });
      client.request('test.count', { key: cut });
      assert.equal((await client.closed).code, code, cut);
      assert.equal(gateway.count(cut), execute ? 1 : 0, cut);
    }
  },
  'mute-close': async (gateway) => {
    const client = await bench.operator(gateway);
    gateway.inject({ name: 'mute-close' });
    client.ws.close(1000);
    await ms(40);
    assert.equal(client.ws.readyState, client.ws.CLOSING);
    client.ws.terminate();
    await gateway.until(() => gateway.connections[0]?.open === false);
    const other = await bench.operator(gateway);
    gateway.closeAll(1001);
    assert.equal((await other.closed).code, 1001, 'its own close still works');
  },
  'http-fault': async (gateway) => {
    const post = (patience = 2000): Promise<Response> =>
      fetch(`${gateway.httpUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${gateway.token}` },
        body: JSON.stringify({ messages: [] }),
        signal: AbortSignal.timeout(patience),
      });
    const inject = (fault: Omit<Extract<Fault, { name: 'http-fault' }>, 'name'>): (() => void) =>
      gateway.inject({ name: 'http-fault', times: 1, ...fault });
    inject({});
    assert.equal(await (await post()).text(), '{"error":{"message":"internal error","type":"api_error"}}');
    inject({ status: 429, headers: { 'Retry-After': '3' } });
    assert.equal((await post()).headers.get('retry-after'), '3');
    inject({ kind: 'no-headers' });
    await assert.rejects(post(60), { name: 'TimeoutError' });
    for (const kind of ['reset', 'close'] as const) {
      inject({ kind, execute: true });
      await assert.rejects(post(), /fetch failed/);
      assert.equal(gateway.ledger.at(-1)?.executed, true);
    }
    inject({ kind: 'cut-body' });
    await assert.rejects((await post()).text(), /terminated/);
    inject({ kind: 'truncated-json' });
    await assert.rejects((await post()).json(), SyntaxError);
    for (const kind of ['slow-body', 'endless-body', 'stalled-stream'] as const) {
      inject({ kind, intervalMs: 5 });
      await assert.rejects((await post(100)).text(), { name: 'TimeoutError' }, kind);
    }
    inject({ kind: 'html' });
    assert.match(await (await post()).text(), /^<!doctype html>/);
    inject({ path: '/tools/' });
    assert.equal((await post()).status, 200, 'another path is left alone');
    gateway.heal();
  },
  'stuck-drain': async (gateway) => {
    const client = await bench.operator(gateway);
    gateway.inject({ name: 'stuck-drain' });
    assert.equal(Reflect.get(Object((await client.fails('health'))['details']), 'reason'), 'gateway-restarting');
    assert.match(await bench.keep(new RawClient(gateway.url)).refusal(), /^503/);
    await gateway.restart();
    gateway.inject({ name: 'stuck-drain', upgrades: 'accept' });
    const again = await bench.operator(gateway);
    assert.equal((await again.fails('health'))['code'], 'UNAVAILABLE');
  },
  suspended: async (gateway) => {
    gateway.inject({ name: 'suspended' });
    const client = await bench.dial(gateway);
    const payload = await client.ok('connect', operator());
    const phase = Reflect.get(Object(Reflect.get(Object(payload['snapshot']), 'suspension')), 'phase');
    assert.equal(phase, 'prepared');
    assert.equal(Reflect.get(Object((await client.fails('health'))['details']), 'reason'), 'gateway-suspending');
    const node = await bench.dial(gateway);
    const host = { id: 'node-host', version: '1', platform: 'linux', mode: 'node' };
    node.request('connect', operator({ role: 'node', client: host }));
    assert.deepEqual(await node.closed, { code: 1013, reason: 'gateway suspension in progress' });
  },
  'health-lies': async (gateway) => {
    const ready = (patience = 2000): Promise<Response> =>
      fetch(`${gateway.httpUrl}/readyz`, { signal: AbortSignal.timeout(patience) });
    const end = gateway.drain();
    gateway.inject({ name: 'health-lies', variant: 'ready' });
    assert.equal((await ready()).status, 200);
    end();
    gateway.inject({ name: 'health-lies', variant: 'unready' });
    assert.equal((await ready()).status, 503);
    gateway.inject({ name: 'health-lies', variant: 'html' });
    assert.match(await (await ready()).text(), /html/);
    gateway.inject({ name: 'health-lies', variant: 'hang' });
    await assert.rejects(ready(40), { name: 'TimeoutError' });
  },
  'no-provider': async (gateway) => {
    gateway.inject({ name: 'no-provider', times: 1 });
    const response = await fetch(`${gateway.httpUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.token}` },
      body: JSON.stringify({ messages: [] }),
    });
    assert.equal(response.status, 401);
    assert.match(await response.text(), /authentication_error/);
  },
};

describe('the embedded gateway: faults', () => {
  afterEach(() => bench.release());

  for (const name of Object.keys(FAULTS)) {
    if (!isFault(name)) continue;
    it(`${name}: ${FAULTS[name]}`, async () => {
      const gateway = await bench.gateway({
        timings: { tickIntervalMs: 25, pingIntervalMs: 150, portShutMs: 20, startingMs: 0, healthEventMs: 5 },
      });
      await CASES[name](gateway);
      gateway.heal();
      assert.deepEqual(gateway.faults, []);
      await gateway.until(() => gateway.listening);
      await (await bench.operator(gateway)).ok('health');
    });
  }

  it('takes several faults at once; the newest of a name wins, each heals alone', async () => {
    const gateway = await bench.gateway({ faults: [{ name: 'no-challenge' }] });
    const healFirst = gateway.inject({ name: 'reject-connect', preset: 'close-1000' });
    const healSecond = gateway.inject({ name: 'reject-connect', preset: 'close-1008' });
    assert.equal(gateway.faults.length, 3);
    const closeCode = async (): Promise<number> => {
      const client = bench.keep(await RawClient.open(gateway.url));
      client.request('connect', operator());
      return (await client.closed).code;
    };
    assert.equal(await closeCode(), 1008);
    healSecond();
    healSecond();
    assert.equal(await closeCode(), 1000);
    healFirst();
    assert.deepEqual(gateway.faults, [{ name: 'no-challenge' }]);
  });
});

function isFault(name: string): name is FaultName {
  return Object.hasOwn(CASES, name);
}
