import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type AttemptFailure, classifyLinkLoss, classifyResponse, isDraining } from '../../lib/core/call-verdicts.js';
import { classify, type GatewayWord, NO_KNOWLEDGE } from '../../lib/core/failure.js';

const word = (code: string, message: string, rest: Partial<GatewayWord> = {}): GatewayWord => ({
  code,
  message,
  ...rest,
});
const unavailable = (message: string, details?: unknown, rest: Partial<GatewayWord> = {}): GatewayWord =>
  word('UNAVAILABLE', message, { ...(details !== undefined && { details }), ...rest });

const brief = ({ reason, outcome, permanent }: AttemptFailure): string =>
  `${reason} ${outcome}${permanent ? ' permanent' : ''}`;
const judged = (said: GatewayWord, method = 'agents.create'): string => brief(classifyResponse(said, { method }));

describe('an answered refusal', () => {
  const proofs: readonly [string, GatewayWord, string][] = [
    [
      'drain',
      unavailable(
        'x unavailable during gateway restart',
        { method: 'x', reason: 'gateway-restarting', phase: 'accepting' },
        { retryable: true, retryAfterMs: 1000 },
      ),
      'gateway-draining not-executed',
    ],
    ['suspension', unavailable('x', { reason: 'gateway-suspending' }), 'gateway-draining not-executed'],
    [
      'start-up',
      unavailable('x', { reason: 'startup-sidecars', method: 'x' }, { retryAfterMs: 500 }),
      'gateway-starting not-executed',
    ],
    [
      'start-up of 4.26',
      unavailable('agents.create unavailable during gateway startup', { method: 'agents.create' }),
      'gateway-starting not-executed',
    ],
    [
      'write limit',
      unavailable(
        'rate limit exceeded for agents.create; retry after 60s',
        { method: 'agents.create', limit: '3 per 60s' },
        { retryAfterMs: 60_000 },
      ),
      'rate-limited not-executed',
    ],
    [
      'full queue',
      unavailable('The server is busy. Please try again in a moment.', undefined, { retryable: true }),
      'rate-limited not-executed',
    ],
    [
      'replaced node',
      unavailable('node pairing changed before request dispatch', { code: 'PAIRING_CHANGED' }, { retryable: true }),
      'rejected not-executed',
    ],
    ['not started', unavailable('changed', { execution: 'not_started' }), 'rejected not-executed'],
    [
      'not started, for good',
      word('INVALID_REQUEST', 'Selected account changed', { details: { execution: 'not_started' } }),
      'rejected not-executed permanent',
    ],
    [
      'absent node',
      unavailable('node not connected', { code: 'NOT_CONNECTED', nodeCommandDispatched: false }),
      'rejected not-executed',
    ],
    ['closed entry', unavailable('Error: Gateway request entry is closed'), 'gateway-draining not-executed'],
    [
      'closing',
      unavailable('gateway closing before request dispatch', undefined, { retryable: true }),
      'gateway-draining not-executed',
    ],
    [
      'shutdown of a node link',
      unavailable('node.event unavailable during gateway shutdown'),
      'gateway-draining not-executed',
    ],
    [
      'validation',
      word('INVALID_REQUEST', "invalid agents.create params: at root: unexpected property 'x'"),
      'rejected not-executed permanent',
    ],
    ['role', word('INVALID_REQUEST', 'unauthorized role: node'), 'rejected not-executed permanent'],
    [
      'scope',
      word('FORBIDDEN', 'missing scope: operator.admin', { details: { code: 'MISSING_SCOPE' } }),
      'rejected not-executed permanent',
    ],
    [
      'stale write',
      word('INVALID_REQUEST', 'changed', { details: { type: 'agent_file_conflict' } }),
      'rejected not-executed permanent',
    ],
  ];
  for (const [name, said, expected] of proofs) it(`proves it: ${name}`, () => assert.equal(judged(said), expected));

  const without: readonly [string, GatewayWord, string][] = [
    ['a handler that threw', unavailable('Error: ENOSPC: no space left on device, write'), 'rejected unknown'],
    [
      'retryable alone',
      unavailable('archive failed', undefined, { retryable: true, retryAfterMs: 500 }),
      'rejected unknown',
    ],
    ['may have executed', unavailable('x', { execution: 'may_have_executed' }), 'rejected unknown'],
    [
      'may have executed, as INVALID_REQUEST',
      word('INVALID_REQUEST', 'x', { details: { execution: 'may_have_executed' } }),
      'rejected unknown',
    ],
    [
      'node timeout',
      unavailable('TIMEOUT: node invoke timed out', { nodeError: { code: 'TIMEOUT' }, nodeCommandDispatched: true }),
      'timeout unknown',
    ],
    [
      'node lost',
      unavailable('DISCONNECTED', { nodeCommandDispatched: true, reason: 'gateway-restarting' }),
      'rejected unknown',
    ],
    ['node of 4.26', unavailable('TIMEOUT', { nodeError: { code: 'TIMEOUT' } }), 'rejected unknown'],
    [
      'awaiting approval',
      unavailable('node pairing changed while invocation was active', { code: 'PAIRING_CHANGED' }, { retryable: true }),
      'pairing-required unknown',
    ],
    [
      'start-up text without details',
      unavailable('agents.create unavailable during gateway startup'),
      'rejected unknown',
    ],
    ['a limit of something else', unavailable('x', { limit: '3 per 60s', method: 'other' }), 'rejected unknown'],
    ['busy, not retryable', unavailable('The server is busy. Please try again in a moment.'), 'rejected unknown'],
    ['busy, in other words', unavailable('The server is busy.', undefined, { retryable: true }), 'rejected unknown'],
    ['a code of tomorrow', word('TEAPOT', 'short and stout'), 'rejected unknown'],
    ['no readable error', word('MALFORMED_ERROR', 'x'), 'protocol unknown'],
  ];
  for (const [name, said, expected] of without) it(`is no proof: ${name}`, () => assert.equal(judged(said), expected));

  it('takes a missing agent for one that settles only where we created it', () => {
    const said = word('INVALID_REQUEST', 'agent "tenant-1" not found');
    const fresh = classifyResponse(said, { method: 'agents.files.set', justCreated: true });
    assert.deepEqual([fresh.settling, fresh.permanent, fresh.outcome], [true, false, 'not-executed']);
    assert.equal(classifyResponse(said, { method: 'agents.files.set' }).permanent, true);
    const byCode = word('INVALID_REQUEST', 'no such agent', { details: { code: 'UNKNOWN_AGENT_ID' } });
    assert.equal(classifyResponse(byCode, { method: 'agents.files.set', justCreated: true }).settling, true);
    const other = word('INVALID_REQUEST', 'unsupported file "x"');
    assert.equal(classifyResponse(other, { method: 'agents.files.set', justCreated: true }).permanent, true);
  });

  it('is more exact about "going down" when the shutdown was announced', () => {
    const said = unavailable('node.event unavailable during gateway shutdown');
    const as = (known: { restarting: boolean; stopped: boolean }): string =>
      classifyResponse(said, { method: 'node.event', known }).reason;
    assert.equal(as({ restarting: true, stopped: false }), 'gateway-restart');
    assert.equal(as({ restarting: false, stopped: true }), 'gateway-stopped');
    assert.equal(as({ restarting: false, stopped: false }), 'gateway-draining');
  });

  it('carries the hint, and a floor where a limit has none', () => {
    const limit = { method: 'cron.add', limit: '30 per 60s' };
    assert.equal(
      classifyResponse(unavailable('x', limit, { retryAfterMs: 42_000 }), { method: 'cron.add' }).retryAfter,
      42_000,
    );
    assert.equal(classifyResponse(unavailable('x', limit), { method: 'cron.add' }).retryAfter, 15_000);
    assert.equal(
      'retryAfter' in classifyResponse(unavailable('x', undefined, { retryAfterMs: -1 }), { method: 'x' }),
      false,
    );
  });

  it('knows a drain by its details only', () => {
    assert.equal(isDraining(unavailable('x', { reason: 'gateway-restarting' })), true);
    assert.equal(isDraining(unavailable('x', { reason: 'gateway-suspending' })), true);
    for (const details of [undefined, null, 'gateway-restarting', [], { reason: 1 }, { reason: 'startup-sidecars' }]) {
      assert.equal(isDraining(unavailable('gateway-restarting', details)), false);
    }
  });

  it('survives any details, and never claims not-executed without a proof', () => {
    const anything = fc.record({
      code: fc.oneof(fc.constantFrom('UNAVAILABLE', 'toString', '__proto__'), fc.string()),
      message: fc.string(),
      details: fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true }),
      retryable: fc.boolean(),
    });
    fc.assert(
      fc.property(anything, (said) => {
        const failure = classifyResponse(said, { method: 'send', justCreated: true });

        assert.equal(failure.outcome, 'unknown');
      }),
      { numRuns: 300 },
    );
  });

  it('gives no credit to inherited properties', () => {
    const details: object = Object.create({ execution: 'not_started', reason: 'gateway-restarting' });
    assert.equal(judged(unavailable('x', details)), 'rejected unknown');
  });
});

