/** `client.fetch` on gateways that restart, drain, stop and die: what the link and HTTP tell each other. */
import assert from 'node:assert/strict';
import { type ClientOptions, isGatewayError } from '../../lib/index.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { bounded, refusal, timed } from '../support/collect.js';
import { attach, begin, gateway, idle, nobody, type Session } from '../support/gateways.js';
import { until } from '../support/scripted-link.js';

const PATH = '/v1/chat/completions';

function chat(session: Session, mark: number | string, gatewayOptions = {}): Promise<Response> {
  const body = JSON.stringify({ model: 'openclaw', messages: [{ role: 'user', content: String(mark) }], mark });
  return session.client.fetch(PATH, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
    gateway: gatewayOptions,
  });
}

/** The marks of the completions that ran, in their order. */
function executed(peer: TestGateway): unknown[] {
  return peer.ledger
    .filter(({ method, executed: ran }) => method === `POST ${PATH}` && ran)
    .map(({ params }) => (typeof params === 'object' && params !== null && 'mark' in params ? params.mark : undefined));
}

async function restarting(session: Session): Promise<void> {
  await session.events.until(
    (event) => event.type === 'restart' && event.phase === 'began',
    'the begin of the restart',
  );
}

describe('client.fetch', () => {
  it('reaches the gateway with the credential of the client, by path and by address', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const models = await session.client.fetch('/v1/models');
    assert.equal(models.status, 200);
    assert.equal(models.url, `${peer.httpUrl}/v1/models`);
    const completion = await chat(session, 1);
    const body: unknown = await completion.json();
    assert.ok(typeof body === 'object' && body !== null && 'choices' in body);
    assert.equal((await session.client.fetch(`${peer.httpUrl}/readyz`)).status, 200);
    const foreign = await refusal(session.client.fetch('http://127.0.0.1:9/'));
    assert.deepEqual([foreign.reason, foreign.code], ['local', 'HOLDFAST_ORIGIN_FOREIGN']);
    assert.equal(session.client.health().calls.inFlight, 0);
  });

  it('works before start(), and waits for the first hello after it', async () => {
    await using peer = await gateway();
    await using session = idle(peer);
    assert.equal((await session.client.fetch('/v1/models')).status, 200);
    peer.inject({ name: 'no-hello', times: 1 });
    await using other = begin(peer, { reconnect: { connectTimeout: 80, initialDelay: 10, maxDelay: 10 } });
    const { value } = await timed(() =>
      other.client.fetch('/v1/models', { gateway: { retry: 'never' } }).catch((error: unknown) => error),
    );
    // The first failed dial says what is wrong, and whoever waited for it is told: HTTP itself was never asked.
    assert.ok(isGatewayError(value));
    assert.deepEqual([value.reason, value.outcome], ['unresponsive', 'not-sent']);
  });

  it('takes its defaults from the view, and refuses what HTTP cannot do', async () => {
    await using peer = await gateway({ faults: [{ name: 'http-fault', kind: 'no-headers' }] });
    await using session = await attach(peer);
    const view = session.client.with({ deadline: 60 });
    const late = await refusal(view.fetch('/v1/models'));
    assert.deepEqual([late.reason, late.code], ['timeout', 'HOLDFAST_DEADLINE']);
    const options: object = { safety: 'sometimes' };
    const wrong = await refusal(view.fetch('/v1/models', { gateway: options }));
    assert.deepEqual([wrong.reason, wrong.outcome], ['local', 'not-sent']);
  });

  for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
    it(`Q15 sends a POST each 100 ms from the shutdown until ready once each (${emulate})`, async () => {
      await using peer = await gateway({ emulate, timings: { portShutMs: 350, startingMs: 50 } });
      await using session = await attach(peer);
      const restarted = peer.restart();
      await restarting(session);
      const sent: Promise<Response>[] = [];
      let ready = false;
      void restarted.then(() => {
        ready = true;
      });
      for (let mark = 0; !ready; mark += 1) {
        sent.push(chat(session, mark));
        await Promise.race([restarted, new Promise((resolve) => setTimeout(resolve, 100))]);
      }
      const answers = await bounded(Promise.all(sent), 'the answers');
      for (const answer of answers)
        assert.deepEqual([answer.status, answer.headers.get('holdfast-reason')], [200, null]);
      assert.ok(sent.length >= 3, `${sent.length} requests`);
      assert.deepEqual(
        executed(peer)
          .map(Number)
          .sort((a, b) => a - b),
        sent.map((_, mark) => mark),
      );
      assert.equal(
        peer.ledger.filter(({ kind, method }) => kind === 'http' && method.startsWith('POST')).length,
        sent.length,
      );
      assert.equal(session.events.all.filter(({ type }) => type === 'retry').length, 0, 'held, not repeated');
    });
  }

  it('Q15 rejects what will not wait so long: nothing was sent, and why', async () => {
    await using peer = await gateway({ timings: { portShutMs: 250 } });
    await using session = await attach(peer);
    const restarted = peer.restart();
    await restarting(session);
    const [late, never] = await Promise.all([
      refusal(chat(session, 1, { deadline: 100 })),
      refusal(chat(session, 2, { retry: 'never' })),
    ]);
    assert.deepEqual([late.code, late.reason, late.outcome], ['HOLDFAST_DEADLINE', 'gateway-restart', 'not-sent']);
    assert.match(late.message, /after 0\.1 s of gateway-restart/);
    assert.equal(late.restart?.id, session.client.health().restart?.id);
    assert.deepEqual([never.reason, never.outcome, never.attempts.length], ['gateway-restart', 'not-sent', 1]);
    await restarted;
    await session.client.ready({ timeout: 5000 });
    await chat(session, 3);
    assert.deepEqual(executed(peer), [3]);
  });

  it('a refused connection and the link agree: a restart without a word to the link is waited out', async () => {
    await using peer = await gateway({ timings: { portShutMs: 150, drainMs: 0, shutdownToCloseMs: 0 } });
    await using session = await attach(peer);
    // The link is held back, so that HTTP meets the closed port first.
    const restarted = peer.restart();
    await until(() => !peer.listening);
    const answer = await bounded(chat(session, 1), 'the answer');
    assert.equal(answer.status, 200);
    assert.deepEqual(executed(peer), [1]);
    await restarted;
  });

  it('rejects at once when the gateway is down and does not restart', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    await chat(session, 0);
    await peer.kill();
    await session.journal.until((line) => line.event === 'state' && line.prevState === 'online', 'the loss');
    const times: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      const { value, ms } = await timed(() => refusal(chat(session, round)));
      assert.deepEqual([value.reason, value.outcome, value.code], ['outage', 'not-sent', 'ECONNREFUSED']);
      times.push(ms);
    }
    // The least of them: the load of the machine only adds.
    assert.ok(Math.min(...times) < 5, `${times.join()} ms`);
    const stopped = await gateway();
    await using other = await attach(stopped);
    await stopped.stop();
    await other.journal.failed(1);
    assert.equal((await refusal(chat(other, 1))).reason, 'gateway-stopped');
    await stopped.close();
  });

  it('fails what waits when the restart outlives its window', async () => {
    await using peer = await gateway({ timings: { portShutMs: 2000 } });
    const options: Partial<ClientOptions> = { reconnect: { initialDelay: 20, maxDelay: 50, restart: { window: 150 } } };
    await using session = await attach(peer, options);
    void peer.restart();
    await restarting(session);
    const error = await refusal(chat(session, 1));
    assert.deepEqual([error.reason, error.outcome, error.code], ['outage', 'not-sent', 'HOLDFAST_NOT_CONNECTED']);
  });

  it('tries HTTP when only the WebSocket is refused (A12a)', async () => {
    await using peer = await gateway({ faults: [{ name: 'reject-connect', preset: 'pairing-required' }] });
    await using session = begin(peer);
    await session.journal.entered('blocked');
    assert.equal((await chat(session, 1)).status, 200);
    assert.equal(session.client.health().reason, 'pairing-required');
  });

  it('tells the link of a drain, and waits for its end', async () => {
    await using peer = await gateway();
    await using session = await attach(peer, { call: { deadline: 1500 } });
    const open = peer.drain();
    const refused = await chat(session, 1, { maxAttempts: 1 });
    assert.deepEqual(
      [refused.status, refused.headers.get('holdfast-reason'), refused.headers.get('holdfast-outcome')],
      [503, 'gateway-draining', 'not-executed'],
    );
    const { state, ok, reason } = session.client.health();
    assert.deepEqual([state, ok, reason], ['online', false, 'gateway-draining']);
    open();
    assert.equal((await chat(session, 2)).status, 200);
    assert.deepEqual(executed(peer), [2]);
  });

  it('Q18a 2026.4.26 answers 500 while it restarts: returned once, marked; repeated when it may be', async () => {
    await using peer = await gateway({ emulate: '2026.4.26', timings: { runMs: 250, portShutMs: 150, lingerMs: 80 } });
    await using session = await attach(peer);
    const once = chat(session, 'once');
    const again = chat(session, 'again', { safety: 'repeatable' });
    await peer.until(() => executed(peer).length === 2);
    await peer.restart();
    const returned = await once;
    assert.deepEqual(
      [returned.status, ...['reason', 'outcome', 'attempts'].map((name) => returned.headers.get(`holdfast-${name}`))],
      [500, 'gateway-restart', 'unknown', '1'],
    );
    assert.deepEqual(await returned.json(), { error: { message: 'internal error', type: 'api_error' } });
    assert.equal((await again).status, 200);
    assert.deepEqual(executed(peer), ['once', 'again', 'again']);
    const retry = session.events.all.find((event) => event.type === 'retry');
    assert.deepEqual(
      [retry?.type === 'retry' && retry.call, retry?.type === 'retry' && retry.reason],
      [`POST ${PATH}`, 'gateway-restart'],
    );
    assert.equal(session.client.health().calls.unknown, 1);
  });

  it('hands over the 401 of a model provider unchanged, unmarked, once', async () => {
    await using peer = await gateway({ faults: [{ name: 'no-provider' }] });
    await using session = await attach(peer);
    const response = await chat(session, 1);
    assert.deepEqual(
      [response.status, response.headers.get('holdfast-reason'), response.headers.get('x-should-retry')],
      [401, null, null],
    );
    assert.match(await response.text(), /authentication_error/);
    assert.deepEqual(executed(peer), [1]);
  });

  it('A12b reads the credential afresh after a 401, and leaves the link alone', async () => {
    await using peer = await gateway({ token: 'right' });
    let asked = 0;
    const token = (): string => {
      asked += 1;
      return asked === 2 ? 'wrong' : 'right';
    };
    await using session = await attach(peer, { token });
    assert.equal((await chat(session, 1)).status, 200);
    assert.equal(session.client.health().state, 'online');
    assert.deepEqual([peer.dials, executed(peer)], [3, [1]]);
    const { retried } = session.client.health().calls;
    assert.equal(retried, 1);
  });

  it('Q18, Q19 tells every way in which an answer can fail', async () => {
    await using peer = await gateway();
    await using session = await attach(peer);
    const cases = [
      [{ kind: 'cut-body' }, 'unknown', 'outage'],
      [{ kind: 'truncated-json' }, 'unknown', 'protocol'],
      [{ kind: 'stalled-stream' }, 'unknown', 'timeout'],
      [{ kind: 'slow-body', intervalMs: 200 }, 'unknown', 'timeout'],
      [{ kind: 'no-headers' }, 'unknown', 'timeout'],
      [{ kind: 'html' }, 'unknown', 'protocol'],
      [{ kind: 'reset' }, 'unknown', 'outage'],
      [{ kind: 'close' }, 'unknown', 'outage'],
    ] as const;
    const failures = cases.map(async ([fault, outcome, reason]) => {
      peer.inject({ name: 'http-fault', times: 1, path: `/v1/${fault.kind}`, ...fault });
      const { client } = session;
      const error = await refusal(
        client
          .fetch(`/v1/${fault.kind}`, { method: 'POST', body: '{}', gateway: { timeout: 100 } })
          .then((response) => response.json()),
      );
      assert.deepEqual([fault.kind, error.outcome, error.reason], [fault.kind, outcome, reason]);
    });
    await Promise.all(failures);
    assert.equal(peer.ledger.filter(({ method }) => method.startsWith('POST')).length, cases.length);
    assert.equal(session.client.health().calls.unknown, cases.length);
  });

  it('close lets a request finish within its grace, and ends what does not', async () => {
    await using peer = await gateway({ timings: { runMs: 100 } });
    await using session = await attach(peer);
    const finishing = chat(session, 1);
    await peer.until(() => executed(peer).length === 1);
    assert.equal(session.client.health().calls.inFlight, 1);
    await session.client.close({ grace: 3000 });
    assert.equal((await finishing).status, 200);
    await using other = await attach(peer);
    peer.inject({ name: 'http-fault', kind: 'no-headers' });
    const hanging = refusal(chat(other, 2));
    await until(() => peer.ledger.some(({ method, executed: ran }) => method === `POST ${PATH}` && !ran));
    const { ms } = await timed(() => other.client.close({ grace: 0 }));
    assert.ok(ms < 300, `${ms} ms`);
    assert.deepEqual([(await hanging).code, (await hanging).outcome], ['HOLDFAST_CLOSED', 'unknown']);
    assert.equal((await refusal(other.client.fetch('/v1/models'))).code, 'HOLDFAST_CLOSED');
  });

  it('needs no link at all to say that nobody is there', async () => {
    await using session = idle(await nobody());
    const error = await refusal(session.client.fetch('/v1/models'));
    assert.deepEqual([error.reason, error.outcome], ['outage', 'not-sent']);
  });

  it('lets a herd that waited out whole: each once', async () => {
    await using peer = await gateway({ timings: { portShutMs: 100, runMs: 0 } });
    await using session = await attach(peer);
    void peer.restart();
    await restarting(session);
    const marks = Array.from({ length: 40 }, (_, mark) => mark);
    const answers = await bounded(Promise.all(marks.map((mark) => chat(session, mark))), 'the answers');
    assert.ok(answers.every(({ status }) => status === 200));
    assert.deepEqual(
      executed(peer)
        .map(Number)
        .sort((a, b) => a - b),
      marks,
    );
  });
});
