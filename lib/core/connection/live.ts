/** A dial succeeds, and what happens on the link after it. */
import type { At, Dialing, Effect, HelloFacts, Journey, Online, State, Step } from '../machine.js';
import { LIMITS, type Policy } from '../policy.js';
import { MAX_RESTART_HINT_MS, restartedBetween } from '../restart.js';
import { fail } from './ending.js';
import {
  armGiveUp,
  attemptNotice,
  beginRestart,
  clear,
  enter,
  holds,
  nextRestart,
  RECORD,
  restartBegan,
  restartOver,
  same,
  timer,
} from './moves.js';

export function onHello(policy: Policy, state: Dialing, hello: HelloFacts, at: At): Step {
  const before = state.journey;
  const effects: Effect[] = [clear('connect'), clear('window')];
  const journey = welcome(policy, before, hello, at, effects);
  const limit = silenceLimit(policy, hello.tickInterval);
  const next: Online = {
    status: 'online',
    since: at.now,
    serving: false,
    silenceLimit: limit,
    pingEvery: pingEvery(policy, limit),
    shutdown: false,
    proof: null,
    journey,
  };
  effects.push(timer('settle', policy.minUptime), armGiveUp(policy, journey, at.now));
  if (limit !== null) effects.push(timer('beat', next.pingEvery));
  effects.push(attemptNotice(state, null, null, 'online', at), {
    type: 'gate',
    gate: 'open',
    cut: false,
    failure: null,
  });
  return enter(state, next, effects, { downMs: before.lostAt === null ? null : at.now - before.lostAt });
}

/** What a hello makes of the journey: it ends a restart, or proves one that nobody announced, or shows that none was made. */
function welcome(policy: Policy, before: Journey, hello: HelloFacts, at: At, effects: Effect[]): Journey {
  const { restart } = before;
  const downMs = before.lostAt === null ? null : at.now - before.lostAt;
  const proof = restartedBetween(before.gateway, hello.identity);
  const cancelled = restart !== null && proof === undefined && before.gateway?.bootId !== undefined;
  const unannounced = restart === null && proof !== undefined && !before.told;
  if (restart !== null) effects.push(restartOver(restart, 'ended', downMs, cancelled));
  if (unannounced) {
    const seen = nextRestart(policy, before, proof, null, at.now);
    effects.push(restartBegan(seen), restartOver(seen, 'ended', downMs));
  }
  // A new instance is progress, and so is the end of a wait for a human: the budget starts anew.
  const progress = proof !== undefined || (restart !== null && !cancelled) || holds(policy, before);
  return {
    ...before,
    restart: null,
    restarts: before.restarts + (unannounced ? 1 : 0),
    told: false,
    falseAlarms: before.falseAlarms + (cancelled ? 1 : 0),
    gatewayStopped: false,
    startingSince: null,
    drainingSince: null,
    believed: 0,
    verdict: null,
    failing: null,
    gateway: hello.identity,
    lastConnectedAt: at.now,
    budgetSince: progress ? at.now : before.budgetSince,
    spent: progress ? 1 : before.spent,
  };
}

function silenceLimit(policy: Policy, tick: number): number | null {
  if (policy.heartbeat === null) return null;
  return policy.heartbeat.timeout ?? clamp(2 * tick, LIMITS.silence.min, LIMITS.silence.max);
}

/** A link is asked at least once before it is judged. */
function pingEvery(policy: Policy, limit: number | null): number {
  if (limit === null) return LIMITS.silence.max;
  return Math.min(policy.heartbeat?.ping ?? clamp(limit / 4, 1, 15_000), limit / 2);
}

/** Up for `minUptime`: earlier attempts are forgiven. */
export function onSettled(state: Online): Step {
  const journey: Journey = {
    ...state.journey,
    attempt: 0,
    spent: 0,
    failures: { outage: 0, restart: 0, blocked: 0 },
    falseAlarms: 0,
    strikes: null,
    budgetSince: null,
  };
  return { state: { ...state, serving: true, journey }, effects: [clear('giveUp'), RECORD] };
}

