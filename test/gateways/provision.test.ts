// Ten tenants in a row on real gateways: each agents.create of 2026.4.26 restarts the gateway, each of 2026.9.6 opens a
// time in which the new agent is not known. The caller writes no line of retry code.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Provisioned, provisionAgent, type Tenant } from '../../lib/api/provision.js';
import { createClient } from '../../lib/index.js';
import { GATEWAY_VERSIONS, installGateway } from './install.js';
import { type RealGateway, startGateway } from './launcher.js';
import { type Story, watch } from './story.js';
import { isRecord } from './wire.js';

const TENANTS = 10;
const FILES = ['AGENTS.md', 'SOUL.md', 'IDENTITY.md', 'USER.md'] as const;
/** Restarts by a successor process take 6–7 s each; a cold machine doubles it. */
const PATIENCE = 6 * 60_000;

/**
 * By default 2026.4.26 restarts itself after agents.create until its first completion has run; so it restarts after each
 * of them. That completion would also install the dependencies of every provider plugin from the registry, and the event
 * loop stands still meanwhile, for minutes: none of them is needed for want of a model key.
 */
const RESTARTING = {
  config: { reload: { mode: 'restart' } },
  env: { OPENCLAW_DISABLE_BUNDLED_PLUGINS: '1' },
} as const;

/** What each release answers to a completion for want of a model key, outside of any restart. */
const KEYLESS = {
  '2026.9.6': { status: 401, type: 'authentication_error' },
  '2026.4.26': { status: 500, type: 'api_error' },
} as const;

describe('ten tenants on real gateways', () => {
  for (const version of GATEWAY_VERSIONS) {
    for (const respawn of version === '2026.4.26' ? [false, true] : [false]) {
      describe(`openclaw@${version}${respawn ? ', restarting by a successor process' : ''}`, () => {
        let gateway: RealGateway | undefined;

        before('starts it', async function () {
          this.timeout(20 * 60_000);
          await installGateway(version);
          gateway = await startGateway({ version, respawn, ...(version === '2026.4.26' && RESTARTING) });
        });

        after('ends it', async () => {
          await gateway?.dispose();
        });

        afterEach('shows what it logged', function () {
          const { currentTest } = this;
          if (currentTest?.state !== 'failed' || currentTest.err === undefined || gateway === undefined) return;
          currentTest.err.message += `\n${gateway.logTail()}`;
        });

        it('are all provisioned, each exactly once, and found complete when provisioned again', async function () {
          this.timeout(PATIENCE);
          assert.ok(gateway !== undefined);
          await provisionTen(gateway);
        });
      });
    }
  }
});

async function provisionTen(gateway: RealGateway): Promise<void> {
  const client = createClient({ url: gateway.url, token: gateway.token, logger: false });
  const story = watch(client);
  try {
    client.start();
    await client.ready({ timeout: 60_000 });
    const tenants = Array.from({ length: TENANTS }, (_, index) => tenant(gateway, index));
    const made: Provisioned[] = [];
    for (const each of tenants) made.push(await provisionAgent(client, each));

    for (const [index, each] of tenants.entries()) assertMade(gateway, each, made[index], story);
    const { agents } = await client.call('agents.list', {});
    for (const { name } of tenants) assert.equal(agents.filter(({ id }) => id === name).length, 1, name);
    assertRestarts(gateway, made, story);
    // One run each, in the gateway's own words.
    assert.equal(gateway.log().split('chat completion failed').length - 1, TENANTS);

    await assertFoundComplete(gateway, tenants);
  } catch (error) {
    if (error instanceof Error) error.message += `\n${story.tell()}`;
    throw error;
  } finally {
    await client.close();
  }
}

function tenant(gateway: RealGateway, index: number): Tenant {
  const name = `tenant-${process.pid}-${index}`;
  const files = Object.fromEntries(FILES.map((file) => [file, contentOf(name, file)]));
  return { name, workspace: join(gateway.workspaceDir, name), files, hello: { message: 'Hello.' } };
}

function contentOf(name: string, file: string): string {
  return `# ${file} of ${name}\n\nÜberall gleich: 10 € – ✓\n`;
}

function assertMade(gateway: RealGateway, { name }: Tenant, made: Provisioned | undefined, story: Story): void {
  assert.ok(made !== undefined);
  assert.deepEqual([made.agentId, made.created], [name, true]);
  assert.deepEqual(
    made.files,
    FILES.map((file) => ({ name: file, state: 'written' })),
  );
  for (const file of FILES) {
    const found = readFileSync(join(gateway.workspaceDir, name, file), 'utf8');
    assert.equal(found, contentOf(name, file), `${name}/${file} on disk`);
  }
  // The gateway's own answer arrives as it is, unmarked, and nothing was sent again.
  const { status, type } = KEYLESS[gateway.version];
  const { hello } = made;
  assert.deepEqual([hello?.status, hello?.outcome], [status, 'executed'], `${JSON.stringify(hello)}\n${story.tell()}`);
  assert.ok(isRecord(hello?.body) && isRecord(hello.body['error']));
  assert.equal(hello.body['error']['type'], type);
  const marks = Object.keys(hello.headers ?? {}).filter((header) => header.startsWith('holdfast-'));
  assert.deepEqual(marks, []);
}

function assertRestarts(gateway: RealGateway, made: readonly Provisioned[], story: Story): void {
  const restarts = made.map((each) => each.restarts);
  if (gateway.version === '2026.4.26') {
    // Each of them restarted the gateway, and each run says with which restart.
    assert.ok(
      restarts.every((ids) => ids.length > 0),
      `${JSON.stringify(restarts)}\n${story.tell()}`,
    );
    assert.ok(new Set(restarts.flat()).size >= TENANTS);
  } else assert.deepEqual(restarts.flat(), []);
  for (const event of story.events) {
    if (event.type === 'retry') assert.equal(event.reason, 'gateway-restart', story.tell());
    if (event.type === 'restart') assert.notEqual(event.phase, 'became-outage', story.tell());
  }
}

/** Again, by a client that knows nothing of the first: nothing is done that was done. */
async function assertFoundComplete(gateway: RealGateway, tenants: readonly Tenant[]): Promise<void> {
  await using client = createClient({ url: gateway.url, token: gateway.token, logger: false }).start();
  for (const each of tenants) {
    const again = await provisionAgent(client, each);
    assert.deepEqual([again.agentId, again.created, again.restarts], [each.name, false, []]);
    assert.ok(again.files.every(({ state }) => state === 'unchanged'));
    assert.deepEqual(again.hello, { via: 'http', outcome: 'executed', earlier: true });
  }
  assert.equal(gateway.log().split('chat completion failed').length - 1, TENANTS);
}
