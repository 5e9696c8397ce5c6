import assert from 'node:assert/strict';
import { parseFlags, UsageError } from '../../lib/cli/args.js';

const SPEC = {
  url: { type: 'string' },
  after: { type: 'string' },
  count: { type: 'string' },
  kind: { type: 'string' },
  fault: { type: 'string', multiple: true },
  quiet: { type: 'boolean' },
} as const;

/** What the user is told. */
function told(use: () => unknown): string {
  try {
    use();
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.message;
  }
  assert.fail('it was accepted');
}

describe('flags', () => {
  it('are read as texts, durations, counts, choices and lists; what is not given is undefined', () => {
    const flags = parseFlags(
      ['--url', 'u', '--after=90s', '--count', '7', '--kind', 'b', '--fault', 'x', '--fault', 'y', '--quiet'],
      SPEC,
    );
    assert.deepEqual(
      [
        flags.text('url'),
        flags.duration('after'),
        flags.count('count'),
        flags.choice('kind', ['a', 'b']),
        flags.texts('fault'),
        flags.has('quiet'),
      ],
      ['u', 90_000, 7, 'b', ['x', 'y'], true],
    );
    const none = parseFlags([], SPEC);
    assert.deepEqual(
      [
        none.text('url'),
        none.duration('after'),
        none.count('count'),
        none.choice('kind', ['a']),
        none.texts('fault'),
        none.has('quiet'),
        none.has('help'),
      ],
      [undefined, undefined, undefined, undefined, [], false, false],
    );
  });

  it('take --help everywhere', () => {
    assert.equal(parseFlags(['--help'], SPEC).has('help'), true);
  });

  it('that are unknown, incomplete or surplus are named', () => {
    assert.match(
      told(() => parseFlags(['--colour', 'red'], SPEC)),
      /--colour/,
    );
    assert.match(
      told(() => parseFlags(['--url'], SPEC)),
      /--url/,
    );
    assert.match(
      told(() => parseFlags(['--quiet=yes'], SPEC)),
      /--quiet/,
    );
    assert.match(
      told(() => parseFlags(['stray'], SPEC)),
      /stray/,
    );
    assert.match(
      told(() => parseFlags(['--url', '--count'], SPEC)),
      /--url/,
    );
    assert.match(
      told(() => parseFlags(['--count', '-1'], SPEC)),
      /--count/,
    );
  });

  it('with a value that does not fit are named, with the value', () => {
    const flags = parseFlags(['--url', '', '--after', 'soon', '--kind', 'c'], SPEC);
    assert.match(
      told(() => flags.text('url')),
      /--url is empty/,
    );
    assert.match(
      told(() => flags.duration('after')),
      /--after: "soon".*500ms/,
    );
    assert.match(
      told(() => flags.choice('kind', ['a', 'b'])),
      /--kind: "c" is none of a, b/,
    );
    for (const wrong of ['-1', '1.5', '1e3', 'x', '99999999999']) {
      assert.match(
        told(() => parseFlags([`--count=${wrong}`], SPEC).count('count')),
        /--count: .* is not a whole number/,
        wrong,
      );
    }
    assert.equal(parseFlags(['--count=0'], SPEC).count('count'), 0, 'zero is a value');
  });
});
