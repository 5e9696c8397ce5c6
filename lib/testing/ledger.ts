import type { ConnInfo, LedgerEntry } from './types.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** An entry while its request is being dealt with. */
export type Entry = Mutable<LedgerEntry>;
export type ConnRecord = Mutable<ConnInfo>;

/** Everything that reached the gateway: requests and connections. Tests judge a client by it. */
export class Ledger {
  readonly #limit: number;
  readonly #changed: () => void;
  #entries: Entry[] = [];
  #connections: ConnRecord[] = [];
  #requests = 0;

  constructor(limit: number, changed: () => void) {
    this.#limit = limit;
    this.#changed = changed;
  }

  get entries(): readonly LedgerEntry[] {
    return this.#entries;
  }

  get connections(): readonly ConnInfo[] {
    return this.#connections;
  }

  dial(conn: number, remoteAddress: string): ConnRecord {
    const record: ConnRecord = {
      conn,
      at: Date.now(),
      remoteAddress,
      open: true,
      upgraded: false,
      hello: false,
    };
    this.#connections.push(record);
    if (this.#connections.length > this.#limit) this.#connections.shift();
    this.#changed();
    return record;
  }

  /** Records a request as it arrives: not executed, not answered. */
  request(request: Pick<LedgerEntry, 'kind' | 'conn' | 'bootId' | 'method' | 'params'> & { id?: string }): Entry {
    this.#requests += 1;
    const entry: Entry = {
      at: Date.now(),
      ...request,
      id: request.id ?? String(this.#requests),
      executed: false,
      answered: false,
    };
    this.#entries.push(entry);
    if (this.#entries.length > this.#limit) this.#entries.shift();
    this.#changed();
    return entry;
  }

  /** Says that an entry or a connection has been altered. */
  touch(): void {
    this.#changed();
  }

  clear(): void {
    this.#entries = [];
  }
}
