import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  encodeRequest,
  identityOf,
  MAX_FRAME_BYTES,
  parseChallenge,
  parseFrame,
  parseHello,
  parseShutdown,
} from '../../lib/core/frames.js';

const HELLO = {
  type: 'hello-ok',
  protocol: 4,
  server: { version: '2026.9.6', connId: 'c-1', bootId: 'b-1', buildId: 'x' },
  features: { methods: ['health'], events: ['tick'], capabilities: [] },
  snapshot: { uptimeMs: 1, authMode: 'token' },
  auth: {
    role: 'operator',
    scopes: ['operator.read'],
    method: 'token',
    deviceToken: 'secret-1',
    deviceTokens: ['secret-2'],
  },
  policy: { maxPayload: 26_214_400, maxBufferedBytes: 52_428_800, tickIntervalMs: 30_000 },
  canvasHostUrl: 'http://127.0.0.1/secret-3',
  controlUiUrl: 'http://127.0.0.1/secret-4',
};

/** Parsed, or the test fails. */
function hello(payload: unknown) {
  const parsed = parseHello(payload);
  assert.ok(parsed.ok, 'no hello');
  return parsed;
}

function error(value: unknown): unknown {
  const parsed = parseFrame(JSON.stringify({ type: 'res', id: '1', ok: false, error: value }));
  assert.ok(parsed.ok && parsed.frame.type === 'res');
  return parsed.frame.error;
}

describe('a frame of the wire', () => {
  it('is an event or a response, and keys that no schema knows are let pass: gateways send them', () => {
    assert.deepEqual(
      parseFrame(
        '{"type":"event","event":"tick","payload":{"ts":1},"seq":7,"stateVersion":{},"recipientProfileId":"x"}',
      ),
      {
        ok: true,
        frame: { type: 'event', event: 'tick', payload: { ts: 1 }, seq: 7 },
      },
    );
    assert.deepEqual(parseFrame('{"type":"res","id":"1","ok":true,"payload":null}'), {
      ok: true,
      frame: { type: 'res', id: '1', ok: true, payload: null, error: null },
    });
  });

  it('is otherwise refused with a reason and never with an exception, whatever text comes', () => {
    const bad = [
      '',
      'null',
      '7',
      '[]',
      '"x"',
      '{',
      '{"type":"event"}',
      '{"type":"event","event":""}',
      '{"type":"req","id":"1","method":"x"}',
    ];
    const worse = ['{"type":"res","id":1,"ok":true}', '{"__proto__":{"type":"event"}}'];
    for (const text of [...bad, ...worse]) assert.equal(parseFrame(text).ok, false, text);
    assert.equal(parseFrame('['.repeat(100_000)).ok, false);
    assert.equal(parseFrame(`{"type":"event","event":"x","payload":${'['.repeat(5000)}${']'.repeat(5000)}}`).ok, true);
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => typeof parseFrame(text).ok === 'boolean'));
  });

  it('keeps a sequence number only when it is one', () => {
    for (const seq of [-1, 1.5, '7', null, 1e300]) {
      const parsed = parseFrame(JSON.stringify({ type: 'event', event: 'x', seq }));
      assert.ok(parsed.ok && parsed.frame.type === 'event');
      assert.equal(parsed.frame.seq, null, String(seq));
    }
  });

  it('leaves Object.prototype alone, because a key named __proto__ is only a key', () => {
    const before = Object.getOwnPropertyNames(Object.prototype);
    parseFrame(
      '{"type":"event","event":"__proto__","payload":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}',
    );
    parseHello(JSON.parse(`${JSON.stringify(HELLO).slice(0, -1)},"__proto__":{"polluted":1}}`));
    assert.deepEqual(Object.getOwnPropertyNames(Object.prototype), before);
    assert.equal(({} as { polluted?: number }).polluted, undefined);
  });
});

describe('the error of a refused request', () => {
  it('is there for an answer that is neither yes nor no: its call fails, and only that call', () => {
    for (const ok of ['yes', 1, null, {}]) {
      const parsed = parseFrame(JSON.stringify({ type: 'res', id: '1', ok, payload: {} }));
      assert.ok(parsed.ok && parsed.frame.type === 'res');
      assert.deepEqual([parsed.frame.ok, parsed.frame.error?.code], [false, 'MALFORMED_ERROR'], JSON.stringify(ok));
    }
  });

  it('is kept with its details and its checked hints', () => {
    const word = {
      code: 'UNAVAILABLE',
      message: 'gateway starting',
      details: { reason: 'startup-sidecars' },
      retryable: true,
      retryAfterMs: 500,
    };
    assert.deepEqual(error(word), word);
  });

  it('loses hints that are none, and its text becomes one bounded line', () => {
    for (const retryAfterMs of [-1, 1.5, '500', null, [500]]) {
      assert.deepEqual(
        error({ code: 'X', message: 'm', retryable: 'yes', retryAfterMs }),
        { code: 'X', message: 'm' },
        String(retryAfterMs),
      );
    }
    const long = error({ code: 'X\nY', message: `a\n${'b'.repeat(9000)}` }) as { code: string; message: string };
    assert.equal(long.code, 'X Y');
    assert.equal(long.message.length, 512);
    assert.ok(!/[\r\n]/.test(long.message));
  });

  it('is said to be malformed when nothing readable came, because a refusal stays a refusal', () => {
    for (const value of [undefined, null, 'no', 7, [], {}, { code: 7, message: 'x' }, { code: 'X' }]) {
      assert.equal((error(value) as { code: string }).code, 'MALFORMED_ERROR', JSON.stringify(value));
    }
  });

  it('is nothing on a success, even when a gateway sends one along', () => {
    const parsed = parseFrame('{"type":"res","id":"1","ok":true,"error":{"code":"X","message":"m"}}');
    assert.ok(parsed.ok && parsed.frame.type === 'res' && parsed.frame.error === null);
  });
});

