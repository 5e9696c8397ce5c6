import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';
import { signaturePayload } from '../../lib/core/device.js';
import { createNodeHost, type NodeHost, type NodeHostOptions } from '../../lib/index.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { eventually, Journal, sideBySide, timed } from '../support/collect.js';
import { type Address, gateway, QUICK } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

interface Hosting extends AsyncDisposable {
  readonly host: NodeHost;
  readonly journal: Journal;
}

function hosting(to: Address, stateDir: string, options: Partial<NodeHostOptions> = {}): Hosting {
  const journal = new Journal();
  const host = createNodeHost({
    url: to.url,
    ...(to.token !== undefined && { token: to.token }),
    device: { stateDir },
    logger: journal.logger,
    ...QUICK,
    ...options,
  });
  return { host: host.start(), journal, [Symbol.asyncDispose]: () => host.close({ grace: 0 }) };
}

const soon = { timeout: 8000 };

/** The files of the device tokens; one that is being written is none yet. */
function tokenFiles(stateDir: string): string[] {
  try {
    const folder = join(stateDir, 'device-tokens');
    const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
    return names.map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function tokenFile(stateDir: string): string {
  const [file, second] = tokenFiles(stateDir);
  assert.ok(file !== undefined && second === undefined, 'one token');
  return file;
}

function hasToken(stateDir: string): boolean {
  return tokenFiles(stateDir).length === 1;
}

/** A node host that has paired, with its token on the disk, and has gone again. */
async function paired(gw: TestGateway, stateDir: string): Promise<string> {
  await using session = hosting(gw, stateDir);
  await session.host.ready(soon);
  await eventually(() => hasToken(stateDir), 'the token is stored');
  return session.host.health().node?.deviceId ?? '';
}

/** Which credential each connect showed. */
function shown(gw: TestGateway): string[] {
  return gw.ledger
    .filter(({ method }) => method === 'connect')
    .map(({ params }) => Object.keys(Object(Object(params).auth)).join());
}

describe('pairing', () => {
  const beside = sideBySide();

  it(
    'A05 that needs a person is waited for slowly, with the command to run, and is over once approved',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway({ pairing: 'manual' });
      await using session = hosting(gw, dir.path);
      const { host, journal } = session;
      await journal.entered('blocked');
      const [request] = gw.pairing.requests;
      assert.ok(request !== undefined);
      const { awaiting, reason, lastError, nextAttemptAt } = host.health();
      assert.equal(reason, 'pairing-required');
      assert.match(awaiting ?? '', new RegExp(`openclaw devices approve ${request.requestId}$`));
      assert.match(lastError?.remedy ?? '', new RegExp(`openclaw devices approve ${request.requestId}$`));
      assert.equal(typeof nextAttemptAt, 'number');
      for (const line of await journal.failed(3)) {
        assert.deepEqual([line.reason, line.code], ['pairing-required', 'PAIRING_REQUIRED']);
        assert.ok((line.delayMs ?? 0) >= 100, `${line.delayMs} ms`);
        assert.match(`${line.remedy} ${line.awaiting}`, /openclaw devices approve/);
      }
      assert.ok(gw.pairing.approve(request.requestId));
      await host.ready(soon);
      assert.equal(host.health().awaiting, undefined);
    }),
  );

  it(
    'of the command surface is told of once, and is over on the same link once approved',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway({ nodeCommands: 'manual' });
      const journal = new Journal();
      await using host = createNodeHost({
        url: gw.url,
        token: gw.token,
        device: { stateDir: dir.path },
        logger: journal.logger,
        ...QUICK,
      });
      host.handle('echo', (params) => params);
      host.start();
      const line = await journal.until((each) => each.event === 'node-approval', 'the line');
      assert.match(String(line.awaiting), /openclaw nodes approve/);
      assert.equal(line.level, 'warn');
      assert.deepEqual([host.health().node?.registration, host.health().ok], ['pending-approval', true]);
      assert.match(host.health().awaiting ?? '', /openclaw nodes approve/);
      const [request] = gw.pairing.requests;
      assert.deepEqual([request?.kind, request?.commands], ['node', ['echo']]);
      assert.ok(gw.pairing.approve());
      await journal.until((each) => each.event === 'node-registered', 'registered');
      assert.equal(host.health().node?.registration, 'proven');
      assert.equal(journal.of('node-approval').length, 1);
      assert.equal(gw.hellos, 1);
      const nodeId = host.health().node?.deviceId ?? '';
      assert.equal(Object(await gw.invoke(nodeId, 'echo', 1)).payload, 1);
    }),
  );

  it(
    'of a device that was removed begins anew',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      await using session = hosting(gw, dir.path);
      await session.host.ready(soon);
      assert.ok(gw.pairing.remove(session.host.health().node?.deviceId ?? ''));
      await gw.until(() => gw.hellos === 2);
      await session.host.ready(soon);
    }),
  );
});

