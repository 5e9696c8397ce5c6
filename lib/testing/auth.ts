import { timingSafeEqual } from 'node:crypto';
import type { Profile } from './profiles.js';
import type { Limits, Timings } from './types.js';

interface Failures {
  at: number[];
  lockedUntil: number;
  slow: number;
  slowAt: number;
}

const FORGET_MS = 60_000;

/** The gateway's token, and what wrong ones cost: a lockout, or on loopback a delay that doubles. */
export class Auth {
  token: string | null;
  readonly #profile: Profile;
  readonly #timings: Timings;
  readonly #limits: Limits;
  readonly #failures: Map<string, Failures> = new Map();

  constructor(token: string | null, profile: Profile, timings: Timings, limits: Limits) {
    this.token = token;
    this.#profile = profile;
    this.#timings = timings;
    this.#limits = limits;
  }

  isToken(value: string | undefined): boolean {
    if (this.token === null) return true;
    if (value === undefined) return false;
    const given = Buffer.from(value);
    const wanted = Buffer.from(this.token);
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  /** True when the shared token is where this version looks for it. */
  accepts(token: string | undefined, password: string | undefined): boolean {
    return this.isToken(token) || (this.#profile.tokenAsPassword && password !== undefined && this.isToken(password));
  }

  /** How long the address is still locked out, in ms; 0 when it is not. */
  lockedFor(address: string): number {
    return Math.max(0, (this.#failures.get(address)?.lockedUntil ?? 0) - Date.now());
  }

  /** Counts a wrong credential; returns how many ms its answer waits, where answers wait (`slows`). */
  failed(address: string, slows: boolean): number {
    const now = Date.now();
    const seen = this.#failures.get(address) ?? { at: [], lockedUntil: 0, slow: 0, slowAt: 0 };
    this.#failures.set(address, seen);
    const { lockout, exemptLoopback } = this.#limits;
    if (isLoopback(address) && exemptLoopback) {
      if (!slows) return 0;
      seen.slow = now - seen.slowAt > FORGET_MS ? 1 : seen.slow + 1;
      seen.slowAt = now;
      return Math.min(this.#timings.wrongTokenMaxDelayMs, this.#timings.wrongTokenDelayMs * 2 ** (seen.slow - 1));
    }
    if (lockout !== false) {
      seen.at = [...seen.at.filter((at) => now - at < lockout.windowMs), now];
      if (seen.at.length >= lockout.attempts) seen.lockedUntil = now + lockout.lockMs;
    }
    return 0;
  }

  succeeded(address: string): void {
    this.#failures.delete(address);
  }

  /** The counters die with the process. */
  forget(): void {
    this.#failures.clear();
  }
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');
}
