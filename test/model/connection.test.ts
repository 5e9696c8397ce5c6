import assert from 'node:assert/strict';
import fc from 'fast-check';
import { transition } from '../../lib/core/connection.js';
import { INITIAL, type State } from '../../lib/core/machine.js';
import { MUTANTS, type Mutant } from './mutants.js';
import { Broken } from './rules.js';
import { live, lives, type Transition } from './sequences.js';

/** Sequences of up to 60 events; fast-check prints seed, path and the shrunk life when one fails. */
const RUNS = 2500;

describe('the connection machine, over generated lives', () => {
  it('keeps every invariant after every event, because no order of events may make a zombie', () => {
    fc.assert(
      fc.property(lives, (life) => {
        live(life);
      }),
      { numRuns: RUNS },
    );
  });

  it('is a function: a trace of (event, now, draw) that went through JSON replays to the same state', () => {
    fc.assert(
      fc.property(lives, (life) => {
        const trace: string[] = [];
        const recording: Transition = (policy, state, event, at) => {
          trace.push(JSON.stringify({ event, at }));
          return transition(policy, frozen(state), event, at);
        };
        const end = endOf(() => live(life, recording));
        let state: State = INITIAL;
        for (const line of trace) {
          const { event, at } = JSON.parse(line);
          state = transition(life.policy, state, event, at).state;
        }
        if (end !== null) assert.deepEqual(JSON.parse(JSON.stringify(state)), JSON.parse(JSON.stringify(end)));
      }),
      { numRuns: 200 },
    );
  });
});

describe('the model itself', () => {
  for (const mutant of MUTANTS) {
    it(`catches a machine ${mutant.name}, since a test that cannot fail proves nothing`, () => {
      assert.ok(caught(mutant), `no life broke one of: ${mutant.caughtBy.join(', ')}`);
    });
  }

  it('shrinks the machine without the epoch guard to a life that can be read at a glance', () => {
    const [mutant] = MUTANTS;
    assert.ok(mutant !== undefined);
    const [life] = fc.check(broken(mutant), { numRuns: RUNS }).counterexample ?? [];
    assert.ok(life !== undefined && life.moves.length <= 4, `${life?.moves.length} moves`);
  });
});

function broken(mutant: Mutant) {
  const step = mutant.make(transition);
  return fc.property(lives, (life) => {
    try {
      live(life, step);
      return true;
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      return !mutant.caughtBy.includes(error.rule);
    }
  });
}

function caught(mutant: Mutant): boolean {
  return fc.check(broken(mutant), { numRuns: RUNS, endOnFailure: true }).failed;
}

/** A life may end at a broken invariant; that is the first test's business. */
function endOf(run: () => State): State | null {
  try {
    return run();
  } catch {
    return null;
  }
}

/** A machine that writes into its input would not replay. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const entry of Object.values(value)) frozen(entry);
  }
  return value;
}
