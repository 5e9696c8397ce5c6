/**
 * From the ok of `agents.create` to an agent that can be used. Two things lie between, by version (measured):
 *
 * - 2026.4.26 restarts itself 3–80 ms after the ok, in most of its states. What is sent meanwhile is executed and never
 *   answered, and a chat completion ends in a bare 500. 2026.5.7 and later do not restart; 2026.9.x names its boot id.
 * - 2026.9.6 does not know the agent for 0.3–2 s: `agent "x" not found`.
 */
import { SETTLE_WINDOW_MS } from '../core/call-verdicts.js';
import { GatewayError, isGatewayError } from '../core/errors.js';
import type { Params, Result } from '../core/methods.js';
import { RIDDEN_OUT } from '../core/options.js';
import type { GatewayIdentity } from '../core/restart.js';
import type { Runtime } from '../core/runtime.js';
import { abortedError, type CallDetails } from './call-entry.js';
import type { CallOptions } from './call-request.js';
import type { GatewayClient } from './client.js';
import { pause } from './provision-time.js';

/** What these functions need of a client. */
type Caller = Pick<GatewayClient, 'callDetailed' | 'on' | 'health' | 'ready'>;

/** Options of `gateway.agents.create`. */
export interface CreateOptions extends CallOptions {
  /** `false` returns at the ok, although the agent may not be known yet or the gateway about to restart. Default true. */
  usable?: boolean;
}

/** Where a wait is to end. */
export interface Bounds {
  readonly signal?: AbortSignal | undefined;
  /** Monotonic ms; Infinity: each look has the deadline of the client. */
  readonly deadlineAt: number;
  readonly retry?: CallOptions['retry'];
}

/**
 * After the ok, a restart of its own begins within this, in ms, or it does not happen. Measured: 3–35, once 78. The same
 * gateway may also reload without a restart, and nothing says which of the two it will be.
 */
const RESTART_BEGINS_WITHIN_MS = 400;
/** The longest deadline that a call takes. */
const LONGEST_MS = 2 ** 31 - 1;
/** Between two looks whether the agent is known: first, and longest, in ms. */
const LOOK = { first: 50, longest: 200, growth: 1.5 } as const;

/** `agents.create`, and the wait until the new agent can be used. */
export async function createAgent(
  client: Caller,
  params: Params<'agents.create'>,
  options: CreateOptions,
  runtime: Runtime,
): Promise<CallDetails<Result<'agents.create'>>> {
  const { usable = true, ...rest } = options;
  const deadlineAt = runtime.now() + (options.deadline ?? Number.POSITIVE_INFINITY);
  const bounds: Bounds = { signal: options.signal, deadlineAt, retry: options.retry };
  const watch = new RestartWatch(client);
  try {
    const details = await client.callDetailed('agents.create', params, rest);
    if (!usable) return details;
    const okAt = runtime.now();
    const { agentId } = details.result;
    const began = watch.begun;
    try {
      if (restartIsDue(client, details)) await watch.begins(began, RESTART_BEGINS_WITHIN_MS, bounds, runtime);
      await untilKnown(client, agentId, bounds, runtime);
    } catch (error) {
      throw notUsable(agentId, details, error);
    }
    const restarts = [...new Set([...details.restarts, ...watch.ids])];
    return { ...details, restarts, waited: details.waited + runtime.now() - okAt };
  } finally {
    watch.end();
  }
}

/** Is the restart that follows `agents.create` on some versions still to come? */
function restartIsDue(client: Caller, details: CallDetails): boolean {
  if (!mayRestartItself(client.health().gateway)) return false;
  // Answered by the link, the ok is fresh. Found by looking after a restart had cut the call, the restart was that one.
  return details.attempts.at(-1)?.outcome === 'executed' || details.restarts.length === 0;
}

/** Measured: 2026.4.26 does it, 2026.5.7, 2026.7.35 and 2026.9.6 do not. Of an unknown version it is to be expected. */
function mayRestartItself(gateway: GatewayIdentity | undefined): boolean {
  if (gateway?.bootId !== undefined) return false;
  const [, year, month] = /^(\d{4})\.(\d{1,2})\./.exec(gateway?.version ?? '') ?? [];
  return year === undefined || Number(year) * 100 + Number(month) < 202_605;
}

