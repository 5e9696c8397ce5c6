/** Collects what a client tells, and waits for the one thing that matters: nothing here sleeps for luck. */
import assert from 'node:assert/strict';
import type { ClientEvent, GatewayClient, GatewayError, Logger } from '../../lib/index.js';
import { isGatewayError } from '../../lib/index.js';

/** One log record. The fields are those that operators filter by. */
export interface Line {
  readonly level: string;
  readonly message: string;
  readonly event?: string;
  readonly attempt?: number;
  readonly phase?: string;
  readonly reason?: string;
  readonly code?: string;
  readonly error?: string;
  readonly remedy?: string;
  readonly state?: string;
  readonly prevState?: string;
  readonly delayMs?: number;
  readonly nextAttemptAt?: string;
  readonly giveUpAt?: string;
  readonly elapsedMs?: number;
  readonly outageMs?: number;
  readonly downMs?: number;
  readonly restartId?: string;
  readonly evidence?: string;
  readonly expectedMs?: number;
  readonly cancelled?: boolean;
  readonly httpStatus?: number;
  readonly closeCode?: number;
  readonly closeReason?: string;
  readonly retryAfterMs?: number;
  readonly awaiting?: string;
  readonly instanceId?: string;
  readonly connId?: string;
  readonly bootId?: string;
  readonly gatewayVersion?: string;
  readonly fields?: readonly string[];
  readonly where?: string;
  readonly err?: { readonly message?: string };
  readonly count?: number;
  readonly exitCode?: number;
}

/** How long anything may take that is waited for, in ms: far beyond what it needs, so that a slow machine passes. */
const PATIENCE_MS = 8000;

/** A list that can be waited on. */
export class Collection<T> {
  readonly all: T[] = [];
  readonly #waiters = new Set<() => void>();

  add(item: T): void {
    this.all.push(item);
    for (const look of [...this.#waiters]) look();
  }

  /** The first item that fits, already here or still to come. */
  async until(fits: (item: T) => boolean, what = 'an item', within: number = PATIENCE_MS): Promise<T> {
    const [item] = await this.untilCount(1, fits, what, within);
    assert.ok(item !== undefined);
    return item;
  }

  /** The items that fit, once there are `count` of them. */
  async untilCount(
    count: number,
    fits: (item: T) => boolean,
    what = 'items',
    within: number = PATIENCE_MS,
  ): Promise<T[]> {
    const found = new Promise<T[]>((resolve) => {
      const look = (): void => {
        const fitting = this.all.filter(fits);
        if (fitting.length < count) return;
        this.#waiters.delete(look);
        resolve(fitting);
      };
      this.#waiters.add(look);
      look();
    });
    return await bounded(found, what, within);
  }
}

/** Log records of one client, and the logger that collects them. */
export class Journal extends Collection<Line> {
  readonly logger: Logger = {
    debug: (record, message) => this.#take('debug', record, message),
    info: (record, message) => this.#take('info', record, message),
    warn: (record, message) => this.#take('warn', record, message),
    error: (record, message) => this.#take('error', record, message),
  };

  #take(level: string, record: object, message = ''): void {
    this.add({ ...record, level, message });
  }

  of(event: string): Line[] {
    return this.all.filter((line) => line.event === event);
  }

  /** The records of dials that failed. */
  get failures(): Line[] {
    return this.of('attempt').filter((line) => line.reason !== undefined);
  }

  /** The first failed dials, once there are so many. */
  failed(count = 1): Promise<Line[]> {
    return this.untilCount(
      count,
      (line) => line.event === 'attempt' && line.reason !== undefined,
      `${count} failed attempts`,
    );
  }

  entered(state: string): Promise<Line> {
    return this.until((line) => line.event === 'state' && line.state === state, `state ${state}`);
  }

  /** Every text in it, as one: for scans. */
  get text(): string {
    return this.all.map((line) => JSON.stringify(line)).join('\n');
  }
}

/** Every event of a client from now on. */
export function eventsOf(client: GatewayClient): Collection<ClientEvent> {
  const seen = new Collection<ClientEvent>();
  client.on('state', (event) => seen.add({ ...event, type: 'state' }));
  client.on('attempt', (event) => seen.add({ ...event, type: 'attempt' }));
  client.on('restart', (event) => seen.add({ ...event, type: 'restart' }));
  client.on('retry', (event) => seen.add({ ...event, type: 'retry' }));
  client.on('event', (event) => seen.add({ ...event, type: 'event' }));
  client.on('gap', (event) => seen.add({ ...event, type: 'gap' }));
  client.on('giveup', (event) => seen.add({ ...event, type: 'giveup' }));
  return seen;
}

/** The promise, or a failure that says what was waited for. */
export async function bounded<T>(promise: Promise<T>, what: string, within: number = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${within} ms`)), within);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks every few ms until the condition holds: for files and processes, which tell nobody. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
  within: number = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + within;
  while (!(await holds())) {
    assert.ok(performance.now() < end, `${what}: not within ${within} ms`);
    await pause(5);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** What a call or an option was rejected with; fails when it was not, or not with a GatewayError. */
export async function refusal(promise: Promise<unknown>): Promise<GatewayError> {
  const result = await bounded(
    promise.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    ),
    'a settlement',
  );
  assert.ok('error' in result, 'it resolved, although it had to fail');
  assert.ok(isGatewayError(result.error), `not a GatewayError: ${String(result.error)}`);
  return result.error;
}

/** How long something took, in ms. */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const start = performance.now();
  const value = await work();
  return { value, ms: performance.now() - start };
}

/**
 * For tests that wait more than they work: `it('…', beside(async () => { … }))` runs the tests of one `describe` at the
 * same time, a few at once. Each has its own peers, and each passes or fails by itself.
 */
export function sideBySide(width: number = 4): (run: () => Promise<void>) => () => Promise<void> {
  const queue: (() => Promise<void>)[] = [];
  before(() => {
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await next();
    };
    for (let count = 0; count < width; count += 1) void worker();
  });
  return (run) => {
    let settle: (result: Promise<void>) => void = () => {};
    const result = new Promise<void>((resolve) => {
      settle = resolve;
    });
    // Its own test tells; until then it must not count as unhandled.
    result.catch(() => {});
    queue.push(async () => {
      const running = run();
      settle(running);
      await running.catch(() => {});
    });
    return () => result;
  };
}
