import assert from 'node:assert/strict';
import type { ClientOptions } from '../../lib/index.js';
import { pause, refusal, sideBySide, timed } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

/** A link that counts as dead after 250 ms of silence. */
const WATCHFUL: Partial<ClientOptions> = { heartbeat: { timeout: 250, ping: 60 } };

describe('a live link', () => {
  const beside = sideBySide();

  it(
    'L01 that is half-open is noticed within the heartbeat timeout, and the pending call is told then',
    beside(async () => {
      await using gw = await gateway();
      await using session = await attach(gw, WATCHFUL);
      const call = refusal(session.client.call('test.sleep', { ms: 60_000 }, { safety: 'once' }));
      await gw.until(() => gw.ledger.some((entry) => entry.method === 'test.sleep'));
      const { ms } = await timed(async () => {
        gw.inject({ name: 'half-open' });
        await session.journal.until((line) => line.prevState === 'online', 'the loss');
      });
      assert.ok(ms >= 150 && ms < 600, `${ms} ms`);
      const error = await call;
      assert.deepEqual([error.reason, error.outcome, error.code], ['unresponsive', 'unknown', 'SILENCE']);
      await session.client.ready({ timeout: 5000 });
      assert.equal(gw.dials, 2);
    }),
  );

  it(
    'L02 that is half-open is noticed as soon while calls come and time out: what we send is no sign of life',
    beside(async () => {
      await using gw = await gateway();
      await using session = await attach(gw, WATCHFUL);
      const { ms } = await timed(async () => {
        gw.inject({ name: 'half-open' });
        while (session.client.health().state === 'online') {
          void session.client.call('test.echo', {}, { timeout: 40, retry: 'never' }).catch(() => {});
          await pause(20);
        }
      });
      assert.ok(ms < 600, `${ms} ms`);
      assert.equal(session.journal.of('state').find((line) => line.prevState === 'online')?.reason, 'unresponsive');
    }),
  );

  it(
    'L03 to a frozen gateway is unresponsive, so are the dials, and after the thaw exactly one socket lives',
    beside(async () => {
      await using gw = await gateway();
      await using session = await attach(gw, {
        ...WATCHFUL,
        reconnect: { initialDelay: 20, maxDelay: 50, connectTimeout: 200 },
      });
      gw.freeze();
      const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
      assert.deepEqual([lost.reason, lost.code], ['unresponsive', 'SILENCE']);
      const [dial] = await session.journal.failed(1);
      assert.deepEqual([dial?.reason, dial?.code], ['unresponsive', 'CONNECT_TIMEOUT']);
      gw.thaw();
      await session.client.ready({ timeout: 5000 });
      await gw.until(() => gw.connections.filter((connection) => connection.open).length === 1);
      assert.deepEqual(await session.client.call('test.echo', { one: 1 }), { one: 1 });
      assert.equal(
        session.journal.of('state').filter((line) => line.state === 'online').length,
        2,
        'the old socket changes nothing',
      );
    }),
  );

  it(
    'L04, L05 without ticks is alive by its answers and pongs, without pongs by its ticks',
    beside(async () => {
      await using quiet = await gateway({ faults: [{ name: 'no-ticks' }] });
      await using mute = await gateway({ faults: [{ name: 'no-ticks', pongs: false }] });
      await using ticking = await gateway({ timings: { tickIntervalMs: 50 }, faults: [{ name: 'no-responses' }] });
      const sessions = await Promise.all([attach(quiet, WATCHFUL), attach(mute, WATCHFUL), attach(ticking, WATCHFUL)]);
      // Four times the silence that would end a link: long enough to be sure that none ends.
      const until = performance.now() + 1000;
      while (performance.now() < until) {
        await sessions[1].client.call('test.echo', {});
        await pause(50);
      }
      assert.deepEqual(
        sessions.map((session) => session.client.health().state),
        ['online', 'online', 'online'],
      );
      assert.deepEqual([quiet.dials, mute.dials, ticking.dials], [1, 1, 1]);
      await Promise.all(sessions.map((session) => session.client.close({ grace: 0 })));
    }),
  );

  it(
    'with the heartbeat turned off is never judged by silence',
    beside(async () => {
      await using gw = await gateway({ timings: { tickIntervalMs: 60_000 } });
      await using session = await attach(gw, { heartbeat: false });
      await using watched = await attach(gw, WATCHFUL);
      gw.inject({ name: 'half-open' });
      await watched.journal.until((line) => line.prevState === 'online', 'the loss');
      assert.equal(session.client.health().state, 'online');
    }),
  );

  it(
    'L06 that breaks below the protocol is one loss and one dial',
    beside(async () => {
      for (const cut of ['reset', 'fin', 'mid-frame', 'no-status'] as const) {
        await using gw = await gateway();
        await using session = await attach(gw);
        gw.cutAll(cut);
        await gw.until(() => gw.hellos === 2);
        await session.client.ready({ timeout: 5000 });
        const losses = session.journal.of('state').filter((line) => line.prevState === 'online');
        assert.deepEqual(
          losses.map((line) => [line.reason, line.closeCode]),
          [['outage', cut === 'no-status' ? 1005 : 1006]],
          cut,
        );
        assert.equal(gw.dials, 2);
      }
    }),
  );

  it(
    'L07 that closes with any code is dialled again, and code and text are told',
    beside(async () => {
      const reasons: Readonly<Record<number, string>> = {
        1000: 'outage',
        1001: 'outage',
        1002: 'protocol',
        1003: 'protocol',
        1007: 'protocol',
        1008: 'outage',
        1009: 'outage',
        1010: 'protocol',
        1011: 'outage',
        1012: 'outage',
        1013: 'gateway-starting',
        1014: 'outage',
        3000: 'outage',
        4000: 'outage',
        4001: 'unauthorized',
        4999: 'outage',
      };
      await Promise.all(
        Object.entries(reasons).map(async ([text, reason]) => {
          const code = Number(text);
          await using gw = await gateway({
            faults: [{ name: 'drop-after-hello', ms: 0, code, reason: `because ${code}`, times: 1 }],
          });
          await using session = await attach(gw);
          await gw.until(() => gw.hellos === 2);
          const lost = await session.journal.until((line) => line.prevState === 'online', `the loss by ${code}`);
          assert.deepEqual(
            [lost.reason, lost.closeCode, lost.closeReason, lost.state],
            [reason, code, `because ${code}`, 'waiting'],
          );
        }),
      );
    }),
  );

  it(
    'L07 that is closed three times in a row as a fault of protocol needs a human, and is dialled on slowly',
    beside(async () => {
      await using gw = await gateway({
        faults: [{ name: 'drop-after-hello', ms: 0, code: 1002, reason: 'bad frame' }],
      });
      await using session = await attach(gw);
      const blocked = await session.journal.entered('blocked');
      assert.deepEqual([blocked.reason, blocked.attempt], ['protocol', 3]);
      gw.heal();
      await gw.until(() => gw.hellos === 4);
      assert.equal((await session.client.ready({ timeout: 5000 })).protocol, 4);
    }),
  );
});
