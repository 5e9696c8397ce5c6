/** What all calls of a client share, over WebSocket and over HTTP: the retry budget and the counts. */
import { balance, createBudget, deposit, type RetryBudget, withdraw } from '../core/budget.js';
import type { AttemptFailure } from '../core/call-verdicts.js';
import { type CallFacts, costsToken, type Decision, decide, type LinkFacts } from '../core/retry.js';
import type { Runtime } from '../core/runtime.js';

export class RetryAccount {
  readonly #runtime: Runtime;
  #budget: RetryBudget;
  /** Attempts that were repeated. */
  retried = 0;
  /** Calls that ended with outcome `unknown`. */
  unknown = 0;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#budget = createBudget(runtime.now());
  }

  /** A call was made. */
  deposit(): void {
    this.#budget = deposit(this.#budget, this.#runtime.now());
  }

  /** Asks the core what follows a failed attempt, and pays for it. */
  decide(call: CallFacts, failure: AttemptFailure, link: LinkFacts): Decision {
    const now = this.#runtime.now();
    const decision = decide(call, failure, link, balance(this.#budget, now), now, this.#runtime.draw());
    const repeats = decision.do === 'retry' || decision.do === 'wait';
    if (repeats && costsToken(failure, link)) this.#budget = withdraw(this.#budget, now).budget;
    return decision;
  }
}
