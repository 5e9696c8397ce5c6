import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { AttemptFailure } from '../../lib/core/call-verdicts.js';
import { type CallFacts, costsToken, type Decision, decide, type LinkFacts } from '../../lib/core/retry.js';
import { type CallOutcome, REASONS, type Reason, type Safety } from '../../lib/core/vocabulary.js';

const NOW = 1_000_000;
const OPEN: LinkFacts = { gate: 'open', reason: null, bootId: 'boot-1' };
const HOLD: LinkFacts = { gate: 'hold', reason: 'gateway-restart' };
const SHUT: LinkFacts = { gate: 'shut', reason: 'outage' };

function callOf(over: Partial<CallFacts> = {}): CallFacts {
  return {
    method: 'agents.list',
    safety: 'read',
    retry: 'restart',
    maxAttempts: null,
    attempts: 1,
    deadlineAt: NOW + 120_000,
    canConfirm: false,
    durableKey: false,
    ...over,
  };
}

function failureOf(reason: Reason, outcome: CallOutcome, over: Partial<AttemptFailure> = {}): AttemptFailure {
  return { reason, outcome, code: 'X', message: 'x', remedy: 'x', permanent: false, ...over };
}

function said(
  call: Partial<CallFacts>,
  failure: AttemptFailure,
  link: LinkFacts = OPEN,
  tokens = 100,
  draw = 0.5,
): string {
  const decision = decide(callOf(call), failure, link, tokens, NOW, draw);
  if (decision.do === 'stop') return `stop ${decision.because}`;
  if (decision.do === 'wait') return decision.recheck === true ? 'wait recheck' : 'wait';
  return decision.do;
}

describe('the default retry', () => {
  it('rides out a restart: repeats what may be repeated, stops what may not', () => {
    const cut = failureOf('gateway-restart', 'unknown');
    assert.equal(said({ safety: 'read' }, cut, HOLD), 'wait');
    assert.equal(said({ safety: 'repeatable' }, cut, HOLD), 'wait');
    assert.equal(said({ safety: 'once' }, cut, HOLD), 'stop safety');
    assert.equal(said({ safety: 'once', canConfirm: true }, cut, HOLD), 'confirm');
  });

  it('sends anything again that was not sent or not executed', () => {
    assert.equal(said({ safety: 'once' }, failureOf('gateway-restart', 'not-sent'), HOLD), 'wait');
    assert.equal(
      said({ safety: 'once' }, failureOf('gateway-draining', 'not-executed', { retryAfter: 1000 })),
      'retry',
    );
    assert.equal(said({ safety: 'once' }, failureOf('gateway-starting', 'not-executed')), 'retry');
  });

  it('fails at once on everything that is no restart', () => {
    for (const reason of [
      'outage',
      'unresponsive',
      'gateway-stopped',
      'unauthorized',
      'timeout',
      'rejected',
      'protocol',
      'local',
    ] as const) {
      assert.equal(said({}, failureOf(reason, 'not-sent'), SHUT), 'stop policy', reason);
      assert.equal(said({}, failureOf(reason, 'unknown'), OPEN), 'stop policy', reason);
    }
  });

  it('fails once a restart has become an outage', () => {
    assert.equal(said({}, failureOf('gateway-restart', 'not-sent'), SHUT), 'stop policy');
  });

  it('takes a plain network failure for part of the restart that the link knows of', () => {
    assert.equal(said({}, failureOf('outage', 'unknown'), HOLD), 'wait');
    assert.equal(said({}, failureOf('rejected', 'unknown'), HOLD), 'stop policy');
  });

  it('waits out limits, a full queue, the settle window and an invitation', () => {
    assert.equal(said({ safety: 'once' }, failureOf('rate-limited', 'not-executed')), 'retry');
    assert.equal(said({ safety: 'once' }, failureOf('rejected', 'not-executed', { settling: true })), 'retry');
    assert.equal(said({ safety: 'once' }, failureOf('rejected', 'not-executed', { invited: true })), 'retry');
  });
});

