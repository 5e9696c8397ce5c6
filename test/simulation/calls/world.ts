/** The engine of the calls in virtual time: the real driver and the real calls, wired as the client wires them. */
import assert from 'node:assert/strict';
import type { CallDetails, CallRequest, Confirm } from '../../../lib/api/call-entry.js';
import { Requests } from '../../../lib/api/call-request.js';
import { type CallPort, Calls } from '../../../lib/api/calls.js';
import { RetryAccount } from '../../../lib/api/retry-account.js';
import { knowledge } from '../../../lib/core/connection.js';
import type { Failure } from '../../../lib/core/failure.js';
import { reasonOf, restartInfo } from '../../../lib/core/health.js';
import type { Gate } from '../../../lib/core/machine.js';
import { parseOptions, type Settings } from '../../../lib/core/options.js';
import { Driver, PULSE_MS } from '../../../lib/io/driver.js';
import type { Runtime, Timer } from '../../../lib/io/runtime.js';
import { ScriptedGateway } from '../../support/scripted-gateway.js';
import { SERVE } from '../../support/scripted-peer.js';
import { Chance, VirtualRuntime } from '../../support/virtual-runtime.js';
import type { CallSpec } from './schedule.js';
import { CONFIRMS, Tracked } from './tracked.js';
import { Watch } from './watch.js';
import { Wire } from './wire.js';

/** What a mutant replaces. */
export interface Parts {
  account?(runtime: Runtime): RetryAccount;
  calls?(port: CallPort, runtime: Runtime, account: RetryAccount): Calls;
}

/** Thrown out of the clock when promises have to run before time goes on. */
const PAUSE = Symbol('pause');
const TIGHT = 20_000;

export class CallWorld {
  readonly runtime: VirtualRuntime;
  readonly gateway: ScriptedGateway;
  readonly wire: Wire;
  readonly driver: Driver;
  readonly calls: Calls;
  readonly account: RetryAccount;
  readonly watch: Watch;
  readonly tracked: Tracked[] = [];
  gate: Gate = 'shut';
  bootId: string | undefined;
  /** Timers of the calls that would still fire. */
  timers = 0;
  retries = 0;
  /** Looks under way, and those that ended as unknown. */
  looks = 0;
  unknownLooks = 0;
  closing: { readonly at: number; readonly by: number; done: boolean } | null = null;
  readonly #settings: Settings;
  readonly #requests: Requests;
  #dirty = false;
  #failed: unknown = null;
  #over = false;
  #instant = { at: 0, events: 0 };

  constructor(seed: number, parts: Parts = {}) {
    this.#settings = parseOptions({ url: 'ws://127.0.0.1:18789' }, 'sim', '0.0.0');
    this.runtime = new VirtualRuntime(seed);
    this.gateway = new ScriptedGateway(this.runtime, new Chance(seed ^ 0x5bd1e995));
    this.wire = new Wire(this.runtime, this.gateway, {
      push: (event) => {
        if (event.type === 'shutdown') this.watch.shutdownRead();
        this.driver.push(event);
      },
      hello: (bootId) => {
        this.bootId = bootId;
        this.calls.maxPayload = 26_214_400;
      },
      response: (frame) => {
        this.watch.answer(frame);
        this.touch();
        this.calls.answered(frame);
      },
      sent: (request) => this.#guard(() => this.watch.sent(request)),
      broken: (what) => this.#fail(new Error(what)),
    });
    const metered = this.#metered();
    this.account = parts.account?.(metered) ?? new RetryAccount(metered);
    const port = this.#port();
    this.calls = parts.calls?.(port, metered, this.account) ?? new Calls(port, metered, this.account);
    this.watch = new Watch(this);
    this.#requests = new Requests(metered);
    this.driver = this.#makeDriver();
    this.driver.attach(this.wire);
  }

  get now(): number {
    return this.runtime.now();
  }

