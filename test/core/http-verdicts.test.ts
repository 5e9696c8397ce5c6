import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Knowledge, NO_KNOWLEDGE } from '../../lib/core/failure.js';
import {
  bodyDecides,
  classifyFetchError,
  classifyHttpResponse,
  type FetchFailure,
  type HttpAnswer,
  httpSafetyOf,
  retryAfterOf,
} from '../../lib/core/http-verdicts.js';

const RESTARTING: Knowledge = { ...NO_KNOWLEDGE, restarting: true };
const DRAINING: Knowledge = { ...NO_KNOWLEDGE, draining: true };
const STOPPED: Knowledge = { ...NO_KNOWLEDGE, stopped: true };

function judged(answer: HttpAnswer, known: Knowledge = NO_KNOWLEDGE): string {
  const failure = classifyHttpResponse(answer, known);
  return failure === null ? 'ordinary' : `${failure.reason} ${failure.outcome}`;
}

describe('an HTTP answer', () => {
  const cases: readonly [string, HttpAnswer, Knowledge, string][] = [
    ['200', { status: 200, contentType: 'application/json; charset=utf-8' }, NO_KNOWLEDGE, 'ordinary'],
    ['200 inside a restart', { status: 200 }, RESTARTING, 'ordinary'],
    ['event stream', { status: 200, contentType: 'text/event-stream' }, NO_KNOWLEDGE, 'ordinary'],
    ['204', { status: 204 }, NO_KNOWLEDGE, 'ordinary'],
    [
      'page of the user interface',
      { status: 200, contentType: 'text/html; charset=utf-8' },
      NO_KNOWLEDGE,
      'protocol unknown',
    ],
    ['page that was asked for', { status: 200, contentType: 'text/html', wantsHtml: true }, NO_KNOWLEDGE, 'ordinary'],
    ['bad request', { status: 400, errorType: 'invalid_request_error' }, RESTARTING, 'ordinary'],
    ['token of the gateway', { status: 401, errorType: 'unauthorized' }, NO_KNOWLEDGE, 'unauthorized not-executed'],
    ['key of the model provider', { status: 401, errorType: 'authentication_error' }, RESTARTING, 'ordinary'],
    ['bare 401', { status: 401 }, NO_KNOWLEDGE, 'ordinary'],
    ['403', { status: 403 }, NO_KNOWLEDGE, 'ordinary'],
    ['404', { status: 404, text: 'Not Found' }, NO_KNOWLEDGE, 'ordinary'],
    ['slow body', { status: 408 }, NO_KNOWLEDGE, 'timeout unknown'],
    ['409', { status: 409 }, NO_KNOWLEDGE, 'ordinary'],
    ['too early', { status: 425 }, NO_KNOWLEDGE, 'outage not-executed'],
    [
      'lockout',
      { status: 429, errorType: 'rate_limited', retryAfterMs: 300_000 },
      NO_KNOWLEDGE,
      'rate-limited not-executed',
    ],
    ['limit of a proxy', { status: 429 }, NO_KNOWLEDGE, 'rate-limited not-executed'],
    ['limit of the model provider', { status: 429, errorType: 'rate_limit_error' }, NO_KNOWLEDGE, 'ordinary'],
    ['quota of the model provider', { status: 429, errorType: 'insufficient_quota' }, NO_KNOWLEDGE, 'ordinary'],
    ['500', { status: 500, errorType: 'api_error' }, NO_KNOWLEDGE, 'ordinary'],
    ['500 inside a restart (trace)', { status: 500, errorType: 'api_error' }, RESTARTING, 'gateway-restart unknown'],
    ['500 inside a drain', { status: 500, errorType: 'api_error' }, DRAINING, 'gateway-draining unknown'],
    ['500 of a stopping gateway', { status: 500 }, STOPPED, 'gateway-stopped unknown'],
    ['501', { status: 501 }, RESTARTING, 'ordinary'],
    ['502 of a proxy', { status: 502 }, NO_KNOWLEDGE, 'outage unknown'],
    ['502 inside a restart', { status: 502 }, RESTARTING, 'gateway-restart unknown'],
    ['502 of the model provider', { status: 502, errorType: 'api_error' }, NO_KNOWLEDGE, 'ordinary'],
    ['504 of a proxy', { status: 504 }, NO_KNOWLEDGE, 'outage unknown'],
    [
      'drain',
      { status: 503, errorType: 'service_unavailable', errorCode: 'gateway_unavailable', retryAfterMs: 1000 },
      NO_KNOWLEDGE,
      'gateway-draining not-executed',
    ],
    [
      'drain of a known restart',
      { status: 503, errorCode: 'gateway_unavailable' },
      RESTARTING,
      'gateway-restart not-executed',
    ],
    ['start-up', { status: 503, text: 'Plugin runtime is starting' }, NO_KNOWLEDGE, 'gateway-starting not-executed'],
    ['503 of a proxy', { status: 503, text: 'Service Unavailable' }, NO_KNOWLEDGE, 'outage unknown'],
    ['overloaded model provider', { status: 503, errorType: 'api_error' }, NO_KNOWLEDGE, 'ordinary'],
  ];
  for (const [name, answer, known, expected] of cases) {
    it(`${name}: ${expected}`, () => assert.equal(judged(answer, known), expected));
  }

  it('keeps the hint, and waits out a lockout that names none', () => {
    const hint = (answer: HttpAnswer): number | undefined => classifyHttpResponse(answer, NO_KNOWLEDGE)?.retryAfter;
    assert.equal(hint({ status: 503, errorCode: 'gateway_unavailable', retryAfterMs: 1000 }), 1000);
    assert.equal(hint({ status: 429, errorType: 'rate_limited' }), 15_000);
    assert.equal(hint({ status: 502 }), undefined);
  });

  it('needs the body only where the body decides', () => {
    assert.deepEqual([200, 401, 404, 429, 500, 502, 503, 504].filter(bodyDecides), [401, 429, 502, 503, 504]);
  });

  it('never claims not-executed of a 2xx, 404, 408, 500, 502 or 504', () => {
    const answer = fc.record({
      status: fc.constantFrom(200, 201, 404, 408, 500, 502, 504),
      errorType: fc.string(),
      errorCode: fc.string(),
      text: fc.string(),
    });
    fc.assert(
      fc.property(answer, fc.boolean(), (shape, restarting) => {
        const failure = classifyHttpResponse(shape, { ...NO_KNOWLEDGE, restarting });
        assert.ok(failure === null || failure.outcome === 'unknown');
      }),
      { numRuns: 200 },
    );
  });
});

