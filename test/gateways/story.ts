// What a client told, in order: to wait on, and to print when a scenario fails.
import type { ClientEvent, GatewayClient } from '../../lib/index.js';

export interface Story {
  readonly client: GatewayClient;
  readonly events: readonly ClientEvent[];
  /** The first event, past or to come, that satisfies the condition. Rejects with the whole story. */
  until(what: string, condition: (event: ClientEvent) => boolean, timeout: number): Promise<ClientEvent>;
  /** The story as lines of text. */
  tell(): string;
}

interface Waiter {
  offer(event: ClientEvent): void;
}

/** Records the events of a client from now on; gateway broadcasts are left out. */
export function watch(client: GatewayClient): Story {
  const began = performance.now();
  const events: ClientEvent[] = [];
  const lines: string[] = [];
  const waiters = new Set<Waiter>();

  const record = (event: ClientEvent): void => {
    events.push(event);
    const { type, ...rest } = event;
    const { error: _error, ...plain } = 'error' in rest ? rest : { ...rest, error: undefined };
    lines.push(`${(performance.now() - began).toFixed(0).padStart(7)} ${type} ${JSON.stringify(plain)}`);
    for (const waiter of waiters) waiter.offer(event);
  };
  client.on('state', (event) => record({ type: 'state', ...event }));
  client.on('attempt', (event) => record({ type: 'attempt', ...event }));
  client.on('restart', (event) => record({ type: 'restart', ...event }));
  client.on('retry', (event) => record({ type: 'retry', ...event }));
  client.on('giveup', (event) => record({ type: 'giveup', ...event }));

  const tell = (): string => lines.join('\n');
  return {
    client,
    events,
    tell,
    until(what, condition, timeout) {
      const told = events.find(condition);
      if (told !== undefined) return Promise.resolve(told);
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          offer(event) {
            if (!condition(event)) return;
            settle();
            resolve(event);
          },
        };
        const timer = setTimeout(() => {
          settle();
          reject(new Error(`not within ${timeout} ms: ${what}\n${tell()}`));
        }, timeout);
        const settle = (): void => {
          clearTimeout(timer);
          waiters.delete(waiter);
        };
        waiters.add(waiter);
      });
    },
  };
}
