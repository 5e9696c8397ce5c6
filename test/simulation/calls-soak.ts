/** Many schedules of calls: `node build/test/simulation/calls-soak.js --seeds 10000 --from 1`. Exit code 1 when one fails. */
import { parseArgs } from 'node:util';
import { type Figures, runSeed } from './calls/run.js';

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '10000' }, from: { type: 'string', default: '1' } },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(from)) {
  process.stderr.write('--seeds and --from take whole numbers\n');
  process.exit(2);
}

const began = performance.now();
const ran: Figures[] = [];
let failed = 0;
for (let seed = from; seed < from + seeds && failed < 10; seed += 1) {
  try {
    ran.push(await runSeed(seed));
  } catch (error) {
    failed += 1;
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n\n`);
  }
}

const sum = (of: (figures: Figures) => number): number => Math.round(ran.reduce((total, each) => total + of(each), 0));
const elapsed = (performance.now() - began) / 1000;
process.stdout.write(
  `${ran.length + failed} schedules from ${from}: ${failed} failed · ${sum(({ calls }) => calls)} calls, ` +
    `${sum(({ resolved }) => resolved)} resolved, ${sum(({ unknown }) => unknown)} unknown, ` +
    `${sum(({ frames }) => frames)} frames, ${sum(({ retried }) => retried)} retries · ` +
    `${(sum(({ seconds }) => seconds) / 3600).toFixed(0)} h in ${elapsed.toFixed(1)} s, ` +
    `${((ran.length + failed) / elapsed).toFixed(0)} schedules/s\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
