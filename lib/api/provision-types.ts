/** What provisioning is asked for, and what it answers. */
import type { Runtime } from '../core/runtime.js';
import type { CallOptions } from './call-request.js';
import type { ProvisionedFile, ProvisionFile } from './provision-files.js';
import type { HelloResult, ProvisionHello } from './provision-hello.js';

/** What a tenant is to have. */
export interface Tenant {
  /** The gateway derives the agent's id from it; it must be this tenant's alone. */
  readonly name: string;
  /** Folder on the gateway's host. 2026.4.x demands it; newer gateways choose one. */
  readonly workspace?: string;
  readonly model?: string;
  readonly emoji?: string;
  readonly avatar?: string;
  /** Contents by name, or a list. Which names are allowed is the gateway's word. */
  readonly files?: Readonly<Record<string, string>> | readonly ProvisionFile[];
  /** Said to the agent once everything else is there. */
  readonly hello?: ProvisionHello;
}

/** How a tenant is provisioned; what is not given comes from the client or the view. */
export interface ProvisionOptions extends Pick<CallOptions, 'signal' | 'timeout' | 'retry' | 'maxAttempts'> {
  /** The whole, in ms, waiting for other tenants included. Default 600 000. */
  readonly deadline?: number;
  /**
   * Files under way at once. Default 4: enough to hide the round trips, few enough that a cut leaves little unknown.
   */
  readonly concurrency?: number;
  /** Told of every step. A listener that throws ends nothing; its error is dropped. */
  readonly onProgress?: (progress: ProvisionProgress) => void;
  /** Clock of the waits; replaced in tests. */
  readonly runtime?: Runtime;
}

/** `agent` and each `file` are done, or found done (`skipped`); `hello` only when there is one; `ready` is the end. */
export interface ProvisionProgress {
  readonly step: 'agent' | 'file' | 'hello' | 'ready';
  readonly state: 'began' | 'done' | 'skipped' | 'failed';
  /** Name of the file. */
  readonly file?: string;
  /** Requests sent so far by this run. */
  readonly attempts: number;
  /** Ids of the restarts of the gateway that this run has seen so far. */
  readonly restarts: readonly string[];
  /** Ms since the run had its turn. */
  readonly elapsed: number;
  /** Why it failed. */
  readonly error?: unknown;
}

/** What a run of `provisionAgent` found and did. */
export interface Provisioned {
  readonly agentId: string;
  readonly workspace: string;
  /** False: it was there before. */
  readonly created: boolean;
  readonly files: readonly ProvisionedFile[];
  readonly hello?: HelloResult;
  /** Ids of the restarts of the gateway that it took. */
  readonly restarts: readonly string[];
  /** Ms in which nothing was under way: waiting for the gateway, or between attempts. */
  readonly waited: number;
  /** Requests sent. */
  readonly attempts: number;
}
