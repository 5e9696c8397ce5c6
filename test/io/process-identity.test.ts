import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { WriterIdentity } from '../../lib/core/liveness.js';
import { identityOf, type Platform, placeOf, writerState } from '../../lib/io/process-identity.js';

const TICKS = '131155';
const files: Record<string, string> = {
  '/proc/sys/kernel/random/boot_id': 'boot-1\n',
  '/proc/7/stat': `7 (no) de (S) S 1 7 7 0 -1 4194560 ${'1 '.repeat(12)}${TICKS} 99 0\n`,
  '/proc/7/status': 'Name:\tnode\nTgid:\t7\nPid:\t7\n',
};

function refuse(code: string): never {
  throw Object.assign(new Error(code), { code });
}

/** A platform of the given name, on which pid 7 runs since `TICKS`. */
function platform(name: string, changes: Partial<Platform> = {}, texts: Record<string, string> = files): Platform {
  return {
    name,
    pid: 7,
    host: () => 'mill',
    readText: (path) => texts[path] ?? refuse('ENOENT'),
    readLink: (path) => `${path.slice(-4).replace('/', '')}:[4026531836]`,
    run: (command) => (command.endsWith('ps') ? 'Mon Jan  5 10:00:00 2026\n' : 'SESSION-UUID\n'),
    ask: (pid) => (pid === 7 ? undefined : refuse('ESRCH')),
    ...changes,
  };
}

const linux = platform('linux');
const mac = platform('darwin');
const windows = platform('win32');

/** A process that lives until it is killed. */
async function sleeper(): Promise<ChildProcess & { pid: number }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000); process.stdout.write("up")'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  assert.ok(child.stdout !== null && child.pid !== undefined);
  await once(child.stdout, 'data');
  return Object.assign(child, { pid: child.pid });
}

describe('process identity', () => {
  it('tells all it can on each platform', () => {
    const rest = { pid: 7, host: 'mill', instanceId: 'i' };
    const linuxOnly = { startToken: TICKS, bootId: 'boot-1', pidNs: '4026531836', timeNs: '4026531836' };
    assert.deepEqual(identityOf('i', linux), { ...rest, ...linuxOnly });
    assert.deepEqual(identityOf('i', mac), { ...rest, startToken: 'Mon Jan 5 10:00:00 2026', bootId: 'SESSION-UUID' });
    assert.deepEqual(identityOf('i', windows), rest);
  });

  it('does without what fails or is empty', () => {
    const mute = { readText: () => refuse('EACCES'), readLink: () => refuse('EACCES'), run: () => refuse('ETIMEDOUT') };
    for (const name of ['linux', 'darwin']) {
      assert.deepEqual(identityOf('i', platform(name, mute)), { pid: 7, host: 'mill', instanceId: 'i' });
    }
    const empty = { readText: () => '', readLink: () => '', run: () => ' \n' };
    for (const name of ['linux', 'darwin']) assert.deepEqual(placeOf(platform(name, empty)), { host: 'mill' });
  });

  it('is its own, and lives, on the machine at hand', () => {
    const self = identityOf('i');
    assert.deepEqual([self.pid, self.host, self.instanceId], [process.pid, hostname(), 'i']);
    // Where there is no start time to compare, that a pid is in use proves nothing.
    assert.equal(writerState(self), self.startToken === undefined ? 'unknown' : 'alive');
    assert.deepEqual(identityOf('i'), self);
  });

  it('sees a process killed by the system as dead, before and after its parent looked', async () => {
    const child = await sleeper();
    const writer: WriterIdentity = { ...identityOf('i'), pid: child.pid, startToken: startOf(child.pid) };
    assert.notEqual(writerState(writer), 'dead');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(writerState(writer), 'dead');
  });

  it('does not take a reused pid for the writer', () => {
    const writer = identityOf('i', linux);
    assert.equal(writerState(writer, linux), 'alive');
    assert.equal(writerState({ ...writer, startToken: '131156' }, linux), 'dead');
    assert.equal(writerState({ ...identityOf('i', mac), startToken: 'Mon Jan 5 10:00:01 2026' }, mac), 'dead');
    assert.equal(writerState(identityOf('i', mac), mac), 'alive');
    const self = identityOf('i');
    if (self.startToken !== undefined) assert.equal(writerState({ ...self, startToken: '1' }), 'dead');
  });

  it('knows a zombie and a thread for what they are', () => {
    const writer = identityOf('i', linux);
    const zombie = { ...files, '/proc/7/stat': (files['/proc/7/stat'] ?? '').replace('(S) S 1', '(S) Z 1') };
    assert.equal(writerState(writer, platform('linux', {}, zombie)), 'dead');
    const thread = { ...files, '/proc/7/status': 'Name:\tnode\nTgid:\t6\nPid:\t7\n' };
    assert.equal(writerState(writer, platform('linux', {}, thread)), 'dead');
  });

  it('takes EPERM for alive, and a silent system for unknown', () => {
    const hidden = { '/proc/sys/kernel/random/boot_id': 'boot-1' };
    const writer = identityOf('i', linux);
    const asked = (code: string): string => writerState(writer, platform('linux', { ask: () => refuse(code) }, hidden));
    assert.deepEqual(['ESRCH', 'EPERM', 'EINVAL'].map(asked), ['dead', 'alive', 'unknown']);
    assert.equal(writerState(writer, platform('linux', {}, hidden)), 'unknown');
    assert.equal(writerState(identityOf('i', windows), windows), 'unknown');
    assert.equal(writerState({ ...identityOf('i', windows), pid: 8 }, windows), 'dead');
    const mute = platform('darwin', { run: () => refuse('ETIMEDOUT') });
    assert.equal(writerState(identityOf('i', mac), mute, placeOf(mac)), 'unknown');
  });

  it('says nothing about another container or host, and all about an earlier boot', () => {
    const writer = identityOf('i', linux);
    assert.equal(writerState({ ...writer, pidNs: '1', pid: 8 }, linux), 'unknown');
    assert.equal(writerState({ ...writer, host: 'other', bootId: 'boot-2' }, linux), 'unknown');
    assert.equal(writerState({ ...writer, bootId: 'boot-0' }, linux), 'dead');
    // Start times of two time namespaces do not compare.
    assert.equal(writerState({ ...writer, timeNs: '1', startToken: '1' }, linux), 'unknown');
  });
});

/** Start time of another process, asked as the documentation says. */
function startOf(pid: number): string {
  if (process.platform === 'linux') {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  }
  const env = { LC_ALL: 'C', TZ: 'UTC' };
  return execFileSync('/bin/ps', ['-o', 'lstart=', '-p', String(pid)], { env, encoding: 'utf8' })
    .trim()
    .replace(/\s+/g, ' ');
}
