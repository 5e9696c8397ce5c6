import { Boot } from './boot.js';
import type { Core } from './core.js';
import type { RestartReceipt } from './host.js';
import type { RestartOptions, StartOptions } from './types.js';

const HEALTH_EVENT_MS = 60_000;

/** Starts, restarts, stops and kills the gateway, each as the real one looks from outside. */
export class Lifecycle {
  readonly #core: Core;
  readonly #restartEvery: number;
  readonly #lingering: Set<Boot> = new Set();
  /** Grows with every order: a sequence whose turn has passed does nothing more. */
  #turn = 0;
  #restarting: Promise<void> | undefined;
  #lastRestart = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(core: Core, restartEvery: number) {
    this.#core = core;
    this.#restartEvery = restartEvery;
    core.onRestartRequest = (skipDeferral) => this.#request(skipDeferral);
    core.onRestartAfterCreate = () => {
      core.boot.timers.after(core.timings.createToRestartMs, () => this.#restartUnasked());
    };
  }

  async start(options: StartOptions): Promise<void> {
    this.#assertOpen();
    if (this.#core.phase !== 'stopped')
      throw new Error(`the gateway is ${this.#core.state}: only a stopped one starts`);
    this.#turn += 1;
    await this.#begin(this.#turn, options.startingMs ?? this.#core.timings.startingMs, true);
  }

  /** A second order while a restart is under way joins it. */
  restart(options: RestartOptions): Promise<void> {
    this.#assertOpen();
    if (this.#core.phase === 'stopped') throw new Error('the gateway is stopped: start it first');
    if (this.#restarting !== undefined) return this.#restarting;
    this.#turn += 1;
    const turn = this.#turn;
    const restarting = this.#cycle(turn, options).finally(() => {
      if (this.#restarting === restarting) this.#restarting = undefined;
    });
    this.#restarting = restarting;
    return restarting;
  }

  async stop(options: RestartOptions): Promise<void> {
    this.#assertOpen();
    const core = this.#core;
    if (core.phase === 'stopped') return;
    this.#turn += 1;
    this.#restarting = undefined;
    const turn = this.#turn;
    if (core.phase !== 'restarting') {
      const number = core.profile.stopSaysNull ? { restartExpectedMs: null } : {};
      const gone = await this.#windDown(turn, { reason: 'gateway stopping', ...number, ...options });
      if (!gone) return;
    }
    this.#setPhase('stopped');
    await this.#linger();
  }

  async kill(): Promise<void> {
    this.#assertOpen();
    this.#turn += 1;
    this.#restarting = undefined;
    const core = this.#core;
    core.listener.close();
    this.#bury(core.boot);
    core.listener.destroyAll(false);
    this.#setPhase('stopped');
    await new Promise((resolve) => setImmediate(resolve));
  }

  drain(ms: number | undefined): () => void {
    const { boot, profile, timers } = this.#core;
    if (!profile.drainGate) return () => {};
    boot.drains += 1;
    let open = true;
    const end = (): void => {
      if (!open) return;
      open = false;
      boot.drains -= 1;
      this.#core.changed();
    };
    if (ms !== undefined) timers.after(ms, end);
    this.#core.changed();
    return end;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#turn += 1;
    const core = this.#core;
    core.listener.close();
    core.abandonWaiters();
    core.timers.clear();
    for (const boot of [...this.#lingering, core.boot]) this.#bury(boot);
    core.listener.destroyAll(true);
    this.#setPhase('stopped');
    await core.listener.drained();
  }

  async #cycle(turn: number, options: RestartOptions): Promise<void> {
    const core = this.#core;
    const { portShutMs, startingMs } = { ...core.timings, ...options };
    this.#lastRestart = Date.now();
    const gone = await this.#windDown(turn, { reason: 'gateway restarting', restartExpectedMs: 1500, ...options });
    if (!gone) return;
    this.#setPhase('restarting');
    if (!(await core.timers.sleep(portShutMs)) || turn !== this.#turn) return;
    await this.#begin(turn, startingMs, options.newProcess ?? false);
  }

  /** Drain, `shutdown`, close frames, port shut. False when another order came in between. */
  async #windDown(turn: number, options: RestartOptions): Promise<boolean> {
    const core = this.#core;
    const { boot } = core;
    const { drainMs, shutdownToCloseMs } = { ...core.timings, ...options };
    if (drainMs > 0) {
      this.drain(undefined);
      if (!(await core.timers.sleep(drainMs)) || turn !== this.#turn) return false;
    }
    if (options.shutdownEvent ?? true) {
      const { reason, restartExpectedMs } = options;
      core.broadcast('shutdown', { reason, ...(restartExpectedMs === undefined ? {} : { restartExpectedMs }) });
    }
    boot.fenced = true;
    core.log(`${options.reason}: ${core.connections.size} connection(s)`);
    core.changed();
    if (!(await core.timers.sleep(shutdownToCloseMs)) || turn !== this.#turn) return false;
    core.listener.close();
    boot.beginClosing();
    for (const connection of [...core.connections]) {
      connection.close(options.closeCode ?? 1012, options.closeReason ?? 'service restart');
    }
    core.front.closeIdle();
    this.#lingering.add(boot);
    core.timers.after(core.timings.lingerMs, () => this.#bury(boot));
    return true;
  }

  /** The end of an instance: what still hangs on it is cut. */
  #bury(boot: Boot): void {
    this.#lingering.delete(boot);
    boot.fenced = true;
    boot.beginClosing();
    boot.timers.clear();
    this.#core.front.closeAll(boot);
    for (const connection of [...this.#core.connections]) {
      if (connection.boot === boot) connection.drop();
    }
    this.#core.changed();
  }

  async #linger(): Promise<void> {
    if (this.#lingering.size > 0) await this.#core.timers.sleep(this.#core.timings.lingerMs + 1);
  }

  async #begin(turn: number, startingMs: number, newProcess: boolean): Promise<void> {
    const core = this.#core;
    const boot = new Boot();
    core.boot = boot;
    if (newProcess) {
      core.processStartedAt = boot.startedAt;
      core.auth.forget();
    }
    core.agents.settleAll();
    if (!core.profile.startingGate) boot.warmMs = startingMs;
    this.#setPhase(core.profile.startingGate && startingMs > 0 ? 'starting' : 'ready');
    await core.listener.open();
    core.changed();
    boot.timers.every(core.timings.tickIntervalMs, () => this.#tick());
    boot.timers.every(HEALTH_EVENT_MS, () => {
      for (const connection of core.connections) connection.healthEvent();
    });
    if (core.phase === 'starting' && (!(await boot.timers.sleep(startingMs)) || turn !== this.#turn)) return;
    this.#setPhase('ready');
    if (this.#restartEvery > 0) boot.timers.after(this.#restartEvery, () => this.#restartUnasked());
  }

  #tick(): void {
    const core = this.#core;
    if (core.frozen || core.faults.get('no-ticks') !== undefined) return;
    core.broadcast('tick', { ts: Date.now() });
  }

  /** A restart that nobody waits for. */
  #restartUnasked(): void {
    if (this.#closed || this.#core.phase === 'stopped') return;
    this.restart({}).catch((error: unknown) => this.#core.log(`restart failed: ${String(error)}`));
  }

  /** gateway.restart.request: at once, after a drain, or when the work has ended. */
  #request(skipDeferral: boolean): RestartReceipt {
    const { boot, timings } = this.#core;
    const { work } = boot;
    if (boot.restartPending || this.#restarting !== undefined) return { status: 'coalesced', work, cooldownMs: 0 };
    boot.restartPending = true;
    const cooldownMs = Math.max(0, this.#lastRestart + timings.restartCooldownMs - Date.now());
    const delay = cooldownMs + timings.restartDelayMs;
    boot.timers.after(delay, () => {
      if (work > 0 && skipDeferral) this.drain(undefined);
      this.#whenIdle(boot);
    });
    return { status: work > 0 && !skipDeferral ? 'deferred' : 'scheduled', work, cooldownMs };
  }

  #whenIdle(boot: Boot): void {
    if (boot.work === 0) this.#restartUnasked();
    else boot.timers.after(this.#core.timings.deferPollMs, () => this.#whenIdle(boot));
  }

  #setPhase(phase: Core['phase']): void {
    if (this.#core.phase !== phase) this.#core.log(`state: ${phase}`);
    this.#core.phase = phase;
    this.#core.changed();
  }

  #assertOpen(): void {
    if (this.#closed) throw new Error('the test gateway is closed');
  }
}
