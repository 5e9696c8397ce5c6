import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { isGatewayError } from '../../lib/core/errors.js';
import {
  PRIVATE_FILE_LIMIT,
  type PrivateSystem,
  parseState,
  privateSystem,
  readPrivateFile,
  removePrivateFile,
  writePrivateFile,
} from '../../lib/io/private-file.js';
import { bounded, refusal } from '../support/collect.js';
import { scratch } from '../support/liveness-records.js';

const SECRET = 'never-to-be-seen-4711';
const us = process.geteuid?.() ?? 0;

/** The real file system, with calls of it replaced. */
function withFs(changes: Partial<PrivateSystem['fs']>): PrivateSystem {
  return { ...privateSystem, fs: { ...privateSystem.fs, ...changes } };
}

function failing(code: string): () => Promise<never> {
  return () => Promise.reject(Object.assign(new Error(`${code}: refused`), { code }));
}

/** Somebody else's: for real where that is possible, else by our saying that we are somebody else. */
function givenAway(path: string): PrivateSystem {
  if (us !== 0) return { ...privateSystem, uid: us + 1 };
  chownSync(path, 12_345, 12_345);
  return privateSystem;
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

/** Every way to touch the file ends with this code, and leaves the file as it is. */
async function untouchable(file: string, code: string, remedy: RegExp, system = privateSystem): Promise<void> {
  const deeds = [
    () => readPrivateFile(file, { system }),
    () => writePrivateFile(file, 'x', { system }),
    () => writePrivateFile(file, 'x', { system, exclusive: true }),
    () => removePrivateFile(file, { system }),
  ];
  for (const deed of deeds) {
    const error = await refusal(deed());
    assert.deepEqual([error.code, error.reason, error.outcome], [code, 'local', 'not-sent']);
    assert.match(error.remedy, remedy);
    assert.doesNotMatch(inspect(error), new RegExp(SECRET));
  }
}

describe('a private file', () => {
  it('is written 0600 in a directory 0700 that is made, whatever the umask, and read again', async () => {
    using dir = scratch();
    const file = dir.at('a/b/file');
    const before = process.umask(0);
    try {
      assert.equal(await writePrivateFile(file, 'one ü\n'), true);
    } finally {
      process.umask(before);
    }
    assert.deepEqual([modeOf(file), modeOf(dir.at('a/b')), modeOf(dir.at('a'))], ['600', '700', '700']);
    assert.equal(await readPrivateFile(file), 'one ü\n');
    assert.equal(await writePrivateFile(file, 'two'), true);
    assert.equal(await readPrivateFile(file), 'two');
    assert.deepEqual(readdirSync(dir.at('a/b')), ['file']);
    await removePrivateFile(file);
    await removePrivateFile(file);
    assert.equal(await readPrivateFile(file), null);
    assert.equal(await readPrivateFile(dir.at('no/such')), null);
    await removePrivateFile(dir.at('no/such'));
    assert.equal(existsSync(dir.at('no')), false);
  });

  it('is made once: of many that try, one wins, and nobody sees half of it', async () => {
    using dir = scratch();
    const file = dir.at('state/file');
    const text = (n: number): string => `${n}`.repeat(10_000);
    const deeds = Array.from({ length: 8 }, async (_, n) => {
      const won = await writePrivateFile(file, text(n), { exclusive: true });
      return { n, won, read: await readPrivateFile(file) };
    });
    const results = await Promise.all(deeds);
    const winners = results.filter(({ won }) => won);
    assert.equal(winners.length, 1);
    for (const { read } of results) assert.equal(read, text(winners[0]?.n ?? -1));
    assert.deepEqual(readdirSync(dir.at('state')), ['file']);
  });

  it('is made once also where the file system has no hard links', async () => {
    using dir = scratch();
    const system = withFs({ link: failing('EPERM') });
    const file = dir.at('file');
    assert.equal(await writePrivateFile(file, 'one', { system, exclusive: true }), true);
    assert.equal(await writePrivateFile(file, 'two', { system, exclusive: true }), false);
    // Even when it appears between the look and the making.
    const blind = withFs({ link: failing('ENOTSUP'), lstat: failing('ENOENT') });
    assert.equal(await writePrivateFile(file, 'two', { system: blind, exclusive: true }), false);
    assert.deepEqual([await readPrivateFile(file), modeOf(file), readdirSync(dir.path)], ['one', '600', ['file']]);
  });

  it('X08 is no symbolic link, and lies in none', async () => {
    using dir = scratch();
    writeFileSync(dir.at('target'), SECRET, { mode: 0o600 });
    symlinkSync(dir.at('target'), dir.at('link'));
    symlinkSync(dir.at('nothing'), dir.at('dangling'));
    mkdirSync(dir.at('real'), { mode: 0o700 });
    symlinkSync(dir.at('real'), dir.at('folder'));
    for (const name of ['link', 'dangling', 'folder/file']) {
      await untouchable(dir.at(name), 'STATE_LINK', /real path/);
    }
    assert.equal(readFileSync(dir.at('target'), 'utf8'), SECRET);
    assert.deepEqual([existsSync(dir.at('nothing')), readdirSync(dir.at('real'))], [false, []]);
  });

  it('X08 that is exchanged for a link after the look is not followed either', async () => {
    using dir = scratch();
    writeFileSync(dir.at('target'), SECRET, { mode: 0o600 });
    writeFileSync(dir.at('plain'), '', { mode: 0o600 });
    symlinkSync(dir.at('target'), dir.at('link'));
    const lstat = (path: string) => privateSystem.fs.lstat(path === dir.at('link') ? dir.at('plain') : path);
    const error = await refusal(readPrivateFile(dir.at('link'), { system: withFs({ lstat }) }));
    assert.equal(error.code, 'ELOOP');
  });

  it('X08 below a link of ours or of root is fine, below one of somebody else not', async () => {
    using dir = scratch();
    mkdirSync(dir.at('real/state'), { recursive: true, mode: 0o700 });
    symlinkSync(dir.at('real'), dir.at('way'));
    await writePrivateFile(dir.at('way/state/file'), 'x');
    assert.equal(await readPrivateFile(dir.at('real/state/file')), 'x');
    if (us === 0) execFileSync('chown', ['-h', '12345', dir.at('way')]);
    const lstat = async (path: string) => {
      const stat = await privateSystem.fs.lstat(path);
      return path === dir.at('way') ? Object.assign(stat, { uid: 12_345 }) : stat;
    };
    await untouchable(
      dir.at('way/state/file'),
      'STATE_LINK',
      /real path/,
      us === 0 ? privateSystem : withFs({ lstat }),
    );
  });

  it('is replaced, not written through, where it is a hard link', async () => {
    using dir = scratch();
    writeFileSync(dir.at('other'), SECRET, { mode: 0o600 });
    linkSync(dir.at('other'), dir.at('file'));
    await writePrivateFile(dir.at('file'), 'new');
    assert.deepEqual([readFileSync(dir.at('other'), 'utf8'), readFileSync(dir.at('file'), 'utf8')], [SECRET, 'new']);
  });

  it('is a regular file: no directory, no FIFO that would hang, no device', async () => {
    using dir = scratch();
    mkdirSync(dir.at('folder'));
    execFileSync('mkfifo', [dir.at('fifo')]);
    for (const name of ['folder', 'fifo'])
      await bounded(untouchable(dir.at(name), 'STATE_NOT_A_FILE', /[Mm]ove it away/), name);
    // Exchanged for the FIFO after the look: the open itself must not hang.
    writeFileSync(dir.at('plain'), '', { mode: 0o600 });
    const lstat = (path: string) => privateSystem.fs.lstat(path === dir.at('fifo') ? dir.at('plain') : path);
    const error = await refusal(readPrivateFile(dir.at('fifo'), { system: withFs({ lstat }) }));
    assert.equal(error.code, 'STATE_NOT_A_FILE');
    writeFileSync(dir.at('plain'), '', { mode: 0o600 });
    await untouchable(dir.at('plain/file'), 'STATE_NOT_A_DIRECTORY', /stateDir/);
  });

  it('of another user is an error that names both', async () => {
    using dir = scratch();
    writeFileSync(dir.at("it's"), SECRET, { mode: 0o600 });
    const system = givenAway(dir.at("it's"));
    if (us === 0)
      await untouchable(dir.at("it's"), 'STATE_FOREIGN_OWNER', /as user 12345.*chown 0 '.*it'\\''s'/, system);
    else await untouchable(dir.at("it's"), 'STATE_FOREIGN_OWNER', /as user/, system);
    assert.equal(readFileSync(dir.at("it's"), 'utf8'), SECRET);
    mkdirSync(dir.at('folder'), { mode: 0o700 });
    await untouchable(dir.at('folder/file'), 'STATE_FOREIGN_OWNER', /chown/, givenAway(dir.at('folder')));
    assert.deepEqual(readdirSync(dir.at('folder')), []);
  });

  it('open to others is an error that names chmod; so is a directory in which others may write', async () => {
    using dir = scratch();
    for (const mode of [0o640, 0o604, 0o660, 0o602, 0o610]) {
      writeFileSync(dir.at('file'), SECRET);
      chmodSync(dir.at('file'), mode);
      await untouchable(dir.at('file'), 'STATE_MODE', /^Run: chmod 600 '.*file'$/);
    }
    for (const mode of [0o720, 0o702, 0o1777]) {
      mkdirSync(dir.at('folder'), { recursive: true });
      chmodSync(dir.at('folder'), mode);
      await untouchable(dir.at('folder/file'), 'STATE_MODE', /chmod 700 .*directory below it/);
    }
    chmodSync(dir.at('folder'), 0o755);
    writeFileSync(dir.at('folder/file'), 'fine', { mode: 0o400 });
    assert.equal(await readPrivateFile(dir.at('folder/file')), 'fine');
  });

  it('has no owner and no mode where the system knows none', async () => {
    using dir = scratch();
    writeFileSync(dir.at('file'), 'fine');
    chmodSync(dir.at('file'), 0o666);
    assert.equal(await readPrivateFile(dir.at('file'), { system: { ...privateSystem, uid: undefined } }), 'fine');
  });

  it('is bounded, and text', async () => {
    using dir = scratch();
    await writePrivateFile(dir.at('most'), 'x'.repeat(PRIVATE_FILE_LIMIT));
    assert.equal((await readPrivateFile(dir.at('most')))?.length, PRIVATE_FILE_LIMIT);
    assert.equal(
      (await refusal(writePrivateFile(dir.at('more'), 'ü'.repeat(PRIVATE_FILE_LIMIT - 1)))).code,
      'STATE_TOO_LARGE',
    );
    writeFileSync(dir.at('more'), SECRET.repeat(PRIVATE_FILE_LIMIT), { mode: 0o600 });
    await untouchable(dir.at('more'), 'STATE_TOO_LARGE', /backup/);
    // One that grows while it is read.
    const open = async (...args: Parameters<PrivateSystem['fs']['open']>) => {
      const handle = await privateSystem.fs.open(...args);
      writeFileSync(dir.at('most'), 'x'.repeat(PRIVATE_FILE_LIMIT + 5));
      const { stat } = handle;
      Object.assign(handle, { stat: async () => Object.assign(await stat.call(handle), { size: 1 }) });
      return handle;
    };
    assert.equal(
      (await refusal(readPrivateFile(dir.at('most'), { system: withFs({ open }) }))).code,
      'STATE_TOO_LARGE',
    );
    writeFileSync(dir.at('bytes'), Buffer.from([0x7b, 0xff, 0xfe]), { mode: 0o600 });
    assert.equal((await refusal(readPrivateFile(dir.at('bytes')))).code, 'STATE_DAMAGED');
  });

  it('that cannot be read or written says why, and what was there stays', async () => {
    using dir = scratch();
    await writePrivateFile(dir.at('file'), 'old');
    for (const call of ['open', 'lstat'] as const) {
      const error = await refusal(readPrivateFile(dir.at('file'), { system: withFs({ [call]: failing('EIO') }) }));
      assert.deepEqual([error.code, /file cannot be read: EIO/.test(error.message)], ['EIO', true]);
    }
    for (const call of ['open', 'rename', 'lstat'] as const) {
      const error = await refusal(
        writePrivateFile(dir.at('file'), SECRET, { system: withFs({ [call]: failing('ENOSPC') }) }),
      );
      assert.deepEqual([error.code, /file cannot be written: ENOSPC/.test(error.message)], ['ENOSPC', true]);
    }
    const exclusive = { exclusive: true, system: withFs({ link: failing('EIO') }) };
    assert.equal((await refusal(writePrivateFile(dir.at('new'), SECRET, exclusive))).code, 'EIO');
    const unlink = withFs({ unlink: failing('EROFS') });
    assert.equal((await refusal(removePrivateFile(dir.at('file'), { system: unlink }))).code, 'EROFS');
    assert.equal(
      (await refusal(writePrivateFile(dir.at('a/b'), '', { system: withFs({ mkdir: failing('EACCES') }) }))).code,
      'EACCES',
    );
    // Nothing that holds the secret is left behind.
    assert.deepEqual([readdirSync(dir.path), readFileSync(dir.at('file'), 'utf8')], [['file'], 'old']);
  });

  it('that the disk fails to take whole leaves nothing behind', async () => {
    using dir = scratch();
    for (const suffix of ['.tmp', '/file']) {
      const open = async (...args: Parameters<PrivateSystem['fs']['open']>) => {
        const handle = await privateSystem.fs.open(...args);
        if (args[0].endsWith(suffix)) handle.sync = failing('ENOSPC');
        return handle;
      };
      // Without hard links the file itself is written, too.
      const system = withFs({ open, link: failing('ENOSYS') });
      const error = await refusal(writePrivateFile(dir.at('file'), SECRET, { system, exclusive: true }));
      assert.deepEqual([error.code, readdirSync(dir.path)], ['ENOSPC', []]);
    }
  });

  it('gone between the look and the deed counts as not there', async () => {
    using dir = scratch();
    await writePrivateFile(dir.at('file'), 'x');
    const system = withFs({ open: failing('ENOENT'), unlink: failing('ENOENT') });
    assert.equal(await readPrivateFile(dir.at('file'), { system }), null);
    await removePrivateFile(dir.at('file'), { system });
  });

  it('on a disk that hangs holds nobody beyond the signal', async () => {
    using dir = scratch();
    const system = withFs({ lstat: () => new Promise(() => {}) });
    for (const deed of [
      (signal: AbortSignal) => readPrivateFile(dir.at('file'), { system, signal }),
      (signal: AbortSignal) => writePrivateFile(dir.at('file'), 'x', { system, signal }),
      (signal: AbortSignal) => removePrivateFile(dir.at('file'), { system, signal }),
    ]) {
      const abort = new AbortController();
      const waiting = refusal(deed(abort.signal));
      abort.abort();
      assert.equal((await waiting).code, 'STATE_ABORTED');
      assert.equal((await refusal(deed(abort.signal))).code, 'STATE_ABORTED');
    }
    assert.equal(await readPrivateFile(dir.at('file'), { signal: new AbortController().signal }), null);
  });
});

describe('state in JSON', () => {
  it('is an object, and what is none is never quoted', () => {
    assert.deepEqual(parseState('f', '{"a":1}', 'r'), { a: 1 });
    for (const text of ['', ' \n', `{"key":"${SECRET}`, SECRET, `["${SECRET}"]`, `"${SECRET}"`, 'null', '1']) {
      assert.throws(
        () => parseState(join('state', 'f'), text, 'do this'),
        (error: unknown) =>
          isGatewayError(error, 'local') &&
          error.code === 'STATE_DAMAGED' &&
          error.remedy === 'do this' &&
          !inspect(error).includes(SECRET.slice(0, 8)),
      );
    }
  });
});
