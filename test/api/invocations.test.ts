import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { CallOptions } from '../../lib/api/call-request.js';
import { type InvocationPort, Invocations, type InvokeContext, type InvokeHandler } from '../../lib/api/invocations.js';
import { isGatewayError } from '../../lib/core/errors.js';
import { INVOKE_LIMITS } from '../../lib/core/invoke.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { VirtualRuntime } from '../support/virtual-runtime.js';
import { DeviceKey } from '../testing/device-key.js';
import { Bench, type Frame, type RawClient } from '../testing/raw-client.js';

const NODE = 'node-1';

interface Sent {
  readonly method: string;
  readonly params: Record<string, unknown>;
  readonly options: CallOptions;
  /** Number of the connection it was sent on; 0 when there was none. */
  readonly link: number;
}

interface Started {
  readonly params: unknown;
  readonly context: InvokeContext;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Everything that has been settled is followed by its consequences. */
const calm = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The engine on a port that does as it is told, and a handler `hold` that ends when the test says so. */
class Rig {
  readonly runtime = new VirtualRuntime(1);
  readonly sent: Sent[] = [];
  readonly lines: { level: string; message: string; record: Readonly<Record<string, unknown>> }[] = [];
  readonly started: Started[] = [];
  readonly engine: Invocations;
  link = 0;
  links = 0;
  maxPayload = 26_214_400;
  reply: (sent: Sent) => unknown = () => ({ ok: true });
  #ids = 0;

  constructor() {
    const port: InvocationPort = {
      nodeId: () => NODE,
      call: (method, params, options) => this.#call(method, Object(params), options),
      maxPayload: () => this.maxPayload,
      scrub: (text) => text.replaceAll('hunter2', '[redacted]'),
      log: (level, record, message) => this.lines.push({ level, record, message }),
      runtime: this.runtime,
    };
    this.engine = new Invocations(port);
    this.engine.handle('hold', (params, context) => this.#hold(params, context));
    this.up();
  }

  // Not async: what it throws is thrown at once, as a careless port would.
  #call(method: string, params: Record<string, unknown>, options: CallOptions): Promise<unknown> {
    const sent: Sent = { method, params, options, link: this.link };
    this.sent.push(sent);
    return Promise.resolve(this.reply(sent));
  }

  #hold(params: unknown, context: InvokeContext): Promise<unknown> {
    return new Promise((resolve, reject) => this.started.push({ params, context, resolve, reject }));
  }

  up(): void {
    this.links += 1;
    this.link = this.links;
    this.engine.linkUp();
  }

  lost(): void {
    this.link = 0;
    this.engine.linkLost('gateway-restart');
  }

  /** An invocation comes; returns its id. */
  ask(command: string, changes: Record<string, unknown> = {}): string {
    this.#ids += 1;
    const asked = { id: `i${this.#ids}`, nodeId: NODE, command, paramsJSON: null, timeoutMs: 1000, ...changes };
    assert.ok(this.engine.onEvent('node.invoke.request', asked));
    return asked.id;
  }

  cancel(id: string): void {
    assert.ok(this.engine.onEvent('node.invoke.cancel', { invokeId: id, nodeId: NODE }));
  }

  /** The last handler that began. */
  get last(): Started {
    const last = this.started.at(-1);
    assert.ok(last !== undefined, 'no handler has begun');
    return last;
  }

  results(id?: string): Sent[] {
    return this.sent.filter((s) => s.method === 'node.invoke.result' && (id === undefined || s.params['id'] === id));
  }

  /** What an invocation was answered: its payload, the code of its error, or nothing. */
  answer(id: string): unknown {
    const [first, second] = this.results(id);
    assert.equal(second, undefined, 'two results');
    const { ok, payloadJSON, error } = first?.params ?? {};
    return ok === true ? (payloadJSON ?? 'none') : Reflect.get(Object(error), 'code');
  }

  logged(code: string): typeof this.lines {
    return this.lines.filter(({ record }) => record['code'] === code);
  }

  async served(command: string, handler: InvokeHandler, changes: Record<string, unknown> = {}): Promise<unknown> {
    this.engine.handle(command, handler);
    const id = this.ask(command, changes);
    await calm();
    return this.answer(id);
  }
}

