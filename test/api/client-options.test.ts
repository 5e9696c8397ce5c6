import assert from 'node:assert/strict';
import { type ClientOptions, createClient, type GatewayError, isGatewayError } from '../../lib/index.js';
import { scratch } from '../support/liveness-records.js';

const URL_OK = 'ws://127.0.0.1:18789';

/** The error that these options are refused with. */
function refused(options: object): GatewayError {
  try {
    createClient({ url: URL_OK, logger: false, ...options } as ClientOptions);
  } catch (error) {
    assert.ok(isGatewayError(error), String(error));
    return error;
  }
  assert.fail(`accepted: ${JSON.stringify(options)}`);
}

/** Path in the message → options that are wrong there. */
const WRONG: readonly (readonly [path: string, options: object])[] = [
  ['url', { url: undefined }],
  ['url', { url: '' }],
  ['url', { url: 42 }],
  ['url', { url: 'not an address' }],
  ['url', { url: 'http://127.0.0.1:1' }],
  ['url', { url: 'ws://gateway.example.com' }],
  ['url', { url: 'ws://127.0.0.1.example.com' }],
  ['url', { url: 'ws://10.0.0.7:18789' }],
  ['url', { url: 'ws://user:word@127.0.0.1' }],
  ['url', { url: 'ws://127.0.0.1/?a=1' }],
  ['url', { url: 'ws://127.0.0.1/#a' }],
  ['tokn', { tokn: 'x' }],
  ['token', { token: '' }],
  ['token', { token: 7 }],
  ['token', { token: { file: '' } }],
  ['token', { token: { file: 'a', env: 'b' } }],
  ['password', { password: {} }],
  ['role', { role: 'admin' }],
  ['scopes.1', { scopes: ['operator.read', 3] }],
  ['client.mode', { client: { mode: '' } }],
  ['client', { client: { colour: 'red' } }],
  ['tls', { tls: { fingerprnt: 'ab' } }],
  ['allowPlaintext', { allowPlaintext: 'yes' }],
  ['reconnect', { reconnect: { maxDelays: 1 } }],
  ['reconnect.initialDelay', { reconnect: { initialDelay: -1 } }],
  ['reconnect.initialDelay', { reconnect: { initialDelay: '1s' } }],
  ['reconnect.initialDelay', { reconnect: { initialDelay: Number.NaN } }],
  ['reconnect.maxDelay', { reconnect: { initialDelay: 100, maxDelay: 99 } }],
  ['reconnect.maxDelay', { reconnect: { maxDelay: Number.POSITIVE_INFINITY } }],
  ['reconnect.factor', { reconnect: { factor: 0.5 } }],
  ['reconnect.jitter', { reconnect: { jitter: 1.01 } }],
  ['reconnect.minUptime', { reconnect: { minUptime: -1 } }],
  ['reconnect.connectTimeout', { reconnect: { connectTimeout: 0 } }],
  ['reconnect.restart.maxDelay', { reconnect: { restart: { initialDelay: 100, maxDelay: 99 } } }],
  ['reconnect.restart.window', { reconnect: { restart: { window: -1 } } }],
  ['reconnect.fleet.acceptRate', { reconnect: { fleet: { size: 10, acceptRate: 0 } } }],
  ['blocked.maxDelay', { blocked: { initialDelay: 100, maxDelay: 99 } }],
  ['giveUp', { giveUp: true }],
  ['giveUp', { giveUp: {} }],
  ['giveUp.after', { giveUp: { after: -5 } }],
  ['giveUp.maxAttempts', { giveUp: { maxAttempts: 0 } }],
  ['giveUp.maxAttempts', { giveUp: { maxAttempts: 2.5 } }],
  ['onPermanent', { onPermanent: 'exit' }],
  ['heartbeat.timeout', { heartbeat: { timeout: -1 } }],
  ['call.timeout', { call: { timeout: 0 } }],
  ['call.retry', { call: { retry: 'maybe' } }],
  ['call', { call: { retries: 3 } }],
  ['liveness.file', { liveness: { interval: 1000 } }],
  ['liveness.interval', { liveness: { file: 'x', interval: -1 } }],
  ['logger', { logger: { info() {} } }],
  ['runtime', { runtime: 'fast' }],
  ['runtime', { runtime: { now: () => 0 } }],
];

describe('options', () => {
  for (const [path, options] of WRONG) {
    it(`are refused before anything is done, naming ${path}: ${JSON.stringify(options, (_key, value) => (typeof value === 'number' ? String(value) : value))}`, () => {
      const error = refused(options);
      assert.deepEqual([error.reason, error.outcome, error.code], ['local', 'not-sent', 'HOLDFAST_OPTIONS']);
      assert.ok(error.message.includes(path), error.message);
      assert.ok(error.remedy.length > 0);
    });
  }

  it('name every mistake at once', () => {
    const { message } = refused({ token: 7, giveUp: { after: -1 }, colour: 'red' });
    for (const path of ['token', 'giveUp', 'colour']) assert.ok(message.includes(path), message);
  });

  it('X06 never repeat what may be a secret', () => {
    for (const options of [
      { url: 'ws://user:s3cret-value@127.0.0.1' },
      { url: 'ws://127.0.0.1/?token=s3cret-value' },
      { url: 's3cret-value' },
      { token: ['s3cret-value'] },
      { token: { value: 's3cret-value' } },
      { password: { file: 's3cret-value', more: 1 } },
    ]) {
      const error = refused(options);
      assert.ok(!`${error.message}${error.stack}${JSON.stringify(error)}`.includes('s3cret-value'), error.message);
    }
  });

  it('X09 permit plaintext to a remote host only by name; loopback and wss need no permission', () => {
    for (const options of [
      { url: 'ws://gateway.example.com', allowPlaintext: true },
      { url: 'wss://gateway.example.com' },
      { url: 'ws://localhost:18789' },
      { url: 'ws://[::1]:18789' },
      { url: 'ws://127.9.9.9:18789' },
    ]) {
      assert.equal(createClient({ logger: false, ...options }).health().state, 'idle');
    }
    assert.match(refused({ url: 'ws://gateway.example.com' }).message, /allowPlaintext/);
  });

  it('refuse a token file that cannot be read, and name it', () => {
    using dir = scratch();
    const error = refused({ token: { file: dir.at('missing') } });
    assert.equal(error.reason, 'local');
    assert.ok(error.message.includes('token') && error.message.includes(dir.at('missing')), error.message);
  });

  it('that are undefined are not given', () => {
    const client = createClient({
      url: URL_OK,
      logger: false,
      ...({ token: undefined, reconnect: { maxDelay: undefined }, call: { timeout: undefined } } as object),
    });
    assert.equal(client.health().state, 'idle');
  });
});