export function onShutdown(policy: Policy, state: Online, expected: number | null, at: At): Step {
  const effects: Effect[] = [];
  // The last word counts: a stop that turns out to be a restart, or the reverse.
  let journey: Journey = { ...state.journey, drainingSince: null, gatewayStopped: expected === null };
  if (expected !== null && journey.restart === null)
    journey = beginRestart(policy, journey, 'shutdown', expected, at, effects);
  const grace = Math.min(expected ?? 0, MAX_RESTART_HINT_MS) + LIMITS.shutdownGrace;
  // Nothing is written from here on. After a stop, what waits for the link fails as soon as the link is gone.
  effects.push(
    clear('drain'),
    timer('shutdown', grace),
    { type: 'gate', gate: 'hold', cut: false, failure: null },
    RECORD,
  );
  return { state: { ...state, shutdown: true, journey }, effects };
}

export function onDraining(state: Online, at: At): Step {
  if (state.journey.drainingSince !== null) return same(state);
  const journey = { ...state.journey, drainingSince: at.now };
  return { state: { ...state, journey }, effects: [timer('drain', LIMITS.drainLimit), RECORD] };
}

export function onServed(state: Online): Step {
  if (state.journey.drainingSince === null) return same(state);
  return { state: { ...state, journey: { ...state.journey, drainingSince: null } }, effects: [clear('drain'), RECORD] };
}

/** A look at the link: has anything been heard, is it time to ask, is it time to judge? */
export function onBeat(policy: Policy, state: Online, late: number, heardAt: number, at: At): Step {
  const { silenceLimit: limit, pingEvery: every } = state;
  if (limit === null) return same(state);
  const proof = state.proof !== null && heardAt >= state.proof.from ? null : state.proof;
  const silent = at.now - heardAt;
  if (proof !== null && at.now >= proof.by) return fail(policy, state, { kind: 'silence', ms: silent }, at);
  if (silent >= limit && proof === null) {
    if (late <= LIMITS.late) return fail(policy, state, { kind: 'silence', ms: silent }, at);
    // We were late ourselves: what the gateway sent meanwhile may lie unread. Ask, and judge once it was read.
    return askForProof(state, limit, at);
  }
  const left = proof === null ? limit - silent : proof.by - at.now;
  const effects: Effect[] = silent >= every * 0.9 ? [{ type: 'ping' }] : [];
  return { state: { ...state, proof }, effects: [...effects, timer('beat', Math.max(1, Math.min(every, left)))] };
}

/** After a sleep: ping, and believe in the link only when something is heard soon. */
function askForProof(state: Online, limit: number, at: At): Step {
  const grace = Math.min(limit, LIMITS.silence.min);
  const next: Online = { ...state, proof: { from: at.now, by: at.now + grace } };
  return { state: next, effects: [{ type: 'ping' }, timer('beat', grace)] };
}

/** Sleep costs no budget, forgets no link and keeps no old delay. */
export function onWoke(policy: Policy, state: State, slept: number, at: At): Step {
  const { journey } = state;
  const budgetSince = journey.budgetSince === null ? null : Math.min(at.now, journey.budgetSince + slept);
  const moved: Journey = { ...journey, budgetSince };
  const budget = state.status === 'stopped' || state.status === 'closing' ? [] : [armGiveUp(policy, moved, at.now)];
  if (state.status === 'online' && state.silenceLimit !== null) {
    const step = askForProof({ ...state, journey: moved }, state.silenceLimit, at);
    return { state: step.state, effects: [...budget, ...step.effects] };
  }
  // What the gateway ordered is obeyed after a sleep as before it.
  if (state.status !== 'waiting' || state.failure?.retryAfter !== undefined)
    return { state: { ...state, journey: moved }, effects: budget };
  const fresh: Journey = { ...moved, failures: { ...moved.failures, outage: 0, restart: 0 } };
  const delay = Math.min(Math.max(state.until - at.now, 0), policy.outage.initialDelay);
  return {
    state: { ...state, until: at.now + delay, journey: fresh },
    effects: [...budget, timer('retry', delay), RECORD],
  };
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
