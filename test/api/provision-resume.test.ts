import assert from 'node:assert/strict';
import { createGatewayMethods } from '../../lib/api/gateway-methods.js';
import { type ProvisionProgress, provisionAgent, type Tenant } from '../../lib/api/provision.js';
import type { Fault, LedgerEntry, TestGateway } from '../../lib/testing/index.js';
import { refusal } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

const FILES = ['AGENTS.md', 'SOUL.md', 'IDENTITY.md', 'USER.md'] as const;
const TENANT: Tenant = {
  name: 'tenant',
  workspace: '/workspaces/tenant',
  files: Object.fromEntries(FILES.map((file) => [file, `${file} of tenant`])),
  hello: { message: 'Hello.' },
};
const ONE_BY_ONE = { concurrency: 1 } as const;

/** The former instance is gone when its successor opens the port, as measured: its HTTP connections went with it. */
const GONE = { lingerMs: 30 } as const;

function executed(peer: TestGateway, method: string): LedgerEntry[] {
  return peer.ledger.filter((entry) => entry.method === method && entry.executed);
}

function names(entries: readonly LedgerEntry[]): unknown[] {
  return entries.map((entry) => (entry.params as Record<string, unknown>)['name']);
}

/** One agent, four files, one hello, whatever it took. */
function assertOnce(peer: TestGateway): void {
  assert.equal(executed(peer, 'agents.create').length, 1);
  assert.deepEqual(names(executed(peer, 'agents.files.set')), FILES);
  assert.equal(executed(peer, 'POST /v1/chat/completions').length, 1);
}

