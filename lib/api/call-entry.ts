/** One call as the client holds it, and the errors that a call can end with before the core is asked. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import { type CallAttempt, GatewayError } from '../core/errors.js';
import type { GatewayWord } from '../core/failure.js';
import type { CallDefaults } from '../core/options.js';
import type { RestartInfo } from '../core/restart.js';
import type { Timer } from '../core/runtime.js';
import type { CallOutcome, Safety } from '../core/vocabulary.js';

/** What a `confirm` found out by looking. */
export type Confirmation = { executed: true; result: unknown } | { executed: false } | { executed: 'unknown' };

/** Looks whether a call was executed. `call` makes calls of its own, inside the deadline of the call in question. */
export type Confirm = (context: {
  signal: AbortSignal;
  call: (method: string, params?: unknown) => Promise<unknown>;
  /** What a repeat was refused with, when that is why it looks: an "already exists" may be our own doing. */
  refused?: GatewayWord;
}) => Promise<Confirmation>;

/** Options of one call, merged and checked. */
export interface EntryOptions extends CallDefaults {
  readonly signal?: AbortSignal;
  readonly confirm?: Confirm;
  readonly onAttempt?: (attempt: CallAttempt) => void;
}

/** A call that succeeded, with what it took. */
export interface CallDetails<T = unknown> {
  readonly result: T;
  readonly attempts: readonly CallAttempt[];
  /** Ms from the call to its settlement that no attempt was under way: waiting for the link, or between attempts. */
  readonly waited: number;
  /** Ids of the restarts that its attempts fell into. */
  readonly restarts: readonly string[];
}

export interface Entry {
  readonly id: number;
  readonly method: string;
  /** The parameters, serialised once: every attempt sends the same bytes. */
  readonly params: string;
  readonly agentId: string | undefined;
  readonly options: EntryOptions;
  readonly safety: Safety;
  readonly durableKey: boolean;
  readonly resolve: (details: CallDetails) => void;
  readonly reject: (error: GatewayError) => void;
  readonly madeAt: number;
  readonly deadlineAt: number;
  readonly attempts: CallAttempt[];
  /** Lets go of the caller's signal. */
  unwatch: () => void;
  /** Ends the look whether it was executed, while there is one. */
  look: AbortController | null;
  /** Id of the frame on the wire, while one is. */
  frame: string | null;
  attemptAt: number;
  /** Of the attempt, of the delay or of the whole call, whichever comes first. */
  timer: Timer | null;
  /** Boot id of the instance that the first copy in doubt, or the only one, was sent to, and when. */
  sentTo: string | undefined;
  sentAt: number | undefined;
  /** That of the last copy. */
  lastTo: string | undefined;
  /** The next copy is for this instance alone; for any other it is decided anew. */
  onlyTo: { readonly bootId: string; readonly failure: AttemptFailure } | null;
  /** No copy so far can have been executed, or will be. */
  clean: boolean;
  /** A copy may have been executed, and no look has said otherwise: it is not repeated unless that is safe. */
  doubtful: boolean;
  /** What to do when the link opens, other than sending. */
  pending: { readonly act: 'confirm' | 'recheck'; readonly failure: AttemptFailure } | null;
  settled: boolean;
}

export interface CallRequest {
  readonly method: string;
  readonly params: unknown;
  readonly options: EntryOptions;
  readonly safety: Safety;
  readonly durableKey: boolean;
}

export function newEntry(
  id: number,
  request: CallRequest,
  params: string,
  now: number,
  settle: Pick<Entry, 'resolve' | 'reject'>,
): Entry {
  const { method, options, safety, durableKey } = request;
  return {
    id,
    method,
    params,
    agentId: agentOf(request.params),
    options,
    safety,
    durableKey,
    ...settle,
    madeAt: now,
    deadlineAt: now + (options.deadline ?? Number.POSITIVE_INFINITY),
    attempts: [],
    unwatch: () => {},
    look: null,
    frame: null,
    attemptAt: now,
    timer: null,
    sentTo: undefined,
    sentAt: undefined,
    lastTo: undefined,
    onlyTo: null,
    clean: true,
    doubtful: false,
    pending: null,
    settled: false,
  };
}

/** The agent that parameters or a result name. */
export function agentOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('agentId' in value)) return undefined;
  return typeof value.agentId === 'string' ? value.agentId : undefined;
}

/** Parameters as JSON; null when they cannot be. */
export function serialise(params: unknown): string | null {
  try {
    return JSON.stringify(params ?? {}) ?? null;
  } catch {
    return null;
  }
}

/** What became of the whole call, from what is known of all its copies. */
export function outcomeOf(entry: Pick<Entry, 'clean' | 'frame' | 'attempts'>): CallOutcome {
  if (!entry.clean || entry.frame !== null) return 'unknown';
  return entry.attempts.some(({ outcome }) => outcome !== 'not-sent') ? 'not-executed' : 'not-sent';
}

/** The attempt that has just ended; without a failure it succeeded. */
export function attemptOf(
  entry: Entry,
  failure: AttemptFailure | null,
  at: { readonly now: number; readonly wall: number },
  restart: RestartInfo | undefined,
): CallAttempt {
  const took = at.now - entry.attemptAt;
  return {
    number: entry.attempts.length + 1,
    at: Math.round(at.wall - took),
    elapsed: failure?.outcome === 'not-sent' ? 0 : took,
    outcome: failure === null ? 'executed' : failure.outcome,
    ...(failure !== null && { reason: failure.reason, code: failure.code }),
    ...(restart !== undefined && { restartId: restart.id }),
  };
}

/** What a call rejects with. */
export function errorOf(entry: Entry, failure: AttemptFailure, restart: RestartInfo | undefined): GatewayError {
  return new GatewayError({
    code: failure.code,
    reason: failure.reason,
    outcome: outcomeOf(entry),
    method: entry.method,
    message: failure.message.includes(entry.method) ? failure.message : `${entry.method}: ${failure.message}`,
    remedy: failure.remedy,
    attempts: entry.attempts,
    ...(failure.retryAfter !== undefined && { retryAfter: failure.retryAfter }),
    ...(failure.gateway !== undefined && { gateway: failure.gateway }),
    ...(restart !== undefined && { restart }),
  });
}

/** Ms during which no attempt was under way. */
export function waitedOf(entry: Entry, now: number): number {
  const busy = entry.attempts.reduce(
    (total, attempt) => total + (attempt.outcome === 'not-sent' ? 0 : attempt.elapsed),
    0,
  );
  return Math.max(0, now - entry.madeAt - busy);
}

export function restartsOf(attempts: readonly CallAttempt[]): string[] {
  return [...new Set(attempts.flatMap(({ restartId }) => (restartId === undefined ? [] : [restartId])))];
}

/** A mistake of the caller, found before anything was sent. */
export function localError(code: string, method: string, message: string, remedy: string): GatewayError {
  return new GatewayError({
    code,
    reason: 'local',
    outcome: 'not-sent',
    method,
    message: `${method}: ${message}`,
    remedy,
  });
}

export function abortedError(
  entry: Pick<Entry, 'method' | 'attempts'>,
  outcome: CallOutcome,
  cause: unknown,
): GatewayError {
  return new GatewayError({
    code: 'HOLDFAST_ABORTED',
    reason: 'local',
    outcome,
    method: entry.method,
    message: `${entry.method}: aborted by its signal`,
    remedy: outcome === 'unknown' ? 'Look whether it took effect before you repeat it.' : 'Nothing: it took no effect.',
    attempts: entry.attempts,
    cause,
  });
}
