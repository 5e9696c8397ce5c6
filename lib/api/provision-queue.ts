/**
 * One tenant at a time per client: each `agents.create` may restart the gateway, and what another tenant has in flight
 * then, above all a completion that must not be repeated, would be cut by it.
 */
import { GatewayError } from '../core/errors.js';
import type { Runtime } from '../core/runtime.js';
import { abortedError } from './call-entry.js';
import type { GatewayClient } from './client.js';
import { pause } from './provision-time.js';
import type { Bounds } from './provision-usable.js';

interface Line {
  /** Resolves when everybody before has finished. */
  tail: Promise<void>;
}

/** By the promise of the client's end: the one thing that all views of a client share. */
const lines = new WeakMap<object, Line>();

/**
 * Runs `work` when all earlier work of this client has ended, well or not.
 * @throws GatewayError with outcome `not-sent` when the signal or the deadline comes first.
 */
export async function inTurn<T>(
  client: Pick<GatewayClient, 'done'>,
  bounds: Bounds,
  runtime: Runtime,
  work: () => Promise<T>,
): Promise<T> {
  const line = lines.get(client.done) ?? { tail: Promise.resolve() };
  lines.set(client.done, line);
  const before = line.tail;
  let leave: () => void = () => {};
  const mine = new Promise<void>((resolve) => {
    leave = resolve;
  });
  // Whoever gives up early must not let the next one pass those before it.
  line.tail = Promise.all([before, mine]).then(() => {});
  try {
    await turn(before, bounds, runtime);
    return await work();
  } finally {
    leave();
  }
}

async function turn(before: Promise<void>, bounds: Bounds, runtime: Runtime): Promise<void> {
  const { signal, deadlineAt } = bounds;
  let come = false;
  let wake: () => void = () => {};
  void before.then(() => {
    come = true;
    wake();
  });
  while (!come && signal?.aborted !== true && runtime.now() < deadlineAt) {
    await pause(runtime, deadlineAt - runtime.now(), signal, (call) => {
      wake = call;
    });
  }
  if (come) return;
  if (signal?.aborted === true)
    throw abortedError({ method: 'provisionAgent', attempts: [] }, 'not-sent', signal.reason);
  throw new GatewayError({
    code: 'HOLDFAST_DEADLINE',
    reason: 'timeout',
    outcome: 'not-sent',
    method: 'provisionAgent',
    message: 'provisionAgent: its deadline passed while other tenants of this client were provisioned',
    remedy: 'Raise the deadline, or provision fewer tenants at once.',
  });
}
