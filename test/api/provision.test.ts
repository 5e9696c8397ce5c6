import assert from 'node:assert/strict';
import { createGatewayMethods } from '../../lib/api/gateway-methods.js';
import { type Provisioned, type ProvisionProgress, provisionAgent, type Tenant } from '../../lib/api/provision.js';
import type { LedgerEntry, TestGateway } from '../../lib/testing/index.js';
import { refusal } from '../support/collect.js';
import { attach, gateway, type Session } from '../support/gateways.js';

const FILES = ['AGENTS.md', 'SOUL.md', 'IDENTITY.md', 'USER.md'] as const;

function tenant(name: string): Tenant {
  const files = Object.fromEntries(FILES.map((file) => [file, `${file} of ${name}`]));
  return { name, workspace: `/workspaces/${name}`, files, hello: { message: 'Hello.' } };
}

/** The former instance is gone when its successor opens the port, as measured: its HTTP connections went with it. */
const GONE = { lingerMs: 30 } as const;
const RESTARTING = { emulate: '2026.4.26', timings: GONE } as const;

function executed(peer: TestGateway, method: string): LedgerEntry[] {
  return peer.ledger.filter((entry) => entry.method === method && entry.executed);
}

/** Params of a request, as they are in the ledger. */
function field(entry: LedgerEntry, key: string): unknown {
  return (entry.params as Record<string, unknown>)[key];
}

async function contents(session: Session, agentId: string): Promise<(string | undefined)[]> {
  const got = FILES.map((name) => session.client.call('agents.files.get', { agentId, name }));
  return (await Promise.all(got)).map(({ file }) => file.content);
}

/** Every tenant has one agent, four files and one hello; nothing was done twice. */
async function assertOnce(peer: TestGateway, session: Session, made: readonly Provisioned[]): Promise<void> {
  assert.deepEqual(
    executed(peer, 'agents.create').map((entry) => field(entry, 'name')),
    made.map(({ agentId }) => agentId),
  );
  assert.equal(executed(peer, 'agents.files.set').length, 4 * made.length);
  const models = executed(peer, 'POST /v1/chat/completions').map((entry) => field(entry, 'model'));
  assert.deepEqual(
    models,
    made.map(({ agentId }) => `openclaw/${agentId}`),
  );
  for (const { agentId, files, hello } of made) {
    assert.deepEqual(
      files,
      FILES.map((name) => ({ name, state: 'written' })),
    );
    assert.deepEqual([hello?.status, hello?.outcome, hello?.earlier], [200, 'executed', undefined]);
    assert.deepEqual(
      await contents(session, agentId),
      FILES.map((file) => `${file} of ${agentId}`),
    );
  }
}

