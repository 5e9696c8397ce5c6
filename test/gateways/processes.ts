// Children that must not outlive the test process: every one gets its own process group and a mark in its
// environment, so that it and whatever it detached can be ended by id.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const MARK = 'HOLDFAST_TEST_PROCESS';

/** What one owner started: the leaders of its process groups, what it told to end, and the folders to remove with them. */
export interface Ownership {
  readonly mark: string;
  readonly groups: Set<number>;
  /** What was told to end. A process that is about to be gone has no environment any more that shows its mark. */
  readonly ending: Set<number>;
  readonly folders: Set<string>;
}

const owners = new Set<Ownership>();
let hooked = false;

/** Opens an ownership that is cleaned up when this process ends, however it ends (save by SIGKILL). */
export function own(mark: string): Ownership {
  const owner: Ownership = { mark, groups: new Set(), ending: new Set(), folders: new Set() };
  owners.add(owner);
  if (!hooked) {
    hooked = true;
    process.on('exit', endAllNow);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        endAllNow();
        // Whoever else listens decides how the process ends; if nobody does, it ends as the signal says.
        if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
      });
    }
  }
  return owner;
}

/** Ends an ownership: SIGTERM, a bounded wait, SIGKILL, then the folders. */
export async function release(owner: Ownership, grace: number): Promise<void> {
  if (!owners.has(owner)) return;
  // A stopped process takes no SIGTERM before it is continued.
  for (const signal of ['SIGCONT', 'SIGTERM'] as const) signalAll(owner, signal);
  if (!(await until(() => isQuiet(owner), grace))) {
    killNow(owner);
    await until(() => isQuiet(owner), 5000);
  }
  removeFolders(owner);
  owners.delete(owner);
}

export interface SpawnOptions {
  readonly owner: Ownership;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
}

/** Starts a child as the leader of its own group. Output goes to a file, because a detached successor inherits it. */
export function spawnOwned(o: SpawnOptions): ChildProcess {
  const log = openSync(o.logFile, 'a');
  try {
    const child = spawn(o.command, o.args, {
      cwd: o.cwd,
      env: { ...o.env, [MARK]: o.owner.mark },
      stdio: ['ignore', log, log],
      detached: true,
    });
    if (child.pid !== undefined) o.owner.groups.add(child.pid);
    return child;
  } finally {
    closeSync(log);
  }
}

/** True while the process runs. A zombie does not: its successor may have left it to a parent that never reaps. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
  if (process.platform !== 'linux') return !psColumn(pid).startsWith('Z');
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH' && codeOf(error) !== 'EPERM') throw error;
  }
}

/** The live processes carrying the owner's mark, detached ones included. */
function marked(owner: Ownership): number[] {
  return process.platform === 'linux' ? markedInProc(owner.mark) : markedByPs(owner.mark);
}

/** Polls until the condition holds; false when the time is over. */
export async function until(condition: () => boolean | Promise<boolean>, timeout: number, step = 50): Promise<boolean> {
  const end = performance.now() + timeout;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= end) return false;
    await delay(step);
  }
}

const handedOut = new Set<number>();

/**
 * A base port P with P and P + 2 free (the second is the browser control port). Steps of 120 keep two gateways
 * apart as their manual asks, and the range lies below the ephemeral ports of Linux and macOS.
 */
export async function freeBasePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = 20_040 + 120 * Math.floor(Math.random() * 100);
    if (handedOut.has(port)) continue;
    if ((await isFree(port)) && (await isFree(port + 2))) {
      handedOut.add(port);
      return port;
    }
  }
  throw new Error('no free base port for a gateway');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function endAllNow(): void {
  for (const owner of owners) {
    killNow(owner);
    removeFolders(owner);
  }
}

/** SIGKILL for everything the owner started; the ownership stays open. */
export function killNow(owner: Ownership): void {
  // Twice: a process may have started another one between the scan and its own end.
  for (let round = 0; round < 2; round++) signalAll(owner, 'SIGKILL');
}

function signalAll(owner: Ownership, signal: NodeJS.Signals): void {
  for (const pid of owner.groups) signalGroup(pid, signal);
  for (const pid of marked(owner)) {
    owner.ending.add(pid);
    signalOne(pid, signal);
  }
}

function isQuiet(owner: Ownership): boolean {
  return [...owner.groups, ...owner.ending].every((pid) => !alive(pid)) && marked(owner).length === 0;
}

function removeFolders(owner: Ownership): void {
  for (const folder of owner.folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  owner.folders.clear();
}

function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended by itself.
  }
}

function markedInProc(mark: string): number[] {
  const wanted = `${MARK}=${mark}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      if (pid === process.pid) return false;
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(wanted) && alive(pid);
      } catch {
        return false;
      }
    });
}

function markedByPs(mark: string): number[] {
  try {
    return execFileSync('ps', ['-axEww', '-o', 'pid=,command='], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
      .split('\n')
      .filter((line) => line.includes(`${MARK}=${mark}`))
      .map((line) => Number.parseInt(line, 10))
      .filter((pid) => pid !== process.pid && alive(pid));
  } catch {
    return [];
  }
}

function psColumn(pid: number): string {
  try {
    return execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  } catch {
    return 'Z';
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
