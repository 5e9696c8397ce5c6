/** The machine under a clock that a test moves: events go in, timers fire when they are due, notices are kept. */
import assert from 'node:assert/strict';
import { transition } from '../../lib/core/connection.js';
import type { Evidence, GatewayWord } from '../../lib/core/failure.js';
import { type Effect, type Event, INITIAL, type Notice, type Slot, type State } from '../../lib/core/machine.js';
import { type ClientOptions, parseOptions } from '../../lib/core/options.js';
import type { Policy } from '../../lib/core/policy.js';
import type { GatewayIdentity } from '../../lib/core/restart.js';
import type { Phase } from '../../lib/core/vocabulary.js';

/** The policy that options lead to, so that examples speak the language of users. */
export function policyFor(options: Omit<ClientOptions, 'url'> = {}): Policy {
  return parseOptions({ url: 'ws://127.0.0.1:18789', ...options }, 'test', '0.0.0').policy;
}

/** Nobody listens. */
export const NOBODY: Evidence = { kind: 'socket', phase: 'tcp', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' };

export function closed(code: number, reason = '', phase: Phase = 'online'): Evidence {
  return { kind: 'closed', phase, code, reason };
}

export function refused(code: string, details?: unknown, extra: Partial<GatewayWord> = {}): Evidence {
  return {
    kind: 'refused',
    error: { code, message: 'said the gateway', ...(details !== undefined && { details }), ...extra },
  };
}

export const WRONG_TOKEN: Evidence = refused('INVALID_REQUEST', { code: 'AUTH_TOKEN_MISMATCH' });
export const STARTING: Evidence = refused(
  'UNAVAILABLE',
  { reason: 'startup-sidecars' },
  { retryable: true, retryAfterMs: 500 },
);
export const DRAINING: Evidence = refused(
  'UNAVAILABLE',
  { reason: 'gateway-restarting' },
  { retryable: true, retryAfterMs: 1000 },
);

export class Machine {
  state: State = INITIAL;
  now = 1_000_000;
  /** Chance of every following step. */
  draw = 0;
  /** When the link last heard anything; null: it never stops hearing. */
  heardAt: number | null = null;
  /** What is pending, and when it is due. */
  readonly timers: Map<Slot, number> = new Map();
  readonly notices: Notice[] = [];
  /** Of the last step. */
  effects: readonly Effect[] = [];
  dials = 0;
  #steps = 0;
  readonly #policy: Policy;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  get epoch(): number {
    return this.state.journey.epoch;
  }

  send(event: Event): this {
    this.#steps += 1;
    assert.ok(this.#steps < 100_000, 'the machine runs for ever');
    const step = transition(this.#policy, this.state, event, { now: this.now, draw: this.draw });
    this.state = step.state;
    this.effects = step.effects;
    for (const effect of step.effects) {
      if (effect.type === 'setTimer') this.timers.set(effect.slot, this.now + effect.delay);
      if (effect.type === 'clearTimer') this.timers.delete(effect.slot);
      if (effect.type === 'dial') this.dials += 1;
      if (effect.type === 'notify') this.notices.push(effect.notice);
    }
    return this;
  }

  start(): this {
    return this.send({ type: 'start' });
  }

  down(evidence: Evidence = NOBODY): this {
    return this.send({ type: 'down', epoch: this.epoch, evidence });
  }

  hello(identity: GatewayIdentity = { bootId: 'a' }, tickInterval = 30_000): this {
    return this.send({ type: 'hello', epoch: this.epoch, hello: { identity, tickInterval } });
  }

  shutdown(restartExpectedMs: number | null): this {
    return this.send({ type: 'shutdown', epoch: this.epoch, restartExpectedMs });
  }

  remote(): this {
    return this.send({ type: 'target', epoch: this.epoch, loopback: false });
  }

  /** Lets `ms` go by; timers fire on time, in order. */
  pass(ms: number): this {
    return this.#until(this.now + ms);
  }

  #until(end: number): this {
    for (let slot = this.#earliest(end); slot !== null; slot = this.#earliest(end)) this.fire(slot);
    this.now = Math.max(this.now, end);
    return this;
  }

  /** Fires one pending timer, `late` ms after it was due. */
  fire(slot: Slot, late = 0): this {
    const due = this.timers.get(slot);
    assert.notEqual(due, undefined, `no timer ${slot} is pending in state ${this.state.status}`);
    this.timers.delete(slot);
    this.now = Math.max(this.now, (due ?? 0) + late);
    return this.send({ type: 'timer', slot, late, heardAt: this.heardAt ?? this.now });
  }

  /** Waits for the next dial; what else is due meanwhile happens too. */
  redial(): this {
    return this.#until(this.timers.get('retry') ?? Number.NaN);
  }

  /** Online for so long that earlier attempts are forgiven. */
  serve(identity: GatewayIdentity = { bootId: 'a' }): this {
    return this.hello(identity).pass(this.#policy.minUptime);
  }

  /** Ms to the due time of a timer; NaN when it is not pending. */
  due(slot: Slot): number {
    return (this.timers.get(slot) ?? Number.NaN) - this.now;
  }

  /** Ms to the next dial. */
  get wait(): number {
    return this.due('retry');
  }

  /** The reason of the state it is in. */
  get reason(): string | undefined {
    return this.state.status === 'waiting' || this.state.status === 'blocked' || this.state.status === 'stopped'
      ? this.state.failure?.reason
      : undefined;
  }

  effectsOf<T extends Effect['type']>(type: T): Extract<Effect, { type: T }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
  }

  noticesOf<T extends Notice['type']>(type: T): Extract<Notice, { type: T }>[] {
    return this.notices.filter((notice): notice is Extract<Notice, { type: T }> => notice.type === type);
  }

  /** What was told of restarts, in short: `began shutdown`, `ended shutdown` … */
  get restarts(): string[] {
    return this.noticesOf('restart').map(
      ({ phase, evidence, cancelled }) => `${phase} ${evidence}${cancelled ? ' cancelled' : ''}`,
    );
  }

  #earliest(end: number): Slot | null {
    let found: Slot | null = null;
    for (const [slot, due] of this.timers) {
      if (due <= end && (found === null || due < (this.timers.get(found) ?? 0))) found = slot;
    }
    return found;
  }
}
