import type { ServerResponse } from 'node:http';
import type { AgentStore } from './agents.js';
import type { Auth } from './auth.js';
import type { Boot } from './boot.js';
import type { Connection } from './connection.js';
import type { Devices } from './devices.js';
import type { FaultSet } from './fault-set.js';
import type { Ledger } from './ledger.js';
import type { Nodes } from './nodes.js';
import type { Profile } from './profiles.js';
import type { GatewayState, Limits, Timings } from './types.js';

/** Why calls are refused for now, if they are. */
export type Gate = 'open' | 'gateway-restarting' | 'gateway-suspending';

/** What a restart request is answered with. */
export interface RestartReceipt {
  readonly status: 'scheduled' | 'deferred' | 'coalesced';
  readonly work: number;
  readonly cooldownMs: number;
}

/** The gateway as its parts see it. */
export interface Host {
  readonly profile: Profile;
  readonly timings: Timings;
  readonly limits: Limits;
  readonly pairingMode: 'auto' | 'manual';
  readonly nodeCommandsMode: 'auto' | 'manual';
  readonly httpUrl: string;
  readonly faults: FaultSet;
  readonly ledger: Ledger;
  readonly auth: Auth;
  readonly agents: AgentStore;
  readonly devices: Devices;
  readonly nodes: Nodes;
  /** Executions of `test.count` by key. */
  readonly counts: Map<string, number>;
  /** Jobs by id; kept over restarts like everything that is stored. */
  readonly jobs: Map<string, Record<string, unknown>>;
  readonly connections: Set<Connection>;
  readonly boot: Boot;
  readonly state: GatewayState;
  readonly gate: Gate;
  readonly frozen: boolean;
  readonly processStartedAt: number;
  /** The id that the next hello tells: the boot's own, unless a fault names another. */
  helloBootId(): string;
  log(line: string): void;
  /** Something happened: conditions that are waited for are looked at again. */
  changed(): void;
  broadcast(event: string, payload: unknown): void;
  requestRestart(reason: string, skipDeferral: boolean): RestartReceipt;
  /** Ends the connection of an HTTP request with RST. */
  resetHttp(response: ServerResponse): void;
  /** The restart that agents.create causes on old versions. */
  restartAfterCreate(): void;
}
