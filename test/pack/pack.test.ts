/** What is published, as a stranger gets it: packed, installed into an empty project, imported, type-checked and run. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createTestGateway } from '../../lib/testing/index.js';
import { VERSION } from '../../lib/version.js';
import { snippetsOf } from '../rules/markdown.js';
import { ROOT, read } from '../rules/repository.js';

const execute = promisify(execFile);

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Ends in a result whatever the exit code is. */
async function run(
  file: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Result> {
  try {
    return { code: 0, ...(await execute(file, [...args], { cwd, env, maxBuffer: 10_000_000 })) };
  } catch (error) {
    if (!(error instanceof Error && 'stdout' in error && 'stderr' in error && 'code' in error)) throw error;
    return { code: Number(error.code), stdout: String(error.stdout), stderr: String(error.stderr) };
  }
}

async function npm(args: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run('npm', args, cwd);
  assert.equal(code, 0, `npm ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
}

describe('the package', () => {
  let folder: string;
  let tarball: string;
  let project: string;
  let installed: string;
  let holdfast: string;

  before('is packed and installed', async () => {
    folder = mkdtempSync(join(realpathSync(tmpdir()), 'holdfast-pack-'));
    await npm(['pack', '--silent', '--pack-destination', folder], ROOT);
    const packed = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
    assert.deepEqual(packed, [`holdfast-${VERSION}.tgz`]);
    tarball = join(folder, `holdfast-${VERSION}.tgz`);
    project = join(folder, 'project');
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'stranger', private: true, type: 'module' }));
    await npm(['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', tarball], project);
    installed = join(project, 'node_modules/holdfast');
    holdfast = join(project, 'node_modules/.bin/holdfast');
  });

  after('is removed', () => rmSync(folder, { recursive: true, force: true }));

  it('is under 150 kB, and holds what is needed and nothing else', () => {
    const { size } = statSync(tarball);
    assert.ok(size < 150_000, `${size} bytes`);
    assert.deepEqual(readdirSync(installed).sort(), ['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json']);
    const files = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' });
    const odd = files.filter(
      (name) => !/\.(js|d\.ts)$/.test(name) && !statSync(join(installed, 'dist', name)).isDirectory(),
    );
    assert.deepEqual(odd, []);
    assert.ok(!files.some((name) => name.includes('test.') || name.startsWith('test/')));
  });

  it('has four run-time dependencies', () => {
    const manifest: Manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    assert.deepEqual(Object.keys(manifest.dependencies).sort(), ['eventemitter3', 'pino', 'ws', 'zod']);
    for (const hook of ['preinstall', 'install', 'postinstall'])
      assert.equal(manifest.scripts?.[hook], undefined, hook);
    for (const name of ['typescript', 'mocha', '@types/node'])
      assert.ok(!existsSync(join(project, 'node_modules', name)), name);
  });

  it('is imported by every entry point, and by no other path', async () => {
    const program = `
      const names = await Promise.all(['holdfast', 'holdfast/probe', 'holdfast/testing'].map(async (entry) => Object.keys(await import(entry))));
      const inside = await import('holdfast/dist/index.js').then(() => 'open', (error) => error.code);
      console.log(JSON.stringify({ names, inside }));
    `;
    const { code, stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', program], project);
    assert.equal(code, 0, stderr);
    const frozen: Readonly<Record<string, { values: string[] }>> = JSON.parse(read('etc/exports.json'));
    assert.deepEqual(JSON.parse(stdout), {
      names: Object.values(frozen).map(({ values }) => values.sort()),
      inside: 'ERR_PACKAGE_PATH_NOT_EXPORTED',
    });
  });

  it('type-checks in a strict project without skipLibCheck', async () => {
    snippetsOf(read('README.md')).forEach(({ code }, index) => {
      // What it is shown together with is not installed here.
      if (code.includes("from 'openai'")) return;
      writeFileSync(join(project, `snippet-${index}.ts`), `${code}\nexport {};\n`);
    });
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      module: 'NodeNext',
      target: 'ES2023',
      lib: ['ES2023', 'ESNext.Disposable'],
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
      outDir: 'out',
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
    const tsc = join(ROOT, 'node_modules/@typescript/native/bin/tsc');
    const { code, stdout } = await run(process.execPath, [tsc, '-p', project], project);
    assert.equal(code, 0, stdout);
  });

  it('runs as a command', async () => {
    const help = await run('npx', ['--no-install', 'holdfast', '--help'], project);
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, /holdfast probe/);
    const version = await run(holdfast, ['--version'], project);
    assert.deepEqual([version.code, version.stdout], [0, `${VERSION}\n`]);
    const missing = await run(holdfast, ['probe', '--file', 'no-such-file'], project);
    assert.deepEqual([missing.code, missing.stdout], [1, 'not alive: missing: no such file\n']);
    const wrong = await run(holdfast, ['host', '--no-such-flag'], project);
    assert.equal(wrong.code, 78);
  });

  it('shows its demo', async () => {
    const { code, stdout, stderr } = await run(holdfast, ['demo'], project);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /restarts ridden out: 1/);
    assert.match(stdout, /fresh each time/);
  });

  it("runs the README's smallest program and its test", async () => {
    const names = snippetsOf(read('README.md')).map(({ run: name }) => name);
    const program = (name: string): string =>
      readFileSync(join(project, 'out', `snippet-${names.indexOf(name)}.js`), 'utf8');
    await using gateway = await createTestGateway();
    writeFileSync(join(project, 'backend.js'), program('backend').replaceAll('ws://127.0.0.1:18789', gateway.url));
    const env = { ...process.env, OPENCLAW_GATEWAY_TOKEN: gateway.token };
    const backend = await run(process.execPath, ['backend.js'], project, env);
    assert.deepEqual([backend.code, /agents: \[/.test(backend.stdout)], [0, true], backend.stderr);
    assert.equal(gateway.ledger.filter(({ method, executed }) => method === 'agents.list' && executed).length, 1);
    // The gateway of the installed package, too.
    writeFileSync(join(project, 'testing.js'), program('testing'));
    const testing = await run(process.execPath, ['testing.js'], project);
    assert.deepEqual(
      [testing.code, testing.stdout],
      [0, 'the restart ended and the client is online\n'],
      testing.stderr,
    );
  });
});
