/**
 * `fetch` to the gateway that knows what the WebSocket knows: a request that falls into a restart waits it out, one
 * that may have been executed is not repeated, and a genuine failure is told at once.
 */
import type { AttemptFailure } from '../core/call-verdicts.js';
import { isGatewayError } from '../core/errors.js';
import type { Decision } from '../core/retry.js';
import type { Runtime } from '../core/runtime.js';
import { raced } from '../io/abort.js';
import type { EntryOptions } from './call-entry.js';
import { discard, marked } from './http-answer.js';
import { Attempt, type Attempted, type HttpPort } from './http-attempt.js';
import { type Answer, type Handed, HttpBodies } from './http-bodies.js';
import { closedError, HttpJob } from './http-job.js';
import { HttpLine } from './http-line.js';
import { loaded, templateOf, urlOf } from './http-request.js';
import type { RetryAccount } from './retry-account.js';

export class GatewayFetch {
  readonly #port: HttpPort;
  readonly #runtime: Runtime;
  readonly #account: RetryAccount;
  readonly #line: HttpLine;
  readonly #bodies: HttpBodies;
  readonly #jobs = new Set<HttpJob>();
  /** The last refusal by a gateway that drains. */
  #refused: { readonly label: string; readonly at: number } | null = null;
  #closing = false;
  #made = 0;
  #onIdle: () => void = () => {};

  constructor(port: HttpPort, runtime: Runtime, account: RetryAccount) {
    this.#port = port;
    this.#runtime = runtime;
    this.#account = account;
    this.#line = new HttpLine(port, runtime);
    const spoiled = (): void => {
      account.unknown += 1;
    };
    this.#bodies = new HttpBodies(port, runtime, spoiled, () => this.#settled());
  }

  /** Under way, or being read. */
  get inFlight(): number {
    return this.#jobs.size + this.#bodies.reading;
  }

