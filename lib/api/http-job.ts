/** One request of a caller over all its attempts: what was asked, what has become of it, and what may end it. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import { type CallAttempt, GatewayError } from '../core/errors.js';
import { httpSafetyOf } from '../core/http-verdicts.js';
import type { RestartInfo } from '../core/restart.js';
import type { CallFacts, LinkFacts } from '../core/retry.js';
import type { Runtime } from '../core/runtime.js';
import type { CallOutcome, Safety } from '../core/vocabulary.js';
import { onAbort, type Raced, raced } from '../io/abort.js';
import { abortedError, type EntryOptions, localError } from './call-entry.js';
import { type HttpTemplate, labelOf } from './http-request.js';

/** What the link says of itself. */
interface LinkWords {
  link(): LinkFacts;
  restart(): RestartInfo | undefined;
}

export class HttpJob {
  /** Orders the requests of a client. */
  readonly number: number;
  readonly label: string;
  readonly options: EntryOptions;
  readonly safety: Safety;
  readonly madeAt: number;
  readonly deadlineAt: number;
  readonly attempts: CallAttempt[] = [];
  template: HttpTemplate;
  /** Redirects followed so far. */
  hops = 0;
  /** No attempt so far can have been executed. */
  clean = true;
  /** Its body was a stream, and has been handed over. */
  spent = false;
  /** The credential was read once more after a 401. */
  reread = false;
  /** An attempt is under way: a client that closes lets it finish. */
  sending = false;
  readonly #runtime: Runtime;
  readonly #abort = new AbortController();
  readonly #offs: (() => void)[];
  #closed = false;

  constructor(number: number, template: HttpTemplate, options: EntryOptions, runtime: Runtime) {
    this.number = number;
    this.template = template;
    this.label = labelOf(template);
    this.options = options;
    this.safety = options.safety ?? httpSafetyOf(template.method);
    this.#runtime = runtime;
    this.madeAt = runtime.now();
    this.deadlineAt = this.madeAt + (options.deadline ?? Number.POSITIVE_INFINITY);
    const signals = [template.signal, options.signal].filter((signal) => signal !== undefined);
    this.#offs = signals.map((signal) => onAbort(signal, () => this.#abort.abort()));
  }

  /** Aborted by the caller, or by the end of the client. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get left(): number {
    return this.deadlineAt - this.#runtime.now();
  }

  /** What became of all its attempts together: once one may have been executed, no later one takes that back. */
  get outcome(): CallOutcome {
    return this.clean ? (this.attempts.at(-1)?.outcome ?? 'not-sent') : 'unknown';
  }

  /** The client is closed. */
  close(): void {
    this.#closed = true;
    this.#abort.abort();
  }