describe('an error of fetch', () => {
  const base: FetchFailure = { name: 'TypeError', headersSeen: false };
  const seen = (shape: Partial<FetchFailure>, known: Knowledge = NO_KNOWLEDGE): string => {
    const failure = classifyFetchError({ ...base, ...shape }, known);
    return `${failure.reason} ${failure.outcome}`;
  };

  it('is unsent when the connection was never made', () => {
    assert.equal(seen({ code: 'ECONNREFUSED', syscall: 'connect' }), 'outage not-sent');
    assert.equal(seen({ code: 'ECONNRESET', syscall: 'connect' }), 'outage not-sent');
    assert.equal(seen({ code: 'ENOTFOUND', syscall: 'getaddrinfo' }), 'outage not-sent');
    assert.equal(seen({ code: 'UND_ERR_CONNECT_TIMEOUT', name: 'ConnectTimeoutError' }), 'unresponsive not-sent');
    assert.equal(seen({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }), 'local not-sent');
    assert.equal(seen({ code: 'ERR_SSL_WRONG_VERSION_NUMBER' }), 'protocol not-sent');
    assert.equal(seen({ code: 'EMFILE', syscall: 'connect' }), 'local not-sent');
    assert.equal(seen({ code: 'ERR_INVALID_URL' }), 'local not-sent');
    assert.equal(seen({ code: 'ECONNRESET', bytesHandedOver: false }), 'outage not-sent');
  });

  it('is unknown in every other case', () => {
    for (const code of ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'EPROTO', 'UND_ERR_DESTROYED', 'X']) {
      assert.equal(seen({ code }), 'outage unknown', code);
    }
    assert.equal(seen({ code: 'ECONNRESET', syscall: 'read' }), 'outage unknown');
    assert.equal(seen({ code: 'UND_ERR_HEADERS_TIMEOUT' }), 'timeout unknown');
    assert.equal(seen({ code: 'UND_ERR_BODY_TIMEOUT', headersSeen: true }), 'timeout unknown');
    assert.equal(seen({ code: 'HPE_INVALID_CONSTANT' }), 'protocol unknown');
    assert.equal(seen({}), 'outage unknown');
  });

  it('believes no "never connected" once a response has begun: an earlier hop had the request', () => {
    assert.equal(seen({ code: 'ECONNREFUSED', syscall: 'connect', headersSeen: true }), 'outage unknown');
  });

  it('is explained by what the link knows', () => {
    assert.equal(seen({ code: 'ECONNREFUSED', syscall: 'connect' }, RESTARTING), 'gateway-restart not-sent');
    assert.equal(seen({ code: 'UND_ERR_SOCKET' }, RESTARTING), 'gateway-restart unknown');
    assert.equal(seen({ code: 'UND_ERR_SOCKET' }, STOPPED), 'gateway-stopped unknown');
    assert.equal(seen({ code: 'UND_ERR_CONNECT_TIMEOUT' }, DRAINING), 'gateway-draining not-sent');
    assert.equal(seen({ code: 'HPE_INVALID_CONSTANT' }, RESTARTING), 'protocol unknown');
  });

  it('tells our own signals apart', () => {
    const caller = classifyFetchError({ ...base, name: 'AbortError', aborted: 'caller' }, RESTARTING);
    assert.deepEqual(
      [caller.reason, caller.outcome, caller.code, caller.permanent],
      ['local', 'unknown', 'ABORTED', true],
    );
    assert.equal(seen({ aborted: 'caller', bytesHandedOver: false }), 'local not-sent');
    assert.equal(seen({ aborted: 'timeout' }), 'timeout unknown');
    const stall = classifyFetchError({ ...base, aborted: 'stall', headersSeen: true }, NO_KNOWLEDGE);
    assert.deepEqual([stall.reason, stall.code], ['timeout', 'BODY_STALLED']);
  });

  it('is not-sent for no error after the bytes had left, whatever its code', () => {
    const shape = fc.record({
      name: fc.string(),
      code: fc.oneof(fc.string(), fc.constantFrom('ECONNREFUSED', 'UND_ERR_SOCKET', 'toString')),
      syscall: fc.constantFrom('read', 'write', 'shutdown'),
      headersSeen: fc.constant(true),
    });
    fc.assert(fc.property(shape, (failure) => classifyFetchError(failure, NO_KNOWLEDGE).outcome === 'unknown'));
  });
});

