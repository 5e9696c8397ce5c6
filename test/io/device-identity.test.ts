import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { deviceProof, type SignatureFields, signaturePayload } from '../../lib/core/device.js';
import { importOpenClawIdentity, loadDeviceIdentity } from '../../lib/io/device-identity.js';
import { type PrivateSystem, privateSystem } from '../../lib/io/private-file.js';
import { deviceObjection } from '../../lib/testing/devices.js';
import { lib, script } from '../support/children.js';
import { refusal } from '../support/collect.js';
import { scratch } from '../support/liveness-records.js';

const us = process.geteuid?.() ?? 0;
/** The published vector: the seed is the bytes 00 to 1f. */
const SEED = Buffer.from(Array.from({ length: 32 }, (_, n) => n));
const VECTOR_KEY = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), SEED]),
  format: 'der',
  type: 'pkcs8',
});
const VECTOR_ID = '56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c';
const VECTOR_PUBLIC = 'A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg';

const fields: Omit<SignatureFields, 'deviceId'> = {
  clientId: 'node-host',
  clientMode: 'node',
  role: 'node',
  scopes: [],
  signedAt: 1795191101023,
  token: 'example-gateway-token',
  nonce: 'a612a9c8-80ff-4757-9231-c92b56ab9e97',
  platform: 'Linux',
  deviceFamily: 'Linux',
};

function pem(key: KeyObject): string {
  return key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }).toString();
}

/** What OpenClaw up to 2026.5 writes into identity/device.json. */
function openClaw(changes: object = {}): string {
  const stored = {
    version: 1,
    deviceId: VECTOR_ID,
    publicKeyPem: pem(createPublicKey(VECTOR_KEY)),
    privateKeyPem: pem(VECTOR_KEY),
    createdAtMs: 1795191101023,
  };
  return `${JSON.stringify({ ...stored, ...changes }, null, 2)}\n`;
}

function keep(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 });
}

