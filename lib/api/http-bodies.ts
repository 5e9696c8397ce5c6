/** The answers on their way to their readers: each body ends whole, or with an error that says why not. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import type { Runtime } from '../core/runtime.js';
import { onAbort } from '../io/abort.js';
import { GuardedBody } from '../io/http.js';
import { guarded } from './http-answer.js';
import type { Attempted, HttpPort } from './http-attempt.js';
import type { HttpJob } from './http-job.js';

export type Answer = Extract<Attempted, { kind: 'answer' }>;

export interface Handed {
  readonly response: Response;
  /** There is a body, which is yet to be read. */
  readonly open: boolean;
}

/** An answer that began, and did not end as it should. */
const BROKEN: AttemptFailure = {
  reason: 'timeout',
  outcome: 'unknown',
  code: 'HOLDFAST_BODY_STALLED',
  message: '',
  remedy: 'The answer had begun: look whether it took effect before you repeat it.',
  permanent: true,
};

export class HttpBodies {
  readonly #port: HttpPort;
  readonly #runtime: Runtime;
  readonly #spoiled: () => void;
  readonly #settled: () => void;
  readonly #open = new Map<GuardedBody, HttpJob>();

  /** `spoiled`: a reader was told that its answer is broken. `settled`: a body has ended, in whatever way. */
  constructor(port: HttpPort, runtime: Runtime, spoiled: () => void, settled: () => void) {
    this.#port = port;
    this.#runtime = runtime;
    this.#spoiled = spoiled;
    this.#settled = settled;
  }

  /** How many are being read. What nobody has begun to read is nobody's concern. */
  get reading(): number {
    return [...this.#open.keys()].filter((body) => body.reading).length;
  }

  hand(job: HttpJob, answer: Answer): Handed {
    const { response } = answer;
    const body = response.body === null ? null : this.#guard(job, answer, response.body);
    const truncated = (cause: unknown): Error => {
      const message = 'the answer is cut short: it is no whole JSON';
      return this.#spoil(job, { ...BROKEN, reason: 'protocol', code: 'HOLDFAST_BODY_TRUNCATED', message }, cause);
    };
    return { response: guarded(response, body, { redirected: job.hops > 0, truncated }), open: body !== null };
  }

  close(): void {
    for (const job of [...this.#open.values()]) job.close();
  }

  #guard(job: HttpJob, answer: Answer, source: ReadableStream<Uint8Array>): GuardedBody {
    const { timeout = Number.POSITIVE_INFINITY } = job.options;
    const late = { ...BROKEN, code: 'HOLDFAST_DEADLINE', message: 'the answer did not end by its deadline' };
    const stalled = { ...BROKEN, message: `nothing more of the answer came for ${timeout} ms` };
    let off = (): void => {};
    const body = new GuardedBody(source, this.#runtime, {
      idle: timeout,
      endsAt: job.deadlineAt,
      stalled: (whole) => this.#spoil(job, whole ? late : stalled),
      broken: async (error) => {
        const { reason, message } = await answer.explain(error);
        const failure = { ...BROKEN, reason, code: 'HOLDFAST_BODY_CUT', message: `the answer was cut: ${message}` };
        return job.signal.aborted ? job.ended() : this.#spoil(job, failure, error);
      },
      done: () => {
        off();
        this.#open.delete(body);
        job.release();
        this.#settled();
      },
    });
    this.#open.set(body, job);
    off = onAbort(job.signal, () => {
      job.clean = false;
      body.fail(job.ended());
    });
    return body;
  }

  #spoil(job: HttpJob, failure: AttemptFailure, cause?: unknown): Error {
    job.spoil(failure);
    this.#spoiled();
    return job.error(failure, this.#port.restart(), cause);
  }
}
