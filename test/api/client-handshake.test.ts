import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type Line, sideBySide } from '../support/collect.js';
import { attach, begin, CERTIFICATE, failsAndHeals, gateway, HASTY } from '../support/gateways.js';

function told(line: Line): unknown[] {
  return [line.phase, line.reason, line.code];
}

describe('the way from a connection to a hello', () => {
  const beside = sideBySide();

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
        await using session = begin(gw, { reconnect: HASTY });
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
      await using session = begin(gw, { reconnect: HASTY });
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
    'C13a, X10 over TLS is refused for a certificate that nobody vouches for or another than the pinned, and held',
    beside(async () => {
      const { key, cert, fingerprint } = CERTIFICATE;
      await using gw = await gateway({ tls: { key, cert } });
      await using unknown = begin(gw, { reconnect: HASTY });
      await using other = begin(gw, { reconnect: HASTY, tls: { fingerprint: 'ab'.repeat(32) } });
      for (const [session, code] of [
        [unknown, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
        [other, 'HOLDFAST_TLS_PIN'],
      ] as const) {
        const blocked = await session.journal.entered('blocked');
        assert.deepEqual([blocked.reason, blocked.code], ['local', code]);
        assert.ok(session.client.health().awaiting !== undefined);
      }
      assert.equal(gw.upgrades, 0);
      await using right = await attach(gw, { tls: { fingerprint } });
      assert.equal(right.client.health().ok, true);
    }),
  );
});
