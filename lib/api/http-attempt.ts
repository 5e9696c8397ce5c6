/** One attempt of one request: what is sent, and what came of it. It repeats nothing and decides nothing. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import { GatewayError } from '../core/errors.js';
import type { Knowledge } from '../core/failure.js';
import { classifyFetchError, type FetchFailure } from '../core/http-verdicts.js';
import type { RestartInfo } from '../core/restart.js';
import type { LinkFacts } from '../core/retry.js';
import type { Runtime, Timer } from '../core/runtime.js';
import { onAbort, raced } from '../io/abort.js';
import { type FetchFacts, factsOfError } from '../io/http.js';
import type { RetryEvent } from './events.js';
import { discard, judge } from './http-answer.js';
import type { HttpJob } from './http-job.js';
import { type HttpTemplate, locationOf, originOf, redirected, urlOf, withCredential } from './http-request.js';

/** What HTTP needs of its client. */
export interface HttpPort {
  /** Address of the gateway over HTTP, asked again each time. */
  base(): Promise<string>;
  /** The credential as it is now; undefined when there is none. */
  credential(): Promise<string | undefined>;
  link(): LinkFacts;
  known(): Knowledge;
  restart(): RestartInfo | undefined;
  /** Counts restarts: a change says that one began meanwhile. */
  restarts(): number;
  /** Resolves when the gate has changed, or when the signal aborts. */
  gateChanged(signal: AbortSignal): Promise<void>;
  /** The gateway refused because it drains. */
  draining(): void;
  /** It serves again what it had refused. */
  served?(): void;
  retried(event: RetryEvent): void;
  fault(where: string, error: unknown): void;
}

export type Attempted =
  | {
      readonly kind: 'answer';
      readonly response: Response;
      /** null: an ordinary answer. */
      readonly failure: AttemptFailure | null;
      /** What it was sent with. */
      readonly credential: string | undefined;
      /** Judges an error in the body, once it has begun to be read. */
      readonly explain: (error: unknown) => Promise<AttemptFailure>;
    }
  | { readonly kind: 'redirect'; readonly template: HttpTemplate }
  | { readonly kind: 'error'; readonly failure: AttemptFailure; readonly cause: unknown };

const MAX_REDIRECTS = 20;
/** A port is shut a moment before the link tells why: so long an error waits for its word, in ms. */
const VERDICT_MS = 150;

export class Attempt {
  readonly #job: HttpJob;
  readonly #port: HttpPort;
  readonly #runtime: Runtime;
  readonly #restartsBefore: number;
  readonly #abort = new AbortController();
  /** What it ran into. */
  #expired: 'timeout' | 'deadline' | null = null;
  #handedOver = false;
  #headersSeen = false;

  constructor(job: HttpJob, port: HttpPort, runtime: Runtime) {
    this.#job = job;
    this.#port = port;
    this.#runtime = runtime;
    this.#restartsBefore = port.restarts();
  }

  /** Never rejects. */
  async run(): Promise<Attempted> {
    const off = onAbort(this.#job.signal, () => this.#abort.abort());
    const timer = this.#arm();
    try {
      return await this.#exchange();
    } catch (cause) {
      const failure =
        cause instanceof GatewayError
          ? { ...pick(cause), permanent: true }
          : await this.#explain(cause, this.#headersSeen || this.#job.hops > 0);
      return { kind: 'error', failure, cause: cause instanceof GatewayError ? cause.cause : cause };
    } finally {
      timer?.clear();
      off();
    }
  }

  #arm(): Timer | null {
    const { timeout = Number.POSITIVE_INFINITY } = this.#job.options;
    const ms = Math.min(timeout, this.#job.left);
    const limit = ms < timeout ? 'deadline' : 'timeout';
    if (!Number.isFinite(ms)) return null;
    return this.#runtime.setTimer(
      () => {
        this.#expired = limit;
        this.#abort.abort();
      },
      Math.max(0, ms),
    );
  }

