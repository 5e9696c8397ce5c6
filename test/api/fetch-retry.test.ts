/** Statuses, headers and hints, mocked: what an answer means does not depend on how its bytes travel. */
import assert from 'node:assert/strict';
import nock from 'nock';
import { refusal, timed } from '../support/collect.js';
import { hurried, type Rig, rig } from '../support/scripted-link.js';

const BASE = 'http://gateway.test';
const PATH = '/v1/chat/completions';
const POST: RequestInit = { method: 'POST', body: '{"n":1}', headers: { 'content-type': 'application/json' } };

const error = (type: string, code?: string): object => ({
  error: { message: 'no', type, ...(code !== undefined && { code }) },
});
const UNAVAILABLE = error('service_unavailable', 'gateway_unavailable');
const UNAUTHORIZED = error('unauthorized');
const INTERNAL = error('api_error');

interface Reply {
  readonly status: number;
  readonly body?: nock.Body;
  readonly headers?: Record<string, string>;
}

interface Arrival {
  readonly at: number;
  readonly authorization: string;
  readonly body: nock.Body;
}

/** Answers in turn, each once; what arrived, and when on the clock of the rig. */
function replies(to: Rig, method: 'get' | 'put' | 'post', ...turns: readonly Reply[]): Arrival[] {
  const arrivals: Arrival[] = [];
  for (const { status, body = '', headers = {} } of turns) {
    const scope = nock(BASE);
    const interceptor = method === 'post' ? scope.post(PATH) : method === 'put' ? scope.put(PATH) : scope.get(PATH);
    interceptor.reply(function reply(_uri, sent) {
      const authorization = String(this.req.headers['authorization']);
      arrivals.push({ at: to.runtime.now(), authorization, body: sent });
      return [status, body, headers];
    });
  }
  return arrivals;
}

function marksOf(response: Response): (string | null)[] {
  return ['reason', 'outcome', 'attempts'].map((name) => response.headers.get(`holdfast-${name}`));
}

// It changes what all of Node sends: not for the files that share this process.
nock.restore();

