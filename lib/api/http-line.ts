/** When a request may be sent: while the gateway restarts it waits, bounded by count and bytes, and keeps its order. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import type { LinkFacts } from '../core/retry.js';
import type { Runtime } from '../core/runtime.js';
import { REMEDIES } from '../core/verdicts.js';
import type { Reason } from '../core/vocabulary.js';
import { QUEUE_LIMITS } from './call-queue.js';
import type { HttpPort } from './http-attempt.js';
import type { HttpJob } from './http-job.js';

/**
 * Between two batches after the link has opened, in ms. The first has one request, each further one twice as many: a
 * herd must not fell a gateway that has just come up. Unlike calls they do not wait for the answers before them: a
 * completion takes minutes.
 */
const STEP_MS = 25;

/** What the WebSocket is refused for may leave HTTP alone: it is tried. */
const ONLY_THE_LINK: ReadonlySet<Reason> = new Set<Reason>([
  'unauthorized',
  'pairing-required',
  'rate-limited',
  'protocol',
  'rejected',
  'local',
]);

export class HttpLine {
  readonly #port: HttpPort;
  readonly #runtime: Runtime;
  readonly #waiting = new Set<HttpJob>();
  #bytes = 0;
  /** Where each stood when the link opened, and when that was. */
  #opened: { readonly at: number; readonly ranks: ReadonlyMap<HttpJob, number> } | null = null;

  constructor(port: HttpPort, runtime: Runtime) {
    this.#port = port;
    this.#runtime = runtime;
  }

  /** Resolves when it may be sent (null), or with why it is not; throws when it is aborted or its deadline passes. */
  async admit(job: HttpJob): Promise<AttemptFailure | null> {
    try {
      for (;;) {
        if (job.signal.aborted) throw job.ended();
        const link = this.#port.link();
        if (link.gate === 'open') {
          const ms = this.#waiting.has(job) ? this.#turn(job) : 0;
          if (ms <= 0) return null;
          await job.sleep(null, ms, this.#port);
          continue;
        }
        this.#opened = null;
        const verdict = whileClosed(job, link, this.#waiting.has(job));
        if (verdict !== 'wait') return verdict;
        this.#join(job);
        await this.#gateChange(job);
      }
    } finally {
      this.#leave(job);
    }
  }

  async #gateChange(job: HttpJob): Promise<void> {
    const look = new AbortController();
    try {
      await job.sleep(this.#port.gateChanged(look.signal), Number.POSITIVE_INFINITY, this.#port);
    } finally {
      look.abort();
    }
  }

  #join(job: HttpJob): void {
    if (this.#waiting.has(job)) return;
    const { bytes } = job.template;
    if (this.#waiting.size >= QUEUE_LIMITS.count || this.#bytes + bytes > QUEUE_LIMITS.bytes)
      throw job.error(full(job, this.#waiting.size, this.#bytes), this.#port.restart());
    this.#waiting.add(job);
    this.#bytes += bytes;
  }

  #leave(job: HttpJob): void {
    if (this.#waiting.delete(job)) this.#bytes -= job.template.bytes;
    if (this.#waiting.size === 0) this.#opened = null;
  }

  /** The link is open: ms until this one's turn. Who was made first goes first, also when it was cut and waits again. */
  #turn(job: HttpJob): number {
    const now = this.#runtime.now();
    this.#opened ??= { at: now, ranks: ranked(this.#waiting) };
    const batch = Math.floor(Math.log2((this.#opened.ranks.get(job) ?? 0) + 1));
    return this.#opened.at + batch * STEP_MS - now;
  }
}

function ranked(jobs: Iterable<HttpJob>): Map<HttpJob, number> {
  const ordered = [...jobs].sort((a, b) => a.number - b.number);
  return new Map(ordered.map((job, rank) => [job, rank]));
}

/** Whether a request waits while the link is not open, is tried all the same (null), or ends. */
function whileClosed(job: HttpJob, link: LinkFacts, waited: boolean): 'wait' | AttemptFailure | null {
  const { retry = 'restart' } = job.options;
  if (link.gate === 'hold') return retry !== 'never' || link.reason === null ? 'wait' : lost(link);
  const tried = job.attempts.length > 0;
  const onlyTheLink = link.reason !== null && ONLY_THE_LINK.has(link.reason);
  // HTTP may be well, and if it is not, a refused connection says so within a millisecond.
  if (!tried && (!waited || onlyTheLink)) return null;
  if (retry === 'always') return 'wait';
  return onlyTheLink ? null : lost(link);
}

/** What it waited for did not come, or it would not wait. */
function lost(link: LinkFacts): AttemptFailure {
  const reason = link.reason ?? 'outage';
  return {
    reason,
    outcome: 'not-sent',
    code: 'HOLDFAST_NOT_CONNECTED',
    message: `there is no link to the gateway: ${reason}`,
    remedy: REMEDIES[reason],
    permanent: false,
  };
}

function full(job: HttpJob, count: number, bytes: number): AttemptFailure {
  return {
    reason: 'local',
    outcome: job.outcome,
    code: 'HOLDFAST_QUEUE_FULL',
    message: `${count} requests (${bytes} bytes) wait for the link already`,
    remedy: 'Send less while the gateway is away, or shorten the deadlines.',
    permanent: true,
  };
}
