import assert from 'node:assert/strict';
import { MUTANTS } from './calls/mutants.js';
import { runSeed } from './calls/run.js';
import { CallWorld } from './calls/world.js';

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

  it('are let go in their thousands when the instance that knew their keys is gone', async () => {
    const world = new CallWorld(1);
    const each = (): void => {};
    world.driver.push({ type: 'start' });
    await world.run(100, each);
    world.gateway.freeze();
    for (let index = 0; index < 8000; index += 1) {
      const marker = `c${index}`;
      world.make({ at: 0, marker, method: 'chat.send', params: { marker }, options: { retry: 'always' } });
    }
    world.gateway.kill();
    world.wire.cut(1006, 0);
    world.boot();
    await world.run(20_000, each);
    const outcomes = new Set(world.tracked.map(({ outcome, settlements }) => `${outcome} ${settlements}`));
    assert.deepEqual([...outcomes], ['unknown 1']);
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
