/** Generated lives of the machine: a policy, and moves that are interpreted against the state they meet. */
import fc from 'fast-check';
import { transition } from '../../lib/core/connection.js';
import type { Evidence } from '../../lib/core/failure.js';
import { type Event, INITIAL, type Slot, type State, type Step } from '../../lib/core/machine.js';
import type { Policy } from '../../lib/core/policy.js';
import { closed, DRAINING, NOBODY, refused, STARTING, WRONG_TOKEN } from './machine.js';
import { Absorbs, Chain, Finish, Gates, OneDial, Restarts, type Rule } from './rules.js';
import { Attempts, Budget, Delays, Timers } from './timing.js';

export type Transition = typeof transition;

/** An event without its epoch; `age` says how many dials ago it belonged, negative: a dial that never was. */
type Template = Event extends infer E ? (E extends Event ? Omit<E, 'epoch'> : never) : never;

export type Move =
  | { readonly do: 'event'; readonly event: Template; readonly age: number }
  /** The timer that is due next fires, late; the link was last heard so long ago. */
  | { readonly do: 'fire'; readonly late: number; readonly silent: number }
  | { readonly do: 'pass'; readonly ms: number };

export interface Life {
  readonly policy: Policy;
  readonly moves: readonly Move[];
  readonly draws: readonly number[];
}

const hint: fc.Arbitrary<number> = fc.constantFrom(0, 1, 500, 1500, 60_000, 300_000, 1e12);

const evidence: fc.Arbitrary<Evidence> = fc.oneof(
  { arbitrary: fc.constant(NOBODY), weight: 6 },
  fc.constantFrom(WRONG_TOKEN, STARTING, DRAINING),
  hint.map((retryAfterMs) =>
    refused('INVALID_REQUEST', { code: 'AUTH_RATE_LIMITED' }, { retryable: true, retryAfterMs }),
  ),
  hint.map((retryAfterMs) => refused('INVALID_REQUEST', { code: 'AUTH_UNAUTHORIZED' }, { retryAfterMs })),
  hint.map((retryAfterMs) => refused('UNAVAILABLE', { reason: 'startup-sidecars' }, { retryAfterMs })),
  fc
    .constantFrom('PAIRING_REQUIRED', 'PROTOCOL_MISMATCH', 'DEVICE_AUTH_NONCE_MISMATCH')
    .map((code) => refused('NOT_PAIRED', { code })),
  fc.constantFrom(1000, 1002, 1006, 1008, 1011, 1013, 4001).map((code) => closed(code)),
  {
    arbitrary: fc.constantFrom('service restart', 'node capabilities changed').map((reason) => closed(1012, reason)),
    weight: 3,
  },
  fc.constantFrom(401, 404, 429, 503).map((status): Evidence => ({ kind: 'upgrade', status, body: '' })),
  fc.record({
    kind: fc.constant('upgrade' as const),
    status: fc.constantFrom(429, 503),
    body: fc.constant(''),
    retryAfterMs: hint,
  }),
  fc.constant<Evidence>({ kind: 'garbage', phase: 'challenge', code: 'BAD_CHALLENGE', message: '' }),
  fc.constant<Evidence>({ kind: 'provider', provider: 'token', code: 'PROVIDER_FAILED', message: '' }),
  fc.constant<Evidence>({ kind: 'trust', code: 'HOLDFAST_TLS_PIN', message: '' }),
);

const template: fc.Arbitrary<Template> = fc.oneof(
  { arbitrary: fc.record({ type: fc.constant('down' as const), evidence }), weight: 12 },
  {
    arbitrary: fc.record({
      type: fc.constant('hello' as const),
      hello: fc.record({
        identity: fc.constantFrom({ bootId: 'a' }, { bootId: 'b' }, { version: '1' }, { version: '2' }, {}),
        tickInterval: fc.constantFrom(1000, 30_000, 3_600_000),
      }),
    }),
    weight: 8,
  },
  {
    arbitrary: fc.record({
      type: fc.constant('shutdown' as const),
      restartExpectedMs: fc.constantFrom(null, 0, 1500, 1e9),
    }),
    weight: 3,
  },
  fc.record({ type: fc.constant('target' as const), loopback: fc.boolean() }),
  fc.record({
    type: fc.constant('phase' as const),
    phase: fc.constantFrom('tcp' as const, 'challenge' as const, 'hello' as const),
  }),
  fc.constantFrom<Template>({ type: 'draining' }, { type: 'served' }, { type: 'ready' }),
  fc.record({ type: fc.constant('woke' as const), slept: fc.constantFrom(0, 6000, 28_800_000) }),
  fc.constantFrom<Template>(
    { type: 'start' },
    { type: 'close' },
    { type: 'stuck', times: 1 },
    { type: 'stuck', times: 2 },
  ),
);

