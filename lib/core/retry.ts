/**
 * What to do after a failed attempt, as a pure decision: send again after a delay, wait for the link, look first, or
 * stop. Three questions, in this order: does the caller's `retry` ride this out, may this call be repeated, and is
 * there time, an attempt and a token left.
 *
 * Sources: gRFC A6 (a request that never left is repeated freely; the server's push-back wins), Finagle's budget,
 * RFC 9110 §9.2.2 (no automatic repeat unless known to be safe), AWS (base 50 ms, jitter inside the cap).
 */
import { type BackoffPolicy, delayOf } from './backoff.js';
import type { AttemptFailure } from './call-verdicts.js';
import { RIDDEN_OUT } from './options.js';
import type { Reason, Safety } from './vocabulary.js';

export interface CallFacts {
  readonly method: string;
  readonly safety: Safety;
  readonly retry: 'restart' | 'always' | 'never';
  readonly maxAttempts: number | null;
  /** Made so far, the failed one included. */
  readonly attempts: number;
  readonly deadlineAt: number;
  /** Somebody can look whether it was executed. */
  readonly canConfirm: boolean;
  /** Boot id of the gateway instance that may have executed it. */
  readonly sentTo?: string;
  /** When the key was first handed to that instance. */
  readonly sentAt?: number;
  /** The gateway keeps the receipt of this key over restarts. */
  readonly durableKey: boolean;
}

export interface LinkFacts {
  readonly gate: 'open' | 'hold' | 'shut';
  /** Why the gate is not open; null when it is, or before the first dial has failed. */
  readonly reason: Reason | null;
  /** Of the instance that answers now. It says nothing while the gate is not open. */
  readonly bootId?: string;
}

export type Decision =
  /**
   * Send again after `delay` ms, through the waiting queue if the link is not open by then. With `onlyTo`, decide anew
   * if another instance answers by then: the key means nothing to it.
   */
  | { readonly do: 'retry'; readonly delay: number; readonly onlyTo?: string }
  /**
   * Send as soon as the link is open again. With `recheck`, decide anew then instead of sending: only the next hello
   * tells whether the instance that knows the key still lives.
   */
  | { readonly do: 'wait'; readonly recheck?: true }
  /** Look first whether it was executed. */
  | { readonly do: 'confirm' }
  | {
      readonly do: 'stop';
      readonly because: 'policy' | 'safety' | 'permanent' | 'attempts' | 'deadline' | 'budget';
      /** When the gateway will take it again, if it said so. */
      readonly retryAt?: number;
    };

/** Between attempts while the gateway answers, when it names no time. */
const PACE: BackoffPolicy = { initialDelay: 50, maxDelay: 2000, factor: 2, jitter: 0.5 };
/** Added to a hint, so that callers who got the same one do not return in step. Never taken off it. */
const HINT_JITTER = 0.25;
/** The gateway forgets a key after this, in ms (code, all versions; also after 1000 other keys). */
const KEY_TTL = 300_000;

/** Failures of the link or of the gateway as a whole: what is known of the link now is better than what was then. */
const OF_THE_LINK: ReadonlySet<Reason> = new Set<Reason>([
  'gateway-restart',
  'gateway-starting',
  'gateway-draining',
  'gateway-stopped',
  'outage',
  'unresponsive',
]);

/** The next gateway is certainly another instance: no key of the former one is known to it. */
const NEW_INSTANCE: ReadonlySet<Reason> = new Set<Reason>(['gateway-restart', 'gateway-starting', 'gateway-stopped']);

/** `draw` in [0, 1); times in ms of one clock. */
export function decide(
  call: CallFacts,
  failure: AttemptFailure,
  link: LinkFacts,
  budgetBalance: number,
  now: number,
  draw: number,
): Decision {
  if (failure.permanent) return stop('permanent');
  if (call.retry === 'never' || failure.outcome === 'executed' || !reachable(call, link)) return stop('policy');
  if (now >= call.deadlineAt) return stop('deadline');
  const ridden = isRiddenOut(call, failure, link);
  const unknown = failure.outcome === 'unknown';
  const repeat = unknown ? repeatOf(call, failure, link, now) : 'yes';
  // Where repeating is no way out, looking is one: even for what is not ridden out, if it can be done at once.
  const stuck = unknown && (repeat === 'no' || !ridden);
  if (stuck && call.canConfirm && (ridden || link.gate === 'open')) return { do: 'confirm' };
  if (!ridden) return stop('policy');
  if (repeat === 'no') return stop('safety');
  if (call.maxAttempts !== null && call.attempts >= call.maxAttempts) return stop('attempts');
  if (costsToken(failure, link) && budgetBalance < 1) return stop('budget');
  if (repeat === 'ask') return { do: 'wait', recheck: true };
  return again(call, failure, link, now, draw);
}

