/**
 * The requests side of a gateway in virtual time: it reads frames, executes or refuses them, drains, freezes, dies, and
 * keeps a ledger of what it really did. Its answers may be odd, late or missing, but never lie about its work.
 */
import type { Chance, VirtualRuntime } from './virtual-runtime.js';

export interface Request {
  readonly id: string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What became of one call at the gateway, over all its copies and all instances. */
export interface Entry {
  /** Copies that reached a living gateway, read or not. */
  frames: number;
  /** One entry for every time that the effect happened: the instance. */
  readonly executed: string[];
  /** Copies under way, unread, or in the works. */
  pending: number;
}

/** `fenced` and `legacy`: after `shutdown` 2026.9.6 drops what it reads, 2026.4.26 may run it; neither answers. */
export type Mode = 'ready' | 'starting' | 'draining' | 'suspended' | 'fenced' | 'legacy';

/** One link, as the gateway sees it. */
export interface Line {
  /** The process in which it ends: what is on its way when that is gone reaches no other. */
  readonly bootId: string;
  reply(id: string, body: Readonly<Record<string, unknown>>): void;
  close(code: number, reason?: string): void;
}

/** One request in the hands of a gateway that is ready, and what it can do with it. */
export interface Serving {
  readonly request: Request;
  readonly link: Line;
  readonly chance: Chance;
  /** Does the work and answers, so much later, once or more often. */
  answer(ms: number, times?: number): void;
  /** Takes the time of the work, does it or not, and goes on with `then`. */
  work(does: boolean, then: () => void): void;
  refuse(code: string, message: string, more?: object): void;
}

interface Task {
  readonly run: () => void;
  readonly drop: () => void;
}

const KEY_TTL = 300_000;
const KEYED: ReadonlySet<string> = new Set(['chat.send', 'agent', 'environments.create']);
const READS: ReadonlySet<string> = new Set(['health', 'sessions.list', 'agents.list', 'test.look']);
const MARKERS = ['marker', 'workspace'] as const;

/** Which call a request is a copy of. */
export function markerOf(params: Readonly<Record<string, unknown>>): string | undefined {
  for (const name of MARKERS) if (typeof params[name] === 'string') return params[name];
  return undefined;
}

/** One process of the gateway. What it holds in memory dies with it. */
class Instance {
  readonly bootId: string;
  readonly keys: Map<string, number> = new Map();
  alive = true;
  constructor(bootId: string) {
    this.bootId = bootId;
  }
}

export class ScriptedGateway {
  readonly runtime: VirtualRuntime;
  readonly chance: Chance;
  readonly ledger: Map<string, Entry> = new Map();
  /** Receipts and agents are on disk: they outlive an instance. */
  readonly #receipts = new Set<string>();
  readonly #agents = new Map<string, { id: string; name: string; workspace: string; at: number; bootId: string }>();
  mode: Mode = 'ready';
  /** How a request is served that nothing stands against. */
  temper: (serving: Serving) => void = ({ answer }) => answer(0);
  /** A new agent is listed so much later (up to 2 s on 2026.9.6), or by the next instance. */
  listLag = 0;
  /** Longest work on a request, in ms. */
  slowest = 200;
  /** What a draining gateway asks its callers to wait. */
  drainHint = 1000;
  #instance = new Instance('boot-1');
  #boots = 1;
  #backlog: Task[] | null = null;

  constructor(runtime: VirtualRuntime, chance: Chance) {
    this.runtime = runtime;
    this.chance = chance;
  }

  get bootId(): string {
    return this.#instance.bootId;
  }

  get alive(): boolean {
    return this.#instance.alive;
  }

  entry(marker = ''): Entry {
    const known = this.ledger.get(marker);
    if (known !== undefined) return known;
    const entry: Entry = { frames: 0, executed: [], pending: 0 };
    this.ledger.set(marker, entry);
    return entry;
  }