describe('invocations: what is served', () => {
  it('hands the parameters to the handler and its result back, once, without a retry', async () => {
    const rig = new Rig();
    const id = rig.ask('hold', { paramsJSON: '{"a":1}', idempotencyKey: 'k', sessionKey: 's', timeoutMs: 4992 });
    const { params, context } = rig.last;
    assert.deepEqual(params, { a: 1 });
    const { signal, progress: _progress, ...told } = context;
    const deadlineAt = rig.runtime.wall() + 4992;
    assert.deepEqual(told, { id, command: 'hold', timeoutMs: 4992, deadlineAt, idempotencyKey: 'k', sessionKey: 's' });
    assert.equal(rig.engine.counts().running, 1);
    rig.last.resolve({ b: 2 });
    await calm();
    const [result] = rig.results();
    assert.deepEqual(result?.params, { id, nodeId: NODE, ok: true, payloadJSON: '{"b":2}' });
    assert.deepEqual([result?.options.retry, result?.options.safety], ['never', 'repeatable']);
    assert.deepEqual(rig.engine.counts(), { running: 0, open: 0, served: 1, failed: 0, aborted: 0, dropped: 0 });
    assert.ok(!signal.aborted);
    assert.equal(rig.runtime.pending, 0);
  });

  it('refuses a handler without a name, without a function, or for a command that has one', () => {
    const { engine } = new Rig();
    const local = (error: unknown): boolean => isGatewayError(error, 'local') && error.code === 'HOLDFAST_HANDLER';
    assert.throws(() => engine.handle('', () => 1), local);
    assert.throws(() => engine.handle('  ', () => 1), local);
    assert.throws(() => engine.handle('x', Reflect.get({}, 'missing')), local);
    const off = engine.handle('x', () => 1);
    assert.throws(() => engine.handle('x', () => 2), local);
    assert.deepEqual(engine.commands(), ['hold', 'x']);
    off();
    engine.handle('x', () => 3);
    off();
    assert.deepEqual(engine.commands(), ['hold', 'x'], 'an off takes back its own registration only');
  });

  it('answers what cannot be served with the reason, and stays up', async () => {
    const rig = new Rig();
    const missing = rig.ask('missing');
    const bad = rig.ask('hold', { paramsJSON: '{' });
    assert.deepEqual([rig.answer(missing), rig.answer(bad), rig.started.length], ['UNKNOWN_COMMAND', 'BAD_PARAMS', 0]);
    const codes = [
      await rig.served('throws', () => {
        throw new Error('no');
      }),
      await rig.served('rejects', () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOENT' }))),
      await rig.served('throws-nothing', () => Promise.reject(undefined)),
      await rig.served('hostile', () => Object.fromEntries([['then', () => JSON.parse('{')]])),
      await rig.served('bigint', () => 1n),
      await rig.served('function', () => () => {}),
      await rig.served('nothing', () => undefined),
    ];
    const expected = [
      'HANDLER_ERROR',
      'ENOENT',
      'HANDLER_ERROR',
      'HANDLER_ERROR',
      'UNSERIALISABLE_RESULT',
      'UNSERIALISABLE_RESULT',
      'none',
    ];
    assert.deepEqual(codes, expected);
    assert.equal(rig.logged('HANDLER').length, 4);
    assert.deepEqual(rig.engine.counts(), { running: 0, open: 0, served: 1, failed: 8, aborted: 0, dropped: 0 });
  });

  it('takes the secrets out of what a handler threw', async () => {
    const rig = new Rig();
    await rig.served('throws', () => Promise.reject(new Error('the token is hunter2')));
    assert.deepEqual(rig.results()[0]?.params['error'], { code: 'HANDLER_ERROR', message: 'the token is [redacted]' });
  });

  it('answers a result that the gateway would not read with an error', async () => {
    const rig = new Rig();
    rig.maxPayload = 20_000;
    assert.equal(await rig.served('quotes', () => '"'.repeat(4000)), 'PAYLOAD_TOO_LARGE', '" is \\" and then \\\\\\"');
    assert.equal(await rig.served('letters', () => 'x'.repeat(4000)), JSON.stringify('x'.repeat(4000)));
  });

  it('drops what is not for it, and what it cannot read', () => {
    const rig = new Rig();
    rig.ask('hold', { nodeId: 'another' });
    assert.ok(rig.engine.onEvent('node.invoke.request', null));
    assert.ok(rig.engine.onEvent('node.invoke.input', { id: 'i', nodeId: NODE, seq: 0, payloadJSON: '1' }));
    assert.ok(!rig.engine.onEvent('tick', {}));
    rig.cancel('nobody');
    rig.lost();
    rig.ask('hold');
    assert.deepEqual([rig.sent.length, rig.started.length], [0, 0]);
    for (const code of ['FOREIGN', 'UNREADABLE', 'INPUT', 'NO_LINK']) assert.equal(rig.logged(code).length, 1, code);
  });

  it('logs an answer that could not be sent, or that nobody waited for', async () => {
    const rig = new Rig();
    rig.reply = () => Promise.reject(new Error('gone'));
    assert.equal(await rig.served('one', () => 1), '1');
    rig.reply = () => {
      throw new Error('gone at once');
    };
    assert.equal(await rig.served('two', () => 2), '2');
    rig.reply = () => ({ ok: true, ignored: true });
    assert.equal(await rig.served('three', () => 3), '3');
    assert.equal(rig.engine.counts().dropped, 2);
    assert.deepEqual([rig.logged('UNSENT').length, rig.logged('IGNORED').length], [1, 1]);
    rig.runtime.run(5000);
    rig.reply = () => Promise.reject(new Error('gone again'));
    rig.ask('one');
    await calm();
    assert.equal(rig.logged('UNSENT').at(-1)?.record['count'], 2, 'the next line counts what was not told');
  });
});

describe('invocations: the end of the wait', () => {
  it('ends a handler that never returns at its deadline, and frees its place', async () => {
    const rig = new Rig();
    const id = rig.ask('hold', { timeoutMs: 250 });
    const { signal } = rig.last.context;
    rig.runtime.run(249);
    assert.ok(!signal.aborted);
    rig.runtime.run(1);
    assert.equal(rig.answer(id), 'TIMEOUT');
    assert.ok(signal.aborted && isGatewayError(signal.reason, 'timeout'));
    assert.deepEqual([rig.engine.counts().running, rig.runtime.pending], [0, 0]);
    rig.last.resolve('late');
    await calm();
    assert.equal(rig.results().length, 1);
    assert.deepEqual([rig.engine.counts().dropped, rig.logged('LATE').length], [1, 1]);
  });

  it('answers nothing after a cancel', async () => {
    const rig = new Rig();
    const id = rig.ask('hold');
    rig.cancel(id);
    rig.cancel(id);
    assert.ok(rig.last.context.signal.aborted);
    rig.last.reject(rig.last.context.signal.reason);
    await calm();
    assert.deepEqual(rig.sent, []);
    assert.deepEqual(rig.engine.counts(), { running: 0, open: 0, served: 0, failed: 0, aborted: 1, dropped: 1 });
    assert.equal(rig.logged('HANDLER').length, 0, 'it did as it was told');
  });

  it('aborts at once when the link is lost, and sends the late result nowhere', async () => {
    const rig = new Rig();
    rig.ask('hold');
    rig.lost();
    const { signal } = rig.last.context;
    assert.ok(signal.aborted && isGatewayError(signal.reason, 'gateway-restart'));
    rig.up();
    rig.last.resolve('late');
    rig.last.context.progress('late');
    rig.last.context.progress(1n);
    await calm();
    assert.deepEqual([rig.sent, rig.logged('PROGRESS')], [[], []]);
    assert.deepEqual([rig.engine.counts().aborted, rig.logged('LATE').length, rig.runtime.pending], [1, 1, 0]);
  });

  it('gives what is sent a signal that ends with its link', async () => {
    const rig = new Rig();
    const warnings: Error[] = [];
    const onWarning = (warning: Error): number => warnings.push(warning);
    process.on('warning', onWarning);
    rig.reply = ({ options }) => new Promise((_resolve, reject) => options.signal?.addEventListener('abort', reject));
    for (let n = 0; n < 20; n += 1) rig.ask('missing');
    const signals = new Set(rig.sent.map(({ options }) => options.signal));
    rig.lost();
    rig.up();
    rig.ask('missing');
    await calm();
    process.off('warning', onWarning);
    assert.equal(signals.size, 1);
    assert.deepEqual([rig.sent[0]?.options.signal?.aborted, rig.sent.at(-1)?.options.signal?.aborted], [true, false]);
    assert.deepEqual(warnings, [], 'twenty listeners on one signal are no leak');
  });

  it('runs the same id once per connection', async () => {
    const rig = new Rig();
    const id = rig.ask('hold');
    rig.ask('hold', { id });
    rig.last.resolve(1);
    await calm();
    rig.ask('hold', { id });
    assert.deepEqual([rig.started.length, rig.results(id).length, rig.logged('REPEATED').length], [1, 1, 1]);
    rig.lost();
    rig.up();
    rig.ask('hold', { id });
    assert.equal(rig.started.length, 2);
  });

  it('lets what runs finish at the close, and ends what does not', async () => {
    const rig = new Rig();
    const [quick, slow] = [rig.ask('hold'), rig.ask('hold', { timeoutMs: 60_000 })];
    const closed = rig.engine.close(1000);
    const refused = rig.ask('hold');
    rig.started[0]?.resolve('done');
    await calm();
    rig.runtime.run(1000);
    await closed;
    assert.deepEqual(
      [rig.answer(quick), rig.answer(slow), rig.answer(refused)],
      ['"done"', 'ABORTED', 'NODE_NOT_READY'],
    );
    assert.ok(rig.started[1]?.context.signal.aborted);
    assert.equal(rig.runtime.pending, 0);
    assert.equal(rig.engine.close(), closed);
  });

  it('leaves no timer at a close, whatever never ends', async () => {
    const rig = new Rig();
    for (let n = 0; n < 100; n += 1) rig.ask('hold', { idempotencyKey: `k${n}` });
    await rig.engine.close();
    assert.deepEqual([rig.runtime.pending, rig.results().length, rig.started.length], [0, 100, INVOKE_LIMITS.running]);
    assert.ok(rig.started.every(({ context }) => context.signal.aborted));
    rig.lost();
    await rig.engine.close();
  });

  it('closes as soon as the last one has ended', async () => {
    const rig = new Rig();
    rig.ask('hold');
    const closed = rig.engine.close(60_000);
    rig.last.resolve(1);
    await closed;
    assert.deepEqual([rig.engine.counts().served, rig.runtime.pending], [1, 0]);
  });
});

describe('invocations: bounds', () => {
  it('runs 64, lets 256 wait, and answers the other thousands at once', async () => {
    const rig = new Rig();
    for (let n = 0; n < 10_000; n += 1) rig.ask('hold', { idempotencyKey: `k${n}` });
    assert.deepEqual([rig.started.length, rig.engine.counts().open, rig.runtime.pending], [64, 320, 320]);
    assert.equal(rig.results().length, 9680);
    assert.ok(rig.results().every(({ params }) => Reflect.get(Object(params['error']), 'code') === 'NODE_BUSY'));
    assert.equal(rig.logged('NODE_BUSY').length, 1);
    for (let at = 0; at < rig.started.length; at += 1) {
      rig.started[at]?.resolve(at);
      await Promise.resolve();
      await Promise.resolve();
      await calm();
    }
    assert.equal(rig.started.length, 320);
    assert.deepEqual(rig.engine.counts(), { running: 0, open: 0, served: 320, failed: 9680, aborted: 0, dropped: 0 });
    assert.equal(rig.runtime.pending, 0);
  });

  it('bounds the parameters that wait, too', async () => {
    const rig = new Rig();
    const paramsJSON = JSON.stringify('x'.repeat(INVOKE_LIMITS.params / 2));
    assert.equal(rig.answer(rig.ask('hold', { paramsJSON })), undefined);
    assert.equal(rig.answer(rig.ask('hold', { paramsJSON })), 'NODE_BUSY');
    rig.last.resolve(1);
    await calm();
    assert.equal(rig.answer(rig.ask('hold', { paramsJSON })), undefined);
  });

  it('does not begin what was cancelled, or ran out of time, while it waited', () => {
    const rig = new Rig();
    for (let n = 0; n < 64; n += 1) rig.ask('hold', { timeoutMs: 10_000 });
    const [cancelled, late, next] = [rig.ask('hold'), rig.ask('hold', { timeoutMs: 5 }), rig.ask('hold')];
    rig.cancel(cancelled);
    rig.runtime.run(5);
    assert.deepEqual([rig.answer(late), rig.started.length], ['TIMEOUT', 64]);
    rig.cancel('i1');
    assert.equal(rig.last.context.id, next);
  });
});

describe('invocations: progress', () => {
  const progressOf = (rig: Rig): unknown[] =>
    rig.sent.filter(({ method }) => method === 'node.invoke.progress').map(({ params }) => params);

  it('goes before the result, numbered and cut, and not after it', async () => {
    const rig = new Rig();
    const id = rig.ask('hold');
    const { context, resolve } = rig.last;
    context.progress('one');
    context.progress({ two: 2 });
    context.progress('x'.repeat(16_385));
    context.progress('');
    resolve('done');
    await calm();
    context.progress('late');
    const chunks = ['one', '{"two":2}', 'x'.repeat(16_384), 'x'];
    const expected = chunks.map((chunk, seq) => ({ invokeId: id, nodeId: NODE, seq, chunk }));
    assert.deepEqual(progressOf(rig), expected);
    assert.equal(rig.sent.at(-1)?.method, 'node.invoke.result');
    assert.equal(rig.sent.length, 5);
  });

  it('is dropped with a line when it cannot be written, or when too much of it is on its way', async () => {
    const rig = new Rig();
    let acknowledge: (value: unknown) => void = () => {};
    const receipt = new Promise((resolve) => {
      acknowledge = resolve;
    });
    rig.reply = () => receipt;
    rig.ask('hold');
    const { context } = rig.last;
    context.progress(1n);
    assert.equal(rig.logged('PROGRESS').length, 1);
    context.progress('x'.repeat(INVOKE_LIMITS.progress));
    context.progress('too much');
    const full = INVOKE_LIMITS.progress / INVOKE_LIMITS.chunk;
    assert.equal(rig.sent.length, full);
    acknowledge({ ok: true });
    await calm();
    context.progress('again');
    assert.equal(rig.sent.length, full + 1);
  });

  it('stops for an invocation whose progress was refused, and its result still goes', async () => {
    const rig = new Rig();
    rig.reply = ({ method }) => (method === 'node.invoke.progress' ? Promise.reject(new Error('no')) : { ok: true });
    const id = rig.ask('hold');
    rig.last.context.progress('one');
    await calm();
    rig.last.context.progress('two');
    rig.last.resolve('done');
    await calm();
    assert.deepEqual([progressOf(rig).length, rig.answer(id)], [1, '"done"']);
  });
});

describe('invocations: the same idempotency key', () => {
  const keyed = { idempotencyKey: 'k', paramsJSON: '1' };

  it('is answered with the first result, also on a later connection, for five minutes', async () => {
    const rig = new Rig();
    rig.ask('hold', keyed);
    rig.last.resolve('first');
    await calm();
    const second = rig.ask('hold', keyed);
    rig.lost();
    rig.up();
    const third = rig.ask('hold', keyed);
    assert.deepEqual([rig.answer(second), rig.answer(third), rig.started.length], ['"first"', '"first"', 1]);
    rig.runtime.run(INVOKE_LIMITS.keyAge);
    rig.ask('hold', keyed);
    assert.equal(rig.started.length, 2);
  });

  it('joins the run under way, which goes on as long as anybody waits', async () => {
    const rig = new Rig();
    const first = rig.ask('hold', keyed);
    const second = rig.ask('hold', keyed);
    const third = rig.ask('hold', { ...keyed, timeoutMs: 10 });
    rig.cancel(first);
    rig.runtime.run(10);
    assert.ok(!rig.last.context.signal.aborted);
    rig.last.context.progress('half');
    rig.last.resolve('done');
    await calm();
    assert.deepEqual(
      [rig.answer(first), rig.answer(second), rig.answer(third), rig.started.length],
      [undefined, '"done"', 'TIMEOUT', 1],
    );
    assert.equal(rig.sent.filter(({ method }) => method === 'node.invoke.progress').length, 1);
  });

  it('joins a run that a lost link has left, and hears how it ended', async () => {
    const rig = new Rig();
    rig.ask('hold', keyed);
    rig.lost();
    rig.up();
    const again = rig.ask('hold', keyed);
    assert.deepEqual([rig.started.length, rig.engine.counts().running], [1, 0]);
    rig.last.resolve('after all');
    await calm();
    assert.equal(rig.answer(again), '"after all"');
    assert.equal(rig.logged('LATE').length, 0);
  });

  it('is told that the run was aborted, if it stopped for that: it is not run again', async () => {
    const rig = new Rig();
    rig.ask('hold', keyed);
    rig.lost();
    rig.up();
    rig.last.reject(new Error('stopped'));
    await calm();
    const after = rig.ask('hold', keyed);
    assert.deepEqual([rig.answer(after), rig.started.length], ['ABORTED', 1]);
  });

  it('runs again when nothing ran', async () => {
    const rig = new Rig();
    rig.ask('hold', keyed);
    rig.last.reject(Object.assign(new Error('warming up'), { code: 'NODE_NOT_READY' }));
    await calm();
    rig.ask('hold', keyed);
    assert.equal(rig.started.length, 2);
    for (let n = 0; n < 63; n += 1) rig.ask('hold');
    rig.cancel(rig.ask('hold', { idempotencyKey: 'queued' }));
    rig.started[1]?.resolve(1);
    await calm();
    rig.ask('hold', { idempotencyKey: 'queued' });
    assert.equal(rig.last.context.idempotencyKey, 'queued');
  });

  it('is refused for other work', async () => {
    const rig = new Rig();
    rig.engine.handle('other', () => 1);
    rig.ask('hold', keyed);
    const other = rig.ask('other', keyed);
    rig.last.resolve(1);
    await calm();
    const changed = rig.ask('hold', { ...keyed, paramsJSON: '2' });
    assert.deepEqual([rig.answer(other), rig.answer(changed), rig.started.length], ['KEY_REUSED', 'KEY_REUSED', 1]);
  });

  it('keeps how a run ended first, whatever ends the wait of those who joined it later', async () => {
    const rig = new Rig();
    rig.cancel(rig.ask('hold', keyed));
    const joined = rig.ask('hold', keyed);
    rig.runtime.run(1000);
    rig.last.reject(new Error('stopped'));
    await calm();
    assert.deepEqual([rig.answer(joined), rig.answer(rig.ask('hold', keyed))], ['TIMEOUT', 'ABORTED']);
  });

  it('waits on for a run that was left, however many others have ended', async () => {
    const rig = new Rig();
    rig.cancel(rig.ask('hold', keyed));
    for (let n = 0; n <= INVOKE_LIMITS.keys; n += 1) {
      rig.cancel(rig.ask('hold', { idempotencyKey: `k${n}` }));
      rig.last.resolve(n);
      if (n % 100 === 0) await calm();
    }
    await calm();
    const joined = rig.ask('hold', keyed);
    rig.started[0]?.resolve('after all');
    await calm();
    assert.equal(rig.answer(joined), '"after all"');
  });

  it('does not wait without end for handlers that never end', async () => {
    const rig = new Rig();
    for (let n = 0; n < INVOKE_LIMITS.keys; n += 1) rig.cancel(rig.ask('hold', { idempotencyKey: `k${n}` }));
    const joined = rig.ask('hold', { idempotencyKey: 'k0' });
    rig.cancel(rig.ask('hold', { idempotencyKey: 'one more' }));
    const after = rig.ask('hold', { idempotencyKey: 'k0' });
    rig.started[0]?.resolve('much too late');
    await calm();
    const last = rig.ask('hold', { idempotencyKey: 'k0' });
    assert.deepEqual(
      [joined, after, last].map((one) => rig.answer(one)),
      ['ABORTED', 'ABORTED', 'ABORTED'],
    );
    assert.equal(rig.started.length, INVOKE_LIMITS.keys + 1);
  });
});

type Step =
  | { do: 'ask'; id: number; key: number; command: 'hold' | 'missing' | 'now'; bad: boolean; timeout: number }
  | { do: 'cancel'; id: number }
  | { do: 'end'; at: number; how: 'ok' | 'throws' | 'unserialisable' }
  | { do: 'progress'; at: number }
  | { do: 'lost' | 'up' | 'refuse' | 'accept' }
  | { do: 'wait'; ms: number };

const id = fc.nat(5);
const at = fc.nat(20);
const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      id,
      key: fc.nat(4),
      command: fc.constantFrom('hold' as const, 'hold' as const, 'hold' as const, 'missing' as const, 'now' as const),
      bad: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0),
      timeout: fc.integer({ min: 1, max: 400 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), id }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      at,
      how: fc.constantFrom('ok' as const, 'throws' as const, 'unserialisable' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('progress' as const), at }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('lost' as const, 'up' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('refuse' as const, 'accept' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 300 }) }) },
);

