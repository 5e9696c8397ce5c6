/** The rules of time: the next action of each state, delays, the attempts and the budget. */
import { capOf, FLOOR_MS } from '../../lib/core/backoff.js';
import type { Event, Slot, State } from '../../lib/core/machine.js';
import { LIMITS, type Policy } from '../../lib/core/policy.js';
import { dialing, held, hold, isProgress, isServing, notices, of, type Rule, type Seen } from './rules.js';

/** Node fires a longer timer at once. */
const LONGEST = 2 ** 31 - 1;
/** A give-up timer that comes late decides nothing for so long. */
const RECONSIDER = LIMITS.late * 10;
/** Sums of fractions of a millisecond are not exact. */
const TINY = 1e-3;

/** Each live state has its timer, no state has a foreign one, and none is longer than Node can set. */
export class Timers implements Rule {
  readonly table: Map<Slot, number> = new Map();

  see({ policy, event, at, after, effects }: Seen): void {
    if (event.type === 'timer') this.table.delete(event.slot);
    for (const effect of effects) {
      if (effect.type === 'clearTimer') this.table.delete(effect.slot);
      if (effect.type !== 'setTimer') continue;
      hold(effect.delay >= 0 && effect.delay <= LONGEST, 'timer', () => `${effect.slot} set to ${effect.delay}`);
      this.table.set(effect.slot, at.now + effect.delay);
    }
    for (const slot of needed(policy, after)) {
      hold(this.table.has(slot), 'next action', () => `state ${after.status} without its timer ${slot}`);
    }
    const allowed = new Set([...needed(policy, after), ...tolerated(policy, after)]);
    for (const slot of this.table.keys()) {
      hold(allowed.has(slot), 'orphan timer', () => `${slot} pending in state ${after.status}`);
    }
  }
}

function needed(policy: Policy, state: State): Slot[] {
  const slots: Slot[] = [];
  if (dialing(state)) slots.push('connect');
  if (state.status === 'waiting' || state.status === 'blocked') slots.push('retry');
  if (state.status === 'closing') slots.push('close');
  if (state.status === 'online') {
    if (policy.heartbeat !== null) slots.push('beat');
    if (!state.serving) slots.push('settle');
    if (state.shutdown) slots.push('shutdown');
    if (state.journey.drainingSince !== null && !state.shutdown) slots.push('drain');
  }
  const live = state.status !== 'idle' && state.status !== 'stopped';
  if (live && state.status !== 'closing' && state.journey.restart !== null) slots.push('window');
  return slots;
}

/** Pending without harm: the journey's own timers, and the budget where it may run. */
function tolerated(policy: Policy, state: State): Slot[] {
  if (state.status === 'stopped' || state.status === 'idle') return [];
  const slots: Slot[] = state.journey.restart === null ? [] : ['window'];
  if (policy.giveUp.after !== null && !isServing(state)) slots.push('giveUp');
  if (state.status === 'online' && state.journey.drainingSince !== null) slots.push('drain');
  return slots;
}

/** Every wait lies within its bounds, and no dial follows the end of another at once. */
export class Delays implements Rule {
  /** Failures since the last serving link or sleep. */
  #failures = 0;
  #endedAt: number | null = null;
  #woken = false;
  /** Restarts that were announced and not made, since the last serving link. */
  #falseAlarms = 0;

