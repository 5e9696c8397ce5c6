/**
 * Small files that only their owner may read: keys and tokens. They are replaced as a whole or not at all, never
 * through a symbolic link, and never when something is there that we would not have made ourselves.
 */
import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import * as fsp from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { GatewayError } from '../core/errors.js';
import { isRecord } from '../core/failure.js';
import { onAbort } from './abort.js';
import { codeOf, describe } from './provider-error.js';

/** The calls of the file system that are used, and who we are. Replaced in tests. */
export interface PrivateSystem {
  readonly fs: {
    link(from: string, to: string): Promise<void>;
    lstat(path: string): Promise<Stats>;
    mkdir(path: string, options: { recursive: true; mode: number }): Promise<unknown>;
    open(path: string, flags: number, mode?: number): Promise<fsp.FileHandle>;
    rename(from: string, to: string): Promise<void>;
    unlink(path: string): Promise<void>;
  };
  /** Undefined where files have no owner and no mode, as on Windows. */
  readonly uid: number | undefined;
}

export interface PrivateFileOptions {
  /** An aborted wait rejects; a write that the system has already taken may still land. */
  readonly signal?: AbortSignal | undefined;
  readonly system?: PrivateSystem | undefined;
}

/** Longest private file, in bytes: these hold a key or a token, so a larger one is something else. */
export const PRIVATE_FILE_LIMIT = 16_384;

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants;
// Absent on Windows, whatever the types say. Without NONBLOCK a FIFO would hang the open.
const SAFE = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
/** Hard links do not exist on some shared and removable file systems. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** The real file system and the user of this process. */
export const privateSystem: PrivateSystem = { fs: fsp, uid: process.geteuid?.() };

/** An error of the state directory, in the form of all others. `code` is the system's own where it has one. */
export function stateError(code: string, message: string, remedy: string, cause?: unknown): GatewayError {
  return new GatewayError({ code, reason: 'local', outcome: 'not-sent', message, remedy, cause });
}

/** A file whose content cannot be right. `why` must not quote it. */
export function damaged(path: string, why: string, remedy: string): GatewayError {
  return stateError('STATE_DAMAGED', `${path} is damaged: ${why}`, remedy);
}

/** The JSON object in a text. The parser's own message quotes the text, so it goes nowhere. */
export function parseState(path: string, text: string, remedy: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(path, text.trim() === '' ? 'it is empty' : 'it is no JSON', remedy);
  }
  if (!isRecord(value)) throw damaged(path, 'it holds no JSON object', remedy);
  return value;
}

/**
 * Reads a private file as UTF-8 text; null when it, or its directory, is not there.
 * @throws GatewayError with reason `local`: `STATE_LINK`, `STATE_NOT_A_FILE`, `STATE_NOT_A_DIRECTORY`,
 *   `STATE_FOREIGN_OWNER`, `STATE_MODE` (open to others), `STATE_TOO_LARGE`, `STATE_DAMAGED` (no UTF-8),
 *   `STATE_ABORTED`, or the system's own code.
 */
export function readPrivateFile(path: string, options: PrivateFileOptions = {}): Promise<string | null> {
  return guarded(path, options, 'read', async (file, system) => {
    if (!(await lookAtDirectory(dirname(file), system)) || !(await lookAtFile(file, system))) return null;
    return unlessMissing(readWhole(file, system));
  });
}

/**
 * Writes a private file, mode 0600, as a whole: a temporary file beside it, synced, then put in place. The directory is
 * made, mode 0700, with the parents that are missing. With `exclusive` an existing file is left alone and false is
 * returned; of several processes that try at once, one gets true.
 * @throws GatewayError with reason `local`, as {@link readPrivateFile} does; nothing has changed then.
 */
export function writePrivateFile(
  path: string,
  text: string,
  options: PrivateFileOptions & { readonly exclusive?: boolean } = {},
): Promise<boolean> {
  const exclusive = options.exclusive ?? false;
  return guarded(path, options, 'written', async (file, system) => {
    if (Buffer.byteLength(text) > PRIVATE_FILE_LIMIT) throw tooLarge(file, 'it was not written');
    await makeDirectory(dirname(file), system);
    if ((await lookAtFile(file, system)) && exclusive) return false;
    return place(file, text, exclusive, system);
  });
}

