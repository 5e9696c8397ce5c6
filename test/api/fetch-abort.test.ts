/** Q13, and the end of a client: what its caller ends is over at once, and nothing is sent afterwards. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { GatewayError } from '../../lib/index.js';
import { bounded, refusal, timed } from '../support/collect.js';
import { answers, drips, EVENT, failingHttp, neverAnswers, stallsAfter } from '../support/failing-http.js';
import { rig, until } from '../support/scripted-link.js';

const POST: RequestInit = { method: 'POST', body: '{}' };
const DRAINING = answers(
  503,
  { error: { type: 'service_unavailable', code: 'gateway_unavailable' } },
  { 'retry-after': '1' },
);

/** Aborts, and takes what the promise rejects with: promptly, in the name that users of fetch know. */
async function abortOf(promise: Promise<unknown>, abort: AbortController, reason?: unknown): Promise<GatewayError> {
  const { value, ms } = await timed(() => {
    abort.abort(reason);
    return refusal(promise);
  });
  assert.ok(ms < 50, `${ms} ms`);
  assert.deepEqual([value.reason, value.code], ['local', 'HOLDFAST_ABORTED']);
  assert.equal(value.cause, abort.signal.reason);
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  return value;
}

describe('aborting a fetch', () => {
  it('d: before the call, nothing is sent', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(server.httpUrl);
    for (const reason of [undefined, 'a text', null, new Error('mine')]) {
      const error = await refusal(fetch('/v1/models', { signal: AbortSignal.abort(reason) }));
      assert.deepEqual([error.reason, error.outcome], ['local', 'not-sent']);
      const other = await refusal(fetch('/v1/models', {}, { signal: AbortSignal.abort(reason) }));
      assert.equal(other.outcome, 'not-sent');
    }
    assert.deepEqual([server.dials, link.reads], [0, 0]);
  });

  it('has the name by which users of fetch know it', async () => {
    const { fetch } = rig('http://127.0.0.1:1');
    const aborted = await refusal(fetch('/', { signal: AbortSignal.abort() }));
    const expired = AbortSignal.abort(new DOMException('late', 'TimeoutError'));
    const late = await refusal(fetch('/', { signal: expired }));
    const odd = await refusal(fetch('/', { signal: AbortSignal.abort(new RangeError('odd')) }));
    assert.deepEqual([aborted.name, late.name, odd.name], ['AbortError', 'TimeoutError', 'GatewayError']);
  });

  it('a: while it is held, nothing is sent, then or later', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link, http } = rig(server.httpUrl);
    link.beginRestart();
    const abort = new AbortController();
    const held = fetch('/v1/chat/completions', { ...POST, signal: abort.signal });
    await until(() => link.waiters === 1);
    assert.equal((await abortOf(held, abort)).outcome, 'not-sent');
    assert.deepEqual([link.waiters, http.inFlight], [0, 0]);
    link.endRestart();
    await (await fetch('/v1/models')).text();
    assert.deepEqual(
      server.requests.map(({ path }) => path),
      ['/v1/models'],
    );
  });

  it('b: between two attempts, it is what the last attempt was, and no other follows', async () => {
    await using server = await failingHttp(DRAINING);
    const { fetch, link } = rig(server.httpUrl);
    const abort = new AbortController();
    const paused = fetch('/v1/chat/completions', POST, { signal: abort.signal });
    await until(() => link.retries.length === 1);
    const error = await abortOf(paused, abort, 'a text');
    assert.deepEqual([error.outcome, error.attempts.length, server.requests.length], ['not-executed', 1, 1]);
  });

  it('c: in flight it is unknown, and the server sees the connection go', async () => {
    await using server = await failingHttp(neverAnswers);
    const { fetch, account } = rig(server.httpUrl);
    for (const where of ['init', 'gateway', 'request'] as const) {
      const abort = new AbortController();
      const { signal } = abort;
      const count = server.requests.length + 1;
      const flying =
        where === 'request'
          ? fetch(new Request(`${server.httpUrl}/v1/x`, { ...POST, signal }))
          : fetch('/v1/x', where === 'init' ? { ...POST, signal } : POST, where === 'gateway' ? { signal } : {});
      const seen = await bounded(server.request(count), 'the request');
      const { value, ms } = await timed(() => {
        abort.abort();
        return refusal(flying);
      });
      assert.ok(ms < 50, `${ms} ms`);
      assert.deepEqual([value.code, value.outcome], ['HOLDFAST_ABORTED', 'unknown']);
      await bounded(seen.closed, 'the end of the connection');
    }
    assert.deepEqual([server.requests.length, account.unknown], [3, 3]);
  });

  it('while its credential is read, or just then, nothing is sent', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(server.httpUrl);
    const abort = new AbortController();
    link.credential = async () => {
      abort.abort();
      return 'token';
    };
    const error = await refusal(fetch('/v1/x', { ...POST, signal: abort.signal }));
    assert.deepEqual([error.code, error.outcome, server.dials], ['HOLDFAST_ABORTED', 'not-sent', 0]);
  });

  it('in the body: its reader is told, and the server sees the connection go', async () => {
    await using server = await failingHttp(stallsAfter(2));
    const { fetch, http } = rig(server.httpUrl);
    const abort = new AbortController();
    const response = await fetch('/v1/chat/completions', { ...POST, signal: abort.signal });
    assert.equal(getEventListeners(abort.signal, 'abort').length, 1);
    const reader = response.body?.getReader();
    assert.ok(reader !== undefined);
    for (let length = 0; length < EVENT.length * 2; ) length += (await reader.read()).value?.byteLength ?? 0;
    const error = await abortOf(reader.read(), abort);
    assert.deepEqual([error.name, error.outcome, http.inFlight], ['AbortError', 'unknown', 0]);
    await bounded((await server.request(1)).closed, 'the end of the connection');
  });

  it('after the end changes nothing, and no listener is left when all is read, cancelled, or has no body', async () => {
    await using server = await failingHttp(answers(), stallsAfter(1), answers(204, ''), answers());
    const { fetch, link } = rig(server.httpUrl);
    const abort = new AbortController();
    const left = (): number => getEventListeners(abort.signal, 'abort').length;
    const read = await fetch('/v1/a', { signal: abort.signal });
    assert.deepEqual(await read.json(), { ok: true });
    assert.equal(left(), 0);
    const cancelled = await fetch('/v1/b', { signal: abort.signal });
    await cancelled.body?.cancel();
    assert.equal(left(), 0);
    await bounded((await server.request(2)).closed, 'the end of the connection');
    assert.equal((await fetch('/v1/c', { signal: abort.signal })).status, 204);
    assert.equal(left(), 0);
    link.credentials = [new Error('no')];
    await refusal(fetch('/v1/d', { signal: abort.signal }));
    assert.equal(left(), 0);
    abort.abort();
  });

  it('shares one listener among all that use a signal, so that Node warns of no leak', async () => {
    const { fetch, link } = rig('http://127.0.0.1:1');
    link.beginRestart();
    const abort = new AbortController();
    const held = Array.from({ length: 30 }, () => fetch('/v1/x', { ...POST, signal: abort.signal }));
    assert.equal(getEventListeners(abort.signal, 'abort').length, 1);
    abort.abort();
    for (const each of held) assert.equal((await refusal(each)).outcome, 'not-sent');
  });
});

