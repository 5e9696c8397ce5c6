/** Calls that wait for the link: bounded by count and bytes, let out in the order in which they were made. */
import type { Entry } from './call-entry.js';

/** Bounds of the queue. Over them a call is refused at once, outcome `not-sent`. */
export const QUEUE_LIMITS: { readonly count: number; readonly bytes: number } = {
  count: 20_000,
  bytes: 64 * 1024 * 1024,
};

export class CallQueue {
  readonly #entries = new Set<Entry>();
  #bytes = 0;

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False: it is full, and the call was not taken. */
  add(entry: Entry): boolean {
    if (this.#entries.has(entry)) return true;
    if (this.#entries.size >= QUEUE_LIMITS.count || this.#bytes + entry.params.length > QUEUE_LIMITS.bytes)
      return false;
    this.#entries.add(entry);
    this.#bytes += entry.params.length;
    return true;
  }

  delete(entry: Entry): void {
    if (this.#entries.delete(entry)) this.#bytes -= entry.params.length;
  }

  first(): Entry | undefined {
    return this.#entries.values().next().value;
  }

  all(): Entry[] {
    return [...this.#entries];
  }

  /** A call that was cut and waits again was made before those that came meanwhile: it goes out before them. */
  sort(): void {
    const ordered = [...this.#entries].sort((a, b) => a.id - b.id);
    this.#entries.clear();
    for (const entry of ordered) this.#entries.add(entry);
  }
}