/**
 * Does sending it again take a token from the budget? Not when it waits for the link: that queue is bounded and let
 * out by a slow start, so nothing multiplies (gRPC's transparent retry goes as far for what never left). And not in the
 * settle window, which every `agents.create` opens and which closes by itself.
 */
export function costsToken(failure: AttemptFailure, link: LinkFacts): boolean {
  return failure.settling !== true && link.gate === 'open';
}

function stop(because: Extract<Decision, { do: 'stop' }>['because'], retryAt?: number): Decision {
  return { do: 'stop', because, ...(retryAt !== undefined && { retryAt }) };
}

/** Is there a link, or one that this caller waits for? */
function reachable(call: CallFacts, link: LinkFacts): boolean {
  if (link.gate !== 'shut') return true;
  return (
    call.retry === 'always' && (link.reason === null || OF_THE_LINK.has(link.reason) || link.reason === 'rate-limited')
  );
}

function isRiddenOut(call: CallFacts, failure: AttemptFailure, link: LinkFacts): boolean {
  if (failure.invited === true || failure.settling === true || failure.reason === 'rate-limited') return true;
  const byLink = link.gate !== 'open' && OF_THE_LINK.has(failure.reason);
  const reason = byLink ? (link.reason ?? failure.reason) : failure.reason;
  if (RIDDEN_OUT.has(reason)) return true;
  if (call.retry !== 'always') return false;
  if (OF_THE_LINK.has(reason) || reason === 'rate-limited') return true;
  // An attempt that ran into its own timeout may still be running: only what may run twice is sent beside it.
  return (
    reason === 'timeout' && (failure.outcome !== 'unknown' || call.safety === 'read' || call.safety === 'repeatable')
  );
}

/** May a call be repeated whose first copy may have been executed? `ask`: not to be said before the next hello. */
function repeatOf(call: CallFacts, failure: AttemptFailure, link: LinkFacts, now: number): 'yes' | 'no' | 'ask' {
  if (call.safety === 'read' || call.safety === 'repeatable') return 'yes';
  if (call.safety === 'once') return 'no';
  if (call.durableKey) return 'yes';
  // The key must still be known when the repeat arrives, not when it is decided.
  const arrival = now + Math.max(PACE.maxDelay, (failure.retryAfter ?? 0) * (1 + HINT_JITTER));
  if (call.sentTo === undefined || call.sentAt === undefined || arrival - call.sentAt >= KEY_TTL) return 'no';
  if (link.gate === 'open') return link.bootId === call.sentTo ? 'yes' : 'no';
  return NEW_INSTANCE.has(link.reason ?? failure.reason) ? 'no' : 'ask';
}

function again(call: CallFacts, failure: AttemptFailure, link: LinkFacts, now: number, draw: number): Decision {
  // A new hello makes hints about a restart, a start or a drain obsolete; a rate limit outlives it.
  const hint = link.gate !== 'open' && OF_THE_LINK.has(failure.reason) ? undefined : failure.retryAfter;
  if (hint === undefined && link.gate !== 'open') return { do: 'wait' };
  const left = call.deadlineAt - now;
  if (hint !== undefined && hint >= left) return stop('deadline', now + hint);
  const own = delayOf(PACE, call.attempts, draw);
  if (own >= left && (hint ?? 0) < PACE.initialDelay) return stop('deadline');
  // What the hint leaves inside the deadline, our own pace and the jitter must not carry past it.
  const base = own < left ? Math.max(own, hint ?? 0) : (hint ?? 0);
  const spread = hint === undefined ? 0 : Math.min(HINT_JITTER * base, left - base);
  const bound = failure.outcome === 'unknown' && call.safety === 'keyed' && !call.durableKey;
  return {
    do: 'retry',
    delay: base + spread * draw,
    ...(bound && call.sentTo !== undefined && { onlyTo: call.sentTo }),
  };
}
