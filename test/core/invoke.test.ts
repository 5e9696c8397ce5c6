import assert from 'node:assert/strict';
import { validateNodeInvokeProgressParams, validateNodeInvokeResultParams } from '@openclaw/gateway-protocol';
import fc from 'fast-check';
import {
  chunksOf,
  failed,
  hasRun,
  INVOKE_LIMITS,
  type InvokeRequest,
  jsonOf,
  OutcomeMemory,
  outcomeOf,
  outcomeOfError,
  paramsOf,
  parseInvoke,
  resultParams,
} from '../../lib/core/invoke.js';

const REQUEST = {
  id: 'i-1',
  nodeId: 'n-1',
  command: 'system.which',
  paramsJSON: '{"bin":"node"}',
  timeoutMs: 4992,
  idempotencyKey: 'k-1',
};

/** Parsed, or the test fails. */
function request(changes: Record<string, unknown> = {}): InvokeRequest {
  const word = parseInvoke('node.invoke.request', { ...REQUEST, ...changes });
  assert.ok(word?.kind === 'request', 'no request');
  return word.request;
}

const same = (text: string): string => text;

describe('an event about an invocation', () => {
  it('is a request, with what the gateway sends and without what nobody knows', () => {
    assert.deepEqual(request({ sessionKey: 's', turnSourceTo: 'x' }), { ...REQUEST, sessionKey: 's' });
    assert.deepEqual(request({ paramsJSON: null }).paramsJSON, null);
    assert.deepEqual(request({ paramsJSON: undefined }).paramsJSON, null);
  });

  it('is a cancel or an input, or about something else', () => {
    assert.deepEqual(parseInvoke('node.invoke.cancel', { invokeId: 'i', nodeId: 'n' }), { kind: 'cancel', id: 'i' });
    const input = { id: 'i', nodeId: 'n', seq: 0, payloadJSON: '1' };
    assert.deepEqual(parseInvoke('node.invoke.input', input), { kind: 'input', id: 'i' });
    assert.equal(parseInvoke('tick', REQUEST), null);
  });

  it('keeps its id, whatever else of it is unusable: its caller gets an answer', () => {
    const wrong = request({ command: 7, paramsJSON: {}, timeoutMs: 'soon', idempotencyKey: '', sessionKey: [] });
    assert.deepEqual(wrong, { id: 'i-1', nodeId: 'n-1', command: '', paramsJSON: '?', timeoutMs: 30_000 });
    assert.equal(paramsOf(wrong), null);
  });

  it('is unreadable without an id', () => {
    for (const id of [undefined, '', 7, 'x'.repeat(513)])
      assert.equal(parseInvoke('node.invoke.request', { ...REQUEST, id })?.kind, 'unreadable');
    assert.equal(parseInvoke('node.invoke.cancel', null)?.kind, 'unreadable');
    assert.equal(parseInvoke('node.invoke.input', [])?.kind, 'unreadable');
  });

  it('is given a time that can be', () => {
    const times: [sent: unknown, taken: number][] = [
      [1, 1],
      [0, 30_000],
      [-1, 30_000],
      [Number.NaN, 30_000],
      [null, 30_000],
      [undefined, 30_000],
      [1e300, INVOKE_LIMITS.maxTimeout],
      [Number.POSITIVE_INFINITY, INVOKE_LIMITS.maxTimeout],
    ];
    for (const [sent, taken] of times) assert.equal(request({ timeoutMs: sent }).timeoutMs, taken, String(sent));
  });

  it('never throws, whatever a peer sends', () => {
    const event = fc.constantFrom('node.invoke.request', 'node.invoke.cancel', 'node.invoke.input', 'node.invoke');
    const part = fc.oneof(fc.jsonValue(), fc.string());
    const payload = fc.oneof(
      fc.jsonValue(),
      fc.record({ id: part, invokeId: part, nodeId: part, command: part, paramsJSON: part, timeoutMs: part }),
    );
    fc.assert(
      fc.property(event, payload, (name, body) => {
        const word = parseInvoke(name, body);
        if (word?.kind !== 'request') return;
        paramsOf(word.request);
        assert.ok(word.request.timeoutMs > 0 && word.request.timeoutMs <= INVOKE_LIMITS.maxTimeout);
      }),
      { numRuns: 300 },
    );
  });

  it('brings parameters that are any JSON, or none', () => {
    assert.deepEqual(paramsOf(request()), { value: { bin: 'node' } });
    assert.deepEqual(paramsOf(request({ paramsJSON: 'null' })), { value: null });
    assert.deepEqual(paramsOf(request({ paramsJSON: null })), { value: undefined });
    assert.equal(paramsOf(request({ paramsJSON: '' })), null);
    assert.equal(paramsOf(request({ paramsJSON: '{' })), null);
    const { value } = paramsOf(request({ paramsJSON: '{"__proto__":{"x":1}}' })) ?? {};
    assert.equal(Reflect.get(Object(value), 'x'), undefined);
  });
});

