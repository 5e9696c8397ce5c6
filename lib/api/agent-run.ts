/**
 * One run of an agent, from `agent` to its end. The run is watched: the gateway broadcasts what it does, so a run that
 * hangs can be told from one that takes long.
 */
import { type CallAttempt, GatewayError, type GatewayErrorInit, isGatewayError } from '../core/errors.js';
import { isRecord } from '../core/failure.js';
import type { Params, Result } from '../core/methods.js';
import type { Runtime } from '../core/runtime.js';
import { systemRuntime } from '../io/runtime.js';
import { abortedError, type Confirm, localError } from './call-entry.js';
import type { CallOptions } from './call-request.js';
import type { GatewayClient } from './client.js';
import { pause } from './provision-time.js';

export interface AgentRunOptions extends CallOptions {
  /**
   * Ms without an event of this run after which it is ended: the error has reason `timeout`, and the run is aborted at
   * the gateway. Time without a link does not count. Default: none, the deadline alone decides.
   */
  progressTimeout?: number;
  /** Told of each event of this run, as the gateway broadcasts it. */
  onProgress?: (event: { readonly event: string; readonly payload: unknown }) => void;
  /** The whole run, in ms. Default 600 000; none when `progressTimeout` is given. */
  deadline?: number;
  /** One attempt of `agent`, in ms, not of the run. Default: that of the client. */
  timeout?: number;
}

/** How a run ended. `error` is an end as well: what the agent or its model provider said, not the gateway. */
export interface AgentRun {
  /** Its idempotency key. */
  readonly runId: string;
  readonly status: 'ok' | 'error' | (string & {});
  /** Wall-clock ms, as the gateway tells them. */
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly error?: unknown;
  /** Events of this run that were seen. */
  readonly events: number;
  /** Attempts of `agent`. */
  readonly attempts: readonly CallAttempt[];
}

const DEADLINE_MS = 600_000;
/** The longest deadline that a call takes. */
const LONGEST_MS = 2 ** 31 - 1;
/** One `agent.wait`; it is repeated until the run has ended. */
const SLICE_MS = 20_000;
/** Beyond its slice, a wait is answered within this. */
const ANSWER_MS = 10_000;
/** Between waits that come back early: the gateway drains, or does not know the run. */
const EARLY = { first: 250, longest: 2000 } as const;
/** How long the end of a stalled run waits for the abort of the gateway. */
const ABORT_MS = 2000;

/**
 * Starts a run and waits for its end. The idempotency key is made when absent; it is the run id, so a repeat after a
 * lost answer joins the first run, as long as the same gateway instance lives.
 *
 * When `signal`, `deadline` or `progressTimeout` end it, the run is aborted at the gateway as well.
 * @throws GatewayError; once the run was accepted its outcome is `unknown`: what it did until then, it did.
 */
export async function runAgent(
  client: GatewayClient,
  params: Params<'agent'>,
  options: AgentRunOptions = {},
  runtime: Runtime = systemRuntime,
): Promise<AgentRun> {
  const { progressTimeout } = options;
  if (progressTimeout !== undefined && !(progressTimeout > 0))
    throw localError('HOLDFAST_OPTIONS', 'agent', 'options: progressTimeout: expected more than 0 ms', 'Correct it.');
  const run = new Run(client, params, options, runtime);
  try {
    return await run.go();
  } catch (error) {
    throw await run.failed(error);
  } finally {
    run.end();
  }
}

class Run {
  readonly #client: GatewayClient;
  readonly #params: Params<'agent'>;
  readonly #options: AgentRunOptions;
  readonly #runtime: Runtime;
  readonly #runId: string;
  readonly #deadlineAt: number;
  /** Ends the calls of this run. */
  readonly #stop: AbortController = new AbortController();
  readonly #offs: (() => void)[] = [];
  #timer: { clear(): void } | null = null;
  #stalled = false;
  #handed = false;
  #events = 0;
  #sessionKey: string | undefined;
  #attempts: readonly CallAttempt[] = [];