describe('the identity of a device', () => {
  it('is made on the first start, private, and is the same ever after', async () => {
    using dir = scratch();
    const stateDir = dir.at('state');
    const made = await loadDeviceIdentity({ stateDir });
    assert.match(made.deviceId, /^[0-9a-f]{64}$/);
    assert.match(made.publicKey, /^[\w-]{43}$/);
    const file = dir.at('state/identity.json');
    assert.deepEqual([statSync(file).mode & 0o777, statSync(stateDir).mode & 0o777], [0o600, 0o700]);
    const stored = JSON.parse(readFileSync(file, 'utf8'));
    assert.deepEqual(Object.keys(stored), ['version', 'created', 'deviceId', 'publicKey', 'privateKey']);
    assert.ok(Math.abs(Date.parse(stored.created) - Date.now()) < 60_000);
    const again = await loadDeviceIdentity({ stateDir, signal: new AbortController().signal });
    assert.deepEqual([again.deviceId, again.publicKey], [made.deviceId, made.publicKey]);
    assert.equal(again.sign('text'), made.sign('text'));
  });

  it('signs as the published vector does, and the embedded gateway agrees', async () => {
    using dir = scratch();
    keep(dir.at('device.json'), openClaw());
    const identity = await importOpenClawIdentity(dir.at('device.json'), { stateDir: dir.at('state') });
    assert.deepEqual([identity.deviceId, identity.publicKey], [VECTOR_ID, VECTOR_PUBLIC]);
    const signatures = {
      v3: 'NvyJc_KSq7ZVQmqtYoGnaAsjp7SFqSSZbwMnhBY_H2qSemaPS0Ui-aJFFwQr4RPl7vpemn9a_OyTRaIrAIoYCQ',
      v2: 'XTuVOS2kf6bwtfYy7xWhlHjT8ew6ET4Au-_VDGalVEhraRlGWJVAKwTzS89IVBGniGpruAFwf5BGlo0Jc2GbCg',
    };
    const now = { ...fields, signedAt: Date.now() };
    const client = { id: 'node-host', mode: 'node', platform: 'Linux', deviceFamily: 'Linux' };
    const params = { client, role: 'node', scopes: [], auth: { token: fields.token } };
    for (const version of ['v3', 'v2'] as const) {
      assert.equal(deviceProof(identity, version, fields).signature, signatures[version]);
      const proof = deviceProof(identity, version, now);
      assert.equal(deviceObjection(params, proof, fields.nonce), undefined);
      assert.notEqual(deviceObjection({ ...params, role: 'operator' }, proof, fields.nonce), undefined);
      const payload = signaturePayload(version, { ...now, deviceId: identity.deviceId });
      const signature = Buffer.from(proof.signature, 'base64url');
      assert.ok(verify(null, Buffer.from(payload), createPublicKey(VECTOR_KEY), signature));
    }
    assert.match(identity.sign('ü'), /^[\w-]{86}$/);
  });

  it('never shows its private key', async () => {
    using dir = scratch();
    const identity = await loadDeviceIdentity({ stateDir: dir.path });
    const { privateKey } = JSON.parse(readFileSync(dir.at('identity.json'), 'utf8'));
    const seed = Buffer.from(createPrivateKey(privateKey).export({ format: 'jwk' }).d ?? '', 'base64url');
    const shown = [
      inspect(identity, { showHidden: true, depth: 9, getters: true }),
      JSON.stringify(identity),
      JSON.stringify(Object.getOwnPropertyDescriptors(identity)),
      String(identity),
      JSON.stringify(structuredClone({ ...identity })),
    ].join('\n');
    for (const form of [
      seed.toString('base64url'),
      seed.toString('base64').slice(0, 42),
      seed.toString('hex'),
      'PRIVATE',
    ])
      assert.ok(!shown.includes(form), form);
    assert.deepEqual(JSON.parse(JSON.stringify(identity)), {
      deviceId: identity.deviceId,
      publicKey: identity.publicKey,
    });
  });

  it('is one, although two processes make it at once', async () => {
    using dir = scratch();
    const text = `
      const { loadDeviceIdentity } = await import(${lib('io/device-identity.js')});
      process.stdout.write('ready\\n');
      const { existsSync } = await import('node:fs');
      while (!existsSync(${JSON.stringify(dir.at('go'))})) await new Promise(setImmediate);
      const { deviceId } = await loadDeviceIdentity({ stateDir: ${JSON.stringify(dir.at('state'))} });
      process.stdout.write(deviceId + '\\n');
    `;
    await using one = script(text);
    await using other = script(text);
    const children = [one, other];
    await Promise.all(children.map((child) => child.out.until((line) => line === 'ready', 'a ready child')));
    writeFileSync(dir.at('go'), '');
    for (const child of children) assert.deepEqual(await child.exit(), { code: 0, signal: null }, child.stderr);
    const ids = children.map((child) => child.out.all.at(-1));
    const { deviceId } = await loadDeviceIdentity({ stateDir: dir.at('state') });
    assert.deepEqual(ids, [deviceId, deviceId]);
  });

  it('of many that start at once in one process is one, with or without hard links', async () => {
    const fs = { ...privateSystem.fs, link: () => Promise.reject(Object.assign(new Error(), { code: 'ENOSYS' })) };
    for (const system of [privateSystem, { ...privateSystem, fs }]) {
      using dir = scratch();
      const starts = Array.from({ length: 6 }, () => loadDeviceIdentity({ stateDir: dir.path, system }));
      const settled = await Promise.allSettled(starts);
      const { deviceId } = await loadDeviceIdentity({ stateDir: dir.path, system });
      for (const each of settled) {
        if (each.status === 'fulfilled') assert.equal(each.value.deviceId, deviceId);
        // Without links a loser may come too early: it is told so, and makes nothing of its own.
        else assert.deepEqual([system === privateSystem, each.reason.code], [false, 'STATE_DAMAGED']);
      }
    }
  });

  it('that is damaged is an error with a remedy, and is not touched', async () => {
    using dir = scratch();
    const file = dir.at('identity.json');
    await loadDeviceIdentity({ stateDir: dir.path });
    const good = JSON.parse(readFileSync(file, 'utf8'));
    const rsa = pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey);
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [{ ...good, version: 2 }, /its version is not 1/],
      [{ ...good, version: '1' }, /its version is not 1/],
      [{ ...good, deviceId: VECTOR_ID }, /its id is not that of its key/],
      [{ ...good, publicKey: VECTOR_PUBLIC }, /its two keys are no pair/],
      [{ ...good, privateKey: pem(VECTOR_KEY) }, /its two keys are no pair/],
      [{ ...good, privateKey: rsa }, /no Ed25519 private key/],
      [{ ...good, privateKey: pem(createPublicKey(VECTOR_KEY)) }, /no Ed25519 private key/],
      [{ ...good, privateKey: { kty: 'OKP' } }, /no Ed25519 private key/],
      [[good], /no JSON object/],
      [null, /no JSON object/],
    ];
    for (const [content, why] of cases) {
      keep(file, JSON.stringify(content));
      const error = await refusal(loadDeviceIdentity({ stateDir: dir.path }));
      assert.deepEqual([error.code, error.reason], ['STATE_DAMAGED', 'local']);
      assert.match(error.message, why);
      assert.match(error.remedy, /backup|later/);
      assert.equal(readFileSync(file, 'utf8'), JSON.stringify(content));
      assert.doesNotMatch(inspect(error), /BEGIN/);
    }
  });

  it('cut or overwritten anywhere is never taken for good, nor quoted, nor replaced', async () => {
    using dir = scratch();
    const file = dir.at('identity.json');
    const { deviceId } = await loadDeviceIdentity({ stateDir: dir.path });
    const good = readFileSync(file, 'utf8');
    const [, line = ''] = JSON.parse(good).privateKey.split('\n');
    // The last line break is no part of it.
    const cut = fc.nat(good.length - 3).map((at) => good.slice(0, at));
    const overwritten = fc
      .tuple(fc.nat(good.length - 1), fc.string({ unit: 'binary', minLength: 1, maxLength: 9 }))
      .map(([at, junk]) => good.slice(0, at) + junk + good.slice(at + junk.length));
    await fc.assert(
      fc.asyncProperty(fc.oneof(cut, overwritten, fc.string(), fc.json()), async (text) => {
        keep(file, text);
        const result = await loadDeviceIdentity({ stateDir: dir.path }).catch((error: unknown) => error);
        assert.equal(readFileSync(file, 'utf8'), Buffer.from(text).toString());
        // What is not part of the proof, such as the date, may change.
        if (!(result instanceof Error)) assert.equal(Reflect.get(Object(result), 'deviceId'), deviceId);
        else assert.ok(Reflect.get(result, 'code') === 'STATE_DAMAGED' && !inspect(result).includes(line.slice(0, 20)));
      }),
      { numRuns: 60 },
    );
  });

  it('is not taken from a file of another user, open to others, or behind a link', async () => {
    using dir = scratch();
    const file = dir.at('identity.json');
    await loadDeviceIdentity({ stateDir: dir.path });
    const good = readFileSync(file, 'utf8');
    chmodSync(file, 0o640);
    const open = await refusal(loadDeviceIdentity({ stateDir: dir.path }));
    assert.deepEqual([open.code, open.remedy], ['STATE_MODE', `Run: chmod 600 '${file}'`]);
    chmodSync(file, 0o600);
    if (us === 0) chownSync(file, 12_345, 12_345);
    const system = us === 0 ? privateSystem : { ...privateSystem, uid: us + 1 };
    assert.equal((await refusal(loadDeviceIdentity({ stateDir: dir.path, system }))).code, 'STATE_FOREIGN_OWNER');
    assert.equal(readFileSync(file, 'utf8'), good);
    mkdirSync(dir.at('other'), { mode: 0o700 });
    symlinkSync(file, dir.at('other/identity.json'));
    assert.equal((await refusal(loadDeviceIdentity({ stateDir: dir.at('other') }))).code, 'STATE_LINK');
  });

  it('that cannot be kept is not made', async () => {
    using dir = scratch();
    const open: PrivateSystem['fs']['open'] = () =>
      Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    const system = { ...privateSystem, fs: { ...privateSystem.fs, open } };
    assert.equal((await refusal(loadDeviceIdentity({ stateDir: dir.path, system }))).code, 'ENOSPC');
    const aborted = await refusal(loadDeviceIdentity({ stateDir: dir.path, signal: AbortSignal.abort() }));
    assert.equal(aborted.code, 'STATE_ABORTED');
    assert.equal(existsSync(dir.at('identity.json')), false);
  });

  it('that is gone as soon as it was there says so', async () => {
    using dir = scratch();
    const link = () => Promise.reject(Object.assign(new Error(), { code: 'EEXIST' }));
    const system = { ...privateSystem, fs: { ...privateSystem.fs, link } };
    assert.equal((await refusal(loadDeviceIdentity({ stateDir: dir.path, system }))).code, 'STATE_UNSTEADY');
  });
});