describe('the answer to an invocation', () => {
  it('is what the official schema takes', () => {
    const outcomes = [
      outcomeOf({ path: '/usr/bin/node' }),
      outcomeOf(undefined),
      outcomeOf(10n),
      outcomeOfError(new Error(''), same),
      failed('NODE_BUSY', 'busy'),
    ];
    for (const outcome of outcomes) assert.ok(validateNodeInvokeResultParams(resultParams(request(), outcome)));
    for (const chunk of chunksOf('x'.repeat(40_000)))
      assert.ok(validateNodeInvokeProgressParams({ invokeId: 'i', nodeId: 'n', seq: 0, chunk }));
  });

  it('carries a result as JSON', () => {
    assert.deepEqual(resultParams(request(), outcomeOf({ a: [1] })), {
      id: 'i-1',
      nodeId: 'n-1',
      ok: true,
      payloadJSON: '{"a":[1]}',
    });
    assert.deepEqual(resultParams(request(), outcomeOf(undefined)), { id: 'i-1', nodeId: 'n-1', ok: true });
    assert.deepEqual(outcomeOf(null), { ok: true, payloadJSON: 'null' });
  });

  it('says so when a result cannot be written', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const hostile = {
      toJSON(): never {
        throw new Error('no');
      },
    };
    for (const value of [circle, hostile, 1n, (): void => {}, Symbol('x')]) {
      const outcome = outcomeOf(value);
      assert.equal(!outcome.ok && outcome.code, 'UNSERIALISABLE_RESULT');
    }
    assert.equal(jsonOf(undefined), null);
  });

  it('tells an error by its code, if it is one, and by a text that is scrubbed, short and never empty', () => {
    const told = (error: unknown): unknown => {
      const outcome = outcomeOfError(error, (text) => text.replaceAll('hunter2', '[redacted]'));
      return outcome.ok ? null : [outcome.code, outcome.message];
    };
    assert.deepEqual(told(new Error('it is hunter2')), ['HANDLER_ERROR', 'it is [redacted]']);
    assert.deepEqual(told(Object.assign(new Error('gone'), { code: 'ENOENT' })), ['ENOENT', 'gone']);
    assert.deepEqual(told({ code: 'not a code', message: 'a\nb' }), ['HANDLER_ERROR', 'a b']);
    assert.deepEqual(told({ code: 7, message: 7 }), ['HANDLER_ERROR', 'the command failed']);
    assert.deepEqual(told('plain'), ['HANDLER_ERROR', 'plain']);
    assert.deepEqual(told(undefined), ['HANDLER_ERROR', 'the command failed']);
    assert.deepEqual(told(new Error(' \n ')), ['HANDLER_ERROR', 'the command failed']);
    const long = outcomeOfError(new Error('x'.repeat(1_000_000)), same);
    assert.ok(!long.ok && long.message.length === INVOKE_LIMITS.message);
    const trap = new Proxy(new Error('x'), {
      get() {
        throw new Error('trap');
      },
    });
    assert.deepEqual(told(trap), ['HANDLER_ERROR', 'the command failed']);
  });

  it('leaves half a secret at the cut to the scrubber, which knows a cut by its mark', () => {
    let seen = '';
    outcomeOfError(new Error('x'.repeat(9000)), (text) => {
      seen = text;
      return text;
    });
    assert.equal(seen.length, 8192);
    assert.ok(seen.endsWith('…'));
  });
});

