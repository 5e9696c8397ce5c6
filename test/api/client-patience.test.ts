import assert from 'node:assert/strict';
import { lib, script } from '../support/children.js';
import { pause, sideBySide, timed } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

/** Bound to limits of seconds that no option shortens: they run side by side. */
describe('a client that must be patient', () => {
  const beside = sideBySide();

  it(
    'R12 writes nothing after the shutdown event, and hangs up on a gateway that does not close',
    beside(async () => {
      await using gw = await gateway();
      await using session = await attach(gw);
      gw.send('shutdown', { reason: 'gateway restarting', restartExpectedMs: 0 });
      await session.journal.until((line) => line.event === 'restart', 'the begin of the restart');
      const held = session.client.call('test.echo', { after: 'shutdown' });
      await gw.until(() => gw.hellos === 2, 8000);
      assert.deepEqual(await held, { after: 'shutdown' });
      assert.deepEqual(
        gw.ledger.filter((entry) => entry.method === 'test.echo').map((entry) => entry.conn),
        [2],
      );
      assert.ok(session.journal.of('restart').at(-1)?.cancelled, 'the same instance answered: it did not restart');
    }),
  );

  it(
    'C17b judges silence by the tick of the current hello',
    beside(async () => {
      await using gw = await gateway({ timings: { tickIntervalMs: 2600 } });
      await using session = await attach(gw);
      gw.inject({ name: 'half-open' });
      const { ms } = await timed(() => session.journal.until((line) => line.prevState === 'online', 'the loss'));
      assert.ok(ms >= 4000 && ms < 6500, `${ms} ms at twice a tick of 2.6 s`);
    }),
  );

  it(
    'P04a survives a stop and a continuation of its own process, and keeps a link that is good',
    beside(async () => {
      await using gw = await gateway({ timings: { tickIntervalMs: 100 } });
      await using child = script(
        `
      const { createClient } = await import(${lib('index.js')});
      const client = createClient({ url: process.argv[1], token: process.argv[2], heartbeat: { timeout: 400, ping: 100 }, reconnect: { initialDelay: 20 }, logger: false });
      client.on('state', ({ from, to }) => process.stdout.write(from + ' ' + to + '\\n'));
      process.on('SIGTERM', () => client.close());
      await client.start().ready();
      setInterval(() => process.stdout.write('alive\\n'), 50).unref();
      await client.done;
      `,
        [gw.url, gw.token],
      );
      await child.out.until((line) => line.endsWith('online'), 'online');
      child.kill('SIGSTOP');
      await pause(1600);
      const before = child.out.all.length;
      child.kill('SIGCONT');
      await child.out.untilCount(before + 12, () => true, 'signs of life after SIGCONT');
      assert.deepEqual(
        [gw.dials, child.out.all.some((line) => line.startsWith('online '))],
        [1, false],
        'a good link is kept',
      );
      child.kill('SIGSTOP');
      gw.cutAll('fin');
      await pause(600);
      child.kill('SIGCONT');
      await gw.until(() => gw.hellos === 2);
      child.kill('SIGTERM');
      assert.deepEqual(await child.exit(), { code: 0, signal: null });
    }),
  );
});
