/**
 * How a record reaches the disk, and what is tried when it cannot: as steps for somebody else to run, with or without
 * waiting. A step that fails is thrown back in.
 */
import { RECORD_LENGTH } from './record.js';

/** How the last record was kept, best first. `memory`: not at all. */
export type WriteMode = 'rename' | 'in-place' | 'utimes' | 'memory';

export interface WriteFailure {
  code: string;
  message: string;
}

/** What a path or descriptor is. `own`: it belongs to the user of this process. */
export interface PathFacts {
  kind: 'file' | 'directory' | 'link' | 'other';
  size: number;
  links: number;
  own: boolean;
  /** Belongs to the superuser. */
  root: boolean;
}

/** One call of the file system. No step follows a link at the end of its path. */
export type FileStep =
  | { op: 'look'; path: string }
  | { op: 'facts'; fd: number }
  | { op: 'create'; path: string }
  | { op: 'open'; path: string; access: 'read' | 'write' }
  | { op: 'write'; fd: number; text: string }
  | { op: 'sync'; fd: number }
  | { op: 'touch'; fd: number; seconds: number }
  | { op: 'close'; fd: number }
  | { op: 'rename'; from: string; to: string }
  | { op: 'remove'; path: string }
  | { op: 'mkdir'; path: string }
  | { op: 'pause'; ms: number };

export interface WritePlan {
  file: string;
  directory: string;
  /** A name in the same directory that nobody can guess. */
  temp: string;
  text: string;
  /** Survive a power cut. */
  durable: boolean;
  /** Look at the directory first, and make it if it is missing: on the first write and after a failure. */
  careful: boolean;
  /** The directory may be made; not again after somebody else's was deleted. */
  mayMake: boolean;
  /** Try a refused rename again: worth its time only when renames worked before. */
  patient: boolean;
  /** Where even overwriting fails: the time to set on the record that is there. Absent: that record is not to live on. */
  touchSeconds?: number;
}

export interface WriteOutcome {
  mode: WriteMode;
  /** Why not the best mode. */
  error?: WriteFailure;
  made: boolean;
}

type Steps<T> = Generator<FileStep, T, unknown>;

/** Thrown for what the file system would allow and we do not. */
class Refused extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Windows and some shared mounts refuse a rename while another process holds the file open. */
const PASSING = new Set(['EPERM', 'EACCES', 'EBUSY']);
const PAUSES_MS = [10, 20, 40, 80, 100];

/** Code and message of whatever was thrown. */
export function failureOf(error: unknown): WriteFailure {
  if (!(error instanceof Error)) return { code: 'UNKNOWN', message: String(error) };
  return { code: 'code' in error && typeof error.code === 'string' ? error.code : error.name, message: error.message };
}

function* ask<T>(step: FileStep): Steps<T> {
  return (yield step) as T;
}

function* quietly(step: FileStep): Steps<void> {
  try {
    yield step;
  } catch {
    // Clean-up: the failure that led here is the one to report.
  }
}

function* existing(path: string): Steps<PathFacts | undefined> {
  try {
    return yield* ask<PathFacts>({ op: 'look', path });
  } catch (error) {
    if (failureOf(error).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Only a regular file is replaced, and no stranger's link leads to its directory. Returns whether it made that. */
function* approach(plan: WritePlan): Steps<boolean> {
  let made = false;
  if (plan.careful) {
    const directory = yield* existing(plan.directory);
    if (directory === undefined && plan.mayMake) {
      yield { op: 'mkdir', path: plan.directory };
      made = true;
    }
    if (directory?.kind === 'link' && !directory.own && !directory.root) {
      throw new Refused('ELOOP', `${plan.directory} is a symbolic link of another user`);
    }
  }
  const target = yield* existing(plan.file);
  if (target?.kind === 'link') throw new Refused('ELOOP', `${plan.file} is a symbolic link, which is never followed`);
  if (target?.kind === 'directory') throw new Refused('EISDIR', `${plan.file} is a directory`);
  if (target?.kind === 'other') throw new Refused('ENOTREG', `${plan.file} is not a regular file`);
  return made;
}

function* fill(fd: number, plan: WritePlan): Steps<void> {
  try {
    yield { op: 'write', fd, text: plan.text };
    if (plan.durable) yield { op: 'sync', fd };
  } catch (error) {
    yield* quietly({ op: 'close', fd });
    throw error;
  }
  yield { op: 'close', fd };
}

function* move(plan: WritePlan): Steps<void> {
  const pauses = plan.patient ? PAUSES_MS : [];
  for (const ms of pauses) {
    try {
      yield { op: 'rename', from: plan.temp, to: plan.file };
      return;
    } catch (error) {
      if (!PASSING.has(failureOf(error).code)) throw error;
      yield { op: 'pause', ms };
    }
  }
  yield { op: 'rename', from: plan.temp, to: plan.file };
}

function* replace(plan: WritePlan): Steps<void> {
  const fd = yield* ask<number>({ op: 'create', path: plan.temp });
  try {
    yield* fill(fd, plan);
    yield* move(plan);
  } catch (error) {
    // A full disk leaves an empty file behind.
    yield* quietly({ op: 'remove', path: plan.temp });
    throw error;
  }
}

/** Opens what is there if it can only be a record of ours: a hard link would carry the write into another file. */
function* reopen(plan: WritePlan, access: 'read' | 'write'): Steps<number> {
  const fd = yield* ask<number>({ op: 'open', path: plan.file, access });
  try {
    const { kind, links, own, size } = yield* ask<PathFacts>({ op: 'facts', fd });
    if (kind === 'file' && links === 1 && own && size === RECORD_LENGTH) return fd;
    throw new Refused('ENOTREG', `${plan.file} is not a record of ours`);
  } catch (error) {
    yield* quietly({ op: 'close', fd });
    throw error;
  }
}

function* overwrite(plan: WritePlan): Steps<void> {
  yield* fill(yield* reopen(plan, 'write'), plan);
}

function* touch(plan: WritePlan, seconds: number): Steps<void> {
  const fd = yield* reopen(plan, 'read');
  try {
    yield { op: 'touch', fd, seconds };
  } finally {
    yield* quietly({ op: 'close', fd });
  }
}

function* succeeds(steps: Steps<void>): Steps<boolean> {
  try {
    yield* steps;
    return true;
  } catch {
    return false;
  }
}

/** The steps of one write, fallbacks included. Never throws; the error of the outcome is the one of the best mode. */
export function* writeSteps(plan: WritePlan): Steps<WriteOutcome> {
  let made = false;
  try {
    made = yield* approach(plan);
  } catch (error) {
    return { mode: 'memory', error: failureOf(error), made };
  }
  try {
    yield* replace(plan);
    return { mode: 'rename', made };
  } catch (error) {
    const failed = { error: failureOf(error), made };
    if (yield* succeeds(overwrite(plan))) return { mode: 'in-place', ...failed };
    const { touchSeconds } = plan;
    if (touchSeconds !== undefined && (yield* succeeds(touch(plan, touchSeconds))))
      return { mode: 'utimes', ...failed };
    return { mode: 'memory', ...failed };
  }
}