  kill(): void {
    this.#instance.alive = false;
    for (const { drop } of this.#backlog ?? []) drop();
    this.#backlog = null;
  }

  boot(): void {
    this.kill();
    this.#boots += 1;
    this.#instance = new Instance(`boot-${this.#boots}`);
    this.mode = 'ready';
  }

  /** Nothing is read and no work goes on; sockets live, and the rest happens at the thaw. */
  freeze(): void {
    this.#backlog ??= [];
  }

  thaw(): void {
    const backlog = this.#backlog ?? [];
    this.#backlog = null;
    for (const { run } of backlog) run();
  }

  receive(link: Line, request: Request, entry: Entry): void {
    const drop = (): void => {
      entry.pending -= 1;
    };
    if (!this.alive || link.bootId !== this.bootId) {
      drop();
      return;
    }
    entry.frames += 1;
    const run = (): void => {
      drop();
      this.#serve(link, request, entry);
    };
    if (this.#backlog === null) run();
    else this.#backlog.push({ run, drop });
  }

  #serve(link: Line, request: Request, entry: Entry): void {
    const { method } = request;
    const refuse = (code: string, message: string, more: object = {}): void =>
      link.reply(request.id, { ok: false, error: { code, message, ...more } });
    const unavailable = (reason: string, retryAfterMs: number): void =>
      refuse('UNAVAILABLE', `${method} unavailable`, { retryable: true, retryAfterMs, details: { method, reason } });
    switch (this.mode) {
      case 'fenced':
        return;
      case 'legacy':
        this.#work(request, entry, this.chance.draw() < 0.7, NOTHING);
        return;
      case 'draining':
        unavailable('gateway-restarting', this.drainHint);
        return;
      case 'suspended':
        unavailable('gateway-suspending', this.drainHint);
        return;
      case 'starting':
        unavailable('startup-sidecars', 500);
        return;
      case 'ready':
        this.temper({
          request,
          link,
          chance: this.chance,
          refuse,
          work: (does, then) => this.#work(request, entry, does, then),
          answer: (ms, times = 1) =>
            this.#work(request, entry, true, (body) => {
              const run = (): void => link.reply(request.id, body);
              for (let n = 0; n < times; n += 1) this.#later(ms, { run, drop: NOTHING });
            }),
        });
    }
  }

  /** Does the work, or only spends the time; `done` gets the answer when the time is over. */
  #work(request: Request, entry: Entry, does: boolean, done: (body: Readonly<Record<string, unknown>>) => void): void {
    const { method, params } = request;
    const key = KEYED.has(method) ? String(params['idempotencyKey']) : null;
    const ms = this.chance.span(1, this.slowest);
    if (key !== null && does) {
      // Accepted at once: from here on the key answers, whatever becomes of the link.
      const payload = { marker: params['marker'], ...this.#keyed(method, key, entry) };
      this.#later(ms, { run: () => done({ ok: true, payload }), drop: NOTHING });
      return;
    }
    let body: Readonly<Record<string, unknown>> = {};
    entry.pending += 1;
    const drop = (): void => {
      entry.pending -= 1;
    };
    const run = (): void => {
      drop();
      if (does) body = this.#effect(request, entry);
      this.#later(ms * this.chance.draw(), { run: () => done(body), drop: NOTHING });
    };
    this.#later(ms, { run, drop });
  }

  /** The key answers for the first copy: in memory, except for what keeps its receipts. */
  #keyed(method: string, key: string, entry: Entry): object {
    const { keys, bootId } = this.#instance;
    const now = this.runtime.now();
    const at = keys.get(key);
    const known = (at !== undefined && now - at < KEY_TTL) || this.#receipts.has(key);
    if (!known) {
      keys.set(key, now);
      if (method === 'environments.create') this.#receipts.add(key);
      entry.executed.push(bootId);
    }
    return { runId: key, status: known ? 'in_flight' : 'accepted' };
  }

  #effect({ method, params }: Request, entry: Entry): Readonly<Record<string, unknown>> {
    const marker = markerOf(params);
    if (method === 'agents.create') {
      const id = String(params['name']).toLowerCase();
      if (this.#agents.has(id))
        return { ok: false, error: { code: 'INVALID_REQUEST', message: `agent "${id}" already exists` } };
      const agent = {
        id,
        name: String(params['name']),
        workspace: String(marker),
        at: this.runtime.now(),
        bootId: this.bootId,
      };
      this.#agents.set(id, agent);
      entry.executed.push(this.bootId);
      return { ok: true, payload: { ok: true, agentId: id, name: agent.name, workspace: agent.workspace } };
    }
    const agent = typeof params['agentId'] === 'string' ? this.#agents.get(params['agentId']) : undefined;
    if (params['agentId'] !== undefined && (agent === undefined || this.runtime.now() - agent.at < 500)) {
      return { ok: false, error: { code: 'INVALID_REQUEST', message: `agent "${params['agentId']}" not found` } };
    }
    if (method === 'test.look') {
      const { executed, pending } = this.entry(String(params['look']));
      return { ok: true, payload: { executed: executed.length > 0, final: pending === 0 } };
    }
    if (method === 'agents.list') return { ok: true, payload: { marker, agents: this.#listed() } };
    if (!READS.has(method)) entry.executed.push(this.bootId);
    return { ok: true, payload: { marker } };
  }

  #listed(): object[] {
    const now = this.runtime.now();
    return [...this.#agents.values()].filter(({ at, bootId }) => bootId !== this.bootId || now - at >= this.listLag);
  }

  /** Work of this instance: it ends with it, and waits while the gateway is frozen. */
  #later(ms: number, task: Task): void {
    const instance = this.#instance;
    this.runtime.setTimer(() => {
      if (!instance.alive) task.drop();
      else if (this.#backlog === null) task.run();
      else this.#backlog.push(task);
    }, ms);
  }
}

const NOTHING = (): void => {};