describe('answers of HTTP', () => {
  before(() => {
    nock.activate();
    nock.disableNetConnect();
  });

  afterEach(() => {
    assert.deepEqual(nock.pendingMocks(), []);
    nock.cleanAll();
  });

  after(() => {
    nock.enableNetConnect();
    nock.restore();
  });

  it('are handed over unchanged when they are ordinary: success, refusal, a failure of the model provider', async () => {
    const own = rig(BASE);
    const ordinary: Reply[] = [
      { status: 200, body: { id: 1 } },
      { status: 400, body: error('invalid_request_error') },
      { status: 401, body: error('authentication_error') },
      { status: 404, body: 'Not Found' },
      { status: 429, body: error('rate_limit_error'), headers: { 'retry-after': '1' } },
      { status: 500, body: INTERNAL },
      { status: 502, body: error('api_error') },
    ];
    for (const reply of ordinary) {
      const arrivals = replies(own, 'post', {
        headers: { 'content-type': 'application/json', 'x-own': 'a' },
        ...reply,
      });
      const response = await own.fetch(PATH, POST);
      assert.deepEqual([response.status, arrivals.length], [reply.status, 1]);
      assert.equal(await response.text(), typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
      assert.deepEqual([...marksOf(response), response.headers.get('x-should-retry')], [null, null, null, null]);
    }
    assert.deepEqual([own.link.retries.length, own.account.retried, own.account.unknown], [0, 0, 0]);
  });

  it('Q16 503 five times with a hint, then 200: executed once, and never asked sooner than the hint', async () => {
    const own = rig(BASE, hurried(25));
    const refused: Reply = { status: 503, body: UNAVAILABLE, headers: { 'retry-after': '1' } };
    const arrivals = replies(own, 'post', refused, refused, refused, refused, refused, {
      status: 200,
      body: { id: 1 },
    });
    const response = await own.fetch(PATH, POST);
    assert.deepEqual(await response.json(), { id: 1 });
    assert.deepEqual(
      arrivals.map(({ body }) => body),
      Array.from({ length: 6 }, () => ({ n: 1 })),
    );
    const gaps = arrivals.slice(1).map(({ at }, index) => at - (arrivals[index]?.at ?? Number.NaN));
    for (const gap of gaps) assert.ok(gap >= 1000, `${gap} ms`);
    assert.ok(new Set(own.link.retries.map(({ delay }) => delay)).size > 1, 'jitter on top');
    for (const { reason, outcome, delay } of own.link.retries) {
      assert.deepEqual([reason, outcome], ['gateway-draining', 'not-executed']);
      assert.ok(delay >= 1000 && delay <= 1250, `${delay} ms`);
    }
    assert.deepEqual([own.link.drains, own.link.serves, own.account.retried], [5, 1, 5]);
    assert.deepEqual(marksOf(response), [null, null, null]);
  });

  it('Q16b a plugin route of a gateway that starts is waited for, and is no drain', async () => {
    const own = rig(BASE, hurried(25));
    replies(
      own,
      'post',
      { status: 503, body: 'Plugin runtime is starting', headers: { 'retry-after': '1' } },
      { status: 200 },
    );
    assert.equal((await own.fetch(PATH, POST)).status, 200);
    assert.deepEqual([own.link.retries[0]?.reason, own.link.drains], ['gateway-starting', 0]);
  });

  it('Q14 a hint beyond the deadline ends it at once, and says until when', async () => {
    for (const [status, body] of [
      [503, UNAVAILABLE],
      [429, error('rate_limited')],
    ] as const) {
      const own = rig(BASE);
      replies(own, 'post', { status, body, headers: { 'retry-after': '3600' } });
      const { value, ms } = await timed(() => own.fetch(PATH, POST, { deadline: 60_000 }));
      assert.ok(ms < 250, `${ms} ms`);
      assert.equal(value.status, status);
      assert.deepEqual(marksOf(value), [status === 503 ? 'gateway-draining' : 'rate-limited', 'not-executed', '1']);
      const until = Date.parse(value.headers.get('holdfast-retry-at') ?? '') - Date.now();
      assert.ok(until > 3_590_000 && until <= 3_600_000, `${until} ms`);
      assert.deepEqual(await value.json(), body);
    }
  });

  it('Q14 understands a date, takes a past one for now, and garbage for no hint', async () => {
    const own = rig(BASE, hurried(25));
    const date = new Date(Math.ceil((own.runtime.wall() + 2000) / 1000) * 1000).toUTCString();
    const hints = [date, 'Wed, 21 Oct 2015 07:28:00 GMT', 'soon', '-5', '1.5', ''];
    const arrivals = replies(
      own,
      'post',
      ...hints.map((hint): Reply => ({ status: 503, body: UNAVAILABLE, headers: { 'retry-after': hint } })),
      { status: 200 },
    );
    assert.equal((await own.fetch(PATH, POST)).status, 200);
    const [dated = Number.NaN, ...others] = own.link.retries.map(({ delay }) => delay);
    assert.ok(dated >= 1000 && dated <= 3750, `${dated} ms`);
    assert.ok((arrivals[1]?.at ?? Number.NaN) + own.runtime.wall() - own.runtime.now() >= Date.parse(date) - 1);
    for (const delay of others) assert.ok(delay <= 2000, `${delay} ms`);
  });

  it('429 of the gateway is waited for, whoever asks; without a hint not for less than a lockout', async () => {
    const own = rig(BASE, hurried(200));
    const arrivals = replies(
      own,
      'post',
      { status: 429, body: error('rate_limited'), headers: { 'retry-after': '2' } },
      { status: 429, body: 'slow down' },
      { status: 200 },
    );
    assert.equal((await own.fetch(PATH, POST)).status, 200);
    const [first = Number.NaN, second = Number.NaN] = own.link.retries.map(({ delay }) => delay);
    assert.ok(first >= 2000 && first <= 2500 && second >= 15_000, `${first} ms, ${second} ms`);
    assert.deepEqual([arrivals.length, own.link.retries[0]?.reason], [3, 'rate-limited']);
  });

  it('Q18b 502, 504, 408 are unknown: never sent again on their own word', async () => {
    for (const status of [502, 504, 408]) {
      for (const method of ['post', 'get'] as const) {
        const own = rig(BASE);
        replies(own, method, { status, body: 'proxy' });
        const response = await own.fetch(PATH, method === 'post' ? POST : {});
        assert.deepEqual([response.status, await response.text()], [status, 'proxy']);
        assert.deepEqual(marksOf(response), [status === 408 ? 'timeout' : 'outage', 'unknown', '1']);
        assert.equal(own.account.unknown, 1);
      }
    }
  });

  it('Q18a 500 in a restart: returned and marked for a POST, sent again after it when it may be', async () => {
    const own = rig(BASE);
    const once = replies(own, 'post', {
      status: 500,
      body: INTERNAL,
      headers: { 'content-type': 'application/json', 'x-own': 'a' },
    });
    own.link.knowledge = { restarting: true, draining: false, stopped: false };
    const response = await own.fetch(PATH, POST);
    assert.deepEqual([response.status, response.headers.get('x-own'), once.length], [500, 'a', 1]);
    assert.deepEqual(marksOf(response), ['gateway-restart', 'unknown', '1']);
    assert.equal(response.headers.get('x-should-retry'), 'false');
    assert.deepEqual(await response.json(), INTERNAL);
    for (const [method, init, options] of [
      ['post', POST, { safety: 'repeatable' }],
      ['put', { ...POST, method: 'PUT' }, {}],
      ['get', {}, {}],
    ] as const) {
      const again = rig(BASE);
      replies(again, method, { status: 500, body: INTERNAL }, { status: 200 });
      const answer = again.fetch(PATH, init, {
        ...options,
        onAttempt: ({ number }) => number === 1 && again.link.endRestart(),
      });
      again.link.knowledge = { restarting: true, draining: false, stopped: false };
      assert.equal((await answer).status, 200);
      assert.deepEqual(
        again.link.retries.map(({ reason, outcome }) => [reason, outcome]),
        [['gateway-restart', 'unknown']],
      );
    }
  });

  it('425 is sent again at once, in its own pace', async () => {
    const own = rig(BASE);
    const arrivals = replies(own, 'post', { status: 425 }, { status: 200 });
    assert.equal((await own.fetch(PATH, POST)).status, 200);
    assert.equal(arrivals.length, 2);
  });

  it('what may have been executed once stays unknown, whatever the last attempt says', async () => {
    const own = rig(BASE);
    own.link.knowledge = { restarting: true, draining: false, stopped: false };
    replies(
      own,
      'put',
      { status: 500, body: INTERNAL },
      { status: 503, body: UNAVAILABLE, headers: { 'retry-after': '3600' } },
    );
    const response = await own.fetch(PATH, { method: 'PUT', body: 'x' });
    assert.deepEqual([response.status, ...marksOf(response)], [503, 'gateway-restart', 'unknown', '2']);
  });

  it('Q18e 200 with a web page is no answer, unless one was asked for', async () => {
    const page: Reply = {
      status: 200,
      body: '<!doctype html>',
      headers: { 'content-type': 'text/html; charset=utf-8' },
    };
    const own = rig(BASE);
    replies(own, 'get', page);
    const failed = await refusal(own.fetch(PATH));
    assert.deepEqual([failed.reason, failed.outcome, failed.code], ['protocol', 'unknown', 'HTTP_200']);
    assert.match(failed.remedy, /endpoint is enabled/);
    replies(own, 'get', page);
    assert.equal(await (await own.fetch(PATH, { headers: { accept: 'text/html' } })).text(), '<!doctype html>');
  });

  it('keeps the whole body of a long error that it looked into', async () => {
    const own = rig(BASE);
    const long = `${'x'.repeat(200_000)}end`;
    replies(own, 'post', { status: 502, body: long });
    assert.equal(await (await own.fetch(PATH, POST)).text(), long);
  });

  it('maxAttempts and retry: never are obeyed, for whatever reason', async () => {
    for (const [options, attempts] of [
      [{ maxAttempts: 2 }, '2'],
      [{ retry: 'never' }, '1'],
    ] as const) {
      const own = rig(BASE);
      const refused: Reply = { status: 503, body: UNAVAILABLE };
      replies(own, 'post', ...Array.from({ length: Number(attempts) }, () => refused));
      const response = await own.fetch(PATH, POST, options);
      assert.deepEqual(marksOf(response), ['gateway-draining', 'not-executed', attempts]);
    }
  });

  it('spends the budget that all calls of the client share, and stops when it is spent', async () => {
    const own = rig(BASE);
    const call = {
      method: 'a.call',
      safety: 'read',
      retry: 'restart',
      maxAttempts: null,
      attempts: 1,
      deadlineAt: own.runtime.now() + 60_000,
      canConfirm: false,
      durableKey: false,
    } as const;
    const refused = {
      reason: 'gateway-draining',
      outcome: 'not-executed',
      code: 'x',
      message: 'x',
      remedy: 'x',
      permanent: false,
    } as const;
    replies(own, 'post', { status: 503, body: UNAVAILABLE }, { status: 200 });
    assert.equal((await own.fetch(PATH, POST)).status, 200);
    while (own.account.decide(call, refused, own.link.link()).do === 'retry');
    replies(own, 'post', { status: 503, body: UNAVAILABLE });
    assert.deepEqual(marksOf(await own.fetch(PATH, POST)), ['gateway-draining', 'not-executed', '1']);
  });
});

describe('the credential over HTTP', () => {
  before(() => nock.activate());
  afterEach(() => {
    assert.deepEqual(nock.pendingMocks(), []);
    nock.cleanAll();
  });
  after(() => nock.restore());

  it('is read afresh for each attempt, and stands in place of what the caller wrote', async () => {
    const own = rig(BASE);
    own.link.credentials = ['first', 'second'];
    const arrivals = replies(own, 'post', { status: 503, body: UNAVAILABLE }, { status: 200 });
    await own.fetch(PATH, { ...POST, headers: { Authorization: 'Bearer placeholder' } });
    assert.deepEqual(
      arrivals.map(({ authorization }) => authorization),
      ['Bearer first', 'Bearer second'],
    );
    own.link.credentials = [undefined];
    const none = replies(own, 'post', { status: 200 });
    await own.fetch(PATH, { ...POST, headers: { Authorization: 'Bearer placeholder' } });
    assert.equal(none[0]?.authorization, 'Bearer placeholder');
  });

  it('A12b 401: tried once more when another credential is in place, and only then', async () => {
    const own = rig(BASE);
    own.link.credentials = ['old', 'new'];
    const arrivals = replies(own, 'post', { status: 401, body: UNAUTHORIZED }, { status: 200 });
    assert.equal((await own.fetch(PATH, POST)).status, 200);
    assert.deepEqual(
      arrivals.map(({ authorization }) => authorization),
      ['Bearer old', 'Bearer new'],
    );
    assert.deepEqual(own.link.retries, [
      { call: `POST ${PATH}`, attempt: 1, reason: 'unauthorized', outcome: 'not-executed', delay: 0 },
    ]);
    const same = replies(own, 'post', { status: 401, body: UNAUTHORIZED });
    const response = await own.fetch(PATH, POST);
    assert.deepEqual(
      [response.status, ...marksOf(response), same.length],
      [401, 'unauthorized', 'not-executed', '1', 1],
    );
    assert.deepEqual(await response.json(), UNAUTHORIZED);
  });

  it('A12b 401: once more is once, not for never, not beyond maxAttempts, not when the provider fails', async () => {
    const cases = [
      { credentials: ['a', 'b', 'c', 'd'], options: {}, sent: 2 },
      { credentials: ['a', 'b'], options: { retry: 'never' }, sent: 1 },
      { credentials: ['a', 'b'], options: { maxAttempts: 1 }, sent: 1 },
      { credentials: ['a', new Error('no')], options: {}, sent: 1 },
    ] as const;
    for (const { credentials, options, sent } of cases) {
      const own = rig(BASE);
      own.link.credentials = [...credentials];
      replies(own, 'post', ...Array.from({ length: sent }, (): Reply => ({ status: 401, body: UNAUTHORIZED })));
      const response = await own.fetch(PATH, POST, options);
      assert.deepEqual([response.status, response.headers.get('holdfast-attempts')], [401, String(sent)]);
    }
  });

  it('X05 that HTTP cannot carry is refused before anything is sent, and not repeated', async () => {
    const own = rig(BASE);
    own.link.credentials = ['tok-日本-en'];
    const failed = await refusal(own.fetch(PATH, POST));
    assert.deepEqual([failed.reason, failed.outcome, failed.code], ['local', 'not-sent', 'HOLDFAST_CREDENTIAL']);
    assert.ok(!failed.message.includes('日本'));
    assert.match(failed.message, /POST \/v1\/chat\/completions/);
  });
});
