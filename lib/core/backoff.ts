/**
 * Bounded exponential back-off. Pure: chance enters as a number, so every delay can be repeated.
 *
 * Jitter lies inside the cap. Jitter added on top and then cut forms herds at the cap
 * (measured on p-retry 7.1.1: eight clients at exactly `maxTimeout`).
 */

export interface BackoffPolicy {
  /** First delay, in ms. */
  readonly initialDelay: number;
  /** No delay is longer, in ms. */
  readonly maxDelay: number;
  /** Growth per attempt, at least 1. */
  readonly factor: number;
  /** Share of the delay that is random, 0…1. */
  readonly jitter: number;
}

/** A dial never follows the end of the one before sooner than this, in ms: no tight loop whatever the options say. */
export const FLOOR_MS = 50;

/** Upper limit of the delay after the `n`-th failed attempt (`n` counts from 1). */
export function capOf(policy: BackoffPolicy, n: number): number {
  // 0 × infinity is NaN.
  if (policy.initialDelay === 0) return 0;
  const grown = policy.initialDelay * policy.factor ** Math.min(n - 1, 1000);
  return Number.isFinite(grown) ? Math.min(policy.maxDelay, grown) : policy.maxDelay;
}

/** The delay after the `n`-th failed attempt; `draw` in [0, 1). */
export function delayOf(policy: BackoffPolicy, n: number, draw: number): number {
  const cap = capOf(policy, n);
  return cap - cap * policy.jitter * draw;
}

/**
 * What is left to wait once the dial has ended. A delay is paced from the start of its attempt, so that an attempt
 * which failed slowly does not wait twice; the floor keeps two dials apart even so.
 */
export function remainingDelay(delay: number, attemptTook: number): number {
  return Math.max(delay - attemptTook, FLOOR_MS);
}

/**
 * The longest possible time, in ms, from the start of the first dial to the end of the `attempts`-th, when no hint of
 * the gateway intervenes: every dial runs into its deadline and every wait is the cap. This is the closed bound on
 * giving up by attempts.
 */
export function worstCase(policy: BackoffPolicy, attempts: number, connectTimeout: number): number {
  let total = attempts * (connectTimeout + FLOOR_MS);
  // Geometric until the cap is reached, then linear; the loop ends there, so it stays short for any `attempts`.
  for (let n = 1; n < attempts; n += 1) {
    const cap = capOf(policy, n);
    if (cap >= policy.maxDelay || policy.factor === 1) return total + (attempts - n) * cap;
    total += cap;
  }
  return total;
}
