/**
 * The connection machine. `transition` is pure: time and chance enter as numbers, and everything to be done comes out
 * as data. A recorded list of (event, now, draw) replays exactly. The rules are here and in `connection/`: `live` for
 * links, `ending` for the ends of dials and links, `moves` for what both do.
 */
import { FLOOR_MS } from './backoff.js';
import { fail, gateFor } from './connection/ending.js';
import { onBeat, onDraining, onHello, onServed, onSettled, onShutdown, onWoke } from './connection/live.js';
import {
  armGiveUp,
  attemptNotice,
  dial,
  enter,
  holds,
  isDialing,
  isLinked,
  knowledge,
  RECORD,
  restartOver,
  same,
  shutGate,
  stop,
  timer,
} from './connection/moves.js';
import { classify, exitCodeOf, type Failure } from './failure.js';
import { unreachable } from './invariant.js';
import type { At, Dialing, Effect, Event, Journey, State, Step, Waiting } from './machine.js';
import { earliestWhenReady } from './pacing.js';
import { LIMITS, type Policy } from './policy.js';
import { EXIT, type Phase } from './vocabulary.js';

export { failureOf, giveUpAt, isDialing, knowledge } from './connection/moves.js';

export function transition(policy: Policy, state: State, event: Event, at: At): Step {
  if (state.status === 'stopped') return same(state);
  // An event of an older dial changes nothing, whatever it says.
  if ('epoch' in event && event.epoch !== state.journey.epoch) return same(state);
  switch (event.type) {
    case 'start':
      return state.status === 'idle' ? onStart(policy, state, at) : same(state);
    case 'close':
      return onClose(state, at);
    case 'target':
      return same({ ...state, journey: { ...state.journey, loopback: event.loopback } });
    case 'phase':
      return isDialing(state) ? onPhase(state, event.phase, at) : same(state);
    case 'hello':
      return isDialing(state) ? onHello(policy, state, event.hello, at) : same(state);
    case 'down':
      if (state.status === 'closing') return stop(state, 'closed', null, EXIT.closed, at);
      return isLinked(state) ? fail(policy, state, event.evidence, at) : same(state);
    case 'shutdown':
      return state.status === 'online' ? onShutdown(policy, state, event.restartExpectedMs, at) : same(state);
    case 'replaced':
      return state.status === 'online'
        ? fail(policy, state, { kind: 'replaced', times: event.times }, at)
        : same(state);
    case 'draining':
      return state.status === 'online' ? onDraining(state, at) : same(state);
    case 'served':
      return state.status === 'online' ? onServed(state) : same(state);
    case 'ready':
      return state.status === 'waiting' ? onReady(policy, state, at) : same(state);
    case 'woke':
      return onWoke(policy, state, event.slept, at);
    case 'timer':
      return onTimer(policy, state, event, at);
    case 'stuck':
      return onStuck(policy, state, event.times, at);
    default:
      return unreachable(event);
  }
}

function onStart(policy: Policy, state: State, at: At): Step {
  const begun: State = { ...state, journey: { ...state.journey, budgetSince: at.now } };
  const budget = armGiveUp(policy, begun.journey, at.now);
  const gate: Effect = { type: 'gate', gate: 'hold', cut: false, failure: null };
  // Cloned machines of a fleet start in the same second.
  if (policy.fleet) {
    const delay = at.draw * policy.spread.remote;
    const next: Waiting = {
      status: 'waiting',
      since: at.now,
      until: at.now + delay,
      failure: null,
      journey: begun.journey,
    };
    return enter(state, next, [budget, gate, timer('retry', delay)], { retryIn: delay });
  }
  const step = dial(policy, begun, at);
  return { state: step.state, effects: [budget, gate, ...step.effects] };
}

function onClose(state: State, at: At): Step {
  if (state.status === 'closing') return same(state);
  if (state.status !== 'online') return stop(state, 'closed', null, EXIT.closed, at);
  const hangUp: Effect = { type: 'hangUp', how: 'close' };
  const next: State = { status: 'closing', since: at.now, journey: state.journey };
  return enter(state, next, [shutGate(true, null), hangUp, timer('close', LIMITS.closeGrace)]);
}

function onPhase(state: Dialing, phase: Phase, at: At): Step {
  const open = phase === 'challenge' || phase === 'hello';
  if (!open || state.status === 'handshaking') return same({ ...state, phase });
  // The deadline covers the whole dial: its slot goes on running.
  return enter(state, { ...state, phase, status: 'handshaking', since: at.now }, []);
}

/** The gateway's own probe says that it is ready: no need to wait out its hint, and no reason to hammer it either. */
function onReady(policy: Policy, state: Waiting, at: At): Step {
  if (state.failure?.reason !== 'gateway-starting') return same(state);
  const earliest = earliestWhenReady(state.journey, state.since);
  if (earliest >= state.until) return same(state);
  const believing: Waiting = { ...state, journey: { ...state.journey, believed: state.journey.believed + 1 } };
  if (at.now >= earliest) return dial(policy, believing, at);
  return { state: { ...believing, until: earliest }, effects: [timer('retry', earliest - at.now), RECORD] };
}

