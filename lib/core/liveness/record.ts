/**
 * The record of the liveness file, version 1: to text and back, and in words.
 *
 * A record is one line of JSON of a fixed length that ends in a checksum of all that stands before it. Spaces before
 * the last field make up the length, so the file stays plain JSON for `jq` and people.
 *
 * All of it is in one file, because each further module costs a probe more than half a millisecond.
 */
import { formatDuration } from '../durations.js';
import type { Status, StopOutcome } from '../vocabulary.js';
import { Malformed, nanoseconds, number, object, oneOf, optional, type Schema, text } from './schema.js';
import type {
  LivenessCalls,
  LivenessError,
  LivenessExit,
  LivenessGateway,
  LivenessRecord,
  LivenessRestart,
  WriterIdentity,
} from './types.js';

/** Length of a record in bytes: one page, so that it can be overwritten in place on a full disk. */
export const RECORD_LENGTH: number = 4096;

/** A reader looks at no more than this many bytes. */
export const READ_LIMIT: number = 65_536;

const SEAL = ',"crc":"';
const END = '"}\n';
const TAIL = SEAL.length + 8 + END.length;

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit += 1) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** CRC-32 (the one of zip and PNG) of a text of single-byte characters, as eight hex digits. */
function crc32(text: string): string {
  let c = 0xffffffff;
  for (let i = 0; i < text.length; i += 1) c = (c >>> 8) ^ (TABLE[(c ^ text.charCodeAt(i)) & 0xff] ?? 0);
  return ((c ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}

/** Frames a JSON object that is ASCII only. */
function seal(json: string): string {
  const body = json.slice(0, -1);
  return `${body.padEnd(RECORD_LENGTH - TAIL, ' ')}${SEAL}${crc32(body)}${END}`;
}

/** Takes a frame apart; `why` when it is torn, damaged or something else altogether. */
function unseal(text: string): { ok: true; json: string } | { ok: false; why: string } {
  if (text.length > READ_LIMIT) return { ok: false, why: `larger than ${READ_LIMIT} bytes` };
  if (text.length === 0) return { ok: false, why: 'empty' };
  const cut = text.length - TAIL;
  if (cut < 1 || !text.startsWith(SEAL, cut) || !text.endsWith(END))
    return { ok: false, why: 'no checksum at its end' };
  const body = text.slice(0, cut).trimEnd();
  if (text.slice(cut + SEAL.length, -END.length) !== crc32(body)) return { ok: false, why: 'checksum differs' };
  return { ok: true, json: `${body}}` };
}

const STATES = {
  idle: true,
  connecting: true,
  handshaking: true,
  online: true,
  waiting: true,
  blocked: true,
  closing: true,
  stopped: true,
} as const satisfies Record<Status, true>;

const OUTCOMES = { closed: true, 'gave-up': true, fatal: true } as const satisfies Record<StopOutcome, true>;

const name = text(64);
const sentence = text(512);
const instant = number();
const count = number(0);

// The limits add up to less than a frame: a record always fits, whatever its texts say. What a probe needs first
// comes first, for people who read the file as it is.
const RECORD: Schema<LivenessRecord> = {
  v: oneOf([1] as const),
  seq: count,
  state: oneOf(Object.keys(STATES) as Status[]),
  stateSinceMs: instant,
  reason: optional(name),
  attempt: count,
  nextAttemptAtMs: optional(instant),
  giveUpAtMs: optional(instant),
  disconnectedSinceMs: optional(instant),
  lastConnectedAtMs: optional(instant),
  lastFrameAtMs: optional(instant),
  lastError: optional(object<LivenessError>({ code: name, reason: name, phase: optional(name), message: sentence })),
  awaiting: optional(sentence),
  restart: optional(object<LivenessRestart>({ id: name, sinceMs: instant, expectedMs: optional(count) })),
  restartsSeen: count,
  gateway: optional(
    object<LivenessGateway>({
      version: optional(name),
      bootId: optional(name),
      connId: optional(name),
      protocol: optional(count),
    }),
  ),
  calls: object<LivenessCalls>({ inFlight: count, waiting: count, retried: count, unknown: count }),
  loopLagMaxMs: count,
  exit: optional(
    object<LivenessExit>({
      code: count,
      outcome: oneOf(Object.keys(OUTCOMES) as StopOutcome[]),
      reason: optional(name),
      attempts: optional(count),
      elapsedMs: optional(count),
    }),
  ),
  writer: object<WriterIdentity>({
    pid: number(1),
    startToken: optional(name),
    bootId: optional(name),
    pidNs: optional(name),
    timeNs: optional(name),
    host: text(253),
    instanceId: name,
  }),
  intervalMs: number(1),
  writtenAtMs: instant,
  writtenMonoNs: nanoseconds,
  version: name,
};

const record = object<LivenessRecord>(RECORD);

function escapeUnit(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Text of a record: always {@link RECORD_LENGTH} bytes of ASCII, one line. Long texts are cut, control characters
 * become spaces, numbers that are not finite are left out or become 0. Never throws.
 */
export function encodeRecord(r: LivenessRecord): string {
  return seal(JSON.stringify(record.encode(r)).replace(/[^ -~]/g, escapeUnit));
}

/**
 * Reads a record back. Strict about what it knows, blind to fields it does not know; never throws.
 * `why` says what is wrong, for people.
 */
export function parseRecord(content: string): { ok: true; record: LivenessRecord } | { ok: false; why: string } {
  const frame = unseal(content);
  if (!frame.ok) return frame;
  try {
    return { ok: true, record: record.decode(JSON.parse(frame.json), 'record') };
  } catch (error) {
    return { ok: false, why: error instanceof Malformed ? error.message : 'not JSON' };
  }
}

/** Such as `waiting (gateway-restart), attempt 3` or `blocked (pairing-required): openclaw nodes approve …`. */
export function describeState(record: LivenessRecord): string {
  const reason = record.reason === undefined || record.state === 'online' ? '' : ` (${record.reason})`;
  const attempt = record.attempt > 0 && record.state !== 'online' ? `, attempt ${record.attempt}` : '';
  const awaiting = record.state === 'blocked' && record.awaiting !== undefined ? `: ${record.awaiting}` : '';
  return `${record.state}${reason}${attempt}${awaiting}`;
}

/** Such as `gave up after 41 attempts in 10m (outage), exit code 75`. */
export function describeStop({ exit }: LivenessRecord): string {
  if (exit === undefined) return 'stopped';
  const verb = { closed: 'closed by its owner', 'gave-up': 'gave up', fatal: 'stopped for good' }[exit.outcome];
  const attempts = exit.attempts === undefined ? '' : ` after ${exit.attempts} attempts`;
  const elapsed = exit.elapsedMs === undefined ? '' : ` in ${formatDuration(exit.elapsedMs)}`;
  const reason = exit.reason === undefined ? '' : ` (${exit.reason})`;
  return `${verb}${attempts}${elapsed}${reason}, exit code ${exit.code}`;
}
