import assert from 'node:assert/strict';
import { GatewayError, isGatewayError } from '../../lib/index.js';
import { refusal, timed } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

/** One attempt and no second look: what the link and the gateway did is what is told. */
const PLAIN = { retry: 'never', safety: 'once' } as const;

describe('a call', () => {
  it('gets its own answer although answers come in another order', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const settled: number[] = [];
    const calls = [90, 60, 30, 0].map(async (ms) => {
      const result = await session.client.call('test.sleep', { ms });
      settled.push(ms);
      return result;
    });
    assert.deepEqual(
      await Promise.all(calls),
      [90, 60, 30, 0].map((slept) => ({ slept })),
    );
    assert.deepEqual(settled, [0, 30, 60, 90]);
  });

  it('carries any JSON there and back, under any method name', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const params = { text: 'ü"\\\n\u2028\u0000😀', list: [1, null, true, { deep: [] }], '': 0 };
    assert.deepEqual(await session.client.call('test.echo', params), params);
    assert.deepEqual(await session.client.call('test.echo'), {});
    const odd = await refusal(session.client.call('no"such\nmethod', {}, PLAIN));
    assert.deepEqual([odd.reason, odd.outcome], ['rejected', 'not-executed']);
    assert.equal(gw.ledger.at(-1)?.method, 'no"such\nmethod');
  });

  it('that the gateway refuses tells its code, its words and what to do', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const error = await refusal(
      session.client.call(
        'test.fail',
        { error: { code: 'INVALID_REQUEST', message: 'a \u001b[31mred\nword', details: { field: 'x' } } },
        PLAIN,
      ),
    );
    assert.deepEqual(
      [error instanceof GatewayError, isGatewayError(error, 'rejected'), isGatewayError(error, 'outage')],
      [true, true, false],
    );
    assert.deepEqual([error.reason, error.outcome, error.method], ['rejected', 'not-executed', 'test.fail']);
    assert.deepEqual(error.gateway, { code: 'INVALID_REQUEST', message: 'a  [31mred word', details: { field: 'x' } });
    assert.match(error.message, /test\.fail.*red word/);
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.ok(error.remedy.length > 0);
    assert.deepEqual(
      error.attempts.map((attempt) => [attempt.number, attempt.reason, attempt.outcome]),
      [[1, 'rejected', 'not-executed']],
    );
  });

  it('Q08a that gets no answer ends at its timeout, at its deadline if that is sooner, and is of unknown outcome', async () => {
    await using gw = await gateway({ faults: [{ name: 'no-responses' }] });
    await using session = await attach(gw);
    const [short, whole] = await Promise.all([
      timed(() => refusal(session.client.call('test.echo', {}, { ...PLAIN, timeout: 120 }))),
      timed(() => refusal(session.client.call('test.echo', {}, { ...PLAIN, timeout: 60_000, deadline: 150 }))),
    ]);
    assert.deepEqual(
      [short.value.reason, short.value.outcome, short.value.code],
      ['timeout', 'unknown', 'HOLDFAST_TIMEOUT'],
    );
    assert.deepEqual([whole.value.reason, whole.value.outcome], ['timeout', 'unknown']);
    assert.ok(short.ms >= 115 && short.ms < 300, `${short.ms} ms`);
    assert.ok(whole.ms >= 145 && whole.ms < 330, `${whole.ms} ms`);
    assert.equal(gw.dials, 1, 'the link is left alone');
  });

  it('Q08b, c, d settles once: late, doubled and foreign answers are ignored', async () => {
    await using gw = await gateway({ faults: [{ name: 'slow-responses', ms: 120, times: 1 }] });
    await using session = await attach(gw);
    let settled = 0;
    const late = session.client.call('test.echo', {}, { ...PLAIN, timeout: 40 }).then(
      () => assert.fail('it resolved'),
      (error: unknown) => {
        settled += 1;
        return error;
      },
    );
    assert.ok(isGatewayError(await late, 'timeout'));
    await session.journal.until((line) => line.event === 'stray-answer', 'the late answer');
    gw.inject({ name: 'wrong-frames', variant: 'duplicate-response', times: 1 });
    assert.deepEqual(await session.client.call('test.echo', { twice: 2 }), { twice: 2 });
    gw.inject({ name: 'wrong-frames', variant: 'unknown-id', times: 1 });
    assert.deepEqual(await session.client.call('test.echo', { id: 1 }), { id: 1 });
    await session.journal.untilCount(3, (line) => line.event === 'stray-answer', 'three stray answers');
    gw.sendRaw('{"type":"res","id":"__proto__","ok":true,"payload":1}');
    gw.sendRaw('{"type":"res","id":"connect","ok":true,"payload":1}');
    await session.journal.untilCount(5, (line) => line.event === 'stray-answer', 'five stray answers');
    assert.deepEqual([settled, gw.dials, session.client.health().calls.inFlight], [1, 1, 0]);
  });

  it('Q08f whose answer has neither result nor error fails alone: protocol, unknown', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    gw.inject({ name: 'wrong-frames', variant: 'no-result', times: 1 });
    const { value, ms } = await timed(() => refusal(session.client.call('test.echo', {}, { ...PLAIN, timeout: 2000 })));
    assert.deepEqual([value.reason, value.outcome], ['protocol', 'unknown']);
    assert.ok(ms < 1000, `${ms} ms`);
    assert.deepEqual(await session.client.call('test.echo', { next: 1 }), { next: 1 });
    assert.equal(gw.dials, 1);
  });

  it('Q06 that cannot be sent is refused at once, not sent, and harms nobody', async () => {
    await using gw = await gateway({ limits: { maxPayload: 20_000 } });
    await using session = await attach(gw);
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    const cases: readonly unknown[] = [
      { big: 10n },
      cycle,
      {
        toJSON: () => {
          throw new Error('no JSON of me');
        },
      },
      { text: 'x'.repeat(20_000) },
      { text: 'ü'.repeat(10_000) },
    ];
    for (const params of cases) {
      const error = await refusal(session.client.call('test.echo', params));
      assert.deepEqual([error.reason, error.outcome], ['local', 'not-sent'], error.message);
    }
    assert.deepEqual(
      gw.ledger.map((entry) => entry.method),
      ['connect'],
    );
    assert.deepEqual(await session.client.call('test.echo', { fine: true }), { fine: true });
    assert.equal(gw.dials, 1);
  });

  it('with wrong options is refused at once, and the option is named', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    for (const [name, options] of Object.entries({
      timeout: { timeout: -1 },
      deadline: { deadline: Number.NaN },
      maxAttempts: { maxAttempts: 0 },
      retry: { retry: 'sometimes' as 'never' },
      safety: { safety: 'perhaps' as 'once' },
      patience: { patience: 1 } as object,
    })) {
      const error = await refusal(session.client.call('test.echo', {}, options));
      assert.deepEqual([error.reason, error.outcome], ['local', 'not-sent']);
      assert.ok(error.message.includes(name), error.message);
    }
    assert.equal(gw.ledger.length, 1);
  });
});
