import type { Boot } from './boot.js';
import type { Connection } from './connection.js';
import type { Host } from './host.js';
import type { Entry } from './ledger.js';
import { AGENT_METHODS } from './methods-agents.js';
import { CORE_METHODS } from './methods-core.js';
import { NODE_METHODS } from './methods-nodes.js';
import { RUN_METHODS } from './methods-runs.js';
import { TEST_METHODS } from './methods-test.js';
import type { Rule } from './validate.js';

/** What a method is given besides its params. */
export interface Call {
  readonly host: Host;
  readonly connection: Connection;
  readonly boot: Boot;
  /** Its line in the ledger; a method that turns out to do nothing sets `executed` back. */
  readonly entry: Entry;
  /** Runs when the answer has been written. */
  afterAnswer(action: () => void): void;
}

export interface Method {
  /** Scope the caller needs; none by default. */
  readonly scope?: string;
  /** Who may call it. Default operator. */
  readonly role?: 'operator' | 'node' | 'any';
  /** Closed schema of its params; without one anything goes. */
  readonly params?: Rule;
  /** Counts as a control-plane write. */
  readonly limited?: boolean;
  /** Is let through the drain gate. */
  readonly whileDraining?: boolean;
  run(call: Call, params: Record<string, unknown>): unknown;
}

export type MethodTable = Readonly<Record<string, Method>>;

/** Every method by name. */
export const METHODS: ReadonlyMap<string, Method> = new Map(
  Object.entries({ ...CORE_METHODS, ...AGENT_METHODS, ...RUN_METHODS, ...NODE_METHODS, ...TEST_METHODS }),
);