describe('an answer that nobody reads', () => {
  it('gives its connection back when it is collected, as with fetch itself', async () => {
    await using server = await failingHttp(drips(5));
    const { fetch, http } = rig(server.httpUrl);
    // In a function of its own, so that nothing here holds the answer.
    const status = async (): Promise<number> => (await fetch('/v1/models')).status;
    assert.equal(await status(), 200);
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    assert.ok(typeof collect === 'function');
    let gone = false;
    void (await server.request(1)).closed.then(() => {
      gone = true;
    });
    const collected = (async () => {
      while (!gone) {
        collect();
        await new Promise((resolve) => {
          setTimeout(resolve, 5);
        });
      }
    })();
    await bounded(collected, 'the end of the connection');
    assert.equal(http.inFlight, 0);
  });
});

describe('the end of a client', () => {
  it('refuses what comes after it, and what waits gets neither a link nor another attempt', async () => {
    await using server = await failingHttp(DRAINING);
    const { fetch, link, http } = rig(server.httpUrl);
    const paused = fetch('/v1/paused', POST);
    await until(() => link.retries.length === 1);
    link.beginRestart();
    const held = fetch('/v1/held', POST);
    await until(() => link.waiters === 1);
    const { ms } = await timed(() => http.drain(5000));
    assert.ok(ms < 50, `${ms} ms`);
    const [first, second, third] = [await refusal(paused), await refusal(held), await refusal(fetch('/v1/late'))];
    assert.deepEqual([first.code, first.outcome, first.attempts.length], ['HOLDFAST_CLOSED', 'not-executed', 1]);
    assert.deepEqual([second.code, second.outcome], ['HOLDFAST_CLOSED', 'not-sent']);
    assert.deepEqual([third.code, third.outcome], ['HOLDFAST_CLOSED', 'not-sent']);
    assert.equal(server.requests.length, 1);
  });

  it('lets what is under way finish, its body included', async () => {
    let finish = (): void => {};
    await using server = await failingHttp((response) => {
      response.writeHead(200);
      response.write('one ');
      finish = () => response.end('two');
    });
    const { fetch, http } = rig(server.httpUrl);
    const response = await fetch('/v1/stream');
    const text = response.text();
    await until(() => http.inFlight === 1);
    const drained = http.drain(5000);
    finish();
    await bounded(drained, 'the drain');
    assert.equal(await text, 'one two');
  });

  it('aborts what is not over by its grace, and says of each what became of it; unread answers are let go', async () => {
    await using server = await failingHttp(neverAnswers, stallsAfter(1), stallsAfter(1));
    const { fetch, http } = rig(server.httpUrl);
    const flying = fetch('/v1/flying', POST);
    await server.request(1);
    const body = (await fetch('/v1/body', POST)).text();
    const unread = await fetch('/v1/unread', POST);
    const { ms } = await timed(() => http.drain(40));
    assert.ok(ms >= 35 && ms < 300, `${ms} ms`);
    for (const each of [flying, body, unread.text()]) {
      const error = await refusal(each);
      assert.deepEqual([error.code, error.outcome, error.reason], ['HOLDFAST_CLOSED', 'unknown', 'local']);
    }
    for (const seen of server.requests) await bounded(seen.closed, 'the end of the connection');
  });

  it('does not wait for answers that nobody has begun to read', async () => {
    await using server = await failingHttp(stallsAfter(1));
    const { fetch, http } = rig(server.httpUrl);
    await fetch('/v1/unread');
    const { ms } = await timed(() => http.drain(5000));
    assert.ok(ms < 50, `${ms} ms`);
    await bounded((await server.request(1)).closed, 'the end of the connection');
  });
});
