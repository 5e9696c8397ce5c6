// Builds what is published: four bundles that share their chunks, and the declarations that they reach.
// Bundled and minified, because a probe must load few and small files; functions keep their names, since people read
// stack traces.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { build } from 'esbuild';
import { shakeDeclarations } from './declarations.mjs';

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
shakeDeclarations(
  'dist',
  ENTRIES.map((entry) => `dist/${entry}.d.ts`),
);
