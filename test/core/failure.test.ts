import assert from 'node:assert/strict';
import {
  classify,
  type Evidence,
  exitCodeOf,
  type GatewayWord,
  type Knowledge,
  NO_KNOWLEDGE,
  printable,
  validHint,
} from '../../lib/core/failure.js';
import { CONNECT_DETAIL_CODES, LOCAL_RESOURCE_CODES, REMEDIES, TLS_TRUST_CODES } from '../../lib/core/verdicts.js';
import { type Action, REASONS, type Reason } from '../../lib/core/vocabulary.js';
import { closed, refused } from '../model/machine.js';
import { CONNECT_ERRORS, LOST_LINKS } from '../model/verdict-tables.js';

const RESTARTING: Knowledge = { ...NO_KNOWLEDGE, restarting: true };
const STOPPED: Knowledge = { ...NO_KNOWLEDGE, stopped: true };
const DRAINING: Knowledge = { ...NO_KNOWLEDGE, draining: true };

function verdict(evidence: Evidence, known: Knowledge = NO_KNOWLEDGE): string {
  const { reason, action } = classify(evidence, known);
  return `${reason} ${action}`;
}

function socket(code: string, phase: 'tcp' | 'tls' | 'upgrade' | 'dns' = 'tcp'): Evidence {
  return { kind: 'socket', phase, code, message: code };
}

