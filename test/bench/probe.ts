/** Whole-process time of `holdfast probe` beside `node -e 0`, in turn. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '../../lib/index.js';
import { createTestGateway } from '../../lib/testing/index.js';
import { median, type Result } from './figures.js';

const RUNS = 41;
const TARGET = 1.3;
/** What ships: the build of the package, not that of the tests. */
const BIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

export async function probeBench(): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const file = join(folder, 'liveness.json');
  const gateway = await createTestGateway();
  const client = createClient({
    url: gateway.url,
    token: gateway.token,
    logger: false,
    liveness: { file, interval: 500 },
  }).start();
  await client.ready();
  const bare: number[] = [];
  const probe: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    bare.push(time(['-e', '0'], 0));
    probe.push(time([BIN, 'probe', '--file', file], 0));
    // A spawn that waits blocks this loop: let it write its file.
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  await client.close();
  await gateway.close();
  rmSync(folder, { recursive: true, force: true });
  const ratio = median(probe) / median(bare);
  return {
    name: 'probe: wall time of the whole process, ms (median)',
    target: `at most ${TARGET} × node -e 0`,
    met: ratio <= TARGET,
    rows: [
      {
        'node -e 0': median(bare).toFixed(1),
        'holdfast probe': median(probe).toFixed(1),
        ratio: ratio.toFixed(2),
        runs: RUNS,
      },
    ],
  };
}

function time(argv: readonly string[], expected: number): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const elapsed = performance.now() - start;
  if (status !== expected) throw new Error(`${argv.join(' ')} exited ${status}: ${stderr.toString()}`);
  return elapsed;
}
