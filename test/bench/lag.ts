/**
 * After a restart of the gateway: from the moment a poller that dials every 25 ms gets its hello to the moment a client
 * has its own. The poller is the physical limit, and impolite; nobody could run a thousand of them.
 */
import { createClient } from '../../lib/index.js';
import { createTestGateway } from '../../lib/testing/index.js';
import { startGateway } from '../gateways/launcher.js';
import { dial } from '../gateways/wire.js';
import { median, quantile, type Result, type Row } from './figures.js';

const RESTARTS = 10;
const POLL_MS = 25;
const MEDIAN_MS = 150;
const MOST_DIALS = 60;

interface Subject {
  readonly url: string;
  readonly token: string;
  /** Begins a restart; coming back is not awaited. */
  restart(): Promise<unknown>;
  close(): Promise<void>;
}

interface Rider {
  readonly name: string;
  /** Resolves with the time of its next hello after a lost link. */
  back(): Promise<number>;
  dials(): number;
  close(): Promise<void> | void;
}

export async function lagBench(real: boolean): Promise<Result> {
  const subject = real ? await realGateway() : await embeddedGateway();
  const riders = [await holdfast(subject), await official(subject)];
  const lags = new Map<string, number[]>(riders.map(({ name }) => [name, []]));
  const dials: number[] = [];
  const windows: number[] = [];
  for (let n = 0; n < RESTARTS; n += 1) {
    const before = riders[0]?.dials() ?? 0;
    const backs = riders.map((rider) => rider.back());
    const watched = await dial(subject.url, subject.token, 5000);
    const poller = poll(subject, watched.closed);
    const start = performance.now();
    await subject.restart();
    const [polled, ...times] = await Promise.all([poller, ...backs]);
    riders.forEach((rider, index) => {
      lags.get(rider.name)?.push((times[index] ?? Number.NaN) - polled);
    });
    windows.push(polled - start);
    dials.push((riders[0]?.dials() ?? 0) - before);
    // A restart request within the gateway's own cooldown is put off by it.
    if (real) await new Promise((resolve) => setTimeout(resolve, 31_000));
  }
  for (const rider of riders) await rider.close();
  await subject.close();
  const own = lags.get('holdfast') ?? [];
  const rows: Row[] = riders.map(({ name }) =>
    row(name, lags.get(name) ?? [], name === 'holdfast' ? Math.max(...dials) : Number.NaN, windows),
  );
  return {
    name: `lag behind a ${POLL_MS} ms poller after a restart of ${real ? 'a real 2026.9.6' : 'the embedded gateway'}, ms`,
    target: `median at most ${MEDIAN_MS}, at most ${MOST_DIALS} dials`,
    met: median(own) <= MEDIAN_MS && Math.max(...dials) <= MOST_DIALS,
    rows,
  };
}

function row(name: string, lags: readonly number[], dials: number, windows: readonly number[]): Row {
  return {
    client: name,
    restarts: lags.length,
    median: Math.round(median(lags)),
    p90: Math.round(quantile(lags, 0.9)),
    max: Math.round(Math.max(...lags)),
    'most dials': Number.isNaN(dials) ? '–' : dials,
    'median window': Math.round(median(windows)),
  };
}

/** Once the gateway has gone, dials every 25 ms until it has a hello; resolves with that moment. */
async function poll(subject: Subject, gone: Promise<unknown>): Promise<number> {
  await gone;
  for (;;) {
    const next = performance.now() + POLL_MS;
    try {
      const operator = await dial(subject.url, subject.token, 5000);
      const at = performance.now();
      operator.close();
      return at;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    }
  }
}

async function holdfast(subject: Subject): Promise<Rider> {
  const client = createClient({ url: subject.url, token: subject.token, logger: false }).start();
  await client.ready();
  let dials = 0;
  client.on('attempt', () => {
    dials += 1;
  });
  return {
    name: 'holdfast',
    dials: () => dials,
    close: () => client.close(),
    back: () =>
      new Promise((resolve) => {
        const off = client.on('state', ({ to }) => {
          if (to !== 'online') return;
          off();
          resolve(performance.now());
        });
      }),
  };
}

/** With its defaults: it has no option for the pace of its reconnects. */
async function official(subject: Subject): Promise<Rider> {
  const { GatewayClient } = await import('@openclaw/gateway-client');
  let hello: () => void = () => {};
  const first = new Promise<void>((resolve) => {
    hello = resolve;
  });
  const client = new GatewayClient({
    url: subject.url,
    token: subject.token,
    clientName: 'gateway-client',
    clientVersion: '1.0.0',
    mode: 'backend',
    role: 'operator',
    deviceIdentity: null,
    onHelloOk: () => hello(),
  });
  client.start();
  await first;
  return {
    name: '@openclaw/gateway-client',
    dials: () => Number.NaN,
    close: () => client.stop(),
    back: () =>
      new Promise((resolve) => {
        hello = () => resolve(performance.now());
      }),
  };
}

async function embeddedGateway(): Promise<Subject> {
  const gateway = await createTestGateway({ timings: { portShutMs: 2000, startingMs: 200 } });
  return {
    url: gateway.url,
    token: gateway.token,
    restart: async () => {
      // Not awaited: it resolves when the gateway is back. A little other each time, so that no pace is in step with it.
      void gateway.restart({ portShutMs: 1800 + Math.random() * 400 });
    },
    close: () => gateway.close(),
  };
}

async function realGateway(): Promise<Subject> {
  const gateway = await startGateway({ version: '2026.9.6' });
  return {
    url: gateway.url,
    token: gateway.token,
    restart: () => gateway.restartRequest(),
    close: () => gateway.dispose(),
  };
}
