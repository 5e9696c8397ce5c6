/** Engines with one mistake each. A simulation that does not catch them proves nothing. */
import type { CallDetails, CallRequest } from '../../../lib/api/call-entry.js';
import { type CallPort, Calls } from '../../../lib/api/calls.js';
import { RetryAccount } from '../../../lib/api/retry-account.js';
import type { AttemptFailure } from '../../../lib/core/call-verdicts.js';
import { GatewayError } from '../../../lib/core/errors.js';
import type { Failure } from '../../../lib/core/failure.js';
import type { ResponseFrame } from '../../../lib/core/frames.js';
import type { Gate } from '../../../lib/core/machine.js';
import type { CallFacts, Decision, LinkFacts } from '../../../lib/core/retry.js';
import type { CallOutcome } from '../../../lib/core/vocabulary.js';
import type { Parts } from './world.js';

type Decide = RetryAccount['decide'];

/** The decision is made on other facts, or overruled. */
function deciding(
  change: (decide: Decide, call: CallFacts, failure: AttemptFailure, link: LinkFacts) => Decision,
): Parts {
  class Deciding extends RetryAccount {
    override decide(call: CallFacts, failure: AttemptFailure, link: LinkFacts): Decision {
      return change((...facts) => super.decide(...facts), call, failure, link);
    }
  }
  return { account: (runtime) => new Deciding(runtime) };
}

function calling(Engine: typeof Calls): Parts {
  return { calls: (port, runtime, account) => new Engine(port, runtime, account) };
}

/** Claims another outcome than the engine found. */
function claiming(found: CallOutcome, claimed: CallOutcome): Parts {
  class Claiming extends Calls {
    override make(request: CallRequest): Promise<CallDetails> {
      return super.make(request).catch((error: unknown) => {
        if (!(error instanceof GatewayError) || error.outcome !== found) throw error;
        const { code, reason, message, remedy, attempts } = error;
        throw new GatewayError({ code, reason, message, remedy, attempts, outcome: claimed });
      });
    }
  }
  return calling(Claiming);
}

/** Every tenth call is made twice. */
class Doubling extends Calls {
  #made = 0;
  override make(request: CallRequest): Promise<CallDetails> {
    this.#made += 1;
    if (this.#made % 10 === 0) super.make(request).catch(() => {});
    return super.make(request);
  }
}

/** Every tenth call is forgotten when it has ended. */
class Forgetting extends Calls {
  #made = 0;
  override make(request: CallRequest): Promise<CallDetails> {
    this.#made += 1;
    const call = super.make(request);
    return this.#made % 10 === 0 ? call.finally(() => new Promise(() => {})) : call;
  }
}

/** Gives an answer to the call whose frame came before. */
class Mixing extends Calls {
  override answered(frame: ResponseFrame): void {
    super.answered({ ...frame, id: String(Number(frame.id) - (Number(frame.id) % 7 === 0 ? 1 : 0)) });
  }
}

/** Forgets what was in flight on a link that is gone. */
class Unaware extends Calls {
  override setGate(gate: Gate, _cut: boolean, failure: Failure | null): void {
    super.setGate(gate, false, failure);
  }
}

/** Goes on writing after `shutdown`. */
class Deaf extends Calls {
  override setGate(gate: Gate, cut: boolean, failure: Failure | null): void {
    if (gate !== 'hold' || cut) super.setGate(gate, cut, failure);
  }
}

/** Waits in an outage too. */
class Patient extends Calls {
  override setGate(gate: Gate, cut: boolean, failure: Failure | null): void {
    super.setGate(gate === 'shut' && failure !== null ? 'hold' : gate, cut, failure);
  }
}

/** Says that nothing was handed over when it was. */
function lying(port: CallPort): CallPort {
  let sent = 0;
  return {
    ...port,
    send: (text) => {
      sent += 1;
      return port.send(text) && sent % 20 !== 0;
    },
  };
}

const UNKNOWN = (failure: AttemptFailure): boolean => failure.outcome === 'unknown';

export const MUTANTS: Readonly<Record<string, Parts>> = {
  'repeats calls of unknown outcome': deciding((decide, call, failure, link) =>
    decide(UNKNOWN(failure) ? { ...call, safety: 'repeatable' } : call, failure, link),
  ),
  'repeats once-only calls of unknown outcome after a restart': deciding((decide, call, failure, link) => {
    const reckless = call.safety === 'once' && failure.reason === 'gateway-restart' && UNKNOWN(failure);
    return decide(reckless ? { ...call, safety: 'read', canConfirm: false } : call, failure, link);
  }),
  'takes every instance for the one that knows the key': deciding((decide, call, failure, link) =>
    decide({ ...call, ...(link.bootId !== undefined && { sentTo: link.bootId }) }, failure, link),
  ),
  'sends to any instance what only one may get': deciding((decide, ...facts) => {
    const decision = decide(...facts);
    return decision.do === 'retry' ? { do: 'retry', delay: decision.delay } : decision;
  }),
  'forgets doubts': deciding((decide, call, failure, link) =>
    decide(call, failure.reason === 'gateway-draining' ? { ...failure, outcome: 'not-executed' } : failure, link),
  ),
  'comes back before its hint': deciding((decide, ...facts) => {
    const decision = decide(...facts);
    return decision.do === 'retry' ? { ...decision, delay: decision.delay / 2 } : decision;
  }),
  'repeats for ever at once': deciding((decide, ...facts) => {
    const decision = decide(...facts);
    return decision.do === 'retry' ? { ...decision, delay: 0 } : decision;
  }),
  'never retries': deciding(() => ({ do: 'stop', because: 'policy' })),
  'takes the unknown for not executed': claiming('unknown', 'not-executed'),
  'takes the unknown for not sent': claiming('unknown', 'not-sent'),
  'takes the not executed for not sent': claiming('not-executed', 'not-sent'),
  'makes calls twice': calling(Doubling),
  'loses calls': calling(Forgetting),
  'mixes up answers': calling(Mixing),
  'does not see that a link is gone': calling(Unaware),
  'writes after shutdown': calling(Deaf),
  'waits in an outage': calling(Patient),
  'believes that nothing was handed over': {
    calls: (port, runtime, account) => new Calls(lying(port), runtime, account),
  },
  'loses timers': {
    calls: (port, runtime, account) => {
      let timers = 0;
      const lossy: typeof runtime = {
        ...runtime,
        setTimer: (fire, ms) => {
          timers += 1;
          return runtime.setTimer(timers % 20 === 0 ? () => {} : fire, ms);
        },
      };
      return new Calls(port, lossy, account);
    },
  },
};
