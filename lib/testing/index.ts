/**
 * holdfast/testing: the embedded gateway. It speaks what OpenClaw gateways speak, on real sockets, restarts when it is
 * told to, and breaks in every way a peer can break.
 */
import { Core } from './core.js';
import { EmbeddedGateway } from './gateway.js';
import { Lifecycle } from './lifecycle.js';
import type { TestGateway, TestGatewayOptions } from './types.js';

export type { Cut, Fault, FaultName, FaultOf } from './faults.js';
export { FAULTS } from './faults.js';
export { parseFault } from './parse-fault.js';
export { measuredTimings } from './profiles.js';
export type {
  ConnInfo,
  Emulate,
  GatewayState,
  LedgerEntry,
  Limits,
  Pairing,
  PairingRequest,
  RestartOptions,
  StartOptions,
  TestGateway,
  TestGatewayOptions,
  Timings,
} from './types.js';

/** Starts an embedded gateway; resolves when it listens and is ready. Rejects when the port cannot be had. */
export async function createTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const core = new Core(options);
  const lifecycle = new Lifecycle(core, options.restartEvery ?? 0);
  const gateway = new EmbeddedGateway(core, lifecycle);
  try {
    // The first instance is ready at once: whoever wants the starting phase stops it and starts it again.
    await lifecycle.start({ startingMs: 0 });
  } catch (error) {
    await gateway.close();
    throw error;
  }
  for (const fault of options.faults ?? []) gateway.inject(fault);
  return gateway;
}
