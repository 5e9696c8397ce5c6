import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import type { ClientOptions } from '../../lib/index.js';
import { type Child, lib, script } from '../support/children.js';
import { bounded } from '../support/collect.js';
import { begin, gateway } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/**
 * A process with a client for each misbehaviour, whose provider shows it on its first call. Nothing else keeps the process
 * alive, and whatever nobody catches, be it a mere warning, ends it with 99.
 */
function faulty(kind: 'token' | 'url', url: string, token: string): Child {
  const right = JSON.stringify(kind === 'token' ? token : url);
  const misbehave = Object.entries(MISBEHAVIOURS).map(
    ([name, { does }]) => `${JSON.stringify(name)}: () => { ${does} }`,
  );
  return script(`
    const { createClient } = await import(${lib('index.js')});
    await Promise.all(Object.entries({ ${misbehave.join(', ')} }).map(async ([where, misbehave]) => {
      let asked = 0;
      const provider = () => { asked += 1; return asked === 1 ? misbehave() : ${right}; };
      const record = (level) => (line, msg) => process.stderr.write(JSON.stringify({ ...line, where, level, msg }) + '\\n');
      const client = createClient({
        url: ${kind === 'url' ? 'provider' : JSON.stringify(url)},
        token: ${kind === 'token' ? 'provider' : JSON.stringify(token)},
        reconnect: { initialDelay: 20, maxDelay: 50, connectTimeout: 500 },
        logger: { debug() {}, info() {}, warn: record('warn'), error() {} },
      });
      client.on('state', () => { throw new Error('a listener that throws, too'); });
      client.on('attempt', async () => { throw undefined; });
      await client.start().ready({ timeout: 5000 });
      process.stdout.write(where + ': online after ' + asked + '\\n');
      await client.close();
    }));
  `);
}

const MISBEHAVIOURS: Readonly<Record<string, { code: string; does: string }>> = {
  'throws synchronously': { does: "throw new Error('no store');", code: 'PROVIDER_REJECTED' },
  rejects: {
    does: "return Promise.reject(Object.assign(new Error('no store'), { code: 'SQLITE_BUSY' }));",
    code: 'SQLITE_BUSY',
  },
  'rejects with undefined': { does: 'return Promise.reject();', code: 'PROVIDER_REJECTED' },
  'throws null': { does: 'throw null;', code: 'PROVIDER_REJECTED' },
  'never settles': { does: 'return new Promise(() => {});', code: 'CONNECT_TIMEOUT' },
  'answers undefined': { does: 'return undefined;', code: 'PROVIDER_INVALID' },
  'answers a number': { does: 'return 42;', code: 'PROVIDER_INVALID' },
  'answers an empty text': { does: "return '';", code: 'PROVIDER_INVALID' },
  'answers a thenable that throws': {
    does: "return { then() { throw new Error('no store'); } };",
    code: 'PROVIDER_REJECTED',
  },
};