  /** Rejects with a GatewayError only. */
  async fetch(input: string | URL | Request, init: RequestInit, options: EntryOptions): Promise<Response> {
    if (this.#closing) throw closedError('fetch');
    this.#made += 1;
    const job = new HttpJob(this.#made, templateOf(input, init), options, this.#runtime);
    this.#jobs.add(job);
    let open = false;
    try {
      if (job.signal.aborted) throw job.ended();
      this.#account.deposit();
      await this.#open(job);
      const handed = await this.#run(job);
      open = handed.open;
      return handed.response;
    } catch (error) {
      if (isGatewayError(error) && error.outcome === 'unknown') this.#account.unknown += 1;
      throw error;
    } finally {
      this.#jobs.delete(job);
      if (!open) job.release();
      this.#settled();
    }
  }

  /** What can be said before anything is waited for, is: another origin is refused at once. */
  async #open(job: HttpJob): Promise<void> {
    const opened = Promise.all([this.#port.base(), loaded(job.template)]);
    const result = await job.wait(opened);
    if (result === 'aborted') throw job.ended();
    if (result === 'late') throw job.waitedInVain(this.#port);
    const [base, template] = result.value;
    urlOf(template.address, base);
    job.template = template;
  }

  async #run(job: HttpJob): Promise<Handed> {
    for (;;) {
      const refused = await this.#line.admit(job);
      const startedAt = this.#runtime.now();
      const attempted: Attempted =
        refused === null ? await this.#attempt(job) : { kind: 'error', failure: refused, cause: undefined };
      if (attempted.kind === 'redirect') {
        job.follow(attempted.template);
        continue;
      }
      this.#note(job, attempted.failure, startedAt);
      if (job.signal.aborted) throw this.#dropped(job, attempted);
      if (attempted.kind === 'answer' && attempted.failure === null) return this.#bodies.hand(job, attempted);
      const failure = attempted.failure ?? refused;
      if (failure === null) continue;
      const fresh = attempted.kind === 'answer' && (await this.#credentialChanged(job, attempted));
      const decision: Decision = fresh ? { do: 'retry', delay: 0 } : this.#decide(job, failure);
      if (decision.do === 'stop' || decision.do === 'confirm') return this.#give(job, attempted, failure, decision);
      if (attempted.kind === 'answer') discard(attempted.response);
      await this.#pause(job, failure, decision.do === 'retry' ? decision.delay : 0);
    }
  }

  async #attempt(job: HttpJob): Promise<Attempted> {
    job.sending = true;
    try {
      return await new Attempt(job, this.#port, this.#runtime).run();
    } finally {
      job.sending = false;
    }
  }

  #note(job: HttpJob, failure: AttemptFailure | null, startedAt: number): void {
    const attempt = job.note(failure, startedAt, this.#port.restart());
    this.#tellLink(job, failure, startedAt);
    try {
      job.options.onAttempt?.(attempt);
    } catch (error) {
      this.#port.fault('onAttempt', error);
    }
  }

  /** What HTTP learns of the gateway, the link knows too. */
  #tellLink(job: HttpJob, failure: AttemptFailure | null, startedAt: number): void {
    const refused = failure?.httpStatus === 503 && failure.outcome === 'not-executed';
    if (refused && failure.reason !== 'gateway-starting') {
      this.#refused = { label: job.label, at: this.#runtime.now() };
      this.#port.draining();
    } else if (failure === null && this.#refused?.label === job.label && startedAt >= this.#refused.at) {
      // Only the same route proves it: probes answer throughout a drain, and so does what was accepted before it.
      this.#refused = null;
      this.#port.served?.();
    }
  }

  /** The gateway refused the credential before anything ran: if another one is in place by now, it is tried once. */
  async #credentialChanged(job: HttpJob, answer: Answer): Promise<boolean> {
    const { retry, maxAttempts = Number.POSITIVE_INFINITY } = job.options;
    const may = retry !== 'never' && job.attempts.length < maxAttempts && !job.reread && !job.spent && !this.#closing;
    if (answer.failure?.reason !== 'unauthorized' || !may) return false;
    job.reread = true;
    // A provider that fails now has nothing better than the answer that there is.
    const result = await job.wait(this.#port.credential()).catch(() => 'late' as const);
    return typeof result === 'object' && result.value !== answer.credential;
  }

  #decide(job: HttpJob, failure: AttemptFailure): Decision {
    if (this.#closing) return { do: 'stop', because: 'policy' };
    if (job.spent) return { do: 'stop', because: 'safety' };
    return this.#account.decide(job.facts(), failure, this.#port.link());
  }

  async #pause(job: HttpJob, failure: AttemptFailure, delay: number): Promise<void> {
    const { reason, outcome } = failure;
    this.#account.retried += 1;
    job.delayed(delay);
    this.#port.retried({ call: job.label, attempt: job.attempts.length, reason, outcome, delay });
    if (delay > 0) await job.sleep(null, delay, this.#port);
  }

  /** The end without success: an answer is handed on, marked; anything else is thrown. */
  #give(job: HttpJob, attempted: Attempted, failure: AttemptFailure, decision: Decision): Handed {
    if (job.signal.aborted) throw this.#dropped(job, attempted);
    if (attempted.kind === 'answer' && failure.reason !== 'protocol') {
      if (job.outcome === 'unknown') this.#account.unknown += 1;
      const retryAt = decision.do === 'stop' ? decision.retryAt : undefined;
      const response = marked(attempted.response, {
        reason: failure.reason,
        outcome: job.outcome,
        attempts: String(job.attempts.length),
        ...(retryAt !== undefined && { 'retry-at': this.#dateOf(retryAt) }),
      });
      return this.#bodies.hand(job, { ...attempted, response });
    }
    if (attempted.kind === 'answer') discard(attempted.response);
    const spent = job.spent && !failure.permanent ? '; its body was a stream, which cannot be sent again' : '';
    const told = { ...failure, message: `${failure.message}${spent}` };
    throw job.error(told, this.#port.restart(), attempted.kind === 'error' ? attempted.cause : undefined);
  }

  #dateOf(at: number): string {
    return new Date(this.#runtime.wall() + at - this.#runtime.now()).toISOString();
  }

  /** Aborted while an attempt was under way. */
  #dropped(job: HttpJob, attempted: Attempted): Error {
    if (attempted.kind === 'answer') {
      discard(attempted.response);
      job.clean = false;
    }
    return job.ended();
  }

  // ------------------------------------------------------------------------------------------------------- the end

  /** No new requests from here on; those under way may take `grace` ms, then they are aborted. */
  async drain(grace: number): Promise<void> {
    this.#closing = true;
    // What waits for the link or for another attempt will get neither.
    for (const job of this.#jobs) if (!job.sending) job.close();
    if (this.inFlight > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      await raced(this.#runtime, idle, grace, new AbortController().signal);
    }
    for (const job of this.#jobs) job.close();
    this.#bodies.close();
  }

  #settled(): void {
    if (this.#closing && this.inFlight === 0) this.#onIdle();
  }
}
