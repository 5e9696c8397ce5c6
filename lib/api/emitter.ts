/** Typed events on eventemitter3, with what it lacks: a listener that throws harms nobody, and events can be iterated. */
import { EventEmitter } from 'eventemitter3';

export type Listener<T> = (event: T) => void;

/** One event of any type, as iteration yields it. */
export type Tagged<Events extends object> = { [E in keyof Events]: { type: E } & Events[E] }[keyof Events];

/** How many events an iterator keeps for a reader that does not read; the oldest go first. */
const BACKLOG = 1000;

interface Tap<Item> {
  readonly backlog: Item[];
  wake(): void;
}

/** Calls what belongs to somebody else. Whether it throws or, being async, rejects: `onFault` is told, and nobody else. */
export function isolated(call: () => unknown, onFault: (error: unknown) => void): void {
  try {
    const result = call();
    // Otherwise this would be an unhandled rejection of the whole process.
    if (result instanceof Promise) result.catch(onFault);
  } catch (error) {
    onFault(error);
  }
}

export class IsolatedEmitter<Events extends object> {
  readonly #emitter = new EventEmitter<string>();
  readonly #onFault: (event: string, error: unknown) => void;
  readonly #taps = new Set<Tap<Tagged<Events>>>();
  #ended = false;

  constructor(onFault: (event: string, error: unknown) => void) {
    this.#onFault = onFault;
  }

  /** Returns its own off. */
  on<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): () => void {
    const guarded = (payload: Events[E]): void => {
      isolated(
        () => listener(payload),
        (error) => this.#onFault(event, error),
      );
    };
    this.#emitter.on(event, guarded);
    return () => {
      this.#emitter.off(event, guarded);
    };
  }

  emit<E extends keyof Events & string>(event: E, payload: Events[E]): void {
    this.#emitter.emit(event, payload);
    for (const tap of this.#taps) {
      tap.backlog.push({ ...payload, type: event });
      if (tap.backlog.length > BACKLOG) tap.backlog.shift();
      tap.wake();
    }
  }

  /** True when somebody listens: a record that nobody reads need not be made. */
  has(event: keyof Events & string): boolean {
    return this.#taps.size > 0 || this.#emitter.listenerCount(event) > 0;
  }

  /** All events from now on, in order. Ends with the signal or with `end()`; keeps the last 1000 for a slow reader. */
  iterate(signal?: AbortSignal): AsyncGenerator<Tagged<Events>, void, void> {
    // Taken here and not by the generator, which begins only when it is first asked: "from now on" means now.
    const tap: Tap<Tagged<Events>> = { backlog: [], wake: () => {} };
    if (!this.#ended) this.#taps.add(tap);
    return this.#drain(tap, signal);
  }

  async *#drain(tap: Tap<Tagged<Events>>, signal?: AbortSignal): AsyncGenerator<Tagged<Events>, void, void> {
    const onAbort = (): void => tap.wake();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      while (signal?.aborted !== true) {
        const next = tap.backlog.shift();
        if (next !== undefined) yield next;
        else if (this.#ended) return;
        else
          await new Promise<void>((resolve) => {
            tap.wake = resolve;
          });
      }
    } finally {
      this.#taps.delete(tap);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends every iteration once it has yielded what it holds. */
  end(): void {
    this.#ended = true;
    for (const tap of this.#taps) tap.wake();
  }
}
