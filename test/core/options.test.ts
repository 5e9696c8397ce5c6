import assert from 'node:assert/strict';
import { GatewayError } from '../../lib/core/errors.js';
import { type ClientOptions, checkUrl, parseCallOptions, parseOptions } from '../../lib/core/options.js';

const URL_OK = 'ws://127.0.0.1:18789';
const SECRET = 'hunter2-hunter2';

function parse(options: object) {
  return parseOptions({ url: URL_OK, ...options } as ClientOptions, 'a1', '1.2.3');
}

/** The text of the error that these options are refused with. */
function refusal(options: object): string {
  try {
    parse(options);
  } catch (error) {
    assert.ok(error instanceof GatewayError, String(error));
    assert.deepEqual([error.reason, error.outcome, error.code], ['local', 'not-sent', 'HOLDFAST_OPTIONS']);
    assert.ok(error.remedy.length > 10);
    return error.message;
  }
  throw new assert.AssertionError({ message: `accepted: ${JSON.stringify(options)}` });
}

describe('options', () => {
  it('need nothing but an address, and every default is the documented one', () => {
    const { policy, role, scopes, client, call, liveness } = parse({});
    assert.deepEqual(policy.outage, { initialDelay: 1000, maxDelay: 30_000, factor: 2, jitter: 0.5 });
    assert.deepEqual(policy.restart, {
      loopback: { initialDelay: 50, maxDelay: 250, factor: 1.5, jitter: 0.5 },
      remote: { initialDelay: 1000, maxDelay: 5000, factor: 1.6, jitter: 0.5 },
      window: 60_000,
    });
    assert.deepEqual([policy.blocked.initialDelay, policy.blocked.maxDelay], [15_000, 60_000]);
    assert.deepEqual([policy.minUptime, policy.connectTimeout, policy.onPermanent], [10_000, 20_000, 'hold']);
    assert.deepEqual(policy.giveUp, { after: null, maxAttempts: null });
    assert.deepEqual(policy.heartbeat, { timeout: null, ping: null });
    assert.deepEqual(
      [role, scopes.length, client.id, client.mode, client.version],
      ['operator', 3, 'gateway-client', 'backend', '1.2.3'],
    );
    assert.deepEqual(call, { timeout: 30_000, deadline: 120_000, retry: 'restart' });
    assert.deepEqual(liveness, { file: null, interval: 5000 });
  });

  it('reach the policy one by one, since an option that changes nothing is a lie', () => {
    const { policy } = parse({
      reconnect: {
        initialDelay: 0,
        maxDelay: 9,
        factor: 1,
        jitter: 0,
        restart: { initialDelay: 1, maxDelay: 2, factor: 3, window: 0 },
        minUptime: 0,
        connectTimeout: 7,
      },
      blocked: { initialDelay: 0, maxDelay: 5 },
      giveUp: { after: 600, maxAttempts: 4 },
      onPermanent: 'stop',
      heartbeat: { timeout: 100, ping: 10 },
    });
    assert.deepEqual(policy.outage, { initialDelay: 0, maxDelay: 9, factor: 1, jitter: 0 }, 'zero is a value');
    assert.deepEqual(policy.restart.loopback, { initialDelay: 1, maxDelay: 2, factor: 3, jitter: 0 });
    assert.deepEqual([policy.restart.window, policy.minUptime, policy.connectTimeout], [0, 0, 7]);
    assert.deepEqual([policy.blocked.initialDelay, policy.blocked.maxDelay], [0, 5]);
    assert.deepEqual(
      [policy.giveUp, policy.onPermanent, policy.heartbeat],
      [{ after: 600, maxAttempts: 4 }, 'stop', { timeout: 100, ping: 10 }],
    );
    assert.equal(parse({ heartbeat: false }).policy.heartbeat, null);
  });

  it('are refused with an unknown key, because a misspelt option must not be silently ignored', () => {
    assert.match(refusal({ recconect: {} }), /unknown "recconect"/);
    assert.match(refusal({ reconnect: { maxDelayMs: 1 } }), /reconnect: unknown "maxDelayMs"/);
    assert.match(refusal({ reconnect: { restart: { jitter: 0 } } }), /reconnect\.restart: unknown "jitter"/);
    assert.match(refusal({ call: { retries: 3 } }), /call: unknown "retries"/);
  });

  it('are refused with the path of each wrong type or negative time', () => {
    const wrong: [object, RegExp][] = [
      [{ reconnect: { initialDelay: -1 } }, /reconnect\.initialDelay/],
      [{ reconnect: { maxDelay: '30s' } }, /reconnect\.maxDelay/],
      [{ reconnect: { factor: 0.5 } }, /reconnect\.factor/],
      [{ reconnect: { jitter: 1.1 } }, /reconnect\.jitter/],
      [{ reconnect: { connectTimeout: 0 } }, /reconnect\.connectTimeout/],
      [{ reconnect: { minUptime: Number.NaN } }, /reconnect\.minUptime/],
      [{ reconnect: { fleet: { size: 0, acceptRate: 1 } } }, /reconnect\.fleet\.size/],
      [{ giveUp: { after: Number.POSITIVE_INFINITY } }, /giveUp/],
      [{ giveUp: { maxAttempts: 0 } }, /giveUp/],
      [{ giveUp: {} }, /giveUp/],
      [{ onPermanent: 'exit' }, /onPermanent/],
      [{ heartbeat: { timeout: 0 } }, /heartbeat/],
      [{ role: 'admin' }, /role/],
      [{ scopes: [''] }, /scopes\.0/],
      [{ token: '' }, /token/],
      [{ token: { file: '' } }, /token/],
      [{ call: { maxAttempts: 0 } }, /call\.maxAttempts/],
      [{ liveness: { interval: 5000 } }, /liveness/],
      [{ logger: { info() {} } }, /logger/],
      [{ url: 7 }, /url/],
    ];
    for (const [options, path] of wrong) assert.match(refusal(options), path, JSON.stringify(options));
  });

  it('name every mistake at once, so that nobody mends them one by one', () => {
    const text = refusal({ role: 'admin', onPermanent: 'exit' });
    assert.match(text, /role.*onPermanent/);
  });

  it('are refused when a cap lies below its first delay', () => {
    assert.match(
      refusal({ reconnect: { initialDelay: 10, maxDelay: 9 } }),
      /reconnect\.maxDelay: 9 is less than reconnect\.initialDelay 10/,
    );
    assert.match(
      refusal({ reconnect: { restart: { initialDelay: 10, maxDelay: 9 } } }),
      /reconnect\.restart\.maxDelay/,
    );
    assert.match(refusal({ blocked: { initialDelay: 10, maxDelay: 9 } }), /blocked\.maxDelay/);
  });

  it('move the other end of a pair when only one is given, instead of contradicting the default', () => {
    assert.equal(parse({ reconnect: { initialDelay: 60_000 } }).policy.outage.maxDelay, 60_000);
    assert.equal(parse({ blocked: { maxDelay: 1000 } }).policy.blocked.initialDelay, 1000);
    assert.deepEqual(parse({ reconnect: { restart: { maxDelay: 20 } } }).policy.restart.loopback.initialDelay, 20);
  });

  it('never echo a value that may be a secret', () => {
    for (const options of [
      { token: { path: SECRET } },
      { token: [SECRET] },
      { password: { file: '', env: SECRET } },
      { url: `ws://user:${SECRET}@127.0.0.1` },
      { url: `ws://127.0.0.1/?token=${SECRET}` },
      { url: SECRET },
      { tls: { fingerprint: [SECRET] } },
    ]) {
      const text = refusal(options);
      assert.ok(!text.includes(SECRET), text);
      assert.match(text, /url|token|password|tls/);
    }
  });

  it('hold a time that no timer can: 2^31 ms would fire at once, and a client would give up early', () => {
    for (const options of [
      { giveUp: { after: 2 ** 31 } },
      { reconnect: { maxDelay: 2 ** 31 } },
      { reconnect: { minUptime: 2 ** 31 } },
      { blocked: { maxDelay: 2 ** 31 } },
    ]) {
      assert.match(refusal(options), /giveUp|reconnect|blocked/, JSON.stringify(options));
    }
  });
});

