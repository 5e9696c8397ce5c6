import assert from 'node:assert/strict';
import {
  createNodeHost,
  type InvokeHandler,
  isGatewayError,
  type NodeHost,
  type NodeHostOptions,
} from '../../lib/index.js';
import { type Runtime, systemRuntime, type Timer } from '../../lib/io/runtime.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { eventually, Journal, type Line, sideBySide } from '../support/collect.js';
import { type Address, gateway, QUICK } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

interface Hosting extends AsyncDisposable {
  readonly host: NodeHost;
  readonly journal: Journal;
  readonly stateDir: string;
}

/** A node host that has not started, with a folder of its own unless it is given one. */
function hosting(to: Address, options: Partial<NodeHostOptions> = {}, stateDir?: string): Hosting {
  const dir = scratch();
  const journal = new Journal();
  const host = createNodeHost({
    url: to.url,
    ...(to.token !== undefined && { token: to.token }),
    device: { stateDir: stateDir ?? dir.path },
    logger: journal.logger,
    ...QUICK,
    ...options,
  });
  return {
    host,
    journal,
    stateDir: stateDir ?? dir.path,
    async [Symbol.asyncDispose]() {
      await host.close({ grace: 0 });
      dir[Symbol.dispose]();
    },
  };
}

/** A handler that goes on until the test ends it. */
class Held {
  readonly signals: AbortSignal[] = [];
  finish: (value: unknown) => void = () => {};

  readonly handler: InvokeHandler = (_params, { signal }) => {
    this.signals.push(signal);
    return new Promise((resolve) => {
      this.finish = resolve;
    });
  };

  async begun(): Promise<AbortSignal> {
    await eventually(() => this.signals.length > 0, 'the handler runs');
    const signal = this.signals.at(-1);
    assert.ok(signal !== undefined);
    return signal;
  }
}

async function proven({ host }: Hosting): Promise<string> {
  await eventually(() => host.health().node?.registration === 'proven', 'the registration is proven');
  return host.health().node?.deviceId ?? '';
}

