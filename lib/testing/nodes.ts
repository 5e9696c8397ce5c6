import { randomUUID } from 'node:crypto';
import type { Connection } from './connection.js';
import type { PairingRequest } from './types.js';

/** An invocation that a node has not answered yet. */
export interface Invocation {
  readonly id: string;
  readonly nodeId: string;
  readonly connection: Connection;
  settle(outcome: InvokeOutcome): void;
}

export type InvokeOutcome =
  | { readonly kind: 'result'; readonly ok: boolean; readonly payload: unknown; readonly error: unknown }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'disconnected' };

/** Nodes by device id: who is registered, what they may do, what they were asked. */
export class Nodes {
  readonly #registered: Map<string, Connection> = new Map();
  readonly #approved: Map<string, Set<string>> = new Map();
  readonly #waiting: Map<string, PairingRequest> = new Map();
  readonly #invocations: Map<string, Invocation> = new Map();

  get requests(): readonly PairingRequest[] {
    return [...this.#waiting.values()];
  }

  get registered(): ReadonlyMap<string, Connection> {
    return this.#registered;
  }

  /** The latest connection of an identity wins; the older one stays open and is deaf. */
  register(
    nodeId: string,
    connection: Connection,
    commands: readonly string[],
    auto: boolean,
  ): PairingRequest | undefined {
    const older = this.#registered.get(nodeId);
    this.#registered.set(nodeId, connection);
    if (older !== undefined) this.#drop(older);
    const approved = this.#approved.get(nodeId);
    if (auto) this.#approved.set(nodeId, new Set([...(approved ?? []), ...commands]));
    else if (approved === undefined || commands.some((command) => !approved.has(command))) {
      return this.#wait(nodeId, commands);
    }
    return undefined;
  }

  /** When the registered connection goes, the identity is gone: an older one is not restored. */
  unregister(connection: Connection): void {
    for (const [nodeId, current] of this.#registered) {
      if (current === connection) this.#registered.delete(nodeId);
    }
    this.#drop(connection);
  }

  isRegistered(connection: Connection): boolean {
    return [...this.#registered.values()].includes(connection);
  }

  pendingRequest(nodeId: string): PairingRequest | undefined {
    return [...this.#waiting.values()].find((request) => request.deviceId === nodeId);
  }

  isApproved(nodeId: string): boolean {
    return this.#approved.has(nodeId) && this.pendingRequest(nodeId) === undefined;
  }

  commandsOf(nodeId: string): readonly string[] {
    return [...(this.#approved.get(nodeId) ?? [])];
  }

  approve(requestId: string): PairingRequest | undefined {
    const request = this.#waiting.get(requestId);
    if (request === undefined) return undefined;
    this.#waiting.delete(requestId);
    this.#approved.set(request.deviceId, new Set([...this.commandsOf(request.deviceId), ...request.commands]));
    return request;
  }

  reject(requestId: string): boolean {
    return this.#waiting.delete(requestId);
  }

  remove(nodeId: string): void {
    this.#approved.delete(nodeId);
  }

  invoke(nodeId: string, connection: Connection, settle: (outcome: InvokeOutcome) => void): Invocation {
    const id = randomUUID();
    const invocation: Invocation = {
      id,
      nodeId,
      connection,
      settle: (outcome) => {
        if (this.#invocations.delete(id)) settle(outcome);
      },
    };
    this.#invocations.set(id, invocation);
    return invocation;
  }

  /** The invocation of this id, if it was sent on this very connection. */
  find(id: string, connection: Connection): Invocation | undefined {
    const invocation = this.#invocations.get(id);
    return invocation?.connection === connection ? invocation : undefined;
  }

  #drop(connection: Connection): void {
    for (const invocation of [...this.#invocations.values()]) {
      if (invocation.connection === connection) invocation.settle({ kind: 'disconnected' });
    }
  }

  #wait(nodeId: string, commands: readonly string[]): PairingRequest {
    const earlier = this.pendingRequest(nodeId);
    if (earlier !== undefined) this.#waiting.delete(earlier.requestId);
    const request: PairingRequest = {
      requestId: earlier?.requestId ?? randomUUID(),
      kind: 'node',
      deviceId: nodeId,
      reason: 'commands',
      role: 'node',
      commands: [...commands],
    };
    this.#waiting.set(request.requestId, request);
    return request;
  }
}
