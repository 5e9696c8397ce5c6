import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { type DeviceTokenKey, gatewayKey } from '../../lib/core/device.js';
import { DeviceTokenStore, type StoreResult } from '../../lib/io/device-tokens.js';
import { type PrivateSystem, privateSystem } from '../../lib/io/private-file.js';
import { refusal } from '../support/collect.js';
import { scratch } from '../support/liveness-records.js';

const us = process.geteuid?.() ?? 0;
const SECRET = 'n3ver-to-be-seen-4711-0123456789';
const key: DeviceTokenKey = { gateway: gatewayKey('ws://127.0.0.1:18789'), deviceId: 'a'.repeat(64), role: 'node' };
const issued = { token: SECRET, scopes: ['node.run'], issuedAtMs: 1795191101023 };

/** The real file system, until it is told to fail. */
class Disk {
  fault: string | null = null;
  writes = 0;
  readonly system: PrivateSystem;

  constructor(faulty: 'open' | 'unlink' | 'rename') {
    const { fs } = privateSystem;
    const refuse = async (): Promise<void> => {
      if (this.fault !== null) throw Object.assign(new Error(`${this.fault}: refused`), { code: this.fault });
    };
    this.system = {
      ...privateSystem,
      fs: {
        ...fs,
        open: async (...args) => {
          if (faulty === 'open') await refuse();
          return await fs.open(...args);
        },
        unlink: async (path) => {
          if (faulty === 'unlink') await refuse();
          await fs.unlink(path);
        },
        rename: async (from, to) => {
          if (faulty === 'rename') await refuse();
          this.writes += 1;
          await fs.rename(from, to);
        },
      },
    };
  }
}

function files(stateDir: string): string[] {
  return readdirSync(join(stateDir, 'device-tokens')).map((name) => join(stateDir, 'device-tokens', name));
}

function fileOf(stateDir: string): string {
  const [file, ...more] = files(stateDir);
  assert.ok(file !== undefined && more.length === 0);
  return file;
}

function warningOf(result: StoreResult): string {
  assert.ok(!result.stored);
  assert.doesNotMatch(inspect(result), new RegExp(SECRET));
  assert.equal(result.warning.reason, 'local');
  assert.notEqual(result.warning.remedy, '');
  return result.warning.code;
}

