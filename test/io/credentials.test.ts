import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { GatewayError } from '../../lib/core/errors.js';
import type { Hello, IssuedDeviceToken } from '../../lib/core/frames.js';
import { type ClientOptions, parseOptions, type Target } from '../../lib/core/options.js';
import { Credentials, type Prepared } from '../../lib/io/credentials.js';
import { ProviderError } from '../../lib/io/provider-error.js';
import { eventually } from '../support/collect.js';
import { scratch } from '../support/liveness-records.js';

const LOCAL: Target = { url: 'ws://127.0.0.1:1/', loopback: true, secure: false };
const REMOTE: Target = { url: 'ws://gateway.example/', loopback: false, secure: false };
const TLS: Target = { url: 'wss://gateway.example/', loopback: false, secure: true };
const PIN = 'ab'.repeat(32);

const HELLO: Hello = {
  protocol: 4,
  server: {},
  auth: { role: 'node', scopes: [] },
  policy: { maxPayload: 1, tickIntervalMs: 1 },
  methods: [],
  raw: {},
};
const ISSUED: IssuedDeviceToken = { token: 'a device token', issuedAtMs: 1 };

const MISMATCH = {
  code: 'INVALID_REQUEST',
  message: 'gateway token mismatch',
  details: { code: 'AUTH_TOKEN_MISMATCH', canRetryWithDeviceToken: true },
};
const DEAD = { code: 'INVALID_REQUEST', message: 'stale', details: { code: 'AUTH_DEVICE_TOKEN_MISMATCH' } };

class Rig implements Disposable {
  readonly dir: ReturnType<typeof scratch> = scratch();
  readonly secrets: string[] = [];
  readonly warnings: GatewayError[] = [];
  readonly credentials: Credentials;

  constructor(options: Partial<ClientOptions> = {}) {
    const all = {
      url: 'wss://gateway.example',
      role: 'node',
      device: { stateDir: this.dir.path },
      ...options,
    } as const;
    this.credentials = new Credentials(parseOptions(all, 'label', '1.0.0'), {
      secret: (value) => this.secrets.push(value),
      warning: (error) => this.warnings.push(error),
    });
  }

  prepare(target: Target): Promise<Prepared> {
    return this.credentials.prepare(target, new AbortController().signal);
  }

  /** A hello has brought a device token, and it is on the disk. */
  async hold(target: Target): Promise<Prepared> {
    const prepared = await this.prepare(target);
    this.credentials.accepted(prepared, HELLO, ISSUED, target);
    await eventually(() => this.kept().length > 0, 'it is stored');
    return prepared;
  }

  kept(): string[] {
    try {
      return readdirSync(this.dir.at('device-tokens')).filter((name) => name.endsWith('.json'));
    } catch {
      return [];
    }
  }

  [Symbol.dispose](): void {
    this.dir[Symbol.dispose]();
  }
}

const shared = { token: 'the shared token' };

describe('credentials: after a refused shared token', () => {
  it('the device token is shown once, where nobody else can listen', async () => {
    for (const [target, options] of [
      [LOCAL, {}],
      [TLS, { tls: { fingerprint: PIN } }],
    ] as const) {
      using rig = new Rig({ ...shared, ...options });
      const first = await rig.hold(target);
      assert.deepEqual(first.auth, shared);
      assert.equal(await rig.credentials.refused(first, MISMATCH, target), true);
      const second = await rig.prepare(target);
      assert.deepEqual(second.auth, { deviceToken: ISSUED.token }, 'never both');
      assert.equal(await rig.credentials.refused(second, MISMATCH, target), false, 'once');
      assert.deepEqual((await rig.prepare(target)).auth, shared);
      assert.deepEqual([...new Set(rig.secrets)].sort(), [ISSUED.token, shared.token].sort());
    }
  });

  it('the device token stays at home where others could listen or answer', async () => {
    for (const [target, options] of [
      [REMOTE, { allowPlaintext: true }],
      [TLS, {}],
    ] as const) {
      using rig = new Rig({ ...shared, ...options });
      const first = await rig.hold(target);
      assert.equal(await rig.credentials.refused(first, MISMATCH, target), false);
      assert.deepEqual((await rig.prepare(target)).auth, shared);
    }
  });

  it('it is not shown when the gateway does not invite it, or when there is none', async () => {
    using rig = new Rig(shared);
    const first = await rig.prepare(LOCAL);
    assert.equal(await rig.credentials.refused(first, MISMATCH, LOCAL), false, 'none is kept');
    await rig.hold(LOCAL);
    const uninvited = { ...MISMATCH, details: { code: 'AUTH_TOKEN_MISMATCH' } };
    assert.equal(await rig.credentials.refused(first, uninvited, LOCAL), false);
  });

  it('it is kept through the start of the gateway, which has not looked at it', async () => {
    using rig = new Rig(shared);
    const first = await rig.hold(LOCAL);
    await rig.credentials.refused(first, MISMATCH, LOCAL);
    const second = await rig.prepare(LOCAL);
    const starting = { code: 'UNAVAILABLE', message: 'gateway starting', details: { reason: 'startup-sidecars' } };
    assert.equal(await rig.credentials.refused(second, starting, LOCAL), false);
    assert.deepEqual((await rig.prepare(LOCAL)).auth, second.auth);
  });

  it('a success allows it again', async () => {
    using rig = new Rig(shared);
    const first = await rig.hold(LOCAL);
    assert.equal(await rig.credentials.refused(first, MISMATCH, LOCAL), true);
    rig.credentials.accepted(await rig.prepare(LOCAL), HELLO, ISSUED, LOCAL);
    assert.equal(await rig.credentials.refused(first, MISMATCH, LOCAL), true);
  });
});