/** What an operator hears of an invocation that fails. */
async function failure(invoked: Promise<unknown>): Promise<string> {
  return invoked.then(
    (payload) => assert.fail(`it was answered ${JSON.stringify(payload)}`),
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

/** What each connect offered. */
function offered(gw: TestGateway): unknown[][] {
  const connects = gw.ledger.filter(({ method }) => method === 'connect').map(({ params }) => Object(params));
  return connects.map(({ role, caps, commands }) => [role, caps, commands]);
}

/** Time that runs `factor` times as fast, and how many timers are pending. */
function hurried(factor: number): Runtime & { readonly pending: Set<Timer> } {
  const began = { now: performance.now(), wall: Date.now() };
  const pending = new Set<Timer>();
  return {
    ...systemRuntime,
    pending,
    now: () => began.now + (performance.now() - began.now) * factor,
    wall: () => began.wall + (performance.now() - began.now) * factor,
    setTimer(fire, ms) {
      const timer = systemRuntime.setTimer(() => {
        pending.delete(timer);
        fire();
      }, ms / factor);
      const handle = {
        clear: () => {
          pending.delete(timer);
          timer.clear();
        },
      };
      pending.add(timer);
      return handle;
    },
  };
}

describe('a node host', () => {
  const beside = sideBySide();

  it(
    'pairs, advertises what it serves, proves its registration, and serves before and after a restart',
    beside(async () => {
      await using gw = await gateway();
      await using session = hosting(gw, { caps: ['system'] });
      const { host, journal } = session;
      host.handle('echo', (params, { id, command }) => ({ params, command, id: typeof id }));
      host.start();
      const nodeId = await proven(session);
      assert.match(nodeId, /^[0-9a-f]{64}$/);
      assert.deepEqual(offered(gw), [['node', ['system'], ['echo']]]);
      assert.deepEqual(await gw.invoke(nodeId, 'echo', { a: 1 }), {
        ok: true,
        nodeId,
        command: 'echo',
        payload: { params: { a: 1 }, command: 'echo', id: 'string' },
      });
      await gw.restart();
      await gw.until(() => gw.hellos === 2);
      await proven(session);
      assert.deepEqual(offered(gw)[1], offered(gw)[0], 'what is offered is offered again');
      const again = Object(await gw.invoke(nodeId, 'echo', 2));
      assert.equal(again.payload.params, 2);
      assert.deepEqual(host.health().node?.invocations, { running: 0, served: 2, failed: 0, aborted: 0 });
      assert.equal(journal.of('node-registered').length, 2, 'after each hello anew');
    }),
  );

  it(
    'Q20 aborts what a lost link has cut, tells the operator, and sends no late result on the next link',
    beside(async () => {
      await using gw = await gateway();
      await using session = hosting(gw);
      const { host, journal } = session;
      const held = new Held();
      host.handle('hold', held.handler);
      host.start();
      const nodeId = await proven(session);
      const heard = failure(gw.invoke(nodeId, 'hold'));
      const signal = await held.begun();
      const at = performance.now();
      gw.cutAll('reset');
      await eventually(() => signal.aborted, 'the signal aborts');
      assert.ok(performance.now() - at < 500);
      assert.ok(isGatewayError(signal.reason) && signal.reason.code === 'HOLDFAST_INVOKE_ABORTED');
      assert.match(await heard, /^DISCONNECTED: /);
      await gw.until(() => gw.hellos === 2);
      await proven(session);
      held.finish('too late');
      await journal.until((line) => line.code === 'LATE', 'the late result is logged');
      assert.equal(gw.ledger.filter(({ method }) => method === 'node.invoke.result').length, 0);
      assert.equal(host.health().node?.invocations.aborted, 1);
    }),
  );

  it(
    'Q20 aborts in a restart with its reason, and serves again after it',
    beside(async () => {
      await using gw = await gateway();
      await using session = hosting(gw);
      const { host } = session;
      const held = new Held();
      host.handle('hold', held.handler);
      host.handle('echo', (params) => params);
      host.start();
      const nodeId = await proven(session);
      const heard = failure(gw.invoke(nodeId, 'hold'));
      const signal = await held.begun();
      await gw.restart();
      await eventually(() => signal.aborted, 'the signal aborts');
      assert.ok(isGatewayError(signal.reason, 'gateway-restart'), String(signal.reason));
      assert.match(await heard, /DISCONNECTED|closed|restart/i);
      await gw.until(() => gw.hellos === 2);
      await proven(session);
      assert.equal(Object(await gw.invoke(nodeId, 'echo', 'after')).payload, 'after');
    }),
  );

  it(
    'answers for a handler that throws, returns nonsense, never returns or is not there, and stays up',
    beside(async () => {
      await using gw = await gateway();
      await using session = hosting(gw);
      const { host } = session;
      const held = new Held();
      host.handle('throws', () => {
        throw new Error('no');
      });
      host.handle('nonsense', () => 1n);
      host.handle('hold', held.handler);
      const off = host.handle('gone', () => 1);
      assert.throws(
        () => host.handle('gone', () => 2),
        (error) => isGatewayError(error, 'local') && error.code === 'HOLDFAST_HANDLER',
      );
      host.start();
      const nodeId = await proven(session);
      off();
      const heard = await Promise.all([
        failure(gw.invoke(nodeId, 'throws')),
        failure(gw.invoke(nodeId, 'nonsense')),
        failure(gw.invoke(nodeId, 'hold', {}, { timeoutMs: 60 })),
        failure(gw.invoke(nodeId, 'gone')),
        failure(gw.invoke(nodeId, 'never-offered')),
      ]);
      const expected = [
        /^HANDLER_ERROR: /,
        /^UNSERIALISABLE_RESULT: /,
        /^TIMEOUT: /,
        /^UNKNOWN_COMMAND: /,
        /allowlist/,
      ];
      for (const [index, pattern] of expected.entries()) assert.match(heard[index] ?? '', pattern);
      const signal = await held.begun();
      await eventually(() => signal.aborted, 'its signal aborts');
      assert.equal(host.health().node?.invocations.running, 0);
      assert.equal(host.health().state, 'online');
      assert.equal(gw.hellos, 1);
    }),
  );

  it(
    'says nothing of its registration where the gateway cannot tell',
    beside(async () => {
      await using gw = await gateway({ emulate: '2026.4.26' });
      await using session = hosting(gw);
      const { host } = session;
      host.handle('echo', (params) => params);
      host.start();
      await host.ready({ timeout: 8000 });
      const nodeId = host.health().node?.deviceId ?? '';
      assert.equal(Object(await gw.invoke(nodeId, 'echo', 1)).payload, 1);
      // That release answers the requests of a replaced node, too: an answer would prove nothing.
      assert.equal(host.health().node?.registration, 'unproven');
      assert.equal(gw.ledger.filter(({ method }) => method === 'node.pending.pull').length, 0);
    }),
  );

  it(
    'leaves no timer behind, whatever it was doing when it was closed',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'slow-responses', methods: ['node.pending.pull'], ms: 150 }] });
      const runtime = hurried(1);
      await using session = hosting(gw, { runtime });
      session.host.start();
      await gw.until(() => gw.ledger.some(({ method }) => method === 'node.pending.pull'));
      await session.host.close({ grace: 1000 });
      await session.host.done;
      assert.equal(runtime.pending.size, 0);
    }),
  );
});

