/** One dial or one link is over: what it means, whether to go on, and when. */
import { classify, type Evidence, exitCodeOf, type Failure, isRestartClose } from '../failure.js';
import type { At, Dialing, Effect, Gate, Journey, Online, State, Step, Waiting } from '../machine.js';
import { countFailure, isFinal, judgeInContext, type Pace, pace } from '../pacing.js';
import type { Policy } from '../policy.js';
import type { RestartEvidence } from '../restart.js';
import {
  armGiveUp,
  attemptNotice,
  beginRestart,
  clear,
  enter,
  isDialing,
  knowledge,
  restartOver,
  stop,
  timer,
} from './moves.js';

export function fail(policy: Policy, state: Dialing | Online, evidence: Evidence, at: At): Step {
  const effects: Effect[] = [{ type: 'hangUp', how: 'terminate' }];
  const known = learnFromEnd(policy, state, evidence, at, effects);
  const failure = judgeInContext(known, classify(evidence, knowledge(known)), at.now);
  const informed = learnFromVerdict(policy, known, evidence, failure, at, effects);
  const counted = countFailure(informed, failure, at.now);
  const planned = pace(policy, counted, failure, isDialing(state) ? at.now - state.dialedAt : 0, at.now, at.draw);
  const journey = advance(policy, counted, planned, state, at);
  const ended = { ...state, journey };
  const end = endOf(policy, journey, failure, at.now);
  if (isDialing(ended))
    effects.push(attemptNotice(ended, failure, end === null ? planned.delay : null, failure.phase, at));
  const step =
    end === null ? rest(policy, ended, failure, planned, at) : stop(ended, end.outcome, failure, end.exitCode, at);
  return { state: step.state, effects: [...effects, ...step.effects] };
}

/** What the end of this dial or link says about the gateway, before its reason is decided. */
function learnFromEnd(policy: Policy, state: Dialing | Online, evidence: Evidence, at: At, effects: Effect[]): Journey {
  let { journey } = state;
  if (state.status === 'online') journey = { ...journey, lostAt: at.now, budgetSince: journey.budgetSince ?? at.now };
  const suspected = suspicion(journey, evidence, state.status === 'online');
  return suspected === null ? journey : beginRestart(policy, journey, suspected, null, at, effects);
}

/** An end such as those of a gateway that restarts, although no `shutdown` event told of it. */
function suspicion(journey: Journey, evidence: Evidence, online: boolean): RestartEvidence | null {
  if (journey.restart !== null || journey.gatewayStopped) return null;
  if (evidence.kind === 'closed' && isRestartClose(evidence.code, evidence.reason)) return 'close-1012';
  // It drained, and now the link is gone or nothing listens any more.
  const gone = (evidence.kind === 'closed' && online) || (evidence.kind === 'socket' && !journey.told);
  return gone && journey.drainingSince !== null ? 'draining' : null;
}

function learnFromVerdict(
  policy: Policy,
  journey: Journey,
  evidence: Evidence,
  failure: Failure,
  at: At,
  effects: Effect[],
): Journey {
  const { restart } = journey;
  const starting = failure.reason === 'gateway-starting';
  if (starting && restart === null && journey.lastConnectedAt !== null && !journey.told && !journey.gatewayStopped) {
    return beginRestart(policy, journey, 'starting', null, at, effects);
  }
  // A gateway that refuses us for what we are is up again: its restart is over, our trouble is another.
  if (restart !== null && evidence.kind === 'refused' && failure.action !== 'soon') {
    effects.push(clear('window'), restartOver(restart, 'ended', null));
    return { ...journey, restart: null, told: true };
  }
  return journey;
}

/** Counters of the profile that paced this failure; the budget starts anew when a human's trouble gives way to another. */
function advance(policy: Policy, journey: Journey, planned: Pace, state: Dialing | Online, at: At): Journey {
  const failures = { ...journey.failures, [planned.profile]: journey.failures[planned.profile] + 1 };
  if (planned.profile !== 'blocked') failures.blocked = 0;
  const healed = state.journey.verdict !== null && policy.onPermanent === 'hold' && planned.profile !== 'blocked';
  return healed ? { ...journey, failures, budgetSince: at.now, spent: 1 } : { ...journey, failures };
}

/** Whether this failure is the last, and how the client ends then. A verdict for a human is `fatal`, whichever clock it meets. */
function endOf(
  policy: Policy,
  journey: Journey,
  failure: Failure,
  now: number,
): { outcome: 'gave-up' | 'fatal'; exitCode: number } | null {
  const permanent = failure.action !== 'soon';
  if (permanent && policy.onPermanent === 'hold') return null;
  const over = isOverBudget(policy, journey, now) || isFinal(policy, journey, now);
  return over ? { outcome: permanent ? 'fatal' : 'gave-up', exitCode: exitCodeOf(failure) } : null;
}

function isOverBudget(policy: Policy, journey: Journey, now: number): boolean {
  const { after, maxAttempts } = policy.giveUp;
  if (maxAttempts !== null && journey.spent >= maxAttempts) return true;
  return after !== null && journey.budgetSince !== null && now >= journey.budgetSince + after;
}

function rest(policy: Policy, state: State, failure: Failure, planned: Pace, at: At): Step {
  const { journey } = state;
  const next: Waiting = {
    status: planned.profile === 'blocked' ? 'blocked' : 'waiting',
    since: at.now,
    until: at.now + planned.delay,
    failure,
    journey,
  };
  const effects: Effect[] = [
    { type: 'gate', gate: gateFor(journey, failure), cut: state.status === 'online', failure },
    timer('retry', planned.delay),
    armGiveUp(policy, journey, at.now),
  ];
  if (failure.reason === 'gateway-starting' && journey.loopback)
    effects.push({ type: 'watchReadiness', epoch: journey.epoch });
  return enter(state, next, effects, { retryIn: planned.delay });
}

/** Whether calls wait for the end of this failure, or fail of it. */
export function gateFor(journey: Journey, failure: Failure): Gate {
  if (failure.action !== 'soon') return 'shut';
  if (failure.reason === 'gateway-starting' || failure.reason === 'gateway-draining') return 'hold';
  return journey.restart !== null && failure.reason === 'gateway-restart' ? 'hold' : 'shut';
}
