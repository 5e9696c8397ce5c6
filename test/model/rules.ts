/**
 * The invariants of the machine, each as a rule that looks at every step. A rule keeps its own books: it believes the
 * effects and the clock, and of the state only what it cannot know otherwise.
 */
import { isDeepStrictEqual } from 'node:util';
import type { At, Effect, Event, Notice, State } from '../../lib/core/machine.js';
import type { Policy } from '../../lib/core/policy.js';
import { restartedBetween } from '../../lib/core/restart.js';
import type { Status } from '../../lib/core/vocabulary.js';

export interface Seen {
  readonly policy: Policy;
  readonly before: State;
  readonly event: Event;
  readonly at: At;
  readonly after: State;
  readonly effects: readonly Effect[];
}

export interface Rule {
  see(seen: Seen): void;
}

/** A rule was broken; `rule` is its name. */
export class Broken extends Error {
  readonly rule: string;

  constructor(rule: string, detail: string) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}

export function hold(condition: boolean, rule: string, detail: () => string): void {
  if (!condition) throw new Broken(rule, detail());
}

export function of<T extends Effect['type']>(effects: readonly Effect[], type: T): Extract<Effect, { type: T }>[] {
  return effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
}

export function notices(effects: readonly Effect[]): Notice[] {
  return of(effects, 'notify').map(({ notice }) => notice);
}

export function dialing(state: State): boolean {
  return state.status === 'connecting' || state.status === 'handshaking';
}

/** A human is needed and the owner wants the client held: no budget runs. */
export function held(policy: Policy, state: State): boolean {
  return policy.onPermanent === 'hold' && state.journey.verdict !== null;
}

/** A hello that shows progress: a new gateway instance, a restart that was made, or the end of a wait for a human. */
export function isProgress({ policy, before, event, after, effects }: Seen): boolean {
  if (event.type !== 'hello' || before.status === 'online' || after.status !== 'online') return false;
  const made = notices(effects).some((notice) => notice.type === 'restart' && !notice.cancelled);
  return made || held(policy, before) || restartedBetween(before.journey.gateway, event.hello.identity) !== undefined;
}

export function isServing(state: State): boolean {
  return state.status === 'online' && state.serving;
}

/** Events of an older dial, and any event after the end, change nothing. */
export class Absorbs implements Rule {
  see({ before, event, after, effects }: Seen): void {
    const nothing = effects.length === 0 && isDeepStrictEqual(before, after);
    if (before.status === 'stopped') hold(nothing, 'stopped absorbs', () => `${event.type} changed it`);
    if ('epoch' in event && event.epoch !== before.journey.epoch) {
      hold(nothing, 'old epoch', () => `${event.type} of dial ${event.epoch} changed dial ${before.journey.epoch}`);
    }
  }
}

/** A dial begins only when none is live, and dials are numbered upwards. */
export class OneDial implements Rule {
  #live = false;
  #last = 0;