describe('a device token', () => {
  const beside = sideBySide();

  it(
    'is kept for its owner only, and used where no shared token is given',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      await paired(gw, dir.path);
      assert.equal(statSync(tokenFile(dir.path)).mode & 0o777, 0o600);
      assert.equal(statSync(join(dir.path, 'device-tokens')).mode & 0o777, 0o700);
      assert.equal(statSync(join(dir.path, 'identity.json')).mode & 0o777, 0o600);
      await using session = hosting({ url: gw.url }, dir.path);
      const hello = await session.host.ready(soon);
      assert.equal(hello.auth.method, 'device-token');
      assert.deepEqual(shown(gw), ['token', 'deviceToken']);
      assert.equal(session.journal.failures.length, 0);
    }),
  );

  it(
    'A04 that is dead is dropped, and the shared token is tried at once',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      const nodeId = await paired(gw, dir.path);
      let token = 'wrong';
      // So slow that nothing below can be the work of the slow retries.
      const blocked = { initialDelay: 60_000, maxDelay: 60_000 };
      await using session = hosting({ url: gw.url }, dir.path, { token: () => token, blocked });
      await session.host.ready(soon);
      assert.deepEqual(shown(gw), ['token', 'token', 'deviceToken'], 'the wrong one, then ours');

      token = gw.token;
      const before = readFileSync(tokenFile(dir.path), 'utf8');
      gw.pairing.rotate(nodeId);
      gw.cutAll('reset');
      const { ms } = await timed(() => gw.until(() => gw.hellos === 3));
      assert.ok(ms < 3000, `${ms} ms`);
      assert.deepEqual(
        session.journal.failures.map(({ code }) => code),
        ['AUTH_TOKEN_MISMATCH', 'AUTH_DEVICE_TOKEN_MISMATCH'],
      );
      assert.deepEqual(shown(gw).slice(3), ['deviceToken', 'token']);
      await eventually(
        () => hasToken(dir.path) && readFileSync(tokenFile(dir.path), 'utf8') !== before,
        'the new token is stored',
      );
    }),
  );

  it(
    'is tried once for a shared token that is refused, and never in a loop',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      await paired(gw, dir.path);
      gw.clearLedger();
      const details = { code: 'AUTH_TOKEN_MISMATCH', canRetryWithDeviceToken: true };
      gw.inject({ name: 'reject-connect', preset: 'token-mismatch', details });
      await using session = hosting(gw, dir.path);
      await session.journal.failed(5);
      assert.deepEqual(shown(gw).slice(0, 5), ['token', 'deviceToken', 'token', 'token', 'token']);
      assert.equal(session.host.health().state, 'blocked');
      gw.heal();
      await session.host.ready(soon);
      assert.ok(hasToken(dir.path), 'it was not what was refused');
    }),
  );

  it(
    'A08 that cannot be read is a failed attempt with a remedy, and heals when the file is mended',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      await paired(gw, dir.path);
      const file = tokenFile(dir.path);
      const good = readFileSync(file, 'utf8');
      writeFileSync(file, 'not a database');
      await using session = hosting({ url: gw.url }, dir.path);
      const { host, journal } = session;
      const lines = await journal.failed(3);
      for (const line of lines) {
        assert.deepEqual([line.phase, line.reason, line.code], ['provider', 'local', 'STATE_DAMAGED']);
      }
      await journal.entered('blocked');
      assert.match(host.health().awaiting ?? '', /mend/);
      assert.equal(gw.dials, 1, 'nobody was dialled without a credential');
      writeFileSync(file, good);
      await host.ready(soon);
    }),
  );

  it(
    'A08 that cannot be read is of no consequence where there is a shared token',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      await paired(gw, dir.path);
      writeFileSync(tokenFile(dir.path), 'not a database');
      await using session = hosting(gw, dir.path);
      await session.host.ready(soon);
      assert.equal(session.journal.failures.length, 0);
    }),
  );

  it(
    'A09 that cannot be written is told of once, and the link stays',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      writeFileSync(dir.at('device-tokens'), '', { mode: 0o600 });
      await using session = hosting(gw, dir.path);
      const { host, journal } = session;
      await host.ready(soon);
      const line = await journal.until((each) => each.event === 'device-store', 'the warning');
      assert.deepEqual([line.level, line.code], ['warn', 'STATE_NOT_A_DIRECTORY']);
      for (const hellos of [2, 3]) {
        gw.cutAll('reset');
        await gw.until(() => gw.hellos === hellos);
        await host.ready(soon);
      }
      assert.equal(host.health().state, 'online');
      rmSync(dir.at('device-tokens'));
      gw.cutAll('reset');
      await gw.until(() => gw.hellos === 4);
      await eventually(() => hasToken(dir.path), 'it is stored once it can be');
      assert.equal(journal.of('device-store').length, 1, 'the same trouble is told of once');
      assert.equal(journal.failures.length, 0);
    }),
  );
});