  constructor(client: GatewayClient, params: Params<'agent'>, options: AgentRunOptions, runtime: Runtime) {
    this.#client = client;
    this.#params = params;
    this.#options = options;
    this.#runtime = runtime;
    this.#runId = options.idempotencyKey ?? params.idempotencyKey ?? runtime.id();
    this.#sessionKey = params.sessionKey;
    const { deadline, progressTimeout, signal } = options;
    this.#deadlineAt =
      runtime.now() + (deadline ?? (progressTimeout === undefined ? DEADLINE_MS : Number.POSITIVE_INFINITY));
    if (signal !== undefined) {
      const onAbort = (): void => this.#stop.abort(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#offs.push(() => signal.removeEventListener('abort', onAbort));
      if (signal.aborted) onAbort();
    }
  }

  async go(): Promise<AgentRun> {
    this.#offs.push(
      this.#client.on('event', ({ event, payload }) => this.#seen(event, payload)),
      // Without a link no event can come: the clock starts anew with the next one.
      this.#client.on('state', ({ to }) => to === 'online' && this.#rearm()),
    );
    this.#rearm();
    await this.#begin();
    return await this.#wait();
  }

  #seen(event: string, payload: unknown): void {
    if (!isRecord(payload) || payload['runId'] !== this.#runId) return;
    this.#events += 1;
    const key = payload['sessionKey'];
    if (typeof key === 'string') this.#sessionKey = key;
    this.#rearm();
    // The emitter isolates a listener that throws.
    this.#options.onProgress?.({ event, payload });
  }

  #rearm(): void {
    const { progressTimeout } = this.#options;
    if (progressTimeout === undefined || this.#stop.signal.aborted) return;
    this.#timer?.clear();
    this.#timer = this.#runtime.setTimer(() => {
      if (this.#client.health().state !== 'online') return;
      this.#stalled = true;
      this.#stop.abort();
    }, progressTimeout);
  }

  async #begin(): Promise<void> {
    const { progressTimeout: _, onProgress: _told, signal: _signal, deadline: _deadline, ...options } = this.#options;
    const details = await this.#client.callDetailed('agent', this.#params, {
      ...options,
      ...this.#bounds(),
      idempotencyKey: this.#runId,
      confirm: options.confirm ?? this.#look,
      onAttempt: (attempt) => {
        this.#attempts = [...this.#attempts, attempt];
        if (attempt.outcome === 'unknown') this.#handed = true;
        options.onAttempt?.(attempt);
      },
    });
    this.#handed = true;
    const key = isRecord(details.result) ? (details.result as Record<string, unknown>)['sessionKey'] : undefined;
    if (typeof key === 'string') this.#sessionKey ??= key;
  }

  /** An event of the run, or its end, proves that it was started. Nothing proves that it was not. */
  readonly #look: Confirm = async ({ call }) => {
    const started: Result<'agent'> = { runId: this.#runId, status: 'accepted' };
    if (this.#events > 0) return { executed: true, result: started };
    const found = await call('agent.wait', { runId: this.#runId, timeoutMs: 0 });
    return hasEnded(found) ? { executed: true, result: started } : { executed: 'unknown' };
  };

  async #wait(): Promise<AgentRun> {
    for (let delay: number = EARLY.first; ; ) {
      const askedAt = this.#runtime.now();
      const slice = Math.max(0, Math.min(SLICE_MS, this.#deadlineAt - askedAt));
      const found = await this.#client.call<Record<string, unknown>>(
        'agent.wait',
        { runId: this.#runId, timeoutMs: Math.ceil(slice) },
        { ...this.#bounds(), ...this.#pace(), timeout: slice + ANSWER_MS, safety: 'read' },
      );
      if (hasEnded(found)) return this.#result(found);
      if (this.#runtime.now() >= this.#deadlineAt) throw this.#late();
      if (this.#runtime.now() - askedAt >= slice / 2) delay = EARLY.first;
      else {
        await pause(this.#runtime, Math.min(delay, this.#deadlineAt - this.#runtime.now()), this.#stop.signal);
        delay = Math.min(delay * 2, EARLY.longest);
      }
    }
  }

  #pace(): CallOptions {
    const { retry } = this.#options;
    return retry === undefined ? {} : { retry };
  }

  #bounds(): CallOptions {
    const left = this.#deadlineAt - this.#runtime.now();
    return { signal: this.#stop.signal, deadline: Math.min(Math.max(1, left), LONGEST_MS) };
  }

  #result(found: Record<string, unknown>): AgentRun {
    const { status, startedAt, endedAt, error } = found;
    return {
      runId: this.#runId,
      status: typeof status === 'string' ? status : 'error',
      events: this.#events,
      attempts: this.#attempts,
      ...(typeof startedAt === 'number' && { startedAt }),
      ...(typeof endedAt === 'number' && { endedAt }),
      ...(error !== undefined && { error }),
    };
  }

  // -------------------------------------------------------------------------------------------- an end without result

  #late(): GatewayError {
    return this.#error('HOLDFAST_DEADLINE', 'timeout', 'its deadline passed', undefined);
  }

  /** What the caller gets for an end without a result; a run that may be under way is aborted at the gateway. */
  async failed(error: unknown): Promise<unknown> {
    if (!isGatewayError(error)) return error;
    const ours = this.#stop.signal.aborted || error.code === 'HOLDFAST_DEADLINE';
    const aborting = ours && this.#handed ? this.#abort() : null;
    if (this.#stalled) {
      const aborted = aborting !== null && (await aborting);
      const after = aborted ? 'it was aborted at the gateway' : 'the gateway did not confirm its abort';
      return this.#error(
        'HOLDFAST_NO_PROGRESS',
        'timeout',
        `no event of it for ${this.#options.progressTimeout} ms; ${after}`,
        error,
      );
    }
    if (!this.#handed) return error;
    if (error.code === 'HOLDFAST_ABORTED')
      return abortedError({ method: 'agent', attempts: [...this.#attempts] }, 'unknown', error.cause);
    return this.#error(error.code, error.reason, error.message, error);
  }

  #error(code: string, reason: GatewayErrorInit['reason'], why: string, cause: GatewayError | undefined): GatewayError {
    return new GatewayError({
      code,
      reason,
      outcome: this.#handed ? 'unknown' : (cause?.outcome ?? 'unknown'),
      method: 'agent',
      message: `agent: run ${this.#runId}: ${why}`,
      remedy: 'Look what it did (chat.history of its session) before you run it again.',
      attempts: this.#attempts,
      ...(cause !== undefined && { cause }),
      ...(cause?.restart !== undefined && { restart: cause.restart }),
      ...(cause?.gateway !== undefined && { gateway: cause.gateway }),
    });
  }

  /** True when the gateway says that it has stopped the run. Sent at once when there is a link, and never for long. */
  async #abort(): Promise<boolean> {
    const sessionKey = this.#sessionKey ?? `agent:${this.#params.agentId ?? 'main'}:main`;
    const options: CallOptions = { deadline: ABORT_MS };
    try {
      const { aborted } = await this.#client.call('chat.abort', { sessionKey, runId: this.#runId }, options);
      return aborted;
    } catch (error) {
      if (!isGatewayError(error, 'rejected')) return false;
    }
    // The run is in a session of another name: this method finds it by the run (2026.4.26: with any key).
    return await this.#client
      .call<unknown>('sessions.abort', { key: sessionKey, runId: this.#runId }, options)
      .then((found) => isRecord(found) && found['status'] === 'aborted')
      .catch(() => false);
  }

  end(): void {
    this.#timer?.clear();
    for (const off of this.#offs) off();
  }
}

/** `timeout` without an end says that the wait is over, not the run; `pending`: it waits for its turn (docs). */
function hasEnded(found: unknown): found is Record<string, unknown> {
  if (!isRecord(found)) return false;
  const { status, endedAt } = found;
  return typeof endedAt === 'number' || (typeof status === 'string' && status !== 'timeout' && status !== 'pending');
}
