import { randomUUID } from 'node:crypto';
import { Runs } from './runs.js';
import { Timers } from './timers.js';

/** One life of the gateway between two restarts: everything that dies with it hangs here. */
export class Boot {
  readonly id: string = randomUUID();
  readonly startedAt: number = Date.now();
  readonly timers: Timers = new Timers();
  readonly runs: Runs = new Runs();
  /** Control-plane writes by limit key. */
  readonly writes: Map<string, number[]> = new Map();
  /** `shutdown` was announced: what arrives from here on is dropped or runs unheard. */
  fenced = false;
  /** An old version is about to restart by itself: what it is asked runs, and is not answered any more. */
  reloading = false;
  /** Its sockets are closed and its port is shut. */
  closing = false;
  /** How many drains hold its gate shut. */
  drains = 0;
  /** A restart was asked for and has not begun. */
  restartPending = false;
  /** Work under way that a polite restart waits for. */
  work = 0;
  /** How long its /readyz says that it starts, on versions where nothing else does. */
  warmMs = 0;
  health = 1;
  #onClosing: (() => void)[] = [];

  /** Counts `task` as work until it settles. */
  async busy<T>(task: Promise<T>): Promise<T> {
    this.work += 1;
    try {
      return await task;
    } finally {
      this.work -= 1;
    }
  }

  /** Resolves when the gateway begins to close. */
  closes(): Promise<void> {
    return new Promise((resolve) => {
      if (this.closing) resolve();
      else this.#onClosing.push(resolve);
    });
  }

  /** Waits; false when the gateway began to close meanwhile, or died. */
  pass(ms: number): Promise<boolean> {
    return Promise.race([this.timers.sleep(ms), this.closes().then(() => false)]);
  }

  beginClosing(): void {
    this.closing = true;
    for (const listener of this.#onClosing.splice(0)) listener();
  }
}
