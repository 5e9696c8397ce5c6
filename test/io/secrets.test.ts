import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { isGatewayError } from '../../lib/index.js';
import { ProviderError } from '../../lib/io/provider-error.js';
import { askProvider, checkSecretFile, readSecret } from '../../lib/io/secrets.js';
import { scratch } from '../support/liveness-records.js';

const { signal } = new AbortController();

async function failure(promise: Promise<unknown>): Promise<ProviderError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof ProviderError, String(error));
    return error;
  }
  assert.fail('it did not fail');
}

describe('a secret', () => {
  it('comes from a text, a function, a promise, a file or the environment', async () => {
    using dir = scratch();
    writeFileSync(dir.at('token'), '  from-file \r\n');
    process.env['HOLDFAST_TEST_SECRET'] = 'from-env';
    const secrets = [
      'plain',
      () => 'function',
      async () => 'promise',
      { file: dir.at('token') },
      { env: 'HOLDFAST_TEST_SECRET' },
    ] as const;
    const read = await Promise.all(secrets.map((secret) => readSecret('token', secret, signal)));
    assert.deepEqual(read, ['plain', 'function', 'promise', 'from-file', 'from-env']);
    delete process.env['HOLDFAST_TEST_SECRET'];
    assert.equal(
      (await failure(readSecret('token', { env: 'HOLDFAST_TEST_SECRET' }, signal))).code,
      'SECRET_ENV_MISSING',
    );
  });

  it('that cannot be had says which provider or file failed, and how', async () => {
    using dir = scratch();
    writeFileSync(dir.at('empty'), ' \n');
    mkdirSync(dir.at('folder'));
    for (const [file, code] of [
      ['missing', 'ENOENT'],
      ['empty', 'SECRET_FILE_EMPTY'],
      ['folder', 'EISDIR'],
    ] as const) {
      const error = await failure(readSecret('token', { file: dir.at(file) }, signal));
      assert.deepEqual([error.provider, error.code, error.invalid], ['token', code, false]);
      assert.ok(error.message.includes(dir.at(file)));
    }
  });

  it('X05 may hold no line break or other control character, and is not repeated then', async () => {
    for (const bad of ['s3cret\r\nX-Smuggled: 1', 's3cret\u0000', 's3cret\u007f']) {
      const error = await failure(readSecret('password', bad, signal));
      assert.deepEqual([error.code, error.invalid], ['SECRET_CHARACTERS', true]);
      assert.doesNotMatch(error.message, /s3cret/);
    }
  });

  it('in a file is looked for before anything is dialled', () => {
    using dir = scratch();
    writeFileSync(dir.at('token'), 'x');
    mkdirSync(dir.at('folder'));
    for (const fine of [undefined, 'plain', () => 'x', { env: 'NOT_SET' }, { file: dir.at('token') }])
      checkSecretFile('token', fine);
    for (const [wrong, why] of [
      ['missing', /token\.file: .*missing cannot be read: ENOENT/],
      ['folder', /token\.file: .*folder is a directory/],
    ] as const) {
      assert.throws(
        () => checkSecretFile('token', { file: dir.at(wrong) }),
        (error: unknown) => isGatewayError(error, 'local') && why.test(error.message),
      );
    }
  });
});

describe('a provider', () => {
  it('A06 that throws, rejects with anything or answers nonsense is a ProviderError, and nothing else', async () => {
    const cases: readonly (readonly [ask: () => unknown, code: string, invalid: boolean])[] = [
      [() => assert.fail('no'), 'ERR_ASSERTION', false],
      [() => Promise.reject(new Error('no')), 'PROVIDER_REJECTED', false],
      [() => Promise.reject(), 'PROVIDER_REJECTED', false],
      [() => Promise.reject(null), 'PROVIDER_REJECTED', false],
      [() => Promise.reject('a text'), 'PROVIDER_REJECTED', false],
      [() => undefined, 'PROVIDER_INVALID', true],
      [() => '', 'PROVIDER_INVALID', true],
      [() => 7, 'PROVIDER_INVALID', true],
      [() => null, 'PROVIDER_INVALID', true],
      [() => Promise.resolve({ token: 's3cret' }), 'PROVIDER_INVALID', true],
    ];
    for (const [ask, code, invalid] of cases) {
      const error = await failure(askProvider('token', ask, signal));
      assert.deepEqual([error.provider, error.code, error.invalid], ['token', code, invalid]);
      assert.doesNotMatch(error.message, /s3cret/);
    }
  });

  it('A07 that never settles ends with its signal, and what it does later harms nobody', async () => {
    const controller = new AbortController();
    let reject: (error: unknown) => void = () => {};
    const pending = new Promise((_resolve, no) => {
      reject = no;
    });
    const asked = failure(askProvider('url', () => pending, controller.signal));
    controller.abort();
    assert.equal((await asked).code, 'PROVIDER_TIMEOUT');
    // Were it unhandled, it would end the test run.
    reject(new Error('much too late'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal((await failure(askProvider('url', () => pending, AbortSignal.abort()))).provider, 'url');
  });
});
