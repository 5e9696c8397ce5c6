import assert from 'node:assert/strict';
import { Bench, type Frame, operator, RawClient } from './raw-client.js';

const EMULATED = ['2026.9.6', '2026.4.26'] as const;

describe('the embedded gateway: handshake', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  for (const emulate of EMULATED) {
    describe(emulate, () => {
      it('sends the challenge at once: no seq, a nonce, the clock', async () => {
        const gateway = await bench.gateway({ emulate });
        const client = bench.keep(await RawClient.open(gateway.url));
        const { seq, payload } = await client.event('connect.challenge');
        assert.equal(seq, undefined);
        assert.match(String(payload?.['nonce']), /^[0-9a-f-]{36}$/);
        assert.ok(Math.abs(Number(payload?.['ts']) - Date.now()) < 1000);
        assert.equal('capabilities' in (payload ?? {}), emulate === '2026.9.6');
      });

      it('ends bad first frames as 1.3 of the reference says', async () => {
        const gateway = await bench.gateway({ emulate });
        const cases: [sent: string, code: number, reason: string][] = [
          ['not json', 1000, ''],
          ['[]', 1008, 'invalid request frame'],
          ['{"type":"req","id":"1","method":"connect","params":{},"zzz":1}', 1008, 'invalid request frame'],
          ['{"type":"req","id":"1","method":"health"}', 1008, 'invalid handshake: first request must be connect'],
          ['x'.repeat(70_000), 1009, ''],
        ];
        for (const [sent, code, reason] of cases) {
          const client = await bench.dial(gateway);
          client.ws.send(sent);
          assert.deepEqual(await client.closed, { code, reason }, sent.slice(0, 60));
        }
      });

      it('names what is wrong with connect params, then closes with the same text', async () => {
        const gateway = await bench.gateway({ emulate });
        const wrongMode = operator({ client: { id: 'gateway-client', version: '1', platform: 'x', mode: 'operator' } });
        const cases: [params: unknown, message: string][] = [
          [wrongMode, 'invalid connect params: at /client/mode: must be equal to one of the allowed values'],
          [operator({ foo: 1 }), "invalid connect params: at root: unexpected property 'foo'"],
          [{ minProtocol: 3 }, "invalid connect params: at root: must have required property 'maxProtocol'"],
        ];
        for (const [params, message] of cases) {
          const client = await bench.dial(gateway);
          assert.deepEqual(await client.fails('connect', params), { code: 'INVALID_REQUEST', message });
          assert.deepEqual(await client.closed, { code: 1008, reason: message });
        }
      });

      it('answers what is wrong after hello and keeps the socket', async () => {
        const gateway = await bench.gateway({ emulate });
        const client = await bench.operator(gateway);
        client.ws.send('not json');
        client.ws.send('[]');
        client.send({ type: 'req', id: 'x', method: 'health', zzz: 1 });
        const invalid = await client.frame((frame) => frame.id === 'x');
        assert.equal(invalid.error?.['message'], "invalid request frame: at root: unexpected property 'zzz'");
        assert.ok(client.frames.some((frame) => frame.id === 'invalid'));
        assert.match(String((await client.fails('connect', operator()))['message']), /only valid as the first request/);
        const message = "invalid agents.list params: at root: unexpected property 'zzz'";
        assert.equal((await client.fails('agents.list', { zzz: 1 }))['message'], message);
        assert.equal((await client.fails('no.such.method'))['message'], 'unknown method: no.such.method');
        assert.equal((await client.ok('agents.list'))['defaultId'], 'main');
      });

      it('takes 3..4, and a binary frame', async () => {
        const gateway = await bench.gateway({ emulate });
        const client = await bench.dial(gateway);
        const connect = { type: 'req', id: 'b', method: 'connect', params: operator() };
        client.ws.send(Buffer.from(JSON.stringify(connect)), { binary: true });
        const hello = await client.frame((frame) => frame.id === 'b');
        assert.equal(hello.payload?.['protocol'], emulate === '2026.9.6' ? 4 : 3);
      });

      it('closes 1000 without a word when the handshake takes too long', async () => {
        const gateway = await bench.gateway({ emulate, timings: { handshakeTimeoutMs: 40 } });
        const client = await bench.dial(gateway);
        assert.deepEqual(await client.closed, { code: 1000, reason: '' });
      });

      it('answers requests that came right behind connect', async () => {
        const gateway = await bench.gateway({ emulate });
        const client = await bench.dial(gateway);
        client.request('connect', operator());
        const ids = [1, 2, 3].map(() => client.request('health'));
        for (const id of ids) assert.equal((await client.frame((frame) => frame.id === id)).ok, true);
      });

      it('wants a device from a node, and credentials or a device from an operator', async () => {
        const gateway = await bench.gateway({ emulate });
        const node = await bench.dial(gateway);
        const client = { id: 'node-host', version: '1', platform: 'linux', mode: 'node' };
        const error = await node.fails('connect', operator({ role: 'node', client, scopes: [] }));
        assert.deepEqual(error, {
          code: 'NOT_PAIRED',
          message: 'device identity required',
          details: { code: 'DEVICE_IDENTITY_REQUIRED' },
        });
        const anonymous = await bench.dial(gateway);
        assert.equal((await anonymous.fails('connect', operator({ auth: {} })))['code'], 'NOT_PAIRED');
        assert.deepEqual(await anonymous.closed, { code: 1008, reason: 'device identity required' });
      });
    });
  }

  it('keeps the scopes of the clients that each version trusts without a device', async () => {
    const scopesOf = (frame: Record<string, unknown>): unknown => Reflect.get(Object(frame['auth']), 'scopes');
    const cli = { id: 'cli', version: '1', platform: 'linux', mode: 'cli' };
    for (const [emulate, count] of [['2026.9.6', 4] as const, ['2026.4.26', 0] as const]) {
      const gateway = await bench.gateway({ emulate });
      const client = await bench.dial(gateway);
      const hello = await client.ok('connect', operator({ client: cli }));
      assert.equal([scopesOf(hello)].flat().length, count, emulate);
    }
  });

  it('takes the token as password on 2026.9.6 only', async () => {
    const params = operator({ auth: { password: 'test-gateway-token' } });
    const newer = await bench.dial(await bench.gateway());
    assert.equal(Reflect.get(Object((await newer.ok('connect', params))['auth']), 'method'), 'password');
    const older = await bench.dial(await bench.gateway({ emulate: '2026.4.26' }));
    const error = await older.fails('connect', params);
    assert.equal(Reflect.get(Object(error['details']), 'code'), 'AUTH_TOKEN_MISSING');
  });

  it('makes wrong tokens wait twice as long each time, until a right one comes', async () => {
    const gateway = await bench.gateway({ timings: { wrongTokenDelayMs: 30, wrongTokenMaxDelayMs: 100 } });
    const wrong = async (): Promise<number> => {
      const client = await bench.dial(gateway);
      const started = performance.now();
      await client.fails('connect', operator({ auth: { token: 'wrong' } }));
      return performance.now() - started;
    };
    const delays = [await wrong(), await wrong(), await wrong()];
    await bench.operator(gateway);
    delays.push(await wrong());
    const floors = [29, 59, 99, 29];
    for (const [index, floor] of floors.entries()) assert.ok((delays[index] ?? 0) >= floor, `${delays} vs ${floors}`);
    assert.ok((delays[3] ?? 0) < 99, 'a right token forgives');
  });

  it('locks an address out after ten wrong tokens, where loopback is not exempt', async () => {
    const gateway = await bench.gateway({
      limits: { exemptLoopback: false, lockout: { attempts: 2, windowMs: 60_000, lockMs: 300_000 } },
    });
    for (const expected of ['AUTH_TOKEN_MISMATCH', 'AUTH_TOKEN_MISMATCH', 'AUTH_RATE_LIMITED']) {
      const client = await bench.dial(gateway);
      const error = await client.fails('connect', operator({ auth: { token: 'wrong' } }));
      assert.equal(Reflect.get(Object(error['details']), 'code'), expected);
      if (expected !== 'AUTH_RATE_LIMITED') continue;
      assert.equal(error['retryable'], true);
      assert.ok(Number(error['retryAfterMs']) > 290_000);
    }
    const response = await fetch(`${gateway.httpUrl}/v1/models`, { headers: { authorization: 'Bearer right' } });
    assert.equal(response.status, 429);
    assert.ok(Number(response.headers.get('retry-after')) > 290);
  });

  it('closes live links with 4001 when the token is rotated, and takes the new one only', async () => {
    const gateway = await bench.gateway({ timings: { wrongTokenDelayMs: 1 } });
    const client = await bench.operator(gateway);
    gateway.rotateToken('other');
    assert.deepEqual(await client.closed, { code: 4001, reason: 'gateway auth changed' });
    const late = await bench.dial(gateway);
    assert.equal((await late.fails('connect', operator()))['code'], 'INVALID_REQUEST');
    assert.equal((await bench.operator(gateway)).ws.readyState, 1);
  });

  it('lets anybody in without a token', async () => {
    const gateway = await bench.gateway({ token: null });
    const hello = await (await bench.dial(gateway)).ok('connect', operator({ auth: {} }));
    assert.equal(Reflect.get(Object(hello['snapshot']), 'authMode'), 'none');
    assert.equal(gateway.token, '');
  });

  it('refuses sockets without hello over the limit, and frames over the limit', async () => {
    const gateway = await bench.gateway({ limits: { preauthSockets: 2, maxPayload: 1000 } });
    await bench.dial(gateway);
    const second = await bench.dial(gateway);
    const third = bench.keep(new RawClient(gateway.url));
    assert.equal(await third.refusal(), '503 Too many unauthenticated sockets');
    await second.ok('connect', operator());
    second.request('test.echo', { filler: 'x'.repeat(1000) });
    assert.deepEqual(await second.closed, { code: 1009, reason: '' });
  });

  it('counts broadcasts per connection from 1, and announces its tick period', async () => {
    const gateway = await bench.gateway({ timings: { tickIntervalMs: 15, healthEventMs: 5, pingIntervalMs: 20 } });
    const client = await bench.operator(gateway);
    await client.until(() => client.frames.filter((frame) => frame.event === 'tick').length >= 2 && client.pings > 0);
    const events = client.frames.filter((frame: Frame) => frame.event !== undefined && frame.seq !== undefined);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map((_, index) => index + 1),
    );
    assert.ok(events.some(({ event }) => event === 'health'));
  });

  it('destroys a socket that answers no ping', async () => {
    const gateway = await bench.gateway({ timings: { pingIntervalMs: 15 } });
    const client = bench.keep(await RawClient.open(gateway.url, { autoPong: false }));
    await client.event('connect.challenge');
    await client.ok('connect', operator());
    assert.equal((await client.closed).code, 1006);
  });
});
