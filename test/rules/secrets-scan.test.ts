/** Whatever a node host lets out in its whole life, failures and all, holds none of its secrets. */
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { createNodeHost, type NodeHost } from '../../lib/index.js';
import type { Fault, TestGateway } from '../../lib/testing/index.js';
import { lib, script } from '../support/children.js';
import { eventsOf, eventually, Journal, refusal } from '../support/collect.js';
import { gateway, QUICK } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/** With characters that look different in each encoding. */
const TOKEN = 'sh/ared+token?with&odd=chars~42~ünïcode';

/** Every way in which a secret is written by those who hold it: as it is, in base64, in base64url, in a URL, in JSON. */
function formsOf(secret: string | Buffer): string[] {
  const bytes = Buffer.from(secret);
  const forms = [bytes.toString('base64').replace(/=+$/, ''), bytes.toString('base64url')];
  if (typeof secret === 'string') forms.push(secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1));
  return [...new Set(forms)];
}

function deviceTokens(stateDir: string): string[] {
  const folder = join(stateDir, 'device-tokens');
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return files.map((file) => String(JSON.parse(readFileSync(join(folder, file), 'utf8')).token));
}

/** The secrets of a state directory: the private key in each of its forms, and the device tokens. */
function secretsIn(stateDir: string): string[] {
  const { privateKey } = JSON.parse(readFileSync(join(stateDir, 'identity.json'), 'utf8'));
  const key = createPrivateKey(privateKey);
  const seed = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  const body = String(privateKey).split('\n')[1] ?? '';
  assert.ok(seed.length === 32 && body.length > 40);
  return [...formsOf(seed), seed.toString('hex'), body, ...deviceTokens(stateDir).flatMap(formsOf)];
}

function clean(text: string, secrets: Iterable<string>, what: string): void {
  for (const form of secrets) {
    const at = text.indexOf(form);
    assert.ok(at < 0, `${what} holds a secret: …${text.slice(Math.max(0, at - 120), at)}`);
  }
}

function shown(parts: readonly unknown[]): string {
  const deep = { depth: 20, showHidden: true, getters: true, maxStringLength: null, maxArrayLength: null } as const;
  const stacks = parts.map((part) => (part instanceof Error ? part.stack : ''));
  return [...parts.map((part) => inspect(part, deep)), ...stacks, JSON.stringify(parts, plain)].join('\n');
}

/** What JSON leaves out of an error. */
function plain(_key: string, value: unknown): unknown {
  return value instanceof Error ? { ...value, message: value.message, stack: value.stack } : value;
}

/** Refusals that throw every secret back. */
function echo(secrets: readonly string[]): Fault[] {
  const text = secrets.join(' ');
  return [
    {
      name: 'reject-connect',
      preset: 'token-mismatch',
      message: `unauthorized: ${text}`,
      details: { code: 'AUTH_TOKEN_MISMATCH', seen: text },
    },
    { name: 'reject-connect', preset: 'device-token-mismatch', message: text },
    { name: 'reject-connect', preset: 'pairing-required', message: text },
    { name: 'reject-connect', preset: 'close-1008', closeReason: secrets[0]?.slice(0, 100) ?? '' },
    { name: 'http-status', status: 503, body: text },
  ];
}

/** One life: pairs, serves, fails in every way the secrets can be thrown back, changes credentials, ends. */
async function life(gw: TestGateway, host: NodeHost, journal: Journal, stateDir: string): Promise<unknown[]> {
  const given: unknown[] = [];
  host.handle('leaks', () => {
    throw new Error(`the token is ${TOKEN}`);
  });
  host.start();
  given.push(await host.ready({ timeout: 8000 }));
  await eventually(() => host.health().node?.registration === 'proven', 'registered');
  await eventually(() => deviceTokens(stateDir).length === 1, 'the device token is stored');
  const nodeId = host.health().node?.deviceId ?? '';
  given.push(await gw.invoke(nodeId, 'leaks').catch((error: unknown) => error));
  // What a peer has seen, it can throw back. The private key it never sees.
  for (const fault of echo([TOKEN, ...deviceTokens(stateDir)].flatMap(formsOf))) {
    const heal = gw.inject(fault);
    const from = journal.failures.length;
    gw.cutAll('reset');
    await journal.failed(from + 1);
    given.push(
      host.health(),
      await refusal(host.ready({ timeout: 1 })),
      await refusal(host.call('health', {}, { deadline: 20 })),
    );
    heal();
    await host.ready({ timeout: 8000 });
  }
  given.push(gw.pairing.rotate(nodeId));
  gw.cutAll('reset');
  await gw.until(() => gw.connections.some(({ open, hello }) => open && hello));
  await host.ready({ timeout: 8000 });
  return given;
}

describe('the secrets of a node host', () => {
  it('are in nothing that it says, hands out or writes for others, in its whole life', async () => {
    using dir = scratch();
    const stateDir = dir.at('state');
    const file = dir.at('live');
    await using gw = await gateway({ token: TOKEN });
    writeFileSync(dir.at('token'), TOKEN, { mode: 0o600 });
    const journal = new Journal();
    await using host = createNodeHost({
      url: gw.url,
      token: { file: dir.at('token') },
      device: { stateDir },
      liveness: { file, interval: 50 },
      logger: journal.logger,
      ...QUICK,
    });
    const events = eventsOf(host);
    const given = await life(gw, host, journal, stateDir);
    const live = readFileSync(file, 'utf8');
    const secrets = new Set([...formsOf(TOKEN), ...secretsIn(stateDir)]);
    await host.close();
    const out = shown([journal.all, events.all, host, host.health(), await host.done, ...given]);
    assert.ok(out.length > 10_000 && secrets.size >= 6);
    clean(out, secrets, 'what it handed out');
    clean(live, secrets, 'the liveness file');
    clean(readFileSync(file, 'utf8'), secrets, 'the last record');
    assert.ok(out.includes('[redacted'), 'something was there to be taken out');
  });

  it('are on neither stream of a process, not even when it crashes with one of them in hand', async () => {
    using dir = scratch();
    const stateDir = dir.at('state');
    await using gw = await gateway({ token: TOKEN });
    await using child = script(
      `
      import { createNodeHost } from ${lib('index.js')};
      const [url, token, stateDir] = process.argv.slice(1);
      const host = createNodeHost({ url, token, device: { stateDir } });
      host.handle('leaks', () => { throw new Error(token); });
      host.start();
      await host.ready({ timeout: 8000 });
      console.log(host, host.health());
      process.once('SIGTERM', async () => { await host.close(); console.log(await host.done); });
      `,
      [gw.url, TOKEN, stateDir],
    );
    await gw.until(() => gw.ledger.some(({ method }) => method === 'node.pending.pull'), 10_000);
    await eventually(() => deviceTokens(stateDir).length === 1, 'the device token is stored');
    const [nodeId] = gw.connections.map(({ deviceId }) => deviceId);
    await gw.invoke(nodeId ?? '', 'leaks').catch(() => {});
    await child.logged((line) => line.message.includes('leaks'), 'the line of the handler');
    child.kill('SIGTERM');
    assert.equal((await child.exit()).code, 0, child.stderr);
    const secrets = [...formsOf(TOKEN), ...secretsIn(stateDir)];
    clean(child.stdout, secrets, 'stdout');
    clean(child.stderr, secrets, 'stderr');
    assert.ok(child.stderr.length > 100 && child.stdout.includes('closed'));
  });
});
