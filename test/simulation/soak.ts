/** Many seeds: `node build/test/simulation/soak.js --seeds 100000 --from 1 [--quick]`. Exit code 1 when a seed fails. */
import { parseArgs } from 'node:util';
import { LONG, type Outcome, QUICK, runSeed } from './run.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    quick: { type: 'boolean', default: false },
  },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(from)) {
  process.stderr.write('--seeds and --from take whole numbers\n');
  process.exit(2);
}

const began = performance.now();
const outcomes: Outcome[] = [];
const failed: number[] = [];
for (let seed = from; seed < from + seeds; seed += 1) {
  try {
    outcomes.push(runSeed(seed, values.quick ? QUICK : LONG));
  } catch (error) {
    failed.push(seed);
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n\n`);
    if (failed.length === 10) break;
  }
}

const recoveries = outcomes.filter(({ verdict }) => verdict === 'recovered').sort((a, b) => a.recovery - b.recovery);
/** Nearest rank, in seconds. */
function rank(share: number): string {
  const at = Math.max(Math.ceil(share * recoveries.length) - 1, 0);
  return ((recoveries[at]?.recovery ?? Number.NaN) / 1000).toFixed(2);
}

const ran = outcomes.length + failed.length;
const ended = outcomes.length - recoveries.length;
const extended = recoveries.filter((outcome) => outcome.extended).length;
process.stdout.write(
  `${ran} seeds from ${from}: ${recoveries.length} recovered (${extended} with an extension), ${ended} ended as required, ${failed.length} failed` +
    ` · recovery p50 ${rank(0.5)} p95 ${rank(0.95)} p99 ${rank(0.99)} max ${rank(1)} s · ${((performance.now() - began) / 1000).toFixed(1)} s\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