describe('the other retries', () => {
  it('always: waits out outages too, but nothing that a human has to mend', () => {
    const always = { retry: 'always' } as const;
    assert.equal(said(always, failureOf('outage', 'not-sent'), SHUT), 'wait');
    assert.equal(said(always, failureOf('gateway-stopped', 'unknown'), SHUT), 'wait');
    assert.equal(said({ ...always, safety: 'once' }, failureOf('outage', 'unknown'), SHUT), 'stop safety');
    assert.equal(
      said(always, failureOf('outage', 'not-sent'), { gate: 'shut', reason: 'unauthorized' }),
      'stop policy',
    );
    assert.equal(said(always, failureOf('unauthorized', 'not-sent'), SHUT), 'stop policy');
    assert.equal(said(always, failureOf('rejected', 'unknown')), 'stop policy');
  });

  it('always: repeats an attempt that timed out only where two copies do no harm', () => {
    const slow = failureOf('timeout', 'unknown');
    assert.equal(said({ retry: 'always', safety: 'read' }, slow), 'retry');
    assert.equal(said({ retry: 'always', safety: 'keyed', sentTo: 'boot-1', sentAt: NOW }, slow), 'stop policy');
    assert.equal(said({ retry: 'always', safety: 'once' }, slow), 'stop policy');
    assert.equal(said({ retry: 'always', safety: 'once' }, failureOf('timeout', 'not-sent'), SHUT), 'wait');
  });

  it('never: stops, whatever it was', () => {
    for (const reason of REASONS)
      assert.equal(said({ retry: 'never', canConfirm: true }, failureOf(reason, 'not-sent')), 'stop policy');
  });
});

describe('a keyed call with an unknown outcome', () => {
  const cut = failureOf('gateway-draining', 'unknown');
  const keyed = { safety: 'keyed', sentTo: 'boot-1', sentAt: NOW - 1000 } as const;

  it('is repeated to the same instance, while that remembers the key', () => {
    assert.equal(said(keyed, cut, OPEN), 'retry');
    assert.equal(said({ ...keyed, sentAt: NOW - 299_000 }, cut, OPEN), 'stop safety');
    assert.equal(said({ ...keyed, sentAt: NOW - 250_000 }, { ...cut, retryAfter: 60_000 }, OPEN), 'stop safety');
  });

  it('is bound to that instance, should another one answer when the delay is over', () => {
    const decision = decide(callOf(keyed), cut, OPEN, 100, NOW, 0);
    assert.deepEqual(decision, { do: 'retry', delay: 50, onlyTo: 'boot-1' });
    assert.equal('onlyTo' in decide(callOf(keyed), { ...cut, outcome: 'not-executed' }, OPEN, 100, NOW, 0), false);
  });

  it('counts as once elsewhere, and where the instance is not known', () => {
    assert.equal(said(keyed, cut, { ...OPEN, bootId: 'boot-2' }), 'stop safety');
    assert.equal(said(keyed, cut, { gate: 'open', reason: null }), 'stop safety');
    assert.equal(said({ safety: 'keyed' }, cut, { gate: 'open', reason: null }), 'stop safety');
    assert.equal(said({ ...keyed, canConfirm: true }, cut, { ...OPEN, bootId: 'boot-2' }), 'confirm');
  });

  it('is repeated anywhere when its receipt is durable', () => {
    assert.equal(said({ safety: 'keyed', durableKey: true }, cut, { ...OPEN, bootId: 'boot-2' }), 'retry');
    assert.equal(said({ safety: 'keyed', durableKey: true }, failureOf('gateway-restart', 'unknown'), HOLD), 'wait');
  });

  it('is decided after the next hello when only that can tell', () => {
    const lost = failureOf('outage', 'unknown');
    const down: LinkFacts = { gate: 'shut', reason: 'outage', bootId: 'boot-1' };
    assert.equal(said({ ...keyed, retry: 'always' }, lost, down), 'wait recheck');
    // A restart is another instance for certain, so waiting would only delay the bad news.
    assert.equal(said(keyed, failureOf('gateway-restart', 'unknown'), { ...HOLD, bootId: 'boot-1' }), 'stop safety');
  });
});

