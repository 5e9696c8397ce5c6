import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import type { LivenessFacts, LivenessRecord } from '../../lib/core/liveness/types.js';
import type { FileStep } from '../../lib/core/liveness/write-steps.js';
import { parseRecord, RECORD_LENGTH } from '../../lib/core/liveness.js';
import { LivenessFile, type LivenessFileOptions, type ModeChange } from '../../lib/io/liveness-file.js';
import { type StepRunner, systemRunner } from '../../lib/io/liveness-steps.js';
import { facts, identity, NOW_MS, scratch, stopped, waiting } from '../support/liveness-records.js';

/** A failure for a step, or nothing to let it through. */
type Fault = (step: FileStep) => string | undefined;

/** The real file system, in which some steps fail. Keeps a list of what was asked; pauses take no time. */
class FaultyRunner implements StepRunner {
  readonly steps: FileStep[] = [];
  fault: Fault = () => undefined;

  #check(step: FileStep): void {
    this.steps.push(step);
    const code = this.fault(step);
    if (code !== undefined) throw Object.assign(new Error(`${code}: refused by the test`), { code });
  }

  now(step: FileStep): unknown {
    this.#check(step);
    return step.op === 'pause' ? undefined : systemRunner.now(step);
  }

  async later(step: FileStep): Promise<unknown> {
    this.#check(step);
    return step.op === 'pause' ? undefined : systemRunner.later(step);
  }

  count(op: FileStep['op']): number {
    return this.steps.filter((step) => step.op === op).length;
  }
}

function on(...ops: FileStep['op'][]): (code: string) => Fault {
  return (code) => (step) => (ops.includes(step.op) ? code : undefined);
}

interface Writer {
  file: LivenessFile;
  runner: FaultyRunner;
  changes: ModeChange[];
}

function writer(path: string, options: Partial<LivenessFileOptions> = {}): Writer {
  const runner = new FaultyRunner();
  const changes: ModeChange[] = [];
  const file = new LivenessFile({
    file: path,
    intervalMs: 10_000,
    identity,
    version: '0.1.0',
    runner,
    onModeChange: (change) => changes.push(change),
    ...options,
  });
  return { file, runner, changes };
}

function read(path: string): LivenessRecord {
  const parsed = parseRecord(fs.readFileSync(path, 'latin1'));
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.why);
  return parsed.record;
}

