import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { AgentStore } from './agents.js';
import { Auth } from './auth.js';
import { Boot } from './boot.js';
import type { Connection } from './connection.js';
import { Devices } from './devices.js';
import { FaultSet } from './fault-set.js';
import { Front } from './front.js';
import type { Gate, Host, RestartReceipt } from './host.js';
import { type ConnRecord, Ledger } from './ledger.js';
import { Listener } from './listener.js';
import { Nodes } from './nodes.js';
import { type Profile, profileOf } from './profiles.js';
import { Timers } from './timers.js';
import type { GatewayState, Limits, TestGatewayOptions, Timings } from './types.js';

interface Waiter {
  readonly condition: () => boolean;
  readonly settle: (error?: Error) => void;
}

/** The gateway's parts and what they share. It knows nothing of restarts: see lifecycle.ts. */
export class Core implements Host {
  readonly profile: Profile;
  readonly timings: Timings;
  readonly limits: Limits;
  readonly pairingMode: 'auto' | 'manual';
  readonly nodeCommandsMode: 'auto' | 'manual';
  readonly faults: FaultSet;
  readonly ledger: Ledger;
  readonly auth: Auth;
  readonly agents: AgentStore;
  readonly devices: Devices = new Devices();
  readonly nodes: Nodes = new Nodes();
  readonly counts: Map<string, number> = new Map();
  readonly jobs: Map<string, Record<string, unknown>> = new Map();
  readonly connections: Set<Connection> = new Set();
  readonly listener: Listener;
  readonly front: Front;
  /** Timers that live as long as the gateway object. */
  readonly timers: Timers = new Timers();
  boot: Boot = new Boot();
  phase: 'starting' | 'ready' | 'restarting' | 'stopped' = 'stopped';
  processStartedAt: number = Date.now();
  frozen = false;
  /** Set by the lifecycle. */
  onRestartRequest: (skipDeferral: boolean) => RestartReceipt = () => ({
    status: 'coalesced',
    work: 0,
    cooldownMs: 0,
  });
  onRestartAfterCreate: () => void = () => {};
  readonly #options: TestGatewayOptions;
  readonly #records: Map<number, ConnRecord> = new Map();
  readonly #waiters: Set<Waiter> = new Set();
  readonly #otherBootId: string = new Boot().id;
  #flap = false;

  constructor(options: TestGatewayOptions) {
    this.#options = options;
    this.profile = profileOf(options.emulate ?? '2026.9.6');
    this.timings = { ...this.profile.timings, ...options.timings };
    this.limits = { ...this.profile.limits, ...options.limits };
    this.pairingMode = options.pairing ?? 'auto';
    this.nodeCommandsMode = options.nodeCommands ?? 'auto';
    const token = options.token === undefined ? 'test-gateway-token' : options.token;
    this.auth = new Auth(token, this.profile, this.timings, this.limits);
    this.agents = new AgentStore(options.workspace);
    this.ledger = new Ledger(this.limits.ledger, () => this.changed());
    this.faults = new FaultSet(() => this.#faultsChanged());
    this.listener = new Listener({
      host: options.host ?? '127.0.0.1',
      port: options.port ?? 0,
      faults: this.faults,
      onDial: (number, socket) => this.#dial(number, socket),
      onWire: (wire) => {
        const record = this.#records.get(wire.number);
        if (record !== undefined) this.front.take(wire, record);
      },
    });
    this.front = new Front(this, options.tls);
  }

  get state(): GatewayState {
    return this.phase === 'ready' && this.boot.drains > 0 ? 'draining' : this.phase;
  }

  get gate(): Gate {
    if (this.faults.get('stuck-drain') !== undefined) return 'gateway-restarting';
    if (this.profile.drainGate && this.boot.drains > 0) return 'gateway-restarting';
    return this.faults.get('suspended') === undefined ? 'open' : 'gateway-suspending';
  }

  get httpUrl(): string {
    return `http${this.#options.tls === undefined ? '' : 's'}://${this.#authority()}`;
  }

  get url(): string {
    return `ws${this.#options.tls === undefined ? '' : 's'}://${this.#authority()}`;
  }

  helloBootId(): string {
    if (this.faults.get('boot-id-flap') === undefined) return this.boot.id;
    this.#flap = !this.#flap;
    return this.#flap ? this.#otherBootId : this.boot.id;
  }

  log(line: string): void {
    this.#options.log?.(line);
  }

  changed(): void {
    for (const waiter of [...this.#waiters]) {
      try {
        if (waiter.condition()) waiter.settle();
      } catch (error) {
        waiter.settle(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  until(condition: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        condition,
        settle: (error) => {
          this.#waiters.delete(waiter);
          calledOff();
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const late = (): void => waiter.settle(new Error(`the condition did not come true within ${timeoutMs} ms`));
      const calledOff = this.timers.after(timeoutMs, late);
      this.#waiters.add(waiter);
      this.changed();
    });
  }

  /** Nobody waits any longer: the gateway object is being closed. */
  abandonWaiters(): void {
    for (const waiter of [...this.#waiters]) waiter.settle(new Error('the test gateway was closed'));
  }

  broadcast(event: string, payload: unknown): void {
    for (const connection of this.connections) connection.event(event, payload);
  }

  requestRestart(reason: string, skipDeferral: boolean): RestartReceipt {
    const receipt = this.onRestartRequest(skipDeferral);
    this.log(`restart requested (${reason}): ${receipt.status}`);
    return receipt;
  }

  restartAfterCreate(): void {
    this.onRestartAfterCreate();
  }

  resetHttp(response: ServerResponse): void {
    this.front.reset(response);
  }

  #authority(): string {
    const host = this.#options.host ?? '127.0.0.1';
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
    return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${this.listener.port}`;
  }

  #dial(number: number, socket: Socket): void {
    const record = this.ledger.dial(number, socket.remoteAddress ?? '');
    this.#records.set(number, record);
    socket.once('close', () => {
      this.#records.delete(number);
      record.open = false;
      this.changed();
    });
  }

  #faultsChanged(): void {
    this.listener.follow().then(
      () => this.changed(),
      (error: unknown) => this.log(`cannot listen: ${String(error)}`),
    );
    this.changed();
  }
}