/** Restarts that begin while it is held. */
class RestartWatch {
  readonly ids: string[] = [];
  readonly #offs: (() => void)[];
  readonly #client: Caller;
  #wake: () => void = () => {};

  constructor(client: Caller) {
    this.#client = client;
    const off = client.on('restart', ({ id, phase }) => {
      if (phase === 'began') this.ids.push(id);
      this.#wake();
    });
    // A link that ends without a word is waited for by the look that follows, as far as the caller's `retry` goes.
    this.#offs = [off, client.on('state', () => this.#wake())];
  }

  get begun(): number {
    return this.ids.length;
  }

  /** Until a restart has begun beyond the first `count`, or the link is not what it was, or `ms` have passed. */
  async begins(count: number, ms: number, bounds: Bounds, runtime: Runtime): Promise<void> {
    const end = Math.min(runtime.now() + ms, bounds.deadlineAt);
    while (this.begun === count && this.#client.health().ok && runtime.now() < end) {
      if (bounds.signal?.aborted === true) return;
      await pause(runtime, end - runtime.now(), bounds.signal, (wake) => {
        this.#wake = wake;
      });
    }
  }

  end(): void {
    for (const off of this.#offs) off();
  }
}

/**
 * Looks until the gateway knows the agent. A restart in progress is waited out by the look itself. "Not found" is
 * believed after 10 s, or when the deadline comes.
 */
export async function untilKnown(client: Caller, agentId: string, bounds: Bounds, runtime: Runtime): Promise<void> {
  const since = runtime.now();
  for (let delay: number = LOOK.first; ; delay = Math.min(delay * LOOK.growth, LOOK.longest)) {
    try {
      await client.callDetailed('agents.files.list', { agentId }, { ...within(bounds, runtime), maxAttempts: 1 });
      return;
    } catch (error) {
      if (isUnknownAgent(error)) {
        const now = runtime.now();
        if (now + delay >= Math.min(since + SETTLE_WINDOW_MS, bounds.deadlineAt)) throw error;
        await pause(runtime, delay, bounds.signal);
      } else if (isGatewayError(error) && (RIDDEN_OUT.has(error.reason) || bounds.retry === 'always')) {
        // One attempt was cut: a call without that limit waits for the link, or says that it will not come.
        await client.callDetailed('health', {}, within(bounds, runtime));
      } else throw error;
    }
  }
}

/** INVALID_REQUEST to a listing of an agent that exists: it has not settled. Old versions word it otherwise. */
function isUnknownAgent(error: unknown): boolean {
  return isGatewayError(error, 'rejected') && error.gateway?.code === 'INVALID_REQUEST';
}

/** Options of a call that must end where the whole ends. */
export function within({ signal, deadlineAt, retry }: Bounds, runtime: Runtime): CallOptions {
  return {
    ...(signal !== undefined && { signal }),
    ...(retry !== undefined && { retry }),
    ...(Number.isFinite(deadlineAt) && { deadline: Math.max(1, Math.min(deadlineAt - runtime.now(), LONGEST_MS)) }),
  };
}

function notUsable(agentId: string, details: CallDetails, error: unknown): unknown {
  if (!isGatewayError(error)) return error;
  const { attempts } = details;
  if (error.code === 'HOLDFAST_ABORTED')
    return abortedError({ method: 'agents.create', attempts: [...attempts] }, 'executed', error.cause);
  return new GatewayError({
    code: 'HOLDFAST_NOT_USABLE',
    reason: error.reason,
    outcome: 'executed',
    method: 'agents.create',
    message: `agents.create: "${agentId}" was created, but could not be used yet: ${error.message}`,
    remedy: 'Do not create it again: it exists. Wait for the gateway, then go on.',
    attempts,
    cause: error,
    ...(error.restart !== undefined && { restart: error.restart }),
    ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
    ...(error.gateway !== undefined && { gateway: error.gateway }),
  });
}
