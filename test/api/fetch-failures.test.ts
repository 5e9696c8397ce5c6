/** HTTP that breaks as it really breaks: every failure here is a real one on a loopback socket. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { isGatewayError } from '../../lib/index.js';
import { bounded, refusal, timed } from '../support/collect.js';
import {
  answers,
  type Behaviour,
  closesOnAccept,
  cutsBody,
  cutsStream,
  drips,
  EVENT,
  failingHttp,
  hangsUp,
  neverAnswers,
  resets,
  stallsAfter,
  truncates,
} from '../support/failing-http.js';
import { hurried, rig, TOKEN, until } from '../support/scripted-link.js';

const POST: RequestInit = { method: 'POST', body: '{"n":1}' };

async function refused(): Promise<string> {
  const server = await failingHttp();
  await server[Symbol.asyncDispose]();
  return server.httpUrl;
}

/** Breaks while the gateway restarts: what the link learns a moment later. */
function within(restart: () => void, behaviour: Behaviour): Behaviour {
  return (response, seen) => {
    restart();
    behaviour(response, seen);
  };
}

describe('HTTP to a gateway that is down', () => {
  it('Q15 rejects at once when the link knows it, and within the look for its verdict when it does not', async () => {
    const { fetch, link } = rig(await refused());
    const unaware = await timed(() => refusal(fetch('/v1/models')));
    assert.deepEqual(
      [unaware.value.reason, unaware.value.outcome, unaware.value.code],
      ['outage', 'not-sent', 'ECONNREFUSED'],
    );
    assert.ok(unaware.ms < 400, `${unaware.ms} ms`);
    link.set('shut', 'outage');
    const times: number[] = [];
    for (let round = 0; round < 15; round += 1) {
      const { value, ms } = await timed(() => refusal(fetch('/v1/chat/completions', POST)));
      assert.deepEqual([value.reason, value.outcome, value.attempts.length], ['outage', 'not-sent', 1]);
      times.push(ms);
    }
    // The least of them: the load of the machine only adds.
    assert.ok(Math.min(...times) < 5, `${times.join()} ms`);
    assert.equal(link.waiters, 0);
  });

  it('takes the word of the link that comes a moment later: a restart is waited out, and sent once', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(await refused());
    const answer = fetch('/v1/chat/completions', POST);
    await until(() => link.waiters > 0);
    link.beginRestart();
    link.address = server.httpUrl;
    await until(() => link.retries.length > 0);
    assert.deepEqual(link.retries, [
      { call: 'POST /v1/chat/completions', attempt: 1, reason: 'gateway-restart', outcome: 'not-sent', delay: 0 },
    ]);
    assert.equal(server.requests.length, 0);
    link.endRestart();
    assert.equal((await answer).status, 200);
    assert.deepEqual(
      server.requests.map(({ body }) => body),
      ['{"n":1}'],
    );
  });

  it('Q16 waits out a drain, and the restart that follows it, and is sent once', async () => {
    const own = rig('', hurried(20));
    const unavailable = { error: { type: 'service_unavailable', code: 'gateway_unavailable' } };
    await using server = await failingHttp(answers(503, unavailable, { 'retry-after': '1' }), answers());
    own.link.address = server.httpUrl;
    const closed = await refused();
    const seen: (string | undefined)[][] = [];
    const answer = own.fetch('/v1/chat/completions', POST, {
      onAttempt: ({ reason, outcome, restartId }) => {
        seen.push([reason, outcome, restartId]);
        if (seen.length === 1) own.link.address = closed;
      },
    });
    await until(() => own.link.waiters === 1);
    own.link.beginRestart();
    await until(() => own.link.retries.length === 2);
    own.link.address = server.httpUrl;
    own.link.endRestart();
    assert.equal((await answer).status, 200);
    assert.deepEqual(seen, [
      ['gateway-draining', 'not-executed', undefined],
      ['gateway-restart', 'not-sent', 'restart-1'],
      [undefined, 'executed', undefined],
    ]);
    const [first] = own.link.retries;
    assert.ok(first !== undefined && first.delay >= 1000 && first.delay <= 1250, `${first?.delay} ms`);
    assert.equal(server.requests.length, 2);
  });

  it('waits out an outage when asked to, and tells each attempt', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(await refused());
    link.set('shut', 'outage');
    const attempts: string[] = [];
    const onAttempt = ({ number, outcome, reason }: { number: number; outcome: string; reason?: string }): unknown =>
      attempts.push(`${number} ${outcome} ${reason}`);
    const answer = fetch('/v1/chat/completions', POST, { retry: 'always', onAttempt });
    await until(() => link.waiters > 0);
    link.address = server.httpUrl;
    link.set('open');
    assert.equal((await answer).status, 200);
    assert.deepEqual(attempts, ['1 not-sent outage', '2 executed undefined']);
  });
});

