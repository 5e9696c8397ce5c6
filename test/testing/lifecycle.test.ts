import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Bench, operator, RawClient } from './raw-client.js';

const serverOf = (hello: Record<string, unknown>): Record<string, unknown> => Object(hello['server']);
const uptimeOf = (hello: Record<string, unknown>): number => Number(Reflect.get(Object(hello['snapshot']), 'uptimeMs'));

describe('the embedded gateway: restart, stop, kill, start', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  it('restarts on the same port: a new boot id, the same process age, state told at each step', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 40, startingMs: 30 } });
    const { port, bootId } = gateway;
    const states: string[] = [];
    const client = await bench.operator(gateway);
    const restarting = gateway.restart();
    assert.equal(gateway.state, 'draining');
    const shutdown = await client.event('shutdown');
    assert.deepEqual(shutdown.payload, { reason: 'gateway restarting', restartExpectedMs: 1500 });
    assert.deepEqual(await client.closed, { code: 1012, reason: 'service restart' });
    await gateway.until(() => {
      if (states.at(-1) !== gateway.state) states.push(gateway.state);
      return gateway.state === 'ready';
    });
    await restarting;
    assert.deepEqual(states, ['restarting', 'starting', 'ready']);
    assert.equal(gateway.port, port);
    assert.notEqual(gateway.bootId, bootId);
    const hello = await (await bench.dial(gateway)).ok('connect', operator());
    assert.equal(serverOf(hello)['bootId'], gateway.bootId);
    assert.ok(uptimeOf(hello) >= 70, 'the process is older than the instance');
    const readyz = await (await fetch(`${gateway.httpUrl}/readyz`)).json();
    assert.ok(Reflect.get(Object(readyz), 'uptimeMs') < uptimeOf(hello));
  });

  it('does as the options say', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 20, startingMs: 0 } });
    const first = await bench.operator(gateway);
    await gateway.restart({ shutdownEvent: false, closeReason: 'node capabilities changed', newProcess: true });
    assert.deepEqual(await first.closed, { code: 1012, reason: 'node capabilities changed' });
    assert.ok(!first.frames.some(({ event }) => event === 'shutdown'));
    const second = await bench.dial(gateway);
    assert.ok(uptimeOf(await second.ok('connect', operator())) < 500);
    await gateway.restart({ restartExpectedMs: undefined, reason: 'gateway startup failed', closeCode: 1011 });
    assert.deepEqual((await second.event('shutdown')).payload, { reason: 'gateway startup failed' });
    assert.equal((await second.closed).code, 1011);
  });

  it('on 2026.9.6 drops frames after shutdown; on 2026.4.26 runs them and says nothing', async () => {
    for (const [emulate, executed] of [['2026.9.6', false] as const, ['2026.4.26', true] as const]) {
      const gateway = await bench.gateway({ emulate, timings: { shutdownToCloseMs: 40, portShutMs: 10 } });
      const client = await bench.operator(gateway);
      const restarting = gateway.restart();
      await client.event('shutdown');
      const id = client.request('test.count', { key: 'late' });
      await client.closed;
      assert.equal(gateway.count('late'), executed ? 1 : 0, emulate);
      assert.ok(!client.frames.some((frame) => frame.id === id));
      const entry = gateway.ledger.find((candidate) => candidate.method === 'test.count');
      assert.equal(entry?.executed, executed);
      assert.equal(entry?.answered, false);
      await restarting;
    }
  });

  it('starting: 2026.9.6 refuses connects with 1013; 2026.4.26 greets while /readyz still says no', async () => {
    const newer = await bench.gateway({ timings: { startingMs: 400 } });
    await newer.kill();
    void newer.start();
    await newer.until(() => newer.listening);
    const early = await bench.dial(newer);
    const error = await early.fails('connect', operator({ auth: { token: 'wrong' } }));
    assert.deepEqual(error['details'], { reason: 'startup-sidecars' });
    assert.deepEqual(await early.closed, { code: 1013, reason: 'gateway starting' });
    assert.equal((await fetch(`${newer.httpUrl}/readyz`)).status, 503);
    const startup = await fetch(`${newer.httpUrl}/startupz`);
    assert.deepEqual([startup.status, Reflect.get(Object(await startup.json()), 'status')], [503, 'starting']);
    await newer.until(() => newer.state === 'ready');
    assert.equal((await fetch(`${newer.httpUrl}/startupz`)).status, 200);

    const older = await bench.gateway({ emulate: '2026.4.26', timings: { startingMs: 2000 } });
    await older.kill();
    await older.start();
    assert.equal((await fetch(`${older.httpUrl}/readyz`)).status, 503);
    await bench.operator(older);
  });

  it('stops for good with the same close frame, and starts again as a new process', async () => {
    for (const [emulate, payload] of [
      ['2026.9.6', { reason: 'gateway stopping' }] as const,
      ['2026.4.26', { reason: 'gateway stopping', restartExpectedMs: null }] as const,
    ]) {
      const gateway = await bench.gateway({ emulate, timings: { lingerMs: 20, startingMs: 0 } });
      const client = await bench.operator(gateway);
      const { bootId, url } = gateway;
      const stopping = gateway.stop();
      assert.deepEqual((await client.event('shutdown')).payload, payload);
      assert.deepEqual(await client.closed, { code: 1012, reason: 'service restart' });
      await stopping;
      assert.equal(gateway.state, 'stopped');
      await assert.rejects(RawClient.open(url), { code: 'ECONNREFUSED' });
      await assert.rejects(gateway.restart(), /stopped/);
      await gateway.stop();
      await gateway.start();
      assert.equal(gateway.url, url);
      assert.notEqual(gateway.bootId, bootId);
      await bench.operator(gateway);
      await assert.rejects(gateway.start(), /only a stopped one/);
    }
  });

  it('is killed without a close frame', async () => {
    const gateway = await bench.gateway();
    const client = await bench.operator(gateway);
    const waiting = client.request('test.sleep', { ms: 10_000 });
    await gateway.until(() => gateway.ledger.some(({ id }) => id === waiting));
    await gateway.kill();
    assert.equal((await client.closed).code, 1006);
    assert.ok(!client.frames.some(({ event }) => event === 'shutdown'));
    await assert.rejects(RawClient.open(gateway.url), { code: 'ECONNREFUSED' });
  });

  it('lets a later order overtake a restart: the port stays shut', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 30 } });
    const restarting = gateway.restart();
    await gateway.until(() => gateway.state === 'restarting');
    await gateway.kill();
    await restarting;
    assert.equal(gateway.state, 'stopped');
    assert.equal(gateway.listening, false);
  });

  it('joins a second restart to the first', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 20, startingMs: 0 } });
    const client = await bench.operator(gateway);
    await Promise.all([gateway.restart(), gateway.restart()]);
    assert.equal(client.frames.filter(({ event }) => event === 'shutdown').length, 1);
  });

  it('drains on 2026.9.6: RPC, HTTP work and upgrades are refused, probes say so, ticks go on', async () => {
    const gateway = await bench.gateway({ timings: { tickIntervalMs: 20 } });
    const client = await bench.operator(gateway);
    const early = await bench.dial(gateway);
    const end = gateway.drain();
    assert.deepEqual(await client.fails('health'), {
      code: 'UNAVAILABLE',
      message: 'health unavailable during gateway restart',
      retryable: true,
      retryAfterMs: 1000,
      details: { method: 'health', reason: 'gateway-restarting', phase: 'accepting' },
    });
    assert.equal((await early.fails('connect', operator()))['code'], 'UNAVAILABLE');
    assert.deepEqual(await early.closed, { code: 1013, reason: 'gateway restart in progress' });
    assert.equal(await bench.keep(new RawClient(gateway.url)).refusal(), '503 Gateway websocket admission closed');
    const post = await fetch(`${gateway.httpUrl}/v1/models`, { headers: { authorization: 'Bearer x' } });
    assert.deepEqual([post.status, post.headers.get('retry-after')], [503, '1']);
    assert.equal(Reflect.get(Object(Reflect.get(Object(await post.json()), 'error')), 'code'), 'gateway_unavailable');
    const ready = await fetch(`${gateway.httpUrl}/readyz`);
    assert.deepEqual(Reflect.get(Object(await ready.json()), 'failing'), ['gateway-draining']);
    assert.equal((await fetch(`${gateway.httpUrl}/healthz`)).status, 200);
    const ticks = client.frames.length;
    await client.until(() => client.frames.length > ticks);
    end();
    assert.equal(gateway.state, 'ready');
    await client.ok('health');
    gateway.drain({ ms: 10 });
    await gateway.until(() => gateway.state === 'ready');
  });

  it('has no drain gate on 2026.4.26', async () => {
    const gateway = await bench.gateway({ emulate: '2026.4.26' });
    const client = await bench.operator(gateway);
    gateway.drain();
    await client.ok('health');
    assert.equal(gateway.state, 'ready');
  });

  it('defers a requested restart while work is active, or drains until it ends', async () => {
    for (const skipDeferral of [false, true]) {
      const gateway = await bench.gateway({ timings: { portShutMs: 20, deferPollMs: 5, startingMs: 0 } });
      const client = await bench.operator(gateway);
      const slow = client.call('test.sleep', { ms: 60 });
      const receipt = await client.ok('gateway.restart.request', { reason: 'test', skipDeferral });
      assert.equal(receipt['status'], skipDeferral ? 'scheduled' : 'deferred');
      assert.equal((await client.ok('gateway.restart.request', {}))['status'], 'coalesced');
      if (skipDeferral) await gateway.until(() => gateway.state === 'draining');
      assert.equal((await slow).ok, true, 'running work ends first');
      assert.equal((await client.closed).code, 1012);
    }
  });

  it('makes a second requested restart wait out the cooldown', async () => {
    const gateway = await bench.gateway({ timings: { portShutMs: 5, startingMs: 0, restartCooldownMs: 5000 } });
    await gateway.restart();
    const client = await bench.operator(gateway);
    const { restart } = await client.ok('gateway.restart.request', {});
    const applied = Number(Reflect.get(Object(restart), 'cooldownMsApplied'));
    assert.ok(applied > 4000 && applied <= 5000, String(applied));
  });

  it('refuses upgrades with 503 in the moment in which 2026.4.26 closes', async () => {
    const gateway = await bench.gateway({ emulate: '2026.4.26', timings: { shutdownToCloseMs: 60 } });
    const client = await bench.operator(gateway);
    const restarting = gateway.restart();
    await client.event('shutdown');
    assert.equal(await bench.keep(new RawClient(gateway.url)).refusal(), '503 Service Unavailable');
    await restarting;
  });

  it('rejects at once when the port is taken, and reads faults from its options', async () => {
    const gateway = await bench.gateway({ faults: [{ name: 'refuse' }] });
    assert.equal(gateway.listening, false);
    assert.notEqual(gateway.port, 0);
    gateway.heal();
    await gateway.until(() => gateway.listening);
    await assert.rejects(bench.gateway({ port: gateway.port }), { code: 'EADDRINUSE' });
  });

  it('restarts by itself every so often', async () => {
    const gateway = await bench.gateway({ restartEvery: 20, timings: { portShutMs: 5, startingMs: 0, drainMs: 1 } });
    const boots = new Set<string>();
    await gateway.until(() => boots.add(gateway.bootId).size >= 3);
  });

  it('is frozen and thawed: nothing is lost, nothing is answered meanwhile', async () => {
    const gateway = await bench.gateway({ timings: { tickIntervalMs: 10 } });
    const client = await bench.operator(gateway);
    gateway.freeze();
    const heard = client.frames.length;
    const id = client.request('test.count', { key: 'frozen' });
    const late = bench.keep(new RawClient(gateway.url));
    await gateway.until(() => gateway.dials === 2);
    const other = await bench.gateway();
    await (await bench.operator(other)).ok('test.sleep', { ms: 40 });
    assert.equal(client.frames.length, heard);
    assert.equal(gateway.count('frozen'), 0);
    assert.equal(late.ws.readyState, late.ws.CONNECTING);
    gateway.thaw();
    assert.equal((await client.frame((frame) => frame.id === id)).ok, true);
    await late.event('connect.challenge');
  });

  it('closes each socket with the code it is told, sends what it is told, cuts as it is told', async () => {
    const gateway = await bench.gateway();
    for (const code of [1000, 1001, 1003, 1005, 1006, 1008, 1011, 1012, 1013, 1014, 3000, 4001, 4999]) {
      const client = await bench.operator(gateway);
      gateway.closeAll(code, `reason ${code}`);
      const mute = code === 1005 || code === 1006;
      assert.deepEqual(await client.closed, { code, reason: mute ? '' : `reason ${code}` });
    }
    for (const code of [0, 999, 1004, 1015, 2999, 5000, 1000.5]) {
      assert.throws(() => gateway.closeAll(code), RangeError);
      assert.throws(() => gateway.inject({ name: 'drop-after-hello', code }), RangeError);
    }
    const wordy = await bench.operator(gateway);
    gateway.closeAll(4000, 'ä'.repeat(200));
    assert.equal((await wordy.closed).reason, 'ä'.repeat(61));
    for (const [cut, code] of [['reset', 1006] as const, ['fin', 1006] as const, ['mid-frame', 1006] as const]) {
      const client = await bench.operator(gateway);
      gateway.cutAll(cut);
      assert.equal((await client.closed).code, code, cut);
    }
    const client = await bench.operator(gateway);
    gateway.send('news', { n: 1 });
    gateway.send('news', { n: 2 }, { seq: 9 });
    gateway.sendRaw('{{{');
    await client.until(() => client.texts.includes('{{{'));
    assert.deepEqual(
      client.frames.filter(({ event }) => event === 'news').map(({ seq }) => seq),
      [1, 9],
    );
    gateway.cutAll('no-status');
    assert.equal((await client.closed).code, 1005);
  });

  it('records who came, what they said first, and who ended it', async () => {
    const gateway = await bench.gateway();
    const client = await bench.operator(gateway);
    const rude = await bench.dial(gateway);
    rude.ws.send('hello there');
    await rude.closed;
    client.ws.close(1000, 'bye');
    await client.closed;
    await gateway.until(() => gateway.connections.every(({ open }) => !open));
    const [first, second] = gateway.connections;
    assert.deepEqual(
      [first?.firstFrame, first?.hello, first?.role, first?.closedBy, first?.closeCode, first?.closeReason],
      ['connect', true, 'operator', 'peer', 1000, 'bye'],
    );
    assert.deepEqual([second?.firstFrame, second?.hello, second?.closedBy], ['hello there', false, 'gateway']);
    assert.deepEqual([gateway.dials, gateway.upgrades, gateway.hellos], [2, 2, 1]);
    assert.ok(gateway.ledger.length > 0);
    gateway.clearLedger();
    assert.equal(gateway.ledger.length, 0);
  });

  it('says when a condition does not come true, and when it was closed', async () => {
    const gateway = await bench.gateway();
    await assert.rejects(
      gateway.until(() => false, 10),
      /did not come true within 10 ms/,
    );
    const waiting = assert.rejects(
      gateway.until(() => false),
      /closed/,
    );
    await gateway.close();
    await waiting;
    await gateway.close();
    await assert.rejects(gateway.restart(), /closed/);
  });

  it('leaves nothing behind: a process that closes it ends by itself', () => {
    const code = `
      import { createTestGateway } from ${JSON.stringify(new URL('../../lib/testing/index.js', import.meta.url).href)};
      import { connect } from 'node:net';
      const gateway = await createTestGateway({ restartEvery: 50, faults: [{ name: 'silent', times: 1 }] });
      const sockets = [connect(gateway.port), connect(gateway.port)];
      for (const socket of sockets) socket.on('error', () => {}).resume();
      await gateway.until(() => gateway.dials === 2);
      gateway.inject({ name: 'half-open' });
      await gateway.close();
      process.stdout.write('closed');`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8', timeout: 5000 });
    assert.equal(child.stderr, '');
    assert.equal(child.stdout, 'closed');
    assert.equal(child.status, 0);
  });
});
