/** Rules of BEHAVIOUR.md that are about the whole: each is seen from outside, through the public surface. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createClient, type Logger } from '../../lib/index.js';
import { probe } from '../../lib/probe.js';
import { holdfast } from '../support/children.js';
import { eventually, refusal } from '../support/collect.js';
import { attach, begin, gateway, idle, nobody } from '../support/gateways.js';
import { BUILT_LIB, loadedBy, read } from './repository.js';

describe('behaviour', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-behaviour-'));
    file = join(folder, 'liveness.json');
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('R3 tells one reason in the attempt, the state, the error, the log, the health and the file', async () => {
    await using session = begin(await nobody(), { liveness: { file } });
    const { client, events, journal } = session;
    const attempt = await events.until((event) => event.type === 'attempt');
    const state = await events.until((event) => event.type === 'state' && event.to === 'waiting');
    const line = await journal.until((record) => record.event === 'attempt');
    const error = await refusal(client.call('health', {}));
    await eventually(async () => (await probe({ file })).record?.reason !== undefined, 'a reason in the file');
    const told = {
      attempt: 'reason' in attempt && attempt.reason,
      state: 'reason' in state && state.reason,
      stateError: state.type === 'state' && state.error?.reason,
      log: line.reason,
      error: error.reason,
      health: client.health().reason,
      file: (await probe({ file })).record?.reason,
    };
    assert.deepEqual([...new Set(Object.values(told))], ['outage'], JSON.stringify(told));
  });

  it('R8 shows its token in no log line, error, event or file', async () => {
    const token = 'sk-Zq7/very+secret=token';
    const forms = [
      token,
      encodeURIComponent(token),
      Buffer.from(token).toString('base64'),
      Buffer.from(token).toString('base64url'),
    ];
    await using gw = await gateway({ token });
    // The gateway itself repeats it, in every place that ends up in a text of ours.
    gw.inject({
      name: 'reject-connect',
      code: 'UNAVAILABLE',
      message: `no ${token}`,
      details: { code: token },
      times: 1,
    });
    gw.inject({ name: 'http-status', status: 503, body: `bearer ${token}`, times: 1 });
    await using session = await attach(gw, { liveness: { file } });
    const { client, events, journal } = session;
    gw.closeAll(1012, `bye ${token}`);
    await gw.until(() => gw.hellos === 2);
    const error = await refusal(client.call('no.such.method', {}));
    await client.close();
    const { error: ended } = await client.done;
    const outputs = {
      log: journal.text,
      file: readFileSync(file, 'utf8'),
      events: JSON.stringify(events.all),
      errors: [error, ended, ...events.all.map((event) => (event.type === 'state' ? event.error : undefined))]
        .map((each) => `${each?.message} ${each?.stack} ${each?.remedy} ${JSON.stringify(each?.gateway)}`)
        .join('\n'),
      health: JSON.stringify(client.health()),
    };
    for (const [place, text] of Object.entries(outputs)) {
      for (const form of forms)
        assert.ok(
          !text.includes(form),
          `${place} shows the token: …${text.slice(Math.max(0, text.indexOf(form) - 120), text.indexOf(form) + 60)}…`,
        );
    }
    assert.ok(journal.text.includes('[redacted]'), 'the gateway did repeat it');
  });

  it('R31 leaves the give-up in the log, the outcome, the exit code and the file, and they agree', async () => {
    const { url } = await nobody();
    await using host = holdfast([
      'host',
      '--url',
      url,
      '--liveness',
      file,
      '--max-attempts',
      '3',
      '--initial-delay',
      '20ms',
      '--max-delay',
      '20ms',
    ]);
    const { code } = await host.exit();
    const last = await host.logged((line) => line.event === 'giveup');
    const { verdict, cause, record } = await probe({ file });
    assert.equal(code, 75);
    assert.deepEqual([last.reason, last.level], ['outage', 'error']);
    assert.deepEqual([verdict, cause], ['dead-writer', 'stopped']);
    assert.deepEqual(
      [record?.exit?.code, record?.exit?.outcome, record?.exit?.reason, record?.exit?.attempts],
      [75, 'gave-up', 'outage', 3],
    );
    assert.equal(host.log.all.filter((line) => line.event === 'attempt').length, 3);
  });

  it('R33 exits 78 on a wrong flag or option and names it', async () => {
    const asked = {
      '--no-such-flag': ['--no-such-flag'],
      '--give-up-after': ['--url', 'ws://127.0.0.1:1', '--give-up-after', 'soon'],
      scheme: ['--url', 'http://127.0.0.1:1'],
      '--allow-plaintext': ['--url', 'ws://gateway.example'],
    };
    for (const [named, flags] of Object.entries(asked)) {
      await using host = holdfast(['host', ...flags]);
      assert.deepEqual(await host.exit(), { code: 78, signal: null });
      assert.ok(host.stderr.includes(named), host.stderr);
    }
  });

  it('R33 exits 0 when its owner asks, also while the gateway is away', async () => {
    const { url } = await nobody();
    await using host = holdfast(['host', '--url', url, '--liveness', file]);
    await host.logged((line) => line.event === 'attempt');
    host.kill('SIGTERM');
    assert.deepEqual(await host.exit(), { code: 0, signal: null });
    assert.equal((await probe({ file })).record?.exit?.outcome, 'closed');
  });

  it('R40 drops a broadcast that came before, and tells of lost ones', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const { events } = session;
    for (const [payload, seq] of [
      ['first', 101],
      ['again', 101],
      ['older', 50],
      ['next', 102],
      ['later', 105],
    ] as const) {
      gw.send('sample', payload, { seq });
    }
    await events.until((event) => event.type === 'event' && event.payload === 'later');
    assert.deepEqual(
      events.all.flatMap((event) => (event.type === 'event' && event.event === 'sample' ? [event.payload] : [])),
      ['first', 'next', 'later'],
    );
    const gaps = events.all.filter((event) => event.type === 'gap');
    assert.deepEqual(gaps.at(-1), { type: 'gap', expected: 103, received: 105 });
  });

  it('R45 writes nothing between the announcement and the end of the link', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const { client, events } = session;
    const { bootId } = gw;
    const restarted = gw.restart({ shutdownToCloseMs: 150 });
    await events.until((event) => event.type === 'restart' && event.phase === 'began');
    assert.equal(gw.state === 'ready', false);
    await client.call('agents.list', {});
    await restarted;
    const asked = gw.ledger.filter(({ method }) => method === 'agents.list');
    assert.deepEqual(
      asked.map((entry) => entry.bootId === bootId),
      [false],
      'it reached the new instance, once, and the old one never',
    );
  });

  it('R54 logs one record per attempt and per change of state, with fields that can be filtered by', async () => {
    await using gw = await gateway();
    gw.inject({ name: 'http-status', status: 503, times: 1 });
    await using session = await attach(gw, { giveUp: { after: 60_000 } });
    const { journal, events } = session;
    for (const type of ['attempt', 'state'] as const) {
      assert.equal(journal.of(type).length, events.all.filter((event) => event.type === type).length, type);
    }
    const [failed, connected] = journal.of('attempt');
    assert.deepEqual(Object.keys(failed ?? {}).sort(), [
      'attempt',
      'code',
      'component',
      'delayMs',
      'elapsedMs',
      'error',
      'event',
      'giveUpAt',
      'httpStatus',
      'instanceId',
      'level',
      'message',
      'nextAttemptAt',
      'outageMs',
      'phase',
      'reason',
      'remedy',
    ]);
    for (const field of ['connId', 'bootId', 'gatewayVersion'] as const)
      assert.equal(typeof connected?.[field], 'string', field);

    // The kinds that are documented are those in the code.
    const [, rule = ''] = read('BEHAVIOUR.md').split('### R54 ');
    const [, listed = ''] = /`event` names the kind: ([^.]+)\./.exec(rule) ?? [];
    const entries = ['cli/host.js', 'index.js'].flatMap((entry) => [...loadedBy(join(BUILT_LIB, entry))]);
    const loaded = entries.filter((path) => path.startsWith(BUILT_LIB));
    const inCode = loaded.flatMap((path) => {
      const source = read(`lib/${relative(BUILT_LIB, path)}`.replace(/\.js$/, '.ts'));
      return [...source.matchAll(/\{\s*event: '([\w-]+)'|\blast\(\s*'([\w-]+)'/g)].map(
        ([, record, word]) => record ?? word,
      );
    });
    assert.deepEqual([...listed.matchAll(/`([\w-]+)`/g)].map(([, kind]) => kind).sort(), [...new Set(inCode)].sort());
  });

  it('R55 is not hurt by a listener or a logger that throws', async () => {
    const fail = (): never => {
      throw new Error('not your fault');
    };
    const logger: Logger = { debug: fail, info: fail, warn: fail, error: fail };
    await using gw = await gateway();
    await using session = idle(gw, { logger });
    const { client } = session;
    let heard = 0;
    client.on('state', fail);
    client.on('state', async () => fail());
    client.on('state', () => {
      heard += 1;
    });
    client.start();
    await client.ready();
    await client.call('agents.list', {}, { onAttempt: fail });
    assert.ok(heard >= 3);
    assert.equal(client.health().ok, true);
    assert.ok(client.health().log.dropped > 0);
    await client.close();
    assert.equal((await client.done).outcome, 'closed');
  });

  it('makes nothing before start(): no file, no dial', async () => {
    await using gw = await gateway();
    const client = createClient({ url: gw.url, token: gw.token, logger: false, liveness: { file } });
    assert.equal(client.health().state, 'idle');
    await client.close();
    assert.equal(gw.dials, 0);
    assert.equal((await client.done).exitCode, 0);
    assert.ok(!existsSync(file) || (await probe({ file })).record?.exit?.outcome === 'closed');
  });
});
