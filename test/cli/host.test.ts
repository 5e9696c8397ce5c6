import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../lib/cli/commands.js';
import { type LivenessRecord, parseRecord } from '../../lib/core/liveness.js';
import { holdfast } from '../support/children.js';
import { bounded, eventually, sideBySide } from '../support/collect.js';
import { gateway, nobody } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

function recordAt(file: string): LivenessRecord | null {
  try {
    const parsed = parseRecord(readFileSync(file, 'utf8'));
    return parsed.ok ? parsed.record : null;
  } catch {
    return null;
  }
}

describe('holdfast host', () => {
  const beside = sideBySide(3);

  it(
    'against a gateway that never comes logs every attempt, says waiting in its file, and exits 75 at its budget',
    beside(async () => {
      const away = await nobody();
      using dir = scratch();
      const live = join(dir.path, 'state', 'liveness.json');
      await using child = holdfast([
        'host',
        '--url',
        away.url,
        '--state-dir',
        join(dir.path, 'state'),
        '--give-up-after',
        '1200ms',
        '--initial-delay',
        '100ms',
        '--max-delay',
        '200ms',
      ]);
      const first = await child.logged((line) => line.event === 'attempt');
      await eventually(() => recordAt(live)?.state === 'waiting', 'a record that waits');
      const waiting = recordAt(live);
      assert.ok(waiting?.nextAttemptAtMs !== undefined && waiting.giveUpAtMs !== undefined);
      assert.ok(
        waiting.nextAttemptAtMs > waiting.stateSinceMs && waiting.nextAttemptAtMs - waiting.stateSinceMs <= 201,
      );
      // Both are rounded from the same monotonic instant.
      assert.ok(Math.abs(waiting.giveUpAtMs - Date.parse(first.giveUpAt ?? '')) <= 2, first.giveUpAt);
      assert.deepEqual(await child.exit(), { code: 75, signal: null });
      const late = Date.now() - waiting.giveUpAtMs;
      assert.ok(late >= -5 && late < 900, `it exited ${late} ms after its time`);

      const attempts = child.log.all.filter((line) => line.event === 'attempt');
      assert.ok(attempts.length >= 5, `${attempts.length} attempts`);
      for (const [index, line] of attempts.entries()) {
        assert.deepEqual(
          [line.attempt, line.phase, line.reason, line.code],
          [index + 1, 'tcp', 'outage', 'ECONNREFUSED'],
        );
        // The last one may be cut by the end of the budget: then no further dial is announced.
        const announced = line.delayMs !== undefined && line.nextAttemptAt !== undefined;
        assert.ok(announced || index === attempts.length - 1, JSON.stringify(line));
      }
      const last = child.log.all.find((line) => line.event === 'giveup');
      assert.deepEqual([last?.reason, last?.level], ['outage', 'error']);
      assert.ok(
        last?.elapsedMs !== undefined && last.elapsedMs >= 1195 && last.elapsedMs < 1700,
        `gave up after ${last?.elapsedMs} ms`,
      );
      const record = recordAt(live);
      assert.deepEqual(
        [record?.state, record?.exit?.code, record?.exit?.outcome, record?.exit?.attempts],
        ['stopped', 75, 'gave-up', attempts.length],
      );
    }),
  );

  it(
    'exits 75 after so many attempts when it is given a number of them',
    beside(async () => {
      const away = await nobody();
      await using child = holdfast([
        'host',
        '--url',
        away.url,
        '--max-attempts',
        '2',
        '--give-up-after',
        'never',
        '--initial-delay',
        '20ms',
      ]);
      assert.equal((await child.exit()).code, 75);
      assert.equal(child.log.all.filter((line) => line.event === 'attempt').length, 2);
    }),
  );

  it(
    'ends tidily with 0 at SIGTERM, from each state, and the file says so',
    beside(async () => {
      await using gw = await gateway();
      await using held = await gateway({ faults: [{ name: 'silent' }] });
      using dir = scratch();
      const cases = [
        ['online', [gw.url, gw.token]],
        ['waiting', [(await nobody()).url, 'some token']],
        ['blocked', [gw.url, 'not the token']],
        ['connecting', [held.url, 'some token']],
      ] as const;
      await Promise.all(
        cases.map(async ([state, [url, token]]) => {
          const live = dir.at(state);
          await using child = holdfast(
            ['host', '--url', url, '--token-env', 'TOKEN', '--liveness', live, '--log-level', 'debug'],
            { TOKEN: token },
          );
          await child.logged((line) => line.event === 'state' && line.state === state, state);
          child.kill('SIGTERM');
          assert.deepEqual(await child.exit(), { code: 0, signal: null }, state);
          const record = recordAt(live);
          assert.deepEqual([record?.state, record?.exit?.code, record?.exit?.outcome], ['stopped', 0, 'closed'], state);
        }),
      );
    }),
  );

  it(
    'ends at once at a second signal',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'mute-close' }] });
      await using child = holdfast(['host', '--url', gw.url, '--token-env', 'TOKEN'], { TOKEN: gw.token });
      await child.logged((line) => line.state === 'online', 'online');
      child.kill('SIGINT');
      await child.logged((line) => line.state === 'closing', 'closing');
      const start = performance.now();
      child.kill('SIGTERM');
      assert.equal((await child.exit()).code, 0);
      assert.ok(performance.now() - start < 800, 'it did not wait for the close frame');
    }),
  );

  it(
    'exits 78 and names the flag that is wrong, before it dials',
    beside(async () => {
      using dir = scratch();
      const url = ['--url', 'ws://127.0.0.1:9'];
      const wrong: readonly (readonly [flag: string, args: readonly string[]])[] = [
        ['--url', []],
        ['--url', ['--url', 'http://127.0.0.1']],
        ['--url', ['--url', 'ws://gateway.example.com']],
        ['--url', ['--url', '']],
        ['--token-file', [...url, '--token-file', dir.at('missing')]],
        ['--token-file', [...url, '--token-file', 'a', '--token-env', 'B']],
        ['--give-up-after', [...url, '--give-up-after', 'soon']],
        ['--give-up-after', [...url, '--give-up-after', '0ms']],
        ['--max-attempts', [...url, '--max-attempts', '-1']],
        ['--max-attempts', [...url, '--max-attempts', '0']],
        ['--on-permanent', [...url, '--on-permanent', 'exit']],
        ['--connect-timeout', [...url, '--connect-timeout', '0ms']],
        ['--max-delay', [...url, '--initial-delay', '10s', '--max-delay', '1s']],
        ['--blocked-delay', [...url, '--blocked-delay', '15']],
        ['--heartbeat-timeout', [...url, '--heartbeat-timeout', '0s']],
        ['--liveness-interval', [...url, '--liveness', dir.at('live'), '--liveness-interval', '1ms']],
        ['--log-format', [...url, '--log-format', 'xml']],
        ['--log-level', [...url, '--log-level', 'loud']],
        ['surplus', [...url, 'surplus']],
      ];
      for (const [flag, args] of wrong) {
        const out: string[] = [];
        const err: string[] = [];
        const io = {
          stdout: { write: (text: string) => out.push(text) },
          stderr: { write: (text: string) => err.push(text) },
        };
        // The function behind the bin: that its code becomes the exit code is held by the other tests.
        const code = await bounded(run(['host', ...args], io), args.join(' '));
        assert.deepEqual([code, out], [78, []], args.join(' '));
        const said = err.join('');
        assert.ok(said.includes(flag) && said.includes('holdfast host --help'), `${args.join(' ')}: ${said}`);
        assert.doesNotMatch(said, /\n {4}at /);
      }
      await using child = holdfast(['host', ...url, '--connect-timeout', '0ms']);
      assert.equal((await child.exit()).code, 78);
      assert.match(child.stderr, /^holdfast host: --connect-timeout: /);
    }),
  );

  it(
    'rides through a restart of its gateway, and tells of it in lines for people, too',
    beside(async () => {
      await using gw = await gateway({ timings: { portShutMs: 150 } });
      using dir = scratch();
      await using child = holdfast(
        ['host', '--url', gw.url, '--token-env', 'TOKEN', '--log-format', 'pretty', '--liveness', dir.at('live')],
        { TOKEN: gw.token },
      );
      await eventually(() => child.stderr.includes('online'), 'online');
      await gw.restart();
      await gw.until(() => gw.hellos === 2);
      await eventually(() => /the restart of the gateway ended/.test(child.stderr), 'the end of the restart');
      child.kill('SIGTERM');
      assert.equal((await child.exit()).code, 0);
      for (const line of child.stderr.trimEnd().split('\n'))
        assert.match(line, /^\d\d:\d\d:\d\d\.\d{3} {2}(?: {5}|warn |error|debug) \S/);
      assert.match(child.stderr, /the gateway restarts itself \(shutdown, it expects 1500 ms\)/);
      assert.match(
        child.stderr,
        /attempt 2 failed in phase tcp: gateway-restart, ECONNREFUSED; next attempt in 0\.\d\d s/,
      );
    }),
  );
});
