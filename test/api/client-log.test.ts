import assert from 'node:assert/strict';
import type { Logger } from '../../lib/index.js';
import { attach, begin, gateway, nobody } from '../support/gateways.js';

describe('the log of a client', () => {
  it('has one record per dial, with every field that an operator filters by', async () => {
    const away = await nobody();
    await using session = begin(away, { giveUp: { after: 60_000 } });
    const lines = await session.journal.failed(3);
    const { instanceId, giveUpAt } = session.client.health();
    for (const [index, line] of lines.entries()) {
      assert.deepEqual([line.event, line.level, line.attempt], ['attempt', 'warn', index + 1]);
      assert.deepEqual(
        [line.phase, line.reason, line.code, line.instanceId],
        ['tcp', 'outage', 'ECONNREFUSED', instanceId],
      );
      const { delayMs, nextAttemptAt, elapsedMs, outageMs } = line;
      assert.ok(delayMs !== undefined && elapsedMs !== undefined && outageMs !== undefined && outageMs >= elapsedMs);
      const next = Date.parse(nextAttemptAt ?? '');
      assert.ok(next > Date.now() - 10_000 && next < Date.now() + 10_000, nextAttemptAt);
      assert.ok(Math.abs(Date.parse(line.giveUpAt ?? '') - (giveUpAt ?? 0)) <= 5, line.giveUpAt);
      assert.match(
        line.message,
        new RegExp(`^attempt ${index + 1} failed in phase tcp: outage, ECONNREFUSED; next attempt in 0\\.\\d\\d s$`),
      );
      assert.ok(line.remedy !== undefined && line.error !== undefined);
    }
    const dialled = session.events.all.filter((event) => event.type === 'attempt').length;
    assert.equal(session.journal.of('attempt').length, dialled);
  });

  it('keeps what it announces: the next dial begins when the line says, and not before', async () => {
    await using gw = await gateway({ faults: [{ name: 'close-on-accept', times: 4 }] });
    await using session = begin(gw, { reconnect: { initialDelay: 80, maxDelay: 300, factor: 2 } });
    await session.client.ready({ timeout: 5000 });
    for (const [index, line] of session.journal.failures.entries()) {
      const dialled = gw.connections[index + 1]?.at ?? Number.NaN;
      const late = dialled - Date.parse(line.nextAttemptAt ?? '');
      assert.ok(late >= -5 && late < 150, `dial ${index + 2} came ${late} ms after its time`);
    }
  });

  it('has one record per change of state, with the link that came and went', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    gw.closeAll(1011, 'a bad day');
    await gw.until(() => gw.hellos === 2);
    await session.client.ready({ timeout: 5000 });
    const states = session.journal.of('state');
    const path = ['idle', 'connecting', 'handshaking', 'online', 'waiting', 'connecting', 'handshaking', 'online'];
    assert.deepEqual(
      states.map((line) => line.state),
      path.slice(1),
    );
    assert.deepEqual(
      states.map((line) => line.prevState),
      path.slice(0, -1),
    );
    const [, , up, lost, , , again] = states;
    assert.ok(up?.connId !== undefined && up.connId !== again?.connId);
    assert.deepEqual([up.bootId, up.gatewayVersion, up.level], [gw.bootId, '2026.9.6', 'info']);
    assert.deepEqual(
      [lost?.level, lost?.reason, lost?.code, lost?.closeReason],
      ['warn', 'outage', 'CLOSE_1011', 'a bad day'],
    );
    assert.ok(again?.downMs !== undefined && again.downMs >= 10);
    const steps = states.filter((line) => line.level === 'debug').map((line) => line.state);
    assert.deepEqual(
      [...new Set(steps)].sort(),
      ['connecting', 'handshaking'],
      'the steps of a dial are told by its attempt line',
    );
  });

  it('F11 may throw at every record: the client connects, calls, reconnects and closes as ever, and counts what was lost', async () => {
    const throws = (): never => {
      throw new Error('EPIPE');
    };
    const logger: Logger = { debug: throws, info: throws, warn: throws, error: throws };
    await using gw = await gateway();
    await using session = await attach(gw, { logger });
    assert.deepEqual(await session.client.call('test.echo', { a: 1 }), { a: 1 });
    await gw.restart();
    await session.client.ready({ timeout: 5000 });
    assert.equal(gw.hellos, 2);
    assert.ok(session.client.health().log.dropped >= 6, `${session.client.health().log.dropped} dropped`);
    await session.client.close();
    assert.equal((await session.client.done).exitCode, 0);
  });

  it('may reject at every record: an asynchronous logger that fails is no unhandled rejection', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', note);
    try {
      const rejects = async (): Promise<void> => {
        throw new Error('the log service is away');
      };
      await using gw = await gateway();
      await using session = await attach(gw, {
        logger: { debug: rejects, info: rejects, warn: rejects, error: rejects },
      });
      await session.client.call('test.echo', {}, { onAttempt: rejects });
      await session.client.close();
    } finally {
      // An unhandled rejection is told after the microtasks of the turn in which it arose.
      await new Promise((resolve) => setImmediate(resolve));
      process.off('unhandledRejection', note);
      for (const other of others) process.on('unhandledRejection', other);
    }
    assert.deepEqual(unhandled, []);
  });

  it('X04 keeps one record on one line, whatever the gateway writes into its texts', async () => {
    const evil = 'x\r\n{"level":50,"msg":"forged"}\u001b[2J\u2028\u2029\u0000\u0085y';
    await using gw = await gateway();
    await using session = await attach(gw);
    gw.closeAll(4000, evil);
    const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
    gw.inject({ name: 'reject-connect', preset: 'restarting', message: `${evil}${'z'.repeat(8000)}`, times: 1 });
    gw.inject({ name: 'http-status', status: 503, body: evil, times: 1 });
    const lines = await session.journal.failed(2);
    for (const text of [lost, ...lines].flatMap((line) => [line.error, line.closeReason, line.message])) {
      assert.doesNotMatch(text ?? '', /[\p{Cc}\u2028\u2029]/u);
      assert.ok((text ?? '').length <= 700, `${text?.length} characters`);
    }
    const { lastError } = session.client.health();
    assert.doesNotMatch(lastError?.message ?? '', /[\p{Cc}\u2028\u2029]/u);
  });

  it('warns when the gateway grants less than was asked for', async () => {
    await using gw = await gateway({ faults: [{ name: 'bad-hello', variant: 'no-scopes' }] });
    await using session = await attach(gw);
    const [warned] = session.journal.of('scopes-missing');
    assert.deepEqual([warned?.level, session.journal.of('scopes-missing').length], ['warn', 1]);
    assert.match(warned?.message ?? '', /operator\.admin, operator\.read, operator\.write/);
  });
});