describe('provisionAgent, again after a failure', () => {
  const broken: [string, Fault][] = [
    ['the first look', { name: 'reject-call', methods: ['agents.list'], times: 1, code: 'FORBIDDEN' }],
    ['the creation', { name: 'reject-call', methods: ['agents.create'], times: 1, code: 'FORBIDDEN' }],
    ['the creation, cut when it was done', { name: 'cut-call', methods: ['agents.create'], times: 1 }],
    [
      'the creation, cut before it was done',
      { name: 'cut-call', methods: ['agents.create'], times: 1, execute: false },
    ],
    ['the wait for the agent', { name: 'reject-call', methods: ['agents.files.list'], times: 1, code: 'FORBIDDEN' }],
    ['the hello, refused', { name: 'http-fault', kind: 'status', status: 503, body: goingDown(), times: 1 }],
  ];
  for (const [step, fault] of broken) {
    it(`completes what failed at ${step}, and does nothing twice`, async () => {
      await using peer = await gateway({ faults: [fault] });
      await using session = await attach(peer);
      await refusal(provisionAgent(session.client, TENANT, { ...ONE_BY_ONE, retry: 'never' }));
      await session.client.ready({ timeout: 5000 });
      const again = await provisionAgent(session.client, TENANT, ONE_BY_ONE);
      assertOnce(peer);
      assert.equal(again.agentId, 'tenant');
      assert.equal(again.hello?.status, 200);
    });
  }

  for (const [index, file] of FILES.entries()) {
    it(`completes what failed at ${file}: what was written is not written again`, async () => {
      await using peer = await gateway();
      await using session = await attach(peer);
      const onProgress = ({ step, state, file: begun }: ProvisionProgress): void => {
        if (step === 'file' && state === 'began' && begun === file) {
          peer.inject({ name: 'reject-call', methods: ['agents.files.set'], times: 1, code: 'FORBIDDEN' });
        }
      };
      const error = await refusal(provisionAgent(session.client, TENANT, { ...ONE_BY_ONE, onProgress }));
      assert.equal(error.method, 'agents.files.set');
      const again = await provisionAgent(session.client, TENANT, ONE_BY_ONE);
      assertOnce(peer);
      assert.deepEqual([again.created, again.hello?.status], [false, 200]);
      assert.deepEqual(
        again.files.map(({ state }) => state),
        FILES.map((_, at) => (at < index ? 'unchanged' : 'written')),
      );
    });
  }

  it('goes on where the gateway died, once it is back, in another process as well', async () => {
    for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
      for (const at of ['agent', ...FILES, 'hello']) {
        await using peer = await gateway({ emulate, timings: GONE });
        await using session = await attach(peer);
        let died: Promise<void> | undefined;
        const onProgress = ({ step, state, file }: ProvisionProgress): void => {
          if (state === 'began' && (file ?? step) === at) died = peer.kill();
        };
        const error = await refusal(provisionAgent(session.client, TENANT, { ...ONE_BY_ONE, onProgress }));
        assert.equal(error.reason, 'outage', `${emulate}, ${at}: ${error.message}`);
        await died;
        await peer.start();
        await using other = await attach(peer);
        const again = await provisionAgent(other.client, TENANT, ONE_BY_ONE);
        assertOnce(peer);
        assert.equal(again.created, at === 'agent', `${emulate}, ${at}`);
      }
    }
  });

  it('goes on where its signal ended it, at every step', async () => {
    for (const at of ['agent', ...FILES, 'hello']) {
      await using peer = await gateway();
      await using session = await attach(peer);
      const controller = new AbortController();
      const onProgress = ({ step, state, file }: ProvisionProgress): void => {
        if (state === 'began' && (file ?? step) === at) controller.abort();
      };
      const { signal } = controller;
      const error = await refusal(provisionAgent(session.client, TENANT, { ...ONE_BY_ONE, signal, onProgress }));
      assert.deepEqual([error.code, error.reason, error.outcome], ['HOLDFAST_ABORTED', 'local', 'not-sent']);
      await provisionAgent(session.client, TENANT, ONE_BY_ONE);
      assertOnce(peer);
    }
  });

  it('finds everything done, and does nothing', async () => {
    for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
      await using peer = await gateway({ emulate, timings: GONE });
      await using session = await attach(peer);
      const first = await provisionAgent(session.client, TENANT, ONE_BY_ONE);
      const told: string[] = [];
      const onProgress = ({ state }: ProvisionProgress): void => void told.push(state);
      const again = await provisionAgent(session.client, TENANT, { onProgress });
      assertOnce(peer);
      assert.deepEqual([again.created, again.hello], [false, { ...first.hello, earlier: true }]);
      assert.ok(again.files.every(({ state }) => state === 'unchanged'));
      assert.equal(told.filter((state) => state === 'skipped').length, 6);
    }
  });

  it('writes only the files that have other content by now', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await provisionAgent(session.client, TENANT, ONE_BY_ONE);
    const files = { ...TENANT.files, 'SOUL.md': 'a new soul' } as Record<string, string>;
    const again = await provisionAgent(session.client, { ...TENANT, files });
    assert.deepEqual(
      again.files.filter(({ state }) => state === 'written').map(({ name }) => name),
      ['SOUL.md'],
    );
  });

  it('takes over an agent that somebody has just created, although it is not listed yet', async () => {
    await using peer = await gateway({ timings: { settleMs: 250 } });
    await using crashed = await attach(peer);
    await createGatewayMethods(crashed.client).agents.create(
      { name: 'tenant', workspace: '/workspaces/tenant' },
      { usable: false },
    );
    await using session = await attach(peer);
    const made = await provisionAgent(session.client, TENANT, ONE_BY_ONE);
    assert.equal(made.created, false);
    assertOnce(peer);
  });

  it('does not repeat a hello of unknown outcome, and says so', async () => {
    await using peer = await gateway({ faults: [{ name: 'http-fault', kind: 'reset', execute: true, times: 1 }] });
    await using session = await attach(peer);
    const error = await refusal(provisionAgent(session.client, TENANT, ONE_BY_ONE));
    assert.deepEqual([error.method, error.outcome], ['POST /v1/chat/completions', 'unknown']);
    const again = await provisionAgent(session.client, TENANT, ONE_BY_ONE);
    assert.deepEqual(again.hello, { via: 'http', outcome: 'unknown', earlier: true });
    assert.equal(peer.ledger.filter(({ method }) => method.startsWith('POST ')).length, 1);
    const repeatable = { ...TENANT, hello: { message: 'Hello.', repeatable: true } };
    const third = await provisionAgent(session.client, repeatable, ONE_BY_ONE);
    assert.deepEqual([third.hello?.status, third.hello?.earlier], [200, undefined]);
  });

  it('asks the caller whether a hello was said, when only the caller can know', async () => {
    await using peer = await gateway();
    await using crashed = await attach(peer);
    await provisionAgent(crashed.client, TENANT, ONE_BY_ONE);
    await using session = await attach(peer);
    const confirm = async (): Promise<{ executed: true; result: unknown }> => ({ executed: true, result: undefined });
    const made = await provisionAgent(session.client, { ...TENANT, hello: { message: 'Hello.', confirm } });
    assert.deepEqual(made.hello, { via: 'http', outcome: 'executed', earlier: true });
    assertOnce(peer);
  });

  it('says hello to an agent that was deleted and made again', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await provisionAgent(session.client, TENANT);
    await session.client.call('agents.delete', { agentId: 'tenant' });
    const again = await provisionAgent(session.client, TENANT);
    assert.deepEqual([again.created, again.hello?.status, again.hello?.earlier], [true, 200, undefined]);
  });

  it('ends by its deadline and by its signal while it waits for its turn', async () => {
    await using peer = await gateway({ faults: [{ name: 'no-responses', methods: ['agents.create'] }] });
    await using session = await attach(peer);
    const controller = new AbortController();
    const first = refusal(provisionAgent(session.client, { name: 'first' }, { signal: controller.signal }));
    const late = await refusal(provisionAgent(session.client, { name: 'second' }, { deadline: 60 }));
    assert.deepEqual([late.code, late.reason, late.outcome], ['HOLDFAST_DEADLINE', 'timeout', 'not-sent']);
    const aborted = await refusal(
      provisionAgent(session.client, { name: 'third' }, { signal: AbortSignal.timeout(30) }),
    );
    assert.deepEqual([aborted.code, aborted.outcome], ['HOLDFAST_ABORTED', 'not-sent']);
    controller.abort();
    assert.equal((await first).outcome, 'unknown');
  });
});

function goingDown(): string {
  return JSON.stringify({ error: { type: 'service_unavailable', code: 'gateway_unavailable', message: 'going down' } });
}
