import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { holdfast } from '../support/children.js';
import { sideBySide } from '../support/collect.js';
import { gateway } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

const STAMP = /^ *\d+\.\d{3} s {2}/;

/** What the timeline must show, in this order. */
const STORY: readonly RegExp[] = [
  /attempt 1 connected in \d+ ms/,
  /connected to .*, version \d+\.\d+\.\d+, protocol \d/,
  /asking the gateway to restart itself/,
  /the gateway restarts itself \(shutdown/,
  /online → waiting: gateway-restart, .*next attempt in 0\.\d\d s/,
  /attempt 2 failed in phase \w+: gateway-restart, \w+; next attempt in 0\.\d\d s/,
  /the restart of the gateway ended after \d\.\d\d s/,
  /attempt \d+ connected in \d+ ms/,
  /a call made while the gateway was away was answered/,
  /restarts ridden out: [12], the last without a link for \d\.\d\d s, \d+ attempts/,
  /liveness file: judged \d+ times, fresh each time/,
];

function tells(stdout: string): void {
  const lines = stdout.trimEnd().split('\n');
  let at = -1;
  for (const scene of STORY) {
    const next = lines.findIndex((line, index) => index > at && scene.test(line));
    assert.ok(next > at, `${scene} is not told after line ${at + 1} of:\n${stdout}`);
    at = next;
  }
  for (const line of lines) assert.match(line, STAMP);
}

describe('holdfast demo', () => {
  const beside = sideBySide();

  it(
    'shows a client riding through a restart of its gateway, with a timeline, in a few seconds, and exits 0',
    beside(async () => {
      const started = performance.now();
      await Promise.all(
        ['2026.9.6', '2026.4.26'].map(async (version) => {
          await using child = holdfast(['demo', '--emulate', version]);
          assert.deepEqual(await child.exit(20_000), { code: 0, signal: null }, child.stdout + child.stderr);
          tells(child.stdout);
          assert.ok(child.stdout.includes(`version ${version}`));
          assert.equal(child.stderr, '');
        }),
      );
      assert.ok(performance.now() - started < 20_000);
    }),
  );

  it(
    'shows the same on a gateway that it is pointed at, without printing the token',
    beside(async () => {
      await using gw = await gateway({ token: 'the-token-of-the-demo', timings: { portShutMs: 400 } });
      using dir = scratch();
      writeFileSync(dir.at('token'), gw.token);
      await using child = holdfast(['demo', '--url', gw.url, '--token-file', dir.at('token')]);
      assert.deepEqual(await child.exit(), { code: 0, signal: null }, child.stdout + child.stderr);
      tells(child.stdout);
      assert.ok(!`${child.stdout}${child.stderr}`.includes(gw.token));
      assert.equal(gw.hellos, 2);
    }),
  );

  it(
    'exits 78 and names the flag that is wrong or missing',
    beside(async () => {
      for (const [flag, args] of [
        ['--token-file', ['--url', 'ws://127.0.0.1:1']],
        ['--emulate', ['--emulate', '1.0']],
      ] as const) {
        await using child = holdfast(['demo', ...args]);
        assert.equal((await child.exit()).code, 78);
        assert.ok(child.stderr.includes(flag), child.stderr);
      }
    }),
  );
});