/** What a generated life must never do, watched from outside. */
class Watched {
  readonly rig = new Rig();
  /** Ids of the connection of now that were taken up, and those that must stay unanswered. */
  #asked = new Set<string>();
  #answered = new Set<string>();
  #silent = new Set<string>();
  #seq = new Map<string, number>();
  #looked = 0;
  #taken = 0;

  constructor() {
    this.rig.engine.handle('now', () => 'now');
  }

  async take(step: Step): Promise<void> {
    const { rig } = this;
    switch (step.do) {
      case 'ask': {
        const name = `i${step.id}`;
        if (rig.link > 0 && !this.#asked.has(name)) {
          this.#asked.add(name);
          this.#taken += 1;
        }
        const key = step.key === 0 ? {} : { idempotencyKey: `k${step.key}` };
        rig.ask(step.command, { id: name, timeoutMs: step.timeout, ...(step.bad && { paramsJSON: '{' }), ...key });
        break;
      }
      case 'cancel': {
        const name = `i${step.id}`;
        this.look();
        if (this.#asked.has(name) && !this.#answered.has(name)) this.#silent.add(name);
        rig.cancel(name);
        break;
      }
      case 'end': {
        const begun = rig.started[step.at % Math.max(1, rig.started.length)];
        if (step.how === 'ok') begun?.resolve(step.at);
        else if (step.how === 'throws') begun?.reject(new Error('no'));
        else begun?.resolve(1n);
        break;
      }
      case 'progress':
        rig.started[step.at % Math.max(1, rig.started.length)]?.context.progress('x');
        break;
      case 'wait':
        rig.runtime.run(step.ms);
        break;
      case 'refuse':
        rig.reply = () => Promise.reject(new Error('refused'));
        break;
      case 'accept':
        rig.reply = () => ({ ok: true });
        break;
      default:
        this.look();
        this.#asked.clear();
        this.#answered.clear();
        this.#silent.clear();
        this.#seq.clear();
        if (step.do === 'lost') rig.lost();
        else rig.up();
    }
    await calm();
    this.look();
  }

  look(): void {
    const { sent, engine, link, runtime, started } = this.rig;
    for (const { method, params, link: on } of sent.slice(this.#looked)) {
      assert.equal(on, link, 'sent on another connection than the one it was asked on');
      assert.ok(link > 0, 'sent without a link');
      const name = String(params['id'] ?? params['invokeId']);
      assert.ok(this.#asked.has(name), 'an answer to what this connection did not ask');
      assert.ok(!this.#answered.has(name), 'a second answer, or progress after the result');
      assert.ok(!this.#silent.has(name), 'an answer after a cancel');
      if (method === 'node.invoke.result') this.#answered.add(name);
      else {
        assert.equal(params['seq'], this.#seq.get(name) ?? 0);
        this.#seq.set(name, Number(params['seq']) + 1);
      }
    }
    this.#looked = sent.length;
    const { served, failed, aborted, open, running } = engine.counts();
    assert.equal(served + failed + aborted + open, this.#taken, 'every invocation is in one count');
    assert.equal(served + failed, this.rig.results().length);
    assert.equal(runtime.pending, open, 'a timer for each that is open, and no other');
    assert.ok(running <= open);
    const keys = started.flatMap(({ context: { idempotencyKey } }) => idempotencyKey ?? []);
    assert.equal(new Set(keys).size, keys.length, 'a key ran twice');
  }

  async close(): Promise<void> {
    await this.rig.engine.close();
    await calm();
    this.look();
    for (const { context, resolve } of this.rig.started) {
      resolve(1);
      context.progress('late');
    }
    await calm();
    this.look();
    assert.deepEqual([this.rig.engine.counts().open, this.rig.engine.counts().running], [0, 0]);
    assert.equal(this.rig.runtime.pending, 0);
  }
}

describe('invocations: any order of events', () => {
  it('one answer per id and connection, none after a cancel or a lost link, no key twice, nothing left over', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(STEP, { minLength: 1, maxLength: 50, size: 'max' }), async (steps) => {
        const watched = new Watched();
        for (const step of steps) await watched.take(step);
        await watched.close();
      }),
      { numRuns: 250 },
    );
  });
});

describe('invocations: with the embedded gateway', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  const attach = async (engine: Invocations, gateway: TestGateway, key: DeviceKey, on: Wire): Promise<void> => {
    const client = await bench.dial(gateway);
    await client.ok('connect', await key.node(client, { commands: engine.commands() }));
    on.client = client;
    engine.linkUp();
    client.ws.on('message', (data) => {
      const { event, payload } = JSON.parse(String(data)) as Frame;
      if (event !== undefined) engine.onEvent(event, payload);
    });
    client.ws.on('close', () => engine.linkLost('outage'));
  };

  interface Wire {
    client: RawClient | null;
  }

  /** What was sent before is answered before. */
  const received = async (wire: Wire): Promise<void> => {
    await wire.client?.ok('node.pending.pull', {});
  };

  const made = (key: DeviceKey): { engine: Invocations; wire: Wire } => {
    const wire: Wire = { client: null };
    const engine = new Invocations({
      nodeId: () => key.id,
      call: async (method, params) => (await wire.client?.ok(method, params)) ?? {},
      maxPayload: () => 26_214_400,
      scrub: (text) => text,
      log: () => {},
      runtime: systemRuntime,
    });
    return { engine, wire };
  };

  for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
    it(`${emulate}: serves, fails and times out as the caller sees it`, async () => {
      const gateway = await bench.gateway({ emulate });
      const key = new DeviceKey();
      const { engine, wire } = made(key);
      let aborted: Promise<unknown> | null = null;
      engine.handle('echo', (params, { progress }) => {
        progress('working');
        return params;
      });
      engine.handle('fail', () => Promise.reject(Object.assign(new Error('no such bin'), { code: 'ENOENT' })));
      engine.handle('stuck', (_params, { signal }) => {
        aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
        return new Promise(() => {});
      });
      await attach(engine, gateway, key, wire);
      const answer = await gateway.invoke(key.id, 'echo', { a: 1 });
      assert.deepEqual(Reflect.get(Object(answer), 'payload'), { a: 1 });
      await assert.rejects(gateway.invoke(key.id, 'fail'), /ENOENT: no such bin/);
      await assert.rejects(gateway.invoke(key.id, 'stuck', null, { timeoutMs: 20 }), /TIMEOUT/);
      await aborted;
      await received(wire);
      await engine.close();
      assert.equal(engine.counts().open, 0);
    });
  }

  it('answers on the next connection, and nothing of the last one there', async () => {
    const gateway = await bench.gateway();
    const key = new DeviceKey();
    const { engine, wire } = made(key);
    let answerLate: (value: unknown) => void = () => {};
    let begin: () => void = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    engine.handle('echo', (params) => {
      if (params !== 'late') return params;
      begin();
      return new Promise((resolve) => {
        answerLate = resolve;
      });
    });
    await attach(engine, gateway, key, wire);
    const lost = assert.rejects(gateway.invoke(key.id, 'echo', 'late'), /DISCONNECTED/);
    await begun;
    wire.client?.ws.terminate();
    await lost;
    await wire.client?.closed;
    await attach(engine, gateway, key, wire);
    answerLate('too late');
    const answer = await gateway.invoke(key.id, 'echo', 'again');
    assert.equal(Reflect.get(Object(answer), 'payload'), 'again');
    await received(wire);
    const { served, aborted, dropped } = engine.counts();
    assert.deepEqual([served, aborted, dropped], [1, 1, 1]);
  });
});
