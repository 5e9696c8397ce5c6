/** The HTTP side of a client over a link that does what a test says: its gate, its knowledge, its credential. */
import { type CallOptions, httpOptions } from '../../lib/api/call-request.js';
import type { RetryEvent } from '../../lib/api/events.js';
import { GatewayFetch } from '../../lib/api/fetch.js';
import type { HttpPort } from '../../lib/api/http-attempt.js';
import { RetryAccount } from '../../lib/api/retry-account.js';
import { type Knowledge, NO_KNOWLEDGE } from '../../lib/core/failure.js';
import type { RestartInfo } from '../../lib/core/restart.js';
import type { LinkFacts } from '../../lib/core/retry.js';
import type { Runtime } from '../../lib/core/runtime.js';
import { systemRuntime } from '../../lib/io/runtime.js';

export const TOKEN = 'scripted-token-0123456789';

export class ScriptedLink implements HttpPort {
  /** What the next reads of the credential give; the last one stays. */
  credentials: (string | undefined | Error)[] = [TOKEN];
  address: string;
  knowledge: Knowledge = NO_KNOWLEDGE;
  readonly retries: RetryEvent[] = [];
  readonly faults: string[] = [];
  drains = 0;
  serves = 0;
  /** Credentials read. */
  reads = 0;
  #link: LinkFacts = { gate: 'open', reason: null };
  #restart: RestartInfo | undefined;
  #restarts = 0;
  readonly #waiters = new Set<() => void>();

  constructor(address: string) {
    this.address = address;
  }

  /** Who waits for the gate. */
  get waiters(): number {
    return this.#waiters.size;
  }

  /** The link as it is from now on; whoever waits looks again. */
  set(gate: LinkFacts['gate'], reason: LinkFacts['reason'] = null): void {
    this.#link = { gate, reason };
    for (const wake of [...this.#waiters]) wake();
  }

  beginRestart(): void {
    this.#restarts += 1;
    this.#restart = { id: `restart-${this.#restarts}`, since: Date.now() };
    this.knowledge = { ...NO_KNOWLEDGE, restarting: true };
    this.set('hold', 'gateway-restart');
  }

  endRestart(): void {
    this.#restart = undefined;
    this.knowledge = NO_KNOWLEDGE;
    this.set('open');
  }

  async base(): Promise<string> {
    return this.address;
  }

  async credential(): Promise<string | undefined> {
    this.reads += 1;
    const next = this.credentials.length > 1 ? this.credentials.shift() : this.credentials[0];
    if (next instanceof Error) throw next;
    return next;
  }

  link(): LinkFacts {
    return this.#link;
  }

  known(): Knowledge {
    return this.knowledge;
  }

  restart(): RestartInfo | undefined {
    return this.#restart;
  }

  restarts(): number {
    return this.#restarts;
  }

  gateChanged(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiters.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  draining(): void {
    this.drains += 1;
  }

  served(): void {
    this.serves += 1;
  }

  retried(event: RetryEvent): void {
    this.retries.push(event);
  }

  fault(where: string): void {
    this.faults.push(where);
  }
}

/** A clock that runs `factor` times as fast as ours, so that minutes of waiting pass in a test. */
export function hurried(factor: number): Runtime {
  const origin = performance.now();
  const wallOrigin = Date.now();
  const now = (): number => (performance.now() - origin) * factor;
  return {
    ...systemRuntime,
    now,
    wall: () => wallOrigin + now(),
    setTimer: (fire, ms) => systemRuntime.setTimer(fire, ms / factor),
  };
}

export interface Rig {
  readonly link: ScriptedLink;
  readonly account: RetryAccount;
  readonly http: GatewayFetch;
  readonly runtime: Runtime;
  fetch(input: string | URL | Request, init?: RequestInit, options?: CallOptions): Promise<Response>;
}

export function rig(address: string, runtime: Runtime = systemRuntime): Rig {
  const link = new ScriptedLink(address);
  const account = new RetryAccount(runtime);
  const http = new GatewayFetch(link, runtime, account);
  const fetch = async (
    input: string | URL | Request,
    init: RequestInit = {},
    options: CallOptions = {},
  ): Promise<Response> => await http.fetch(input, init, httpOptions(options, { deadline: 120_000 }));
  return { link, account, http, runtime, fetch };
}

/** Looks at every turn of the loop. Mocha's own limit ends what never comes. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}