function upgrade(status: number, retryAfterMs?: number): Evidence {
  return { kind: 'upgrade', status, body: 'said the proxy', ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

describe('why a connect was refused', () => {
  for (const [code, details, reason, action] of CONNECT_ERRORS) {
    it(`is ${reason} (${action}) for ${code} ${JSON.stringify(details) ?? 'without details'}`, () => {
      assert.equal(verdict(refused(code, details)), `${reason} ${action}`);
      assert.equal(
        verdict(refused(code, details), RESTARTING),
        `${reason} ${action}`,
        'inside a restart too: the gateway speaks for itself',
      );
    });
  }

  it('has a row here for every code of the table, so that none is guessed', () => {
    const tested = new Set(CONNECT_ERRORS.map(([, details]) => (details as { code?: string } | undefined)?.code));
    assert.deepEqual(
      [...CONNECT_DETAIL_CODES.keys()].filter((code) => !tested.has(code)),
      [],
    );
  });

  it('obeys `retryable` of an unknown code, because a later gateway knows better than this table', () => {
    assert.equal(
      verdict(refused('INVALID_REQUEST', { code: 'AUTH_FUTURE_X' }, { retryable: true })),
      'unauthorized soon',
    );
    assert.equal(verdict(refused('FUTURE_X', undefined, { retryable: true })), 'outage soon');
    assert.equal(verdict(refused('FUTURE_X')), 'protocol human');
  });

  it('survives hostile details, because they are untrusted', () => {
    const hostile: unknown[] = [
      null,
      [],
      'AUTH_TOKEN_MISMATCH',
      7,
      { code: 7 },
      { code: { toString: 1 } },
      { reason: [] },
      { code: '__proto__' },
      { code: 'constructor' },
    ];
    for (const details of hostile)
      assert.equal(verdict(refused('INVALID_REQUEST', details)), 'protocol human', JSON.stringify(details));
    assert.equal(verdict(refused('__proto__')), 'protocol human');
  });

  it('keeps the word of the gateway and names what is awaited: an approval with the command that gives it', () => {
    const failure = classify(refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED', requestId: 'r-1' }), NO_KNOWLEDGE);
    assert.equal(failure.gateway?.code, 'NOT_PAIRED');
    assert.match(failure.awaiting ?? '', /openclaw devices approve r-1$/);
    for (const requestId of ['r-1\nforged', 'x; rm -rf /', '$(id)', 7]) {
      const hostile = classify(refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED', requestId }), NO_KNOWLEDGE);
      assert.match(hostile.awaiting ?? '', /approve <requestId>$/, 'people paste it into a shell');
    }
    assert.equal(failure.code, 'PAIRING_REQUIRED');
  });

  it('counts a stale nonce as a strike: worth a new challenge once, a fault of ours three times', () => {
    assert.equal(
      classify(refused('INVALID_REQUEST', { code: 'DEVICE_AUTH_NONCE_MISMATCH' }), NO_KNOWLEDGE).strike,
      true,
    );
    assert.equal(classify(refused('INVALID_REQUEST', { code: 'AUTH_TOKEN_MISMATCH' }), NO_KNOWLEDGE).strike, undefined);
  });
});

describe('why a link was lost', () => {
  for (const [code, text, reason] of LOST_LINKS) {
    it(`is ${reason} for close ${code} "${text}"`, () => {
      assert.equal(
        verdict(closed(code, text)),
        `${reason} soon`,
        'always worth a redial: only our own close ends the link for good',
      );
      const failure = classify(closed(code, text), NO_KNOWLEDGE);
      assert.deepEqual([failure.code, failure.closeCode, failure.closeReason], [`CLOSE_${code}`, code, text]);
      const inside = reason === 'outage' ? 'gateway-restart' : reason;
      assert.equal(verdict(closed(code, text), RESTARTING), `${inside} soon`);
      assert.equal(verdict(closed(code, text), STOPPED), `${reason === 'outage' ? 'gateway-stopped' : reason} soon`);
    });
  }

  it('is unresponsive for silence, also in a restart: the link was there and said nothing', () => {
    assert.equal(verdict({ kind: 'silence', ms: 60_000 }), 'unresponsive soon');
  });
});

describe('why a socket closed before its hello', () => {
  const early = (code: number, reason: string): string => verdict(closed(code, reason, 'hello'));

  it('is told by the text of 1013, when no refusal came before it', () => {
    assert.equal(early(1013, 'gateway starting'), 'gateway-starting soon');
    assert.equal(early(1013, 'gateway restart in progress'), 'gateway-draining soon');
    assert.equal(early(1013, 'gateway suspension in progress'), 'gateway-draining soon');
  });

  it('is the credentials for 1008 with their words, and a protocol strike for any other 1008 and for 1002', () => {
    for (const text of [
      'unauthorized: gateway token mismatch (…)',
      'device identity required',
      'pairing required: … (requestId: 1)',
    ]) {
      assert.equal(early(1008, text), 'unauthorized fresh', text);
    }
    assert.equal(early(1008, 'invalid request frame'), 'protocol soon');
    assert.equal(early(1002, 'protocol mismatch'), 'protocol soon');
  });

  it('is an outage for 1000 "": a handshake timeout of the gateway is no clean end', () => {
    assert.equal(early(1000, ''), 'outage soon');
    assert.equal(verdict(closed(1000, '', 'hello'), RESTARTING), 'gateway-restart soon');
  });
});

describe('why a dial failed', () => {
  it('is an outage for every plain error of the network, and part of a restart or stop that is known of', () => {
    for (const code of [
      'ECONNREFUSED',
      'ECONNRESET',
      'ENOTFOUND',
      'EAI_AGAIN',
      'EHOSTUNREACH',
      'ENETUNREACH',
      'ETIMEDOUT',
      'EPIPE',
    ]) {
      assert.equal(verdict(socket(code)), 'outage soon', code);
      assert.equal(verdict(socket(code), RESTARTING), 'gateway-restart soon', code);
      assert.equal(verdict(socket(code), STOPPED), 'gateway-stopped soon', code);
      assert.equal(
        verdict(socket(code), { restarting: true, stopped: true, draining: true }),
        'gateway-stopped soon',
        'a stop wins',
      );
    }
  });

  it('is ours for a full table of descriptors or ports, which says nothing of the gateway even in a restart', () => {
    for (const code of LOCAL_RESOURCE_CODES) {
      const failure = classify(socket(code), RESTARTING);
      assert.deepEqual([failure.reason, failure.action, failure.retryAfter], ['local', 'soon', 5000], code);
    }
  });

  it('is ours, with a strike, for a certificate that is not trusted', () => {
    for (const code of TLS_TRUST_CODES) {
      const failure = classify(socket(code, 'tls'), NO_KNOWLEDGE);
      assert.deepEqual([failure.reason, failure.strike], ['local', true], code);
    }
  });

  it('is the protocol, with a strike, for a peer that speaks another one', () => {
    for (const evidence of [
      socket('EPROTO', 'tls'),
      socket('ERR_SSL_WRONG_VERSION_NUMBER', 'tls'),
      socket('HPE_INVALID_CONSTANT', 'upgrade'),
      socket('WS_ERR_INVALID_OPCODE', 'upgrade'),
    ]) {
      assert.deepEqual(
        [classify(evidence, NO_KNOWLEDGE).reason, classify(evidence, NO_KNOWLEDGE).strike],
        ['protocol', true],
      );
    }
    assert.equal(
      classify({ kind: 'garbage', phase: 'hello', code: 'BAD_HELLO', message: '' }, NO_KNOWLEDGE).strike,
      true,
    );
  });

  it('is read from the status of a refused upgrade, with its hint', () => {
    const statuses: [number, string][] = [
      [200, 'protocol human'],
      [302, 'protocol soon'],
      [400, 'protocol human'],
      [401, 'unauthorized fresh'],
      [403, 'unauthorized fresh'],
      [404, 'protocol human'],
      [429, 'rate-limited soon'],
      [500, 'outage soon'],
      [502, 'outage soon'],
      [503, 'outage soon'],
      [504, 'outage soon'],
    ];
    for (const [status, expected] of statuses) assert.equal(verdict(upgrade(status)), expected, String(status));
    const { retryAfter, httpStatus, code, message } = classify(upgrade(503, 7000), NO_KNOWLEDGE);
    assert.deepEqual([retryAfter, httpStatus, code], [7000, 503, 'HTTP_503']);
    assert.match(message, /said the proxy/);
  });

  it('is a drain for 503 only when a restart or drain is known of; 502 and 504 come from a proxy in front', () => {
    assert.equal(verdict(upgrade(503), RESTARTING), 'gateway-draining soon');
    assert.equal(verdict(upgrade(503), DRAINING), 'gateway-draining soon');
    assert.equal(verdict(upgrade(502), RESTARTING), 'gateway-restart soon');
    assert.equal(verdict(upgrade(504), STOPPED), 'gateway-stopped soon');
  });

  it('is unresponsive at our deadline, and the text names the phase and the option to raise', () => {
    const evidence: Evidence = { kind: 'deadline', phase: 'upgrade', ms: 20_000 };
    assert.equal(verdict(evidence), 'unresponsive soon');
    assert.equal(verdict(evidence, RESTARTING), 'gateway-restart soon');
    assert.match(classify(evidence, NO_KNOWLEDGE).message, /20000 ms.*upgrade.*reconnect\.connectTimeout/);
  });

  it('is ours for a provider that fails and for a trust check that refuses', () => {
    const provider = classify(
      { kind: 'provider', provider: 'token', code: 'PROVIDER_FAILED', message: 'no' },
      RESTARTING,
    );
    assert.deepEqual(
      [provider.reason, provider.action, provider.phase, provider.strike],
      ['local', 'soon', 'provider', undefined],
    );
    assert.equal(
      classify({ kind: 'provider', provider: 'url', code: 'X', message: '', invalid: true }, NO_KNOWLEDGE).strike,
      true,
    );
    assert.equal(verdict({ kind: 'trust', code: 'HOLDFAST_TLS_PIN', message: '' }), 'local human');
  });
});

describe('the end of a client', () => {
  it('has the exit code that tells a supervisor whether to respawn: 76, 77 and 78 only where a human is needed', () => {
    const codes: [Reason, Action, number][] = [
      ['outage', 'soon', 75],
      ['unresponsive', 'soon', 75],
      ['gateway-stopped', 'soon', 75],
      ['rate-limited', 'soon', 75],
      ['local', 'soon', 75],
      ['protocol', 'soon', 75],
      ['unauthorized', 'soon', 75],
      ['local', 'human', 78],
      ['protocol', 'human', 76],
      ['unauthorized', 'fresh', 77],
      ['pairing-required', 'human', 77],
    ];
    for (const [reason, action, code] of codes)
      assert.equal(exitCodeOf({ reason, action }), code, `${reason} ${action}`);
  });

  it('names what to do first for every reason, because an error without a remedy is half an error', () => {
    for (const reason of REASONS) assert.ok(REMEDIES[reason].length > 10, reason);
  });
});

describe('foreign text and numbers', () => {
  it('come out as one bounded line without control characters, so that no log record can be forged', () => {
    assert.equal(printable('a\r\n{"level":30}\u001b[2J\u2028b\0'), 'a {"level":30} [2J b ');
    assert.equal(printable('x'.repeat(9000)).length, 512);
    assert.equal(printable('x'.repeat(9000), 80).length, 80);
  });

  it('are hints only as whole, finite, non-negative ms', () => {
    assert.deepEqual([0, 500, 1e12].map(validHint), [0, 500, 1e12]);
    const bad: unknown[] = [-1, 1.5, '1500', null, undefined, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, {}, []];
    assert.deepEqual(
      bad.map(validHint),
      bad.map(() => undefined),
    );
    const word: GatewayWord = { code: 'UNAVAILABLE', message: '', retryAfterMs: -1 };
    assert.equal(classify({ kind: 'refused', error: word }, NO_KNOWLEDGE).retryAfter, undefined);
  });
});

describe('a twin', () => {
  it('A14 is given way to, longer each time, because two that fight for a place take it from each other for ever', () => {
    const waits = [1, 2, 3, 4, 5, 6, 50].map((times) => classify({ kind: 'replaced', times }, NO_KNOWLEDGE).retryAfter);
    assert.deepEqual(waits, [15_000, 30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
    const failure = classify({ kind: 'replaced', times: 1 }, NO_KNOWLEDGE);
    assert.deepEqual([failure.reason, failure.action, failure.code], ['local', 'soon', 'HOLDFAST_TWIN']);
  });
});