describe('credentials: a device token', () => {
  it('that is dead is forgotten, and is a reason to go on at once only with another credential', async () => {
    for (const [options, another] of [
      [shared, true],
      [{}, false],
    ] as const) {
      using rig = new Rig(options);
      const first = await rig.hold(LOCAL);
      if (another) await rig.credentials.refused(first, MISMATCH, LOCAL);
      const dying = await rig.prepare(LOCAL);
      assert.deepEqual(dying.auth, { deviceToken: ISSUED.token });
      assert.equal(await rig.credentials.refused(dying, DEAD, LOCAL), another);
      assert.deepEqual(rig.kept(), []);
      assert.deepEqual((await rig.prepare(LOCAL)).auth, options);
    }
  });

  it('of one gateway is never shown to another', async () => {
    using rig = new Rig();
    await rig.hold(LOCAL);
    assert.deepEqual((await rig.prepare({ ...LOCAL, url: 'ws://127.0.0.1:2/' })).auth, {});
    assert.deepEqual((await rig.prepare(LOCAL)).auth, { deviceToken: ISSUED.token });
  });

  it('that cannot be read fails the attempt, and is read again by the next', async () => {
    using writer = new Rig();
    await writer.hold(LOCAL);
    const file = writer.dir.at(`device-tokens/${writer.kept()[0]}`);
    const good = readFileSync(file, 'utf8');
    writeFileSync(file, '{');
    // Another process: this one may have it in memory still.
    using reader = new Rig({ device: { stateDir: writer.dir.path } });
    await assert.rejects(
      reader.prepare(LOCAL),
      (error) => error instanceof ProviderError && error.code === 'STATE_DAMAGED' && error.message.includes('Move it'),
    );
    writeFileSync(file, good);
    assert.deepEqual((await reader.prepare(LOCAL)).auth, { deviceToken: ISSUED.token });
  });

  it('that cannot be written is told of once for each kind of trouble, and is used from memory', async () => {
    using rig = new Rig();
    writeFileSync(rig.dir.at('device-tokens'), '', { mode: 0o600 });
    await assert.rejects(rig.prepare(LOCAL), ProviderError, 'nor can it be read');
    const device = await deviceOf(rig);
    for (let hellos = 0; hellos < 3; hellos += 1) {
      rig.credentials.accepted({ auth: {}, device }, HELLO, ISSUED, LOCAL);
      await eventually(() => rig.warnings.length > 0, 'the warning');
      assert.deepEqual((await rig.prepare(LOCAL)).auth, { deviceToken: ISSUED.token });
    }
    assert.deepEqual(
      rig.warnings.map(({ code }) => code),
      ['STATE_NOT_A_DIRECTORY'],
    );
  });
});

/** The same device as a client with a shared token prepares it: its store is not read. */
async function deviceOf(rig: Rig): Promise<Prepared['device']> {
  const device = { stateDir: rig.dir.path };
  const settings = parseOptions({ url: 'wss://gateway.example', role: 'node', device, ...shared }, 'label', '1.0.0');
  const credentials = new Credentials(settings, { secret: () => {}, warning: () => {} });
  return (await credentials.prepare(LOCAL, new AbortController().signal)).device;
}
