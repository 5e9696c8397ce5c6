import assert from 'node:assert/strict';
import { VERSION } from '../../lib/version.js';
import { holdfast } from '../support/children.js';
import { sideBySide } from '../support/collect.js';

const COMMANDS = ['host', 'probe', 'status', 'gateway', 'demo'] as const;

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function ran(...args: string[]): Promise<Ran> {
  await using child = holdfast(args);
  const { code } = await child.exit();
  return { code, stdout: child.stdout, stderr: child.stderr };
}

describe('holdfast', () => {
  const beside = sideBySide(2);

  it(
    'without a command lists the commands and exits 78: nothing was done',
    beside(async () => {
      const { code, stdout } = await ran();
      assert.equal(code, 78);
      for (const command of COMMANDS) assert.match(stdout, new RegExp(`^ {2}holdfast ${command} `, 'm'));
    }),
  );

  it(
    'lists them with 0 when it is asked to, and tells its version',
    beside(async () => {
      const [help, h, word, version] = await Promise.all([ran('--help'), ran('-h'), ran('help'), ran('--version')]);
      for (const each of [help, h, word]) assert.deepEqual([each.code, each.stdout, each.stderr], [0, help.stdout, '']);
      assert.match(help.stdout, /holdfast host/);
      assert.deepEqual([version.code, version.stdout], [0, `${VERSION}\n`]);
    }),
  );

  it(
    'shows the flags of each command with --help, and exits 0',
    beside(async () => {
      const all = await Promise.all(COMMANDS.map((command) => ran(command, '--help')));
      for (const [index, { code, stdout, stderr }] of all.entries()) {
        assert.deepEqual([code, stderr], [0, ''], COMMANDS[index]);
        assert.match(stdout, new RegExp(`^holdfast ${COMMANDS[index]} `));
      }
    }),
  );

  it(
    'names a command that it does not have, in part, and exits 78',
    beside(async () => {
      const [unknown, long] = await Promise.all([ran('hosts', '--url', 'ws://127.0.0.1:1'), ran('x'.repeat(500))]);
      assert.equal(unknown.code, 78);
      assert.match(unknown.stderr, /no command "hosts".*holdfast --help/);
      assert.ok(long.code === 78 && long.stderr.length < 150);
    }),
  );

  it(
    'names a flag that a command does not know and exits 78, a probe 2',
    beside(async () => {
      const all = await Promise.all(COMMANDS.map((command) => ran(command, '--colour', 'red')));
      assert.deepEqual(
        all.map(({ code }) => code),
        [78, 2, 2, 78, 78],
      );
      for (const { stderr, stdout } of all) {
        assert.match(stderr, /--colour/);
        assert.doesNotMatch(stderr, /\n {4}at /, 'no stack');
        assert.equal(stdout, '');
      }
    }),
  );
});
