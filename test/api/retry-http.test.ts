import assert from 'node:assert/strict';
import { attach, gateway } from '../support/gateways.js';

function post(agent: string): RequestInit {
  const messages = [{ role: 'user', content: 'Hello.' }];
  return { method: 'POST', body: JSON.stringify({ model: `openclaw/${agent}`, messages }) };
}

describe('a request over HTTP in a restart', () => {
  it('Q01 says how it ended when it was cut: reads are sent again, a POST is not', async () => {
    await using peer = await gateway({ timings: { runMs: 60_000, lingerMs: 30 } });
    await using session = await attach(peer);
    const { client } = session;
    const posting = client.fetch('/v1/chat/completions', post('main')).then(
      () => assert.fail('it was answered'),
      (error: { reason?: string; outcome?: string }) => error,
    );
    await peer.until(() => peer.ledger.some(({ kind, executed }) => kind === 'http' && executed));
    await peer.restart();
    const error = await posting;
    assert.deepEqual([error.reason, error.outcome], ['gateway-restart', 'unknown']);
    assert.equal(peer.ledger.filter(({ kind }) => kind === 'http').length, 1);
    assert.equal((await client.fetch('/v1/models')).status, 200);
  });

  it('Q03 as recorded: four files and a POST leave right behind the ok of agents.create', async () => {
    await using peer = await gateway({ emulate: '2026.4.26', timings: { lingerMs: 50 } });
    await using session = await attach(peer);
    const { client } = session;
    const { agentId } = await client.call('agents.create', { name: 'tenant', workspace: '/workspaces/tenant' });
    const files = ['AGENTS.md', 'SOUL.md', 'IDENTITY.md', 'USER.md'].map((name) =>
      client.callDetailed('agents.files.set', { agentId, name, content: `${name} of tenant` }),
    );
    const posting = client.fetch('/v1/chat/completions', post(agentId));
    const written = await Promise.all(files);
    const response = await posting;
    // The gateway's own 500, which does not say why: marked, and not repeated.
    assert.equal(response.status, 500);
    const marks = ['holdfast-reason', 'holdfast-outcome', 'holdfast-attempts'].map((name) =>
      response.headers.get(name),
    );
    assert.deepEqual(marks, ['gateway-restart', 'unknown', '1']);
    assert.equal(peer.ledger.filter(({ kind }) => kind === 'http').length, 1);
    for (const { attempts, restarts } of written) {
      assert.deepEqual(
        attempts.map(({ outcome, reason }) => [outcome, reason]),
        [
          ['unknown', 'gateway-restart'],
          ['executed', undefined],
        ],
      );
      assert.equal(restarts.length, 1);
    }
    const retries = session.events.all.filter((event) => event.type === 'retry');
    assert.equal(retries.length, 4);
    assert.ok(retries.every(({ reason }) => reason === 'gateway-restart'));
  });
});