describe('an address', () => {
  it('is loopback only by its name or number, because that decides about plaintext and pace', () => {
    for (const host of ['localhost', '127.0.0.1', '127.8.8.8', '[::1]', 'gw.localhost'])
      assert.equal(checkUrl(`ws://${host}:1`, false).loopback, true, host);
    for (const host of ['127.0.0.1.example.com', 'localhost.example.com', '10.0.0.1', '[::2]', '128.0.0.1']) {
      assert.equal(checkUrl(`wss://${host}:1`, false).loopback, false, host);
    }
  });

  it('is refused in plaintext to a remote host, unless that is asked for by name', () => {
    assert.match(refusal({ url: 'ws://gateway.example.com:1' }), /url: plaintext.*allowPlaintext/);
    assert.equal(parse({ url: 'ws://gateway.example.com:1', allowPlaintext: true }).allowPlaintext, true);
    assert.equal(parse({ url: 'wss://gateway.example.com:1' }).allowPlaintext, false);
  });

  it('is refused with another scheme, with credentials, a query or a fragment', () => {
    assert.match(refusal({ url: 'http://127.0.0.1:1' }), /scheme/);
    for (const url of [
      'ws://u@127.0.0.1',
      'ws://:p@127.0.0.1',
      'ws://127.0.0.1/?a=1',
      'ws://127.0.0.1/#a',
      'not a url',
    ])
      refusal({ url });
  });
});

describe('options of a call', () => {
  it('are parsed at the door as well', () => {
    assert.deepEqual(parseCallOptions({ timeout: 1, retry: 'never' }), { timeout: 1, retry: 'never' });
    assert.throws(() => parseCallOptions({ timeout: 0 }), /timeout/);
    assert.throws(() => parseCallOptions({ retries: 1 } as object), /unknown "retries"/);
  });
});
