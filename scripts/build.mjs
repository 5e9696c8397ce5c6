// Builds what is published: four bundles that share their chunks, and the declarations that they reach.
// Bundled and minified, because a probe must load few and small files; functions keep their names, since people read
// stack traces.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';

const ENTRIES = ['index', 'probe', 'testing/index', 'cli/main'];

rmSync('dist', { recursive: true, force: true });
execFileSync(
  process.execPath,
  ['node_modules/@typescript/native/bin/tsc', '-p', 'tsconfig.build.json', '--emitDeclarationOnly'],
  { stdio: 'inherit' },
);
await build({
  entryPoints: ENTRIES.map((entry) => `lib/${entry}.ts`),
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  minify: true,
  keepNames: true,
  legalComments: 'none',
  chunkNames: 'chunks/[name]-[hash]',
});
keepReachable(ENTRIES.map((entry) => resolve(`dist/${entry}.d.ts`)));

/** Declarations that no entry point reaches are nobody's business. */
function keepReachable(entries) {
  const seen = new Set(entries);
  for (const file of seen) {
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.{1,2}\/[^']+)\.js'/g)) {
      seen.add(resolve(dirname(file), `${path}.d.ts`));
    }
  }
  for (const entry of readdirSync('dist', { recursive: true, withFileTypes: true })) {
    const path = resolve(join(entry.parentPath, entry.name));
    if (entry.isFile() && path.endsWith('.d.ts') && !seen.has(path)) rmSync(path);
  }
}
