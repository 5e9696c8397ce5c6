/**
 * A secret from the output of a command, such as a keychain's or a password manager's. No shell is in between: the
 * arguments arrive as they are, and nothing in them is expanded.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { printable } from '../core/failure.js';
import { onAbort } from './abort.js';
import { codeOf, PROVIDER_DEADLINE_MS, ProviderError } from './provider-error.js';
import { Scrubber } from './scrubber.js';

export interface SecretCommandOptions {
  /** The program and its arguments. A program without a slash is looked for in PATH. */
  readonly command: readonly [file: string, ...args: string[]];
  /** How long it may take, in ms. Default 10 000. */
  readonly timeoutMs?: number | undefined;
  /** What the secret is for, as named in errors: `token`, `password`. Default `secret`. */
  readonly provider?: string;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** A secret is short; who writes more than this, in bytes, is the wrong program. */
const MOST_OUTPUT = 65_536;
/** So much of stderr is looked at, in bytes, and so much of that is told, in characters. */
const MOST_ERRORS = 4096;
const MOST_TOLD = 200;

interface Output {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/**
 * Runs the command and answers the first line of its output, without the space around it.
 *
 * At the end, whichever it is, the command and all that it started in its process group are killed. Its environment and
 * working directory are ours; stdin is empty. The arguments, which may hold secrets, appear in no error.
 *
 * @throws ProviderError `SECRET_COMMAND_INVALID` (no command), `_NOT_FOUND`, `_NOT_STARTED`, `_EXIT` (another exit code
 *   than 0), `_SIGNAL`, `_TIMEOUT`, `_ABORTED`, `_TOO_LONG` (more than 64 KiB), `_EMPTY`, each after `SECRET_COMMAND`; or
 *   `SECRET_CHARACTERS`, when the line holds control characters or is no UTF-8.
 */
export async function runSecretCommand(options: SecretCommandOptions): Promise<string> {
  const { stdout } = await run(options);
  const provider = options.provider ?? 'secret';
  const text = decode(stdout);
  const [line = ''] = (text ?? '').trim().split(/\r?\n/, 1);
  const secret = line.trim();
  if (text === null || /\p{Cc}/u.test(secret)) {
    const message = `the ${provider} that the command printed holds control characters or is no text`;
    throw new ProviderError(provider, 'SECRET_CHARACTERS', message, true);
  }
  if (secret === '') throw failure(options, 'EMPTY', 'printed nothing');
  return secret;
}

function run(options: SecretCommandOptions): Promise<Output> {
  return new Promise((done, fail) => {
    const child = start(options);
    const stdout = gather(child.stdout, MOST_OUTPUT, () =>
      end(failure(options, 'TOO_LONG', `printed more than ${MOST_OUTPUT} bytes`)),
    );
    // Beyond the limit it is read and dropped: a full pipe would stop the command.
    const stderr = gather(child.stderr, MOST_ERRORS, () => {});
    const ms = options.timeoutMs ?? PROVIDER_DEADLINE_MS;
    const timer = setTimeout(() => end(failure(options, 'TIMEOUT', `did not end within ${ms} ms`)), ms);
    const off = onAbort(options.signal, () => end(failure(options, 'ABORTED', 'was ended: nobody waits for it')));
    let running = true;
    const end = (error: ProviderError | null): void => {
      clearTimeout(timer);
      off();
      if (running) killGroup(child);
      // What escaped the group may hold the pipes open, and a process that cannot be killed holds itself.
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
      if (error === null) done({ stdout: stdout(), stderr: stderr() });
      else fail(error);
    };
    child.on('error', (error) => end(notStarted(options, error)));
    child.on('exit', () => {
      running = false;
      // What it left behind in its group would keep the pipes open. Later the id may be another's.
      killGroup(child);
    });
    child.on('close', (code, signal) => {
      end(code === 0 ? null : ended(options, code, signal, { stdout: stdout(), stderr: stderr() }));
    });
  });
}

function start(options: SecretCommandOptions): ChildProcess {
  const [file, ...args] = options.command;
  const provider = options.provider ?? 'secret';
  if (typeof file !== 'string' || file === '') {
    throw new ProviderError(provider, 'SECRET_COMMAND_INVALID', 'the command names no program', true);
  }
  if (options.signal.aborted) throw failure(options, 'ABORTED', 'was not started: nobody waits for it');
  try {
    // A group of its own, so that all of it can be killed.
    return spawn(file, args, { detached: true, shell: false, stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true });
  } catch (error) {
    throw notStarted(options, error);
  }
}

/** Collects up to the limit; what comes after it is dropped, and told once. */
function gather(stream: NodeJS.ReadableStream | null, limit: number, full: () => void): () => Buffer {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on('error', () => {});
  stream?.on('data', (chunk: Buffer) => {
    if (size > limit) return;
    chunks.push(chunk.subarray(0, limit - size));
    size += chunk.length;
    if (size > limit) full();
  });
  return () => Buffer.concat(chunks);
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    // The group is gone; or, on Windows, there are none.
    if (codeOf(error) !== 'ESRCH') child.kill('SIGKILL');
  }
}

function notStarted(options: SecretCommandOptions, error: unknown): ProviderError {
  const code = codeOf(error);
  if (code === 'ENOENT') return failure(options, 'NOT_FOUND', 'was not found');
  // Node's own complaints about an argument quote it.
  const why = code === undefined || code.startsWith('ERR_') ? 'an argument is not usable' : code;
  return failure(options, 'NOT_STARTED', `could not be started: ${why}`);
}

function ended(
  options: SecretCommandOptions,
  code: number | null,
  signal: NodeJS.Signals | null,
  output: Output,
): ProviderError {
  const said = told(output);
  const why = said === '' ? '' : `: ${said}`;
  if (code === null) return failure(options, 'SIGNAL', `was ended by ${signal ?? 'a signal'}${why}`);
  return failure(options, 'EXIT', `ended with exit code ${code}${why}`);
}

/** The beginning of stderr, without anything that was printed as a secret. */
function told({ stdout, stderr }: Output): string {
  const scrubber = new Scrubber();
  for (const line of stdout.toString('utf8').split('\n', 20)) scrubber.add(line.trim());
  return printable(scrubber.text(stderr.toString('utf8').trim()), MOST_TOLD);
}

function failure(options: SecretCommandOptions, code: string, what: string): ProviderError {
  const message = `the command ${printable(options.command[0], 200)} ${what}`;
  return new ProviderError(options.provider ?? 'secret', `SECRET_COMMAND_${code}`, message);
}

function decode(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
