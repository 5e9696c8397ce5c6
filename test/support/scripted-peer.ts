/**
 * A gateway and the network before it, in virtual time, behind the port that the driver moves. It does what the script
 * says until the script says otherwise, and it remembers what was done to it.
 */
import type { Evidence, GatewayWord } from '../../lib/core/failure.js';
import type { Event } from '../../lib/core/machine.js';
import type { Phase } from '../../lib/core/vocabulary.js';
import type { LinkPort } from '../../lib/io/driver.js';
import type { VirtualRuntime } from './virtual-runtime.js';

/** What the next dials meet. */
export type Behaviour =
  /** Challenge and hello, `ms` after the dial. */
  | { readonly kind: 'serve'; readonly ms: number }
  | { readonly kind: 'fail'; readonly evidence: Evidence; readonly ms: number }
  /** Accepted as far as `phase`, then nothing for ever. */
  | { readonly kind: 'hang'; readonly phase: Phase }
  /** The address cannot be had for so long; then the dial goes on, or fails at the deadline of providers. */
  | { readonly kind: 'provider'; readonly ms: number };

export const SERVE: Behaviour = { kind: 'serve', ms: 20 };
const PROVIDER_DEADLINE_MS = 10_000;
export const REFUSE: Behaviour = fail(
  { kind: 'socket', phase: 'tcp', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' },
  1,
);
export const RESET: Behaviour = fail(
  { kind: 'socket', phase: 'upgrade', code: 'ECONNRESET', message: 'read ECONNRESET' },
  3,
);
export function fail(evidence: Evidence, ms = 10): Behaviour {
  return { kind: 'fail', evidence, ms };
}
/** `connect` is answered with this error. */
export function reject(code: string, details: unknown, extra: Partial<GatewayWord> = {}, ms = 20): Behaviour {
  return fail({ kind: 'refused', error: { code, message: code, details, ...extra } }, ms);
}
export const STARTING: Behaviour = reject(
  'UNAVAILABLE',
  { reason: 'startup-sidecars' },
  { retryable: true, retryAfterMs: 500 },
);
export const DRAINING: Behaviour = reject(
  'UNAVAILABLE',
  { reason: 'gateway-restarting' },
  { retryable: true, retryAfterMs: 1000 },
);
export const WRONG_TOKEN: Behaviour = reject('INVALID_REQUEST', { code: 'AUTH_TOKEN_MISMATCH' });
export const SHUT_OUT: Behaviour = reject(
  'INVALID_REQUEST',
  { code: 'AUTH_RATE_LIMITED' },
  { retryable: true, retryAfterMs: 297_000 },
);
interface Dial {
  readonly epoch: number;
  readonly at: number;
  live: boolean;
  online: boolean;
  deaf: boolean;
}

export class ScriptedPeer implements LinkPort {
  /** For every dial from now on. */
  behaviour: Behaviour = SERVE;
  bootId = 'boot-1';
  bootIds = 1;
  tickInterval = 30_000;
  loopback = true;
  /** Requests on a live link are refused because the gateway drains. */
  draining = false;
  /** Does a closed link answer the close frame? */
  answersClose = true;
  /** When each dial began. */
  readonly dials: number[] = [];
  /** Dials that began while another was live. */
  overlaps = 0;
  pings = 0;
  readonly #runtime: VirtualRuntime;
  readonly #push: (event: Event) => void;
  #dial: Dial | null = null;
  #heardAt = 0;
  #ready = false;
  #watching: number | null = null;
  constructor(runtime: VirtualRuntime, push: (event: Event) => void) {
    this.#runtime = runtime;
    this.#push = push;
  }
  // What the driver does.
  dial(epoch: number): void {
    if (this.#dial?.live === true) this.overlaps += 1;
    this.hangUp('terminate');
    const dial: Dial = { epoch, at: this.#runtime.now(), live: true, online: false, deaf: false };
    this.#dial = dial;
    this.dials.push(dial.at);
    this.#meet(dial, this.behaviour);
  }
  hangUp(how: 'terminate' | 'close'): void {
    this.#watching = null;
    const dial = this.#dial;
    if (dial === null) return;
    if (how === 'terminate') {
      dial.live = false;
      this.#dial = null;
    } else if (this.answersClose && !dial.deaf) {
      this.#later(dial, 5, () => this.#down(dial, { kind: 'closed', phase: 'online', code: 1000, reason: '' }));
    }
  }
  ping(): void {
    this.pings += 1;
    const dial = this.#dial;
    if (dial !== null) this.#later(dial, 10, () => this.#hear(dial));
  }
  watchReadiness(epoch: number): void {
    this.#watching = epoch;
    this.ready = this.#ready;
  }
  /** What the gateway's own probe answers; who watches it hears of it within 50 ms. */
  set ready(ready: boolean) {
    this.#ready = ready;
    const epoch = this.#watching;
    if (!ready || epoch === null) return;
    this.#runtime.setTimer(() => {
      if (this.#watching === epoch) this.#push({ type: 'ready', epoch });
    }, 50);
  }
  heardAt(): number {
    return this.#heardAt;
  }
  // What the script does to the live link.
  get live(): boolean {
    return this.#dial !== null;
  }
  /** The link that is up and through which frames still come. */
  get sound(): boolean {
    return this.#dial?.online === true && !this.#dial.deaf;
  }
  /** The socket closes with this code. */
  close(code: number, reason = ''): void {
    const dial = this.#dial;
    if (dial?.online === true && !dial.deaf) this.#down(dial, { kind: 'closed', phase: 'online', code, reason });
  }
  shutdown(restartExpectedMs: number | null): void {
    const dial = this.#dial;
    if (dial?.online === true && !dial.deaf) this.#push({ type: 'shutdown', epoch: dial.epoch, restartExpectedMs });
  }
  /** Nothing gets through any more and nobody is told: half-open, or a black hole before the hello. */
  deafen(): void {
    if (this.#dial !== null) this.#dial.deaf = true;
  }
  /** A frozen gateway runs again: its sockets were alive all the time. */
  undeafen(): void {
    if (this.#dial !== null) this.#dial.deaf = false;
  }
  newBoot(): void {
    this.bootIds += 1;
    this.bootId = `boot-${this.bootIds}`;
  }
  /** One request on the live link. True: it was answered normally. */
  request(): boolean {
    const dial = this.#dial;
    if (dial?.online !== true || dial.deaf) return false;
    this.#heardAt = this.#runtime.now();
    this.#push({ type: this.draining ? 'draining' : 'served', epoch: dial.epoch });
    return !this.draining;
  }
  /** What an operating system still had in its queues: events of dials that are over, or that never were. */
  stale(current: number): void {
    for (const epoch of [current - 1, current - 2, current + 1]) {
      if (epoch < 1) continue;
      this.#push({ type: 'phase', epoch, phase: 'challenge' });
      this.#push({ type: 'hello', epoch, hello: { identity: { bootId: 'stale' }, tickInterval: 1000 } });
      this.#push({ type: 'shutdown', epoch, restartExpectedMs: null });
      this.#push({ type: 'down', epoch, evidence: { kind: 'closed', phase: 'online', code: 1006, reason: '' } });
    }
  }
  #meet(dial: Dial, behaviour: Behaviour): void {
    if (behaviour.kind === 'provider') {
      const late = behaviour.ms > PROVIDER_DEADLINE_MS;
      this.#later(dial, Math.min(behaviour.ms, PROVIDER_DEADLINE_MS), () => {
        if (!late) this.#meet(dial, SERVE);
        else
          this.#down(dial, {
            kind: 'provider',
            provider: 'token',
            code: 'PROVIDER_TIMEOUT',
            message: 'did not settle',
          });
      });
      return;
    }
    this.#push({ type: 'target', epoch: dial.epoch, loopback: this.loopback });
    if (behaviour.kind === 'hang') this.#later(dial, 2, () => this.#phase(dial, behaviour.phase));
    else if (behaviour.kind === 'fail') this.#later(dial, behaviour.ms, () => this.#down(dial, behaviour.evidence));
    else {
      this.#later(dial, behaviour.ms / 2, () => this.#phase(dial, 'hello'));
      this.#later(dial, behaviour.ms, () => this.#hello(dial));
    }
  }
  #phase(dial: Dial, phase: Phase): void {
    this.#push({ type: 'phase', epoch: dial.epoch, phase });
  }
  #hello(dial: Dial): void {
    dial.online = true;
    this.#heardAt = this.#runtime.now();
    const hello = { identity: { bootId: this.bootId, connId: `conn-${dial.epoch}` }, tickInterval: this.tickInterval };
    this.#push({ type: 'hello', epoch: dial.epoch, hello });
    this.#tick(dial);
  }
  #tick(dial: Dial): void {
    this.#runtime.setTimer(() => {
      if (!dial.live) return;
      this.#hear(dial);
      this.#tick(dial);
    }, this.tickInterval);
  }
  #hear(dial: Dial): void {
    if (dial.live && !dial.deaf) this.#heardAt = this.#runtime.now();
  }
  #down(dial: Dial, evidence: Evidence): void {
    dial.live = false;
    if (this.#dial === dial) this.#dial = null;
    this.#push({ type: 'down', epoch: dial.epoch, evidence });
  }
  #later(dial: Dial, ms: number, act: () => void): void {
    this.#runtime.setTimer(() => {
      if (dial.live && !dial.deaf) act();
    }, ms);
  }
}
