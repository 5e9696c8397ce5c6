import assert from 'node:assert/strict';
import type { ClientOptions } from '../../lib/index.js';
import type { Fault } from '../../lib/testing/index.js';
import { type Line, sideBySide, timed } from '../support/collect.js';
import { attach, begin, gateway, type Session } from '../support/gateways.js';

const PACE: Partial<ClientOptions> = { reconnect: { initialDelay: 20, maxDelay: 60, connectTimeout: 3000 } };

async function firstFailure(fault: Fault): Promise<{ line: Line; health: ReturnType<Session['client']['health']> }> {
  await using gw = await gateway({ faults: [fault] });
  await using session = begin(gw, PACE);
  const [line] = await session.journal.failed(1);
  assert.ok(line !== undefined);
  const health = session.client.health();
  gw.heal();
  // A cure is noticed by the client itself, whatever the refusal was.
  await session.client.ready({ timeout: 8000 });
  return { line, health };
}

describe('an upgrade that is refused', () => {
  const beside = sideBySide();

  it(
    'C11 with 401 or 403 is about credentials, with 404 about the address; the client is blocked and looks again',
    beside(async () => {
      for (const [status, reason] of [
        [401, 'unauthorized'],
        [403, 'unauthorized'],
        [404, 'protocol'],
      ] as const) {
        const { line, health } = await firstFailure({
          name: 'http-status',
          status,
          body: `no \u001b[2J\r\nentry ${'x'.repeat(500)}`,
        });
        assert.deepEqual(
          [line.phase, line.reason, line.code, line.httpStatus],
          ['upgrade', reason, `HTTP_${status}`, status],
        );
        assert.match(line.error ?? '', /no {1,2}\[2J entry x{100,}/);
        assert.ok((line.error ?? '').length < 300, 'the body is bounded');
        assert.deepEqual([health.state, health.reason], ['blocked', reason]);
      }
    }),
  );

  it(
    'C11d is over soon although the body of the refusal never ends',
    beside(async () => {
      const { line } = await firstFailure({ name: 'http-status', status: 401, endless: true });
      assert.equal(line.httpStatus, 401);
      assert.ok((line.elapsedMs ?? Number.NaN) < 1400, `${line.elapsedMs} ms`);
    }),
  );

  it(
    'C12 is obeyed in its Retry-After: never sooner, and not much later',
    beside(async () => {
      const [draining, limited] = await Promise.all([
        firstFailure({ name: 'http-status', status: 503, headers: { 'Retry-After': '1' } }),
        firstFailure({ name: 'http-status', status: 429, headers: { 'Retry-After': '1' } }),
      ]);
      assert.deepEqual([draining.line.reason, limited.line.reason], ['outage', 'rate-limited']);
      for (const { line } of [draining, limited]) {
        assert.equal(line.retryAfterMs, 1000);
        assert.ok(line.delayMs !== undefined && line.delayMs >= 1000 && line.delayMs <= 1250, `${line.delayMs} ms`);
      }
      assert.ok(limited.health.nextAttemptAt !== undefined && limited.health.nextAttemptAt > Date.now() - 10_000);
    }),
  );

  it(
    'C12c understands a date, and R09 takes nonsense for no hint',
    beside(async () => {
      const { line } = await firstFailure({
        name: 'http-status',
        status: 503,
        headers: { 'Retry-After': new Date(Date.now() + 2000).toUTCString() },
      });
      assert.ok(
        line.retryAfterMs !== undefined && line.retryAfterMs > 500 && line.retryAfterMs <= 2000,
        `${line.retryAfterMs} ms`,
      );
      for (const header of ['soon', '-5', '1.5', '']) {
        const { line: other } = await firstFailure({
          name: 'http-status',
          status: 503,
          headers: { 'Retry-After': header },
        });
        assert.equal(other.retryAfterMs, undefined, header);
        assert.ok(other.delayMs !== undefined && other.delayMs >= 20 && other.delayMs <= 60, `${other.delayMs} ms`);
      }
      const { line: past } = await firstFailure({
        name: 'http-status',
        status: 503,
        headers: { 'Retry-After': 'Wed, 21 Oct 2015 07:28:00 GMT' },
      });
      assert.ok(past.delayMs !== undefined && past.delayMs >= 20 && past.delayMs <= 400, `${past.delayMs} ms`);
    }),
  );

  it(
    'C12d, e with 502, 503 or 504 and no hint is an outage at our own pace',
    beside(async () => {
      for (const status of [500, 502, 503, 504]) {
        const { line, health } = await firstFailure({ name: 'http-status', status });
        assert.deepEqual([line.reason, line.code, health.state], ['outage', `HTTP_${status}`, 'waiting']);
      }
    }),
  );
});

describe('a connect that is refused', () => {
  const beside = sideBySide();

  it(
    'A01 for a wrong token blocks, dials at the slow pace with fresh credentials, and heals by itself',
    beside(async () => {
      await using gw = await gateway();
      let token = 'an old token that is wrong';
      let asked = 0;
      const provider = (): string => {
        asked += 1;
        return token;
      };
      await using session = begin(
        { url: gw.url },
        { ...PACE, token: provider, blocked: { initialDelay: 200, maxDelay: 200 } },
      );
      const lines = await session.journal.failed(3);
      for (const line of lines) {
        assert.deepEqual([line.reason, line.code, line.phase], ['unauthorized', 'AUTH_TOKEN_MISMATCH', 'hello']);
        assert.ok(
          line.awaiting !== undefined && line.delayMs !== undefined && line.delayMs >= 200,
          JSON.stringify(line),
        );
      }
      const dialled = gw.connections.map((connection) => connection.at);
      for (let index = 1; index < dialled.length; index += 1) {
        assert.ok((dialled[index] ?? 0) - (dialled[index - 1] ?? 0) >= 195, dialled.join());
      }
      const blocked = session.client.health();
      assert.ok(
        blocked.state === 'blocked' || blocked.state === 'connecting' || blocked.state === 'handshaking',
        blocked.state,
      );
      assert.equal(blocked.reason, 'unauthorized');
      const entered = await session.journal.entered('blocked');
      assert.equal(entered.level, 'error');
      token = gw.token;
      await session.client.ready({ timeout: 5000 });
      assert.equal(asked, gw.dials);
    }),
  );

  it(
    'A03 for too many tries waits at least as long as it is told, says until when, and comes back',
    beside(async () => {
      await using gw = await gateway({
        faults: [{ name: 'reject-connect', preset: 'rate-limited', retryAfterMs: 600, times: 2 }],
      });
      await using session = begin(gw, PACE);
      const { ms } = await timed(() => session.client.ready({ timeout: 8000 }));
      assert.ok(ms >= 1200 && ms < 2500, `${ms} ms`);
      for (const line of session.journal.failures) {
        assert.deepEqual([line.reason, line.code, line.retryAfterMs], ['rate-limited', 'AUTH_RATE_LIMITED', 600]);
      }
      assert.equal(gw.dials, 3);
      assert.equal(
        session.journal.of('state').filter((line) => line.state === 'waiting').length,
        2,
        'it waits; nobody else is needed',
      );
    }),
  );

  it(
    'A03 without a hint does not ask again for a good while',
    beside(async () => {
      await using gw = await gateway({
        faults: [{ name: 'reject-connect', preset: 'rate-limited', retryAfterMs: 'soon' }],
      });
      await using session = begin(gw, PACE);
      const [line] = await session.journal.failed(1);
      assert.equal(line?.retryAfterMs, undefined);
      assert.ok((line?.delayMs ?? 0) >= 15_000, `${line?.delayMs} ms`);
    }),
  );

  it(
    'A05 until a human approves is blocked, names the request and the command, and resumes once approved',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'reject-connect', preset: 'pairing-required' }] });
      await using session = begin(gw, PACE);
      const line = await session.journal.entered('blocked');
      assert.deepEqual([line.reason, line.code], ['pairing-required', 'PAIRING_REQUIRED']);
      const { awaiting, lastError } = session.client.health();
      assert.match(awaiting ?? '', /openclaw devices approve [0-9a-f-]{36}/);
      assert.match(lastError?.remedy ?? '', /openclaw devices approve/);
      await session.journal.failed(2);
      gw.heal();
      await session.client.ready({ timeout: 5000 });
      assert.equal(session.client.health().awaiting, undefined);
    }),
  );

  it(
    'C18 for another protocol is held, names both sides, and is over when the right version returns',
    beside(async () => {
      for (const emulate of ['2026.9.6', '2026.4.26'] as const) {
        const details = emulate === '2026.9.6' ? {} : { details: { expectedProtocol: 2 } };
        await using gw = await gateway({
          emulate,
          faults: [{ name: 'reject-connect', preset: 'protocol-mismatch', closeCode: 1002, ...details }],
        });
        await using session = begin(gw, PACE);
        const line = await session.journal.entered('blocked');
        assert.deepEqual([line.reason, line.code], ['protocol', 'PROTOCOL_MISMATCH']);
        assert.match(line.error ?? '', /protocol mismatch/);
        await session.journal.failed(2);
        gw.heal();
        await session.client.ready({ timeout: 5000 });
      }
    }),
  );

  it(
    'A11 in words it does not know is about credentials when they sound so, and obeys what is said of repeating',
    beside(async () => {
      const [closed, unknown, repeatable, expired] = await Promise.all([
        firstFailure({ name: 'reject-connect', preset: 'close-1008' }),
        firstFailure({ name: 'reject-connect', preset: 'future-code' }),
        firstFailure({ name: 'reject-connect', preset: 'future-code', retryable: true, retryAfterMs: 200 }),
        firstFailure({ name: 'reject-connect', preset: 'signature-expired' }),
      ]);
      for (const { line } of [closed, unknown, repeatable, expired]) assert.equal(line.reason, 'unauthorized');
      assert.deepEqual([closed.health.state, unknown.health.state], ['blocked', 'blocked']);
      assert.deepEqual([repeatable.health.state, expired.health.state], ['waiting', 'waiting']);
      assert.ok((repeatable.line.delayMs ?? 0) >= 200, `${repeatable.line.delayMs} ms`);
    }),
  );

  it(
    'R09 is not led astray by absurd hints',
    beside(async () => {
      for (const hint of [-1, 0, 1.5, '1500', null, Number.MAX_VALUE]) {
        const { line } = await firstFailure({ name: 'reject-connect', preset: 'restarting', retryAfterMs: hint });
        assert.equal(line.reason, 'gateway-draining');
        assert.equal(line.retryAfterMs, hint === 0 ? 0 : undefined, String(hint));
        assert.ok(
          line.delayMs !== undefined && line.delayMs >= 20 && line.delayMs < 400,
          `${hint}: ${line.delayMs} ms`,
        );
      }
      await using gw = await gateway({
        faults: [{ name: 'reject-connect', preset: 'restarting', retryAfterMs: 1e12 }],
      });
      await using session = begin(gw, PACE);
      const [line] = await session.journal.failed(1);
      assert.ok(line?.delayMs !== undefined && line.delayMs <= 301_000, `a hint of years is cut: ${line?.delayMs} ms`);
    }),
  );

  it(
    'A10 on a live link is answered with one dial and fresh credentials',
    beside(async () => {
      await using gw = await gateway();
      let token = gw.token;
      await using session = await attach({ url: gw.url }, { ...PACE, token: () => token });
      token = 'a new token';
      gw.rotateToken(token);
      const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
      assert.deepEqual([lost.reason, lost.closeCode, lost.closeReason], ['unauthorized', 4001, 'gateway auth changed']);
      await gw.until(() => gw.hellos === 2);
      assert.equal(gw.dials, 2);
      assert.equal(session.journal.failures.length, 0);
    }),
  );
});
