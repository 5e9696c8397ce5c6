/**
 * The retry budget: one per client, shared by all its callers and views, so that trouble is not multiplied by retries.
 *
 * Every call deposits a fifth of a token, every paid retry takes one, and a floor per second keeps a quiet client able
 * to retry. Deposits and withdrawals are forgotten after a window (Finagle RetryBudget and tower `TpsBudget`: 20 % of
 * calls + 10 per second over 10 s). The floor amounts to 100 retries in one window, which is also what a bucket of the
 * AWS SDK allows (500 tokens at 5 each).
 *
 * A value: nothing changes in place. The window is kept in slots, so that the common deposit touches one number.
 */

export interface BudgetPolicy {
  /** Tokens that one call brings. */
  readonly ratio: number;
  /** Retries per second that are allowed without any call. */
  readonly floor: number;
  /** Ms after which a deposit or a withdrawal is forgotten. */
  readonly window: number;
}

export const BUDGET: BudgetPolicy = { ratio: 0.2, floor: 10, window: 10_000 };

export interface RetryBudget {
  readonly policy: BudgetPolicy;
  /** Number of the current slot: time divided by the width of a slot. */
  readonly slot: number;
  /** Deposits less withdrawals of the current slot. */
  readonly current: number;
  /** The same of the slots before it, oldest first. */
  readonly past: readonly number[];
}

const SLOTS = 10;
/** A fifth is no binary fraction: ten deposits must still make two whole tokens. */
const EPSILON = 1e-9;

export function createBudget(now: number, policy: BudgetPolicy = BUDGET): RetryBudget {
  return { policy, slot: slotOf(now, policy), current: 0, past: new Array<number>(SLOTS - 1).fill(0) };
}

/** A call was made (a first attempt, not a retry). */
export function deposit(budget: RetryBudget, now: number): RetryBudget {
  // Spelled out: this runs for every call, and a spread costs several times as much.
  const { policy, slot, current, past } = turn(budget, now);
  return { policy, slot, current: current + policy.ratio, past };
}

/** Takes one token, if there is one. */
export function withdraw(
  budget: RetryBudget,
  now: number,
): { readonly budget: RetryBudget; readonly allowed: boolean } {
  const turned = turn(budget, now);
  if (sum(turned) < 1 - EPSILON) return { budget: turned, allowed: false };
  return { budget: { ...turned, current: turned.current - 1 }, allowed: true };
}

/** How many tokens there are; never negative. */
export function balance(budget: RetryBudget, now: number): number {
  return Math.max(0, sum(turn(budget, now)));
}

function sum(budget: RetryBudget): number {
  const reserve = (budget.policy.floor * budget.policy.window) / 1000;
  return budget.past.reduce((total, slot) => total + slot, reserve + budget.current);
}

/** Moves the window to `now`. A clock that went back stays in its slot: no token appears twice. */
function turn(budget: RetryBudget, now: number): RetryBudget {
  const slot = slotOf(now, budget.policy);
  const steps = slot - budget.slot;
  if (!(steps > 0)) return budget;
  const zeros = new Array<number>(Math.min(steps, SLOTS) - 1).fill(0);
  return { ...budget, slot, current: 0, past: [...budget.past, budget.current, ...zeros].slice(-(SLOTS - 1)) };
}

function slotOf(now: number, policy: BudgetPolicy): number {
  return Math.floor(now / (policy.window / SLOTS));
}
