/**
 * Time, chance and ids that a test owns: hours pass in milliseconds, the same seed gives the same run, and the host can
 * fall asleep or have its clock set.
 */
import type { Runtime, Timer } from '../../lib/io/runtime.js';

/** As in Node: a longer timer does not exist. */
const LONGEST_MS = 2 ** 31 - 1;
/** So many timers at one instant are a loop that would never end. */
const TIGHT = 10_000;

interface Entry {
  readonly due: number;
  readonly order: number;
  readonly fire: () => void;
  cleared: boolean;
}

/** A small seeded generator (mulberry32): 32 bits of state are plenty for schedules. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  draw(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  whole(min: number, max: number): number {
    return min + Math.floor(this.draw() * (max - min + 1));
  }

  /** Log-uniform, so that milliseconds and hours are equally likely. */
  span(min: number, max: number): number {
    return Math.round(min * (max / min) ** this.draw());
  }

  pick<T>(of: readonly [T, ...T[]]): T {
    return of[this.whole(0, of.length - 1)] ?? of[0];
  }
}

export class VirtualRuntime implements Runtime {
  readonly #chance: Chance;
  readonly #heap: Entry[] = [];
  #now = 0;
  #wallSkew = 1_800_000_000_000;
  #order = 0;
  #ids = 0;

  constructor(seed: number) {
    this.#chance = new Chance(seed);
  }

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#now + this.#wallSkew;
  }

  draw(): number {
    return this.#chance.draw();
  }

  id(): string {
    this.#ids += 1;
    return `id-${this.#ids}`;
  }

  setTimer(fire: () => void, ms: number): Timer {
    const due = this.#now + Math.min(Math.max(ms, 0), LONGEST_MS);
    this.#order += 1;
    const entry: Entry = { due, order: this.#order, fire, cleared: false };
    this.#push(entry);
    return {
      clear: () => {
        entry.cleared = true;
      },
    };
  }

  /** Timers that would still fire. */
  get pending(): number {
    return this.#heap.filter(({ cleared }) => !cleared).length;
  }

  /** Lets time go by until `end`; timers fire in the order in which they are due. `after` sees the world after each. */
  runUntil(end: number, after: () => void = () => {}): void {
    let instant = this.#now;
    let fired = 0;
    for (let next = this.#peek(); next !== undefined && next.due <= end; next = this.#peek()) {
      this.#pop();
      // A timer that is overdue after a sleep fires now, not in the past.
      this.#now = Math.max(this.#now, next.due);
      fired = this.#now === instant ? fired + 1 : 0;
      instant = this.#now;
      if (fired > TIGHT) throw new Error(`${TIGHT} timers fired at ${this.#now} ms: a tight loop`);
      next.fire();
      after();
    }
    this.#now = Math.max(this.#now, end);
  }

  run(ms: number, after?: () => void): void {
    this.runUntil(this.#now + ms, after);
  }

  /**
   * The process does not run for `ms`: stopped by a signal, or asleep on a host whose monotonic clock runs on. Everything
   * that was due is late when it wakes.
   */
  freeze(ms: number): void {
    this.#now += ms;
  }

  /** The host sleeps and its monotonic clock with it, as on Linux: only the wall clock shows it. */
  suspend(ms: number): void {
    this.#wallSkew += ms;
  }

  /** Somebody sets the clock. */
  setWall(by: number): void {
    this.#wallSkew += by;
  }

  #peek(): Entry | undefined {
    while (this.#heap[0]?.cleared === true) this.#pop();
    return this.#heap[0];
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      let least = at;
      if (left < heap.length && this.#before(left, least)) least = left;
      if (left + 1 < heap.length && this.#before(left + 1, least)) least = left + 1;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return false;
    return one.due < other.due || (one.due === other.due && one.order < other.order);
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return;
    this.#heap[a] = other;
    this.#heap[b] = one;
  }
}
