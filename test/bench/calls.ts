/** Calls per second on a quiet link, beside a hand-written ws loop and the official client, interleaved. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { createClient } from '../../lib/index.js';
import { median, type Result, type Row } from './figures.js';

const ROUNDS = 9;
const ROUND_MS = 400;
const WIDTHS = [1, 10, 100, 1000];
const BYTES = [0, 1000, 16_000];
/** Calls per second with 100 in flight, as a share of the bare loop: 1 / 1.15. */
const OF_BARE = 1 / 1.15;

interface Caller {
  readonly name: string;
  call(params: unknown): Promise<unknown>;
  close(): Promise<void> | void;
}

export async function callsBench(): Promise<Result> {
  const server = spawn(process.execPath, [fileURLToPath(new URL('./echo-gateway.js', import.meta.url))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  const url = `ws://127.0.0.1:${Number(line.toString())}`;
  const callers = [await bare(url), await holdfast(url), await official(url)];
  const rows: Row[] = [];
  for (const width of WIDTHS) rows.push(await compare(callers, width, 0));
  for (const bytes of BYTES.slice(1)) rows.push(await compare(callers, 100, bytes));
  for (const caller of callers) await caller.close();
  server.kill();
  const hundred = rows.find((row) => row['in flight'] === 100 && row['payload bytes'] === 0);
  const share = Number(hundred?.['holdfast / bare']);
  const ahead = Number(hundred?.['holdfast / official']);
  return {
    name: 'calls per second on a quiet link (median of interleaved rounds)',
    target: 'with 100 in flight at least 0.87 of bare ws, and at least the official client',
    met: share >= OF_BARE && ahead >= 1,
    rows,
  };
}

async function compare(callers: readonly Caller[], width: number, bytes: number): Promise<Row> {
  const params = bytes === 0 ? { a: 1 } : { text: 'x'.repeat(bytes) };
  const rates = new Map<string, number[]>(callers.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    // Each goes first in turn: who follows a collection of garbage is not always the same.
    for (let n = 0; n < callers.length; n += 1) {
      const caller = callers[(n + round) % callers.length];
      if (caller !== undefined) rates.get(caller.name)?.push(await rate(caller, width, params));
    }
  }
  const of = (name: string): readonly number[] => rates.get(name) ?? [];
  // Ratios round by round: the speed of a shared machine drifts, and drifts for all alike.
  const ratio = (a: string, b: string): string =>
    median(of(a).map((value, n) => value / (of(b)[n] ?? Number.NaN))).toFixed(2);
  return {
    'in flight': width,
    'payload bytes': bytes,
    'bare ws': Math.round(median(of('bare'))),
    holdfast: Math.round(median(of('holdfast'))),
    official: Math.round(median(of('official'))),
    'holdfast / bare': ratio('holdfast', 'bare'),
    'holdfast / official': ratio('holdfast', 'official'),
  };
}

async function rate(caller: Caller, width: number, params: unknown): Promise<number> {
  let done = 0;
  const start = performance.now();
  const end = start + ROUND_MS;
  const loop = async (): Promise<void> => {
    while (performance.now() < end) {
      await caller.call(params);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: width }, loop));
  return done / ((performance.now() - start) / 1000);
}

/** What one writes by hand: JSON, a Map of promises, no time limits, no errors to speak of. */
async function bare(url: string): Promise<Caller> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const pending = new Map<string, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  let ids = 0;
  const ready = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString());
      if (frame.type === 'event')
        socket.send(JSON.stringify({ type: 'req', id: 'connect', method: 'connect', params: {} }));
      else if (frame.id === 'connect') resolve();
      else {
        const waiting = pending.get(frame.id);
        pending.delete(frame.id);
        if (frame.ok) waiting?.resolve(frame.payload);
        else waiting?.reject(frame.error);
      }
    });
  });
  await ready;
  return {
    name: 'bare',
    call: (params) =>
      new Promise((resolve, reject) => {
        ids += 1;
        const id = String(ids);
        pending.set(id, { resolve, reject });
        socket.send(JSON.stringify({ type: 'req', id, method: 'test.echo', params }));
      }),
    close: () => socket.terminate(),
  };
}

async function holdfast(url: string): Promise<Caller> {
  const client = createClient({ url, token: 'benchmark', logger: false }).start();
  await client.ready();
  return { name: 'holdfast', call: (params) => client.call('test.echo', params), close: () => client.close() };
}

/** As its documentation says: one client, `request`, its own default time limit. */
async function official(url: string): Promise<Caller> {
  const { GatewayClient } = await import('@openclaw/gateway-client');
  return await new Promise((resolve, reject) => {
    const client = new GatewayClient({
      url,
      token: 'benchmark',
      clientName: 'gateway-client',
      clientVersion: '1.0.0',
      mode: 'backend',
      role: 'operator',
      deviceIdentity: null,
      onHelloOk: () =>
        resolve({
          name: 'official',
          call: (params) => client.request('test.echo', params),
          close: () => client.stop(),
        }),
      onConnectError: reject,
    });
    client.start();
  });
}