describe('progress', () => {
  it('is cut into frames that together are the text, with no character cut in two', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '\u2028', '😀', '\u{10ffff}'), maxLength: 30 });
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 7 }), (whole, limit) => {
        const chunks = chunksOf(whole, limit);
        assert.equal(chunks.join(''), whole);
        for (const chunk of chunks) {
          assert.ok(chunk.length > 0 && chunk.length <= limit);
          if (limit > 1) assert.doesNotMatch(chunk, /\p{Surrogate}/u);
        }
      }),
      { numRuns: 300 },
    );
    assert.deepEqual(chunksOf(''), []);
  });
});

describe('the memory of finished work', () => {
  const done = outcomeOf('done');

  it('knows work by its key and by what was asked, for five minutes', () => {
    const memory = new OutcomeMemory();
    memory.keep('k', 'p', done, 1000);
    assert.deepEqual(memory.find('k', 'p', 1000 + INVOKE_LIMITS.keyAge - 1), done);
    const other = memory.find('k', 'q', 1000);
    assert.equal(other !== null && !other.ok && other.code, 'KEY_REUSED');
    assert.equal(memory.find('l', 'p', 1000), null);
    assert.equal(memory.find('k', 'p', 1000 + INVOKE_LIMITS.keyAge), null);
    assert.deepEqual([memory.size, memory.chars], [0, 0]);
  });

  it('is bounded by count, oldest first', () => {
    const memory = new OutcomeMemory();
    for (let n = 0; n < INVOKE_LIMITS.keys + 5; n += 1) memory.keep(`k${n}`, 'p', done, n);
    assert.equal(memory.size, INVOKE_LIMITS.keys);
    assert.equal(memory.find('k4', 'p', 1000), null);
    assert.deepEqual(memory.find('k5', 'p', 1000), done);
  });

  it('is bounded by size: a result goes, that it ran stays', () => {
    const memory = new OutcomeMemory();
    const large = outcomeOf('x'.repeat(INVOKE_LIMITS.kept / 4));
    for (let n = 0; n < 6; n += 1) memory.keep(`k${n}`, 'p', large, n);
    assert.ok(memory.chars <= INVOKE_LIMITS.kept);
    assert.equal(memory.size, 6);
    const first = memory.find('k0', 'p', 10);
    assert.equal(first !== null && !first.ok && first.code, 'RESULT_NOT_KEPT');
    assert.deepEqual(memory.find('k5', 'p', 10), large);
    memory.clear();
    assert.deepEqual([memory.size, memory.chars], [0, 0]);
  });

  it('counts what it holds, whatever is kept again', () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 4 }), size: fc.nat(30), at: fc.nat(200_000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const memory = new OutcomeMemory();
        let now = 0;
        for (const { key, size, at } of steps) {
          now += at;
          memory.keep(`k${key}`, 'p', outcomeOf('x'.repeat(size)), now);
        }
        let chars = 0;
        for (let key = 0; key < 5; key += 1) {
          const kept = memory.find(`k${key}`, 'p', now);
          if (kept?.ok === true) chars += kept.payloadJSON?.length ?? 0;
        }
        assert.equal(memory.chars, chars);
      }),
      { numRuns: 200 },
    );
  });

  it('does not take for done what never ran', () => {
    assert.ok(hasRun(done));
    assert.ok(hasRun(failed('HANDLER_ERROR', 'x')));
    assert.ok(!hasRun(failed('NODE_NOT_READY', 'x')));
    assert.ok(!hasRun(failed('BAD_PARAMS', 'x')));
  });
});
