/** The judge: what a record, looked at from here and now, proves about its writer. */
import { formatDuration } from '../durations.js';
import { describeState, describeStop } from './record.js';
import type { LivenessRecord, WriterIdentity } from './types.js';

/** What the record proves. Only `fresh` can be alive. */
export type Verdict = 'fresh' | 'stale' | 'dead-writer' | 'foreign-host' | 'corrupt' | 'missing' | 'clock-skew';

/** What decided: `alive`, the verdict itself, or a fact inside the record. */
export type Cause = 'alive' | Exclude<Verdict, 'fresh'> | 'stalled' | 'stopped' | 'blocked' | 'disconnected';

/** Is the process that wrote a record still there? `unknown`: it cannot be told from here. */
export type WriterState = 'alive' | 'dead' | 'unknown';

/** What was found at the path. */
export type Reading = { kind: 'record'; record: LivenessRecord } | { kind: 'missing' | 'corrupt'; why: string };

/** Where a process runs, as far as its platform tells. */
export type Place = Pick<WriterIdentity, 'host' | 'bootId' | 'pidNs' | 'timeNs'>;

/** An earlier look at the same file. */
export interface Look {
  instanceId: string;
  seq: number;
  mtimeMs?: number;
  /** Monotonic clock of the observer at that look, in nanoseconds. */
  monoNs: bigint;
}

/** The observer: its clocks, its place, and what it sees of the writer. */
export interface Observation extends Place {
  nowMs: number;
  nowMonoNs: bigint;
  writer: WriterState;
  mtimeMs?: number;
  previous?: Look;
}

/** What the asker accepts. */
export interface Limits {
  /** Milliseconds a record may be old. Default: four times the writer's interval. */
  maxAge?: number;
  /** Milliseconds without a serving link. Default: no limit. Does not apply while blocked. */
  maxDisconnected?: number;
  /** Is a client that waits for a human not alive? Default: it is alive. */
  failWhenBlocked?: boolean;
  /** Judge a record of another host or container by its age alone. Default: it proves nothing here. */
  allowForeign?: boolean;
}

/** How old the facts of a record are, in ms. */
export interface Ages {
  /** Since the main loop of the writer last gave a sign, in milliseconds. */
  loopMs: number;
  /** Since the last frame of the gateway, in milliseconds. */
  linkMs?: number;
  /** Without a serving link, in milliseconds; absent while serving. */
  disconnectedMs?: number;
}

/** What a record says about its writer. */
export interface Judgement {
  ok: boolean;
  verdict: Verdict;
  cause: Cause;
  /** One sentence for people. */
  why: string;
  ages?: Ages;
  /** The wall clock ran ahead of the monotonic one since the record: the host slept, or its clock was set. */
  slept: boolean;
}

/** Two clocks closer than this agree. */
const SKEW_MS = 5000;

/**
 * How the place of a writer relates to ours. `same`: its pid means here what it meant there. `rebooted`: this
 * host, an earlier boot, so it is dead. `foreign`: nothing can be said about its pid. The host name decides only
 * where boot id and pid namespace do not: it changes with the network, and containers share the boot id.
 */
export function relation(writer: Place, here: Place): 'same' | 'rebooted' | 'foreign' {
  const sameHost = writer.host === here.host;
  if (writer.bootId === undefined || here.bootId === undefined) return sameHost ? 'same' : 'foreign';
  if (writer.bootId !== here.bootId) return sameHost ? 'rebooted' : 'foreign';
  if (writer.pidNs === here.pidNs) return 'same';
  return sameHost && !differ(writer.pidNs, here.pidNs) ? 'same' : 'foreign';
}

function differ(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other;
}

/** Do both read the same monotonic clock? One boot, and no time namespace between them that is known. */
export function sameClock(writer: Place, here: Place): boolean {
  return writer.bootId !== undefined && writer.bootId === here.bootId && !differ(writer.timeNs, here.timeNs);
}

interface Measured {
  loopMs: number;
  /** Age of the text: older than the loop's sign where only the file's time could still be moved. */
  contentMs: number;
  skewed: boolean;
  slept: boolean;
}

/**
 * On a disk too full for anything else the writer moves the file's time alone, to a whole second. Both stamps come
 * from the writer, so the reader's wall clock has no say; a plain `touch` has a fraction and is not believed.
 */
function heartbeat(record: LivenessRecord, mtimeMs: number | undefined): number {
  return mtimeMs !== undefined && mtimeMs % 1000 === 0 ? Math.max(0, mtimeMs - record.writtenAtMs) : 0;
}

function toMs(ns: bigint): number {
  return Number(ns) / 1e6;
}

/** Time between two looks if the file moved between them: proof of life that needs no clock but our own. */
function provenSince(record: LivenessRecord, seen: Observation): { loop?: number; content?: number } {
  const { previous } = seen;
  if (previous === undefined || previous.instanceId !== record.writer.instanceId) return {};
  const elapsed = toMs(seen.nowMonoNs - previous.monoNs);
  if (record.seq > previous.seq) return { loop: elapsed, content: elapsed };
  const moved = heartbeat(record, seen.mtimeMs) > heartbeat(record, previous.mtimeMs);
  return moved ? { loop: elapsed } : {};
}