describe('an identity of OpenClaw', () => {
  it('is taken over from its directory or file, as PEM or as raw keys, and again', async () => {
    using dir = scratch();
    mkdirSync(dir.at('openclaw/identity'), { recursive: true });
    keep(dir.at('openclaw/identity/device.json'), openClaw());
    const { d = '', x = '' } = VECTOR_KEY.export({ format: 'jwk' });
    const plain = (text: string): string => Buffer.from(text, 'base64url').toString('base64');
    keep(
      dir.at('swift.json'),
      JSON.stringify({ deviceId: VECTOR_ID, publicKey: plain(x), privateKey: plain(d), createdAtMs: 1 }),
    );
    keep(dir.at('url.json'), JSON.stringify({ deviceId: VECTOR_ID, publicKey: x, privateKey: d }));
    for (const source of ['openclaw', 'openclaw/identity/device.json', 'swift.json', 'url.json']) {
      const stateDir = dir.at(`state-of-${source.replaceAll('/', '-')}`);
      const imported = await importOpenClawIdentity(dir.at(source), { stateDir });
      const again = await importOpenClawIdentity(dir.at(source), { stateDir });
      const loaded = await loadDeviceIdentity({ stateDir });
      assert.deepEqual(
        [imported, again, loaded].map(({ deviceId }) => deviceId),
        Array(3).fill(VECTOR_ID),
      );
      assert.equal(loaded.sign('x'), imported.sign('x'));
    }
    assert.equal(readFileSync(dir.at('openclaw/identity/device.json'), 'utf8'), openClaw());
  });

  it('does not replace an identity that is there', async () => {
    using dir = scratch();
    keep(dir.at('device.json'), openClaw());
    const { deviceId } = await loadDeviceIdentity({ stateDir: dir.path });
    const error = await refusal(importOpenClawIdentity(dir.at('device.json'), { stateDir: dir.path }));
    assert.equal(error.code, 'IDENTITY_EXISTS');
    assert.ok(error.message.includes(deviceId) && error.message.includes(VECTOR_ID));
    assert.equal((await loadDeviceIdentity({ stateDir: dir.path })).deviceId, deviceId);
  });

  it('that is damaged, unknown, missing or open to others is an error, and nothing is made', async () => {
    using dir = scratch();
    const other = generateKeyPairSync('ed25519');
    const { d = '', x = '' } = VECTOR_KEY.export({ format: 'jwk' });
    const cases: readonly (readonly [string, string])[] = [
      [openClaw({ version: 2 }), 'IDENTITY_FORMAT'],
      ['{}', 'IDENTITY_FORMAT'],
      [openClaw({ privateKeyPem: undefined }), 'IDENTITY_FORMAT'],
      [openClaw({ privateKeyPem: 'x' }), 'STATE_DAMAGED'],
      [openClaw({ publicKeyPem: pem(other.publicKey) }), 'STATE_DAMAGED'],
      [openClaw({ publicKeyPem: 7 }), 'STATE_DAMAGED'],
      [openClaw({ deviceId: 'f'.repeat(64) }), 'STATE_DAMAGED'],
      [JSON.stringify({ deviceId: VECTOR_ID, publicKey: x, privateKey: d.slice(4) }), 'STATE_DAMAGED'],
      [JSON.stringify({ deviceId: VECTOR_ID, publicKey: d, privateKey: d }), 'STATE_DAMAGED'],
      [JSON.stringify({ deviceId: VECTOR_ID, publicKey: 1, privateKey: 2 }), 'STATE_DAMAGED'],
      [openClaw().slice(0, 200), 'STATE_DAMAGED'],
    ];
    for (const [text, code] of cases) {
      keep(dir.at('device.json'), text);
      const error = await refusal(importOpenClawIdentity(dir.at('device.json'), { stateDir: dir.at('state') }));
      assert.equal(error.code, code, text);
      assert.ok(!inspect(error).includes('BEGIN') && !inspect(error).includes(d.slice(4, 20)));
    }
    for (const missing of ['nothing', '.']) {
      const error = await refusal(importOpenClawIdentity(dir.at(missing), { stateDir: dir.at('state') }));
      assert.equal(error.code, 'IDENTITY_NOT_FOUND');
    }
    keep(dir.at('device.json'), openClaw());
    chmodSync(dir.at('device.json'), 0o644);
    const open = await refusal(importOpenClawIdentity(dir.at('device.json'), { stateDir: dir.at('state') }));
    assert.equal(open.code, 'STATE_MODE');
    assert.equal(existsSync(dir.at('state')), false);
  });

  it('in a database is told how to get out', async () => {
    using dir = scratch();
    mkdirSync(dir.at("it's/state"), { recursive: true });
    keep(dir.at("it's/state/openclaw.sqlite"), 'SQLite format 3\0');
    for (const source of ["it's", "it's/state/openclaw.sqlite"]) {
      const error = await refusal(importOpenClawIdentity(dir.at(source), { stateDir: dir.at('state') }));
      assert.equal(error.code, 'IDENTITY_FORMAT');
      assert.match(
        error.remedy,
        /umask 077; sqlite3 -readonly '.*it'\\''s\/state\/openclaw\.sqlite' "SELECT .*> device\.json/,
      );
    }
    // The older file, while it is there, is what counts.
    mkdirSync(dir.at("it's/identity"));
    keep(dir.at("it's/identity/device.json"), openClaw());
    const { deviceId } = await importOpenClawIdentity(dir.at("it's"), { stateDir: dir.at('state') });
    assert.equal(deviceId, VECTOR_ID);
  });
});
