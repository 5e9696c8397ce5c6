import assert from 'node:assert/strict';
import { clockStamp, elapsedStamp, type LogLevel, prettyLogger, usesColour } from '../../lib/cli/pretty.js';

function written(threshold: LogLevel | undefined, isTTY: boolean): string[] {
  const lines: string[] = [];
  const output = { write: (text: string) => void lines.push(text), isTTY };
  const logger = prettyLogger(output, () => '12:00', ...(threshold === undefined ? [] : [threshold]));
  for (const level of ['debug', 'info', 'warn', 'error'] as const)
    logger[level]({ event: 'test', remedy: 'Mend it.' }, `a ${level}`);
  return lines;
}

describe('lines for people', () => {
  it('have a time, a level unless it is info, the message, and what to do only where somebody must do it', () => {
    assert.deepEqual(written('debug', false), [
      '12:00  debug a debug\n',
      '12:00        a info\n',
      '12:00  warn  a warn\n',
      '12:00  error a error. Mend it.\n',
    ]);
  });

  it('are left out below their threshold, which is info unless it is said', () => {
    assert.deepEqual(written(undefined, false).length, 3);
    assert.deepEqual(written('error', false), ['12:00  error a error. Mend it.\n']);
  });

  it('have colours on a terminal only, and none where NO_COLOR is set', () => {
    const before = process.env['NO_COLOR'];
    delete process.env['NO_COLOR'];
    const [info, warn] = written('info', true);
    assert.equal(info, '12:00        a info\u001b[0m\n');
    assert.equal(warn, '12:00  \u001b[33mwarn  a warn\u001b[0m\n');
    process.env['NO_COLOR'] = '1';
    assert.equal(usesColour({ write: () => true, isTTY: true }), false);
    if (before === undefined) delete process.env['NO_COLOR'];
    else process.env['NO_COLOR'] = before;
    assert.equal(usesColour({ write: () => true }), false);
  });

  it('need no remedy and no message', () => {
    const lines: string[] = [];
    prettyLogger({ write: (text: string) => void lines.push(text) }, () => '').error({}, undefined);
    assert.deepEqual(lines, ['  error \n']);
  });

  it('are stamped with the time of day, or with the time since the first', () => {
    assert.match(clockStamp(), /^\d\d:\d\d:\d\d\.\d{3}$/);
    let now = 5000;
    const stamp = elapsedStamp(() => now);
    assert.equal(stamp(), '   0.000 s');
    now = 17_345;
    assert.equal(stamp(), '  12.345 s');
  });
});