describe('a provider', () => {
  for (const kind of ['token', 'url'] as const) {
    it(`A06, A07 of the ${kind} that fails in any way is one failed attempt, and the next one succeeds`, async () => {
      await using gw = await gateway();
      await using child = faulty(kind, gw.url, gw.token);
      const end = await child.exit();
      assert.equal(end.code, 0, child.stderr);
      assert.deepEqual(
        child.out.all.sort(),
        Object.keys(MISBEHAVIOURS)
          .map((name) => `${name}: online after 2`)
          .sort(),
      );
      for (const [name, { code }] of Object.entries(MISBEHAVIOURS)) {
        const failed = child.log.all.filter((line) => line.event === 'attempt' && line.where === name);
        assert.deepEqual(
          failed.map((line) => [line.phase, line.reason, line.code]),
          [['provider', 'local', code]],
          name,
        );
      }
    });
  }

  it('A06f of the url that answers no address, or one that is not allowed, is a failed attempt that does not repeat it', async () => {
    await using gw = await gateway();
    for (const wrong of [
      'not a url',
      'http://127.0.0.1:1',
      'ws://user:s3cret-pass@127.0.0.1:1',
      'ws://gateway.example:1',
      'ws://127.0.0.1:1/?token=s3cret-pass',
    ]) {
      let asked = 0;
      const url = (): string => {
        asked += 1;
        return asked === 1 ? wrong : gw.url;
      };
      await using session = begin({ url: gw.url, token: gw.token }, { url });
      const [line] = await session.journal.failed(1);
      assert.deepEqual([line?.phase, line?.reason], ['provider', 'local'], wrong);
      await session.client.ready({ timeout: 5000 });
      assert.doesNotMatch(session.journal.text, /s3cret/);
    }
  });

  it('A07d that settles after its attempt was given up is ignored', async () => {
    await using gw = await gateway();
    const pending: ((token: string) => void)[] = [];
    const token = (): string | Promise<string> =>
      pending.length > 0
        ? gw.token
        : new Promise((resolve) => {
            pending.push(resolve);
          });
    await using session = begin(
      { url: gw.url },
      { token, reconnect: { initialDelay: 20, maxDelay: 50, connectTimeout: 100 } },
    );
    await session.client.ready({ timeout: 5000 });
    for (const settle of pending) settle('a token that is too late and wrong');
    assert.deepEqual(await session.client.call('test.echo', { still: 'online' }), { still: 'online' });
    assert.equal(gw.dials, 1);
  });

  it('is asked before every dial, and only then', async () => {
    await using gw = await gateway();
    const asked = { url: 0, token: 0, password: 0 };
    const options: Partial<ClientOptions> = {
      url: async () => {
        asked.url += 1;
        return gw.url;
      },
      token: async () => {
        asked.token += 1;
        return gw.token;
      },
      password: () => {
        asked.password += 1;
        return 'some password';
      },
    };
    await using session = begin(gw, options);
    await session.client.ready({ timeout: 5000 });
    gw.cutAll('fin');
    await gw.until(() => gw.hellos === 2);
    assert.deepEqual(asked, { url: 2, token: 2, password: 2 });
  });
});

describe('a secret', () => {
  it('is read from its file before every dial, without the line break at its end', async () => {
    await using gw = await gateway();
    using dir = scratch();
    const file = dir.at('token');
    await writeFile(file, 'the wrong token\n');
    await using session = begin({ url: gw.url }, { token: { file } });
    await session.journal.entered('blocked');
    await writeFile(dir.at('next'), `${gw.token}\r\n`);
    await rename(dir.at('next'), file);
    await session.client.ready({ timeout: 5000 });
    assert.ok(session.journal.failures.every((line) => line.reason === 'unauthorized'));
  });

  it('is a failed attempt while its file vanishes, is empty or holds a line break; the client comes back with the file', async () => {
    await using gw = await gateway();
    using dir = scratch();
    const file = dir.at('token');
    for (const [content, code] of [
      [null, 'ENOENT'],
      ['  \n', 'SECRET_FILE_EMPTY'],
      ['two\r\nX-Smuggled: 1', 'SECRET_CHARACTERS'],
    ] as const) {
      await writeFile(file, gw.token);
      await using session = begin({ url: gw.url }, { token: { file } });
      await session.client.ready({ timeout: 5000 });
      if (content === null) await rename(file, dir.at('gone'));
      else await writeFile(file, content);
      gw.cutAll('reset');
      const [line] = await session.journal.failed(1);
      assert.deepEqual([line?.phase, line?.reason, line?.code], ['provider', 'local', code]);
      assert.doesNotMatch(line?.error ?? '', /Smuggled/);
      await writeFile(file, gw.token);
      await bounded(session.client.ready(), 'the way back');
    }
  });

  it('is read from the environment', async () => {
    await using gw = await gateway();
    const name = 'HOLDFAST_TEST_TOKEN_OF_PROVIDERS';
    delete process.env[name];
    await using session = begin({ url: gw.url }, { token: { env: name } });
    const [line] = await session.journal.failed(1);
    assert.deepEqual([line?.reason, line?.code], ['local', 'SECRET_ENV_MISSING']);
    process.env[name] = gw.token;
    await session.client.ready({ timeout: 5000 });
    delete process.env[name];
  });
});
