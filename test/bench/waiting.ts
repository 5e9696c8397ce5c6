/** Memory of 10,000 calls that wait out a restart, beyond their parameters. */
import { createClient } from '../../lib/index.js';
import { createTestGateway } from '../../lib/testing/index.js';
import type { Result } from './figures.js';

const CALLS = 10_000;
const LIMIT_MB = 20;

/** Needs `node --expose-gc`. */
export async function waitingBench(): Promise<Result> {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error('run it with node --expose-gc');
  const gateway = await createTestGateway({ timings: { portShutMs: 4000 } });
  const client = createClient({ url: gateway.url, token: gateway.token, logger: false }).start();
  await client.ready();
  const began = new Promise((resolve) => client.on('restart', resolve));
  const restarted = gateway.restart();
  await began;
  const params = Array.from({ length: CALLS }, (_, n) => ({ key: `key-${n}`, text: 'x'.repeat(100) }));
  // Twice: the first pass also loads and compiles what the calls need.
  const parameterBytes = params.reduce((total, each) => total + JSON.stringify(each).length, 0);
  collect();
  const before = process.memoryUsage().heapUsed;
  const calls = params.map((each) => client.call('test.echo', each));
  collect();
  const used = process.memoryUsage().heapUsed - before - parameterBytes;
  const { waiting } = client.health().calls;
  await restarted;
  const answers = await Promise.all(calls);
  await client.close();
  await gateway.close();
  const mb = used / 1024 / 1024;
  return {
    name: `${CALLS} calls that wait out a restart: heap beyond their parameters`,
    target: `under ${LIMIT_MB} MB`,
    met: mb < LIMIT_MB && answers.length === CALLS && waiting === CALLS,
    rows: [
      {
        calls: CALLS,
        waiting,
        'MB beyond parameters': mb.toFixed(1),
        'bytes per call': Math.round(used / CALLS),
        answered: answers.length,
      },
    ],
  };
}
