/** Everything the machine decides by, resolved: no option is optional here. Times in ms. */
import type { BackoffPolicy } from './backoff.js';

export interface Policy {
  /** Short form of the instance id; restart ids begin with it. */
  readonly label: string;
  readonly outage: BackoffPolicy;
  /** While a restart of the gateway is in progress, by the distance of the gateway. */
  readonly restart: { readonly loopback: BackoffPolicy; readonly remote: BackoffPolicy; readonly window: number };
  /** While a human is needed. */
  readonly blocked: BackoffPolicy;
  readonly minUptime: number;
  readonly connectTimeout: number;
  /** Spread on top of every hint and of the first dial after a restart of a remote gateway. */
  readonly spread: { readonly loopback: number; readonly remote: number };
  /** True when the owner described a fleet: then the very first dial is spread too. */
  readonly fleet: boolean;
  readonly giveUp: { readonly after: number | null; readonly maxAttempts: number | null };
  readonly onPermanent: 'hold' | 'stop';
  readonly heartbeat: { readonly timeout: number | null; readonly ping: number | null } | null;
}

/** Limits that no option moves. */
export const LIMITS = {
  /** A verdict that needs a human ends the client (`onPermanent: 'stop'`) after this many fresh tries … */
  permanentTries: 3,
  /** … over at least this long. */
  permanentAfter: 60_000,
  /** So many `strike` failures in a row need a human. */
  strikes: 3,
  /** `retryAfterMs` of a starting gateway is held between these (the protocol package clamps it so). */
  startingHint: { min: 100, max: 2000 },
  /** A starting or draining gateway sets the pace for so long; then the back-off grows, the hint its floor. */
  startingPaceFor: 10_000,
  drainingPaceFor: 60_000,
  /** A start or a drain that lasts longer is an outage. The gateway's own drain budget is up to 325 s. */
  startingLimit: 600_000,
  drainLimit: 330_000,
  /** After so many announced restarts that were not made, they are paced as the outages they are. */
  falseAlarms: 3,
  /** A hint beyond this is cut. */
  maxHint: 300_000,
  /** Between two tries of a host whose identity is used by another one too. */
  twinPause: 15_000,
  /** A lockout without a time is not asked again sooner. */
  rateLimitFloor: 15_000,
  /** After `shutdown` the gateway closes within ms; a link it leaves open is cut after the hint and this. */
  shutdownGrace: 5000,
  /** How long our own close handshake may take. */
  closeGrace: 1000,
  /** A timer later than this means that the process or the host slept, or that the loop was blocked. */
  late: 1000,
  /** Silence that is allowed: twice the tick of the current hello, held between these. */
  silence: { min: 5000, max: 120_000 },
  /** Tick when a hello names none. */
  defaultTick: 30_000,
} as const;