function measure(record: LivenessRecord, seen: Observation): Measured {
  const shared = sameClock(record.writer, seen);
  const wall = seen.nowMs - record.writtenAtMs;
  const text = shared ? toMs(seen.nowMonoNs - BigInt(record.writtenMonoNs)) : wall;
  const proven = provenSince(record, seen);
  const bumped = text - heartbeat(record, seen.mtimeMs);
  const sign = bumped < -SKEW_MS ? text : bumped;
  const pick = (age: number, proof: number | undefined): number =>
    proof !== undefined && (age < -SKEW_MS || age > proof) ? proof : age;
  const loop = pick(sign, proven.loop);
  return {
    loopMs: Math.max(0, loop),
    contentMs: Math.max(0, pick(text, proven.content)),
    skewed: loop < -SKEW_MS,
    slept: shared && wall - text > SKEW_MS,
  };
}

function agesOf(record: LivenessRecord, { loopMs, contentMs }: Measured): Ages {
  const since = (thenMs: number): number => Math.round(Math.max(0, record.writtenAtMs - thenMs) + contentMs);
  const never = record.state === 'online' || record.state === 'idle' || record.state === 'closing';
  const lost = record.disconnectedSinceMs ?? (never ? undefined : record.stateSinceMs);
  return {
    loopMs: Math.round(loopMs),
    ...(record.lastFrameAtMs === undefined ? {} : { linkMs: since(record.lastFrameAtMs) }),
    ...(lost === undefined ? {} : { disconnectedMs: since(lost) }),
  };
}

/** A loop that turns under a machine that does not: its own next step is overdue by more than `slack`. */
function overdue(record: LivenessRecord, slack: number): string | undefined {
  const late = (dueMs: number | undefined): number => (dueMs === undefined ? 0 : record.writtenAtMs - dueMs);
  const { state, nextAttemptAtMs, giveUpAtMs } = record;
  if ((state === 'waiting' || state === 'blocked') && late(nextAttemptAtMs) > slack) {
    return `the next attempt was due ${formatDuration(late(nextAttemptAtMs))} before this record and was not made`;
  }
  if ((state === 'waiting' || state === 'connecting' || state === 'handshaking') && late(giveUpAtMs) > slack) {
    return `it should have given up ${formatDuration(late(giveUpAtMs))} before this record`;
  }
  return undefined;
}

type Finding = Pick<Judgement, 'verdict' | 'cause' | 'why'>;

function byWriter(record: LivenessRecord, seen: Observation, limits: Limits): Finding | undefined {
  const { pid, host } = record.writer;
  const place = relation(record.writer, seen);
  if (place === 'foreign') {
    const why = `written by pid ${pid} on ${host}, in another container or on another host: it cannot be checked from here`;
    return limits.allowForeign === true ? undefined : { verdict: 'foreign-host', cause: 'foreign-host', why };
  }
  if (place === 'same' && seen.writer !== 'dead') return undefined;
  if (record.exit !== undefined) return { verdict: 'dead-writer', cause: 'stopped', why: describeStop(record) };
  const why = place === 'rebooted' ? 'the host was started anew since' : `its writer, pid ${pid}, is gone`;
  return { verdict: 'dead-writer', cause: 'dead-writer', why: `${why}; last state: ${describeState(record)}` };
}

function byAge(record: LivenessRecord, measured: Measured, maxAge: number): Finding | undefined {
  if (measured.skewed) {
    const why = 'written in the future: a clock was set; look twice to see whether it moves';
    return { verdict: 'clock-skew', cause: 'clock-skew', why };
  }
  if (measured.loopMs > maxAge) {
    const age = `${formatDuration(measured.loopMs)} old, more than ${formatDuration(maxAge)}`;
    if (record.state === 'stopped') return { verdict: 'stale', cause: 'stopped', why: describeStop(record) };
    return { verdict: 'stale', cause: 'stale', why: `the record is ${age}: its event loop does not turn` };
  }
  const why = overdue(record, maxAge);
  return why === undefined ? undefined : { verdict: 'stale', cause: 'stalled', why };
}

function byFacts(record: LivenessRecord, ages: Ages, limits: Limits): Finding {
  const state = describeState(record);
  if (record.state === 'stopped') return { verdict: 'fresh', cause: 'stopped', why: describeStop(record) };
  if (record.state === 'blocked') {
    const cause = limits.failWhenBlocked === true ? 'blocked' : 'alive';
    return { verdict: 'fresh', cause, why: state };
  }
  const { disconnectedMs = 0 } = ages;
  if (limits.maxDisconnected !== undefined && disconnectedMs > limits.maxDisconnected) {
    const far = `disconnected for ${formatDuration(disconnectedMs)}, more than ${formatDuration(limits.maxDisconnected)}`;
    return { verdict: 'fresh', cause: 'disconnected', why: `${far}; ${state}` };
  }
  const away = ages.disconnectedMs === undefined ? '' : `, disconnected for ${formatDuration(disconnectedMs)}`;
  return { verdict: 'fresh', cause: 'alive', why: `${state}${away}` };
}

/**
 * Judges a reading. Alive is only a fresh record of a client that has not stopped and is within the asker's limits;
 * a client that reconnects inside them is alive, whatever the gateway does.
 *
 * Age is monotonic where writer and observer share boot and time namespace, so that no clock that was set matters;
 * by wall clock otherwise, where a record from the future is `clock-skew` until a second look sees it move.
 */
export function judge(reading: Reading, seen: Observation, limits: Limits = {}): Judgement {
  if (reading.kind !== 'record') {
    return { ok: false, verdict: reading.kind, cause: reading.kind, why: reading.why, slept: false };
  }
  const { record } = reading;
  const measured = measure(record, seen);
  const ages = agesOf(record, measured);
  const maxAge = limits.maxAge ?? 4 * record.intervalMs;
  const found = byWriter(record, seen, limits) ?? byAge(record, measured, maxAge) ?? byFacts(record, ages, limits);
  return { ok: found.cause === 'alive', ...found, ages, slept: measured.slept };
}