describe('the identity of a device', () => {
  const beside = sideBySide();

  it(
    'that is damaged, linked or open to others is an error with a remedy, is never replaced, and heals when mended',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      const nodeId = await paired(gw, dir.path);
      const file = dir.at('identity.json');
      const good = readFileSync(file, 'utf8');
      const damage: readonly [string, () => void, () => void][] = [
        ['STATE_DAMAGED', () => writeFileSync(file, good.slice(0, 100)), () => writeFileSync(file, good)],
        ['STATE_MODE', () => chmodSync(file, 0o644), () => chmodSync(file, 0o600)],
        [
          'STATE_LINK',
          () => {
            renameSync(file, dir.at('elsewhere'));
            symlinkSync(dir.at('elsewhere'), file);
          },
          () => renameSync(dir.at('elsewhere'), file),
        ],
      ];
      for (const [code, harm, mend] of damage) {
        harm();
        const harmed = readFileSync(file, 'utf8');
        await using session = hosting(gw, dir.path);
        const [line] = await session.journal.failed(1);
        assert.deepEqual([line?.phase, line?.reason, line?.code], ['provider', 'local', code]);
        assert.ok((line?.error ?? '').includes('identity.json'), line?.error);
        await session.journal.failed(3);
        assert.equal(readFileSync(file, 'utf8'), harmed, 'it is left as it is');
        mend();
        await session.host.ready(soon);
        assert.equal(session.host.health().node?.deviceId, nodeId, 'and is the same device');
      }
    }),
  );

  it(
    'signs the time of the challenge, however wrong our own clock is',
    beside(async () => {
      using dir = scratch();
      await using gw = await gateway();
      const hour = 3_600_000;
      const skewed = { ...systemRuntime, wall: () => Date.now() + hour };
      await using session = hosting(gw, dir.path, { runtime: skewed });
      await session.host.ready(soon);
      assert.equal(session.journal.failures.length, 0);

      const ts = 1_795_191_101_023;
      const params = await connectTo(dir.path, { nonce: 'n-1', ts });
      const { device, client, role, scopes, auth } = params;
      assert.deepEqual([device.signedAt, device.nonce, scopes], [ts, 'n-1', []]);
      const raw = Buffer.from(device.publicKey, 'base64url');
      assert.equal(createHash('sha256').update(raw).digest('hex'), device.id);
      const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: device.publicKey }, format: 'jwk' });
      const text = signaturePayload('v3', {
        deviceId: device.id,
        clientId: client.id,
        clientMode: client.mode,
        role,
        scopes,
        signedAt: ts,
        token: auth.token,
        nonce: 'n-1',
        platform: client.platform,
        deviceFamily: client.deviceFamily,
      });
      assert.ok(verify(null, Buffer.from(text), key, Buffer.from(device.signature, 'base64url')));
    }),
  );

  it(
    'signs nothing for a challenge without a usable nonce or time',
    beside(async () => {
      for (const variant of ['blank', 'missing', 'number', 'no-ts', 'no-payload', 'pipe', 'newline'] as const) {
        using dir = scratch();
        await using gw = await gateway({ faults: [{ name: 'bad-challenge', variant }] });
        await using session = hosting(gw, dir.path);
        const [line] = await session.journal.failed(1);
        assert.deepEqual([line?.reason, line?.code, line?.phase], ['protocol', 'BAD_CHALLENGE', 'challenge'], variant);
        assert.deepEqual(shown(gw), [], `${variant}: nothing was sent`);
        gw.heal();
        await session.host.ready(soon);
      }
    }),
  );
});

interface Connect {
  readonly client: { id: string; mode: string; platform: string; deviceFamily: string };
  readonly role: 'node';
  readonly scopes: string[];
  readonly auth: { token: string };
  readonly device: { id: string; publicKey: string; signature: string; signedAt: number; nonce: string };
}

/** What a node host sends to a peer that challenges it so. */
async function connectTo(stateDir: string, challenge: object): Promise<Connect> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  try {
    const heard = new Promise<Connect>((resolve) => {
      server.on('connection', (socket) => {
        socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: challenge }));
        socket.on('message', (data) => resolve(JSON.parse(String(data)).params));
      });
    });
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    await using session = hosting({ url: `ws://127.0.0.1:${address.port}`, token: 'a token' }, stateDir);
    const params = await heard;
    await session.host.close({ grace: 0 });
    return params;
  } finally {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
}