  /** Part of the script: called off when it is over. */
  later(ms: number, act: () => void): void {
    this.runtime.setTimer(() => {
      if (!this.#over) act();
    }, ms);
  }

  endScript(): void {
    this.#over = true;
  }

  boot(): void {
    this.gateway.boot();
    this.wire.link.bootId = this.gateway.bootId;
    this.wire.link.behaviour = SERVE;
  }

  thaw(): void {
    this.gateway.thaw();
    this.wire.thaw();
    if (this.gateway.alive && this.wire.link.behaviour.kind === 'hang') this.wire.link.behaviour = SERVE;
  }

  /** Our own process does not run. */
  freeze(ms: number): void {
    this.runtime.freeze(ms);
    this.watch.wokeAt = this.now;
  }

  make(spec: CallSpec): Tracked {
    const confirm = spec.confirm === undefined ? undefined : CONFIRMS[spec.confirm](spec.marker);
    const { request } = this.#requests.prepare(
      spec.method,
      spec.params,
      { ...spec.options, ...(confirm !== undefined && { confirm }) },
      this.#settings.call,
    );
    const tracked = new Tracked(spec, this.#counted(request), this.now, this.gate, (call) => this.watch.ended(call));
    this.tracked.push(tracked);
    this.watch.made(tracked);
    this.touch();
    this.calls.make(tracked.request).then(
      (details: CallDetails) => tracked.settle(this.now, details, null),
      (error: unknown) => tracked.settle(this.now, null, error),
    );
    if (spec.abortAfter !== undefined) {
      this.runtime.setTimer(() => {
        this.touch();
        tracked.abort.abort('no longer wanted');
      }, spec.abortAfter);
    }
    return tracked;
  }

  /** As the client closes: its calls first, then the link. */
  async close(grace: number): Promise<void> {
    const closing = { at: this.now, by: this.now + Math.max(0, grace - 1000), done: false };
    this.closing = closing;
    this.touch();
    await this.calls.drain(Math.max(0, grace - 1000));
    this.driver.push({ type: 'close' });
    closing.done = true;
  }

  /** The calls were touched: what they promised runs before time goes on. */
  touch(): void {
    this.#dirty = true;
  }

  async run(ms: number, each: () => void): Promise<void> {
    const end = this.now + ms;
    await this.#flush(each);
    for (;;) {
      try {
        this.runtime.runUntil(end, () => this.#after());
        return;
      } catch (error) {
        if (error !== PAUSE) throw error;
        await this.#flush(each);
      }
    }
  }

  #after(): void {
    if (this.#failed !== null) throw this.#failed;
    const { at, events } = this.#instant;
    this.#instant = { at: this.now, events: at === this.now ? events + 1 : 0 };
    assert.ok(events < TIGHT, 'a tight loop');
    if (this.#dirty) throw PAUSE;
  }

  async #flush(each: () => void): Promise<void> {
    do {
      this.#dirty = false;
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#dirty);
    if (this.#failed !== null) throw this.#failed;
    each();
  }

  #fail(error: unknown): void {
    this.#failed ??= error;
  }

  /** What the engine would catch and log is a failure here. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#fail(error);
    }
  }

  #counted(request: CallRequest): CallRequest {
    const { confirm } = request.options;
    if (confirm === undefined) return request;
    const counted: Confirm = ({ signal, call }) =>
      confirm({
        signal,
        call: async (method, params) => {
          this.looks += 1;
          this.touch();
          try {
            return await call(method, params);
          } catch (error) {
            if (error instanceof Error && 'outcome' in error && error.outcome === 'unknown') this.unknownLooks += 1;
            throw error;
          } finally {
            this.looks -= 1;
          }
        },
      });
    return { ...request, options: { ...request.options, confirm: counted } };
  }

  #port(): CallPort {
    const state = (): Driver['state'] => this.driver.state;
    const offset = (): number => this.runtime.wall() - this.now;
    const epoch = (): number => state().journey.epoch;
    return {
      send: (text) => this.wire.send(text),
      restart: () => {
        const { restart } = state().journey;
        return restart === null ? undefined : restartInfo(restart, (at) => Math.round(at + offset()));
      },
      linkReason: () => reasonOf(state()),
      bootId: () => this.bootId,
      known: () => knowledge(state().journey),
      draining: () => this.driver.push({ type: 'draining', epoch: epoch() }),
      served: () => this.driver.push({ type: 'served', epoch: epoch() }),
      retried: (event) => {
        this.retries += 1;
        this.watch.retried(event);
      },
      stray: () => {},
      fault: (where, error) => {
        // Confirms of the script throw on purpose; whatever else throws is a bug.
        if (where !== 'confirm') this.#fail(error);
      },
    };
  }

  #makeDriver(): Driver {
    const { policy } = this.#settings;
    const observer: ConstructorParameters<typeof Driver>[2] = {
      notice: () => {},
      gate: (gate, cut, failure) => this.#setGate(gate, cut, failure),
      record: () => {},
      finish: () => {},
      broken: (what) => this.#fail(new Error(what)),
      fault: (_, error) => this.#fail(error),
    };
    return new Driver(policy, this.runtime, observer, PULSE_MS);
  }

  #setGate(gate: Gate, cut: boolean, failure: Failure | null): void {
    this.gate = gate;
    this.touch();
    this.watch.gate(gate, cut);
    this.calls.setGate(gate, cut, failure);
    this.#guard(() => this.watch.gateSet(cut));
  }

  /** The timers of the calls, apart from those of the machine: none may be left. */
  #metered(): Runtime {
    const { runtime } = this;
    return {
      now: () => runtime.now(),
      wall: () => runtime.wall(),
      draw: () => runtime.draw(),
      id: () => runtime.id(),
      setTimer: (fire, ms): Timer => {
        let pending = true;
        const over = (): void => {
          if (pending) this.timers -= 1;
          pending = false;
        };
        this.timers += 1;
        const timer = runtime.setTimer(() => {
          over();
          this.touch();
          fire();
        }, ms);
        return {
          clear: () => {
            over();
            timer.clear();
          },
        };
      },
    };
  }
}