function onTimer(policy: Policy, state: State, event: Extract<Event, { type: 'timer' }>, at: At): Step {
  switch (event.slot) {
    case 'connect':
      return isDialing(state)
        ? fail(policy, state, { kind: 'deadline', phase: state.phase, ms: policy.connectTimeout }, at)
        : same(state);
    case 'retry':
      return state.status === 'waiting' || state.status === 'blocked' ? dial(policy, state, at) : same(state);
    case 'beat':
      return state.status === 'online' ? onBeat(policy, state, event.late, event.heardAt, at) : same(state);
    case 'settle':
      return state.status === 'online' ? onSettled(state) : same(state);
    case 'shutdown':
      if (state.status !== 'online') return same(state);
      return fail(
        policy,
        state,
        { kind: 'closed', phase: 'online', code: 1006, reason: 'still open after shutdown' },
        at,
      );
    case 'drain':
      if (state.status !== 'online') return same(state);
      return fail(
        policy,
        { ...state, journey: { ...state.journey, drainingSince: null } },
        { kind: 'drained', ms: LIMITS.drainLimit },
        at,
      );
    case 'close':
      return state.status === 'closing' ? stop(state, 'closed', null, EXIT.closed, at) : same(state);
    case 'window':
      return onWindow(policy, state, at);
    case 'giveUp':
      return onGiveUp(policy, state, event.late, at);
    default:
      return unreachable(event.slot);
  }
}

/** The restart took longer than its window: from here on it is an outage, for pace and for waiting calls alike. */
function onWindow(policy: Policy, state: State, at: At): Step {
  const { restart } = state.journey;
  if (restart === null) return same(state);
  const failing = asOutage(state.status === 'waiting' ? state.failure : state.journey.failing);
  const lastFailure = failing ?? state.journey.lastFailure;
  const journey: Journey = { ...state.journey, restart: null, told: true, failing, lastFailure };
  const effects: Effect[] = [restartOver(restart, 'became-outage', null)];
  // A link that was announced to end is cut by its own timer.
  if (failing !== null && state.status !== 'online') {
    effects.push({ type: 'gate', gate: gateFor(journey, failing), cut: false, failure: failing });
  }
  if (state.status !== 'waiting') return { state: { ...state, journey }, effects: [...effects, RECORD] };
  // From afar the wait may be as long as the gateway announced: no longer than an outage waits.
  const latest = at.now + Math.max(policy.outage.maxDelay, FLOOR_MS);
  if (state.until > latest) effects.push(timer('retry', latest - at.now));
  const until = Math.min(state.until, latest);
  return { state: { ...state, journey, failure: failing, until }, effects: [...effects, RECORD] };
}

function asOutage(failure: Failure | null): Failure | null {
  return failure?.reason === 'gateway-restart' ? { ...failure, reason: 'outage' } : failure;
}

function onGiveUp(policy: Policy, state: State, late: number, at: At): Step {
  if (!isDialing(state) && state.status !== 'waiting' && state.status !== 'blocked') return same(state);
  if (holds(policy, state.journey)) return same(state);
  // We slept. The event that says for how long moves the budget; until then nothing is decided.
  if (late > LIMITS.late) return { state, effects: [timer('giveUp', LIMITS.late * 10)] };
  const { now } = at;
  const hung = (phase: Phase): Failure =>
    classify({ kind: 'deadline', phase, ms: Math.round(now - state.since) }, knowledge(state.journey));
  const failure =
    (isDialing(state) ? state.journey.failing : state.failure) ?? hung(isDialing(state) ? state.phase : 'provider');
  const effects: Effect[] = isDialing(state) ? [attemptNotice(state, failure, null, state.phase, at)] : [];
  const step = stop(state, failure.action === 'soon' ? 'gave-up' : 'fatal', failure, exitCodeOf(failure), at);
  return { state: step.state, effects: [...effects, ...step.effects] };
}

/** A live state lost its next action: a bug of ours. Dial anew; the second time end, so that a fresh process takes over. */
function onStuck(policy: Policy, state: State, times: number, at: At): Step {
  if (state.status === 'idle' || state.status === 'stopped') return same(state);
  if (state.status === 'closing') return stop(state, 'closed', null, EXIT.closed, at);
  const failure = brokenInvariant(state);
  if (times > 1) return stop(state, 'fatal', failure, EXIT.broken, at);
  const online = state.status === 'online';
  const lostAt = online ? at.now : state.journey.lostAt;
  const journey: Journey = {
    ...state.journey,
    lostAt,
    budgetSince: state.journey.budgetSince ?? at.now,
    lastFailure: failure,
    failing: failure,
  };
  const effects: Effect[] = [
    { type: 'hangUp', how: 'terminate' },
    shutGate(online, failure),
    armGiveUp(policy, journey, at.now),
  ];
  if (isDialing(state)) effects.push(attemptNotice(state, failure, 0, state.phase, at));
  const step = dial(policy, { ...state, journey }, at);
  return { state: step.state, effects: [...effects, ...step.effects] };
}

/** Not even the step of the self-check can be made: nothing is left but a fresh process. */
export function abandon(state: State, at: At): Step {
  return stop(state, 'fatal', brokenInvariant(state), EXIT.broken, at);
}

function brokenInvariant(state: State): Failure {
  return {
    reason: 'local',
    action: 'soon',
    phase: 'online',
    code: 'HOLDFAST_INVARIANT',
    message: `state ${state.status} lost its next action`,
    remedy: 'A bug of holdfast: report it with the trace in the log. The second time a fresh process goes on.',
  };
}
