/** Is the client behind a liveness file alive? Loads nothing but Node's own modules and the judge. */
import { constants, type FileHandle, open } from 'node:fs/promises';

import {
  type Judgement,
  judge,
  type Limits,
  type Look,
  type Place,
  type Reading,
  type WriterState,
} from '../core/liveness/judge.js';
import { parseRecord, READ_LIMIT } from '../core/liveness/record.js';
import type { LivenessRecord, WriterIdentity } from '../core/liveness/types.js';
import { placeOf, writerState } from '../io/process-identity.js';

/** What to look at, and what to accept. All times in milliseconds; zero is a value. */
export interface ProbeOptions extends Limits {
  /** The liveness file. */
  file: string;
  /** Look again after this long before saying "not alive". Default: one look. Laptops that sleep need it. */
  confirmAfter?: number;
  signal?: AbortSignal;
}

export interface ProbeResult extends Omit<Judgement, 'slept'> {
  file: string;
  /** The record, where there is a sound one. */
  record?: LivenessRecord;
  /** The process that wrote it. */
  writer?: WriterState;
  /** How many looks it took. */
  looks: number;
}

/** What the probe needs of the world; replaced in tests. */
export interface ProbeWorld {
  nowMs(): number;
  monoNs(): bigint;
  wait(ms: number, signal?: AbortSignal): Promise<void>;
  here(): Place;
  writer(identity: WriterIdentity, here: Place): WriterState;
}

/** A torn record is whole again after this long. */
const TORN_MS = 50;
/** A wait that lasts this much longer than asked was slept through. */
const LATE_MS = 5000;
/** What a host that woke up is given on top of one interval to write again. */
const WAKE_MS = 15_000;

function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }, ms);
    if (signal?.aborted === true) aborted();
    else signal?.addEventListener('abort', aborted, { once: true });
  });
}

const system: ProbeWorld = {
  nowMs: Date.now,
  monoNs: () => process.hrtime.bigint(),
  wait,
  here: () => placeOf(),
  writer: (identity, here) => writerState(identity, undefined, here),
};

interface Seen {
  reading: Reading;
  mtimeMs?: number;
}

async function readHandle(handle: FileHandle): Promise<Seen> {
  const facts = await handle.stat();
  const { mtimeMs } = facts;
  if (!facts.isFile()) return { reading: { kind: 'corrupt', why: 'not a regular file' } };
  const buffer = Buffer.allocUnsafe(Math.min(facts.size, READ_LIMIT) + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  const parsed = parseRecord(buffer.toString('latin1', 0, length));
  return {
    reading: parsed.ok ? { kind: 'record', record: parsed.record } : { kind: 'corrupt', why: parsed.why },
    mtimeMs,
  };
}

function unreadable(error: unknown): Seen {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') return { reading: { kind: 'missing', why: 'no such file' } };
  if (code === 'ELOOP') return { reading: { kind: 'corrupt', why: 'a symbolic link, which is never followed' } };
  return { reading: { kind: 'corrupt', why: `cannot be read: ${code}` } };
}

async function readOnce(file: string): Promise<Seen> {
  try {
    // Non-blocking: a FIFO without a writer must not hold the probe.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOFOLLOW ?? 0));
    try {
      return await readHandle(handle);
    } finally {
      await handle.close();
    }
  } catch (error) {
    return unreadable(error);
  }
}

/** Rejects when the signal does: a hung file system cannot hold the asker. */
function obey<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason);
    if (signal.aborted) aborted();
    signal.addEventListener('abort', aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}

async function look(options: ProbeOptions, world: ProbeWorld): Promise<Seen> {
  const { file, signal } = options;
  const first = await obey(readOnce(file), signal);
  if (first.reading.kind !== 'corrupt') return first;
  await world.wait(TORN_MS, signal);
  return obey(readOnce(file), signal);
}

function check(options: ProbeOptions): void {
  if (typeof options.file !== 'string' || options.file === '') throw new TypeError('probe: file must be a path');
  // A longer timer would fire at once.
  if ((options.confirmAfter ?? 0) > 2 ** 31 - 1) throw new TypeError('probe: confirmAfter is too long');
  for (const name of ['maxAge', 'maxDisconnected', 'confirmAfter'] as const) {
    const value = options[name];
    if (value !== undefined && !(value >= 0)) throw new TypeError(`probe: ${name} must be milliseconds, 0 or more`);
  }
}

interface Round extends Judgement {
  record?: LivenessRecord;
  writer?: WriterState;
  look?: Look;
}

async function round(options: ProbeOptions, world: ProbeWorld, previous: Look | undefined): Promise<Round> {
  const { reading, mtimeMs } = await look(options, world);
  const here = world.here();
  const writer = reading.kind === 'record' ? world.writer(reading.record.writer, here) : 'unknown';
  const seen = {
    ...here,
    nowMs: world.nowMs(),
    nowMonoNs: world.monoNs(),
    writer,
    ...(mtimeMs === undefined ? {} : { mtimeMs }),
  };
  const judgement = judge(reading, previous === undefined ? seen : { ...seen, previous }, options);
  if (reading.kind !== 'record') return judgement;
  const { record } = reading;
  const { instanceId } = record.writer;
  const taken: Look = {
    instanceId,
    seq: record.seq,
    monoNs: seen.nowMonoNs,
    ...(mtimeMs === undefined ? {} : { mtimeMs }),
  };
  return { ...judgement, record, writer, look: taken };
}

/** A second look cannot raise the dead. */
function final({ ok, verdict, cause }: Round): boolean {
  return ok || verdict === 'dead-writer' || cause === 'stopped';
}

/** {@link probe} on a given world. */
export async function probeWith(options: ProbeOptions, world: ProbeWorld): Promise<ProbeResult> {
  check(options);
  options.signal?.throwIfAborted();
  const { confirmAfter, file, signal } = options;
  let now = await round(options, world, undefined);
  let looks = 1;
  if (confirmAfter !== undefined && !final(now)) {
    const grace = (now.record?.intervalMs ?? 0) + WAKE_MS;
    let pause = now.slept ? Math.max(confirmAfter, grace) : confirmAfter;
    // A third look only if the host slept through the wait for the second.
    for (let again = true; again && looks < 3 && !final(now); looks += 1) {
      const [wall, mono] = [world.nowMs(), world.monoNs()];
      await world.wait(pause, signal);
      const took = Math.max(world.nowMs() - wall, Number(world.monoNs() - mono) / 1e6);
      now = await round(options, world, now.look);
      again = took > pause + LATE_MS;
      pause = grace;
    }
  }
  const { slept: _slept, look: _look, ...rest } = now;
  return { ...rest, file, looks };
}

/**
 * Looks at a liveness file and says whether its client is alive. Never rejects because of the file, whatever is at the
 * path: the verdict says so.
 *
 * @throws TypeError for a wrong option, or the reason of `signal` when it aborts.
 */
export function probe(options: ProbeOptions): Promise<ProbeResult> {
  return probeWith(options, system);
}
