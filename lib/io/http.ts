/** HTTP as it is seen from here: how an attempt broke, and bodies that cannot hang or end by half unnoticed. */

import { codeOf } from './provider-error.js';
import type { Runtime } from './runtime.js';

/** Facts of a broken attempt, without judgement. */
export interface FetchFacts {
  /** Code of the innermost error that has one: `ECONNREFUSED`, `UND_ERR_SOCKET` … */
  readonly code?: string;
  /** `connect` and `getaddrinfo` prove that nothing was sent. */
  readonly syscall?: string;
  readonly name: string;
  readonly message: string;
}

/** How deep a chain of causes is walked. */
const CAUSES = 6;

/** fetch wraps what happened in `cause`, and the addresses of a name in an AggregateError: the innermost code counts. */
export function factsOfError(error: unknown): FetchFacts {
  let current: unknown = error;
  let found: { code?: string; syscall?: string } = {};
  for (let depth = 0; depth < CAUSES && typeof current === 'object' && current !== null; depth += 1) {
    const code = codeOf(current);
    if (code !== undefined) found = { code, ...syscallOf(current) };
    const inner: unknown =
      current instanceof AggregateError ? current.errors[0] : 'cause' in current ? current.cause : undefined;
    if (inner === undefined) break;
    current = inner;
  }
  const name = error instanceof Error ? error.name : typeof error;
  const message = current instanceof Error ? current.message : String(current);
  return { ...found, name, message };
}

function syscallOf(error: object): { syscall?: string } {
  return 'syscall' in error && typeof error.syscall === 'string' ? { syscall: error.syscall } : {};
}

/** The beginning of a body, and a body that still has all of it. */
export interface Peeked {
  readonly start: Uint8Array;
  /** `start` is all there is. */
  readonly whole: boolean;
  readonly body: ReadableStream<Uint8Array>;
}

/** Reads a body until it ends, or until there are `limit` bytes of it. Rejects when it is cut before. */
export async function peekBody(body: ReadableStream<Uint8Array>, limit: number): Promise<Peeked> {
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let whole = false;
  while (!whole && size < limit) {
    const next = await reader.read();
    if (next.done) whole = true;
    else {
      chunks.push(next.value);
      size += next.value.byteLength;
    }
  }
  const start = new Uint8Array(Buffer.concat(chunks));
  const again = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const kept = chunks.shift();
      const next = kept === undefined ? await reader.read() : { done: false, value: kept };
      if (next.value === undefined) controller.close();
      else controller.enqueue(next.value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { start, whole, body: again };
}

type Piece = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>>;

export interface GuardRules {
  /** Longest time that a reader waits for the next piece, in ms. */
  readonly idle: number;
  /** Monotonic ms at which the whole must have been read. What is here by then is still handed out. */
  readonly endsAt: number;
  /** The error of a reader who waited in vain; `whole`: until `endsAt`. */
  stalled(whole: boolean): Error;
  /** The error of a reader whose body broke. */
  broken(error: unknown): Promise<Error>;
  /** It is over, in whatever way. Called once. */
  done(): void;
}

/** A body that ends with an error when nothing comes any more, and never as if it were whole when it was cut. */
export class GuardedBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #source: ReadableStreamDefaultReader<Uint8Array>;
  readonly #rules: GuardRules;
  readonly #runtime: Runtime;
  #controller: ReadableByteStreamController | null = null;
  #begun = false;
  #over = false;

  constructor(body: ReadableStream<Uint8Array>, runtime: Runtime, rules: GuardRules) {
    this.#source = body.getReader();
    this.#rules = rules;
    this.#runtime = runtime;
    // Bytes, as the bodies of fetch are; nothing is read ahead, so that only a waiting reader can run out of time.
    this.stream = new ReadableStream({
      type: 'bytes',
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: (reason) => this.#drop(reason),
    });
  }

  /** Somebody reads it, and has not come to its end. */
  get reading(): boolean {
    return this.#begun && !this.#over;
  }

  /** Ends it for its reader with this error; the connection is given up. */
  fail(error: Error): void {
    if (this.#over) return;
    this.#controller?.error(error);
    void this.#drop(error);
  }

  /** Nobody can read it any more, and nobody has begun to: the connection is given up. */
  abandon(): void {
    if (!this.#begun && !this.stream.locked) void this.#drop(undefined);
  }

  async #pull(): Promise<void> {
    this.#begun = true;
    try {
      for (let more = true; more; ) {
        const next = await this.#next();
        if (this.#over) return;
        if (next === 'idle' || next === 'end') this.fail(this.#rules.stalled(next === 'end'));
        else more = this.#take(next);
      }
    } catch (error) {
      const told = await this.#rules.broken(error);
      this.fail(told);
    }
  }

  async #next(): Promise<Piece | 'idle' | 'end'> {
    const left = this.#rules.endsAt - this.#runtime.now();
    const ms = Math.min(this.#rules.idle, left);
    const read = this.#source.read();
    if (!Number.isFinite(ms)) return await read;
    return await new Promise((resolve, reject) => {
      const timer = this.#runtime.setTimer(() => resolve(left <= this.#rules.idle ? 'end' : 'idle'), Math.max(0, ms));
      read.finally(() => timer.clear()).then(resolve, reject);
    });
  }

  /** False: the reader has what it waited for. */
  #take(next: Piece): boolean {
    if (next.done) {
      this.#finish();
      this.#controller?.close();
      this.#controller?.byobRequest?.respond(0);
      return false;
    }
    const { value } = next;
    if (value.byteLength === 0) return true;
    // Handing out takes the memory away from its owner: a slice of somebody's pool is copied first.
    this.#controller?.enqueue(value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value));
    return false;
  }

  async #drop(reason: unknown): Promise<void> {
    this.#finish();
    await this.#source.cancel(reason).catch(() => {});
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#rules.done();
  }
}
