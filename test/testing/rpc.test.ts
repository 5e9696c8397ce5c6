import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench, operator } from './raw-client.js';

const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
const fileOf = (payload: Record<string, unknown>): Record<string, unknown> => Object(payload['file']);

describe('the embedded gateway: RPC', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  it('answers the methods a demo needs', async () => {
    const client = await bench.operator(await bench.gateway());
    for (const [method, key] of [
      ['health', 'ok'],
      ['status', 'runtimeVersion'],
      ['config.get', 'hash'],
      ['models.list', 'models'],
      ['sessions.list', 'sessions'],
      ['node.list', 'nodes'],
      ['cron.list', 'jobs'],
      ['gateway.identity.get', 'deviceId'],
    ] as const) {
      assert.ok(key in (await client.ok(method, {})), method);
    }
  });

  it('creates, lists, updates and deletes agents, in the words of real gateways', async () => {
    const gateway = await bench.gateway({ timings: { settleMs: 20 } });
    const client = await bench.operator(gateway);
    const created = await client.ok('agents.create', { name: 'Tenant One', model: 'm' });
    assert.deepEqual([created['agentId'], created['name']], ['tenant-one', 'Tenant One']);
    const twice = await client.fails('agents.create', { name: 'Tenant One' });
    assert.equal(twice['message'], 'agent "tenant-one" already exists');
    const early = await client.fails('agents.files.set', { agentId: 'tenant-one', name: 'A.md', content: 'x' });
    assert.deepEqual(early, { code: 'INVALID_REQUEST', message: 'agent "tenant-one" not found' });
    await client.event('config.changed');
    const ids = async (): Promise<unknown[]> =>
      [(await client.ok('agents.list'))['agents']].flat().map((agent) => Reflect.get(Object(agent), 'id'));
    assert.deepEqual(await ids(), ['main', 'tenant-one']);
    await client.ok('agents.update', { agentId: 'tenant-one', name: 'Two' });
    await client.ok('agents.delete', { agentId: 'tenant-one' });
    assert.deepEqual(await ids(), ['main']);
    const gone = await client.fails('agents.delete', { agentId: 'tenant-one' });
    assert.equal(gone['message'], 'agent "tenant-one" not found');
  });

  it('keeps agents and files over a restart, and shows what had not settled', async () => {
    const gateway = await bench.gateway({ timings: { settleMs: 5000, portShutMs: 5, startingMs: 0 } });
    await (await bench.operator(gateway)).ok('agents.create', { name: 'kept' });
    await gateway.restart();
    const client = await bench.operator(gateway);
    await client.ok('agents.files.set', { agentId: 'kept', name: 'SOUL.md', content: 'soul' });
    await gateway.kill();
    await gateway.start({ startingMs: 0 });
    const again = await bench.operator(gateway);
    const file = fileOf(await again.ok('agents.files.get', { agentId: 'kept', name: 'SOUL.md' }));
    assert.equal(file['content'], 'soul');
  });

  it('hashes files on 2026.9.6 and refuses a stale expectedHash', async () => {
    const client = await bench.operator(await bench.gateway());
    const set = (content: string, expectedHash?: string): Record<string, unknown> => ({
      agentId: 'main',
      name: 'SOUL.md',
      content,
      ...(expectedHash === undefined ? {} : { expectedHash }),
    });
    assert.equal(fileOf(await client.ok('agents.files.set', set('one')))['hash'], sha('one'));
    const conflict = await client.fails('agents.files.set', set('two', sha('zero')));
    assert.deepEqual(conflict['details'], { type: 'agent_file_conflict', name: 'SOUL.md', currentHash: sha('one') });
    await client.ok('agents.files.set', set('two', sha('one')));
    const outside = { agentId: 'main', name: '../x', content: '' };
    assert.equal((await client.fails('agents.files.set', outside))['code'], 'INVALID_REQUEST');
    const listed = [(await client.ok('agents.files.list', { agentId: 'main' }))['files']].flat();
    assert.ok(listed.some((file) => Reflect.get(Object(file), 'missing') === false));

    const older = await bench.operator(await bench.gateway({ emulate: '2026.4.26' }));
    assert.ok(!('hash' in fileOf(await older.ok('agents.files.set', set('one')))));
    assert.match(String((await older.fails('agents.files.set', set('x', sha('x'))))['message']), /expectedHash/);
    const unknown = await older.fails('agents.files.list', { agentId: 'nope' });
    assert.equal(unknown['message'], 'unknown agent id');
  });

  it('really writes into a workspace when it is given one', async () => {
    const workspace = mkdtempSync(join(tmpdir(), 'gateway-'));
    try {
      const client = await bench.operator(await bench.gateway({ workspace }));
      await client.ok('agents.files.set', { agentId: 'main', name: 'SOUL.md', content: 'written' });
      assert.equal(readFileSync(join(workspace, 'main', 'SOUL.md'), 'utf8'), 'written');
    } finally {
      rmSync(workspace, { recursive: true, force: true });
    }
  });

  it('refuses a missing scope as each version does', async () => {
    for (const [emulate, expected] of [
      [
        '2026.9.6' as const,
        {
          code: 'FORBIDDEN',
          message: 'missing scope: operator.admin',
          details: {
            code: 'MISSING_SCOPE',
            missingScope: 'operator.admin',
            requiredScopes: ['operator.admin'],
          },
        },
      ],
      ['2026.4.26' as const, { code: 'INVALID_REQUEST', message: 'missing scope: operator.admin' }],
    ] as const) {
      const client = await bench.operator(await bench.gateway({ emulate }), { scopes: ['operator.read'] });
      assert.deepEqual(await client.fails('agents.create', { name: 'x' }), expected);
      await client.ok('agents.list');
      await client.ok('health');
    }
  });

  it('deduplicates by key while the instance lives, and runs again after a restart', async () => {
    const gateway = await bench.gateway({ timings: { runMs: 60_000, portShutMs: 5, startingMs: 0 } });
    const chat = { sessionKey: 'main', message: 'hi', idempotencyKey: 'k1' };
    const agent = { message: 'hi', idempotencyKey: 'k2' };
    for (const _life of [1, 2]) {
      const client = await bench.operator(gateway);
      assert.deepEqual(await client.ok('chat.send', chat), { runId: 'k1', status: 'started' });
      assert.deepEqual(await client.ok('chat.send', chat), { runId: 'k1', status: 'in_flight' });
      assert.equal((await client.ok('agent', agent))['status'], 'accepted');
      assert.deepEqual(await client.ok('agent', agent), { runId: 'k2', status: 'in_flight' });
      await gateway.restart();
    }
    const executed = gateway.ledger.filter((entry) => entry.method === 'chat.send').map((entry) => entry.executed);
    assert.deepEqual(executed, [true, false, true, false]);
  });

  it('finishes runs: events, agent.wait, chat.abort, send', async () => {
    const gateway = await bench.gateway({ timings: { runMs: 10 } });
    const client = await bench.operator(gateway);
    await client.ok('agent', { message: 'hi', idempotencyKey: 'r1' });
    assert.equal((await client.ok('agent.wait', { runId: 'r1' }))['status'], 'ok');
    assert.equal((await client.event('chat')).payload?.['state'], 'final');
    assert.equal((await client.ok('agent.wait', { runId: 'never', timeoutMs: 5 }))['status'], 'timeout');
    await client.ok('chat.send', { sessionKey: 's', message: 'x', idempotencyKey: 'r2' });
    assert.deepEqual((await client.ok('chat.abort', { sessionKey: 's' }))['runIds'], ['r2']);
    await client.ok('send', { to: 'me', message: 'x', idempotencyKey: 'r3' });
    assert.match(String((await client.fails('send', { to: 'me', message: 'x' }))['message']), /idempotencyKey/);
  });

  it('limits control-plane writes: per method on 2026.9.6, all together on 2026.4.26', async () => {
    const job = { name: 'j', schedule: {}, sessionTarget: 'main', wakeMode: 'now', payload: {} };
    const newer = await bench.operator(await bench.gateway({ limits: { controlPlane: 2 } }));
    await newer.ok('cron.add', job);
    await newer.ok('cron.add', { ...job, declarationKey: 'd' });
    const refused = await newer.fails('cron.add', job);
    assert.equal(refused['message'], 'rate limit exceeded for cron.add; retry after 60s');
    assert.deepEqual(refused['details'], { method: 'cron.add', limit: '2 per 60s' });
    assert.equal(
      Reflect.get(Object((await newer.fails('cron.remove', { id: 'x' }))['details']), 'code'),
      'CRON_JOB_NOT_FOUND',
    );
    const older = await bench.operator(await bench.gateway({ emulate: '2026.4.26' }));
    for (const _time of [1, 2]) await older.ok('cron.add', job);
    assert.equal((await older.ok('cron.remove', { id: 'x' }))['removed'], false);
    assert.equal((await older.fails('cron.remove', { id: 'x' }))['code'], 'UNAVAILABLE');
  });

  it('adds a job with a declaration key once', async () => {
    const client = await bench.operator(await bench.gateway());
    const job = { name: 'j', schedule: {}, sessionTarget: 'main', wakeMode: 'now', payload: {}, declarationKey: 'd' };
    assert.equal((await client.ok('cron.add', job))['created'], true);
    assert.equal((await client.ok('cron.add', job))['created'], false);
    assert.equal((await client.ok('cron.list'))['total'], 1);
  });

  it('knows no gateway.restart.request on 2026.4.26', async () => {
    const client = await bench.operator(await bench.gateway({ emulate: '2026.4.26' }));
    const error = await client.fails('gateway.restart.request', {});
    assert.deepEqual(error, { code: 'INVALID_REQUEST', message: 'unknown method: gateway.restart.request' });
  });

  it('has methods for tests: echo, sleep, fail, count', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 5, startingMs: 0 } });
    const client = await bench.operator(gateway, { scopes: [] });
    assert.deepEqual(await client.ok('test.echo', { a: [1] }), { a: [1] });
    const slow = client.call('test.sleep', { ms: 30 });
    await client.ok('test.echo', {});
    assert.deepEqual((await slow).payload, { slept: 30 });
    const error = { code: 'UNAVAILABLE', message: 'm', retryable: true, retryAfterMs: 5, details: { x: 1 } };
    assert.deepEqual(await client.fails('test.fail', { error }), error);
    await client.ok('test.count', { key: 'a' });
    assert.deepEqual(await client.ok('test.count', { key: 'a' }), { key: 'a', count: 2 });
    await gateway.restart();
    assert.equal(gateway.count('a'), 2);
  });

  it('executes and answers two requests of one id, as real gateways do', async () => {
    const gateway = await bench.gateway();
    const client = await bench.operator(gateway);
    for (const _time of [1, 2]) client.send({ type: 'req', id: 'same', method: 'test.count', params: { key: 'k' } });
    await client.until(() => client.frames.filter(({ id }) => id === 'same').length === 2);
    assert.equal(gateway.count('k'), 2);
  });

  it('takes extra frame keys on 2026.9.6 only', async () => {
    for (const [emulate, ok] of [['2026.9.6', true] as const, ['2026.4.26', false] as const]) {
      const client = await bench.operator(await bench.gateway({ emulate }));
      client.send({ type: 'req', id: 't', method: 'health', traceparent: '00-a-b-01' });
      assert.equal((await client.frame(({ id }) => id === 't')).ok, ok, emulate);
    }
  });

  it('writes down what became of each request', async () => {
    const gateway = await bench.gateway();
    const client = await bench.operator(gateway);
    await client.ok('test.echo', { n: 1 });
    await client.fails('agents.list', { zzz: 1 });
    const [connect, echo, refused] = gateway.ledger;
    assert.equal(connect?.method, 'connect');
    assert.deepEqual(connect?.params, operator());
    assert.deepEqual(
      [echo?.kind, echo?.conn, echo?.bootId, echo?.params, echo?.executed, echo?.answered, echo?.error],
      ['ws', 1, gateway.bootId, { n: 1 }, true, true, undefined],
    );
    assert.deepEqual([refused?.executed, refused?.answered, refused?.error], [false, true, 'INVALID_REQUEST']);
  });
});
