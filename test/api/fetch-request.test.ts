/** What users of `fetch` pass, and what they get: as they know it, within one origin. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { HttpJob } from '../../lib/api/http-job.js';
import { HttpLine } from '../../lib/api/http-line.js';
import { templateOf } from '../../lib/api/http-request.js';
import type { Safety } from '../../lib/index.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import { refusal } from '../support/collect.js';
import { answers, type Behaviour, failingHttp, redirects } from '../support/failing-http.js';
import { type Rig, rig, ScriptedLink, TOKEN, until } from '../support/scripted-link.js';

const DRAINING = answers(503, { error: { type: 'service_unavailable', code: 'gateway_unavailable' } });
const POST: RequestInit = { method: 'POST', body: 'text' };

type Body = Exclude<RequestInit['body'], undefined>;

/** Refused locally: nothing is dialled, no credential is read, and no value is repeated. */
async function local(own: Rig, ask: () => Promise<unknown>, code: string): Promise<void> {
  const { reads } = own.link;
  const error = await refusal(ask());
  assert.deepEqual([error.reason, error.outcome, error.code], ['local', 'not-sent', code]);
  assert.ok(error.remedy.length > 0);
  assert.ok(!error.message.includes('secret'), error.message);
  assert.equal(own.link.reads, reads);
}

describe('the address of a fetch', () => {
  it('is a path of the gateway, or its full address, as text, URL or Request', async () => {
    await using server = await failingHttp(answers());
    const { fetch } = rig(server.httpUrl);
    for (const input of [
      '/v1/a?b=c',
      `${server.httpUrl}/v1/a?b=c`,
      new URL('/v1/a?b=c', server.httpUrl),
      new Request(`${server.httpUrl}/v1/a?b=c#d`),
    ]) {
      const response = await fetch(input);
      assert.equal(response.url, `${server.httpUrl}/v1/a?b=c`);
      assert.deepEqual(await response.json(), { ok: true });
    }
    await fetch('v1/../v2/x y');
    assert.equal(server.requests.at(-1)?.path, '/v2/x%20y');
    for (const seen of server.requests) assert.equal(seen.headers.authorization, `Bearer ${TOKEN}`);
  });

  it('of another origin is refused before the credential is even read', async () => {
    await using server = await failingHttp(answers());
    await using other = await failingHttp(answers());
    const own = rig(server.httpUrl);
    const port = new URL(server.httpUrl).port;
    const foreign = [
      `${other.httpUrl}/v1/x?key=secret`,
      `//localhost:${port}/v1`,
      `https://127.0.0.1:${port}/`,
      'data:text/plain,secret',
      'ftp://127.0.0.1/',
      'blob:secret',
    ];
    for (const input of foreign) await local(own, () => own.fetch(input), 'HOLDFAST_ORIGIN_FOREIGN');
    own.link.beginRestart();
    await local(own, () => own.fetch(other.httpUrl), 'HOLDFAST_ORIGIN_FOREIGN');
    assert.deepEqual([server.dials, other.dials], [0, 0]);
  });

  it('that is none, or that carries a password, is refused', async () => {
    const own = rig('http://127.0.0.1:1');
    for (const input of ['http://', 'http://[', 'http://user:secret@127.0.0.1:1/', 'http://secret@127.0.0.1:1/'])
      await local(own, () => own.fetch(input), 'HOLDFAST_URL');
  });

  it('follows a gateway that has moved while the request waited', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig('http://127.0.0.1:1');
    link.beginRestart();
    const held = fetch('/v1/x', POST);
    await until(() => link.waiters === 1);
    link.address = server.httpUrl;
    link.endRestart();
    assert.equal((await held).status, 200);
  });
});

