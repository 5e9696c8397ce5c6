import assert from 'node:assert/strict';
import { holdfast } from '../support/children.js';
import { sideBySide } from '../support/collect.js';
import { attach } from '../support/gateways.js';

const LISTENING = /^listening on (ws:\/\/127\.0\.0\.1:\d+) as (\S+), token (\S+)$/;

describe('holdfast gateway', () => {
  const beside = sideBySide(3);

  it(
    'prints where it listens, serves a client, tells what happens, and ends with 0 at SIGTERM',
    beside(async () => {
      await using child = holdfast(['gateway', '--token', 'a-token-of-ours', '--emulate', '2026.4.26']);
      const [, url = '', version, token = ''] =
        LISTENING.exec(await child.out.until((line) => LISTENING.test(line), 'its address')) ?? [];
      assert.deepEqual([version, token], ['2026.4.26', 'a-token-of-ours']);
      await using session = await attach({ url, token });
      assert.equal((await session.client.ready()).protocol, 3);
      await child.out.until((line) => line.includes('hello to gateway-client (operator)'), 'the line of the hello');
      child.kill('SIGTERM');
      assert.deepEqual(await child.exit(), { code: 0, signal: null });
      await session.journal.until((line) => line.reason === 'gateway-stopped', 'the stop');
    }),
  );

  it(
    'restarts itself as often as it is told, and ends with 0 at SIGINT',
    beside(async () => {
      await using child = holdfast(['gateway', '--restart-every', '300ms']);
      const [, url = '', , token = ''] =
        LISTENING.exec(await child.out.until((line) => LISTENING.test(line), 'its address')) ?? [];
      await using session = await attach({ url, token });
      await session.journal.until((line) => line.event === 'restart' && line.phase === 'ended', 'a restart ridden out');
      child.kill('SIGINT');
      assert.deepEqual(await child.exit(), { code: 0, signal: null });
    }),
  );

  it(
    'misbehaves from the start when it is told to',
    beside(async () => {
      await using child = holdfast([
        'gateway',
        '--fault',
        'http-status:503,retryAfter=1,times=1',
        '--fault',
        'reject-connect:startup-sidecars,times=1',
      ]);
      const [, url = '', , token = ''] =
        LISTENING.exec(await child.out.until((line) => LISTENING.test(line), 'its address')) ?? [];
      await using session = await attach({ url, token });
      assert.deepEqual(
        session.journal.failures.map((line) => line.code),
        ['HTTP_503', 'startup-sidecars'],
      );
      child.kill('SIGTERM');
      assert.equal((await child.exit()).code, 0);
    }),
  );

  it(
    'exits 78 and names the flag that is wrong',
    beside(async () => {
      const wrong: readonly (readonly [flag: string, args: readonly string[]])[] = [
        ['--fault', ['--fault', 'bad-weather']],
        ['--fault', ['--fault', 'http-status']],
        ['--emulate', ['--emulate', '1.0']],
        ['--port', ['--port', 'x']],
        ['--port', ['--port', '70000']],
        ['--restart-every', ['--restart-every', 'often']],
      ];
      await Promise.all(
        wrong.map(async ([flag, args]) => {
          await using child = holdfast(['gateway', ...args]);
          assert.equal((await child.exit()).code, 78, args.join(' '));
          assert.ok(
            child.stderr.includes(flag) && !/\n {4}at /.test(child.stderr),
            `${args.join(' ')}: ${child.stderr}`,
          );
        }),
      );
    }),
  );

  it(
    'says so without a stack when its port is taken',
    beside(async () => {
      await using first = holdfast(['gateway']);
      const [, url = ''] = LISTENING.exec(await first.out.until((line) => LISTENING.test(line), 'its address')) ?? [];
      await using second = holdfast(['gateway', '--port', new URL(url).port]);
      const { code } = await second.exit(15_000);
      const { stderr } = second;
      assert.equal(code, 78);
      assert.match(stderr, /--port: .*EADDRINUSE/);
      assert.doesNotMatch(stderr, /\n {4}at /);
    }),
  );
});
