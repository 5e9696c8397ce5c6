/**
 * npm run bench [-- NAME…]: probe, calls, waiting, lag (embedded gateway), lag-real (installs and restarts a real one).
 * Without a name: all but lag-real. Prints Markdown, writes JSON beside it with --json FILE. Exit 1 when a target is missed.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { VERSION } from '../../lib/version.js';
import { callsBench } from './calls.js';
import { type Result, table } from './figures.js';
import { lagBench } from './lag.js';
import { probeBench } from './probe.js';
import { waitingBench } from './waiting.js';

const BENCHES: Readonly<Record<string, () => Promise<Result>>> = {
  probe: probeBench,
  calls: callsBench,
  waiting: waitingBench,
  lag: () => lagBench(false),
  'lag-real': () => lagBench(true),
};

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { json: { type: 'string' } },
    allowPositionals: true,
  });
  const wanted = positionals.length > 0 ? positionals : Object.keys(BENCHES).filter((name) => name !== 'lag-real');
  const unknown = wanted.find((name) => BENCHES[name] === undefined);
  if (unknown !== undefined) {
    print(`there is no benchmark "${unknown}"; there are ${Object.keys(BENCHES).join(', ')}`);
    return 2;
  }
  print(
    `holdfast ${VERSION}, node ${process.version}, ${process.platform}-${process.arch}, ${cpus().length} × ${cpus()[0]?.model ?? 'cpu'}\n`,
  );
  const results: Result[] = [];
  for (const name of wanted) {
    const result = await BENCHES[name]?.();
    if (result === undefined) continue;
    results.push(result);
    print(
      `## ${result.name}\n\nTarget: ${result.target} · ${result.met ? 'met' : 'MISSED'}\n\n${table(result.rows)}\n`,
    );
  }
  const file = values.json;
  if (file !== undefined) {
    const at = {
      version: VERSION,
      node: process.version,
      platform: process.platform,
      cpus: cpus().length,
      date: new Date().toISOString(),
    };
    writeFileSync(file, `${JSON.stringify({ ...at, results }, null, 2)}\n`);
  }
  return results.every(({ met }) => met) ? 0 : 1;
}

if (globalThis.gc === undefined) {
  // Memory is measured after a collection, which Node only makes on request with this flag.
  const { status } = spawnSync(
    process.execPath,
    ['--expose-gc', fileURLToPath(import.meta.url), ...process.argv.slice(2)],
    { stdio: 'inherit' },
  );
  process.exitCode = status ?? 1;
} else {
  process.exitCode = await main(process.argv.slice(2));
}
