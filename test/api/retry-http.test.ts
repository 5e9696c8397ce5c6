import assert from 'node:assert/strict';
import { attach, gateway } from '../support/gateways.js';

function post(agent: string): RequestInit {
  const messages = [{ role: 'user', content: 'Hello.' }];
  return { method: 'POST', body: JSON.stringify({ model: `openclaw/${agent}`, messages }) };
}

describe('a request over HTTP after a restart', () => {
  it('Q17c is never sent on a connection of the instance that went', async () => {
    // 2026.4.26 answers 500 on what it accepted before, after its port was opened again by its successor.
    await using peer = await gateway({ emulate: '2026.4.26', timings: { portShutMs: 20, lingerMs: 2000 } });
    await using session = await attach(peer);
    for (let round = 0; round < 5; round += 1) {
      const { status } = await session.client.fetch('/v1/chat/completions', post('main'));
      assert.equal(status, 200, `round ${round}`);
      await peer.restart();
      await peer.until(() => peer.hellos === round + 2);
      await session.client.ready({ timeout: 5000 });
    }
    const conns = peer.ledger.filter(({ kind }) => kind === 'http').map(({ conn }) => conn);
    assert.equal(new Set(conns).size, 5);
  });

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
});
