// One list of scenarios, for the embedded gateway and for real ones: it keeps the embedded one honest, and the client
// measured by gateways that nobody here wrote.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientOptions, createClient, type GatewayClient, isGatewayError } from '../../lib/index.js';
import type { GatewayVersion } from './install.js';
import { type Story, watch } from './story.js';
import { isRecord } from './wire.js';

/** What a scenario needs of a gateway. None of these waits for the gateway to be back, except `start`. */
export interface GatewayUnderTest {
  readonly url: string;
  readonly port: number;
  readonly token: string;
  /** The release it is, or emulates. */
  readonly version: GatewayVersion;
  /** Folder in which agents may have their workspaces. */
  readonly workspaceDir: string;
  readonly running: boolean;
  /** An operator asks for a restart; returns when it is accepted. */
  restart(): Promise<void>;
  kill9(): Promise<void>;
  /** Starts again after `kill9` or `stop`; returns when operators are accepted. */
  start(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** A terminal stop; returns when the port is shut. */
  stop(): Promise<void>;
}

/** A client of this scenario; it is closed at the end, and must then end as `closed`. */
export type Open = (options?: Partial<ClientOptions>) => Promise<Story>;

export interface Scenario {
  readonly title: string;
  readonly only?: GatewayVersion;
  run(gateway: GatewayUnderTest, open: Open): Promise<void>;
}

/** Long enough for a cold start of a real gateway on a slow machine; nothing waits for it when all is well. */
const BACK = 90_000;
/** A failure that is reported at once. */
const AT_ONCE = 2000;

/** The set is closed, and differs: 9.6 refuses `TOOLS.md`, which 4.26 takes. These four are taken by both. */
const FILES = ['AGENTS.md', 'SOUL.md', 'IDENTITY.md', 'USER.md'] as const;

const SCENARIOS: readonly Scenario[] = [
  {
    title: 'connects, and knows whom it talks to',
    async run(gateway, open) {
      const { client, events } = await open();
      const health = client.health();
      assert.equal(health.ok, true);
      assert.equal(health.state, 'online');
      assert.equal(health.reason, undefined);
      assert.equal(health.gateway?.version, gateway.version);
      assert.equal(health.gateway?.protocol, isNew(gateway) ? 4 : 3);
      assert.equal(typeof health.gateway?.connId, 'string');
      assert.equal(typeof health.gateway?.bootId, isNew(gateway) ? 'string' : 'undefined');
      assert.ok(isRecord(await client.call('health', {})));
      assert.ok(isRecord(await client.call('agents.list', {})));
      assert.deepEqual(
        events.filter((event) => event.type === 'state').map((event) => event.to),
        ['connecting', 'handshaking', 'online'],
      );
    },
  },

  {
    title: 'rides out a restart that an operator asked for, with the calls made meanwhile',
    async run(gateway, open) {
      const story = await open();
      const { client } = story;
      const before = client.health().gateway;
      await gateway.restart();
      const began = await story.until(
        'a restart begins',
        (event) => event.type === 'restart' && event.phase === 'began',
        BACK,
      );
      // Made in the middle of it, and answered by the next instance.
      const list = client.call('agents.list', {});
      await story.until('the restart ends', (event) => event.type === 'restart' && event.phase === 'ended', BACK);
      assert.ok(isRecord(await list));
      await client.ready({ timeout: BACK });

      const restarts = story.events.filter((event) => event.type === 'restart');
      assert.deepEqual(
        restarts.map((event) => event.phase),
        ['began', 'ended'],
        story.tell(),
      );
      assert.equal(new Set(restarts.map((event) => event.id)).size, 1);
      assert.equal(began.type === 'restart' && began.evidence, 'shutdown');
      assert.ok((restarts[1]?.downMs ?? 0) > 0);
      assertReasons(story, ['gateway-restart', 'gateway-starting', 'gateway-draining']);
      const after = client.health().gateway;
      assert.notEqual(after?.connId, before?.connId);
      if (isNew(gateway)) assert.notEqual(after?.bootId, before?.bootId);
      assert.equal(client.health().restart, undefined);
    },
  },

  {
    title: 'provisions an agent through the restart that agents.create causes',
    only: '2026.4.26',
    async run(gateway, open) {
      const story = await open();
      const { client } = story;
      const { agentId, written } = await provision(gateway, client);
      await story.until('the restart ends', (event) => event.type === 'restart' && event.phase === 'ended', BACK);
      await written;
      for (const name of FILES) assert.equal(await contentOf(client, agentId, name), `${name} of ${agentId}`);
      const restarts = story.events.filter((event) => event.type === 'restart');
      assert.deepEqual(
        restarts.map((event) => event.phase),
        ['began', 'ended'],
        story.tell(),
      );
      assertReasons(story, ['gateway-restart', 'gateway-starting', 'gateway-draining']);
    },
  },

  {
    title: 'provisions an agent on one link, through the time in which it is not yet known',
    only: '2026.9.6',
    async run(gateway, open) {
      const story = await open();
      const { client } = story;
      const { agentId, written } = await provision(gateway, client);
      await written;
      for (const name of FILES) assert.equal(await contentOf(client, agentId, name), `${name} of ${agentId}`);
      assert.equal(story.events.filter((event) => event.type === 'restart').length, 0, story.tell());
      assert.equal(onlines(story), 1);
    },
  },

  {
    title: 'fails at once what the gateway will never do',
    async run(_gateway, open) {
      const story = await open();
      const { client } = story;
      const refused = async (what: string, answer: Promise<unknown>, text: RegExp): Promise<void> => {
        const asked = performance.now();
        await assert.rejects(
          answer,
          (error) =>
            isGatewayError(error, 'rejected') &&
            error.outcome === 'not-executed' &&
            error.gateway?.code === 'INVALID_REQUEST' &&
            text.test(error.gateway.message),
          what,
        );
        assert.ok(performance.now() - asked < AT_ONCE, `${what}: a genuine failure is reported at once`);
      };
      await refused('an unknown method', client.call('no.such.method', {}), /^unknown method/);
      const unknownKey = client.call<unknown>('agents.list', { zzz: 1 });
      await refused('an unknown key', unknownKey, /unexpected property 'zzz'/);
      const unknownFile = client.call('agents.files.set', { agentId: 'main', name: 'notes.md', content: '' });
      await refused('a file outside the closed set', unknownFile, /^unsupported file "notes.md"$/);
      assert.deepEqual(
        story.events.filter((event) => event.type === 'retry'),
        [],
        story.tell(),
      );
      assert.equal(client.health().ok, true);
    },
  },

  {
    title: 'calls a crash an outage, fails calls at once, and comes back',
    async run(gateway, open) {
      const story = await open();
      const { client } = story;
      await gateway.kill9();
      const lost = await story.until(
        'the link is lost',
        (event) => event.type === 'state' && event.from === 'online',
        BACK,
      );
      assert.equal(lost.type === 'state' && lost.reason, 'outage', story.tell());
      assert.equal(client.health().ok, false);
      const asked = performance.now();
      await assert.rejects(
        client.call('agents.list', {}),
        (error) =>
          isGatewayError(error, 'outage') && (error.outcome === 'not-sent' || error.outcome === 'not-executed'),
      );
      assert.ok(performance.now() - asked < AT_ONCE, 'a genuine failure is reported at once');
      assert.equal(
        story.events.some((event) => event.type === 'restart'),
        false,
        'nothing told of a restart yet',
      );

      await gateway.start();
      await client.ready({ timeout: BACK });
      assert.equal(onlines(story), 2);
      const restarts = story.events.filter((event) => event.type === 'restart');
      if (!isNew(gateway)) {
        // 4.26 names no boot: the hello cannot tell.
        assert.deepEqual(restarts, []);
        return;
      }
      // With hindsight: a gateway that we knew says that it starts, or another instance says hello.
      assert.deepEqual(
        restarts.map((event) => event.phase),
        ['began', 'ended'],
        story.tell(),
      );
      assert.ok(['starting', 'boot-id'].includes(restarts[0]?.evidence ?? ''), story.tell());
      assert.equal(restarts[0]?.id, restarts[1]?.id);
    },
  },

  {
    title: 'notices a frozen gateway, and has exactly one link when it thaws',
    async run(gateway, open) {
      const counter = await countLinks(gateway.port);
      try {
        const story = await open({
          url: `ws://127.0.0.1:${counter.port}`,
          heartbeat: { timeout: 2000, ping: 400 },
          // Above the time in which a busy gateway on a small machine answers, below the patience of a test.
          reconnect: { ...FAST, connectTimeout: 4000 },
        });
        const { client } = story;
        gateway.freeze();
        try {
          const lost = await story.until(
            'the link is given up',
            (event) => event.type === 'state' && event.from === 'online',
            20_000,
          );
          assert.equal(lost.type === 'state' && lost.reason, 'unresponsive', story.tell());
          const failed = await story.until(
            'a dial hangs',
            (event) => event.type === 'attempt' && event.reason !== undefined,
            20_000,
          );
          assert.equal(failed.type === 'attempt' && failed.reason, 'unresponsive', story.tell());
          assert.equal(client.health().ok, false);
        } finally {
          gateway.thaw();
        }
        await story.until('it is back', () => onlines(story) >= 2, BACK);
        assert.ok(isRecord(await client.call('agents.list', {}, { retry: 'always' })));
        // Links of the frozen time end in their own time, not at once.
        await counter.settled(1, 15_000);
        assert.equal(
          story.events.some((event) => event.type === 'restart'),
          false,
          story.tell(),
        );
        assert.equal(client.health().ok, true);
      } finally {
        await counter.close();
      }
    },
  },

  {
    title: 'waits blocked on a wrong token, and connects once the right one is in its file',
    async run(gateway, open) {
      const folder = mkdtempSync(join(tmpdir(), 'holdfast-token-'));
      const file = join(folder, 'token');
      try {
        writeFileSync(file, 'not-the-token\n', { mode: 0o600 });
        const story = await open({ token: { file }, blocked: { initialDelay: 200, maxDelay: 400 } });
        const { client } = story;
        const blocked = await story.until(
          'it is blocked',
          (event) => event.type === 'state' && event.to === 'blocked',
          BACK,
        );
        assert.equal(blocked.type === 'state' && blocked.reason, 'unauthorized', story.tell());
        assert.equal(client.health().state, 'blocked');
        assert.equal(client.health().ok, false);
        await assert.rejects(
          client.call('agents.list', {}),
          (error) => isGatewayError(error, 'unauthorized') && error.outcome === 'not-sent' && error.remedy !== '',
        );
        assert.equal(JSON.stringify(story.events).includes('not-the-token'), false, 'the token is told to nobody');

        writeFileSync(file, `${gateway.token}\n`, { mode: 0o600 });
        await client.ready({ timeout: BACK });
        assert.equal(client.health().ok, true);
        assert.equal(onlines(story), 1);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  },

  {
    title: 'tells a stop from a restart, fails calls at once, and still comes back when the gateway does',
    async run(gateway, open) {
      const story = await open();
      const { client } = story;
      await gateway.stop();
      const lost = await story.until(
        'the link is lost',
        (event) => event.type === 'state' && event.from === 'online',
        BACK,
      );
      assert.equal(lost.type === 'state' && lost.reason, 'gateway-stopped', story.tell());
      const asked = performance.now();
      await assert.rejects(
        client.call('agents.list', {}),
        (error) =>
          isGatewayError(error, 'gateway-stopped') &&
          (error.outcome === 'not-sent' || error.outcome === 'not-executed'),
      );
      assert.ok(performance.now() - asked < AT_ONCE, 'a genuine failure is reported at once');
      assert.equal(
        story.events.some((event) => event.type === 'restart'),
        false,
        story.tell(),
      );
      assert.equal(client.health().reason, 'gateway-stopped');

      await gateway.start();
      await client.ready({ timeout: BACK });
      assert.equal(onlines(story), 2);
    },
  },
];

/** Paces short enough for a test; the profile while a restart is in progress stays the default. */
const FAST = { initialDelay: 100, maxDelay: 500 } as const;

/** Runs one scenario, and holds each of its clients to a clean end. */
async function play(scenario: Scenario, gateway: GatewayUnderTest): Promise<void> {
  const stories: Story[] = [];
  const open: Open = async (options = {}) => {
    const client = createClient({ url: gateway.url, token: gateway.token, reconnect: FAST, logger: false, ...options });
    const story = watch(client);
    stories.push(story);
    client.start();
    // A client with a secret in a file may be waiting for a human; its scenario waits by itself.
    if (options.token === undefined) await client.ready({ timeout: BACK });
    return story;
  };
  try {
    await scenario.run(gateway, open);
  } catch (error) {
    for (const story of stories) annotate(error, story);
    throw error;
  } finally {
    for (const { client } of stories) await client.close();
  }
  for (const { client } of stories) {
    const { outcome, exitCode } = await client.done;
    assert.deepEqual({ outcome, exitCode }, { outcome: 'closed', exitCode: 0 });
    assert.equal(client.health().state, 'stopped');
  }
}

/** Declares the whole list as mocha tests. `gateway` is asked when a test runs, after the hooks that start it. */
export function declare(version: GatewayVersion, gateway: () => GatewayUnderTest): void {
  for (const scenario of SCENARIOS) {
    if (scenario.only !== undefined && scenario.only !== version) continue;
    it(scenario.title, async () => {
      const under = gateway();
      // A scenario that failed may have left it down.
      if (!under.running) await under.start();
      await play(scenario, under);
    });
  }
}

let agents = 0;

/** Creates an agent and writes its files right behind the answer, as a provisioning backend does. */
async function provision(
  gateway: GatewayUnderTest,
  client: GatewayClient,
): Promise<{ agentId: string; written: Promise<unknown> }> {
  agents += 1;
  const name = `tenant-${process.pid}-${agents}`;
  const created: unknown = await client.call('agents.create', { name, workspace: join(gateway.workspaceDir, name) });
  assert.ok(isRecord(created) && typeof created['agentId'] === 'string');
  const agentId = created['agentId'];
  const written = Promise.all(
    FILES.map((file) => client.call('agents.files.set', { agentId, name: file, content: `${file} of ${agentId}` })),
  );
  // It is awaited after the events; until then its rejection is not unhandled.
  written.catch(() => {});
  return { agentId, written };
}

async function contentOf(client: GatewayClient, agentId: string, name: string): Promise<unknown> {
  const answer: unknown = await client.call('agents.files.get', { agentId, name });
  return isRecord(answer) && isRecord(answer['file']) ? answer['file']['content'] : undefined;
}

function isNew(gateway: GatewayUnderTest): boolean {
  return gateway.version === '2026.9.6';
}

function onlines(story: Story): number {
  return story.events.filter((event) => event.type === 'state' && event.to === 'online').length;
}

function assertReasons(story: Story, allowed: readonly string[]): void {
  for (const event of story.events) {
    if ((event.type !== 'state' && event.type !== 'attempt') || event.reason === undefined) continue;
    assert.ok(allowed.includes(event.reason), `reason ${event.reason} in\n${story.tell()}`);
  }
}

function annotate(error: unknown, story: Story): void {
  if (error instanceof Error && !error.message.includes(story.tell())) error.message += `\n${story.tell()}`;
}

interface LinkCounter {
  readonly port: number;
  /** Resolves when exactly so many WebSockets are open, and stay so for half a second. */
  settled(count: number, timeout: number): Promise<void>;
  close(): Promise<void>;
}

/** A plain TCP relay in front of a gateway that counts the WebSockets through it, whatever gateway it is. */
async function countLinks(target: number): Promise<LinkCounter> {
  const links = new Set<Socket>();
  const all = new Set<Socket>();
  const server: Server = createServer((inner) => {
    const outer = connectTcp(target, '127.0.0.1');
    for (const [socket, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      all.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        all.delete(socket);
        links.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
    // A probe over HTTP is no link.
    inner.once('data', (head) => {
      if (/^upgrade: *websocket/im.test(head.toString('latin1'))) links.add(inner);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return {
    port: address.port,
    async settled(count, timeout) {
      const end = performance.now() + timeout;
      let since = performance.now();
      while (performance.now() - since < 500) {
        if (links.size !== count) since = performance.now();
        if (performance.now() > end) assert.fail(`${links.size} links are open, expected ${count}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    close() {
      for (const socket of all) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
