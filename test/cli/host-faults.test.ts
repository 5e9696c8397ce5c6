import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { parseRecord } from '../../lib/core/liveness.js';
import type { Fault, TestGateway } from '../../lib/testing/index.js';
import { type Child, holdfast, holdfastWithLog, lib, script } from '../support/children.js';
import { eventually, type Line, sideBySide } from '../support/collect.js';
import { gateway } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/**
 * Seven faults after which the official node host, the official client or reconnecting-websocket stay alive, idle and
 * quiet for ever. Each host must log while the fault lasts, say in its file what it waits for, and come back by itself.
 */
interface Case {
  readonly fault?: Fault;
  readonly args?: readonly string[];
  /** Whether a line tells of the fault. */
  readonly tells: (line: Line) => boolean;
  /** So many of them before the fault heals. */
  readonly lines: number;
  readonly heal?: (gw: TestGateway, tokenFile: string) => void;
  readonly token?: string;
}

function attempt(reason: string, code: string): (line: Line) => boolean {
  return (line) =>
    line.event === 'attempt' && line.reason === reason && line.code === code && line.delayMs !== undefined;
}

const CASES: Readonly<Record<string, Case>> = {
  'A03 rate-limited with retryAfterMs': {
    fault: { name: 'reject-connect', preset: 'rate-limited', retryAfterMs: 300 },
    tells: attempt('rate-limited', 'AUTH_RATE_LIMITED'),
    lines: 2,
  },
  'R08 startup-sidecars for ever': {
    fault: { name: 'reject-connect', preset: 'startup-sidecars', retryAfterMs: 200 },
    tells: attempt('gateway-starting', 'startup-sidecars'),
    lines: 3,
  },
  'C18 a protocol mismatch': {
    fault: { name: 'reject-connect', preset: 'protocol-mismatch' },
    tells: attempt('protocol', 'PROTOCOL_MISMATCH'),
    lines: 2,
  },
  'A01 a wrong token, later rotated in its file': {
    token: 'yesterday its token',
    tells: attempt('unauthorized', 'AUTH_TOKEN_MISMATCH'),
    lines: 2,
    heal: (gw, tokenFile) => {
      writeFileSync(`${tokenFile}.new`, `${gw.token}\n`);
      renameSync(`${tokenFile}.new`, tokenFile);
    },
  },
  'C05 a gateway that accepts and never answers': {
    fault: { name: 'silent' },
    args: ['--connect-timeout', '300ms'],
    tells: attempt('unresponsive', 'CONNECT_TIMEOUT'),
    lines: 2,
  },
  'A05 a pairing that nobody approves': {
    fault: { name: 'reject-connect', preset: 'pairing-required' },
    tells: attempt('pairing-required', 'PAIRING_REQUIRED'),
    lines: 2,
  },
};

async function heals(
  child: Child,
  gw: TestGateway,
  live: string,
  { tells, lines, heal }: Case,
  tokenFile: string,
): Promise<void> {
  const told = await child.log.untilCount(lines, tells, 'lines that tell of the fault');
  assert.equal(new Set(told.map((line) => line.attempt)).size, told.length, 'each attempt has its number');
  const text = readFileSync(live, 'utf8');
  const parsed = parseRecord(text);
  assert.ok(parsed.ok && parsed.record.state !== 'online' && parsed.record.reason === told[0]?.reason, text);
  assert.equal(gw.hellos, 0);
  if (heal === undefined) gw.heal();
  else heal(gw, tokenFile);
  await child.logged((line) => line.event === 'state' && line.state === 'online', 'online');
  assert.equal(child.process.exitCode, null);
  child.kill('SIGTERM');
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
}

