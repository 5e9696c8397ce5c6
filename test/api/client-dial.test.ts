import assert from 'node:assert/strict';
import net from 'node:net';
import { script } from '../support/children.js';
import { type Line, sideBySide, timed } from '../support/collect.js';
import { begin, failsAndHeals, gateway, HASTY, nobody, peer } from '../support/gateways.js';

function told(line: Line): unknown[] {
  return [line.phase, line.reason, line.code];
}

describe('a dial', () => {
  const beside = sideBySide();

  it(
    'C01 is refused while nobody listens, dial after dial, and succeeds when somebody does',
    beside(async () => {
      const away = await nobody();
      await using session = begin(away, { reconnect: HASTY });
      const lines = await session.journal.failed(3);
      assert.deepEqual(
        lines.map((line) => [line.attempt, ...told(line)]),
        [1, 2, 3].map((n) => [n, 'tcp', 'outage', 'ECONNREFUSED']),
      );
      await using _gw = await gateway({ port: Number(new URL(away.url).port), token: null });
      await session.client.ready({ timeout: 5000 });
      const online = session.journal.of('attempt').at(-1);
      assert.deepEqual([online?.reason, online?.attempt], [undefined, session.journal.failures.length + 1]);
    }),
  );

  it(
    'C02c ends after exactly so many dials',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'close-on-accept' }] });
      await using session = begin(gw, { reconnect: HASTY, giveUp: { maxAttempts: 3 } });
      const { outcome, exitCode } = await session.client.done;
      assert.deepEqual([outcome, exitCode, gw.dials, session.journal.failures.length], ['gave-up', 75, 3, 3]);
      assert.equal(session.journal.failures.at(-1)?.delayMs, undefined, 'no further attempt is announced');
    }),
  );

  it(
    'C03 is reset or closed by whoever accepted it',
    beside(async () => {
      const lines = await Promise.all([
        failsAndHeals({ name: 'reset-on-accept' }),
        failsAndHeals({ name: 'reset-on-accept', after: 'request' }),
        failsAndHeals({ name: 'close-on-accept' }),
      ]);
      // A reset that is quick enough meets `connect` itself.
      for (const line of lines) assert.ok(line.phase === 'upgrade' || line.code === 'ECONNRESET', JSON.stringify(line));
      assert.deepEqual(
        lines.map((line) => line.reason),
        ['outage', 'outage', 'outage'],
      );
      assert.deepEqual(lines[1] && told(lines[1]), ['upgrade', 'outage', 'ECONNRESET']);
    }),
  );

  it(
    'C04 is ended by our own deadline when its first packet is swallowed: an outage, in phase tcp',
    beside(async () => {
      // A listener whose queue is full, and whose process never looks: the kernel drops what comes.
      await using child = script(`
      const net = await import('node:net');
      const server = net.createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
        process.stdout.write('ws://127.0.0.1:' + server.address().port + '\\n', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
      });
    `);
      const url = await child.out.until((line) => line.startsWith('ws:'), 'its address');
      const crowd = Array.from({ length: 8 }, () =>
        net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {}),
      );
      await using session = begin({ url }, { reconnect: HASTY });
      const [line] = await session.journal.failed(1);
      for (const socket of crowd) socket.destroy();
      assert.deepEqual(line && told(line), ['tcp', 'outage', 'CONNECT_TIMEOUT']);
      assert.ok(line?.elapsedMs !== undefined && line.elapsedMs < 800, `${line?.elapsedMs} ms`);
    }),
  );

  it(
    'C05 is ended at its deadline by us when the gateway accepts and never answers, one socket at a time',
    beside(async () => {
      await using silent = await peer((socket) => socket.resume());
      let most = 0;
      await using session = begin(silent, { reconnect: { initialDelay: 20, maxDelay: 60, connectTimeout: 120 } });
      session.client.on('state', () => {
        most = Math.max(most, silent.open);
      });
      const lines = await session.journal.failed(5);
      for (const line of lines) {
        assert.deepEqual(told(line), ['upgrade', 'unresponsive', 'CONNECT_TIMEOUT']);
        assert.ok(
          line.elapsedMs !== undefined && line.elapsedMs >= 115 && line.elapsedMs < 400,
          `${line.elapsedMs} ms`,
        );
      }
      assert.ok(most <= 1, `${most} sockets at once`);
      await session.client.close();
      assert.ok(silent.dials >= 5);
    }),
  );

  it(
    'C05 comes back once such a gateway answers again',
    beside(async () => {
      const line = await failsAndHeals({ name: 'silent' });
      assert.match(line.error ?? '', /300 ms.*upgrade.*connectTimeout/);
    }),
  );

  it(
    'C06 is ended by the overall deadline although bytes trickle in',
    beside(async () => {
      const line = await failsAndHeals({ name: 'trickle', intervalMs: 20 });
      assert.deepEqual(told(line), ['upgrade', 'unresponsive', 'CONNECT_TIMEOUT']);
      assert.ok(line.elapsedMs !== undefined && line.elapsedMs < 600, `${line.elapsedMs} ms`);
    }),
  );

  it(
    'C07 succeeds at the first try when the upgrade is slow but within the deadline',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'slow-upgrade', ms: 600 }] });
      await using far = await gateway({ faults: [{ name: 'slow-link', latencyMs: 100 }] });
      for (const each of [gw, far]) {
        await using session = begin(each, { reconnect: { connectTimeout: 2000 } });
        await session.client.ready({ timeout: 4000 });
        assert.equal(each.dials, 1);
      }
    }),
  );

  it(
    'C07d names phase, deadline and option when the deadline is too short for this gateway',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'slow-upgrade', ms: 60_000 }] });
      await using session = begin(gw, { reconnect: { ...HASTY, connectTimeout: 100 } });
      const [, , third] = await session.journal.failed(3);
      assert.match(third?.error ?? '', /100 ms.*phase upgrade.*reconnect\.connectTimeout/);
    }),
  );

  it(
    'C10 does not forgive attempts of a link that flaps: the delays grow',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'drop-after-hello', ms: 5, code: 1011 }] });
      await using session = begin(gw, {
        reconnect: { initialDelay: 30, maxDelay: 400, factor: 2, jitter: 0, connectTimeout: 1000 },
      });
      const losses = await session.journal.untilCount(
        5,
        (line) => line.prevState === 'online' && line.state === 'waiting',
        'five losses',
      );
      const delays = losses.map((line) => line.delayMs ?? 0);
      assert.deepEqual(delays.slice(1), [60, 120, 240, 400], delays.join());
      assert.deepEqual(
        losses.map((line) => line.attempt),
        [1, 2, 3, 4, 5],
      );
      gw.heal();
      const { value } = await timed(() => session.client.ready({ timeout: 5000 }));
      assert.equal(value.protocol, 4);
    }),
  );

  it(
    'forgives them after minUptime online',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'close-on-accept', times: 3 }] });
      await using session = begin(gw, { reconnect: { ...HASTY, minUptime: 50 } });
      await session.client.ready({ timeout: 5000 });
      assert.equal(session.client.health().attempt, 4);
      while (session.client.health().attempt !== 0) await session.client.call('test.sleep', { ms: 20 });
      gw.cutAll('reset');
      const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
      assert.deepEqual([lost.attempt, lost.code], [0, 'CLOSE_1006']);
    }),
  );
});