describe('bad input of a fetch', () => {
  it('X05 line breaks and characters that HTTP does not know, in headers', async () => {
    const own = rig('http://127.0.0.1:1');
    for (const value of ['secret\r\nx-injected: 1', 'secret\nx', 'secret\u0000', 'secret-日本'])
      await local(own, () => own.fetch('/', { headers: { 'x-key': value } }), 'HOLDFAST_HEADERS');
    await local(own, () => own.fetch('/', { headers: { 'bad name': 'x' } }), 'HOLDFAST_HEADERS');
  });

  it('what fetch itself refuses: a body on GET, odd methods, modes, signals', async () => {
    const own = rig('http://127.0.0.1:1');
    const wrong: RequestInit[] = [
      { body: 'secret' },
      { method: 'B AD' },
      { method: 'TRACE' },
      { mode: 'navigate' },
      { method: 'HEAD', body: new ReadableStream() },
    ];
    for (const init of wrong) await local(own, () => own.fetch('/', init), 'HOLDFAST_REQUEST');
    const odd: object = { signal: { aborted: false } };
    await local(own, () => own.fetch('/', odd), 'HOLDFAST_SIGNAL');
    const redirect: object = { redirect: 'sideways' };
    await local(own, () => own.fetch('/', redirect), 'HOLDFAST_REQUEST');
  });

  it('a body that has been read, or is being read', async () => {
    const own = rig('http://127.0.0.1:1');
    const locked = new ReadableStream();
    locked.getReader();
    const spent = new Response('x').body;
    await spent?.cancel();
    const used = new Request('http://127.0.0.1:1/', POST);
    await used.text();
    for (const body of [locked, spent])
      await local(own, () => own.fetch('/', { method: 'POST', body }), 'HOLDFAST_BODY');
    await local(own, () => own.fetch(used), 'HOLDFAST_BODY');
    const failing = new Request('http://127.0.0.1:1/', {
      method: 'POST',
      duplex: 'half',
      body: new ReadableStream({ start: (controller) => controller.error(new Error('secret')) }),
    });
    await local(own, () => own.fetch(failing), 'HOLDFAST_BODY');
  });

  it('options that HTTP does not know', async () => {
    const own = rig('http://127.0.0.1:1');
    const safety: Safety | string = 'maybe';
    for (const options of [
      { safety },
      { deadline: 0 },
      { deadline: -1 },
      { timeout: Number.NaN },
      { maxAttempts: 0 },
      { retry: 'often' },
      { idempotencyKey: 'k' },
      { origin: { channel: 'x', to: 'y' } },
    ]) {
      const wrong: object = options;
      await local(own, () => own.fetch('/', POST, wrong), 'HOLDFAST_OPTIONS');
    }
  });
});

describe('requests that wait for the link', () => {
  it('go out in growing batches, in the order in which they were made, whenever they began to wait', async () => {
    const link = new ScriptedLink('http://127.0.0.1:1');
    const line = new HttpLine(link, systemRuntime);
    link.beginRestart();
    const out: { number: number; at: number }[] = [];
    const numbers = Array.from({ length: 31 }, (_, index) => (index * 7) % 31);
    const admitted = numbers.map(async (number) => {
      const job = new HttpJob(number, templateOf('/v1/x', {}), {}, systemRuntime);
      assert.equal(await line.admit(job), null);
      out.push({ number, at: performance.now() });
    });
    await until(() => link.waiters === 31);
    // A gate that opens and shuts again lets nobody slip who had not had its turn.
    link.endRestart();
    link.beginRestart();
    await until(() => link.waiters > 0);
    const opened = performance.now();
    link.endRestart();
    await Promise.all(admitted);
    const batches = out.map(({ number }) => Math.floor(Math.log2(number + 1)));
    assert.deepEqual(
      batches,
      [...batches].sort((a, b) => a - b),
    );
    for (const [index, batch] of batches.entries()) {
      const after = (out[index]?.at ?? Number.NaN) - opened;
      assert.ok(after >= batch * 25 - 1, `batch ${batch} after ${after} ms`);
    }
  });

  it('are bounded in bytes: one too many is refused at once, and makes room for none', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(server.httpUrl);
    link.beginRestart();
    const body = 'x'.repeat(40 * 1024 * 1024);
    const abort = new AbortController();
    const held = refusal(fetch('/v1/x', { method: 'POST', body, signal: abort.signal }));
    await until(() => link.waiters === 1);
    const full = await refusal(fetch('/v1/x', { method: 'POST', body }));
    assert.deepEqual([full.reason, full.outcome, full.code], ['local', 'not-sent', 'HOLDFAST_QUEUE_FULL']);
    abort.abort();
    await held;
    const other = fetch('/v1/x', { method: 'POST', body });
    await until(() => link.waiters === 1);
    link.endRestart();
    assert.equal((await other).status, 200);
    assert.equal(server.requests.length, 1);
  });
});

