/** A project that depends on holdfast, in a folder of its own: what the documents show is compiled and run in it. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './repository.js';

const run = promisify(execFile);

/** The address in the documents; each run puts that of its own gateway in its place. */
const EXAMPLE_URL = 'ws://127.0.0.1:18789';

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Running implements Disposable {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  readonly #text = { stdout: '', stderr: '' };
  #look: () => void = () => {};

  constructor(child: ChildProcess) {
    this.process = child;
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8');
      child[name]?.on('data', (chunk: string) => {
        this.#text[name] += chunk;
        this.#look();
      });
    }
    this.finished = once(child, 'close').then(([code]) => {
      this.#look();
      return { code, ...this.#text };
    });
  }

  /** Resolves once it has written something that fits; rejects when it ends before. */
  said(pattern: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#look = () => {
        if (pattern.test(this.#text.stdout)) resolve();
        else if (this.process.exitCode !== null) reject(new Error(`it ended: ${JSON.stringify(this.#text)}`));
      };
      this.#look();
    });
  }

  /** It does not outlive its test. */
  [Symbol.dispose](): void {
    this.process.kill('SIGKILL');
  }
}

export class Consumer implements Disposable {
  /** Where its programs run. */
  readonly folder: string;

  constructor() {
    assert.ok(existsSync(join(ROOT, 'dist/index.js')), 'the package is not built: npm run build');
    this.folder = mkdtempSync(join(realpathSync(tmpdir()), 'holdfast-consumer-'));
    mkdirSync(join(this.folder, 'node_modules'));
    symlinkSync(ROOT, join(this.folder, 'node_modules/holdfast'));
    // The documents show how it is used together with this one.
    symlinkSync(join(ROOT, 'node_modules/openai'), join(this.folder, 'node_modules/openai'));
    this.#write('package.json', JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    const compilerOptions = {
      // The flags of a strict user; those that only suit a library are taken back.
      declaration: false,
      isolatedDeclarations: false,
      noUnusedLocals: false,
      sourceMap: false,
      rootDir: '.',
      outDir: 'out',
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    };
    this.#write(
      'tsconfig.json',
      JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }),
    );
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  /** Adds a module. */
  add(name: string, code: string): void {
    this.#write(`${name}.ts`, `${code}\nexport {};\n`);
  }

  /** Compiles everything; the complaints of the compiler, empty when there are none. */
  async compile(): Promise<string> {
    const tsc = join(ROOT, 'node_modules/@typescript/native/bin/tsc');
    try {
      await run(process.execPath, [tsc, '-p', this.folder]);
      return '';
    } catch (error) {
      if (error instanceof Error && 'stdout' in error) return String(error.stdout);
      throw error;
    }
  }

  /** Starts a compiled module against a gateway. */
  async start(name: string, gateway?: { readonly url: string; readonly token: string }): Promise<Running> {
    const code = await readFile(join(this.folder, 'out', `${name}.js`), 'utf8');
    this.#write(`${name}.run.js`, gateway === undefined ? code : code.replaceAll(EXAMPLE_URL, gateway.url));
    return this.spawn([`${name}.run.js`], gateway);
  }

  /** Starts Node in the folder, with the token where the documents look for it. */
  spawn(args: readonly string[], gateway?: { readonly url: string; readonly token: string }): Running {
    const env = {
      ...process.env,
      ...(gateway !== undefined && { OPENCLAW_GATEWAY_TOKEN: gateway.token, OPENCLAW_GATEWAY_URL: gateway.url }),
    };
    return new Running(
      spawn(process.execPath, [...args], { cwd: this.folder, env, stdio: ['ignore', 'pipe', 'pipe'] }),
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