describe('liveness file', () => {
  it('writes a private record of one length and leaves nothing else', async () => {
    using dir = scratch();
    const { file, changes } = writer(dir.at('live'), { nowMs: () => NOW_MS, monoNs: () => 77n });
    await file.write(facts);
    await file.write(waiting);
    const expected = { seq: 2, writer: identity, intervalMs: 10_000, writtenAtMs: NOW_MS, writtenMonoNs: '77' };
    assert.deepEqual(read(dir.at('live')), { ...waiting, ...expected, v: 1, version: '0.1.0' });
    assert.equal(fs.statSync(dir.at('live')).size, RECORD_LENGTH);
    assert.deepEqual(fs.readdirSync(dir.path), ['live']);
    assert.deepEqual(file.health(), { file: dir.at('live'), lastWriteAt: NOW_MS, mode: 'rename' });
    assert.deepEqual(changes, []);
  });

  it('is for its owner only, whatever the umask, and never opens what is there already', async () => {
    using dir = scratch();
    const before = process.umask(0);
    try {
      fs.symlinkSync(dir.at('victim'), dir.at('link'));
      for (const run of [systemRunner.now, systemRunner.later]) {
        const path = dir.at(run.name);
        fs.closeSync(Number(await run({ op: 'create', path })));
        assert.equal(fs.statSync(path).mode & 0o777, 0o600);
        for (const taken of [path, dir.at('link')]) {
          await assert.rejects(async () => run({ op: 'create', path: taken }), { code: 'EEXIST' });
        }
        await assert.rejects(async () => run({ op: 'open', path: dir.at('link'), access: 'write' }), { code: 'ELOOP' });
      }
      assert.equal(fs.existsSync(dir.at('victim')), false);
    } finally {
      process.umask(before);
    }
  });

  it('waits for the platter with the synchronous write only', async () => {
    using dir = scratch();
    const { file, runner } = writer(dir.at('live'));
    await file.write(facts);
    assert.equal(runner.count('sync'), 0);
    file.writeSync(stopped);
    assert.equal(runner.count('sync'), 1);
  });

  it('lets no older facts follow a synchronous write', async () => {
    using dir = scratch();
    const { file } = writer(dir.at('live'));
    const writes = [file.write(facts), file.write(facts)];
    file.writeSync(waiting);
    await Promise.all(writes);
    assert.equal(read(dir.at('live')).state, 'waiting');
    await file.write(facts);
    assert.equal(read(dir.at('live')).state, 'online');
  });

  it('has one write under way and lets only the newest follow', async () => {
    using dir = scratch();
    const { file, runner } = writer(dir.at('live'));
    const writes = Array.from({ length: 50 }, (_, attempt) => file.write({ ...waiting, attempt }));
    await Promise.all(writes);
    assert.equal(runner.count('create'), 2);
    assert.deepEqual([read(dir.at('live')).seq, read(dir.at('live')).attempt], [2, 49]);
  });

  it('makes a missing directory private, one level, and again only if it was its own', async () => {
    using dir = scratch();
    const { file } = writer(dir.at('run/live'));
    await file.write(facts);
    assert.equal(fs.statSync(dir.at('run')).mode & 0o777, 0o700);
    fs.rmSync(dir.at('run'), { recursive: true });
    await file.write(facts);
    assert.equal(file.health().error?.code, 'ENOENT');
    await file.write(facts);
    assert.equal(read(dir.at('run/live')).seq, 3);

    fs.mkdirSync(dir.at('given'));
    const { file: guest } = writer(dir.at('given/live'));
    await guest.write(facts);
    fs.rmSync(dir.at('given'), { recursive: true });
    for (let i = 0; i < 3; i += 1) await guest.write(facts);
    assert.equal(fs.existsSync(dir.at('given')), false);

    const { file: far } = writer(dir.at('a/b/live'));
    await far.write(facts);
    assert.equal(far.health().error?.code, 'ENOENT');
  });

  it('never follows a symbolic link', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('victim'), 'x'.repeat(RECORD_LENGTH));
    fs.symlinkSync(dir.at('victim'), dir.at('live'));
    const { file, changes } = writer(dir.at('live'));
    await file.write(facts);
    file.writeSync(stopped);
    assert.equal(fs.readFileSync(dir.at('victim'), 'utf8'), 'x'.repeat(RECORD_LENGTH));
    assert.ok(fs.lstatSync(dir.at('live')).isSymbolicLink());
    assert.deepEqual([file.health().mode, file.health().error?.code], ['memory', 'ELOOP']);
    assert.equal(changes.length, 1);
  });

  it('does not write through a hard link, nor into what is no record', async () => {
    using dir = scratch();
    fs.writeFileSync(dir.at('victim'), 'x'.repeat(RECORD_LENGTH));
    fs.linkSync(dir.at('victim'), dir.at('live'));
    fs.writeFileSync(dir.at('notes'), 'mine');
    for (const name of ['live', 'notes']) {
      const { file, runner } = writer(dir.at(name));
      runner.fault = on('create')('ENOSPC');
      await file.write(facts);
      assert.equal(file.health().mode, 'memory');
    }
    assert.equal(fs.readFileSync(dir.at('victim'), 'utf8'), 'x'.repeat(RECORD_LENGTH));
    assert.equal(fs.readFileSync(dir.at('notes'), 'utf8'), 'mine');
  });

  it('does not write into the file of another user', async () => {
    using dir = scratch();
    const { file, runner } = writer(dir.at('live'));
    await file.write(facts);
    runner.fault = on('create')('ENOSPC');
    const later = runner.later.bind(runner);
    runner.later = async (step) => {
      const answer = await later(step);
      return step.op === 'facts' ? { ...(answer as object), own: false } : answer;
    };
    await file.write(facts);
    assert.deepEqual([file.health().mode, read(dir.at('live')).seq], ['memory', 1]);
  });

  it('refuses a FIFO and a directory without waiting for them', async () => {
    using dir = scratch();
    execFileSync('mkfifo', [dir.at('fifo')]);
    fs.mkdirSync(dir.at('directory'));
    for (const [name, code] of [
      ['fifo', 'ENOTREG'],
      ['directory', 'EISDIR'],
    ] as const) {
      const { file } = writer(dir.at(name));
      await file.write(facts);
      file.writeSync(facts);
      assert.equal(file.health().error?.code, code);
    }
    assert.deepEqual(fs.readdirSync(dir.path).sort(), ['directory', 'fifo']);
  });

  it('refuses a directory behind a link of another user', async () => {
    using dir = scratch();
    fs.mkdirSync(dir.at('real'));
    fs.symlinkSync(dir.at('real'), dir.at('link'));
    const own = writer(dir.at('link/live'));
    await own.file.write(facts);
    assert.equal(read(dir.at('real/live')).seq, 1);
    const strange: StepRunner = {
      now: (step) => systemRunner.now(step),
      later: async (step) => {
        const answer = await systemRunner.later(step);
        return step.op === 'look' ? { ...(answer as object), own: false, root: false } : answer;
      },
    };
    const other = writer(dir.at('link/live'), { runner: strange });
    await other.file.write(facts);
    assert.equal(other.file.health().error?.code, 'ELOOP');
    assert.equal(own.file.health().error, undefined);
  });

  it('overwrites in place on a full disk, says so once, and recovers by itself', async () => {
    using dir = scratch();
    const { file, runner, changes } = writer(dir.at('live'));
    await file.write(facts);
    const { ino } = fs.statSync(dir.at('live'));
    // As a full disk does it: the temporary file is made, its bytes are refused.
    let fresh = false;
    runner.fault = (step) => {
      if (step.op === 'create' || step.op === 'open') fresh = step.op === 'create';
      return step.op === 'write' && fresh ? 'ENOSPC' : undefined;
    };
    for (let i = 0; i < 3; i += 1) await file.write(waiting);
    assert.deepEqual(fs.readdirSync(dir.path), ['live']);
    assert.deepEqual([read(dir.at('live')).seq, fs.statSync(dir.at('live')).ino === ino], [4, true]);
    assert.deepEqual([file.health().mode, file.health().error?.code], ['in-place', 'ENOSPC']);
    runner.fault = () => undefined;
    await file.write(facts);
    assert.deepEqual([file.health().mode, file.health().error], ['rename', undefined]);
    assert.deepEqual(
      changes.map(({ from, to, error }) => [from, to, error?.code]),
      [
        ['rename', 'in-place', 'ENOSPC'],
        ['in-place', 'rename', undefined],
      ],
    );
  });

  it('moves only the time of its own record where nothing can be written', async () => {
    using dir = scratch();
    let now = NOW_MS + 123;
    const { file, runner } = writer(dir.at('live'), { nowMs: () => now });
    const full: Fault = (step) =>
      step.op === 'create' || (step.op === 'open' && step.access === 'write') ? 'ENOSPC' : undefined;
    runner.fault = full;
    await file.write(facts);
    assert.equal(file.health().mode, 'memory', 'there is no record yet');
    runner.fault = () => undefined;
    await file.write(facts);
    runner.fault = full;
    now += 10_000;
    await file.write(facts);
    assert.deepEqual([file.health().mode, fs.statSync(dir.at('live')).mtimeMs], ['utimes', NOW_MS + 10_000]);
    // The record says online: it must not live on when that is over.
    await file.write(waiting);
    assert.equal(file.health().mode, 'memory');
    file.writeSync(stopped);
    assert.deepEqual([file.health().mode, fs.statSync(dir.at('live')).mtimeMs], ['memory', NOW_MS + 10_000]);
  });

  it('tries a refused rename five times more, then in place, and then no longer insists', async () => {
    using dir = scratch();
    const { file, runner } = writer(dir.at('live'));
    await file.write(facts);
    runner.fault = on('rename')('EBUSY');
    runner.steps.length = 0;
    await file.write(facts);
    assert.deepEqual(
      runner.steps.flatMap((step) => (step.op === 'pause' ? [step.ms] : [])),
      [10, 20, 40, 80, 100],
    );
    assert.deepEqual([file.health().mode, read(dir.at('live')).seq], ['in-place', 2]);
    runner.steps.length = 0;
    await file.write(facts);
    assert.deepEqual([runner.count('rename'), runner.count('pause'), read(dir.at('live')).seq], [1, 0, 3]);
    assert.deepEqual(fs.readdirSync(dir.path), ['live']);
  });

  it('lives on in memory when the disk refuses everything', async () => {
    using dir = scratch();
    const { file, runner, changes } = writer(dir.at('live'));
    for (const code of ['EROFS', 'EROFS', 'EIO', 'EACCES']) {
      runner.fault = () => code;
      await file.write(facts);
      file.writeSync(facts);
      assert.deepEqual(
        [file.health().mode, file.health().error?.code, file.health().lastWriteAt],
        ['memory', code, undefined],
      );
    }
    assert.deepEqual(
      changes.map(({ error }) => error?.code),
      ['EROFS', 'EIO', 'EACCES'],
    );
  });

  it('reports a write that hangs, keeps the loop free, and does not hang the exit', async () => {
    using dir = scratch();
    let mono = 0n;
    let release = (): void => undefined;
    const hung = new Promise<void>((done) => {
      release = done;
    });
    const runner = new FaultyRunner();
    const later = runner.later.bind(runner);
    let hang = true;
    runner.later = async (step) => {
      if (hang) await hung;
      return later(step);
    };
    const { file, changes } = writer(dir.at('live'), { runner, monoNs: () => mono });
    const first = file.write(facts);
    mono = 10_000_000_000n;
    file.write(facts);
    assert.equal(file.health().error, undefined);
    mono = 12_500_000_000n;
    assert.deepEqual(file.health().error, { code: 'PENDING', message: 'a write has not returned for 12s' });
    const last = file.write(waiting);
    file.writeSync(facts);
    assert.deepEqual(
      changes.map(({ to, error }) => [to, error?.code]),
      [['memory', 'PENDING']],
    );
    assert.equal(fs.existsSync(dir.at('live')), false);
    hang = false;
    release();
    await Promise.all([first, last]);
    assert.deepEqual([file.health().mode, file.health().error], ['rename', undefined]);
    file.writeSync(stopped);
    assert.equal(read(dir.at('live')).state, 'stopped');
  });

  it('ends with the stop record, whatever is under way', async () => {
    for (const held of ['look', 'create', 'write', 'close', 'rename'] as const) {
      using dir = scratch();
      const runner = new FaultyRunner();
      const later = runner.later.bind(runner);
      const { file, changes } = writer(dir.at('live'), { runner });
      // The step is with the system while the process stops, and lands after it.
      runner.later = async (step) => {
        if (step.op === held) file.writeSync(stopped);
        return later(step);
      };
      await file.write(facts);
      await file.write(facts);
      file.writeSync(facts);
      assert.equal(read(dir.at('live')).exit?.code, 75, held);
      assert.equal(read(dir.at('live')).seq, 2, held);
      assert.deepEqual([file.health().mode, changes], ['rename', []], held);
      assert.deepEqual(fs.readdirSync(dir.path), ['live'], held);
    }
  });

  it('ends with the stop record in place, too', async () => {
    using dir = scratch();
    const runner = new FaultyRunner();
    const { file } = writer(dir.at('live'), { runner });
    await file.write(facts);
    runner.fault = on('create')('ENOSPC');
    let landing = false;
    const later = runner.later.bind(runner);
    // The overwrite that nothing can call back lands while the exit waits for it.
    const now = runner.now.bind(runner);
    runner.now = (step) => {
      if (landing && step.op === 'pause') fs.writeFileSync(dir.at('live'), 'old'.padEnd(RECORD_LENGTH), { flag: 'r+' });
      return now(step);
    };
    runner.later = async (step) => {
      if (step.op !== 'write') return later(step);
      landing = true;
      file.writeSync(stopped);
      throw Object.assign(new Error('landed already'), { code: 'EIO' });
    };
    await file.write(waiting);
    assert.equal(read(dir.at('live')).exit?.outcome, 'gave-up');
  });

  it('survives a logger that throws and facts that cannot be said', async () => {
    using dir = scratch();
    const { file, runner } = writer(dir.at('live'), {
      onModeChange: () => {
        throw new Error('EPIPE');
      },
    });
    runner.fault = on('create')('ENOSPC');
    await file.write(facts);
    runner.fault = () => undefined;
    const broken = {
      ...facts,
      get attempt(): number {
        throw new Error('no');
      },
    } as LivenessFacts;
    await file.write(broken);
    file.writeSync(broken);
    assert.equal(file.health().error?.message, 'no');
    await file.write(facts);
    assert.equal(file.health().error, undefined);
  });

  it('writes nothing once closed', async () => {
    using dir = scratch();
    const { file } = writer(dir.at('live'));
    file.close();
    await file.write(facts);
    file.writeSync(stopped);
    assert.deepEqual(fs.readdirSync(dir.path), []);
  });
});

describe('liveness file on a full disk', () => {
  it('behaves as the faults above say, where a small disk can be mounted', async () => {
    using dir = scratch();
    const mounted = mount(dir.path);
    try {
      const { file } = writer(dir.at('live'));
      await file.write(facts);
      // Without a mount the disk has room: then the same steps simply succeed.
      if (mounted) fill(dir.at('filler'));
      await file.write(waiting);
      file.writeSync(stopped);
      assert.equal(read(dir.at('live')).exit?.code, 75);
      assert.deepEqual(
        [file.health().mode, file.health().error?.code],
        mounted ? ['in-place', 'ENOSPC'] : ['rename', undefined],
      );
      assert.deepEqual(
        fs.readdirSync(dir.path).filter((name) => name.endsWith('.tmp')),
        [],
      );
    } finally {
      if (mounted) execFileSync('umount', [dir.path]);
    }
  });
});

function mount(path: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function fill(path: string): void {
  const fd = fs.openSync(path, 'w');
  try {
    for (;;) fs.writeSync(fd, Buffer.alloc(1024));
  } catch {
    // Full.
  } finally {
    fs.closeSync(fd);
  }
}
