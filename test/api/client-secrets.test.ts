import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { type ClientOptions, createClient, type GatewayError } from '../../lib/index.js';
import type { Fault } from '../../lib/testing/index.js';
import { holdfast } from '../support/children.js';
import { eventually, refusal } from '../support/collect.js';
import { attach, begin, gateway, nobody, type Session } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/** With characters that look different in each encoding. */
const TOKEN = 'tok/en+with?odd&chars=~42~ünïcode';

const FORMS: readonly string[] = [
  TOKEN,
  Buffer.from(TOKEN).toString('base64').replace(/=+$/, ''),
  Buffer.from(TOKEN).toString('base64url'),
  encodeURIComponent(TOKEN),
];

/** Every way in which a peer may throw the token back. */
const ECHO = FORMS.join(' ');

function clean(text: string, what: string): void {
  for (const form of FORMS)
    assert.ok(
      !text.includes(form),
      `${what} holds the token: ${text.slice(Math.max(0, text.indexOf(form) - 80), text.indexOf(form) + 20)}`,
    );
}

/** Everything that a session has let out so far, but for its liveness file. */
function spoken(session: Session, errors: readonly unknown[]): string {
  const { client, journal, events } = session;
  const parts: unknown[] = [journal.all, events.all, client.health(), client, ...errors];
  const shown = parts.map((part) =>
    inspect(part, { depth: 20, showHidden: true, maxStringLength: null, maxArrayLength: null }),
  );
  const stacks = errors.map((error) => (error as GatewayError).stack);
  return [...shown, ...stacks, JSON.stringify([journal.all, events.all, client.health(), errors])].join('\n');
}

const FAULTS: readonly Fault[] = [
  {
    name: 'reject-connect',
    preset: 'token-mismatch',
    message: `unauthorized: ${ECHO}`,
    details: { code: 'AUTH_TOKEN_MISMATCH', seen: ECHO },
  },
  { name: 'reject-connect', preset: 'pairing-required', details: { code: 'PAIRING_REQUIRED', requestId: TOKEN } },
  { name: 'reject-connect', preset: 'close-1008', closeReason: `unauthorized: ${TOKEN}` },
  { name: 'reject-connect', preset: 'restarting', code: TOKEN, message: TOKEN, details: TOKEN },
  { name: 'http-status', status: 503, body: `Authorization: Bearer ${TOKEN} ${FORMS[1]}` },
  { name: 'drop-after-hello', ms: 0, code: 4000, reason: TOKEN },
  { name: 'drop-after-hello', ms: 0, code: 4001, reason: FORMS[1] ?? '' },
];

describe('the token (X07)', () => {
  it('appears in no log, event, error, health or inspection, though the gateway throws it back in every way', async () => {
    using dir = scratch();
    await Promise.all(
      FAULTS.map(async (fault, index) => {
        const file = dir.at(`live-${index}`);
        await using gw = await gateway({ token: TOKEN, faults: [fault] });
        await using session = begin({ url: gw.url, token: TOKEN }, { liveness: { file, interval: 50 } });
        await session.journal.until((line) => line.reason !== undefined, 'a failure');
        await eventually(
          () => existsSync(file) && readFileSync(file, 'utf8').includes('lastError'),
          'the failure in the file',
        );
        const calls = await Promise.all([
          refusal(session.client.call('test.echo', {}, { deadline: 50 })),
          refusal(session.client.ready({ timeout: 20 })),
        ]);
        clean(spoken(session, calls), JSON.stringify(fault));
        clean(readFileSync(file, 'utf8'), `the liveness file under ${fault.name}`);
        await session.client.close();
        clean(inspect(await session.client.done, { depth: 20 }), 'the outcome');
        clean(readFileSync(file, 'utf8'), 'the last record');
      }),
    );
  });

  it('appears in no error of a call that the gateway refuses with it', async () => {
    await using gw = await gateway({ token: TOKEN });
    await using session = await attach(gw);
    const error = await refusal(
      session.client.call('test.fail', {
        error: { code: 'INVALID_REQUEST', message: ECHO, details: { seen: [TOKEN, { deep: ECHO }] } },
      }),
    );
    clean(spoken(session, [error]), 'the error of a call');
  });

  it('appears nowhere when its provider throws it, and none that is known from an earlier dial', async () => {
    await using gw = await gateway({ token: TOKEN });
    let asked = 0;
    const token = (): string => {
      asked += 1;
      if (asked > 1) throw new Error(`cannot refresh ${TOKEN}`);
      return TOKEN;
    };
    await using session = await attach({ url: gw.url }, { token });
    gw.cutAll('reset');
    const [line] = await session.journal.failed(1);
    assert.match(line?.error ?? '', /cannot refresh/);
    const error = await refusal(session.client.call('test.echo', {}));
    clean(spoken(session, [error]), 'a provider error');
  });

  it('appears in no error of wrong options', async () => {
    const wrong: readonly Partial<ClientOptions>[] = [
      { token: TOKEN, url: `ws://127.0.0.1:1/?token=${TOKEN}` },
      { token: TOKEN, url: `ws://user:${TOKEN}@127.0.0.1:1` },
      { token: TOKEN, url: TOKEN },
      { token: [TOKEN] as unknown as string },
      { token: { text: TOKEN } as unknown as string },
      { token: TOKEN, reconnect: { initialDelay: -1 } },
      { password: { file: TOKEN, env: TOKEN } as unknown as string },
    ];
    for (const options of wrong) {
      assert.throws(
        () => createClient({ url: 'ws://127.0.0.1:1', ...options }),
        (error: unknown) => {
          clean(`${inspect(error, { depth: 20, showHidden: true })}${JSON.stringify(error)}`, 'an error of options');
          return true;
        },
      );
    }
    await using session = begin({ ...(await nobody()), token: TOKEN });
    await session.journal.failed(1);
    clean(spoken(session, []), 'a client that dials in vain');
  });

  it('appears in no output of `holdfast host`, which is given it by file or by environment', async () => {
    await using gw = await gateway({
      token: TOKEN,
      faults: [{ name: 'drop-after-hello', ms: 0, code: 4000, reason: TOKEN, times: 1 }],
    });
    using dir = scratch();
    for (const format of ['json', 'pretty']) {
      const live = dir.at(format);
      await using child = holdfast(
        [
          'host',
          '--url',
          gw.url,
          '--token-env',
          'GATEWAY_TOKEN',
          '--liveness',
          live,
          '--initial-delay',
          '20ms',
          '--log-level',
          'debug',
          '--log-format',
          format,
        ],
        { GATEWAY_TOKEN: TOKEN },
      );
      const hellos = gw.hellos;
      await gw.until(() => gw.hellos >= hellos + (format === 'json' ? 2 : 1));
      await eventually(() => child.stderr.includes('online'), 'the log line of the hello');
      child.kill('SIGTERM');
      assert.equal((await child.exit()).code, 0);
      clean(child.stdout + child.stderr + readFileSync(live, 'utf8'), `the output in ${format}`);
    }
  });
});