describe('provisionAgent', () => {
  it('H06 provisions ten tenants in a row on a gateway that restarts itself after each creation', async () => {
    await using peer = await gateway(RESTARTING);
    await using session = await attach(peer);
    const made: Provisioned[] = [];
    for (let index = 0; index < 10; index += 1)
      made.push(await provisionAgent(session.client, tenant(`tenant-${index}`)));
    await assertOnce(peer, session, made);
    assert.equal(peer.hellos, 11);
    // Each run says with which restart; it was waited out before anything was sent into it.
    assert.equal(new Set(made.flatMap(({ restarts }) => restarts)).size, 10);
    assert.ok(made.every(({ restarts, waited }) => restarts.length === 1 && waited > 0));
    for (const event of session.events.all) if (event.type === 'retry') assert.equal(event.reason, 'gateway-restart');
  });

  it('provisions ten tenants on a gateway that does not know them at first', async () => {
    await using peer = await gateway({ timings: { settleMs: 120 } });
    await using session = await attach(peer);
    const made: Provisioned[] = [];
    for (let index = 0; index < 10; index += 1)
      made.push(await provisionAgent(session.client, tenant(`tenant-${index}`)));
    await assertOnce(peer, session, made);
    assert.equal(peer.hellos, 1);
    assert.ok(made.every(({ restarts, attempts }) => restarts.length === 0 && attempts === 7));
  });

  it('H06 lets tenants of one client take turns, whichever view they come through', async () => {
    await using peer = await gateway(RESTARTING);
    await using session = await attach(peer);
    const names = ['first', 'second', 'third'];
    const made = await Promise.all(
      names.map((name) => provisionAgent(session.client.with({ timeout: 5000 }), tenant(name))),
    );
    await assertOnce(peer, session, made);
    // Between a creation and its hello, nothing of another tenant was sent.
    const order = peer.ledger.filter(({ method }) => method === 'agents.create' || method.startsWith('POST '));
    assert.deepEqual(
      order.map(({ method }) => method.slice(0, 4)),
      names.flatMap(() => ['agen', 'POST']),
    );
  });

  it('goes on with the next tenant when one fails', async () => {
    await using peer = await gateway({
      faults: [{ name: 'reject-call', methods: ['agents.create'], times: 1, code: 'FORBIDDEN' }],
    });
    await using session = await attach(peer);
    const first = refusal(provisionAgent(session.client, tenant('first')));
    const second = provisionAgent(session.client, tenant('second'));
    assert.equal((await first).gateway?.code, 'FORBIDDEN');
    assert.equal((await second).created, true);
  });

  it('tells every step, with the restarts and the attempts so far', async () => {
    await using peer = await gateway(RESTARTING);
    await using session = await attach(peer);
    const told: ProvisionProgress[] = [];
    const onProgress = (progress: ProvisionProgress): void => {
      told.push(progress);
      throw new Error('a listener that throws ends nothing');
    };
    const made = await provisionAgent(session.client, tenant('told'), { onProgress, concurrency: 1 });
    assert.deepEqual(
      told.map(({ step, state, file }) => [step, state, file].join(' ').trim()),
      [
        'agent began',
        'agent done',
        ...FILES.flatMap((file) => [`file began ${file}`, `file done ${file}`]),
        'hello began',
        'hello done',
        'ready done',
      ],
    );
    assert.deepEqual(told.at(-1)?.restarts, made.restarts);
    assert.equal(told.at(-1)?.attempts, made.attempts);
  });

  it('says hello by chat.send as well, under a key that every run uses', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const { hello } = await provisionAgent(session.client, {
      name: 'chatty',
      hello: { message: 'Hello.', via: 'chat' },
    });
    assert.equal(hello?.via, 'chat');
    const [sent] = executed(peer, 'chat.send');
    assert.ok(sent !== undefined);
    assert.deepEqual([field(sent, 'sessionKey'), field(sent, 'message')], ['agent:chatty:hello', 'Hello.']);
    assert.equal(hello?.runId, field(sent, 'idempotencyKey'));
  });

  it('hands on what the model provider answered, unchanged and unretried', async () => {
    await using peer = await gateway({ faults: [{ name: 'no-provider' }] });
    await using session = await attach(peer);
    const { hello } = await provisionAgent(session.client, tenant('poor'));
    assert.equal(hello?.status, 401);
    assert.match(JSON.stringify(hello?.body), /"type":"authentication_error"/);
    assert.equal(
      Object.keys(hello?.headers ?? {}).some((name) => name.startsWith('holdfast-')),
      false,
    );
    assert.equal(executed(peer, 'POST /v1/chat/completions').length, 1);
  });

  it('refuses what is described wrongly before anything is sent', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const wrong: [unknown, RegExp][] = [
      [{ name: '///' }, /name/],
      [{ name: 'a', files: { 'SOUL.md': 7 } }, /files\.SOUL\.md/],
      [
        {
          name: 'a',
          files: [
            { name: 'SOUL.md', content: '' },
            { name: 'SOUL.md', content: '' },
          ],
        },
        /twice/,
      ],
      [{ name: 'a', files: [{ content: '' }] }, /files\[0\]\.name/],
      [{ name: 'a', hello: {} }, /hello\.message/],
    ];
    for (const [described, text] of wrong) {
      const error = await refusal(provisionAgent(session.client, described as Tenant));
      assert.deepEqual([error.reason, error.outcome], ['local', 'not-sent']);
      assert.match(error.message, text);
    }
    const error = await refusal(provisionAgent(session.client, { name: 'a' }, { concurrency: 0 }));
    assert.match(error.message, /concurrency/);
    assert.deepEqual(
      peer.ledger.filter(({ method }) => method !== 'connect'),
      [],
    );
  });

  it('takes no agent of another workspace for its own', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await createGatewayMethods(session.client).agents.create({ name: 'taken', workspace: '/workspaces/somebody' });
    const error = await refusal(provisionAgent(session.client, tenant('taken')));
    assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_AGENT_TAKEN', 'local', 'not-sent']);
    assert.equal(executed(peer, 'agents.files.set').length, 0);
  });
});