  see({ event, after, effects, before }: Seen): void {
    if (event.type === 'down' && event.epoch === before.journey.epoch) this.#live = false;
    for (const effect of effects) {
      if (effect.type === 'hangUp' && effect.how === 'terminate') this.#live = false;
      if (effect.type !== 'dial') continue;
      hold(!this.#live, 'one dial', () => `dial ${effect.epoch} while another is live`);
      hold(
        effect.epoch > this.#last && effect.epoch === after.journey.epoch,
        'one dial',
        () => `epoch ${effect.epoch} after ${this.#last}`,
      );
      this.#live = true;
      this.#last = effect.epoch;
    }
    const needs = dialing(after) || after.status === 'online';
    hold(!needs || this.#live, 'one dial', () => `state ${after.status} without a link`);
    hold(
      needs || after.status === 'closing' || !this.#live,
      'one dial',
      () => `state ${after.status} with a live link`,
    );
  }
}

/** The states that are told form a chain, and every change is told and recorded once. */
export class Chain implements Rule {
  #last: Status = 'idle';

  see({ before, after, effects }: Seen): void {
    let told = before.status;
    hold(told === this.#last, 'chain', () => `the last notice said ${this.#last}, the state is ${told}`);
    for (const notice of notices(effects)) {
      if (notice.type !== 'state') continue;
      hold(notice.from === told, 'chain', () => `${notice.from} → ${notice.to} told in state ${told}`);
      told = notice.to;
      hold(of(effects, 'record').length > 0, 'chain', () => `${notice.to} not recorded`);
    }
    hold(told === after.status, 'chain', () => `told ${told}, is ${after.status}`);
    this.#last = told;
  }
}

/** A restart begins before it ends, once, under an id of its own, and at most one is in progress. */
export class Restarts implements Rule {
  readonly #ids = new Set<string>();
  #open: string | null = null;

  see({ after, effects }: Seen): void {
    for (const notice of notices(effects)) {
      if (notice.type === 'restart') this.#restart(notice.id, notice.phase);
      else if (notice.type !== 'giveup' && notice.restartId !== null) {
        hold(this.#ids.has(notice.restartId), 'restarts', () => `${notice.restartId} was never begun`);
      }
    }
    if (after.status === 'stopped') return;
    hold(
      (after.journey.restart?.id ?? null) === this.#open,
      'restarts',
      () => `told ${this.#open}, is ${after.journey.restart?.id}`,
    );
  }

  #restart(id: string, phase: 'began' | 'ended' | 'became-outage'): void {
    if (phase === 'began') {
      hold(!this.#ids.has(id), 'restarts', () => `${id} began twice`);
      hold(this.#open === null, 'restarts', () => `${id} began inside ${this.#open}`);
      this.#ids.add(id);
      this.#open = id;
      return;
    }
    hold(this.#open === id, 'restarts', () => `${id} ${phase}, in progress is ${this.#open}`);
    this.#open = null;
  }
}

/** `open` only online, and online always open until the gateway announces its end; a lost link cuts its calls. */
export class Gates implements Rule {
  #gate: string | null = null;

  see({ before, after, effects }: Seen): void {
    const gates = of(effects, 'gate');
    for (const { gate } of gates) {
      hold(gate !== 'open' || after.status === 'online', 'gate', () => `open in state ${after.status}`);
      this.#gate = gate;
    }
    if (after.status === 'online') {
      hold(this.#gate === (after.shutdown ? 'hold' : 'open'), 'gate', () => `${this.#gate} while online`);
    } else if (after.status !== 'idle') {
      hold(this.#gate === 'hold' || this.#gate === 'shut', 'gate', () => `${this.#gate} in state ${after.status}`);
    }
    const lost =
      before.status === 'online' && (after.status !== 'online' || after.journey.epoch !== before.journey.epoch);
    if (lost)
      hold(
        gates.some(({ cut }) => cut),
        'gate',
        () => 'the calls of a lost link were not cut',
      );
  }
}

/** Exactly one end, with an outcome and a code that agree. */
export class Finish implements Rule {
  #finished = 0;
  #closing = false;

  see({ policy, before, event, after, effects }: Seen): void {
    this.#closing ||= event.type === 'close';
    const ends = of(effects, 'finish');
    this.#finished += ends.length;
    hold(
      this.#finished === (after.status === 'stopped' ? 1 : 0),
      'one finish',
      () => `${this.#finished} ends in state ${after.status}`,
    );
    for (const { outcome, exitCode, failure } of ends) {
      hold((outcome === 'closed') === (exitCode === 0), 'exit code', () => `${outcome} with ${exitCode}`);
      hold(outcome !== 'closed' || this.#closing, 'exit code', () => 'closed, and nobody asked');
      const broken = event.type === 'stuck' && event.times > 1;
      hold((broken && outcome === 'fatal') === (exitCode === 70), 'exit code', () => `${exitCode} after ${event.type}`);
      hold(
        outcome !== 'fatal' || broken || policy.onPermanent === 'stop',
        'patience',
        () => 'fatal although the owner wants it held',
      );
      hold(outcome === 'closed' || failure !== null, 'exit code', () => `${outcome} without a failure`);
      // Codes for a human are for verdicts that waiting does not heal.
      const temporary = outcome === 'gave-up' && failure?.action === 'soon' && failure.reason !== 'pairing-required';
      hold(!temporary || exitCode === 75, 'exit code', () => `${exitCode} for ${failure?.reason} that may pass`);
      const mayEnd = outcome === 'closed' || broken || policy.onPermanent === 'stop';
      hold(
        mayEnd || (before.status !== 'blocked' && failure?.action === 'soon'),
        'patience',
        () => `${outcome} in ${before.status}`,
      );
    }
    hold(
      ends.length === 0 ||
        notices(effects).filter(({ type }) => type === 'giveup').length === (ends[0]?.outcome === 'gave-up' ? 1 : 0),
      'one finish',
      () => 'the giveup notice is missing or odd',
    );
  }
}