describe('the body of a fetch', () => {
  const form = new FormData();
  form.append('field', 'value');
  form.append('file', new Blob(['content'], { type: 'text/plain' }), 'name.txt');
  const bodies: Readonly<Record<string, { body: () => Body; type: RegExp | undefined; sent: RegExp }>> = {
    string: { body: () => 'text', type: /^text\/plain/, sent: /^text$/ },
    URLSearchParams: {
      body: () => new URLSearchParams({ a: 'b c' }),
      type: /^application\/x-www-form-urlencoded/,
      sent: /^a=b\+c$/,
    },
    Blob: { body: () => new Blob(['blob'], { type: 'x/y' }), type: /^x\/y$/, sent: /^blob$/ },
    FormData: {
      body: () => form,
      type: /^multipart\/form-data; boundary=/,
      sent: /name="field"\s+value[\s\S]+filename="name.txt"[\s\S]+content/,
    },
    ArrayBuffer: { body: () => new TextEncoder().encode('buffer').buffer, type: undefined, sent: /^buffer$/ },
    view: { body: () => new TextEncoder().encode('xviewx').subarray(1, 5), type: undefined, sent: /^view$/ },
  };

  for (const [name, { body, type, sent }] of Object.entries(bodies)) {
    it(`${name} is sent again as it was, with its type`, async () => {
      await using server = await failingHttp(DRAINING, DRAINING, answers());
      const { fetch } = rig(server.httpUrl);
      assert.equal((await fetch('/v1/x', { method: 'POST', body: body() })).status, 200);
      assert.equal(server.requests.length, 3);
      for (const seen of server.requests) {
        assert.match(seen.body, sent);
        if (type === undefined) assert.equal(seen.headers['content-type'], undefined);
        else assert.match(seen.headers['content-type'] ?? '', type);
      }
    });
  }

  it('is what it was at the call, whatever becomes of it later', async () => {
    await using server = await failingHttp(answers());
    const { fetch, link } = rig(server.httpUrl);
    link.beginRestart();
    const bytes = new TextEncoder().encode('before');
    const query = new URLSearchParams({ is: 'before' });
    const fields = new FormData();
    fields.append('is', 'before');
    const held = [bytes, bytes.buffer, query, fields].map((body) => fetch('/v1/x', { method: 'POST', body }));
    bytes.fill(120);
    query.set('is', 'after');
    fields.set('is', 'after');
    await until(() => link.waiters === 4);
    link.endRestart();
    await Promise.all(held);
    assert.deepEqual(
      server.requests.map(({ body }) => [body.includes('before'), body.includes('after')]),
      Array.from({ length: 4 }, () => [true, false]),
    );
  });

  it('of a Request is kept, so that it can be sent again; init goes before it', async () => {
    await using server = await failingHttp(DRAINING, answers(), answers());
    const { fetch } = rig(server.httpUrl);
    const request = new Request(`${server.httpUrl}/v1/x`, {
      method: 'PUT',
      body: '{"a":1}',
      headers: { 'content-type': 'application/json', 'x-own': 'a' },
    });
    assert.equal((await fetch(request)).status, 200);
    assert.equal(request.bodyUsed, true);
    for (const seen of server.requests)
      assert.deepEqual(
        [seen.method, seen.body, seen.headers['content-type'], seen.headers['x-own']],
        ['PUT', '{"a":1}', 'application/json', 'a'],
      );
    await fetch(new Request(`${server.httpUrl}/v1/x`, POST), {
      method: 'patch',
      body: 'other',
      headers: { 'x-other': 'b' },
    });
    const { method, body, headers } = server.requests[2] ?? {};
    assert.deepEqual([method, body, headers?.['x-other']], ['PATCH', 'other', 'b']);
  });

  const chunks = ['one ', 'two'];
  const streams: Readonly<Record<string, () => Body>> = {
    'a ReadableStream': () => new Blob(chunks).stream(),
    'an async iterable': async function* () {
      for (const chunk of chunks) yield Buffer.from(chunk);
    } as unknown as () => Body,
    'a stream of Node': () => Readable.from(chunks.map((chunk) => Buffer.from(chunk))) as unknown as Body,
  };

  for (const [name, make] of Object.entries(streams)) {
    it(`${name} waits for the link, is sent once, and never again: the answer is handed over`, async () => {
      await using server = await failingHttp(DRAINING);
      const { fetch, link } = rig(server.httpUrl);
      link.beginRestart();
      const held = fetch('/v1/x', { method: 'POST', body: make() });
      await until(() => link.waiters === 1);
      link.endRestart();
      const response = await held;
      assert.deepEqual([response.status, response.headers.get('holdfast-outcome')], [503, 'not-executed']);
      assert.deepEqual(
        server.requests.map(({ body }) => body),
        ['one two'],
      );
    });
  }

  it('a stream is not sent again when the connection failed either, and the error says so', async () => {
    const gone = await failingHttp();
    await gone[Symbol.asyncDispose]();
    const { fetch, link } = rig(gone.httpUrl);
    const body = new Blob(chunks).stream();
    const failed = refusal(fetch('/v1/x', { method: 'POST', body }, { retry: 'always' }));
    await until(() => link.waiters === 1);
    link.beginRestart();
    const error = await failed;
    assert.deepEqual([error.reason, error.outcome], ['gateway-restart', 'not-sent']);
    assert.match(error.message, /its body was a stream, which cannot be sent again/);
  });

  it('a stream that fails is a failure of this side', async () => {
    await using server = await failingHttp(answers());
    const { fetch } = rig(server.httpUrl);
    const mine = new Error('mine');
    const body = new ReadableStream({
      pull() {
        throw mine;
      },
    });
    const error = await refusal(fetch('/v1/x', { method: 'PUT', body }));
    assert.deepEqual([error.reason, error.outcome, error.attempts.length], ['local', 'unknown', 1]);
  });
});

