import assert from 'node:assert/strict';
import { type AgentRunOptions, runAgent } from '../../lib/api/agent-run.js';
import type { LedgerEntry, TestGateway } from '../../lib/testing/index.js';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

const ASK = { message: 'Do something.', agentId: 'main' };

function executed(peer: TestGateway, method: string): LedgerEntry[] {
  return peer.ledger.filter((entry) => entry.method === method && entry.executed);
}

function field(entry: LedgerEntry | undefined, key: string): unknown {
  return (entry?.params as Record<string, unknown> | undefined)?.[key];
}

/** What a gateway broadcasts while a run is under way. */
function progress(peer: TestGateway, runId: unknown): void {
  peer.send('agent', { runId, stream: 'assistant', data: { delta: '.' }, sessionKey: 'agent:main:main' });
}

/** A run that has begun, with its id. */
async function begun(peer: TestGateway): Promise<unknown> {
  await peer.until(() => executed(peer, 'agent.wait').length > 0);
  return field(executed(peer, 'agent')[0], 'idempotencyKey');
}

describe('agent.run', () => {
  it('sends the run under a key that is its id, and resolves when it has ended', async () => {
    await using peer = await gateway({ timings: { runMs: 150 } });
    await using session = await attach(peer);
    const { value: run, ms } = await timed(() => runAgent(session.client, ASK));
    assert.equal(run.status, 'ok');
    assert.equal(run.runId, field(executed(peer, 'agent')[0], 'idempotencyKey'));
    assert.ok(run.startedAt !== undefined && run.endedAt !== undefined && run.endedAt >= run.startedAt);
    assert.deepEqual([run.attempts.length, executed(peer, 'agent.wait').length], [1, 1]);
    assert.ok(ms < 500, `${ms} ms for a run of 150`);
  });

  it('takes the key of the caller, and tells the events of this run only', async () => {
    await using peer = await gateway({ timings: { runMs: 200 } });
    await using session = await attach(peer);
    const told: unknown[] = [];
    const running = runAgent(session.client, ASK, {
      idempotencyKey: 'mine',
      onProgress: ({ event }) => told.push(event),
    });
    assert.equal(await begun(peer), 'mine');
    progress(peer, 'mine');
    progress(peer, 'another');
    const run = await running;
    assert.deepEqual([run.runId, run.events], ['mine', told.length]);
    assert.deepEqual(told.slice(0, 1), ['agent']);
    // Ours, and the two with which the gateway ends a run; they may come after the answer to the wait.
    assert.ok(told.length >= 1 && told.length <= 3, told.join());
  });

  it('ends a run without progress with reason timeout, and aborts it at the gateway', async () => {
    await using peer = await gateway({ timings: { runMs: 60_000 } });
    await using session = await attach(peer);
    const { value: error, ms } = await timed(() => refusal(runAgent(session.client, ASK, { progressTimeout: 150 })));
    assert.deepEqual([error.reason, error.outcome, error.code], ['timeout', 'unknown', 'HOLDFAST_NO_PROGRESS']);
    assert.match(error.message, /no event of it for 150 ms; it was aborted at the gateway/);
    assert.ok(ms >= 145 && ms < 600, `${ms} ms`);
    const [abort] = executed(peer, 'chat.abort');
    assert.deepEqual(
      [field(abort, 'runId'), field(abort, 'sessionKey')],
      [field(executed(peer, 'agent')[0], 'idempotencyKey'), 'agent:main:main'],
    );
  });

  it('lets a run go on for as long as there is progress', async () => {
    await using peer = await gateway({ timings: { runMs: 700 } });
    await using session = await attach(peer);
    const running = runAgent(session.client, ASK, { progressTimeout: 250 });
    const runId = await begun(peer);
    const pulse = setInterval(() => progress(peer, runId), 50);
    const run = await running.finally(() => clearInterval(pulse));
    assert.equal(run.status, 'ok');
    assert.ok(run.events >= 5, `${run.events} events`);
    assert.equal(executed(peer, 'chat.abort').length, 0);
  });

  it('does not count the progress of other runs', async () => {
    await using peer = await gateway({ timings: { runMs: 60_000 } });
    await using session = await attach(peer);
    const running = refusal(runAgent(session.client, ASK, { progressTimeout: 200 }));
    await begun(peer);
    const pulse = setInterval(() => progress(peer, 'another'), 20);
    const error = await running.finally(() => clearInterval(pulse));
    assert.equal(error.code, 'HOLDFAST_NO_PROGRESS');
  });

  it('is ended by its deadline and by its signal, and the run is aborted', async () => {
    const ends: [() => AgentRunOptions, string, string][] = [
      [() => ({ deadline: 150 }), 'HOLDFAST_DEADLINE', 'timeout'],
      [() => ({ signal: AbortSignal.timeout(150) }), 'HOLDFAST_ABORTED', 'local'],
    ];
    for (const [options, code, reason] of ends) {
      await using peer = await gateway({ timings: { runMs: 60_000 } });
      await using session = await attach(peer);
      const { value: error, ms } = await timed(() => refusal(runAgent(session.client, ASK, options())));
      assert.deepEqual([error.code, error.reason, error.outcome], [code, reason, 'unknown']);
      assert.ok(ms < 400, `${ms} ms`);
      await peer.until(() => executed(peer, 'chat.abort').length === 1);
    }
  });

  it('is refused as the gateway refuses it, and nothing is waited for', async () => {
    await using peer = await gateway({ faults: [{ name: 'reject-call', methods: ['agent'], code: 'FORBIDDEN' }] });
    await using session = await attach(peer);
    const error = await refusal(runAgent(session.client, ASK, { progressTimeout: 5000 }));
    assert.deepEqual([error.outcome, error.gateway?.code], ['not-executed', 'FORBIDDEN']);
    assert.equal(executed(peer, 'agent.wait').length + executed(peer, 'chat.abort').length, 0);
    const local = await refusal(runAgent(session.client, ASK, { progressTimeout: 0 }));
    assert.deepEqual([local.reason, local.outcome], ['local', 'not-sent']);
    const aborted = await refusal(runAgent(session.client, ASK, { signal: AbortSignal.abort() }));
    assert.deepEqual([aborted.code, aborted.outcome], ['HOLDFAST_ABORTED', 'not-sent']);
  });

  it('joins its run again over a cut link, on the same gateway instance', async () => {
    await using peer = await gateway({ timings: { runMs: 400 } });
    await using session = await attach(peer);
    peer.inject({ name: 'cut-call', methods: ['agent'], times: 1 });
    const run = await runAgent(session.client, ASK, { retry: 'always', progressTimeout: 5000 });
    assert.equal(run.status, 'ok');
    assert.equal(executed(peer, 'agent').length, 1);
    assert.deepEqual(
      run.attempts.map(({ outcome }) => outcome),
      ['unknown', 'executed'],
    );
  });

  it('does not count the time without a link', async () => {
    await using peer = await gateway({ timings: { runMs: 60_000, portShutMs: 400 } });
    await using session = await attach(peer);
    const running = refusal(runAgent(session.client, ASK, { progressTimeout: 300 }));
    await begun(peer);
    const { value: error, ms } = await timed(async () => {
      await peer.restart();
      return await running;
    });
    // The new instance does not know the run: nothing comes of it, and that is noticed one period after the hello.
    assert.equal(error.code, 'HOLDFAST_NO_PROGRESS');
    assert.ok(ms >= 690, `${ms} ms`);
  });
});
