/** The file system calls behind the steps of a liveness write, at once or off the loop. */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import type { FileStep, PathFacts } from '../core/liveness/write-steps.js';

/** Runs steps, at once or off the loop. */
export interface StepRunner {
  now(step: FileStep): unknown;
  later(step: FileStep): Promise<unknown>;
}

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = fs.constants;
// Absent on Windows, whatever the types say.
const SAFE = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0);
const FRESH = O_CREAT | O_EXCL | O_WRONLY | SAFE;
const ACCESS = { read: O_RDONLY | SAFE, write: O_WRONLY | SAFE } as const;

function factsOf(stat: fs.Stats): PathFacts {
  const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'link' : 'other';
  const user = process.geteuid?.() ?? stat.uid;
  return { kind, size: stat.size, links: stat.nlink, own: stat.uid === user, root: stat.uid === 0 };
}

function whole(written: number, text: string): void {
  if (written !== text.length) throw Object.assign(new Error('the disk took only a part'), { code: 'ENOSPC' });
}

function runNow(step: FileStep): unknown {
  switch (step.op) {
    case 'look':
      return factsOf(fs.lstatSync(step.path));
    case 'facts':
      return factsOf(fs.fstatSync(step.fd));
    case 'create':
      return fs.openSync(step.path, FRESH, 0o600);
    case 'open':
      return fs.openSync(step.path, ACCESS[step.access]);
    case 'write':
      return whole(fs.writeSync(step.fd, step.text, 0, 'latin1'), step.text);
    case 'sync':
      return fs.fsyncSync(step.fd);
    case 'touch':
      return fs.futimesSync(step.fd, step.seconds, step.seconds);
    case 'close':
      return fs.closeSync(step.fd);
    case 'rename':
      return fs.renameSync(step.from, step.to);
    case 'remove':
      return fs.unlinkSync(step.path);
    case 'mkdir':
      return fs.mkdirSync(step.path, 0o700);
    case 'pause':
      return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, step.ms);
  }
}

function writeLater(fd: number, text: string): Promise<number> {
  return new Promise((done, fail) => {
    fs.write(fd, text, 0, 'latin1', (error, written) => (error === null ? done(written) : fail(error)));
  });
}

const calls = {
  lstat: promisify<string, fs.Stats>(fs.lstat),
  fstat: promisify<number, fs.Stats>(fs.fstat),
  open: promisify<string, number, number, number>(fs.open),
  fsync: promisify(fs.fsync),
  futimes: promisify(fs.futimes),
  close: promisify<number>(fs.close),
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  mkdir: promisify<string, number>(fs.mkdir),
};

async function runLater(step: FileStep): Promise<unknown> {
  switch (step.op) {
    case 'look':
      return factsOf(await calls.lstat(step.path));
    case 'facts':
      return factsOf(await calls.fstat(step.fd));
    case 'create':
      return calls.open(step.path, FRESH, 0o600);
    case 'open':
      return calls.open(step.path, ACCESS[step.access], 0);
    case 'write':
      return whole(await writeLater(step.fd, step.text), step.text);
    case 'sync':
      return calls.fsync(step.fd);
    case 'touch':
      return calls.futimes(step.fd, step.seconds, step.seconds);
    case 'close':
      return calls.close(step.fd);
    case 'rename':
      return calls.rename(step.from, step.to);
    case 'remove':
      return calls.unlink(step.path);
    case 'mkdir':
      return calls.mkdir(step.path, 0o700);
    case 'pause':
      return new Promise((done) => setTimeout(done, step.ms));
  }
}

/** The runner on the real file system. */
export const systemRunner: StepRunner = { now: runNow, later: runLater };