describe('a link that ended', () => {
  const closed = classify(
    { kind: 'closed', phase: 'online', code: 1012, reason: 'service restart' },
    { ...NO_KNOWLEDGE, restarting: true },
  );

  it('leaves a call unsent, unexecuted or unknown by how far its frame had come', () => {
    const outcome = (call: Parameters<typeof classifyLinkLoss>[1]): string => classifyLinkLoss(closed, call).outcome;
    assert.equal(outcome({ handedOver: false }), 'not-sent');
    assert.equal(outcome({ handedOver: true }), 'unknown');
    assert.equal(outcome({ handedOver: true, fencing: true }), 'unknown');
    assert.equal(outcome({ handedOver: true, afterShutdown: true }), 'unknown');
    assert.equal(outcome({ handedOver: true, afterShutdown: true, fencing: true }), 'not-executed');
    assert.equal(outcome({ handedOver: false, afterShutdown: true, fencing: true }), 'not-sent');
  });

  it('keeps the reason, the code and the words of the link', () => {
    const failure = classifyLinkLoss(closed, { handedOver: true });
    assert.deepEqual([failure.reason, failure.code, failure.permanent], ['gateway-restart', 'CLOSE_1012', false]);
    assert.equal(failure.message, closed.message);
  });

  it('sends nothing again that may have been too big', () => {
    const tooBig = classify({ kind: 'closed', phase: 'online', code: 1009, reason: '' }, NO_KNOWLEDGE);
    assert.equal(classifyLinkLoss(tooBig, { handedOver: true }).permanent, true);
    assert.equal(classifyLinkLoss(tooBig, { handedOver: false }).permanent, false);
  });
});