describe('Retry-After', () => {
  const wall = Date.parse('Wed, 21 Oct 2026 07:28:00 GMT');
  it('is seconds or a date', () => {
    assert.equal(retryAfterOf('1', wall), 1000);
    assert.equal(retryAfterOf(' 3600 ', wall), 3_600_000);
    assert.equal(retryAfterOf('0', wall), 0);
    assert.equal(retryAfterOf('Wed, 21 Oct 2026 07:29:00 GMT', wall), 60_000);
    assert.equal(retryAfterOf('Wed, 21 Oct 2026 07:27:00 GMT', wall), 0);
  });
  it('is no hint when it is garbage', () => {
    for (const text of [null, '', 'abc', '-5', '1.5', '1e3', 'Infinity', '2026-10-21', '99999999999']) {
      assert.equal(retryAfterOf(text, wall), undefined, String(text));
    }
  });
});

describe('the safety of an HTTP method', () => {
  it('follows RFC 9110', () => {
    assert.deepEqual(['GET', 'head', 'OPTIONS', 'TRACE'].map(httpSafetyOf), ['read', 'read', 'read', 'read']);
    assert.deepEqual(['PUT', 'DELETE'].map(httpSafetyOf), ['repeatable', 'repeatable']);
    assert.deepEqual(['POST', 'PATCH', 'PURGE', ''].map(httpSafetyOf), ['once', 'once', 'once', 'once']);
  });
});
