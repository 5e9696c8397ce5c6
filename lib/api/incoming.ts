/** What comes in besides answers: hellos, broadcasts in their order, frames that nobody can read. */
import type { EventFrame, Hello } from '../core/frames.js';
import type { Runtime } from '../core/runtime.js';
import type { SafeLog } from '../io/log.js';
import type { IsolatedEmitter } from './emitter.js';
import type { ClientEvents } from './events.js';

/** A burst of unreadable frames is told once in so many ms. */
const BURST_MS = 5000;

export class Incoming {
  readonly #log: SafeLog;
  readonly #emitter: IsolatedEmitter<ClientEvents>;
  readonly #runtime: Runtime;
  #lastSeq: number | null = null;
  #unreadable = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(log: SafeLog, emitter: IsolatedEmitter<ClientEvents>, runtime: Runtime) {
    this.#log = log;
    this.#emitter = emitter;
    this.#runtime = runtime;
  }

  /** A new link: sequence numbers begin anew. Tells what the hello lacks. */
  welcome(hello: Hello, defaulted: readonly string[], wanted: readonly string[]): void {
    this.#lastSeq = null;
    if (defaulted.length > 0) {
      const text = `the hello has no usable ${defaulted.join(', ')}; defaults are used`;
      this.#log.write('warn', { event: 'hello-defaulted', fields: defaulted }, text);
    }
    const missing = wanted.filter((scope) => !hello.auth.scopes.includes(scope));
    if (missing.length > 0) {
      const text = `connected, but without the scopes ${missing.join(', ')}`;
      this.#log.write('warn', { event: 'scopes-missing', missing, scopes: hello.auth.scopes }, text);
    }
  }

  broadcast({ event, payload, seq }: EventFrame): void {
    if (seq !== null && !this.#inOrder(seq)) return;
    if (this.#emitter.has('event')) this.#emitter.emit('event', { event, payload, ...(seq !== null && { seq }) });
  }

  /** False for one that came again or from the past: no listener must act on it twice. Tells of those that are lost. */
  #inOrder(seq: number): boolean {
    const last = this.#lastSeq;
    if (last !== null && seq <= last) return false;
    this.#lastSeq = seq;
    if (last === null || seq === last + 1) return true;
    const gap = { expected: last + 1, received: seq };
    this.#log.write('warn', { event: 'gap', ...gap }, `${seq - last - 1} events were lost`);
    this.#emitter.emit('gap', gap);
    return true;
  }

  unreadable(why: string, bytes: number): void {
    this.#unreadable += 1;
    const now = this.#runtime.now();
    if (now - this.#toldAt < BURST_MS) return;
    this.#toldAt = now;
    const text = `a frame of ${bytes} bytes could not be read: ${why}`;
    this.#log.write('warn', { event: 'unreadable-frame', why, bytes, count: this.#unreadable }, text);
  }
}
