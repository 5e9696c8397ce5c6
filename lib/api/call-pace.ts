/**
 * How many calls may be on the wire. After a hello a queue is let out 1, 2, 4 … at a time, so that a herd of calls does
 * not fell the gateway that has just come back; while the gateway drains, one call at a time asks whether that is over.
 */
import type { Runtime, Timer } from '../core/runtime.js';

/** While a queue is let out, one more may go after this long without an answer, in ms: a long call must not hold up the rest. */
const SLOW_STEP_MS = 100;
/** What is added to the hint of a draining gateway at most, so that clients differ. */
const DRAIN_JITTER = 0.25;

export class CallPace {
  readonly #runtime: Runtime;
  /** A call may go out that could not before. */
  readonly #onRoom: () => void;
  #limit = Number.POSITIVE_INFINITY;
  #step: Timer | null = null;
  #drain: Timer | 'asking' | null = null;

  constructor(runtime: Runtime, onRoom: () => void) {
    this.#runtime = runtime;
    this.#onRoom = onRoom;
  }

  /** The gateway drains: calls are held, and one at a time is sent to see whether that is over. */
  get draining(): boolean {
    return this.#drain !== null;
  }

  /** May a call that waits go out beside `inFlight` others? */
  hasRoom(inFlight: number): boolean {
    return inFlight < this.#limit && (this.#drain === null || this.#drain === 'asking');
  }

  /** A new link, or none: what was known of the one before is over. */
  restart(waiting: number): void {
    this.endDrain();
    this.#step?.clear();
    this.#step = null;
    this.#limit = waiting > 0 ? 1 : Number.POSITIVE_INFINITY;
  }

  /** A call was answered. True: more may go out than before. */
  answered(): boolean {
    if (this.#limit === Number.POSITIVE_INFINITY) return false;
    if (this.#drain === null) this.#limit *= 2;
    return true;
  }

  /** Nobody waits any more. Whether a drain is over is still asked by one call at a time. */
  emptied(): void {
    if (this.#drain === null) this.#limit = Number.POSITIVE_INFINITY;
  }

  /** Somebody still waits although all that may have gone out. */
  stepLater(): void {
    if (this.#drain !== null) return;
    this.#step ??= this.#runtime.setTimer(() => {
      this.#step = null;
      if (this.#drain !== null) return;
      this.#limit += 1;
      this.#onRoom();
    }, SLOW_STEP_MS);
  }

  /** The gateway drains and names a time. Every caller asking again at it would be a storm: the first asks for all. */
  holdBack(hint: number): void {
    if (this.#drain !== null && this.#drain !== 'asking') return;
    this.#limit = 1;
    const ask = (): void => {
      this.#drain = 'asking';
      this.#onRoom();
    };
    this.#drain = this.#runtime.setTimer(ask, hint * (1 + DRAIN_JITTER * this.#runtime.draw()));
  }

  endDrain(): void {
    if (this.#drain !== null && this.#drain !== 'asking') this.#drain.clear();
    this.#drain = null;
  }
}
