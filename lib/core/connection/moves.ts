/** The moves that every part of the machine makes: enter a state, dial, stop, tell, set a timer. */
import type { Failure, Knowledge } from '../failure.js';
import type { At, Dialing, Effect, Journey, Online, Slot, State, Step, Stopped } from '../machine.js';
import type { Policy } from '../policy.js';
import type { Restart } from '../restart.js';
import type { Phase, Status, StopOutcome } from '../vocabulary.js';

/** Slots that die with the state that owns them. The others (`window`, `giveUp`) belong to the journey. */
const OWNED: Readonly<Record<Status, readonly Slot[]>> = {
  idle: [],
  connecting: ['connect'],
  handshaking: ['connect'],
  online: ['beat', 'settle', 'shutdown', 'drain'],
  waiting: ['retry'],
  blocked: ['retry'],
  closing: ['close'],
  stopped: [],
};

export function same(state: State): Step {
  return { state, effects: [] };
}

export function timer(slot: Slot, delay: number): Effect {
  return { type: 'setTimer', slot, delay };
}

export function clear(slot: Slot): Effect {
  return { type: 'clearTimer', slot };
}

export const RECORD: Effect = { type: 'record' };

export function shutGate(cut: boolean, failure: Failure | null): Effect {
  return { type: 'gate', gate: 'shut', cut, failure };
}

export function isDialing(state: State): state is Dialing {
  return state.status === 'connecting' || state.status === 'handshaking';
}

/** There is a socket, or one is being opened. */
export function isLinked(state: State): state is Dialing | Online {
  return isDialing(state) || state.status === 'online';
}

/** The failure that a state is about. */
export function failureOf(state: State): Failure | null {
  if (state.status === 'waiting' || state.status === 'blocked' || state.status === 'stopped') return state.failure;
  return isDialing(state) ? state.journey.failing : null;
}

export function knowledge(journey: Journey): Knowledge {
  return {
    restarting: journey.restart !== null,
    stopped: journey.gatewayStopped,
    draining: journey.drainingSince !== null,
  };
}

/** While a human is needed and the owner wants it held, the client never gives up. */
export function holds(policy: Policy, journey: Journey): boolean {
  return policy.onPermanent === 'hold' && journey.verdict !== null;
}

/** When the client gives up if nothing changes, in monotonic ms; null when it never does. */
export function giveUpAt(policy: Policy, state: State): number | null {
  const { budgetSince } = state.journey;
  const { after } = policy.giveUp;
  if (after === null || budgetSince === null || state.status === 'stopped' || holds(policy, state.journey)) return null;
  return budgetSince + after;
}

export function armGiveUp(policy: Policy, journey: Journey, now: number): Effect {
  const { after } = policy.giveUp;
  if (after === null || journey.budgetSince === null || holds(policy, journey)) return clear('giveUp');
  return timer('giveUp', Math.max(0, journey.budgetSince + after - now));
}

interface Told {
  readonly retryIn?: number;
  readonly downMs?: number | null;
}

/** Enters `next`: clears the slots that `state` owned, tells of the change, and has it recorded. */
export function enter(state: State, next: State, effects: readonly Effect[], told: Told = {}): Step {
  const keeps = OWNED[next.status];
  const cleared = OWNED[state.status].filter((slot) => !keeps.includes(slot)).map(clear);
  const notice: Effect = {
    type: 'notify',
    notice: {
      type: 'state',
      from: state.status,
      to: next.status,
      attempt: next.journey.attempt,
      failure: next.status === 'online' ? null : failureOf(next),
      retryIn: told.retryIn ?? null,
      restartId: next.journey.restart?.id ?? null,
      downMs: told.downMs ?? null,
    },
  };
  return { state: next, effects: [...cleared, ...effects, notice, RECORD] };
}

export function dial(policy: Policy, state: State, at: At): Step {
  const { journey } = state;
  const epoch = journey.epoch + 1;
  const spent = journey.spent + (holds(policy, journey) ? 0 : 1);
  const next: Dialing = {
    status: 'connecting',
    since: at.now,
    dialedAt: at.now,
    phase: 'provider',
    journey: { ...journey, epoch, attempt: journey.attempt + 1, spent },
  };
  return enter(state, next, [{ type: 'dial', epoch }, timer('connect', policy.connectTimeout)]);
}

export function stop(state: State, outcome: StopOutcome, failure: Failure | null, exitCode: number, at: At): Step {
  const { journey } = state;
  const next: Stopped = {
    status: 'stopped',
    since: at.now,
    outcome,
    exitCode,
    failure,
    journey: { ...journey, restart: null },
  };
  const elapsed = journey.budgetSince === null ? 0 : at.now - journey.budgetSince;
  const effects: Effect[] = [
    { type: 'hangUp', how: 'terminate' },
    clear('window'),
    clear('giveUp'),
    shutGate(isLinked(state), failure),
  ];
  if (outcome === 'gave-up' && failure !== null) {
    effects.push({ type: 'notify', notice: { type: 'giveup', failure, attempts: journey.attempt, elapsed } });
  }
  const step = enter(state, next, effects);
  const finish: Effect = { type: 'finish', outcome, exitCode, failure, attempts: journey.attempt, elapsed };
  return { state: step.state, effects: [...step.effects, finish] };
}

export function attemptNotice(
  state: Dialing,
  failure: Failure | null,
  retryIn: number | null,
  phase: Phase,
  at: At,
): Effect {
  return {
    type: 'notify',
    notice: {
      type: 'attempt',
      number: state.journey.attempt,
      phase,
      elapsed: at.now - state.dialedAt,
      failure,
      retryIn,
      restartId: state.journey.restart?.id ?? null,
    },
  };
}

export function restartBegan({ id, evidence, expectedMs }: Restart): Effect {
  return {
    type: 'notify',
    notice: {
      type: 'restart',
      id,
      phase: 'began',
      evidence,
      expectedMs: expectedMs ?? null,
      downMs: null,
      cancelled: false,
    },
  };
}

export function restartOver(
  { id, evidence }: Restart,
  phase: 'ended' | 'became-outage',
  downMs: number | null,
  cancelled = false,
): Effect {
  return { type: 'notify', notice: { type: 'restart', id, phase, evidence, expectedMs: null, downMs, cancelled } };
}

export function nextRestart(
  policy: Policy,
  journey: Journey,
  evidence: Restart['evidence'],
  expectedMs: number | null,
  now: number,
): Restart {
  return {
    id: `${policy.label}-restart-${journey.restarts + 1}`,
    evidence,
    since: now,
    ...(expectedMs !== null && { expectedMs }),
  };
}

/** A restart is known from here on. */
export function beginRestart(
  policy: Policy,
  journey: Journey,
  evidence: Restart['evidence'],
  expectedMs: number | null,
  at: At,
  effects: Effect[],
): Journey {
  const restart = nextRestart(policy, journey, evidence, expectedMs, at.now);
  effects.push(restartBegan(restart), timer('window', policy.restart.window));
  return { ...journey, restart, restarts: journey.restarts + 1, told: false, drainingSince: null, startingSince: null };
}
