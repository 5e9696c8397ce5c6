import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type BackoffPolicy, capOf, delayOf, FLOOR_MS, remainingDelay, worstCase } from '../../lib/core/backoff.js';
import { Machine, NOBODY, policyFor } from '../model/machine.js';

const OUTAGE: BackoffPolicy = { initialDelay: 1000, maxDelay: 30_000, factor: 2, jitter: 0.5 };
const ALMOST_1 = 1 - 2 ** -53;

const policies: fc.Arbitrary<BackoffPolicy> = fc
  .record({
    initialDelay: fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 60_000, noNaN: true })),
    grow: fc.double({ min: 0, max: 100_000, noNaN: true }),
    factor: fc.oneof(fc.constant(1), fc.double({ min: 1, max: 10, noNaN: true })),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ grow, ...rest }) => ({ ...rest, maxDelay: rest.initialDelay + grow }));
const draws = fc.double({ min: 0, max: ALMOST_1, noNaN: true });

describe('back-off', () => {
  it('doubles from 1 s to 30 s and stays there, as the outage profile promises', () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6, 7, 1e9].map((n) => capOf(OUTAGE, n)),
      [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000],
    );
  });

  it('keeps jitter inside the cap, because jitter on top of it forms herds at the cap', () => {
    assert.equal(delayOf(OUTAGE, 6, 0), 30_000);
    assert.equal(delayOf(OUTAGE, 6, 0.5), 22_500);
    assert.ok(Math.abs(delayOf(OUTAGE, 6, ALMOST_1) - 15_000) < 1);
  });

  it('obeys each of its options, since an option that changes nothing is a lie', () => {
    const changed: [string, Partial<BackoffPolicy>][] = [
      ['initialDelay', { initialDelay: 1500 }],
      ['maxDelay', { maxDelay: 3000 }],
      ['factor', { factor: 3 }],
      ['jitter', { jitter: 0.1 }],
    ];
    const delays = (policy: BackoffPolicy): number[] => [1, 2, 3, 4, 5].map((n) => delayOf(policy, n, 0.5));
    for (const [name, change] of changed) assert.notDeepEqual(delays({ ...OUTAGE, ...change }), delays(OUTAGE), name);
  });

  it('is never longer than the cap, never shorter than the share that is not random, and never shrinks with n', () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 2000 }), draws, (policy, n, draw) => {
        const cap = capOf(policy, n);
        const delay = delayOf(policy, n, draw);
        assert.ok(Number.isFinite(delay) && cap <= policy.maxDelay && delay <= cap, `${delay} of ${cap}`);
        assert.ok(delay >= cap * (1 - policy.jitter) - 1e-6, `${delay} of ${cap}`);
        assert.ok(capOf(policy, n + 1) >= cap);
      }),
    );
  });

  it('paces from the start of the attempt, so that a slow failure does not wait twice, and keeps two dials apart', () => {
    assert.equal(remainingDelay(1000, 0), 1000);
    assert.equal(remainingDelay(1000, 400), 600);
    assert.equal(remainingDelay(1000, 20_000), FLOOR_MS);
    assert.equal(remainingDelay(0, 0), FLOOR_MS);
    assert.equal(FLOOR_MS, 50);
  });
});

describe('the worst case of giving up by attempts', () => {
  it('is every dial at its deadline and every wait at its cap: 5 attempts are 100 s of dials and 15 s of waits', () => {
    assert.equal(worstCase(OUTAGE, 5, 20_000), 5 * (20_000 + FLOOR_MS) + 1000 + 2000 + 4000 + 8000);
    assert.equal(worstCase(OUTAGE, 1, 20_000), 20_000 + FLOOR_MS);
  });

  it('equals the sum that it shortens, because a closed formula is only worth what it agrees with', () => {
    fc.assert(
      fc.property(
        policies,
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 60_000 }),
        (policy, attempts, timeout) => {
          let sum = attempts * (timeout + FLOOR_MS);
          for (let n = 1; n < attempts; n += 1) sum += capOf(policy, n);
          const closed = worstCase(policy, attempts, timeout);
          assert.ok(Math.abs(closed - sum) <= sum * 1e-9, `${closed}, summed ${sum}`);
        },
      ),
    );
  });

  it('is short work for any number of attempts, because options have no upper limit', () => {
    assert.equal(worstCase(OUTAGE, 1e9, 20_000), 1e9 * (20_000 + FLOOR_MS) + 31_000 + (1e9 - 6) * 30_000);
    assert.ok(worstCase({ ...OUTAGE, factor: 1 }, 1e9, 1) > 0);
  });

  it('is an upper bound of what the machine does, whatever the dials cost and the draws say', () => {
    const costs = fc.array(fc.double({ min: 0, max: 1.2, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 20 }), costs, draws, (outage, maxAttempts, shares, draw) => {
        const policy = { ...policyFor({ giveUp: { maxAttempts }, reconnect: { connectTimeout: 5000 } }), outage };
        const machine = new Machine(policy).start();
        machine.draw = draw;
        const began = machine.now;
        for (let n = 0; machine.state.status !== 'stopped'; n += 1) {
          assert.ok(n <= maxAttempts, 'never gives up');
          machine.pass(5000 * (shares[n % shares.length] ?? 0));
          if (machine.state.status === 'connecting') machine.down(NOBODY);
          if (machine.state.status === 'waiting') machine.redial();
        }
        assert.equal(machine.dials, maxAttempts);
        const bound = worstCase(outage, maxAttempts, 5000);
        const took = machine.state.since - began;
        assert.ok(took <= bound + 1e-3, `${took} ms, bound ${bound}`);
      }),
    );
  });
});