describe('looking first', () => {
  it('is done at once on an open link, also where nothing would be repeated', () => {
    assert.equal(said({ safety: 'once', canConfirm: true }, failureOf('timeout', 'unknown')), 'confirm');
    assert.equal(said({ safety: 'once', canConfirm: true }, failureOf('rejected', 'unknown')), 'confirm');
  });
  it('does not make a genuine outage last longer', () => {
    assert.equal(said({ safety: 'once', canConfirm: true }, failureOf('outage', 'unknown'), SHUT), 'stop policy');
  });
  it('is not done for what was certainly not executed', () => {
    assert.equal(said({ safety: 'once', canConfirm: true }, failureOf('gateway-draining', 'not-executed')), 'retry');
  });
});

describe('time, attempts and tokens', () => {
  const full = (call: Partial<CallFacts>, failure: AttemptFailure, draw = 0.5): Decision =>
    decide(callOf(call), failure, OPEN, 100, NOW, draw);

  it('obeys the hint, with jitter on top', () => {
    const drain = failureOf('gateway-draining', 'not-executed', { retryAfter: 1000 });
    assert.deepEqual(full({}, drain, 0), { do: 'retry', delay: 1000 });
    assert.deepEqual(full({}, drain, 0.8), { do: 'retry', delay: 1200 });
  });

  it('ends at once when the hint lies beyond the deadline, and says until when', () => {
    const limit = failureOf('rate-limited', 'not-executed', { retryAfter: 3_600_000 });
    assert.deepEqual(full({ deadlineAt: NOW + 60_000 }, limit), {
      do: 'stop',
      because: 'deadline',
      retryAt: NOW + 3_600_000,
    });
  });

  it('does not jitter past a deadline that the hint keeps', () => {
    const drain = failureOf('gateway-draining', 'not-executed', { retryAfter: 1000 });
    assert.deepEqual(full({ deadlineAt: NOW + 1100 }, drain, 0.5), { do: 'retry', delay: 1050 });
  });

  it('does not hurry for a hint of nothing', () => {
    const hurried = failureOf('gateway-draining', 'not-executed', { retryAfter: 0 });
    assert.deepEqual(full({}, hurried, 0), { do: 'retry', delay: 50 });
    assert.deepEqual(full({ deadlineAt: NOW + 20 }, hurried), { do: 'stop', because: 'deadline' });
  });

  it('backs off by itself from 50 ms to 2 s where there is no hint', () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 50].map((attempts) =>
      full({ attempts }, failureOf('rate-limited', 'not-executed'), 0),
    );
    assert.deepEqual(
      delays.map((decision) => (decision.do === 'retry' ? decision.delay : null)),
      [50, 100, 200, 400, 800, 1600, 2000, 2000],
    );
  });

  it('ends with the attempts, the deadline and the budget', () => {
    const drain = failureOf('gateway-draining', 'not-executed');
    assert.equal(said({ maxAttempts: 3, attempts: 3 }, drain), 'stop attempts');
    assert.equal(said({ maxAttempts: 3, attempts: 2 }, drain), 'retry');
    assert.equal(said({ deadlineAt: NOW }, drain), 'stop deadline');
    assert.equal(said({ deadlineAt: NOW + 10 }, drain), 'stop deadline');
    assert.equal(said({}, drain, OPEN, 0.9), 'stop budget');
    assert.equal(said({}, failureOf('x' as Reason, 'not-sent', { permanent: true })), 'stop permanent');
  });

  it('waits for the link for free, and lets an agent settle for free', () => {
    assert.equal(said({}, failureOf('gateway-restart', 'not-sent'), HOLD, 0), 'wait');
    assert.equal(
      said({}, failureOf('gateway-restart', 'unknown'), HOLD, 0),
      'wait',
      'a thousand reads in flight must survive a restart',
    );
    assert.equal(said({}, failureOf('rejected', 'not-executed', { settling: true }), OPEN, 0), 'retry');
    assert.equal(costsToken(failureOf('outage', 'not-sent'), OPEN), true);
  });

  it('keeps a rate limit over a restart', () => {
    assert.equal(said({}, failureOf('rate-limited', 'not-executed', { retryAfter: 5000 }), HOLD), 'retry');
  });
});

