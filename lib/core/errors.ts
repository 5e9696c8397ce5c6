import type { Failure, GatewayWord } from './failure.js';
import type { RestartInfo } from './restart.js';
import type { CallOutcome, Reason } from './vocabulary.js';

/** One attempt of one call, as told in errors, in `onAttempt` and in the `retry` event. */
export interface CallAttempt {
  /** Counts from 1. */
  readonly number: number;
  /** Wall-clock ms at which it began. */
  readonly at: number;
  /** Ms from its beginning to its end. */
  readonly elapsed: number;
  /** Absent on the attempt that succeeded. */
  readonly reason?: Reason;
  readonly outcome: CallOutcome;
  readonly code?: string;
  /** Ms waited before the next attempt; absent on the last. */
  readonly delay?: number;
  readonly restartId?: string;
}

export interface GatewayErrorInit {
  readonly code: string;
  readonly reason: Reason;
  readonly outcome: CallOutcome;
  readonly message: string;
  readonly remedy: string;
  readonly method?: string;
  readonly attempts?: readonly CallAttempt[];
  readonly restart?: RestartInfo;
  readonly retryAfter?: number;
  readonly gateway?: GatewayWord;
  readonly cause?: unknown;
}

/** Shared by every copy of the package in a process, so that `isGatewayError` works across them. */
const BRAND = Symbol.for('holdfast.GatewayError');

/**
 * Everything holdfast rejects with. `code` is for logs, `reason` and `outcome` are for decisions, `remedy` is what to
 * do first.
 */
export class GatewayError extends Error {
  override readonly name: string = 'GatewayError';
  /** Stable string for logs. */
  readonly code: string;
  readonly reason: Reason;
  /** What became of the call; of a failed connection, `not-sent`. */
  readonly outcome: CallOutcome;
  declare readonly method?: string;
  readonly attempts: readonly CallAttempt[];
  /** The restart this fell into. */
  declare readonly restart?: RestartInfo;
  /** Ms to wait, when the gateway said so. */
  declare readonly retryAfter?: number;
  /** What the gateway said. Untrusted. */
  declare readonly gateway?: { readonly code: string; readonly message: string; readonly details?: unknown };
  readonly remedy: string;

  constructor(init: GatewayErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.outcome = init.outcome;
    this.remedy = init.remedy;
    this.attempts = init.attempts ?? [];
    if (init.method !== undefined) this.method = init.method;
    if (init.restart !== undefined) this.restart = init.restart;
    if (init.retryAfter !== undefined) this.retryAfter = init.retryAfter;
    if (init.gateway !== undefined) {
      const { code, message, details } = init.gateway;
      this.gateway = details === undefined ? { code, message } : { code, message, details };
    }
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Is `e` an error of holdfast, and, when `reason` is given, for that reason? Works across copies of the package. */
export function isGatewayError(e: unknown, reason?: Reason): e is GatewayError {
  if (typeof e !== 'object' || e === null || !(BRAND in e)) return false;
  return reason === undefined || ('reason' in e && e.reason === reason);
}

/** The error of a link or a dial, as callers see it. */
export function errorOf(failure: Failure, outcome: CallOutcome, extra: Partial<GatewayErrorInit> = {}): GatewayError {
  return new GatewayError({
    code: failure.code,
    reason: failure.reason,
    outcome,
    message: failure.message,
    remedy: failure.remedy,
    ...(failure.retryAfter !== undefined && { retryAfter: failure.retryAfter }),
    ...(failure.gateway !== undefined && { gateway: failure.gateway }),
    ...extra,
  });
}
