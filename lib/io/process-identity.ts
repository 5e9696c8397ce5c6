/**
 * Who this process is, and whether the process that a record names still lives. Synchronous: files of `/proc` on
 * Linux (some 0.1 ms), one short-lived `ps` on macOS with a time limit. Nothing is ever signalled; `kill(pid, 0)`
 * only asks.
 */
import { hostname } from 'node:os';
import { type Place, relation, sameClock, type WriterState } from '../core/liveness/judge.js';
import type { WriterIdentity } from '../core/liveness/types.js';

// Not an import: that would also load the streams of `node:fs`, a millisecond of every probe.
const { readFileSync, readlinkSync } = process.getBuiltinModule('node:fs');

/** A `ps` or `sysctl` that takes longer than this says nothing. */
const COMMAND_LIMIT_MS = 1000;

/** What this file asks the platform; replaced in tests. A function that throws has no answer. */
export interface Platform {
  readonly name: string;
  readonly pid: number;
  host(): string;
  readText(path: string): string;
  readLink(path: string): string;
  /** Standard output of a command. */
  run(command: string, args: readonly string[]): string;
  /** `kill(pid, 0)`: returns, or throws with the `code` `ESRCH` or `EPERM`. */
  ask(pid: number): void;
}

function run(command: string, args: readonly string[]): string {
  const { execFileSync } = process.getBuiltinModule('node:child_process');
  const env = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin:/usr/sbin:/sbin' };
  return execFileSync(command, [...args], {
    encoding: 'utf8',
    env,
    timeout: COMMAND_LIMIT_MS,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

const system: Platform = {
  name: process.platform,
  pid: process.pid,
  host: hostname,
  readText: (path) => readFileSync(path, 'latin1'),
  readLink: (path) => readlinkSync(path),
  run,
  ask: (pid) => {
    process.kill(pid, 0);
  },
};

function attempt<T>(question: () => T): T | undefined {
  try {
    return question();
  } catch {
    return undefined;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** The text without surrounding space, or nothing if it is empty. */
function filled(text: string | undefined): string | undefined {
  const trimmed = text?.trim().replace(/\s+/g, ' ');
  return trimmed === '' ? undefined : trimmed;
}

/** State letter and start time of a Linux process. The command in brackets may hold spaces and brackets itself. */
function parseStat(stat: string | undefined): { state: string; start: string } | undefined {
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, start] = [fields[0], fields[19]];
  return state === undefined || start === undefined || !/^\d+$/.test(start) ? undefined : { state, start };
}

function startToken(pid: number, os: Platform): string | undefined {
  if (os.name === 'linux') return parseStat(attempt(() => os.readText(`/proc/${pid}/stat`)))?.start;
  if (os.name === 'darwin') return filled(attempt(() => os.run('/bin/ps', ['-o', 'lstart=', '-p', String(pid)])));
  return undefined;
}

function bootIdOf(os: Platform): string | undefined {
  if (os.name === 'linux') return filled(attempt(() => os.readText('/proc/sys/kernel/random/boot_id')));
  // Not kern.boottime: that one moves when the clock is set.
  if (os.name === 'darwin') return filled(attempt(() => os.run('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid'])));
  return undefined;
}

function namespace(kind: 'pid' | 'time', os: Platform): string | undefined {
  if (os.name !== 'linux') return undefined;
  return /\[(\d+)\]/.exec(attempt(() => os.readLink(`/proc/self/ns/${kind}`)) ?? '')?.[1];
}

/**
 * Where this process runs: host name, boot and, on Linux, its namespaces. What the platform does not tell is absent:
 * Windows has neither boot id nor namespaces without native code.
 */
export function placeOf(os: Platform = system): Place {
  const bootId = bootIdOf(os);
  const pidNs = namespace('pid', os);
  const timeNs = namespace('time', os);
  return {
    // The record's own limit, so that a name that was cut still equals itself.
    host: os.host().slice(0, 253),
    ...(bootId === undefined ? {} : { bootId }),
    ...(pidNs === undefined ? {} : { pidNs }),
    ...(timeNs === undefined ? {} : { timeNs }),
  };
}

/** Identity of this process for its records. Ask once, at the start: on macOS it runs two commands. */
export function identityOf(instanceId: string, os: Platform = system): WriterIdentity {
  const token = startToken(os.pid, os);
  return { pid: os.pid, ...(token === undefined ? {} : { startToken: token }), ...placeOf(os), instanceId };
}

/** What `kill(pid, 0)` tells: a process of another user answers with EPERM and is alive. */
function asked(pid: number, os: Platform): WriterState {
  try {
    os.ask(pid);
    return 'unknown';
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EPERM') return 'alive';
    return code === 'ESRCH' ? 'dead' : 'unknown';
  }
}

function linuxState(writer: WriterIdentity, here: Place, os: Platform): WriterState {
  const stat = parseStat(attempt(() => os.readText(`/proc/${writer.pid}/stat`)));
  // Not listed: gone, or hidden from us by the mount options of /proc.
  if (stat === undefined) return asked(writer.pid, os);
  // A zombie has ended; only its parent has not looked yet.
  if (stat.state === 'Z' || stat.state === 'X') return 'dead';
  // A thread answers to kill and has a stat of its own: its number is not that of a process.
  const tgid = /^Tgid:\s*(\d+)/m.exec(attempt(() => os.readText(`/proc/${writer.pid}/status`)) ?? '')?.[1];
  if (tgid !== undefined && Number(tgid) !== writer.pid) return 'dead';
  // Ticks since boot are shifted by a time namespace.
  if (writer.startToken === undefined || !sameClock(writer, here)) return 'unknown';
  return stat.start === writer.startToken ? 'alive' : 'dead';
}

function otherState(writer: WriterIdentity, os: Platform): WriterState {
  const state = asked(writer.pid, os);
  if (state === 'dead' || writer.startToken === undefined) return state;
  const token = startToken(writer.pid, os);
  if (token === undefined) return state;
  return token === writer.startToken ? 'alive' : 'dead';
}

/**
 * Does the process that wrote this identity live? `dead` is certain: no such process, another start time, a zombie,
 * a mere thread, or an earlier boot of this host. `alive`: the same start time, or another user's process that we may
 * not look at. `unknown`: another host, another pid namespace, or no start time to compare (always so on Windows
 * while the pid is in use): then only the age of the record can tell.
 */
export function writerState(writer: WriterIdentity, os: Platform = system, here: Place = placeOf(os)): WriterState {
  const place = relation(writer, here);
  if (place === 'foreign') return 'unknown';
  if (place === 'rebooted') return 'dead';
  return os.name === 'linux' ? linuxState(writer, here, os) : otherState(writer, os);
}