  see(seen: Seen): void {
    const { event, at, before, after, effects } = seen;
    if (event.type === 'woke') this.#woken = true;
    const failed =
      notices(effects).some((n) => n.type === 'state' && (n.to === 'waiting' || n.to === 'blocked')) &&
      event.type !== 'start';
    if (failed) {
      this.#failures += 1;
      this.#endedAt = at.now;
    }
    this.#falseAlarms += notices(effects).filter((notice) => notice.type === 'restart' && notice.cancelled).length;
    if (isServing(after)) {
      this.#failures = 0;
      this.#falseAlarms = 0;
    }
    for (const { delay } of of(effects, 'setTimer').filter(({ slot }) => slot === 'retry')) {
      const [least, most] = failed ? this.#bounds(seen) : unhurried(seen);
      hold(delay > least - TINY && delay < most + TINY, 'delay', () => `${delay} ms, allowed ${least}…${most}`);
    }
    if (of(effects, 'dial').length === 0) return;
    const excused = this.#woken || event.type === 'stuck' || before.status === 'idle';
    const gap = at.now - (this.#endedAt ?? Number.NEGATIVE_INFINITY);
    hold(excused || gap > FLOOR_MS - TINY, 'tight loop', () => `dialled ${gap} ms after the end of the dial before`);
    this.#woken = false;
  }

  #bounds({ policy, before, at, after }: Seen): [number, number] {
    const failure = after.status === 'waiting' || after.status === 'blocked' ? after.failure : null;
    const took = dialing(before) && 'dialedAt' in before ? at.now - before.dialedAt : 0;
    const { loopback, restart } = after.journey;
    const spread = loopback ? policy.spread.loopback : policy.spread.remote;
    const cap = Math.max(capOf(policy.outage, this.#failures) - took, FLOOR_MS);
    const said = failure?.retryAfter;
    const longest = failure?.reason === 'gateway-starting' ? LIMITS.startingHint.max : LIMITS.maxHint;
    const hint = said === undefined ? null : Math.min(Math.max(said, LIMITS.startingHint.min), longest);
    if (failure === null || failure.action !== 'soon') {
      const least = Math.max(policy.blocked.initialDelay, hint ?? 0, FLOOR_MS);
      return [least, Math.max(policy.blocked.maxDelay, least) + spread];
    }
    if (failure.reason === 'rate-limited' || hint !== null) {
      const ordered = hint ?? LIMITS.rateLimitFloor;
      return [ordered, Math.max(ordered, cap) + spread];
    }
    const outage = cap + (policy.fleet ? spread : 0);
    if (restart === null) return [FLOOR_MS, outage];
    const profile = loopback ? policy.restart.loopback : policy.restart.remote;
    const own = Math.max(capOf(profile, this.#failures) - took, FLOOR_MS);
    const most = loopback ? own : Math.max(own, Math.min(restart.expectedMs ?? 0, 60_000) + spread);
    // Restarts that are announced and not made lose their privilege.
    return [FLOOR_MS, this.#falseAlarms < LIMITS.falseAlarms ? most : Math.max(most, outage)];
  }
}

/** A wait that no failure began: the spread of a fleet's first dial, or one cut short by waking up. */
function unhurried({ policy, before, at, event }: Seen): [number, number] {
  if (event.type === 'start') return [0, policy.spread.remote];
  return [0, before.status === 'waiting' ? Math.max(before.until - at.now, 0) : 0];
}

/** Attempts are numbered from the last serving link on, each is told once, and there are no more than allowed. */
export class Attempts implements Rule {
  #dials = 0;
  /** Those that count towards the limit: since the last progress, and neither made while held nor by the self-check. */
  #spent = 0;
  /** Dials that only the self-check made: they may count or not. */
  #forced = 0;
  #open = false;

  see(seen: Seen): void {
    const { policy, before, event, after, effects } = seen;
    for (const notice of notices(effects)) {
      if (notice.type !== 'attempt') continue;
      hold(this.#open, 'attempts', () => `attempt ${notice.number} told twice or never made`);
      hold(notice.number === this.#dials, 'attempts', () => `number ${notice.number} for dial ${this.#dials}`);
      this.#open = false;
    }
    if (isServing(after) && !isServing(before)) {
      this.#dials = 0;
      this.#spent = 0;
    }
    const healed = held(policy, before) && !held(policy, after);
    if (healed || isProgress(seen)) this.#spent = 1;
    if (event.type === 'stuck') this.#forced += 1;
    if (of(effects, 'dial').length > 0) {
      hold(!this.#open, 'attempts', () => `attempt ${this.#dials} was never told`);
      this.#dials += 1;
      this.#open = true;
      if (event.type !== 'stuck' && !held(policy, before)) this.#spent += 1;
    }
    hold(
      after.journey.attempt === this.#dials,
      'attempts',
      () => `state says ${after.journey.attempt}, dialled ${this.#dials}`,
    );
    const { maxAttempts } = policy.giveUp;
    if (maxAttempts === null) return;
    hold(this.#spent <= maxAttempts, 'max attempts', () => `${this.#spent} dials`);
    const ended = of(effects, 'finish').some(({ outcome }) => outcome === 'gave-up') && policy.giveUp.after === null;
    const enough = this.#spent + this.#forced >= maxAttempts;
    hold(!ended || enough, 'max attempts', () => `gave up after ${this.#spent} dials`);
  }
}

/** Neither before nor after the budget. */
export class Budget implements Rule {
  /** Start of the budget; null while a link serves. */
  #since: number | null = null;
  /** When the give-up timer is due. */
  #due: number | null = null;

  see(seen: Seen): void {
    const { policy, at, after, effects } = seen;
    this.#keep(seen);
    const budget = policy.giveUp.after;
    for (const { outcome } of of(effects, 'finish')) {
      // That attempts were enough is the business of another rule.
      const byAttempts = policy.giveUp.maxAttempts !== null && after.journey.attempt >= policy.giveUp.maxAttempts;
      const byTime = budget !== null && this.#since !== null && at.now >= this.#since + budget;
      hold(
        outcome !== 'gave-up' || byAttempts || byTime,
        'budget',
        () => `gave up ${(this.#since ?? 0) + (budget ?? 0) - at.now} ms early`,
      );
    }
    const runs = dialing(after) || after.status === 'waiting' || after.status === 'blocked';
    if (budget === null || !runs || held(policy, after)) return;
    const latest = (this.#since ?? at.now) + budget;
    const due = this.#due;
    hold(due !== null, 'budget', () => `state ${after.status} in which nothing will ever give up`);
    hold(
      (due ?? 0) <= Math.max(latest, at.now) + RECONSIDER,
      'budget',
      () => `gives up ${(due ?? 0) - latest} ms late`,
    );
  }

  #keep(seen: Seen): void {
    const { policy, before, event, at, after } = seen;
    this.#due = timerOf(seen, 'giveUp', this.#due);
    const reset = (): void => {
      this.#since = at.now;
    };
    if (event.type === 'start' && before.status === 'idle') reset();
    if (event.type === 'woke' && this.#since !== null) this.#since = Math.min(at.now, this.#since + event.slept);
    if (isServing(after)) this.#since = null;
    const lost = isServing(before) && !(isServing(after) && before.journey.epoch === after.journey.epoch);
    if (lost) reset();
    if (held(policy, before) && !held(policy, after) && after.status !== 'stopped') reset();
    if (isProgress(seen)) reset();
  }
}

/** When a slot is due after a step. */
function timerOf(
  { event, effects, at }: { event: Event; effects: Seen['effects']; at: Seen['at'] },
  slot: Slot,
  due: number | null,
): number | null {
  let left = event.type === 'timer' && event.slot === slot ? null : due;
  for (const effect of effects) {
    if (effect.type === 'clearTimer' && effect.slot === slot) left = null;
    if (effect.type === 'setTimer' && effect.slot === slot) left = at.now + effect.delay;
  }
  return left;
}
