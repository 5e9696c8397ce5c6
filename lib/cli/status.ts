/** `holdfast status`: the liveness record for people, once or as it changes. */
import { setTimeout as pause } from 'node:timers/promises';
import { type ProbeResult, probe } from '../api/probe.js';
import { formatDuration } from '../core/durations.js';
import { describeStop } from '../core/liveness/record.js';
import type { LivenessRecord } from '../core/liveness/types.js';
import { type ProbeIo, parseFlags } from './probe.js';

/** Where the command writes. A terminal is redrawn; anything else gets a line per change. */
export interface StatusIo extends ProbeIo {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  /** Ends `--watch`. */
  readonly signal?: AbortSignal;
}

/** What `--watch` waits with and looks with; replaced in tests. */
export interface StatusWorld {
  probe(options: { file: string; signal?: AbortSignal }): Promise<ProbeResult>;
  pause(ms: number, signal: AbortSignal | undefined): Promise<unknown>;
}

const system: StatusWorld = {
  probe,
  pause: (ms, signal) => pause(ms, undefined, signal === undefined ? {} : { signal }),
};

const WATCH_MS = 1000;

const HELP = `holdfast status --file F [--watch] [--json]

Shows what the client that writes the liveness file F says about itself.

  --file F   the liveness file
  --watch    look each second: redraws a terminal, prints a line per change elsewhere
  --json     one line of JSON, with the whole record
  --help     this text

Exit code, as of holdfast probe: 0 alive, 1 not alive, 2 asked wrongly.
`;

type Row = readonly [label: string, text: string | undefined];

function rowsOf(record: LivenessRecord, nowMs: number): Row[] {
  const since = (thenMs: number): string => formatDuration(nowMs - thenMs);
  const until = (thenMs: number | undefined): string | undefined => {
    if (thenMs === undefined) return undefined;
    return thenMs > nowMs ? `in ${formatDuration(thenMs - nowMs)}` : 'now';
  };
  const { lastError, restart, gateway, calls } = record;
  const known = [
    gateway?.version,
    gateway?.bootId && `boot ${gateway.bootId}`,
    gateway?.connId && `connection ${gateway.connId}`,
    gateway?.protocol !== undefined && `protocol ${gateway.protocol}`,
  ].filter((part) => typeof part === 'string' && part !== '');
  const expected = restart?.expectedMs === undefined ? '' : `, expected to take ${formatDuration(restart.expectedMs)}`;
  const phase = lastError?.phase === undefined ? '' : ` at ${lastError.phase}`;
  return [
    ['state', `${record.state} for ${since(record.stateSinceMs)}, since ${isoTime(record.stateSinceMs)}`],
    ['awaiting', record.awaiting],
    ['stopped', record.exit === undefined ? undefined : describeStop(record)],
    ['next try', record.state === 'stopped' ? undefined : until(record.nextAttemptAtMs)],
    ['gives up', record.state === 'stopped' ? undefined : until(record.giveUpAtMs)],
    ['restart', restart && `${restart.id}, for ${since(restart.sinceMs)}${expected}`],
    ['last error', lastError && `${lastError.code} (${lastError.reason})${phase}: ${lastError.message}`],
    ['gateway', known.length === 0 ? undefined : known.join(', ')],
    ['restarts', `${record.restartsSeen} seen`],
    [
      'calls',
      `${calls.inFlight} in flight, ${calls.waiting} waiting, ${calls.retried} retried, ${calls.unknown} of unknown outcome`,
    ],
  ];
}

/** A time that a damaged clock put out of range must not end the command. */
function isoTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

function headline({ ok, verdict, why }: ProbeResult): string {
  return `${ok ? 'alive' : 'not alive'}: ${verdict}: ${why}`;
}

/** The whole picture, one fact per line. */
function draw(result: ProbeResult): string {
  const { record, ages, writer } = result;
  const rows: Row[] = [['liveness', headline(result)]];
  if (record !== undefined && ages !== undefined) {
    // The reader's own wall clock may be off: time goes on from the writer's.
    rows.push(...rowsOf(record, record.writtenAtMs + ages.loopMs));
    const link = ages.linkMs === undefined ? '' : `, last frame ${formatDuration(ages.linkMs)} ago`;
    const lag = `longest delay ${formatDuration(record.loopLagMaxMs)}`;
    rows.push(['loop', `${formatDuration(ages.loopMs)} ago, ${lag}${link}`]);
    const { pid, host, instanceId } = record.writer;
    rows.push(['writer', `pid ${pid} on ${host} (${writer}), instance ${instanceId}, holdfast ${record.version}`]);
  }
  return rows.flatMap(([label, text]) => (text === undefined ? [] : [`${label.padEnd(12)}${text}\n`])).join('');
}

function toJson({ ok, verdict, cause, why, file, ages, looks, writer, record }: ProbeResult): string {
  const exitCode = ok ? 0 : 1;
  return `${JSON.stringify({ ok, verdict, cause, why, file, ages, looks, writerState: writer, record, exitCode })}\n`;
}

/** What makes a line worth printing: everything but the passing of time. */
function gist({ ok, verdict, cause, record }: ProbeResult): string {
  const { state, reason, attempt, awaiting, restartsSeen, restart, gateway, exit, writer } = record ?? {};
  const facts = { state, reason, attempt, awaiting, restartsSeen, restart: restart?.id, bootId: gateway?.bootId, exit };
  return JSON.stringify({ ok, verdict, cause, ...facts, instanceId: writer?.instanceId });
}

/** Turns results into what is written: a redrawn picture, or nothing where nothing changed. */
function painter(json: boolean, terminal: boolean): (result: ProbeResult) => string {
  let lines = 0;
  let last: string | undefined;
  return (result) => {
    if (terminal && !json) {
      const picture = draw(result);
      const clear = lines === 0 ? '' : `\u001b[${lines}A\u001b[J`;
      lines = picture.split('\n').length - 1;
      return `${clear}${picture}`;
    }
    const now = gist(result);
    if (now === last) return '';
    last = now;
    return json ? toJson(result) : `${headline(result)}\n`;
  };
}

async function watch(file: string, json: boolean, io: StatusIo, world: StatusWorld): Promise<number> {
  const { signal } = io;
  const paint = painter(json, io.stdout.isTTY === true);
  let exitCode = 1;
  try {
    for (;;) {
      const result = await world.probe(signal === undefined ? { file } : { file, signal });
      exitCode = result.ok ? 0 : 1;
      const text = paint(result);
      if (text !== '') io.stdout.write(text);
      await world.pause(WATCH_MS, signal);
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error;
    return exitCode;
  }
}

/**
 * Runs `holdfast status` with the arguments after its name, and resolves to its exit code: that of the last look.
 * With `--watch` it goes on until `io.signal` aborts.
 */
export async function statusCommand(
  argv: readonly string[],
  io: StatusIo,
  world: StatusWorld = system,
): Promise<number> {
  const asked = parseFlags(argv, ['--file', '--watch', '--json']);
  if (asked.kind === 'help') {
    io.stdout.write(HELP);
    return 0;
  }
  if (asked.kind === 'wrong') {
    io.stderr.write(`holdfast status: ${asked.why}\nTry: holdfast status --help\n`);
    return 2;
  }
  const { file, json = false } = asked.flags;
  if (asked.flags.watch === true) return watch(file, json, io, world);
  const result = await world.probe({ file });
  io.stdout.write(json ? toJson(result) : draw(result));
  return result.ok ? 0 : 1;
}
