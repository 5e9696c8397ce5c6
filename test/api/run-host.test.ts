import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parseRecord } from '../../lib/core/liveness.js';
import { type Child, lib, script } from '../support/children.js';
import { sideBySide } from '../support/collect.js';
import { gateway, nobody } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/** A process that is nothing but a host. `options` is the text of more options, `then` runs with the client. */
function host(url: string, options = '', then = ''): Child {
  return script(`
    process.removeAllListeners('uncaughtException');
    process.removeAllListeners('unhandledRejection');
    const { runHost } = await import(${lib('api/run-host.js')});
    const reconnect = { initialDelay: 20, maxDelay: 50 };
    const outcome = await runHost({ url: ${JSON.stringify(url)}, token: 'test-gateway-token', reconnect, ${options} }, (client) => {
      client.on('state', ({ to }) => process.stdout.write(to + '\\n'));
      ${then}
    });
    process.stdout.write('outcome ' + outcome.outcome + ' ' + (outcome.reason ?? 'none') + '\\n');
    process.exitCode = outcome.exitCode;
  `);
}

function lastRecord(file: string): unknown[] {
  const parsed = parseRecord(readFileSync(file, 'utf8'));
  assert.ok(parsed.ok);
  return [parsed.record.state, parsed.record.exit?.code, parsed.record.exit?.outcome];
}

describe('a host', () => {
  const beside = sideBySide(3);

  it(
    'P01 keeps its process alive by itself, and ends it with 0 when its owner asks',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      await using child = host(gw.url, `liveness: { file: ${JSON.stringify(dir.at('live'))} }`);
      await child.out.until((line) => line === 'online', 'online');
      child.kill('SIGTERM');
      assert.deepEqual(await child.exit(), { code: 0, signal: null });
      assert.deepEqual(child.out.all.slice(-3), ['closing', 'stopped', 'outcome closed none']);
      assert.deepEqual(lastRecord(dir.at('live')), ['stopped', 0, 'closed']);
      assert.equal(gw.connections[0]?.closeCode, 1000);
    }),
  );

  it(
    'P01 keeps its process alive while it waits, is blocked or asks a provider that never answers',
    beside(async () => {
      await using gw = await gateway();
      await using waiting = host((await nobody()).url, 'reconnect: { initialDelay: 60000, maxDelay: 60000 }');
      await using blocked = host(gw.url, "token: 'not the token'");
      await using asking = host(gw.url, 'token: () => new Promise(() => {})');
      await Promise.all([
        waiting.out.until((line) => line === 'waiting', 'waiting'),
        blocked.out.until((line) => line === 'blocked', 'blocked'),
        asking.out.until((line) => line === 'connecting', 'connecting'),
      ]);
      for (const child of [waiting, blocked, asking]) child.kill('SIGINT');
      for (const child of [waiting, blocked, asking]) assert.deepEqual(await child.exit(), { code: 0, signal: null });
    }),
  );

  it(
    'gives up with 75, and its last words are in the log and in the file',
    beside(async () => {
      using dir = scratch();
      await using child = host(
        (await nobody()).url,
        `giveUp: { maxAttempts: 3 }, liveness: { file: ${JSON.stringify(dir.at('live'))} }`,
      );
      assert.equal((await child.exit()).code, 75);
      assert.equal(child.out.all.at(-1), 'outcome gave-up outage');
      const [line] = child.log.all.filter(({ event }) => event === 'giveup');
      assert.deepEqual([line?.reason, line?.code], ['outage', 'ECONNREFUSED']);
      assert.deepEqual(lastRecord(dir.at('live')), ['stopped', 75, 'gave-up']);
    }),
  );

  it(
    'ends with 70 and a line at an error that nobody caught, rather than live on damaged',
    beside(async () => {
      await using gw = await gateway();
      for (const damage of [
        "setTimeout(() => { throw new Error('a bug of the owner'); }, 10);",
        "setTimeout(() => Promise.reject(new Error('a bug of the owner')), 10);",
      ]) {
        await using child = host(gw.url, '', damage);
        assert.equal((await child.exit()).code, 70);
        assert.match(child.stderr, /uncaught: .*a bug of the owner/);
      }
    }),
  );

  it(
    'X07 does not print the token with an error that nobody caught',
    beside(async () => {
      await using gw = await gateway();
      await using child = host(
        gw.url,
        '',
        "client.ready().then(() => { throw new Error('refused: test-gateway-token'); });",
      );
      assert.equal((await child.exit()).code, 70);
      assert.match(child.stderr, /uncaught: .*refused/);
      assert.doesNotMatch(child.stderr, /test-gateway-token/);
    }),
  );

  it(
    'INV11 leaves a last record that agrees with 70, too',
    beside(async () => {
      await using gw = await gateway();
      using dir = scratch();
      await using child = host(
        gw.url,
        `liveness: { file: ${JSON.stringify(dir.at('live'))} }`,
        "client.ready().then(() => { throw new Error('a bug'); });",
      );
      assert.equal((await child.exit()).code, 70);
      assert.deepEqual(lastRecord(dir.at('live')).slice(0, 2), ['stopped', 70]);
    }),
  );

  it(
    'rejects wrong options before it touches signals or the process',
    beside(async () => {
      await using child = script(`
      const { runHost } = await import(${lib('api/run-host.js')});
      const error = await runHost({ url: 'nonsense' }).catch((error) => error);
      process.stdout.write([error.reason, process.listenerCount('SIGTERM'), process.listenerCount('beforeExit')].join() + '\\n');
    `);
      assert.deepEqual(await child.exit(), { code: 0, signal: null });
      assert.equal(child.stdout, 'local,0,0\n');
    }),
  );
});