/**
 * Removes a private file, if it is there.
 * @throws GatewayError with reason `local`, as {@link readPrivateFile} does.
 */
export function removePrivateFile(path: string, options: PrivateFileOptions = {}): Promise<void> {
  return guarded(path, options, 'removed', async (file, system) => {
    if (!(await lookAtDirectory(dirname(file), system)) || !(await lookAtFile(file, system))) return;
    await unlessMissing(system.fs.unlink(file));
  });
}

/** The work, or a rejection as soon as the signal aborts: a hung disk holds nobody. What was begun goes on. */
export function heeding<T>(signal: AbortSignal | undefined, file: string, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work();
  return new Promise((done, fail) => {
    const abort = (): void => {
      const message = `${file}: the disk did not answer before the time was up`;
      fail(stateError('STATE_ABORTED', message, 'Look whether the disk hangs.', signal.reason));
    };
    if (signal.aborted) {
      abort();
      return;
    }
    work().then(done, fail).finally(onAbort(signal, abort));
  });
}

function guarded<T>(
  path: string,
  { signal, system }: PrivateFileOptions,
  verb: string,
  work: (file: string, system: PrivateSystem) => Promise<T>,
): Promise<T> {
  const file = resolve(path);
  return heeding(signal, file, async () => {
    try {
      return await work(file, system ?? privateSystem);
    } catch (error) {
      throw systemError(error, `${file} cannot be ${verb}`);
    }
  });
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function readWhole(file: string, system: PrivateSystem): Promise<string> {
  const handle = await system.fs.open(file, O_RDONLY | SAFE);
  try {
    // Judged again: what lies there may have been exchanged since it was looked at.
    judgeFile(file, await handle.stat(), system);
    const buffer = Buffer.alloc(PRIVATE_FILE_LIMIT + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > PRIVATE_FILE_LIMIT) throw tooLarge(file, 'it is not ours');
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
  } catch (error) {
    if (codeOf(error) !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
    throw damaged(file, 'it is no UTF-8 text', 'Restore it from a backup, or move it away.');
  } finally {
    await handle.close();
  }
}

async function place(file: string, text: string, exclusive: boolean, system: PrivateSystem): Promise<boolean> {
  const { fs } = system;
  const temp = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await create(temp, text, system);
    if (!exclusive) await fs.rename(temp, file);
    else if (!(await linkOnce(temp, file, text, system))) return false;
    await syncDirectory(dirname(file), system);
    return true;
  } finally {
    // After a rename it is gone; otherwise it must not stay, for it holds the secret.
    await fs.unlink(temp).catch(() => {});
  }
}

async function create(file: string, text: string, system: PrivateSystem): Promise<void> {
  const handle = await system.fs.open(file, O_CREAT | O_EXCL | O_WRONLY | SAFE, 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    // Half a file under that name would be taken for a damaged one ever after.
    await system.fs.unlink(file).catch(() => {});
    throw error;
  } finally {
    await handle.close();
  }
}

/** A link, unlike a rename, replaces nothing, and the name shows the whole text from its first moment. */
async function linkOnce(temp: string, file: string, text: string, system: PrivateSystem): Promise<boolean> {
  try {
    await system.fs.link(temp, file).catch((error: unknown) => {
      if (!NO_LINKS.has(codeOf(error) ?? '')) throw error;
      // Still one winner; a loser that looks too early reads a damaged file, and finds it whole when it looks again.
      return create(file, text, system);
    });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** So that the name survives a power cut too. Not every system can; the file is good without. */
async function syncDirectory(directory: string, system: PrivateSystem): Promise<void> {
  try {
    const handle = await system.fs.open(directory, O_RDONLY);
    await handle.sync().finally(() => handle.close());
  } catch {}
}

async function makeDirectory(directory: string, system: PrivateSystem): Promise<void> {
  if (await lookAtDirectory(directory, system)) return;
  await system.fs.mkdir(directory, { recursive: true, mode: 0o700 });
  await lookAtDirectory(directory, system);
}

/** Is it there? Nobody else may be able to exchange what lies in it, or lead us elsewhere on the way to it. */
async function lookAtDirectory(directory: string, system: PrivateSystem): Promise<boolean> {
  for (let above = dirname(directory); ; above = dirname(above)) {
    const stat = await look(above, system);
    if (stat?.isSymbolicLink() === true && !isOwn(stat, system) && stat.uid !== 0) throw linkError(above);
    if (above === dirname(above)) break;
  }
  const stat = await look(directory, system);
  if (stat === null) return false;
  if (stat.isSymbolicLink()) throw linkError(directory);
  if (!stat.isDirectory()) {
    throw stateError('STATE_NOT_A_DIRECTORY', `${directory} is no directory`, 'Name another one in `stateDir`.');
  }
  // Root may do anything anyway.
  if (!isOwn(stat, system) && stat.uid !== 0) throw foreign(directory, stat, system);
  if (system.uid !== undefined && (stat.mode & 0o022) !== 0) {
    throw stateError(
      'STATE_MODE',
      `${directory} is writable by others (mode ${modeOf(stat)})`,
      `Run: chmod 700 ${quoted(directory)}; or name a directory below it in \`stateDir\`, which is then made.`,
    );
  }
  return true;
}

async function lookAtFile(file: string, system: PrivateSystem): Promise<boolean> {
  const stat = await look(file, system);
  if (stat !== null) judgeFile(file, stat, system);
  return stat !== null;
}

function judgeFile(file: string, stat: Stats, system: PrivateSystem): void {
  if (stat.isSymbolicLink()) throw linkError(file);
  if (!stat.isFile()) {
    throw stateError('STATE_NOT_A_FILE', `${file} is no regular file`, 'Move it away, or name another `stateDir`.');
  }
  if (!isOwn(stat, system)) throw foreign(file, stat, system);
  if (system.uid !== undefined && (stat.mode & 0o077) !== 0) {
    throw stateError(
      'STATE_MODE',
      `${file} is open to others (mode ${modeOf(stat)}): what it holds may be known to them`,
      `Run: chmod 600 ${quoted(file)}`,
    );
  }
  if (stat.size > PRIVATE_FILE_LIMIT) throw tooLarge(file, 'it is not ours');
}

function look(path: string, system: PrivateSystem): Promise<Stats | null> {
  return unlessMissing(system.fs.lstat(path));
}

function isOwn(stat: Stats, { uid }: PrivateSystem): boolean {
  return uid === undefined || stat.uid === uid;
}

function modeOf(stat: Stats): string {
  return (stat.mode & 0o777).toString(8).padStart(4, '0');
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}

function linkError(path: string): GatewayError {
  return stateError('STATE_LINK', `${path} is a symbolic link, and links are not followed`, 'Name the real path.');
}

function foreign(path: string, stat: Stats, { uid }: PrivateSystem): GatewayError {
  return stateError(
    'STATE_FOREIGN_OWNER',
    `${path} belongs to user ${stat.uid}, not to user ${uid} of this process`,
    `Run this process as user ${stat.uid}, or, if you trust what it holds: chown ${uid} ${quoted(path)}`,
  );
}

function tooLarge(file: string, so: string): GatewayError {
  const message = `${file} is larger than ${PRIVATE_FILE_LIMIT} bytes: ${so}`;
  return stateError('STATE_TOO_LARGE', message, 'Restore it from a backup, or move it away.');
}

function systemError(error: unknown, what: string): GatewayError {
  if (error instanceof GatewayError) return error;
  const remedy = 'Let the user of this process read and write there, and see that the disk has room.';
  return stateError(codeOf(error) ?? 'STATE_UNUSABLE', `${what}: ${describe(error)}`, remedy, error);
}
