import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { onAbort, raced } from '../../lib/io/abort.js';
import { factsOfError, GuardedBody, peekBody } from '../../lib/io/http.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import { answers, cutsBody, failingHttp, resets } from '../support/failing-http.js';

async function thrown(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => assert.fail('it did not reject'),
    (error: unknown) => error,
  );
}

function streamOf(...chunks: readonly string[]): ReadableStream<Uint8Array> {
  const left = [...chunks];
  return new ReadableStream({
    pull(controller) {
      const next = left.shift();
      if (next === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(next));
    },
  });
}

function textOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  return new Response(stream).text();
}

interface Guard {
  readonly body: GuardedBody;
  readonly ends: string[];
}

function guardOf(source: ReadableStream<Uint8Array>, idle: number, forMs = Number.POSITIVE_INFINITY): Guard {
  const ends: string[] = [];
  const body = new GuardedBody(source, systemRuntime, {
    idle,
    endsAt: systemRuntime.now() + forMs,
    stalled: (whole) => new Error(whole ? 'too late' : 'stalled'),
    broken: async (error) => new Error('broken', { cause: error }),
    done: () => ends.push('done'),
  });
  return { body, ends };
}

describe('the facts of a broken fetch', () => {
  it('are those of the innermost cause, with its syscall', async () => {
    const gone = await failingHttp();
    await gone[Symbol.asyncDispose]();
    const refused = factsOfError(await thrown(fetch(gone.httpUrl)));
    assert.deepEqual([refused.name, refused.code, refused.syscall], ['TypeError', 'ECONNREFUSED', 'connect']);
    await using server = await failingHttp(resets);
    const reset = factsOfError(await thrown(fetch(server.httpUrl)));
    assert.deepEqual([reset.code, reset.syscall], ['ECONNRESET', 'read']);
  });

  it('are found in an AggregateError, in what is no error, and never for ever', () => {
    const inner = Object.assign(new Error('no'), { code: 'EHOSTUNREACH', syscall: 'connect' });
    assert.equal(
      factsOfError(new TypeError('fetch failed', { cause: new AggregateError([inner]) })).code,
      'EHOSTUNREACH',
    );
    assert.deepEqual(factsOfError('a text'), { name: 'string', message: 'a text' });
    assert.deepEqual(factsOfError(undefined), { name: 'undefined', message: 'undefined' });
    const round: Error & { cause?: unknown } = new Error('round');
    round.cause = round;
    assert.equal(factsOfError(round).message, 'round');
  });
});

describe('a look into a body', () => {
  it('leaves all of it, whether it was short or long', async () => {
    const short = await peekBody(streamOf('ab', 'cd'), 100);
    assert.deepEqual([Buffer.from(short.start).toString(), short.whole], ['abcd', true]);
    assert.equal(await textOf(short.body), 'abcd');
    const long = await peekBody(streamOf('abc', 'def', 'ghi'), 4);
    assert.deepEqual([Buffer.from(long.start).toString(), long.whole], ['abcdef', false]);
    assert.equal(await textOf(long.body), 'abcdefghi');
  });

  it('rejects when the body is cut', async () => {
    await using server = await failingHttp(cutsBody);
    const { body } = await fetch(server.httpUrl);
    assert.ok(body !== null);
    assert.equal(factsOfError(await thrown(peekBody(body, 5000))).code, 'UND_ERR_SOCKET');
  });
});

