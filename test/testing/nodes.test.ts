import assert from 'node:assert/strict';
import { signaturePayloads } from '../../lib/testing/devices.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { DeviceKey } from './device-key.js';
import { Bench, operator, type RawClient } from './raw-client.js';

const codeOf = (error: Record<string, unknown>): unknown => Reflect.get(Object(error['details']), 'code');
const authOf = (payload: Record<string, unknown>): Record<string, unknown> => Object(payload['auth']);

describe('the embedded gateway: devices and nodes', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  const join = async (gateway: TestGateway, key: DeviceKey, changes = {}): Promise<RawClient> => {
    const client = await bench.dial(gateway);
    await client.ok('connect', await key.node(client, changes));
    return client;
  };
  const refusalOf = async (gateway: TestGateway, key: DeviceKey, changes = {}): Promise<Record<string, unknown>> => {
    const client = await bench.dial(gateway);
    return await client.fails('connect', await key.node(client, changes));
  };

  it('builds the signed text of the reference vector', () => {
    const key = new DeviceKey(Buffer.from(Array.from({ length: 32 }, (_, index) => index)));
    const nonce = 'a612a9c8-80ff-4757-9231-c92b56ab9e97';
    const device = { id: key.id, signedAt: 1795191101023, nonce };
    const params = {
      client: { id: 'node-host', mode: 'node', platform: 'Linux', deviceFamily: 'Linux' },
      role: 'node',
      auth: { token: 'example-gateway-token' },
    };
    const [v3, v2] = signaturePayloads(params, device);
    const common = `${key.id}|node-host|node|node||1795191101023|example-gateway-token|${nonce}`;
    assert.equal(key.id, '56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c');
    assert.equal(v3, `v3|${common}|linux|linux`);
    assert.equal(
      key.sign(v3),
      'NvyJc_KSq7ZVQmqtYoGnaAsjp7SFqSSZbwMnhBY_H2qSemaPS0Ui-aJFFwQr4RPl7vpemn9a_OyTRaIrAIoYCQ',
    );
    assert.equal(
      key.sign(v2),
      'XTuVOS2kf6bwtfYy7xWhlHjT8ew6ET4Au-_VDGalVEhraRlGWJVAKwTzS89IVBGniGpruAFwf5BGlo0Jc2GbCg',
    );
  });

  for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
    it(`${emulate}: pairs a new node silently, with either signature, and gives it the same device token again`, async () => {
      const gateway = await bench.gateway({ emulate, timings: { wrongTokenDelayMs: 1 } });
      const key = new DeviceKey();
      const tokens: unknown[] = [];
      for (const version of [0, 1] as const) {
        const client = await bench.dial(gateway);
        const hello = await client.ok('connect', await key.node(client, {}, version));
        assert.deepEqual([authOf(hello)['role'], authOf(hello)['scopes']], ['node', []]);
        tokens.push(authOf(hello)['deviceToken']);
      }
      assert.match(String(tokens[0]), /^[\w-]{43}$/);
      assert.equal(tokens[0], tokens[1]);
      for (const auth of [{ token: tokens[0] }, { deviceToken: tokens[0] }]) await join(gateway, key, { auth });
      assert.equal(gateway.connections.at(-1)?.deviceId, key.id);
      assert.ok(gateway.pairing.rotate(key.id));
      const stale = await refusalOf(gateway, key, { auth: { deviceToken: tokens[0] } });
      assert.equal(codeOf(stale), 'AUTH_DEVICE_TOKEN_MISMATCH');
      const retry = await refusalOf(gateway, key, { auth: { token: 'wrong' } });
      assert.equal(Reflect.get(Object(retry['details']), 'canRetryWithDeviceToken'), true);
    });
  }

  it('takes a node with protocol 3 only, but not an operator, on 2026.9.6', async () => {
    const gateway = await bench.gateway();
    await join(gateway, new DeviceKey(), { maxProtocol: 3 });
    const client = await bench.dial(gateway);
    assert.equal(codeOf(await client.fails('connect', operator({ maxProtocol: 3 }))), 'PROTOCOL_MISMATCH');
  });

  it('refuses bad proofs, each with its own code', async () => {
    const gateway = await bench.gateway();
    const key = new DeviceKey();
    const cases: [change: Record<string, unknown>, code: string][] = [
      [{ publicKey: 'garbage' }, 'DEVICE_AUTH_DEVICE_ID_MISMATCH'],
      [{ id: 'f'.repeat(64) }, 'DEVICE_AUTH_DEVICE_ID_MISMATCH'],
      [{ signedAt: Date.now() - 200_000 }, 'DEVICE_AUTH_SIGNATURE_EXPIRED'],
      [{ nonce: '   ' }, 'DEVICE_AUTH_NONCE_REQUIRED'],
      [{ nonce: 'other' }, 'DEVICE_AUTH_NONCE_MISMATCH'],
      [{ signature: new DeviceKey().sign('x') }, 'DEVICE_AUTH_SIGNATURE_INVALID'],
    ];
    for (const [change, code] of cases) {
      const client = await bench.dial(gateway);
      const params = await key.node(client);
      const device = { ...Reflect.get(params, 'device'), ...change };
      assert.equal(codeOf(await client.fails('connect', { ...params, device })), code);
      assert.equal((await client.closed).code, 1008);
    }
  });

  it('asks for approval: a new device in manual mode, a known one that changed', async () => {
    const gateway = await bench.gateway({ pairing: 'manual' });
    const key = new DeviceKey();
    const client = await bench.dial(gateway);
    const error = await client.fails('connect', await key.node(client));
    const requestId = String(Reflect.get(Object(error['details']), 'requestId'));
    assert.deepEqual([error['code'], error['message']], ['NOT_PAIRED', 'pairing required: device is not approved yet']);
    assert.match((await client.closed).reason, new RegExp(`\\(requestId: ${requestId}\\)$`));
    assert.equal(codeOf(await refusalOf(gateway, key)), 'PAIRING_REQUIRED');
    assert.equal(gateway.pairing.requests.length, 1, 'one request, however often it knocks');
    assert.ok(gateway.pairing.approve(requestId));
    const paired = await join(gateway, key);
    const moved = await refusalOf(gateway, key, {
      client: { id: 'node-host', version: '1', platform: 'darwin', mode: 'node', deviceFamily: 'Mac' },
    });
    assert.equal(Reflect.get(Object(moved['details']), 'reason'), 'metadata-upgrade');
    const wider = await refusalOf(gateway, key, { scopes: ['operator.read'] });
    assert.equal(Reflect.get(Object(wider['details']), 'reason'), 'scope-upgrade');
    const upgraded = await refusalOf(gateway, key, { role: 'operator' });
    assert.equal(Reflect.get(Object(upgraded['details']), 'reason'), 'role-upgrade');
    assert.ok(gateway.pairing.remove(key.id));
    assert.deepEqual(await paired.closed, { code: 4001, reason: 'device removed' });
    assert.equal(gateway.pairing.approve('no such request'), false);
  });

  it('lets a paired node in while the gateway starts', async () => {
    const gateway = await bench.gateway({ timings: { startingMs: 400 } });
    const key = new DeviceKey();
    await join(gateway, key);
    await gateway.kill();
    const starting = gateway.start();
    await gateway.until(() => gateway.listening);
    await join(gateway, key);
    assert.equal(
      Reflect.get(Object((await refusalOf(gateway, new DeviceKey()))['details']), 'reason'),
      'startup-sidecars',
    );
    assert.equal(gateway.state, 'starting');
    await starting;
  });

  const invoke = (key: DeviceKey, more = {}): Record<string, unknown> => ({
    nodeId: key.id,
    command: 'system.which',
    idempotencyKey: 'k',
    ...more,
  });

  it('carries an invocation to the node and its result back', async () => {
    const gateway = await bench.gateway();
    const key = new DeviceKey();
    const node = await join(gateway, key);
    const caller = await bench.operator(gateway);
    const answer = caller.call('node.invoke', invoke(key, { params: { bin: 'node' }, timeoutMs: 1000 }));
    const request = await node.event('node.invoke.request');
    assert.equal(request.seq, undefined);
    const { id, nodeId, paramsJSON, timeoutMs } = request.payload ?? {};
    assert.deepEqual([nodeId, paramsJSON, timeoutMs], [key.id, '{"bin":"node"}', 1000]);
    const result = { id, nodeId, ok: true, payloadJSON: '{"path":"/usr/bin/node"}' };
    assert.deepEqual(await node.ok('node.invoke.result', result), { ok: true });
    assert.deepEqual((await answer).payload?.['payload'], { path: '/usr/bin/node' });
    assert.deepEqual(await node.ok('node.invoke.result', result), { ok: true, ignored: true });
    const asked = assert.rejects(gateway.invoke(key.id, 'system.which', { bin: 'npm' }), /NO: no/);
    await node.until(() => node.frames.filter(({ event }) => event === 'node.invoke.request').length === 2);
    const second = node.frames.findLast(({ event }) => event === 'node.invoke.request')?.payload;
    await node.ok('node.invoke.result', {
      id: second?.['id'],
      nodeId,
      ok: false,
      error: { code: 'NO', message: 'no' },
    });
    await asked;
    assert.equal((await node.ok('node.event', { event: 'x' }))['handled'], true);
    assert.deepEqual(await node.ok('node.pending.pull', {}), { nodeId: key.id, actions: [] });
    assert.equal((await node.fails('agents.list'))['message'], 'unauthorized role: node');
  });

  it('tells the operator what became of an invocation that went wrong', async () => {
    const gateway = await bench.gateway();
    const caller = await bench.operator(gateway);
    const key = new DeviceKey();
    const absent = await caller.fails('node.invoke', invoke(key));
    assert.deepEqual(absent['details'], { code: 'NOT_CONNECTED', nodeCommandDispatched: false });
    const node = await join(gateway, key);
    const late = await caller.fails('node.invoke', invoke(key, { timeoutMs: 20 }));
    assert.equal(late['message'], 'TIMEOUT: node invoke timed out');
    assert.equal(Reflect.get(Object(late['details']), 'nodeCommandDispatched'), true);
    await node.event('node.invoke.cancel');
    const lost = caller.call('node.invoke', invoke(key));
    await node.until(() => node.frames.filter(({ event }) => event === 'node.invoke.request').length === 2);
    node.ws.terminate();
    assert.equal((await lost).error?.['message'], 'DISCONNECTED: node disconnected (system.which)');
    assert.equal(gateway.ledger.filter(({ method, executed }) => method === 'node.invoke' && executed).length, 2);
  });

  it('leaves a replaced node open and deaf', async () => {
    for (const [emulate, refused] of [['2026.9.6', true] as const, ['2026.4.26', false] as const]) {
      const gateway = await bench.gateway({ emulate });
      const key = new DeviceKey();
      const older = await join(gateway, key);
      const newer = await join(gateway, key);
      const caller = await bench.operator(gateway);
      const answer = caller.call('node.invoke', invoke(key));
      const { payload } = await newer.event('node.invoke.request');
      await newer.ok('node.invoke.result', { id: payload?.['id'], nodeId: key.id, ok: true });
      assert.equal((await answer).ok, true);
      assert.equal(older.ws.readyState, older.ws.OPEN);
      const pull = await older.call('node.pending.pull', {});
      assert.equal(pull.ok, !refused);
      if (refused) assert.equal(pull.error?.['message'], 'node pairing changed before request dispatch');
      newer.ws.close();
      await newer.closed;
      await gateway.until(() => gateway.connections[1]?.open === false);
      assert.deepEqual((await caller.ok('node.list'))['nodes'], [], 'the older one is not restored');
    }
  });

  it('gates the commands of a node until they are approved, on 2026.9.6', async () => {
    const gateway = await bench.gateway({ nodeCommands: 'manual' });
    const key = new DeviceKey();
    const caller = await bench.operator(gateway);
    const node = await join(gateway, key);
    await caller.event('node.pair.requested');
    const error = await caller.fails('node.invoke', invoke(key));
    assert.equal(error['message'], 'node pairing changed while invocation was active');
    assert.equal(codeOf(await node.fails('node.pending.pull', {})), 'PAIRING_CHANGED');
    const [listed] = [(await caller.ok('node.list'))['nodes']].flat();
    assert.equal(Reflect.get(Object(listed), 'approvalState'), 'pending-approval');
    const requestId = Reflect.get(Object(listed), 'pendingRequestId');
    await caller.ok('node.pair.approve', { requestId });
    assert.equal((await node.event('node.pair.resolved')).payload?.['nodeId'], key.id);
    await node.ok('node.pending.pull', {});
    const other = await caller.fails('node.invoke', { ...invoke(key), command: 'foo.bar' });
    assert.match(String(other['message']), /not in the allowlist/);
  });

  it('closes a node that calls what it may not, after ten refusals', async () => {
    const gateway = await bench.gateway();
    const node = await join(gateway, new DeviceKey());
    for (let calls = 0; calls < 11; calls++) node.request('agents.list');
    assert.deepEqual(await node.closed, { code: 1008, reason: 'repeated unauthorized calls' });
  });

  it('lets a running invocation end in a drain', async () => {
    const gateway = await bench.gateway();
    const key = new DeviceKey();
    const node = await join(gateway, key);
    const caller = await bench.operator(gateway);
    const answer = caller.call('node.invoke', invoke(key));
    const { payload } = await node.event('node.invoke.request');
    gateway.drain();
    assert.equal((await node.fails('node.event', { event: 'x' }))['code'], 'UNAVAILABLE');
    await node.ok('node.invoke.result', { id: payload?.['id'], nodeId: key.id, ok: true });
    assert.equal((await answer).ok, true);
  });
});
