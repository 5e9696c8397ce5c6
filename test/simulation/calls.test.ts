import assert from 'node:assert/strict';
import { MUTANTS } from './calls/mutants.js';
import { runSeed } from './calls/run.js';

/** Schedules in `npm test`; `calls-soak.ts` runs as many as wanted. */
const SEEDS = 1000;
/** So many in one test, so that none comes near its timeout on a slow machine. */
const CHUNK = 250;

describe('calls under restarts, cuts, freezes and drains', () => {
  for (let from = 1; from <= SEEDS; from += CHUNK) {
    it(`settle once each, and tell the truth: schedules ${from} to ${from + CHUNK - 1}`, async () => {
      for (let seed = from; seed < from + CHUNK; seed += 1) await runSeed(seed);
    });
  }

  it('end alike from the same seed, or no failure could be repeated', async () => {
    for (const seed of [2, 5, 9]) assert.deepEqual(await runSeed(seed), await runSeed(seed));
  });
});

describe('the simulation of calls catches an engine that', () => {
  for (const [name, parts] of Object.entries(MUTANTS)) {
    it(name, async () => {
      for (let seed = 1; seed <= SEEDS; seed += 1) {
        try {
          await runSeed(seed, { parts, shrinks: false });
        } catch {
          return;
        }
      }
      assert.fail(`${SEEDS} schedules found nothing wrong`);
    });
  }
});