describe('a guarded body', () => {
  it('is handed out whole, in bytes, for readers with a buffer of their own too', async () => {
    const { body, ends } = guardOf(streamOf('one ', '', 'two'), 1000);
    assert.equal(await textOf(body.stream), 'one two');
    assert.deepEqual(ends, ['done']);
    const own = guardOf(streamOf('abcdef'), 1000).body.stream.getReader({ mode: 'byob' });
    const first = await own.read(new Uint8Array(4));
    assert.equal(Buffer.from(first.value ?? []).toString(), 'abcd');
    assert.equal(Buffer.from((await own.read(new Uint8Array(4))).value ?? []).toString(), 'ef');
    assert.equal((await own.read(new Uint8Array(4))).done, true);
  });

  it('copies what is a slice of a larger memory, which is not its own to give away', async () => {
    const memory = Buffer.from('xxhelloxx');
    const source = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(memory.subarray(2, 7));
        controller.close();
      },
    });
    assert.equal(await textOf(guardOf(source, 1000).body.stream), 'hello');
    assert.equal(memory.toString(), 'xxhelloxx');
  });

  it('ends with an error when nothing comes, or not enough in time; what came is handed out first', async () => {
    const silent = guardOf(new ReadableStream(), 20);
    assert.match(String(await thrown(textOf(silent.body.stream))), /stalled/);
    const late = guardOf(new ReadableStream(), 5000, 20);
    assert.match(String(await thrown(textOf(late.body.stream))), /too late/);
    // Its time was over before it was read, but it was all there.
    const there = guardOf(streamOf('in ', 'time'), 5000, -1);
    assert.equal(await textOf(there.body.stream), 'in time');
    assert.deepEqual([silent.ends, late.ends, there.ends], [['done'], ['done'], ['done']]);
  });

  it('asks for nothing before it is read, so that an idle reader is no stalled answer', async () => {
    let asked = 0;
    const source = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          asked += 1;
          controller.enqueue(new Uint8Array([65]));
          controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const { body } = guardOf(source, 5);
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    assert.deepEqual([asked, body.reading], [0, false]);
    assert.equal(await textOf(body.stream), 'A');
  });

  it('tells its reader of a break, and lets go of the source when the reader goes', async () => {
    await using server = await failingHttp(cutsBody, answers(200, 'x'.repeat(10_000_000)));
    const cut = await fetch(server.httpUrl);
    assert.ok(cut.body !== null);
    const error = await thrown(textOf(guardOf(cut.body, 1000).body.stream));
    assert.ok(error instanceof Error);
    assert.deepEqual([error.message, factsOfError(error.cause).code], ['broken', 'UND_ERR_SOCKET']);
    const large = await fetch(server.httpUrl);
    assert.ok(large.body !== null);
    const { body, ends } = guardOf(large.body, 1000);
    const reader = body.stream.getReader();
    await reader.read();
    assert.equal(body.reading, true);
    await reader.cancel();
    await server.requests[1]?.closed;
    assert.deepEqual([ends, body.reading], [['done'], false]);
  });

  it('is ended from outside with an error, once', async () => {
    const { body, ends } = guardOf(new ReadableStream(), 5000);
    const read = thrown(textOf(body.stream));
    body.fail(new Error('enough'));
    body.fail(new Error('again'));
    assert.match(String(await read), /enough/);
    assert.deepEqual(ends, ['done']);
    const unread = guardOf(new ReadableStream(), 5000);
    unread.body.abandon();
    assert.deepEqual(unread.ends, ['done']);
    const held = guardOf(new ReadableStream(), 5000);
    held.body.stream.getReader();
    held.body.abandon();
    assert.deepEqual(held.ends, []);
  });
});

describe('waits', () => {
  const forever = new Promise<never>(() => {});

  it('put one listener on a signal, however many wait, and none afterwards', async () => {
    const { signal } = new AbortController();
    let calls = 0;
    const offs = Array.from({ length: 50 }, () => onAbort(signal, () => (calls += 1)));
    assert.equal(getEventListeners(signal, 'abort').length, 1);
    for (const off of offs) off();
    for (const off of offs) off();
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    assert.equal(calls, 0);
  });

  it('tell all who wait, and let a later one begin anew', () => {
    const abort = new AbortController();
    const told: number[] = [];
    const off = onAbort(abort.signal, () => told.push(1));
    onAbort(abort.signal, () => told.push(2));
    off();
    onAbort(abort.signal, () => told.push(3));
    abort.abort();
    assert.deepEqual(told, [2, 3]);
    onAbort(abort.signal, () => told.push(4))();
    assert.deepEqual(told, [2, 3, 4], 'at once, when it is too late to wait');
  });

  it('end with the promise, the time or the signal, and leave nothing behind', async () => {
    const abort = new AbortController();
    const { signal } = abort;
    assert.deepEqual(await raced(systemRuntime, Promise.resolve(7), 1000, signal), { value: 7 });
    assert.equal(await raced(systemRuntime, forever, 5, signal), 'late');
    await assert.rejects(raced(systemRuntime, Promise.reject(new Error('no')), 1000, signal), /no/);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    const waiting = raced(systemRuntime, forever, Number.POSITIVE_INFINITY, signal);
    abort.abort();
    assert.equal(await waiting, 'aborted');
    assert.equal(await raced(systemRuntime, null, 1000, signal), 'aborted');
  });

  it('never leave a rejection that nobody hears', async () => {
    const heard: unknown[] = [];
    const hear = (reason: unknown): unknown => heard.push(reason);
    process.on('unhandledRejection', hear);
    try {
      let reject: (error: Error) => void = () => {};
      const late = new Promise<never>((_resolve, fail) => {
        reject = fail;
      });
      assert.equal(await raced(systemRuntime, late, 1, new AbortController().signal), 'late');
      reject(new Error('after the end'));
      assert.equal(await raced(systemRuntime, Promise.reject(new Error('at once')), 1, AbortSignal.abort()), 'aborted');
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
      assert.deepEqual(heard, []);
    } finally {
      process.off('unhandledRejection', hear);
    }
  });
});
