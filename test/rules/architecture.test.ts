/** Layers and purity, checked in the source, since nothing else would notice when they go. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { VERSION } from '../../lib/version.js';
import { BUILT_LIB, filesBelow, loadedBy, nodes, parse, ROOT, read, resolveFrom, specifiersOf } from './repository.js';

/** Which folder of lib/ may name which. `cli → api → io → core`; no arrow points back. */
const MAY_NAME: Readonly<Record<string, readonly string[]>> = {
  core: ['core'],
  io: ['io', 'core'],
  api: ['api', 'io', 'core', 'version'],
  testing: ['testing', 'core', 'version'],
  cli: ['cli', 'api', 'io', 'core', 'testing', 'version'],
  // The entry points.
  index: ['api', 'core'],
  probe: ['api', 'core'],
  version: [],
};

/** The doors of the core: what comes in from outside is parsed by zod here, and nowhere else in it. */
const ZOD_DOORS = ['lib/core/frames.ts', 'lib/core/invoke.ts', 'lib/core/options.ts'];

/** Time, chance and the world enter the core as numbers and events, never by themselves. */
const BANNED = new Set([
  'Date',
  'performance',
  'process',
  'global',
  'globalThis',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'queueMicrotask',
  'fetch',
  'crypto',
  'console',
  'require',
]);

/** Files of the core without a test file of their own, and why. */
const NO_TEST_OF_ITS_OWN: Readonly<Record<string, string>> = {
  'lib/core/invariant.ts': 'one throwing helper, reached only by a bug',
  'lib/core/liveness.ts': 're-exports',
  'lib/core/liveness/schema.ts': 'the parts of the record, tested through liveness-record',
  'lib/core/liveness/types.ts': 'types',
  'lib/core/liveness/write-steps.ts': 'the decisions of the writer, tested through test/io/liveness-file',
  'lib/core/machine.ts': 'types of the machine and its first state',
  'lib/core/policy.ts': 'types and constants',
  'lib/core/runtime.ts': 'types',
  'lib/core/verdicts.ts': 'tables, each row tested through failure',
  'lib/core/vocabulary.ts': 'words',
};

const SOURCES = filesBelow('lib', '.ts');

function layerOf(path: string): string {
  const [, second = ''] = path.split('/');
  return second.replace(/\.ts$/, '');
}

/** Where a syntax tree uses a name as a value: not as a property, a key or a type. */
function usesOf(source: ts.SourceFile, names: ReadonlySet<string>): string[] {
  const found: string[] = [];
  for (const node of nodes(source)) {
    if (!ts.isIdentifier(node) || !names.has(node.text)) continue;
    const { parent } = node;
    if (ts.isPropertyAccessExpression(parent) && parent.name === node) continue;
    // The date in a text is no clock.
    if (ts.isPropertyAccessExpression(parent) && parent.getText() === 'Date.parse') continue;
    if (
      (ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isBindingElement(parent)) &&
      parent.name === node
    )
      continue;
    if (ts.isMethodSignature(parent) || ts.isTypeReferenceNode(parent) || ts.isJSDoc(parent)) continue;
    const { line } = source.getLineAndCharacterOfPosition(node.getStart());
    found.push(`${source.fileName}:${line + 1} ${node.text}`);
  }
  return found;
}

describe('architecture', () => {
  it('lets cli name api, api name io, io name core, and nobody the other way round', () => {
    const wrong: string[] = [];
    for (const file of SOURCES) {
      const allowed = MAY_NAME[layerOf(file)];
      assert.ok(allowed !== undefined, `${file} is in no known layer`);
      for (const specifier of specifiersOf(parse(file))) {
        const target = resolveFrom(file, specifier);
        if (target.startsWith('lib/') && !allowed.includes(layerOf(target))) wrong.push(`${file} → ${target}`);
        else if (specifier.startsWith('.') && !SOURCES.includes(target))
          wrong.push(`${file} → ${target}, which is outside lib`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it('keeps the core without modules of Node, and zod at its doors', () => {
    const wrong: string[] = [];
    for (const file of filesBelow('lib/core', '.ts')) {
      for (const specifier of specifiersOf(parse(file))) {
        if (specifier.startsWith('.')) continue;
        if (specifier !== 'zod' || !ZOD_DOORS.includes(file)) wrong.push(`${file} → ${specifier}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it('keeps the core without clock, chance, timers and process', () => {
    const wrong = filesBelow('lib/core', '.ts').flatMap((file) => {
      const source = parse(file);
      const chance = [...nodes(source)].filter(
        (node) => ts.isPropertyAccessExpression(node) && node.getText() === 'Math.random',
      );
      return [...usesOf(source, BANNED), ...chance.map(() => `${file} Math.random`)];
    });
    assert.deepEqual(wrong, []);
  });

  it('ends a process in one file only', () => {
    const ends = SOURCES.filter((file) =>
      [...nodes(parse(file))].some(
        (node) => ts.isPropertyAccessExpression(node) && /^process\.(exit|reallyExit|abort)$/.test(node.getText()),
      ),
    );
    assert.deepEqual(ends, ['lib/io/exit.ts']);
  });

  it('has a test file for every file of the core', () => {
    const missing = filesBelow('lib/core', '.ts').filter((file) => {
      if (file in NO_TEST_OF_ITS_OWN) return false;
      const [folder = '', ...rest] = file.slice('lib/core/'.length).replace(/\.ts$/, '').split('/');
      // A file in a folder has its own test, or is tested through the file in front of that folder.
      const names = [[folder, ...rest].join('-'), folder];
      return !names.some((name) =>
        ['core', 'model'].some((level) => existsSync(join(ROOT, 'test', level, `${name}.test.ts`))),
      );
    });
    assert.deepEqual(missing, []);
    const gone = Object.keys(NO_TEST_OF_ITS_OWN).filter((file) => !SOURCES.includes(file));
    assert.deepEqual(gone, [], 'exceptions for files that do not exist');
  });

  it('says the same version in the package and in the code', () => {
    const manifest: unknown = JSON.parse(read('package.json'));
    assert.ok(typeof manifest === 'object' && manifest !== null && 'version' in manifest);
    assert.equal(VERSION, manifest.version);
  });

  it('starts the probe with nothing but the judge and modules of Node', () => {
    for (const entry of ['probe.js', 'cli/probe.js']) {
      const foreign = [...loadedBy(join(BUILT_LIB, entry))].filter(
        (name) => !name.startsWith('/') && !name.startsWith('node:'),
      );
      assert.deepEqual(foreign, [], entry);
    }
  });

  it('sees what it looks for', () => {
    const bad = ts.createSourceFile(
      'bad.ts',
      'const a = { Date: 1 }; a.Date; Date.now(); setTimeout(f, 1); type T = Date;',
      ts.ScriptTarget.ES2023,
      true,
    );
    assert.deepEqual(usesOf(bad, BANNED), ['bad.ts:1 Date', 'bad.ts:1 setTimeout']);
    const graph = loadedBy(join(BUILT_LIB, 'index.js'));
    for (const name of ['ws', 'zod', 'pino', 'eventemitter3'])
      assert.ok(graph.has(name), `${name} is not seen in the whole graph`);
  });
});