const move: fc.Arbitrary<Move> = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant('event' as const), event: template, age: fc.constant(0) }), weight: 10 },
  {
    arbitrary: fc.record({ do: fc.constant('event' as const), event: template, age: fc.constantFrom(1, 2, -1) }),
    weight: 2,
  },
  {
    arbitrary: fc.record({
      do: fc.constant('fire' as const),
      late: fc.oneof({ arbitrary: fc.constant(0), weight: 5 }, fc.constantFrom(1, 900, 1100, 60_000)),
      silent: fc.constantFrom(0, 0, 1000, 59_000, 61_000, 600_000),
    }),
    weight: 8,
  },
  {
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 1, 40, 1000, 15_000, 120_000) }),
    weight: 2,
  },
);

const delays: fc.Arbitrary<readonly [number, number]> = fc.constantFrom(
  [0, 0] as const,
  [0, 1000] as const,
  [50, 250] as const,
  [1000, 30_000] as const,
);

const policy: fc.Arbitrary<Policy> = fc
  .record({
    outage: delays,
    restart: delays,
    blocked: fc.constantFrom([0, 0] as const, [15_000, 60_000] as const),
    factor: fc.constantFrom(1, 1.5, 2),
    jitter: fc.constantFrom(0, 0.5, 1),
    minUptime: fc.constantFrom(0, 10_000),
    spread: fc.constantFrom(0, 250, 5000),
    fleet: fc.boolean(),
    after: fc.constantFrom(null, 1000, 60_000, 600_000),
    maxAttempts: fc.constantFrom(null, null, 1, 3, 8),
    onPermanent: fc.constantFrom('hold' as const, 'stop' as const),
    heartbeat: fc.constantFrom(null, { timeout: null, ping: null }, { timeout: 1000, ping: 200 }),
  })
  .map(({ outage, restart, blocked, factor, jitter, spread, after, maxAttempts, ...rest }) => {
    const profile = ([initialDelay, maxDelay]: readonly [number, number]) => ({
      initialDelay,
      maxDelay,
      factor,
      jitter,
    });
    return {
      ...rest,
      label: 'model',
      outage: profile(outage),
      restart: { loopback: profile(restart), remote: profile(restart), window: 60_000 },
      blocked: { ...profile(blocked), jitter: 0 },
      connectTimeout: 20_000,
      spread: { loopback: spread, remote: spread },
      giveUp: { after, maxAttempts },
    };
  });

export const lives: fc.Arbitrary<Life> = fc.record({
  policy,
  moves: fc.array(move, { minLength: 1, maxLength: 60, size: 'max' }),
  draws: fc.array(fc.constantFrom(0, 0.25, 0.5, 1 - 2 ** -53), { minLength: 1, maxLength: 8 }),
});

/**
 * Lives one life and looks at every step.
 * @throws Broken with the name of the rule
 */
export function live(life: Life, step: Transition = transition): State {
  const timers = new Timers();
  const rules: Rule[] = [
    new Absorbs(),
    new OneDial(),
    new Chain(),
    new Restarts(),
    new Gates(),
    new Finish(),
    timers,
    new Delays(),
    new Attempts(),
    new Budget(),
  ];
  let state: State = INITIAL;
  let now = 0;
  let steps = 0;
  const take = (event: Event): void => {
    const at = { now, draw: life.draws[steps % life.draws.length] ?? 0 };
    steps += 1;
    const { state: after, effects }: Step = step(life.policy, state, event, at);
    for (const rule of rules) rule.see({ policy: life.policy, before: state, event, at, after, effects });
    state = after;
  };
  take({ type: 'start' });
  for (const next of life.moves) {
    if (next.do === 'pass') now += next.ms;
    else if (next.do === 'event') take(dated(next.event, state.journey.epoch - next.age));
    else {
      const due = earliest(timers.table);
      if (due === null) continue;
      now = Math.max(now, due.at + next.late);
      take({ type: 'timer', slot: due.slot, late: now - due.at, heardAt: Math.max(now - next.silent, 0) });
    }
  }
  return state;
}

const UNDATED: ReadonlySet<Event['type']> = new Set(['start', 'close', 'woke', 'stuck', 'timer']);

function dated(event: Template, epoch: number): Event {
  return (UNDATED.has(event.type) ? event : { ...event, epoch }) as Event;
}

function earliest(table: ReadonlyMap<Slot, number>): { slot: Slot; at: number } | null {
  let found: { slot: Slot; at: number } | null = null;
  for (const [slot, at] of table) if (found === null || at < found.at) found = { slot, at };
  return found;
}