describe('device tokens', () => {
  it('are kept privately, and found by another process', async () => {
    using dir = scratch();
    const stateDir = dir.at('state');
    const store = new DeviceTokenStore({ stateDir });
    assert.equal(await store.get(key), null);
    assert.deepEqual(await store.put(key, issued), { stored: true });
    for (const each of [store, new DeviceTokenStore({ stateDir })]) {
      const entry = await each.get(key, new AbortController().signal);
      assert.deepEqual([entry?.token, entry?.scopes, entry?.issuedAtMs], [SECRET, ['node.run'], 1795191101023]);
    }
    const modes = [statSync(fileOf(stateDir)).mode & 0o777, statSync(join(stateDir, 'device-tokens')).mode & 0o777];
    assert.deepEqual(modes, [0o600, 0o700]);
  });

  it('belong to one gateway, one device and one role', async () => {
    using dir = scratch();
    const store = new DeviceTokenStore({ stateDir: dir.path });
    const keys: DeviceTokenKey[] = [
      key,
      { ...key, gateway: gatewayKey('ws://127.0.0.1:18790') },
      { ...key, gateway: gatewayKey('wss://127.0.0.1:18789') },
      { ...key, gateway: gatewayKey('ws://127.0.0.1:18789', 'sha256:aa') },
      { ...key, deviceId: 'b'.repeat(64) },
      { ...key, role: 'operator' },
    ];
    await Promise.all(keys.map((each, n) => store.put(each, { token: `token-${n}`, scopes: [] })));
    await store.clear({ ...key, role: 'operator' }, 'token-5');
    const found = await Promise.all(keys.map((each) => new DeviceTokenStore({ stateDir: dir.path }).get(each)));
    assert.deepEqual(
      found.map((entry) => entry?.token),
      ['token-0', 'token-1', 'token-2', 'token-3', 'token-4', undefined],
    );
  });

  it('keep their scopes when the same token comes back, and take those of a new one', async () => {
    using dir = scratch();
    const disk = new Disk('rename');
    const store = new DeviceTokenStore({ stateDir: dir.path, system: disk.system });
    await store.put(key, issued);
    assert.deepEqual(await store.put(key, { token: SECRET, scopes: [] }), { stored: true });
    assert.deepEqual([(await store.get(key))?.scopes, disk.writes], [['node.run'], 1]);
    await store.put(key, { token: 'another', scopes: ['other'] });
    const entry = await store.get(key);
    assert.deepEqual(
      [entry?.token, entry?.scopes, entry?.issuedAtMs, disk.writes],
      ['another', ['other'], undefined, 2],
    );
  });

  it('are forgotten when refused, but not one that came meanwhile', async () => {
    using dir = scratch();
    const [store, other] = [new DeviceTokenStore({ stateDir: dir.path }), new DeviceTokenStore({ stateDir: dir.path })];
    await store.put(key, issued);
    await other.put(key, { token: 'newer', scopes: [] });
    assert.deepEqual(await store.clear(key, SECRET), { stored: true });
    assert.equal((await store.get(key))?.token, 'newer');
    assert.deepEqual(await store.clear(key, 'newer'), { stored: true });
    assert.deepEqual([await store.get(key), files(dir.path)], [null, []]);
    assert.deepEqual(await store.clear(key), { stored: true });
    await store.put(key, issued);
    assert.deepEqual(await store.clear(key), { stored: true });
    assert.equal(await store.get(key), null);
  });

  it('A09 that cannot be written live in memory, with a warning, and are written when that is possible again', async () => {
    using dir = scratch();
    const disk = new Disk('rename');
    const store = new DeviceTokenStore({ stateDir: dir.path, system: disk.system });
    for (const fault of ['ENOSPC', 'EROFS']) {
      disk.fault = fault;
      assert.equal(warningOf(await store.put(key, issued)), fault);
      // The same hello again, with fewer scopes.
      assert.equal(warningOf(await store.put(key, { ...issued, scopes: [] })), fault);
      assert.deepEqual([(await store.get(key))?.token, (await store.get(key))?.scopes], [SECRET, ['node.run']]);
      assert.equal(await new DeviceTokenStore({ stateDir: dir.path }).get(key), null);
    }
    disk.fault = null;
    assert.deepEqual(await store.put(key, issued), { stored: true });
    assert.equal((await new DeviceTokenStore({ stateDir: dir.path }).get(key))?.token, SECRET);
    // Refused while it was only in memory: gone from there.
    disk.fault = 'ENOSPC';
    await store.put(key, { token: 'unsaved', scopes: [] });
    assert.deepEqual(await store.clear(key, SECRET), { stored: true });
    assert.equal((await store.get(key))?.token, 'unsaved');
    await store.clear(key, 'unsaved');
    assert.equal((await store.get(key))?.token, SECRET);
  });

  it('that cannot be removed are not answered any more, until another comes', async () => {
    using dir = scratch();
    const disk = new Disk('unlink');
    const store = new DeviceTokenStore({ stateDir: dir.path, system: disk.system });
    await store.put(key, issued);
    disk.fault = 'EROFS';
    for (const token of [SECRET, undefined]) {
      assert.equal(warningOf(await store.clear(key, token)), 'EROFS');
      assert.equal(await store.get(key), null);
    }
    await store.clear(key, SECRET);
    await new DeviceTokenStore({ stateDir: dir.path }).put(key, { token: 'newer', scopes: [] });
    assert.equal((await store.get(key))?.token, 'newer');
    await new DeviceTokenStore({ stateDir: dir.path }).put(key, issued);
    assert.deepEqual(await store.put(key, issued), { stored: true });
    assert.equal((await store.get(key))?.token, SECRET);
  });

  it('A08 that cannot be read are a failure once, for ever, or until mended; never silently replaced', async () => {
    using dir = scratch();
    const disk = new Disk('open');
    const store = new DeviceTokenStore({ stateDir: dir.path, system: disk.system });
    await store.put(key, issued);
    disk.fault = 'EIO';
    assert.equal((await refusal(store.get(key))).code, 'EIO');
    disk.fault = null;
    assert.equal((await store.get(key))?.token, SECRET);
    const file = fileOf(dir.path);
    chmodSync(file, 0o644);
    assert.equal((await refusal(store.get(key))).code, 'STATE_MODE');
    assert.equal(warningOf(await store.put(key, issued)), 'STATE_MODE');
    chmodSync(file, 0o600);
    if (us === 0) chownSync(file, 12_345, 12_345);
    const foreign = us === 0 ? disk.system : { ...privateSystem, uid: us + 1 };
    const stranger = new DeviceTokenStore({ stateDir: dir.path, system: foreign });
    assert.equal((await refusal(stranger.get(key))).code, 'STATE_FOREIGN_OWNER');
    assert.equal(warningOf(await stranger.put(key, issued)), 'STATE_FOREIGN_OWNER');
    assert.equal((await stranger.get(key))?.token, SECRET);
    const another = new DeviceTokenStore({ stateDir: dir.path, system: foreign });
    assert.equal(warningOf(await another.clear(key, SECRET)), 'STATE_FOREIGN_OWNER');
  });

  it('damaged by somebody else are an error with a remedy, and stay as they are', async () => {
    using dir = scratch();
    const store = new DeviceTokenStore({ stateDir: dir.path });
    await store.put(key, issued);
    const file = fileOf(dir.path);
    const good = JSON.parse(readFileSync(file, 'utf8'));
    const cases: readonly unknown[] = [
      { ...good, version: 2 },
      { ...good, gateway: 'ws://elsewhere' },
      { ...good, deviceId: 'b'.repeat(64) },
      { ...good, role: 'operator' },
      { ...good, token: `${SECRET}\r\nX-Smuggled: 1` },
      { ...good, token: '' },
      { ...good, token: 7 },
      { ...good, scopes: 'all' },
      { ...good, scopes: [1] },
      { ...good, issuedAtMs: 'now' },
      [],
    ];
    for (const content of cases) {
      const text = JSON.stringify(content);
      writeFileSync(file, text);
      const fresh = new DeviceTokenStore({ stateDir: dir.path });
      const error = await refusal(fresh.get(key));
      assert.deepEqual([error.code, error.reason], ['STATE_DAMAGED', 'local'], text);
      assert.match(error.remedy, /Move it away/);
      assert.doesNotMatch(inspect(error), new RegExp(SECRET));
      assert.equal(warningOf(await fresh.clear(key, SECRET)), 'STATE_DAMAGED');
      assert.equal(warningOf(await fresh.put(key, issued)), 'STATE_DAMAGED');
      // The good link goes on, with the token in memory.
      assert.equal((await fresh.get(key))?.token, SECRET);
      assert.equal(readFileSync(file, 'utf8'), text);
    }
    rmSync(file);
    assert.deepEqual(await store.put(key, issued), { stored: true });
  });

  it('cut or overwritten anywhere are whole or an error, and never quoted', async () => {
    using dir = scratch();
    const store = new DeviceTokenStore({ stateDir: dir.path });
    await store.put(key, issued);
    const file = fileOf(dir.path);
    const good = readFileSync(file, 'utf8');
    const cut = fc.nat(good.length - 3).map((at) => good.slice(0, at));
    await fc.assert(
      fc.asyncProperty(fc.oneof(cut, fc.json(), fc.string({ unit: 'binary' })), async (text) => {
        writeFileSync(file, text);
        const error = await refusal(store.get(key));
        assert.ok(error.code === 'STATE_DAMAGED' && !inspect(error).includes(SECRET.slice(0, 8)));
      }),
      { numRuns: 60 },
    );
  });

  it('are not kept where the directory is a file', async () => {
    using dir = scratch();
    writeFileSync(dir.at('device-tokens'), '');
    const store = new DeviceTokenStore({ stateDir: dir.path });
    assert.equal(warningOf(await store.put(key, issued)), 'STATE_NOT_A_DIRECTORY');
    assert.equal((await store.get(key))?.token, SECRET);
    assert.equal((await refusal(new DeviceTokenStore({ stateDir: dir.path }).get(key))).code, 'STATE_NOT_A_DIRECTORY');
  });

  it('that are no tokens are not kept at all', async () => {
    using dir = scratch();
    const store = new DeviceTokenStore({ stateDir: dir.path });
    const bad = [
      { ...issued, token: '' },
      { ...issued, token: `${SECRET}\n` },
      { ...issued, token: 'x'.repeat(5000) },
      { ...issued, scopes: [''] },
      { ...issued, scopes: Array(101).fill('scope') },
      { ...issued, issuedAtMs: 1.5 },
    ];
    for (const each of bad) {
      assert.equal(warningOf(await store.put(key, each)), 'DEVICE_TOKEN_INVALID');
      assert.equal(await store.get(key), null);
    }
    // As much as is allowed of each is more than a file may hold.
    const most = { token: 'x'.repeat(4096), scopes: Array(100).fill('s'.repeat(256)) };
    assert.equal(warningOf(await store.put(key, most)), 'STATE_TOO_LARGE');
  });

  it('are changed one after the other: the last word counts, on the disk and in memory', async () => {
    const deed = fc.oneof(
      fc.record({ put: fc.constantFrom('one', 'two', 'three') }),
      fc.record({ clear: fc.constantFrom('one', 'two', undefined) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 1, maxLength: 8 }), async (deeds) => {
        using dir = scratch();
        const store = new DeviceTokenStore({ stateDir: dir.path });
        let wanted: string | undefined;
        const results = deeds.map((each) => {
          if ('put' in each) wanted = each.put;
          else if (each.clear === undefined || each.clear === wanted) wanted = undefined;
          return 'put' in each ? store.put(key, { token: each.put, scopes: [] }) : store.clear(key, each.clear);
        });
        assert.equal((await store.get(key))?.token, wanted, 'at once');
        for (const result of await Promise.all(results)) assert.deepEqual(result, { stored: true });
        assert.equal((await store.get(key))?.token, wanted, 'in the end');
        assert.equal((await new DeviceTokenStore({ stateDir: dir.path }).get(key))?.token, wanted, 'on the disk');
      }),
      { numRuns: 20 },
    );
  });

  it('A09 on a disk that hangs hold nobody beyond the signal, and are good meanwhile', async () => {
    using dir = scratch();
    mkdirSync(dir.at('device-tokens'), { mode: 0o700 });
    const system = { ...privateSystem, fs: { ...privateSystem.fs, rename: () => new Promise<void>(() => {}) } };
    const store = new DeviceTokenStore({ stateDir: dir.path, system });
    const abort = new AbortController();
    const waiting = [store.put(key, issued, abort.signal), store.put(key, issued, abort.signal)];
    assert.equal((await store.get(key))?.token, SECRET);
    abort.abort();
    for (const each of waiting) assert.equal(warningOf(await each), 'STATE_ABORTED');
    assert.equal(warningOf(await store.put(key, issued, AbortSignal.abort())), 'STATE_ABORTED');
    assert.equal((await store.get(key))?.token, SECRET);
    assert.equal(
      (await refusal(new DeviceTokenStore({ stateDir: dir.path }).get(key, AbortSignal.abort()))).code,
      'STATE_ABORTED',
    );
  });

  it('are in no inspection and no JSON', async () => {
    using dir = scratch();
    const store = new DeviceTokenStore({ stateDir: dir.at('none') });
    const pending = store.put(key, issued);
    const entry = await store.get(key);
    const shown = [store, entry, await pending].map(
      (each) => inspect(each, { showHidden: true, depth: 9 }) + JSON.stringify(each),
    );
    assert.equal(entry?.token, SECRET);
    assert.ok(!shown.join().includes(SECRET));
  });
});
