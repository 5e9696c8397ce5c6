import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { errorOf, GatewayError, type GatewayErrorInit, isGatewayError } from '../../lib/core/errors.js';
import { classify, NO_KNOWLEDGE } from '../../lib/core/failure.js';

const INIT: GatewayErrorInit = {
  code: 'ECONNREFUSED',
  reason: 'outage',
  outcome: 'not-sent',
  message: 'nobody listens',
  remedy: 'Check that it runs.',
};

describe('a GatewayError', () => {
  it('is an Error with what to decide by, and nothing where nothing is known', () => {
    const error = new GatewayError(INIT);
    assert.ok(error instanceof Error);
    const { name, message, code, reason, outcome, remedy, attempts } = error;
    assert.deepEqual(
      { name, message, code, reason, outcome, remedy, attempts },
      { name: 'GatewayError', ...INIT, attempts: [] },
    );
    assert.deepEqual(
      [error.method, error.restart, error.retryAfter, error.gateway, error.cause],
      Array(5).fill(undefined),
    );
  });

  it('keeps what the gateway said, without what only we read from it', () => {
    const gateway = { code: 'UNAVAILABLE', message: 'later', retryable: true, retryAfterMs: 500 };
    assert.deepEqual(new GatewayError({ ...INIT, gateway }).gateway, { code: 'UNAVAILABLE', message: 'later' });
    const details = { reason: 'startup-sidecars' };
    assert.deepEqual(new GatewayError({ ...INIT, gateway: { ...gateway, details } }).gateway?.details, details);
  });

  it('keeps its cause, also one that is falsy', () => {
    const cause = new Error('socket');
    assert.equal(new GatewayError({ ...INIT, cause }).cause, cause);
    assert.ok('cause' in new GatewayError({ ...INIT, cause: null }));
  });

  it('shows no brand to whoever prints it', () => {
    assert.doesNotMatch(inspect(new GatewayError(INIT), { showHidden: false }), /Symbol/);
  });

  it('is made of a classified failure, and the caller adds what he knows better', () => {
    const failure = classify(
      { kind: 'socket', phase: 'tcp', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' },
      NO_KNOWLEDGE,
    );
    const error = errorOf(failure, 'not-sent', { method: 'agents.list', remedy: 'Start it.' });
    assert.deepEqual(
      [error.code, error.reason, error.outcome, error.method, error.remedy],
      ['ECONNREFUSED', 'outage', 'not-sent', 'agents.list', 'Start it.'],
    );
  });
});

describe('isGatewayError', () => {
  it('knows an error by its brand, also one of another copy of the package', () => {
    const foreign = Object.assign(new Error('of another copy'), {
      [Symbol.for('holdfast.GatewayError')]: true,
      reason: 'outage',
    });
    for (const error of [new GatewayError(INIT), foreign]) {
      assert.equal(isGatewayError(error), true);
      assert.equal(isGatewayError(error, 'outage'), true);
      assert.equal(isGatewayError(error, 'timeout'), false);
    }
  });

  it('is false for everything else', () => {
    for (const value of [undefined, null, 0, 'GatewayError', {}, new Error('other'), { ...new GatewayError(INIT) }])
      assert.equal(isGatewayError(value), false);
  });
});
