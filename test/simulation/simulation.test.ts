import assert from 'node:assert/strict';
import { VirtualRuntime } from '../support/virtual-runtime.js';
import { QUICK, runSeed } from './run.js';
import { World } from './world.js';

/** Seeds in `npm test`; `npm run soak` runs as many as wanted. */
const SEEDS = 1200;
/** So many seeds in one test, so that none comes near its timeout on a slow machine. */
const CHUNK = 200;

describe('a client after faults of every kind', () => {
  for (let from = 1; from <= SEEDS; from += CHUNK) {
    it(`is online in time once they heal, or has ended as its owner asked: seeds ${from} to ${from + CHUNK - 1}`, () => {
      for (let seed = from; seed < from + CHUNK; seed += 1) runSeed(seed, QUICK);
    });
  }

  it('lives the same life from the same seed, or no failure could be repeated', () => {
    for (const seed of [3, 7, 11]) assert.deepEqual(runSeed(seed, QUICK), runSeed(seed, QUICK));
  });
});

describe('the simulation itself', () => {
  it('fires timers in the order in which they are due, and never one that was cleared', () => {
    const runtime = new VirtualRuntime(1);
    const fired: number[] = [];
    const timers = Array.from({ length: 500 }, (_, n) => {
      const ms = Math.floor(runtime.draw() * 100);
      return { n, ms, timer: runtime.setTimer(() => fired.push(n), ms) };
    });
    for (const { n, timer } of timers) if (n % 3 === 0) timer.clear();
    runtime.run(100);
    const expected = timers.filter(({ n }) => n % 3 !== 0).sort((a, b) => a.ms - b.ms || a.n - b.n);
    assert.deepEqual(
      fired,
      expected.map(({ n }) => n),
    );
    assert.equal(runtime.pending, 0);
  });

  it('notices a zombie: a link that is dead while the client believes in it', () => {
    const world = new World().start().run(60_000);
    world.link.heardAt = () => world.now;
    world.link.deafen();
    assert.throws(() => world.run(300_000), /online for \d+ ms on a dead link/);
  });
});