describe('holdfast host is never silent, never dead, and comes back by itself after', () => {
  const beside = sideBySide(3);

  for (const [title, each] of Object.entries(CASES)) {
    it(
      title,
      beside(async () => {
        await using gw = await gateway(each.fault === undefined ? {} : { faults: [each.fault] });
        using dir = scratch();
        writeFileSync(dir.at('token'), each.token ?? gw.token);
        const args = [
          'host',
          '--url',
          gw.url,
          '--token-file',
          dir.at('token'),
          '--liveness',
          dir.at('live'),
          '--liveness-interval',
          '50ms',
        ];
        await using child = holdfast([
          ...args,
          '--initial-delay',
          '20ms',
          '--max-delay',
          '100ms',
          '--blocked-delay',
          '100ms',
          ...(each.args ?? []),
        ]);
        await heals(child, gw, dir.at('live'), each, dir.at('token'));
      }),
    );
  }

  it(
    'C07 an upgrade that takes long: it is online at the first dial',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'slow-upgrade', ms: 1200 }] });
      await using child = holdfast(['host', '--url', gw.url, '--token-env', 'TOKEN', '--connect-timeout', '4s'], {
        TOKEN: gw.token,
      });
      const online = await child.logged((line) => line.event === 'attempt');
      assert.deepEqual([online.attempt, online.reason, gw.dials], [1, undefined, 1]);
      assert.ok(online.elapsedMs !== undefined && online.elapsedMs >= 1190);
      child.kill('SIGTERM');
      assert.equal((await child.exit()).code, 0);
    }),
  );

  it(
    'A06 a provider that rejects once',
    beside(async () => {
      await using gw = await gateway();
      await using child = script(`
      process.removeAllListeners('uncaughtException');
      process.removeAllListeners('unhandledRejection');
      const { runHost } = await import(${lib('api/run-host.js')});
      let asked = 0;
      const token = async () => { asked += 1; if (asked === 1) throw new Error('the store is locked'); return ${JSON.stringify(gw.token)}; };
      const { exitCode } = await runHost({ url: ${JSON.stringify(gw.url)}, token, reconnect: { initialDelay: 20 } });
      process.exitCode = exitCode;
    `);
      const failed = await child.logged((line) => line.event === 'attempt' && line.reason !== undefined);
      assert.deepEqual([failed.phase, failed.reason, failed.code], ['provider', 'local', 'PROVIDER_REJECTED']);
      assert.match(failed.error ?? '', /the store is locked/);
      await child.logged((line) => line.state === 'online', 'online');
      child.kill('SIGTERM');
      assert.equal((await child.exit()).code, 0);
    }),
  );

  it(
    'F12 a reader of its log that stops reading: its loop turns, its file stays fresh',
    beside(async () => {
      await using gw = await gateway({ faults: [{ name: 'close-on-accept' }] });
      using dir = scratch();
      execFileSync('mkfifo', [dir.at('log')]);
      const reader = openSync(dir.at('log'), constants.O_RDWR | constants.O_NONBLOCK);
      const writer = openSync(dir.at('log'), constants.O_WRONLY);
      fill(reader);
      const child = holdfastWithLog(
        [
          'host',
          '--url',
          gw.url,
          '--liveness',
          dir.at('live'),
          '--liveness-interval',
          '50ms',
          '--initial-delay',
          '20ms',
        ],
        writer,
      );
      try {
        await eventually(() => seqOf(dir.at('live')) >= 5, 'five records', 2000);
        assert.ok(gw.dials >= 1);
      } finally {
        child.kill('SIGKILL');
        await once(child, 'close');
        closeSync(reader);
        closeSync(writer);
      }
    }),
  );
});

/** Writes into a pipe until it takes no more. */
function fill(pipe: number): void {
  const page = Buffer.alloc(4096, 0x20);
  for (;;) {
    try {
      writeSync(pipe, page);
    } catch {
      return;
    }
  }
}

function seqOf(file: string): number {
  try {
    const parsed = parseRecord(readFileSync(file, 'utf8'));
    return parsed.ok ? parsed.record.seq : 0;
  } catch {
    return 0;
  }
}
