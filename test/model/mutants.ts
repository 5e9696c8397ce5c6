/** Machines with one rule taken out, as wrappers of the real one: each must be caught, or the model proves nothing. */
import { type At, type Effect, type Event, INITIAL, type State, type Step } from '../../lib/core/machine.js';
import type { Policy } from '../../lib/core/policy.js';
import { notices } from './rules.js';
import type { Transition } from './sequences.js';

export interface Mutant {
  readonly name: string;
  /** The rules that may catch it. Anything else that breaks is not its doing. */
  readonly caughtBy: readonly string[];
  readonly make: (real: Transition) => Transition;
}

/** Changes what comes out. */
function after(
  name: string,
  caughtBy: readonly string[],
  change: (step: Step, before: State, event: Event, policy: Policy) => Step,
): Mutant {
  const make =
    (real: Transition): Transition =>
    (policy: Policy, state: State, event: Event, at: At): Step =>
      change(real(policy, state, event, at), state, event, policy);
  return { name, caughtBy, make };
}

/** Drops the effects that match. */
function drops(name: string, caughtBy: readonly string[], match: (effect: Effect) => boolean): Mutant {
  return after(name, caughtBy, ({ state, effects }) => ({
    state,
    effects: effects.filter((effect) => !match(effect)),
  }));
}

/** Rewrites the effects that match. */
function rewrites(name: string, caughtBy: readonly string[], change: (effect: Effect, step: Step) => Effect): Mutant {
  return after(name, caughtBy, (step) => ({
    state: step.state,
    effects: step.effects.map((effect) => change(effect, step)),
  }));
}

function failureOf({ state }: Step) {
  return state.status === 'waiting' || state.status === 'blocked' ? state.failure : null;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'without the epoch guard',
    caughtBy: ['old epoch'],
    make: (real) => (policy, state, event, at) =>
      real(policy, state, 'epoch' in event ? { ...event, epoch: state.journey.epoch } : event, at),
  },
  {
    name: 'that can be started again after its end',
    caughtBy: ['stopped absorbs'],
    make: (real) => (policy, state, event, at) =>
      real(policy, state.status === 'stopped' && event.type === 'start' ? INITIAL : state, event, at),
  },
  after('that forgives attempts at the hello', ['attempts'], (step, before) => {
    if (step.state.status !== 'online' || before.status === 'online') return step;
    return { ...step, state: { ...step.state, journey: { ...step.state.journey, attempt: 0 } } };
  }),
  after('that never forgives attempts', ['attempts'], (step, before) => {
    if (step.state.status !== 'online' || step.state.journey.attempt !== 0) return step;
    return { ...step, state: { ...step.state, journey: { ...step.state.journey, attempt: before.journey.attempt } } };
  }),
  {
    name: 'that counts one attempt too many',
    caughtBy: ['max attempts'],
    make: (real) => (policy, state, event, at) => {
      const { after, maxAttempts } = policy.giveUp;
      return real(
        { ...policy, giveUp: { after, maxAttempts: maxAttempts === null ? null : maxAttempts + 1 } },
        state,
        event,
        at,
      );
    },
  },
  {
    name: 'that gives up when half the budget is spent',
    caughtBy: ['budget'],
    make: (real) => (policy, state, event, at) => {
      const { after, maxAttempts } = policy.giveUp;
      return real({ ...policy, giveUp: { after: after === null ? null : after / 2, maxAttempts } }, state, event, at);
    },
  },
  drops('that never arms its budget', ['budget'], (effect) => effect.type === 'setTimer' && effect.slot === 'giveUp'),
  drops(
    'that does not stop its budget',
    ['orphan timer'],
    (effect) => effect.type === 'clearTimer' && effect.slot === 'giveUp',
  ),
  drops(
    'that does not stop the window of a restart',
    ['orphan timer'],
    (effect) => effect.type === 'clearTimer' && effect.slot === 'window',
  ),
  drops(
    'that forgets its next dial',
    ['next action'],
    (effect) => effect.type === 'setTimer' && effect.slot === 'retry',
  ),
  drops(
    'without a deadline over the dial',
    ['next action'],
    (effect) => effect.type === 'setTimer' && effect.slot === 'connect',
  ),
  drops('without a heartbeat', ['next action'], (effect) => effect.type === 'setTimer' && effect.slot === 'beat'),
  drops('that leaves a dead link open', ['one dial'], (effect) => effect.type === 'hangUp'),
  drops(
    'that does not tell how a restart ended',
    ['restarts'],
    (e) => e.type === 'notify' && e.notice.type === 'restart' && e.notice.phase === 'ended',
  ),
  drops(
    'that tells no attempt',
    ['attempts'],
    (effect) => effect.type === 'notify' && effect.notice.type === 'attempt',
  ),
  drops('that tells no state', ['chain'], (effect) => effect.type === 'notify' && effect.notice.type === 'state'),
  drops('that records nothing', ['chain'], (effect) => effect.type === 'record'),
  drops('that leaves calls hanging on a lost link', ['gate'], (effect) => effect.type === 'gate' && effect.cut),
  drops('that never says that it ended', ['one finish'], (effect) => effect.type === 'finish'),
  rewrites('that gives every restart the same id', ['restarts'], (effect) =>
    effect.type === 'notify' && effect.notice.type === 'restart'
      ? { ...effect, notice: { ...effect.notice, id: 'restart' } }
      : effect,
  ),
  rewrites('that ignores the hint of the gateway', ['delay'], (effect, step) =>
    effect.type === 'setTimer' && effect.slot === 'retry' && failureOf(step)?.retryAfter !== undefined
      ? { ...effect, delay: 50 }
      : effect,
  ),
  rewrites('that adds its jitter on top of the cap', ['delay'], (effect, step) =>
    effect.type === 'setTimer' && effect.slot === 'retry' && failureOf(step) !== null
      ? { ...effect, delay: effect.delay * 1.5 }
      : effect,
  ),
  rewrites('that hurries when credentials are refused', ['delay'], (effect, step) =>
    effect.type === 'setTimer' && effect.slot === 'retry' && step.state.status === 'blocked'
      ? { ...effect, delay: 1000 }
      : effect,
  ),
  rewrites('that exits 0 when it gives up', ['exit code'], (effect) =>
    effect.type === 'finish' ? { ...effect, exitCode: 0 } : effect,
  ),
  after('that lets calls out before the hello', ['gate'], (step, before) => {
    if (step.state.status !== 'handshaking' || before.status === 'handshaking') return step;
    return { ...step, effects: [...step.effects, { type: 'gate', gate: 'open', cut: false, failure: null }] };
  }),
  after('that ends for good where it should hold', ['patience'], (step, before, _event, policy) => {
    if (step.state.status !== 'blocked' || before.status === 'blocked' || policy.onPermanent === 'stop') return step;
    const { failure, journey, since } = step.state;
    const told = notices(step.effects).length > 0;
    const effects = step.effects.filter((effect) => effect.type !== 'notify' || effect.notice.type !== 'state');
    const notice = {
      type: 'state',
      from: before.status,
      to: 'stopped',
      attempt: 1,
      failure,
      retryIn: null,
      restartId: null,
      downMs: null,
    } as const;
    return {
      state: { status: 'stopped', since, journey, outcome: 'fatal', exitCode: 77, failure },
      effects: [
        ...effects,
        ...(told ? ([{ type: 'notify', notice }, { type: 'record' }] as const) : []),
        { type: 'finish', outcome: 'fatal', exitCode: 77, failure, attempts: 1, elapsed: 0 },
      ],
    };
  }),
];
