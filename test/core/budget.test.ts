import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BUDGET, balance, createBudget, deposit, type RetryBudget, withdraw } from '../../lib/core/budget.js';

/** Withdraws until refused. */
function drain(budget: RetryBudget, now: number): { readonly budget: RetryBudget; readonly taken: number } {
  let taken = 0;
  let step = withdraw(budget, now);
  while (step.allowed) {
    taken += 1;
    step = withdraw(step.budget, now);
  }
  return { budget: step.budget, taken };
}

describe('the retry budget', () => {
  it('lets a quiet client retry as often as the floor says', () => {
    assert.equal(balance(createBudget(0), 0), 100);
    assert.equal(drain(createBudget(5), 5).taken, 100);
  });

  it('grows by a fifth of a token per call', () => {
    let budget = drain(createBudget(0), 0).budget;
    for (let call = 0; call < 4; call += 1) budget = deposit(budget, 10);
    assert.equal(withdraw(budget, 10).allowed, false);
    assert.equal(withdraw(deposit(budget, 10), 10).allowed, true);
  });

  it('forgets deposits and withdrawals after its window', () => {
    const rich = Array.from({ length: 500 }).reduce<RetryBudget>((budget) => deposit(budget, 0), createBudget(0));
    assert.ok(Math.abs(balance(rich, 0) - 200) < 1e-6);
    assert.equal(balance(rich, 10_000), 100);
    const poor = drain(createBudget(0), 0).budget;
    assert.equal(balance(poor, 9_999), 0);
    assert.equal(balance(poor, 10_000), 100);
  });

  it('is a value: the one before is unchanged', () => {
    const before = createBudget(0);
    const copy = structuredClone(before);
    withdraw(deposit(before, 2500), 2500);
    assert.deepEqual(before, copy);
  });

  it('mints nothing when the clock goes back', () => {
    const empty = drain(createBudget(60_000), 60_000).budget;
    assert.equal(balance(empty, 0), 0);
    assert.equal(withdraw(deposit(empty, 0), 0).allowed, false);
  });

  const steps = fc.array(
    fc.record({ after: fc.integer({ min: 0, max: 4000 }), kind: fc.constantFrom('deposit', 'withdraw') }),
    { maxLength: 300 },
  );

  it('is never negative, and never more than the floor and a fifth of the calls of the window', () => {
    fc.assert(
      fc.property(steps, (list) => {
        let now = 0;
        let budget = createBudget(now);
        const deposits: number[] = [];
        for (const { after, kind } of list) {
          now += after;
          if (kind === 'deposit') {
            budget = deposit(budget, now);
            deposits.push(now);
          } else budget = withdraw(budget, now).budget;
          const recent = deposits.filter((at) => now - at <= BUDGET.window).length;
          assert.ok(balance(budget, now) >= 0);
          assert.ok(balance(budget, now) <= 100 + recent * BUDGET.ratio + 1e-6);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('grants within any window no more than the floor and a fifth of the calls', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const policy = { ratio: 0.2, floor: 1, window: 10_000 };
        let now = 0;
        let budget = createBudget(now, policy);
        const deposits: number[] = [];
        const grants: number[] = [];
        for (const { after, kind } of list) {
          now += after;
          if (kind === 'deposit') {
            budget = deposit(budget, now);
            deposits.push(now);
            continue;
          }
          const step = withdraw(budget, now);
          budget = step.budget;
          if (step.allowed) grants.push(now);
          // One slot is partly outside the window, so that nine tenths of it are bounded exactly.
          const within = (at: number): boolean => now - at < 0.9 * policy.window;
          const calls = deposits.filter((at) => now - at <= policy.window).length;
          assert.ok(grants.filter(within).length <= 10 + calls * policy.ratio + 1e-6);
        }
      }),
      { numRuns: 100 },
    );
  });
});
