import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { Fault } from '../../lib/testing/index.js';
import { type Line, sideBySide, timed } from '../support/collect.js';
import { begin, gateway, nobody, peer } from '../support/gateways.js';

const PATIENT = { initialDelay: 20, maxDelay: 60, connectTimeout: 300 };

/** The first failed dial against a gateway with this fault, and then the proof that the client comes back by itself. */
async function failsAndHeals(fault: Fault): Promise<Line> {
  await using gw = await gateway({ faults: [fault] });
  await using session = begin(gw, { reconnect: PATIENT });
  const [line] = await session.journal.failed(1);
  assert.ok(line !== undefined);
  assert.deepEqual([line.level, line.attempt, line.restartId], ['warn', 1, undefined]);
  assert.ok(
    line.delayMs !== undefined && line.nextAttemptAt !== undefined && line.remedy !== undefined,
    JSON.stringify(line),
  );
  gw.heal();
  await session.client.ready({ timeout: 5000 });
  assert.equal(session.client.health().reason, undefined);
  return line;
}

function told(line: Line): unknown[] {
  return [line.phase, line.reason, line.code];
}

describe('a dial', () => {
  const beside = sideBySide();

  it(
    'C01 is refused while nobody listens, dial after dial, and succeeds when somebody does',
    beside(async () => {
      const away = await nobody();
      await using session = begin(away, { reconnect: PATIENT });
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
      await using session = begin(gw, { reconnect: PATIENT, giveUp: { maxAttempts: 3 } });
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
      await using session = begin(gw, { reconnect: { ...PATIENT, connectTimeout: 100 } });
      const [, , third] = await session.journal.failed(3);
      assert.match(third?.error ?? '', /100 ms.*phase upgrade.*reconnect\.connectTimeout/);
    }),
  );

  it(
    'C08 is ended when the challenge or the hello never comes',
    beside(async () => {
      const [challenge, hello] = await Promise.all([
        failsAndHeals({ name: 'no-challenge' }),
        failsAndHeals({ name: 'no-hello' }),
      ]);
      assert.deepEqual(told(challenge), ['challenge', 'unresponsive', 'CONNECT_TIMEOUT']);
      assert.deepEqual(told(hello), ['hello', 'unresponsive', 'CONNECT_TIMEOUT']);
    }),
  );

  it(
    'C09a, b is over when the upgrade is answered wrongly: protocol, and retried',
    beside(async () => {
      for (const variant of ['accept', 'subprotocol', 'extension', 'headers'] as const) {
        const line = await failsAndHeals({ name: 'bad-accept', variant });
        assert.deepEqual([line.phase, line.reason], ['upgrade', 'protocol'], `${variant}: ${JSON.stringify(line)}`);
      }
    }),
  );

  it(
    'C09c is over when the challenge has no usable nonce, before any credential leaves',
    beside(async () => {
      for (const variant of ['blank', 'missing', 'number', 'long', 'pipe', 'newline', 'no-payload'] as const) {
        await using gw = await gateway({ faults: [{ name: 'bad-challenge', variant, times: 1 }] });
        await using session = begin(gw, { reconnect: PATIENT });
        const [line] = await session.journal.failed(1);
        assert.deepEqual(line && told(line), ['challenge', 'protocol', 'BAD_CHALLENGE'], variant);
        await session.client.ready({ timeout: 5000 });
        assert.equal(gw.connections[0]?.firstFrame, undefined, variant);
      }
    }),
  );

  it(
    'C09d, e succeeds without a time in the challenge, and whatever comes before the hello reaches nobody',
    beside(async () => {
      await using gw = await gateway({
        faults: [{ name: 'bad-challenge', variant: 'no-ts' }, { name: 'early-events' }],
      });
      await using session = begin(gw);
      await session.client.ready({ timeout: 5000 });
      assert.deepEqual(
        session.events.all.filter((event) => event.type === 'event' || event.type === 'gap'),
        [],
      );
      assert.deepEqual(
        gw.ledger.map((entry) => entry.method),
        ['connect'],
        'a second challenge is not answered',
      );
      assert.equal(gw.dials, 1);
    }),
  );

  it(
    'C09f is a failed attempt when the gateway closes with 1000 before the hello',
    beside(async () => {
      const line = await failsAndHeals({ name: 'reject-connect', preset: 'close-1000' });
      assert.deepEqual(told(line), ['hello', 'outage', 'CLOSE_1000']);
    }),
  );

  it(
    'C17 takes defaults for what a hello says wrongly, and names the field',
    beside(async () => {
      const cases = {
        'no-policy': 2,
        'tick-zero': 1,
        'tick-negative': 1,
        'tick-text': 1,
        'tick-huge': 1,
        'tick-null': 1,
        'payload-zero': 1,
      } as const;
      for (const [variant, count] of Object.entries(cases)) {
        await using gw = await gateway({ faults: [{ name: 'bad-hello', variant: variant as keyof typeof cases }] });
        await using session = begin(gw);
        const hello = await session.client.ready({ timeout: 5000 });
        assert.ok(hello.policy.tickIntervalMs === 30_000 && hello.policy.maxPayload > 1_000_000, variant);
        const warned = session.journal.of('hello-defaulted');
        assert.deepEqual([warned.length, warned[0]?.fields?.length], [1, count], variant);
      }
    }),
  );

  it(
    'is protocol when the answer to connect is no hello',
    beside(async () => {
      const line = await failsAndHeals({ name: 'bad-hello', variant: 'not-hello' });
      assert.deepEqual(told(line), ['hello', 'protocol', 'BAD_HELLO']);
    }),
  );

  it(
    'X03 is not impressed by prototype keys in a hello',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'bad-hello', variant: 'prototype' }] });
      await using session = begin(gw);
      await session.client.ready({ timeout: 5000 });
      assert.equal(Reflect.get({}, 'polluted'), undefined);
      assert.equal(Reflect.get(Object, 'polluted'), undefined);
    }),
  );

  it(
    'X11 is protocol when another service listens there, and no credential leaves',
    beside(async () => {
      for (const fault of [{ name: 'not-a-gateway' }, { name: 'banner' }, { name: 'foreign' }] as const) {
        const line = await failsAndHeals(fault);
        assert.equal(line.reason, 'protocol', JSON.stringify(line));
      }
      await using gw = await gateway({ faults: [{ name: 'echo' }] });
      await using session = begin(gw, { reconnect: PATIENT });
      const [line] = await session.journal.failed(1);
      assert.deepEqual(line && [line.phase, line.reason], ['challenge', 'unresponsive']);
      assert.equal(gw.connections[0]?.firstFrame, undefined);
    }),
  );

  it(
    'X12 follows no redirect, and tells where it pointed without path and query',
    beside(async () => {
      let asked = 0;
      const second = createServer(() => {
        asked += 1;
      });
      second.on('upgrade', () => {
        asked += 1;
      });
      await new Promise<void>((resolve) => {
        second.listen(0, '127.0.0.1', resolve);
      });
      const address = second.address();
      const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
      for (const status of [301, 302, 307, 308]) {
        const line = await failsAndHeals({
          name: 'http-status',
          status,
          headers: { Location: `${origin}/elsewhere?token=s3cret-value` },
        });
        assert.deepEqual(told(line), ['upgrade', 'protocol', `HTTP_${status}`]);
        assert.ok(
          line.error?.includes(origin) && !line.error.includes('elsewhere') && !line.error.includes('s3cret'),
          line.error,
        );
      }
      assert.equal(asked, 0);
      second.close();
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
      await using session = begin(gw, { reconnect: { ...PATIENT, minUptime: 50 } });
      await session.client.ready({ timeout: 5000 });
      assert.equal(session.client.health().attempt, 4);
      while (session.client.health().attempt !== 0) await session.client.call('test.sleep', { ms: 20 });
      gw.cutAll('reset');
      const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
      assert.deepEqual([lost.attempt, lost.code], [0, 'CLOSE_1006']);
    }),
  );
});