describe('HTTP that breaks before its headers', () => {
  const shapes: Readonly<Record<string, Behaviour>> = { 'a reset': resets, 'a hang-up': hangsUp };

  for (const [name, breaks] of Object.entries(shapes)) {
    it(`Q17 ${name} is unknown: a POST is not sent again, in a restart neither, and says so`, async () => {
      await using server = await failingHttp(breaks);
      const { fetch, link, account } = rig(server.httpUrl);
      const plain = await refusal(fetch('/v1/chat/completions', POST));
      assert.deepEqual([plain.reason, plain.outcome], ['outage', 'unknown']);
      await using again = await failingHttp(within(() => link.beginRestart(), breaks));
      link.address = again.httpUrl;
      const restarted = await refusal(fetch('/v1/chat/completions', POST));
      assert.deepEqual(
        [restarted.reason, restarted.outcome, restarted.restart?.id],
        ['gateway-restart', 'unknown', 'restart-1'],
      );
      assert.equal(restarted.attempts[0]?.restartId, 'restart-1');
      assert.deepEqual(
        [server.requests.length, again.requests.length, link.retries.length, account.unknown],
        [1, 1, 0, 2],
      );
    });

    it(`Q17 ${name} in a restart: a GET, and a POST that is declared repeatable, are sent again after it`, async () => {
      for (const [init, options] of [
        [{}, {}],
        [POST, { safety: 'repeatable' }],
      ] as const) {
        const { fetch, link } = rig('');
        await using server = await failingHttp(
          within(() => link.beginRestart(), breaks),
          answers(),
        );
        link.address = server.httpUrl;
        const answer = fetch('/v1/models', init, options);
        await until(() => link.retries.length > 0);
        link.endRestart();
        assert.equal((await answer).status, 200);
        assert.equal(server.requests.length, 2);
      }
    });
  }

  it('Q17a a connection that is closed on accept proves nothing, whatever was written', async () => {
    await using server = await closesOnAccept();
    const { fetch } = rig(server.httpUrl);
    const error = await refusal(fetch('/v1/chat/completions', POST));
    assert.deepEqual([error.reason, error.outcome, server.dials], ['outage', 'unknown', 1]);
  });

  it('Q17c a pooled connection that the restart kills proves nothing either', async () => {
    const { fetch, link } = rig('');
    await using server = await failingHttp(
      answers(),
      within(() => link.beginRestart(), hangsUp),
      answers(),
    );
    link.address = server.httpUrl;
    await (await fetch('/v1/models')).json();
    // The pool takes the connection back in its own time: a turn of the loop after the answer has ended.
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const error = await refusal(fetch('/v1/chat/completions', POST));
    assert.deepEqual([error.reason, error.outcome], ['gateway-restart', 'unknown']);
    assert.deepEqual(
      server.requests.map(({ conn }) => conn),
      [1, 1],
      'the second went out on the pooled connection',
    );
  });

  it('Q19a headers that never come end at the timeout, and the server sees the connection go', async () => {
    await using server = await failingHttp(neverAnswers);
    const { fetch } = rig(server.httpUrl);
    const { value, ms } = await timed(() => refusal(fetch('/v1/chat/completions', POST, { timeout: 60 })));
    assert.deepEqual([value.reason, value.outcome, value.code], ['timeout', 'unknown', 'HOLDFAST_TIMEOUT']);
    assert.ok(ms >= 55 && ms < 1000, `${ms} ms`);
    await bounded((await server.request(1)).closed, 'the end of the connection');
    const whole = await refusal(fetch('/v1/chat/completions', POST, { deadline: 60 }));
    assert.deepEqual([whole.reason, whole.code], ['timeout', 'HOLDFAST_DEADLINE']);
    assert.equal(server.requests.length, 2);
  });

  it('a provider that does not answer ends at the timeout too: nothing was sent', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(server.httpUrl);
    link.credential = () => new Promise(() => {});
    const error = await refusal(fetch('/v1/models', {}, { timeout: 40 }));
    assert.deepEqual([error.reason, error.outcome], ['timeout', 'not-sent']);
    link.base = () => new Promise(() => {});
    const lost = await refusal(fetch('/v1/models', {}, { deadline: 40 }));
    assert.deepEqual([lost.code, lost.outcome], ['HOLDFAST_DEADLINE', 'not-sent']);
    assert.equal(server.dials, 0);
  });
});