describe('redirects', () => {
  const cases: readonly (readonly [number, string, string, string])[] = [
    [301, 'POST', 'GET', ''],
    [302, 'POST', 'GET', ''],
    [303, 'POST', 'GET', ''],
    [303, 'PUT', 'GET', ''],
    [303, 'HEAD', 'HEAD', ''],
    [301, 'PUT', 'PUT', 'text'],
    [307, 'POST', 'POST', 'text'],
    [308, 'POST', 'POST', 'text'],
    [308, 'GET', 'GET', ''],
  ];

  for (const [status, method, then, body] of cases) {
    it(`${status} after ${method} goes on as ${then}${body === '' ? '' : ' with its body'}`, async () => {
      await using server = await failingHttp(redirects(status, '../v2/there?x=y'), answers());
      const { fetch } = rig(server.httpUrl);
      const response = await fetch('/v1/here', {
        method,
        ...(method !== 'GET' && method !== 'HEAD' && { body: 'text' }),
      });
      assert.deepEqual(
        [response.status, response.redirected, response.url],
        [200, true, `${server.httpUrl}/v2/there?x=y`],
      );
      const second = server.requests[1];
      assert.deepEqual([second?.method, second?.body, second?.path], [then, body, '/v2/there?x=y']);
      assert.equal(second?.headers['content-type'] !== undefined, body !== '');
      assert.equal(second?.headers.authorization, `Bearer ${TOKEN}`);
    });
  }

  it('X12 to another origin is not followed, whatever its status: that server sees nothing', async () => {
    await using other = await failingHttp(answers());
    for (const status of [301, 302, 303, 307, 308]) {
      await using server = await failingHttp(redirects(status, `${other.httpUrl}/v1/x?key=secret`));
      const { fetch, link } = rig(server.httpUrl);
      const error = await refusal(fetch('/v1/x', POST, { safety: 'repeatable' }));
      assert.deepEqual([error.reason, error.outcome, error.code], ['protocol', 'unknown', 'HOLDFAST_REDIRECT']);
      assert.ok(error.message.includes(other.httpUrl) && !error.message.includes('secret'), error.message);
      assert.deepEqual([server.requests.length, link.retries.length], [1, 0]);
    }
    assert.equal(other.dials, 0);
  });

  it('without an end, without an address, with a password, or for a stream are errors', async () => {
    await using server = await failingHttp(redirects(302, '/v1/x'));
    const { fetch, link } = rig(server.httpUrl);
    const endless = await refusal(fetch('/v1/x'));
    assert.deepEqual([endless.code, server.requests.length], ['HOLDFAST_REDIRECT', 21]);
    const { host } = new URL(server.httpUrl);
    await using odd = await failingHttp(
      redirects(302, 'http://['),
      redirects(307, `http://user:secret@${host}/`),
      redirects(307, '/v1/y'),
    );
    link.address = odd.httpUrl;
    for (const init of [{}, {}, { method: 'POST', body: new Blob(['x']).stream() }]) {
      const error = await refusal(fetch('/v1/x', init));
      assert.deepEqual([error.reason, error.code], ['protocol', 'HOLDFAST_REDIRECT']);
      assert.ok(!error.message.includes('secret'));
    }
    assert.equal(odd.requests.length, 3);
  });

  it('are handed over with redirect: manual, and refused with redirect: error', async () => {
    await using server = await failingHttp(redirects(302, '/v1/y'));
    const { fetch } = rig(server.httpUrl);
    const response = await fetch('/v1/x', { redirect: 'manual' });
    assert.deepEqual([response.status, response.headers.get('location'), response.redirected], [302, '/v1/y', false]);
    assert.equal(await response.text(), 'elsewhere');
    for (const ask of [
      () => fetch('/v1/x', { redirect: 'error' }),
      () => fetch(new Request(`${server.httpUrl}/v1/x`, { redirect: 'error' })),
    ]) {
      const error = await refusal(ask());
      assert.deepEqual([error.reason, error.code], ['protocol', 'HOLDFAST_REDIRECT']);
    }
    assert.equal(server.requests.length, 3);
  });

  it('are followed once: a failure after the first hop is unknown, and repeats no earlier hop', async () => {
    await using server = await failingHttp(redirects(303, '/v1/there'), DRAINING, answers());
    const { fetch } = rig(server.httpUrl);
    assert.equal((await fetch('/v1/here', POST)).status, 200);
    assert.deepEqual(
      server.requests.map(({ method, path }) => `${method} ${path}`),
      ['POST /v1/here', 'GET /v1/there', 'GET /v1/there'],
    );
    const cut: Behaviour = (response) => response.socket?.resetAndDestroy();
    await using broken = await failingHttp(redirects(307, '/v1/there'), cut);
    const next = rig(broken.httpUrl);
    const error = await refusal(next.fetch('/v1/here', POST));
    assert.deepEqual([error.outcome, broken.requests.length], ['unknown', 2]);
  });
});