  async #exchange(): Promise<Attempted> {
    const { template } = this.#job;
    const url = urlOf(template.address, await this.#inTime(this.#port.base()));
    const credential = await this.#inTime(this.#port.credential());
    const init: RequestInit = {
      ...template.rest,
      method: template.method,
      headers: withCredential(template.headers, credential),
      body: template.body,
      ...(!template.replayable && { duplex: 'half' }),
      redirect: 'manual',
      signal: this.#abort.signal,
    };
    this.#abort.signal.throwIfAborted();
    this.#handedOver = true;
    this.#job.spent = !template.replayable;
    const response = await globalThis.fetch(url, init);
    this.#headersSeen = true;
    const location = template.redirect === 'manual' ? null : locationOf(response);
    if (location !== null) return this.#redirected(response, location, url);
    const judged = await judge(response, template.headers, this.#runtime.wall(), () => this.#known());
    return { kind: 'answer', ...judged, credential, explain: (error) => this.#explain(error, true) };
  }

  /** Providers of the owner may take long. Nothing has been handed over by then. */
  async #inTime<T>(promise: Promise<T>): Promise<T> {
    const result = await raced(this.#runtime, promise, Number.POSITIVE_INFINITY, this.#abort.signal);
    if (typeof result === 'object') return result.value;
    throw new Error('ended before anything was sent');
  }

  /** Within the gateway a redirect is followed. Elsewhere it is not: the credential would go with it. */
  #redirected(response: Response, location: string, from: URL): Attempted {
    discard(response);
    const { template, hops } = this.#job;
    const to = URL.canParse(location, from.href) ? new URL(location, from) : null;
    const next = to === null ? null : redirected(template, response.status, to);
    const why =
      hops < MAX_REDIRECTS ? objection(template, next, to, from) : `redirected more than ${MAX_REDIRECTS} times`;
    if (why === null && next !== null) return { kind: 'redirect', template: next };
    const failure: AttemptFailure = {
      reason: 'protocol',
      outcome: 'unknown',
      code: 'HOLDFAST_REDIRECT',
      message: `HTTP ${response.status}: ${why}`,
      remedy: 'Check the address of the gateway, and what stands in front of it.',
      permanent: true,
      httpStatus: response.status,
    };
    return { kind: 'error', failure, cause: undefined };
  }

  /** A restart that began while the attempt was under way counts, even when it is over by now. */
  #known(): Knowledge {
    const known = this.#port.known();
    return { ...known, restarting: known.restarting || this.#port.restarts() !== this.#restartsBefore };
  }

  /** What an error says. While the link knows of no trouble, its word is waited for: a restart, or an outage? */
  async #explain(error: unknown, headersSeen: boolean): Promise<AttemptFailure> {
    const facts = factsOfError(error);
    if (!this.#headersSeen && !this.#abort.signal.aborted && this.#isOurs(error, facts)) return argumentFailure(facts);
    const aborted = this.#job.signal.aborted ? 'caller' : this.#expired !== null ? 'timeout' : undefined;
    const failure: FetchFailure = {
      name: facts.name,
      headersSeen,
      ...(facts.code !== undefined && { code: facts.code }),
      ...(facts.syscall !== undefined && { syscall: facts.syscall }),
      ...(aborted !== undefined && { aborted }),
      ...(!this.#handedOver && { bytesHandedOver: false }),
    };
    const first = classifyFetchError(failure, this.#known());
    const silent = first.reason === 'outage' && aborted === undefined && this.#port.link().gate === 'open';
    if (silent) await this.#linkVerdict();
    const verdict = silent ? classifyFetchError(failure, this.#known()) : first;
    if (aborted === 'timeout') return { ...verdict, ...late(this.#expired, this.#handedOver) };
    return { ...verdict, message: `${verdict.message}: ${facts.message}` };
  }

  /** Network errors have a code and are wrapped in a cause. Without, it is about what was passed, or its stream failed. */
  #isOurs(error: unknown, facts: FetchFacts): boolean {
    const wrapped = error instanceof Error && error.cause !== undefined;
    return facts.code === undefined && (!wrapped || this.#job.spent);
  }

  async #linkVerdict(): Promise<void> {
    const look = new AbortController();
    await this.#job.wait(this.#port.gateChanged(look.signal), VERDICT_MS);
    look.abort();
  }
}

/** Why a redirect is not followed; null when it is. The query of the address stays out of the text. */
function objection(template: HttpTemplate, next: HttpTemplate | null, to: URL | null, from: URL): string | null {
  if (next === null || to === null) return 'redirected to what is no address';
  if (template.redirect === 'error') return 'redirected, although its caller wants an error then';
  if (to.origin !== from.origin) return `redirected to ${originOf(to)}, which is not this gateway`;
  if (to.username !== '' || to.password !== '') return 'redirected to an address with credentials';
  return next.replayable ? null : 'redirected, and a streaming body cannot be sent a second time';
}

/** In the words that calls use. */
function late(limit: 'timeout' | 'deadline' | null, sent: boolean): Pick<AttemptFailure, 'code' | 'message'> {
  const code = limit === 'deadline' ? 'HOLDFAST_DEADLINE' : 'HOLDFAST_TIMEOUT';
  const who = sent ? '' : ' of the provider of the address or the credential';
  return { code, message: `no answer${who} within its ${limit}` };
}

function argumentFailure(facts: FetchFacts): AttemptFailure {
  return {
    reason: 'local',
    // A body may have failed after its beginning was sent.
    outcome: 'unknown',
    code: facts.name,
    message: `the request failed: ${facts.message}`,
    remedy: 'Correct the arguments of fetch, or the stream that is its body.',
    permanent: true,
  };
}

function pick(error: GatewayError): Pick<AttemptFailure, 'reason' | 'outcome' | 'code' | 'message' | 'remedy'> {
  const { reason, outcome, code, message, remedy } = error;
  return { reason, outcome, code, message, remedy };
}
