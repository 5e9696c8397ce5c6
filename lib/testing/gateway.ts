import { randomUUID } from 'node:crypto';
import { assertCloseCode } from './connection.js';
import type { Core } from './core.js';
import type { Cut, Fault } from './faults.js';
import type { Lifecycle } from './lifecycle.js';
import { approveNode, invokeNode } from './methods-nodes.js';
import type {
  ConnInfo,
  Emulate,
  GatewayState,
  LedgerEntry,
  Pairing,
  PairingRequest,
  RestartOptions,
  StartOptions,
  TestGateway,
} from './types.js';

/** The handle that tests hold. */
export class EmbeddedGateway implements TestGateway {
  readonly pairing: Pairing;
  readonly #core: Core;
  readonly #lifecycle: Lifecycle;

  constructor(core: Core, lifecycle: Lifecycle) {
    this.#core = core;
    this.#lifecycle = lifecycle;
    this.pairing = new PairingDesk(core);
  }

  get url(): string {
    return this.#core.url;
  }

  get httpUrl(): string {
    return this.#core.httpUrl;
  }

  get port(): number {
    return this.#core.listener.port;
  }

  get token(): string {
    return this.#core.auth.token ?? '';
  }

  get bootId(): string {
    return this.#core.boot.id;
  }

  get state(): GatewayState {
    return this.#core.state;
  }

  get emulate(): Emulate {
    return this.#core.profile.version;
  }

  get listening(): boolean {
    return this.#core.listener.listening;
  }

  get faults(): readonly Fault[] {
    return this.#core.faults.all;
  }

  get ledger(): readonly LedgerEntry[] {
    return this.#core.ledger.entries;
  }

  get connections(): readonly ConnInfo[] {
    return this.#core.ledger.connections;
  }

  get dials(): number {
    return this.#core.listener.dials;
  }

  get upgrades(): number {
    return this.#core.ledger.connections.filter((connection) => connection.upgraded).length;
  }

  get hellos(): number {
    return this.#core.ledger.connections.filter((connection) => connection.hello).length;
  }

  async restart(options: RestartOptions = {}): Promise<void> {
    assertCloseCode(options.closeCode ?? 1012);
    await this.#lifecycle.restart(options);
  }

  async stop(options: RestartOptions = {}): Promise<void> {
    assertCloseCode(options.closeCode ?? 1012);
    await this.#lifecycle.stop(options);
  }

  async start(options: StartOptions = {}): Promise<void> {
    await this.#lifecycle.start(options);
  }

  async kill(): Promise<void> {
    await this.#lifecycle.kill();
  }

  drain(options: { ms?: number } = {}): () => void {
    return this.#lifecycle.drain(options.ms);
  }

  freeze(): void {
    this.#core.frozen = true;
    this.#core.listener.freeze(true);
  }

  thaw(): void {
    this.#core.frozen = false;
    this.#core.listener.freeze(false);
  }

  inject(fault: Fault): () => void {
    const code =
      fault.name === 'reject-connect' ? fault.closeCode : fault.name === 'drop-after-hello' ? fault.code : null;
    assertCloseCode(code ?? 1000);
    const heal = this.#core.faults.add(fault);
    if (fault.name === 'half-open') this.#core.listener.vanish(fault.reset ?? false);
    this.#core.log(`fault: ${fault.name}`);
    return heal;
  }

  heal(): void {
    this.#core.faults.clear();
  }

  rotateToken(token: string): void {
    this.#core.auth.token = token;
    this.closeAll(4001, 'gateway auth changed');
  }

  send(event: string, payload: unknown, options: { seq?: number } = {}): void {
    for (const connection of this.#core.connections) {
      connection.event(event, payload, options.seq === undefined ? {} : { seq: options.seq });
    }
  }

  sendRaw(text: string): void {
    for (const connection of this.#core.connections) connection.raw(text);
  }

  closeAll(code: number, reason: string = ''): void {
    assertCloseCode(code);
    for (const connection of [...this.#core.connections]) connection.close(code, reason);
  }

  cutAll(cut: Cut): void {
    for (const connection of [...this.#core.connections]) connection.cut(cut);
  }

  invoke(nodeId: string, command: string, params?: unknown, options: { timeoutMs?: number } = {}): Promise<unknown> {
    const { boot } = this.#core;
    const { timeoutMs = 30_000 } = options;
    return boot.busy(invokeNode(this.#core, { nodeId, command, params, timeoutMs, idempotencyKey: randomUUID() }));
  }

  clearLedger(): void {
    this.#core.ledger.clear();
  }

  count(key: string): number {
    return this.#core.counts.get(key) ?? 0;
  }

  until(condition: () => boolean, timeoutMs: number = 5000): Promise<void> {
    return this.#core.until(condition, timeoutMs);
  }

  close(): Promise<void> {
    return this.#lifecycle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The person who approves devices and nodes. */
class PairingDesk implements Pairing {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  get requests(): readonly PairingRequest[] {
    return [...this.#core.devices.requests, ...this.#core.nodes.requests];
  }

  approve(requestId?: string): boolean {
    const id = requestId ?? this.requests[0]?.requestId ?? '';
    return this.#core.devices.approve(id) !== undefined || approveNode(this.#core, id);
  }

  remove(deviceId: string): boolean {
    this.#core.nodes.remove(deviceId);
    for (const connection of [...this.#core.connections]) {
      if (connection.identity?.deviceId === deviceId) connection.close(4001, 'device removed');
    }
    return this.#core.devices.remove(deviceId);
  }

  rotate(deviceId: string): boolean {
    return this.#core.devices.rotate(deviceId);
  }
}