describe('the answer of a fetch', () => {
  it('is a Response like any other: status, headers, url, clones and every way to read it', async () => {
    await using server = await failingHttp((response) => {
      response.writeHead(201, 'Made', { 'content-type': 'application/json', 'set-cookie': ['a=1', 'b=2'] });
      response.end('{"a":"ü"}');
    });
    const { fetch } = rig(server.httpUrl);
    const response = await fetch('/v1/x');
    assert.ok(response instanceof Response);
    const clone = response.clone();
    for (const each of [response, clone, clone.clone()]) {
      assert.deepEqual(
        [each.status, each.statusText, each.ok, each.redirected, each.url, each.type, each.bodyUsed],
        [201, 'Made', true, false, `${server.httpUrl}/v1/x`, 'basic', false],
      );
      assert.deepEqual(each.headers.getSetCookie(), ['a=1', 'b=2']);
      assert.deepEqual(await each.json(), { a: 'ü' });
      assert.equal(each.bodyUsed, true);
    }
    assert.deepEqual(Buffer.from(await (await fetch('/v1/x')).arrayBuffer()).toString(), '{"a":"ü"}');
    const blob = await (await fetch('/v1/x')).blob();
    assert.deepEqual([blob.size, blob.type], [10, 'application/json']);
    let text = '';
    for await (const chunk of (await fetch('/v1/x')).body ?? []) text += Buffer.from(chunk).toString();
    assert.equal(text, '{"a":"ü"}');
    await assert.rejects(
      (async () => {
        const twice = await fetch('/v1/x');
        await twice.text();
        await twice.text();
      })(),
      TypeError,
    );
  });

  it('has no body where HTTP allows none, and any status that a server may send', async () => {
    await using server = await failingHttp(
      answers(200),
      answers(204, ''),
      answers(304, ''),
      answers(205, ''),
      (response) => {
        response.writeHead(299, 'Odd \u00e9');
        response.end('odd');
      },
      answers(999, 'beyond'),
    );
    const { fetch } = rig(server.httpUrl);
    const head = await fetch('/v1/x', { method: 'HEAD' });
    assert.deepEqual(
      [head.status, head.body, await head.text(), head.headers.get('content-type')],
      [200, null, '', 'application/json'],
    );
    for (const status of [204, 304]) {
      const response = await fetch('/v1/x');
      assert.deepEqual([response.status, await response.text()], [status, '']);
    }
    for (const [status, text] of [
      [205, ''],
      [299, 'odd'],
      [999, 'beyond'],
    ] as const) {
      const response = await fetch('/v1/x');
      assert.deepEqual([response.status, await response.text(), response.ok], [status, text, status < 300]);
    }
  });

  it('of a compressed body is what it says', async () => {
    const { gzipSync } = await import('node:zlib');
    await using server = await failingHttp((response) => {
      response.writeHead(503, { 'content-encoding': 'gzip', 'content-type': 'application/json' });
      response.end(gzipSync('{"error":{"type":"api_error","message":"of the provider"}}'));
    });
    const { fetch } = rig(server.httpUrl);
    const response = await fetch('/v1/x', POST);
    assert.deepEqual([response.status, response.headers.get('holdfast-reason')], [503, null]);
    assert.deepEqual(await response.json(), { error: { type: 'api_error', message: 'of the provider' } });
  });
});