describe('whatever comes', () => {
  const failures = fc.record({
    reason: fc.constantFrom<Reason>(
      ...REASONS,
      'outage',
      'outage',
      'outage',
      'gateway-restart',
      'gateway-draining',
      'timeout',
    ),
    outcome: fc.constantFrom<CallOutcome>('unknown', 'unknown', 'unknown', 'not-sent', 'not-executed', 'executed'),
    permanent: fc.constantFrom(false, false, false, true),
    retryAfter: fc.option(fc.integer({ min: 0, max: 400_000 }), { nil: undefined }),
    settling: fc.constantFrom(false, false, true),
    invited: fc.constantFrom(false, false, true),
  });
  const calls = fc.record({
    safety: fc.constantFrom<Safety>('read', 'repeatable', 'keyed', 'keyed', 'once'),
    retry: fc.constantFrom('restart', 'restart', 'always', 'always', 'never'),
    maxAttempts: fc.option(fc.integer({ min: 1, max: 5 }), { nil: null }),
    attempts: fc.integer({ min: 1, max: 8 }),
    left: fc.oneof(fc.constant(120_000), fc.integer({ min: -1000, max: 400_000 })),
    canConfirm: fc.boolean(),
    sentTo: fc.constantFrom('boot-1', 'boot-1', 'boot-2', undefined),
    age: fc.oneof(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 0, max: 400_000 })),
    durableKey: fc.constantFrom(false, false, true),
  });
  const links = fc.record({
    gate: fc.constantFrom('open', 'open', 'hold', 'shut'),
    reason: fc.option(fc.constantFrom(...REASONS), { nil: null }),
    bootId: fc.constantFrom('boot-1', 'boot-1', 'boot-2', undefined),
  });
  const worlds = fc.record({
    call: calls.map(({ left, age, sentTo, ...rest }) =>
      callOf({
        ...rest,
        deadlineAt: NOW + left,
        sentAt: NOW - age,
        ...(sentTo !== undefined && { sentTo }),
      } as Partial<CallFacts>),
    ),
    failure: failures.map(({ reason, outcome, retryAfter, ...rest }) =>
      failureOf(reason, outcome, { ...rest, ...(retryAfter !== undefined && { retryAfter }) }),
    ),
    link: links.map(({ bootId, ...rest }) => ({ ...rest, ...(bootId !== undefined && { bootId }) }) as LinkFacts),
    tokens: fc.integer({ min: 0, max: 3 }),
    draw: fc.double({ min: 0, max: 0.999, noNaN: true }),
  });
  type World = typeof worlds extends fc.Arbitrary<infer W> ? W : never;
  type Decider = typeof decide;

  const RULES: Readonly<Record<string, (world: World, decision: Decision) => boolean>> = {
    'what may have run is sent again only if it may run twice': ({ call, failure, link }, decision) => {
      if (failure.outcome !== 'unknown' || !sends(decision)) return true;
      if (call.safety === 'read' || call.safety === 'repeatable') return true;
      if (call.safety === 'once') return false;
      const same = link.gate === 'open' && link.bootId !== undefined && link.bootId === call.sentTo;
      const bound = decision.do === 'retry' && decision.onlyTo === call.sentTo;
      return call.durableKey || (same && bound && NOW - (call.sentAt ?? 0) < 300_000);
    },
    'what was executed is never sent again': ({ failure }, decision) =>
      failure.outcome !== 'executed' || decision.do === 'stop',
    'the hint is never undercut': ({ failure }, decision) =>
      decision.do !== 'retry' || decision.delay >= (failure.retryAfter ?? 0) || failure.retryAfter === undefined,
    'a delay ends before the deadline': ({ call }, decision) =>
      decision.do !== 'retry' || NOW + decision.delay < call.deadlineAt,
    'a delay is a finite number above zero': (_world, decision) =>
      decision.do !== 'retry' || (decision.delay > 0 && Number.isFinite(decision.delay)),
    'nothing is sent beyond the attempts': ({ call }, decision) =>
      !sends(decision) || call.maxAttempts === null || call.attempts < call.maxAttempts,
    'nothing costly is sent without a token': ({ failure, link, tokens }, decision) =>
      !sends(decision) || !costsToken(failure, link) || tokens >= 1,
    'a shut gate is waited for only with always': ({ call, link }, decision) =>
      link.gate !== 'shut' || decision.do === 'stop' || call.retry === 'always',
    'never means never, permanent means permanent': ({ call, failure }, decision) =>
      (call.retry !== 'never' && !failure.permanent) || decision.do === 'stop',
    'an outage is not ridden out by default': ({ call, failure, link }, decision) =>
      call.retry !== 'restart' ||
      link.gate !== 'open' ||
      failure.reason !== 'outage' ||
      failure.invited === true ||
      failure.settling === true ||
      !sends(decision),
    'one looks only when the outcome is unknown and somebody can': ({ call, failure }, decision) =>
      decision.do !== 'confirm' || (failure.outcome === 'unknown' && call.canConfirm),
  };

  function counterexample(name: string, decider: Decider, numRuns: number): unknown {
    const rule = RULES[name];
    assert.ok(rule, name);
    const property = fc.property(worlds, (world) =>
      rule(world, decider(world.call, world.failure, world.link, world.tokens, NOW, world.draw)),
    );
    return fc.check(property, { numRuns }).counterexample;
  }

  for (const name of Object.keys(RULES)) it(name, () => assert.equal(counterexample(name, decide, 1000), null));

  it('the same facts give the same decision', () => {
    fc.assert(
      fc.property(worlds, ({ call, failure, link, tokens, draw }) => {
        assert.deepEqual(
          decide(call, failure, link, tokens, NOW, draw),
          decide(call, failure, link, tokens, NOW, draw),
        );
      }),
      { numRuns: 200 },
    );
  });

  // Each is caught by the rule it breaks: a rule that catches nothing would be no rule.
  const MAY_RUN_TWICE = 'what may have run is sent again only if it may run twice';
  const HINT = 'the hint is never undercut';
  const MUTANTS: readonly (readonly [name: string, rule: string, Decider])[] = [
    ['repeats unknown calls', MAY_RUN_TWICE, (call, ...rest) => decide({ ...call, safety: 'read' }, ...rest)],
    ['believes in keys for ever', MAY_RUN_TWICE, (call, ...rest) => decide({ ...call, durableKey: true }, ...rest)],
    [
      'takes the last known instance for the next',
      MAY_RUN_TWICE,
      (call, failure, link, ...rest) => decide(call, failure, { ...link, gate: 'open' }, ...rest),
    ],
    ['overlooks the hint', HINT, (call, { retryAfter: _hint, ...failure }, ...rest) => decide(call, failure, ...rest)],
    [
      'jitters below the hint',
      HINT,
      (...args) => {
        const decision = decide(...args);
        return decision.do === 'retry' ? { ...decision, delay: decision.delay * 0.9 } : decision;
      },
    ],
    [
      'forgets the deadline',
      'a delay ends before the deadline',
      (call, ...rest) => decide({ ...call, deadlineAt: Number.MAX_SAFE_INTEGER }, ...rest),
    ],
    [
      'forgets the attempts',
      'nothing is sent beyond the attempts',
      (call, ...rest) => decide({ ...call, maxAttempts: null }, ...rest),
    ],
    [
      'forgets the budget',
      'nothing costly is sent without a token',
      (call, failure, link, _tokens, ...rest) => decide(call, failure, link, 100, ...rest),
    ],
    [
      'rides out outages by default',
      'an outage is not ridden out by default',
      (call, ...rest) => decide({ ...call, retry: 'always' }, ...rest),
    ],
    [
      'waits at a shut gate by default',
      'a shut gate is waited for only with always',
      (call, ...rest) => decide({ ...call, retry: 'always' }, ...rest),
    ],
    [
      'overlooks never',
      'never means never, permanent means permanent',
      (call, ...rest) => decide({ ...call, retry: 'restart' }, ...rest),
    ],
    [
      'overlooks permanent',
      'never means never, permanent means permanent',
      (call, failure, ...rest) => decide(call, { ...failure, permanent: false }, ...rest),
    ],
    [
      'looks without being able to',
      'one looks only when the outcome is unknown and somebody can',
      (call, ...rest) => decide({ ...call, canConfirm: true }, ...rest),
    ],
    [
      'repeats what was executed',
      'what was executed is never sent again',
      (call, failure, ...rest) => decide(call, { ...failure, outcome: 'not-executed' }, ...rest),
    ],
  ];
  for (const [name, rule, mutant] of MUTANTS) {
    it(`catches a decision that ${name}`, () => assert.notEqual(counterexample(rule, mutant, 5000), null));
  }
});

function sends(decision: Decision): boolean {
  return decision.do === 'retry' || (decision.do === 'wait' && decision.recheck !== true);
}
