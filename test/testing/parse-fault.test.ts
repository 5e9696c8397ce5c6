import assert from 'node:assert/strict';
import { FAULTS, type Fault, measuredTimings, parseFault } from '../../lib/testing/index.js';

describe('parseFault', () => {
  const good: [text: string, fault: Fault][] = [
    ['refuse', { name: 'refuse' }],
    ['silent:times=3', { name: 'silent', times: 3 }],
    ['slow-upgrade:6s', { name: 'slow-upgrade', ms: 6000 }],
    ['slow-upgrade:ms=1.5s', { name: 'slow-upgrade', ms: 1500 }],
    ['trickle:100,bytes=2', { name: 'trickle', intervalMs: 100, bytes: 2 }],
    ['http-status:503', { name: 'http-status', status: 503 }],
    ['http-status:503,retryAfter=7', { name: 'http-status', status: 503, headers: { 'Retry-After': '7' } }],
    ['half-open:dead', { name: 'half-open', fresh: 'dead' }],
    ['reject-connect:startup-sidecars', { name: 'reject-connect', preset: 'startup-sidecars' }],
    [
      'reject-connect:rate-limited,retryAfterMs=2s,times=3',
      { name: 'reject-connect', preset: 'rate-limited', retryAfterMs: 2000, times: 3 },
    ],
    ['no-ticks:pongs=false', { name: 'no-ticks', pongs: false }],
    [
      'cut-call:fin,methods=agents.create+chat.send',
      { name: 'cut-call', cut: 'fin', methods: ['agents.create', 'chat.send'] },
    ],
  ];
  for (const [text, fault] of good) {
    it(`reads ${text}`, () => assert.deepEqual(parseFault(text), fault));
  }

  it('reads every name alone, but the one that needs an argument', () => {
    for (const name of Object.keys(FAULTS)) {
      if (name === 'http-status') assert.throws(() => parseFault(name), /needs a status, e\.g\. http-status:503/);
      else assert.deepEqual(parseFault(name), { name });
    }
  });

  const bad: [text: string, error: RegExp][] = [
    ['silence', /unknown fault "silence"; the faults are: refuse, .*no-provider/],
    ['', /unknown fault ""/],
    ['toString', /unknown fault/],
    ['refuse:1', /fault "refuse" has no argument "1"; it takes none/],
    ['silent:tims=3', /fault "silent" has no argument "tims"; it takes times/],
    ['silent:times=x', /fault "silent": times must be a whole number, not "x"/],
    ['slow-upgrade:soon', /fault "slow-upgrade": ms: "soon" is not a duration: write it like 500ms/],
    ['reject-connect:teapot', /preset must be one of token-mismatch, /],
    ['no-ticks:pongs=no', /pongs must be true or false/],
    ['silent:__proto__=1', /has no argument "__proto__"/],
  ];
  for (const [text, error] of bad) {
    it(`refuses ${text === '' ? 'nothing' : text}`, () => assert.throws(() => parseFault(text), error));
  }
});

describe('measuredTimings', () => {
  it('are those of real gateways', () => {
    assert.deepEqual([measuredTimings('2026.9.6').portShutMs, measuredTimings('2026.4.26').portShutMs], [2400, 5900]);
    assert.equal(measuredTimings('2026.4.26').pingIntervalMs, 0);
  });
});
