/** When to dial again after a failure, and whether to dial again at all. Pure. */
import { delayOf, FLOOR_MS, remainingDelay } from './backoff.js';
import type { Failure } from './failure.js';
import type { Journey } from './machine.js';
import { LIMITS, type Policy } from './policy.js';
import { MAX_RESTART_HINT_MS } from './restart.js';

export interface Pace {
  readonly profile: 'outage' | 'restart' | 'blocked';
  /** Ms from now to the next dial. */
  readonly delay: number;
}

/** The journey after one more failure: counters, streaks and the verdict that needs a human. */
export function countFailure(journey: Journey, failure: Failure, now: number): Journey {
  const permanent = failure.action !== 'soon';
  const standing = journey.verdict?.reason === failure.reason ? journey.verdict : null;
  const strikes = journey.strikes?.reason === failure.reason ? journey.strikes.count : 0;
  return {
    ...journey,
    lastFailure: failure,
    failing: failure,
    strikes: failure.strike === true ? { reason: failure.reason, count: strikes + 1 } : null,
    verdict: permanent
      ? { reason: failure.reason, since: standing?.since ?? now, count: (standing?.count ?? 0) + 1 }
      : null,
    startingSince: failure.reason === 'gateway-starting' ? (journey.startingSince ?? now) : journey.startingSince,
    drainingSince: failure.reason === 'gateway-draining' ? (journey.drainingSince ?? now) : journey.drainingSince,
  };
}

/** What a failure means in the light of those before it: strikes that add up, a start or a drain that takes too long. */
export function judgeInContext(journey: Journey, failure: Failure, now: number): Failure {
  if (
    failure.strike === true &&
    journey.strikes?.reason === failure.reason &&
    journey.strikes.count + 1 >= LIMITS.strikes
  ) {
    return { ...failure, action: 'human', awaiting: failure.awaiting ?? failure.remedy };
  }
  const since = lastingSince(journey, failure);
  const limit = failure.reason === 'gateway-starting' ? LIMITS.startingLimit : LIMITS.drainLimit;
  if (since !== null && now - since > limit) {
    return { ...failure, reason: 'outage', message: `${failure.message} (for ${Math.round((now - since) / 1000)} s)` };
  }
  return failure;
}

function lastingSince(journey: Journey, failure: Failure): number | null {
  if (failure.reason === 'gateway-starting') return journey.startingSince;
  if (failure.reason === 'gateway-draining') return journey.drainingSince;
  return null;
}

/** Does the verdict that needs a human end the client now? Only the same one, often enough, over long enough. */
export function isFinal(policy: Policy, journey: Journey, now: number): boolean {
  const { verdict } = journey;
  if (policy.onPermanent !== 'stop' || verdict === null) return false;
  return verdict.count >= LIMITS.permanentTries && now - verdict.since >= LIMITS.permanentAfter;
}

/**
 * The next delay. The server's word wins: a hint is waited out in full, with jitter on top of it.
 * `journey` already counts the failure; `took` is how long the failed dial lasted (0 for a lost link).
 */
export function pace(
  policy: Policy,
  journey: Journey,
  failure: Failure,
  took: number,
  now: number,
  draw: number,
): Pace {
  const { profile, delay } = planned(policy, journey, failure, took, now, draw);
  return { profile, delay: Math.max(delay, FLOOR_MS) };
}

function planned(policy: Policy, journey: Journey, failure: Failure, took: number, now: number, draw: number): Pace {
  const spread = draw * (journey.loopback ? policy.spread.loopback : policy.spread.remote);
  const hint = hintOf(failure);
  if (failure.action !== 'soon') {
    // No jitter inside this delay: credentials refused in quick succession count towards a lockout.
    const delay = delayOf({ ...policy.blocked, jitter: 0 }, journey.failures.blocked + 1, draw);
    return { profile: 'blocked', delay: Math.max(delay, hint ?? 0) + spread };
  }
  if (hint !== null && paceIsTheServers(journey, failure, now)) return { profile: 'restart', delay: hint + spread };
  const hurry = journey.restart !== null && journey.falseAlarms < LIMITS.falseAlarms;
  if (hurry && hint === null) return restartPace(policy, journey, took, draw, spread);
  // A fleet is spread over the whole window even when each of its members sees a plain outage.
  const extra = policy.fleet ? spread : 0;
  const own = remainingDelay(delayOf(policy.outage, journey.failures.outage + 1, draw), took) + extra;
  return { profile: 'outage', delay: hint === null ? own : Math.max(own, hint + spread) };
}

/** On loopback the profile alone; from afar, the first dial waits for what the gateway announced, and is spread. */
function restartPace(policy: Policy, journey: Journey, took: number, draw: number, spread: number): Pace {
  const { loopback, remote } = policy.restart;
  const lostJustNow = took === 0 && journey.lostAt !== null;
  if (!journey.loopback && lostJustNow) {
    const expected = Math.min(journey.restart?.expectedMs ?? 0, MAX_RESTART_HINT_MS);
    return { profile: 'restart', delay: expected + spread };
  }
  const profile = journey.loopback ? loopback : remote;
  return { profile: 'restart', delay: remainingDelay(delayOf(profile, journey.failures.restart + 1, draw), took) };
}

/** The hint of the gateway, held within its bounds; null when there is none. */
function hintOf(failure: Failure): number | null {
  const { reason, retryAfter } = failure;
  const { min, max } = LIMITS.startingHint;
  if (retryAfter === undefined) return reason === 'rate-limited' ? LIMITS.rateLimitFloor : null;
  return Math.min(Math.max(retryAfter, min), reason === 'gateway-starting' ? max : LIMITS.maxHint);
}

/** A gateway that starts or drains sets the pace for a while; after that its hint is only the floor of our back-off. */
function paceIsTheServers(journey: Journey, failure: Failure, now: number): boolean {
  if (failure.reason === 'gateway-starting') return now - (journey.startingSince ?? now) < LIMITS.startingPaceFor;
  if (failure.reason === 'gateway-draining') return now - (journey.drainingSince ?? now) < LIMITS.drainingPaceFor;
  return failure.reason === 'rate-limited';
}

/** How soon after a refusal as starting a gateway that says it is ready is dialled: later each time it was not true. */
const READY_PACE = { initialDelay: FLOOR_MS, maxDelay: LIMITS.startingHint.max, factor: 2, jitter: 0 };

export function earliestWhenReady(journey: Journey, since: number): number {
  return since + delayOf(READY_PACE, journey.believed + 1, 0);
}