describe('a node host whose identity is used by another one (A14)', () => {
  const beside = sideBySide();
  const FACTOR = 80;
  const MINUTE = 60_000 / FACTOR;
  const twinLines = ({ journal }: Hosting): Line[] =>
    journal.of('state').filter((line) => line.code === 'HOLDFAST_TWIN');

  const options = (): Partial<NodeHostOptions> => ({
    runtime: hurried(FACTOR),
    reconnect: { initialDelay: 1000, maxDelay: 30_000, connectTimeout: 300_000 },
    blocked: { initialDelay: 15_000, maxDelay: 60_000 },
  });

  it(
    'notices by itself within a minute or so, names a suspected twin, and does not fight for the place',
    beside(async () => {
      await using gw = await gateway();
      await using first = hosting(gw, options());
      first.host.start();
      await proven(first);
      await using second = hosting(gw, options(), first.stateDir);
      second.host.start();
      await proven(second);
      assert.equal(first.host.health().state, 'online', 'ticks go on: nothing else shows it');

      const line = await first.journal.until((each) => each.code === 'HOLDFAST_TWIN', 'it notices', 2 * MINUTE);
      assert.deepEqual([line.level, line.reason, line.code], ['warn', 'local', 'HOLDFAST_TWIN']);
      assert.match(line.remedy ?? '', /second host/);
      assert.equal(first.host.health().lastError?.code, 'HOLDFAST_TWIN');
      assert.ok((line.delayMs ?? 0) >= 15_000, `${line.delayMs} ms`);

      // Two minutes of two hosts that want one place.
      const before = gw.dials;
      const until = performance.now() + 2 * MINUTE;
      await eventually(() => performance.now() >= until, 'two minutes', 3 * MINUTE);
      const dials = gw.dials - before;
      assert.ok(dials <= 2 * 2 * 4, `${dials} dials of both in two minutes`);
      assert.ok(dials >= 1, 'it goes on trying');

      await second.host.close({ grace: 0 });
      await gw.until(() => gw.connections.filter(({ open, hello }) => open && hello).length >= 1, 8000);
      await eventually(() => first.host.health().node?.registration === 'proven', 'it has its place again', 8000);
      assert.ok(twinLines(first).length >= 1);
    }),
  );

  it(
    'notices at once when a result of its own is refused',
    beside(async () => {
      await using gw = await gateway();
      await using first = hosting(gw);
      const held = new Held();
      first.host.handle('hold', held.handler);
      first.host.start();
      const nodeId = await proven(first);
      const heard = failure(gw.invoke(nodeId, 'hold'));
      await held.begun();
      await using second = hosting(gw, {}, first.stateDir);
      second.host.handle('hold', () => 'mine');
      second.host.start();
      await proven(second);
      assert.match(await heard, /^DISCONNECTED: /);
      held.finish('for nobody');
      await first.journal.until((line) => line.code === 'HOLDFAST_TWIN', 'it notices');
      assert.equal(first.host.health().state, 'waiting');
      assert.equal(Object(await gw.invoke(nodeId, 'hold')).payload, 'mine');
      assert.equal(second.host.health().node?.registration, 'proven');
    }),
  );
});