  /** It has settled: nothing of it is left on the signals of the caller. */
  release(): void {
    for (const off of this.#offs) off();
  }

  /** Waits for a promise, or (null) for nothing, until the deadline, an abort or `ms` at most. */
  wait<T>(promise: Promise<T> | null, ms: number = Number.POSITIVE_INFINITY): Promise<Raced<T>> {
    return raced(this.#runtime, promise, Math.min(ms, this.left), this.signal);
  }

  /** Waits likewise, for whom an abort and the deadline are the end: throws then. */
  async sleep(promise: Promise<void> | null, ms: number, port: LinkWords): Promise<void> {
    const result = await this.wait(promise, ms);
    if (result === 'aborted') throw this.ended();
    if (this.left <= 0) throw this.waitedInVain(port);
  }

  /** As a decision needs it. Keys are for calls: here `keyed` is as good as `once`. */
  facts(): CallFacts {
    return {
      method: this.label,
      safety: this.safety,
      retry: this.options.retry ?? 'restart',
      maxAttempts: this.options.maxAttempts ?? null,
      attempts: this.attempts.length,
      deadlineAt: this.deadlineAt,
      canConfirm: false,
      durableKey: false,
    };
  }

  /** Writes an attempt down. null: it succeeded. */
  note(failure: AttemptFailure | null, startedAt: number, restart: RestartInfo | undefined): CallAttempt {
    const elapsed = this.#runtime.now() - startedAt;
    const attempt: CallAttempt = {
      number: this.attempts.length + 1,
      at: Math.round(this.#runtime.wall() - elapsed),
      elapsed,
      outcome: failure?.outcome ?? 'executed',
      ...(failure !== null && { reason: failure.reason, code: failure.code }),
      ...(failure !== null && restart !== undefined && { restartId: restart.id }),
    };
    this.attempts.push(attempt);
    if (failure?.outcome === 'unknown') this.clean = false;
    return attempt;
  }

  /** Goes where it was sent. The gateway has had it: what comes after cannot say that it was never sent. */
  follow(template: HttpTemplate): void {
    this.template = template;
    this.hops += 1;
    this.clean = false;
  }

  /** The last attempt is followed by another, after `delay` ms. */
  delayed(delay: number): void {
    const last = this.attempts.pop();
    if (last !== undefined) this.attempts.push({ ...last, delay });
  }

  /** The answer had begun and broke: what looked like a success is none. */
  spoil(failure: AttemptFailure): void {
    this.clean = false;
    const last = this.attempts.pop();
    if (last !== undefined)
      this.attempts.push({ ...last, outcome: 'unknown', reason: failure.reason, code: failure.code });
  }

  error(failure: AttemptFailure, restart: RestartInfo | undefined, cause?: unknown): GatewayError {
    return new GatewayError({
      code: failure.code,
      reason: failure.reason,
      outcome: this.clean ? failure.outcome : 'unknown',
      method: this.label,
      message: `${this.label}: ${failure.message}`,
      remedy: failure.remedy,
      attempts: [...this.attempts],
      ...(failure.retryAfter !== undefined && { retryAfter: failure.retryAfter }),
      ...(restart !== undefined && { restart }),
      cause,
    });
  }

  /** The error of a job whose signal has aborted. */
  ended(): GatewayError {
    if (!this.#closed) {
      const signals = [this.template.signal, this.options.signal];
      const cause: unknown = signals.find((signal) => signal?.aborted)?.reason;
      return named(abortedError({ method: this.label, attempts: [...this.attempts] }, this.outcome, cause), cause);
    }
    const { code, reason, message } = closedError(this.label);
    const remedy = 'Give close() more grace, or wait for what is under way before it.';
    return new GatewayError({
      code,
      reason,
      outcome: this.outcome,
      method: this.label,
      message,
      remedy,
      attempts: [...this.attempts],
    });
  }

  /** The deadline came while it waited for the link: what kept it waiting is why it failed. */
  waitedInVain(port: LinkWords): GatewayError {
    const reason = port.link().reason ?? this.attempts.at(-1)?.reason ?? 'timeout';
    const seconds = ((this.#runtime.now() - this.madeAt) / 1000).toFixed(1);
    const failure: AttemptFailure = {
      reason,
      outcome: this.outcome,
      code: 'HOLDFAST_DEADLINE',
      message: `its deadline passed after ${seconds} s of ${reason === 'timeout' ? 'waiting' : reason}`,
      remedy: 'See why the gateway does not serve: health(), or raise the deadline.',
      permanent: true,
    };
    return this.error(failure, port.restart());
  }
}

export function closedError(label: string): GatewayError {
  return localError('HOLDFAST_CLOSED', label, 'the client is closed', 'Make a new client.');
}

/** Users of `fetch` know an abort by the name of its error, and so do the clients that are built on it. */
function named(error: GatewayError, cause: unknown): GatewayError {
  const name = cause instanceof Error ? cause.name : '';
  if (name === 'AbortError' || name === 'TimeoutError')
    Object.defineProperty(error, 'name', { value: name, configurable: true });
  return error;
}
