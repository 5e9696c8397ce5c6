// A node host against real gateways: both approvals, invocations around a restart, and a device token that is revoked.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createClient,
  createNodeHost,
  type GatewayClient,
  isGatewayError,
  type NodeHost,
  type NodeHostOptions,
} from '../../lib/index.js';
import { eventually, Journal, refusal } from '../support/collect.js';
import { GATEWAY_VERSIONS, installGateway } from './install.js';
import { type RealGateway, startGateway } from './launcher.js';
import { watch } from './story.js';
import { isRecord } from './wire.js';

/** Both releases withhold commands outside of their list; this one is on it, and what it does is up to us. */
const COMMAND = 'system.which';
const BACK = 30_000;

/** What a handler saw of one invocation. */
interface Begun {
  readonly signal: AbortSignal;
  readonly finish: (value: unknown) => void;
}

class Bench implements AsyncDisposable {
  readonly gateway: RealGateway;
  readonly operator: GatewayClient;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'holdfast-node-'));
  readonly tokenFile: string = join(this.folder, 'token');
  readonly journal: Journal = new Journal();
  readonly begun: Begun[] = [];
  host: NodeHost;

  constructor(gateway: RealGateway) {
    this.gateway = gateway;
    writeFileSync(this.tokenFile, gateway.token, { mode: 0o600 });
    this.operator = createClient({
      url: gateway.url,
      token: gateway.token,
      scopes: ['operator.admin', 'operator.read', 'operator.write', 'operator.pairing'],
      logger: false,
    }).start();
    this.host = this.makeHost();
  }

  makeHost(options: Partial<NodeHostOptions> = {}): NodeHost {
    const host = createNodeHost({
      url: this.gateway.url,
      token: { file: this.tokenFile },
      device: { stateDir: join(this.folder, 'state') },
      caps: ['system'],
      blocked: { initialDelay: 1000, maxDelay: 2000 },
      logger: this.journal.logger,
      ...options,
    });
    host.handle(COMMAND, (params, { signal }) => {
      if (!isRecord(params) || params['hold'] !== true) return { echo: params };
      return new Promise((finish) => this.begun.push({ signal, finish }));
    });
    return host;
  }

  get nodeId(): string {
    return this.host.health().node?.deviceId ?? '';
  }

  /** The node as operators see it. */
  async listed(): Promise<Record<string, unknown> | undefined> {
    const answer: unknown = await this.operator.call('node.list', {}, { retry: 'always' });
    const nodes = isRecord(answer) && Array.isArray(answer['nodes']) ? answer['nodes'] : [];
    return nodes.filter(isRecord).find((node) => node['nodeId'] === this.nodeId);
  }

  invoke(params: object, timeoutMs = 10_000): Promise<unknown> {
    const { nodeId } = this;
    const asked = { nodeId, command: COMMAND, params, timeoutMs, idempotencyKey: `key-${performance.now()}` };
    return this.operator.call('node.invoke', asked, { retry: 'never' });
  }

  async echoes(text: string): Promise<void> {
    await eventually(async () => (await this.listed())?.['connected'] === true, 'node.list says connected', BACK);
    const answer = await this.invoke({ text });
    assert.ok(isRecord(answer) && answer['ok'] === true, JSON.stringify(answer));
    const payload = answer['payload'] ?? JSON.parse(String(answer['payloadJSON']));
    assert.deepEqual(payload, { echo: { text } });
  }

  async approveCommands(): Promise<void> {
    const listed: unknown = await this.operator.call('node.pair.list', {});
    const pending = isRecord(listed) && Array.isArray(listed['pending']) ? listed['pending'].filter(isRecord) : [];
    const request = pending.find((each) => each['nodeId'] === this.nodeId);
    assert.ok(request !== undefined, JSON.stringify(listed));
    await this.operator.call('node.pair.approve', { requestId: request['requestId'] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.host.close({ grace: 0 }), this.operator.close({ grace: 0 })]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

describe('a node host on real gateways', () => {
  for (const version of GATEWAY_VERSIONS) {
    describe(`openclaw@${version}`, () => {
      let bench: Bench | undefined;
      let gateway: RealGateway | undefined;

      before('starts it', async function () {
        this.timeout(20 * 60_000);
        await installGateway(version);
        gateway = await startGateway({ version });
        bench = new Bench(gateway);
      });

      after('ends it', async () => {
        await bench?.[Symbol.asyncDispose]();
        await gateway?.dispose();
      });

      afterEach('shows what was logged', function () {
        const { currentTest } = this;
        if (currentTest?.state !== 'failed' || currentTest.err === undefined) return;
        currentTest.err.message += `\n${bench?.journal.text}\n${gateway?.logTail()}`;
      });

      const here = (): Bench => {
        assert.ok(bench !== undefined);
        return bench;
      };

      it('pairs on loopback, keeps its token to itself, and is listed as connected', async () => {
        const { host, folder, journal } = here();
        host.start();
        await host.ready({ timeout: BACK });
        await eventually(async () => (await here().listed())?.['connected'] === true, 'node.list says connected');
        await eventually(() => tokensIn(folder).length === 1, 'the device token is kept');
        for (const file of tokensIn(folder)) assert.equal(statSync(file).mode & 0o777, 0o600);
        assert.equal(statSync(join(folder, 'state', 'identity.json')).mode & 0o777, 0o600);
        assert.equal(journal.failures.length, 0);
      });

      if (version === '2026.9.6') {
        it('says that its commands await approval, and goes on by itself once they are approved', async () => {
          const { host, journal } = here();
          await journal.until((line) => line.event === 'node-approval', 'the line with the command');
          assert.equal(host.health().node?.registration, 'pending-approval');
          const refused = await refusal(here().invoke({}));
          assert.equal(refused.outcome, 'unknown');
          await here().approveCommands();
          await journal.until((line) => line.event === 'node-registered', 'registered', BACK);
          assert.equal(host.health().node?.registration, 'proven');
          assert.equal(journal.of('attempt').length, 1, 'on the same link');
        });
      }

      it('answers an operator', () => here().echoes('before'));

      it('is told that nobody waits any more when the gateway dies under an invocation', async function () {
        this.timeout(120_000);
        const { host, begun, operator, journal } = here();
        const held = rejection(here().invoke({ hold: true }, 30_000));
        await eventually(() => begun.length === 1, 'the handler runs');
        const [first] = begun;
        assert.ok(first !== undefined && !first.signal.aborted);
        await here().gateway.kill9();
        await eventually(() => first.signal.aborted, 'the signal aborts');
        const error = await held;
        assert.ok(isGatewayError(error) && error.outcome === 'unknown', String(error));
        assert.ok(isGatewayError(first.signal.reason, 'outage'), String(first.signal.reason));
        first.finish('nobody wants it');
        await journal.until((line) => line.code === 'LATE', 'its late result is told of');
        await here().gateway.start();
        await Promise.all([host.ready({ timeout: BACK }), operator.ready({ timeout: BACK })]);
        assert.equal(host.health().node?.invocations.aborted, 1);
      });

      it('answers after the crash, in the same process', () => here().echoes('after a crash'));

      it('answers after a restart that an operator asked for', async () => {
        const story = watch(here().host);
        await here().gateway.restartRequest();
        await story.until('the restart ends', (event) => event.type === 'restart' && event.phase === 'ended', BACK);
        await here().host.ready({ timeout: BACK });
        await here().echoes('after a restart');
      });

      it('recovers from a revoked device token, and from a shared token that is wrong meanwhile', async () => {
        const { host, folder, tokenFile, journal, operator } = here();
        await host.close();
        const kept = (): string =>
          tokensIn(folder)
            .map((file) => readFileSync(file, 'utf8'))
            .join();
        const before = kept();
        // The shared token is wrong, so that it is the device token that opens the link.
        writeFileSync(tokenFile, 'wrong');
        here().host = here().makeHost();
        const again = here().host.start();
        await again.ready({ timeout: BACK });
        assert.deepEqual(journal.failures.map(({ code, state }) => [code, state]).at(-1)?.[0], 'AUTH_TOKEN_MISMATCH');
        await eventually(async () => (await here().listed())?.['connected'] === true, 'node.list says connected');

        await operator.call('device.token.revoke', { deviceId: here().nodeId, role: 'node' });
        await journal.until((line) => line.code === 'AUTH_DEVICE_TOKEN_MISMATCH', 'the token is refused', BACK);
        await eventually(() => again.health().state === 'blocked', 'it waits for a credential', BACK);
        assert.equal(kept(), '', 'the dead token is gone');
        writeFileSync(tokenFile, here().gateway.token);
        if (version === '2026.9.6') {
          // What was revoked is the role: a person has to give it again, shared token or not.
          await journal.until((line) => line.code === 'PAIRING_REQUIRED', 'it has to be approved again', BACK);
          const [, requestId] = /openclaw devices approve (\S+)$/.exec(again.health().awaiting ?? '') ?? [];
          await operator.call('device.pair.approve', { requestId });
        }
        await again.ready({ timeout: BACK });
        await here().echoes('with a new token');
        await eventually(() => kept() !== '' && kept() !== before, 'a new device token is kept');
      });
    });
  }
});

/** What a promise was rejected with; it never counts as unhandled. */
function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => assert.fail(`it resolved with ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
}

/** The files of the device tokens; one that is being written is none yet. */
function tokensIn(folder: string): string[] {
  const tokens = join(folder, 'state', 'device-tokens');
  if (!existsSync(tokens)) return [];
  return readdirSync(tokens)
    .filter((name) => name.endsWith('.json'))
    .map((name) => join(tokens, name));
}
