import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { ProviderError } from '../../lib/io/provider-error.js';
import { runSecretCommand, type SecretCommandOptions } from '../../lib/io/secret-command.js';
import { bounded, eventually } from '../support/collect.js';
import { scratch } from '../support/liveness-records.js';

const SECRET = 'command-secret-4711';
const { signal } = new AbortController();

function sh(text: string, ...args: string[]): readonly [string, ...string[]] {
  return ['sh', '-c', text, 'sh', ...args];
}

async function failure(options: Partial<SecretCommandOptions>): Promise<ProviderError> {
  const run = runSecretCommand({ command: sh('exit 1'), provider: 'token', signal, ...options });
  const result = await bounded(
    run.catch((error: unknown) => error),
    'the end of a command',
  );
  assert.ok(result instanceof ProviderError, `it did not fail: ${inspect(result)}`);
  assert.equal(result.provider, 'token');
  assert.doesNotMatch(inspect(result), new RegExp(SECRET));
  return result;
}

/** Not even a zombie is left of it. */
function isReaped(pid: string): boolean {
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch {
    return true;
  }
}

/** An orphan that was killed may stay a zombie, where nothing in the container reaps it. */
function isDead(pid: string): boolean {
  if (!existsSync('/proc/self/stat')) return isReaped(pid);
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

describe('a secret from a command', () => {
  it('is the first line of what it prints, without the space around it', async () => {
    const cases: readonly (readonly [string, string])[] = [
      [`printf ${SECRET}`, SECRET],
      [`printf '\\n  ${SECRET} \\r\\nuser: me\\nurl: x\\n'`, SECRET],
      [`echo warning >&2; echo ${SECRET}`, SECRET],
      ["printf 'mot de passe é'", 'mot de passe é'],
    ];
    for (const [text, secret] of cases) assert.equal(await runSecretCommand({ command: sh(text), signal }), secret);
  });

  it('gets its arguments as they are: no shell is in between', async () => {
    using dir = scratch();
    const args = ['$HOME', '`id`', "'; touch x", '*', '', 'a b', '$(touch y)'];
    // A program whose path has a space, and that prints what it got.
    const program = dir.at('my program');
    writeFileSync(program, `#!/bin/sh\nfor each in "$@"; do printf '<%s>' "$each"; done\n`);
    chmodSync(program, 0o700);
    const got = await runSecretCommand({ command: [program, ...args], signal });
    assert.equal(got, args.map((each) => `<${each}>`).join(''));
  });

  it('has an empty stdin, and our environment', async () => {
    process.env['HOLDFAST_TEST_SECRET'] = SECRET;
    try {
      assert.equal(await runSecretCommand({ command: sh('cat; echo "$HOLDFAST_TEST_SECRET"'), signal }), SECRET);
    } finally {
      delete process.env['HOLDFAST_TEST_SECRET'];
    }
  });

  it('that cannot be had says what went wrong, without arguments and without what was printed', async () => {
    using dir = scratch();
    mkdirSync(dir.at('folder'));
    writeFileSync(dir.at('plain'), '');
    const cases: readonly (readonly [readonly [string, ...string[]], string, RegExp])[] = [
      [[dir.at('missing'), SECRET], 'SECRET_COMMAND_NOT_FOUND', /missing was not found/],
      [[dir.at('folder'), SECRET], 'SECRET_COMMAND_NOT_STARTED', /folder could not be started: EACCES/],
      [[dir.at('plain')], 'SECRET_COMMAND_NOT_STARTED', /EACCES/],
      [['sh', `${SECRET}\0`], 'SECRET_COMMAND_NOT_STARTED', /an argument is not usable/],
      [['', SECRET], 'SECRET_COMMAND_INVALID', /names no program/],
      [sh(`echo ${SECRET}; exit 3`), 'SECRET_COMMAND_EXIT', /sh ended with exit code 3$/],
      [sh('kill -9 $$'), 'SECRET_COMMAND_SIGNAL', /ended by SIGKILL/],
      [sh('exit 0'), 'SECRET_COMMAND_EMPTY', /printed nothing/],
      [sh("printf ' \\n \\n'"), 'SECRET_COMMAND_EMPTY', /printed nothing/],
    ];
    for (const [command, code, message] of cases) {
      const error = await failure({ command });
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.equal(error.invalid, code === 'SECRET_COMMAND_INVALID');
    }
  });

  it('X05 is one line of text, or is not repeated', async () => {
    for (const text of [`printf '${SECRET}\\tx'`, `printf '${SECRET}\\033[0m'`, `printf '${SECRET}\\377'`]) {
      const error = await failure({ command: sh(text) });
      assert.deepEqual([error.code, error.invalid], ['SECRET_CHARACTERS', true]);
    }
  });

  it('X07 that is repeated on stderr is not told; of the rest only the beginning', async () => {
    const encoded = Buffer.from(SECRET).toString('base64');
    const text = `echo ${SECRET}; printf 'denied: ${SECRET} ${encoded}\\033[31m\\nnext ' >&2; head -c 100000 /dev/zero | tr '\\0' e >&2; exit 2`;
    const { message } = await failure({ command: sh(text) });
    assert.match(
      message,
      /^the command sh ended with exit code 2: denied: \[redacted\] \[redacted\]=* \[31m next e+…$/,
    );
    assert.ok(!message.includes(encoded.slice(0, 20)));
    assert.ok(message.length < 260, String(message.length));
  });

  it('is bounded: who prints more is ended at once', async () => {
    const error = await failure({ command: ['yes', SECRET] });
    assert.deepEqual(
      [error.code, error.message],
      ['SECRET_COMMAND_TOO_LONG', 'the command yes printed more than 65536 bytes'],
    );
    const most = await runSecretCommand({ command: sh("head -c 65536 /dev/zero | tr '\\0' x"), signal });
    assert.equal(most.length, 65_536);
  });

  it('is waited for no longer than its time; all that it started is killed', async () => {
    using dir = scratch();
    const file = dir.at('pids');
    const text = `trap '' TERM HUP INT; sleep 60 & echo $! > "$1.new"; echo $$ >> "$1.new"; mv "$1.new" "$1"; wait; sleep 60`;
    const abort = new AbortController();
    const failed = failure({ command: sh(text, file), signal: abort.signal });
    await eventually(() => existsSync(file), 'the ids of the processes');
    const [inner = '', outer = ''] = readFileSync(file, 'utf8').trim().split('\n');
    assert.deepEqual([inner, outer].map(isDead), [false, false]);
    abort.abort();
    assert.equal((await failed).code, 'SECRET_COMMAND_ABORTED');
    await eventually(() => isReaped(outer), 'the end of the command');
    await eventually(() => isDead(inner), 'the end of what it started');
    const late = await failure({ command: ['sleep', '60'], timeoutMs: 30 });
    assert.deepEqual(
      [late.code, late.message],
      ['SECRET_COMMAND_TIMEOUT', 'the command sleep did not end within 30 ms'],
    );
  });

  it('is not started for nobody', async () => {
    using dir = scratch();
    const error = await failure({ command: ['touch', dir.at('made')], signal: AbortSignal.abort() });
    assert.deepEqual([error.code, existsSync(dir.at('made'))], ['SECRET_COMMAND_ABORTED', false]);
  });

  it('does not wait for what the command leaves behind in its group, and ends it', async () => {
    using dir = scratch();
    const text = `sleep 60 & echo $! > "$1"; echo ${SECRET}`;
    assert.equal(await bounded(runSecretCommand({ command: sh(text, dir.at('pid')), signal }), 'the secret'), SECRET);
    const pid = readFileSync(dir.at('pid'), 'utf8').trim();
    await eventually(() => isDead(pid), 'the end of what was left behind');
  });

  it('leaves nothing on the signal', async () => {
    const many = Array.from({ length: 12 }, () => runSecretCommand({ command: ['echo', SECRET], signal }));
    assert.deepEqual(new Set(await Promise.all(many)), new Set([SECRET]));
    const { signal: own } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = own;
    own.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners += 1;
      addEventListener.apply(own, args);
    };
    own.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners -= 1;
      removeEventListener.apply(own, args);
    };
    await runSecretCommand({ command: ['echo', SECRET], signal: own });
    await runSecretCommand({ command: ['false'], signal: own }).catch(() => {});
    assert.equal(listeners, 0);
  });
});
