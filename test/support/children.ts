/** Real child processes: the command line, and scripts that import the library. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { bounded, Collection, type Line } from './collect.js';

const LIB = new URL('../../lib/', import.meta.url);
const MAIN = fileURLToPath(new URL('cli/main.js', LIB));

/** The address of a module of the library, for a script. */
export function lib(path: string): string {
  return JSON.stringify(new URL(path, LIB).href);
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Child implements AsyncDisposable {
  readonly process: ChildProcess;
  /** Lines of stderr that are log records. */
  readonly log: Collection<Line> = new Collection<Line>();
  /** All lines of stdout. */
  readonly out: Collection<string> = new Collection<string>();
  readonly exited: Promise<Exit>;
  #stdout = '';
  #stderr = '';

  constructor(process: ChildProcess) {
    this.process = process;
    this.exited = this.#watch();
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  async #watch(): Promise<Exit> {
    eachLine(this.process.stdout, (line, text) => {
      this.#stdout += text;
      this.out.add(line);
    });
    eachLine(this.process.stderr, (line, text) => {
      this.#stderr += text;
      const record = recordOf(line);
      if (record !== null) this.log.add(record);
    });
    const [code, signal] = await once(this.process, 'close');
    return { code, signal };
  }

  /** How it ended; fails when it does not end. */
  exit(within = 10_000): Promise<Exit> {
    return bounded(this.exited, `the exit of child ${this.process.pid}`, within);
  }

  /** The first record that fits. */
  logged(fits: (line: Line) => boolean, what = 'a log line'): Promise<Line> {
    return this.log.until(fits, what);
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }
}

function eachLine(stream: NodeJS.ReadableStream | null, take: (line: string, text: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line, `${line}\n`);
  });
  stream?.on('end', () => {
    if (rest !== '') take(rest, rest);
  });
}

const LEVELS: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' };

/** One line of pino's. */
function recordOf(line: string): Line | null {
  if (!line.startsWith('{')) return null;
  const { level, msg, ...rest } = JSON.parse(line);
  return { ...rest, level: LEVELS[level] ?? String(level), message: msg };
}

/** `holdfast …` */
export function holdfast(args: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
  return run([MAIN, ...args], env);
}

/** `holdfast …` with this file descriptor as its stderr. */
export function holdfastWithLog(args: readonly string[], stderr: number): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', stderr] });
}

/** A module given as text. Any process warning, like any error that nobody caught, ends it with 99. */
export function script(text: string, args: readonly string[] = []): Child {
  return run(['--input-type=module', '-e', `${STRICT}\n${text}`, ...args], {});
}

const STRICT = `
for (const event of ['unhandledRejection', 'uncaughtException', 'warning'])
  process.on(event, (what) => { process.stderr.write(event + ': ' + (what?.stack ?? what) + '\\n'); process.exit(99); });
`;

function run(args: readonly string[], env: Readonly<Record<string, string>>): Child {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...env },
  });
  return new Child(child);
}
