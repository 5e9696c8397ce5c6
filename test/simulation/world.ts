/** One client in virtual time: the real driver, a scripted gateway, and everything that was seen of both. */
import assert from 'node:assert/strict';
import { giveUpAt } from '../../lib/core/connection.js';
import type { Effect, Gate, Notice, State } from '../../lib/core/machine.js';
import type { ClientOptions } from '../../lib/core/options.js';
import { LIMITS, type Policy } from '../../lib/core/policy.js';
import { Driver, type Observer, PULSE_MS } from '../../lib/io/driver.js';
import type { Runtime, Timer } from '../../lib/io/runtime.js';
import { policyFor } from '../model/machine.js';
import { ScriptedPeer } from '../support/scripted-peer.js';
import { VirtualRuntime } from '../support/virtual-runtime.js';

type End = Extract<Effect, { type: 'finish' }>;

/** How often a caller asks something of the gateway. */
const READ_EVERY_MS = 15_000;

export interface Told {
  readonly at: number;
  readonly notice: Notice;
}

export class World {
  readonly policy: Policy;
  readonly runtime: VirtualRuntime;
  readonly link: ScriptedPeer;
  driver: Driver;
  /** Of all lives. */
  readonly told: Told[] = [];
  /** Of this life. */
  ends: End[] = [];
  readonly broken: string[] = [];
  readonly faults: unknown[] = [];
  gate: Gate | null = null;
  #timers = 0;
  #attempts = 0;
  #dialsBefore = 0;
  /** Since when the link has been dead without anybody being told. */
  #deadSince: number | null = null;
  /** Until then our own lateness excuses a late verdict. */
  #excusedUntil = 0;

  constructor(options: Omit<ClientOptions, 'url'> = {}, seed = 1) {
    this.policy = policyFor(options);
    this.runtime = new VirtualRuntime(seed);
    this.link = new ScriptedPeer(this.runtime, (event) => this.driver.push(event));
    this.driver = this.#newDriver();
    this.#read();
  }

  get state(): State {
    return this.driver.state;
  }

  get now(): number {
    return this.runtime.now();
  }

  start(): this {
    this.driver.push({ type: 'start' });
    this.check();
    return this;
  }

  /** A new process after the one before has ended. */
  respawn(): this {
    this.ends = [];
    this.#attempts = 0;
    this.#dialsBefore = this.link.dials.length;
    this.driver = this.#newDriver();
    return this.start();
  }

  run(ms: number): this {
    this.runtime.run(ms, () => this.check());
    return this;
  }

  /** Runs until `done` or for `ms`. True: done. */
  runUntil(done: () => boolean, ms: number): boolean {
    const end = this.now + ms;
    while (!done() && this.now < end) this.run(Math.min(250, end - this.now));
    return done();
  }

  /** Acts in virtual time, `ms` from now. */
  after(ms: number, act: () => void): void {
    this.runtime.setTimer(act, ms);
  }

  freeze(ms: number): void {
    this.runtime.freeze(ms);
    this.excuse();
  }

  /** Something befell this host itself; what it decides may be late. */
  excuse(): void {
    this.#excusedUntil = this.now + 60_000;
  }

  /** Events of dials that are over arrive after all; they must change nothing. */
  stale(): void {
    const before = this.state;
    const lines = this.told.length;
    this.link.stale(before.journey.epoch);
    assert.deepEqual([this.state, this.told.length], [before, lines], 'an event of an older dial changed something');
  }

  notices<T extends Notice['type']>(type: T): Extract<Notice, { type: T }>[] {
    return this.told.flatMap(({ notice }) => (notice.type === type ? [notice as Extract<Notice, { type: T }>] : []));
  }

  /** What must hold after every event. */
  check(): void {
    const { state, link } = this;
    assert.equal(link.overlaps, 0, 'two links at once');
    assert.deepEqual([this.broken, this.faults], [[], []], 'the driver found itself broken');
    assert.ok(this.driver.sound, `state ${state.status} without a next action`);
    const open = state.status === 'online' && !state.shutdown;
    assert.equal(this.gate === 'open', open, `gate ${this.gate} in state ${state.status}`);
    assert.equal(this.ends.length, state.status === 'stopped' ? 1 : 0, 'ends');
    if (state.status === 'stopped') {
      assert.equal(this.#timers, 0, 'timers left behind');
      assert.equal(link.live, false, 'a link left behind');
      return;
    }
    const dialing = state.status === 'connecting' || state.status === 'handshaking';
    assert.equal(this.#attempts, link.dials.length - this.#dialsBefore - (dialing ? 1 : 0), 'a line for every attempt');
    this.#checkBudget();
    this.#checkZombie();
  }

  #checkBudget(): void {
    const due = giveUpAt(this.policy, this.state);
    if (due === null || this.state.status === 'online' || this.state.status === 'idle') return;
    assert.ok(this.now <= due + 1000 || this.now < this.#excusedUntil, `${this.now - due} ms over its budget`);
  }

  /** `online` may be said of a dead link only until the silence is long enough. */
  #checkZombie(): void {
    const { state } = this;
    const dead = state.status === 'online' && !this.link.sound;
    if (!dead) this.#deadSince = null;
    else this.#deadSince ??= this.now;
    if (!dead || this.#deadSince === null || state.silenceLimit === null) return;
    const silent = this.now - this.#deadSince;
    const allowed = state.silenceLimit + LIMITS.silence.min + 1000;
    assert.ok(silent <= allowed || this.now < this.#excusedUntil, `online for ${silent} ms on a dead link`);
  }

  #read(): void {
    this.after(READ_EVERY_MS, () => {
      if (this.gate === 'open') this.link.request();
      this.#read();
    });
  }

  #newDriver(): Driver {
    const observer: Observer = {
      notice: (notice) => {
        this.told.push({ at: this.now, notice });
        if (notice.type === 'attempt') this.#attempts += 1;
      },
      gate: (gate) => {
        this.gate = gate;
      },
      record: () => {},
      finish: (end) => this.ends.push(end),
      broken: (what) => this.broken.push(what),
      fault: (where, error) => this.faults.push({ where, error }),
    };
    const driver = new Driver(this.policy, this.#metered(), observer, PULSE_MS);
    driver.attach(this.link);
    return driver;
  }

  /** The driver's own timers are counted, so that none may outlive it. */
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
          if (pending) this.#timers -= 1;
          pending = false;
        };
        this.#timers += 1;
        const timer = runtime.setTimer(() => {
          over();
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