describe('a challenge', () => {
  it('is a nonce, trimmed, with the time of the gateway when there is one', () => {
    assert.deepEqual(parseChallenge({ nonce: ' n-1 ', ts: 1_795_191_101_023, capabilities: [] }), {
      nonce: 'n-1',
      ts: 1_795_191_101_023,
    });
    for (const ts of [undefined, null, -1, 1.5, '1', 1e300])
      assert.deepEqual(parseChallenge({ nonce: 'n', ts }), { nonce: 'n', ts: null }, String(ts));
  });

  it('is refused when its nonce could not be signed safely: then nothing is sent to such a peer', () => {
    const bad: unknown[] = ['', ' ', 7, null, undefined, 'a|b', 'a\rb', 'a\nb', 'a\0b', 'x'.repeat(513), {}, ['n']];
    for (const nonce of bad) assert.equal(parseChallenge({ nonce }), null, JSON.stringify(nonce));
    for (const payload of [null, undefined, [], 'n', 7]) assert.equal(parseChallenge(payload), null);
  });
});

describe('a hello', () => {
  it('is read with everything the client needs, from a gateway that sends more than its schema says', () => {
    const { hello: read, defaulted } = hello(HELLO);
    assert.deepEqual(defaulted, []);
    assert.deepEqual(read.server, { version: '2026.9.6', connId: 'c-1', bootId: 'b-1' });
    assert.deepEqual(read.auth, { role: 'operator', scopes: ['operator.read'], method: 'token' });
    assert.deepEqual(read.policy, { maxPayload: 26_214_400, tickIntervalMs: 30_000 });
    assert.deepEqual(identityOf(read), { version: '2026.9.6', connId: 'c-1', bootId: 'b-1', protocol: 4 });
  });

  it('hands on no token and no capability address', () => {
    assert.ok(!JSON.stringify(hello(HELLO).hello).includes('secret-'), JSON.stringify(hello(HELLO).hello));
  });

  it('takes its defaults for unusable limits and names them, because a timer of 1e12 ms would fire at once', () => {
    for (const bad of [0, -1, '30000', 1e12, null, 1.5, {}]) {
      const { hello: read, defaulted } = hello({ ...HELLO, policy: { tickIntervalMs: bad, maxPayload: bad } });
      assert.deepEqual(read.policy, { maxPayload: MAX_FRAME_BYTES, tickIntervalMs: 30_000 }, String(bad));
      assert.deepEqual(defaulted, ['policy.maxPayload', 'policy.tickIntervalMs']);
    }
    const { policy: _none, ...without } = HELLO;
    assert.equal(hello(without).hello.policy.tickIntervalMs, 30_000);
  });

  it('is one from an old gateway too: no auth, no boot id', () => {
    const { hello: read } = hello({
      type: 'hello-ok',
      protocol: 3,
      server: { version: '2026.4.15', connId: 'c' },
      policy: HELLO.policy,
    });
    assert.deepEqual(read.auth, { scopes: [] });
    assert.deepEqual(identityOf(read), { version: '2026.4.15', connId: 'c', protocol: 3 });
  });

  it('survives wrong types in what it only informs about', () => {
    const { hello: read } = hello({
      type: 'hello-ok',
      protocol: 4,
      server: { version: 7, bootId: ['b'] },
      auth: { scopes: 'all' },
      features: 7,
      policy: 'x',
    });
    assert.deepEqual(read.server, {});
    assert.deepEqual(read.auth.scopes, []);
    assert.deepEqual(read.methods, []);
  });

  it('is none without its type or protocol', () => {
    for (const bad of [
      null,
      {},
      'hello-ok',
      [],
      { type: 'hello-ok' },
      { type: 'hello', protocol: 4 },
      { type: 'hello-ok', protocol: '4' },
      { type: 'hello-ok', protocol: 0 },
    ]) {
      assert.equal(parseHello(bad).ok, false, JSON.stringify(bad));
    }
  });
});

describe('a shutdown', () => {
  it('is a restart when it carries a number, and a stop when it does not', () => {
    assert.deepEqual(parseShutdown({ reason: 'gateway restarting', restartExpectedMs: 1500 }), {
      restartExpectedMs: 1500,
    });
    assert.deepEqual(parseShutdown({ restartExpectedMs: 0 }), { restartExpectedMs: 0 });
    for (const payload of [
      { reason: 'gateway stopping' },
      { restartExpectedMs: null },
      { restartExpectedMs: '1500' },
      {},
      null,
      undefined,
      'x',
      [],
    ]) {
      assert.deepEqual(parseShutdown(payload), { restartExpectedMs: null }, JSON.stringify(payload));
    }
  });

  it('is still a restart with a number that is no time: the number says that it comes back, not when', () => {
    for (const odd of [-1, 1.5, 1e300])
      assert.deepEqual(parseShutdown({ restartExpectedMs: odd }), { restartExpectedMs: 0 }, String(odd));
  });
});

describe('a request', () => {
  it('carries four keys and no more, because an old gateway closes the socket on a fifth', () => {
    assert.deepEqual(JSON.parse(encodeRequest('1', 'health', undefined)), {
      type: 'req',
      id: '1',
      method: 'health',
      params: {},
    });
    assert.deepEqual(JSON.parse(encodeRequest('2', 'agents.create', { name: 'a' })), {
      type: 'req',
      id: '2',
      method: 'agents.create',
      params: { name: 'a' },
    });
  });
});