describe('HTTP that breaks in its body', () => {
  it('Q18c a cut is an error for the reader, never an end, and never a silent repeat', async () => {
    await using server = await failingHttp(cutsBody);
    const { fetch, account, http } = rig(server.httpUrl);
    const reads = (['json', 'text', 'arrayBuffer'] as const).map(async (read) => {
      const response = await fetch('/v1/models');
      assert.equal(response.status, 200);
      const error = await refusal(response[read]());
      assert.deepEqual([error.reason, error.outcome, error.code], ['outage', 'unknown', 'HOLDFAST_BODY_CUT']);
      assert.deepEqual(
        error.attempts.map(({ outcome, code }) => [outcome, code]),
        [['unknown', 'HOLDFAST_BODY_CUT']],
      );
    });
    await Promise.all(reads);
    assert.deepEqual([server.requests.length, account.unknown, http.inFlight], [3, 3, 0]);
  });

  it('Q18c a body without a length that is cut is no whole one either, whatever the caller says of the connection', async () => {
    await using server = await failingHttp(cutsStream);
    const { fetch } = rig(server.httpUrl);
    for (const headers of [{}, { connection: 'close' }]) {
      const error = await refusal((await fetch('/v1/chat/completions', { ...POST, headers })).text());
      assert.deepEqual([error.outcome, error.code], ['unknown', 'HOLDFAST_BODY_CUT']);
    }
  });

  it('Q18c a cut in a restart says so', async () => {
    const { fetch, link } = rig('');
    await using server = await failingHttp(within(() => link.beginRestart(), cutsBody));
    link.address = server.httpUrl;
    const error = await refusal((await fetch('/v1/models')).text());
    assert.deepEqual([error.reason, error.outcome, error.restart?.id], ['gateway-restart', 'unknown', 'restart-1']);
  });

  it('Q18d half a JSON text is no answer, in a clone neither; as text it is what it is', async () => {
    await using server = await failingHttp(truncates);
    const { fetch } = rig(server.httpUrl);
    const response = await fetch('/v1/models');
    const clone = response.clone();
    for (const each of [response, clone]) {
      const error = await refusal(each.json());
      assert.deepEqual([error.reason, error.outcome, error.code], ['protocol', 'unknown', 'HOLDFAST_BODY_TRUNCATED']);
      assert.ok(error.cause instanceof SyntaxError);
    }
    assert.equal(await (await fetch('/v1/models')).text(), '{"half":"of i');
  });

  it('Q19b a stream that stalls after three events is aborted and says so', async () => {
    await using server = await failingHttp(stallsAfter(3));
    const { fetch } = rig(server.httpUrl);
    const response = await fetch('/v1/chat/completions', POST, { timeout: 60 });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    assert.ok(reader !== undefined);
    let read = '';
    while (read.length < EVENT.length * 3) read += (await reader.read()).value ?? '';
    assert.equal(read, EVENT.repeat(3));
    const { value, ms } = await timed(() => refusal(reader.read()));
    assert.deepEqual([value.reason, value.outcome, value.code], ['timeout', 'unknown', 'HOLDFAST_BODY_STALLED']);
    assert.match(value.message, /nothing more of the answer came for 60 ms/);
    assert.ok(ms < 400, `${ms} ms`);
    await bounded((await server.request(1)).closed, 'the end of the connection');
  });

  it('Q19c one byte at a time passes the idle limit, and ends by the deadline', async () => {
    await using server = await failingHttp(drips(150), drips(20));
    const { fetch } = rig(server.httpUrl);
    const slow = await refusal((await fetch('/v1/models', {}, { timeout: 80, deadline: 5000 })).text());
    assert.deepEqual([slow.code, slow.reason], ['HOLDFAST_BODY_STALLED', 'timeout']);
    const { value, ms } = await timed(async () =>
      refusal((await fetch('/v1/models', {}, { timeout: 2000, deadline: 150 })).text()),
    );
    assert.deepEqual([value.code, value.reason, value.outcome], ['HOLDFAST_DEADLINE', 'timeout', 'unknown']);
    assert.ok(ms >= 145 && ms < 500, `${ms} ms`);
    for (const seen of server.requests) await bounded(seen.closed, 'the end of the connection');
  });

  it('an error answer that is cut while it is judged is unknown', async () => {
    const cut: Behaviour = (response) => {
      response.writeHead(503, { 'content-length': '100' });
      response.write('{', () => response.socket?.destroy());
    };
    await using server = await failingHttp(cut);
    const { fetch } = rig(server.httpUrl);
    const error = await refusal(fetch('/v1/chat/completions', POST));
    assert.deepEqual([error.outcome, error.code], ['unknown', 'UND_ERR_SOCKET']);
    assert.match(error.message, /after the response had begun/);
    assert.equal(server.requests.length, 1);
  });
});

describe('the errors of HTTP', () => {
  it('say what, why and what to do, and never the token, the query or the body', async () => {
    const errors: unknown[] = [];
    const { fetch, link } = rig('');
    await using server = await failingHttp(resets, cutsBody, truncates, neverAnswers);
    link.address = server.httpUrl;
    link.set('shut', 'outage');
    const secret = { method: 'POST', body: 'body-secret', headers: { 'x-key': 'header-secret' } };
    const ask = (): Promise<Response> => fetch('/v1/x?key=query-secret', secret, { timeout: 50 });
    errors.push(await refusal(ask()));
    errors.push(await refusal((await ask()).text()));
    errors.push(await refusal((await ask()).json()));
    errors.push(await refusal(ask()));
    link.beginRestart();
    errors.push(await refusal(fetch('/v1/x?key=query-secret', secret, { deadline: 20 })));
    for (const error of errors) {
      assert.ok(isGatewayError(error));
      assert.ok(error.message.startsWith('POST /v1/x: '), error.message);
      assert.ok(error.remedy.length > 0);
      const told = inspect(error, { depth: 8, showHidden: true });
      for (const word of [TOKEN, 'body-secret', 'header-secret', 'query-secret'])
        assert.ok(!told.includes(word), `${word} in ${told}`);
    }
  });
});
