import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SINK = new URL('../../lib/io/stderr-sink.js', import.meta.url).href;

/** Runs a program whose standard error is `fd`. */
function run(program: string, fd: number | 'pipe'): { status: number | null; stderr: string } {
  const source = `import { stderrSink } from '${SINK}'; const sink = stderrSink(); ${program}`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'ignore', fd],
    timeout: 10_000,
  });
  return { status, stderr: stderr?.toString() ?? '' };
}

describe('standard error for log lines', () => {
  it('has every line, in order, when the process exits right behind the last', () => {
    const { status, stderr } = run(
      `for (let n = 0; n < 5000; n += 1) sink.write('line ' + n + '\\n'); process.exit(3);`,
      'pipe',
    );
    assert.equal(status, 3);
    assert.deepEqual(stderr.split('\n'), [...Array.from({ length: 5000 }, (_, n) => `line ${n}`), '']);
  });

  it('appends to a file that others append to, and overwrites nothing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-sink-'));
    const file = join(folder, 'log');
    writeFileSync(file, 'before\n');
    const fd = openSync(file, 'a');
    run(`sink.write('one\\n'); process.stderr.write('two\\n'); sink.write('three\\n');`, fd);
    closeSync(fd);
    assert.equal(readFileSync(file, 'utf8'), 'before\none\ntwo\nthree\n');
    rmSync(folder, { recursive: true });
  });

  it('F12 drops whole lines for a reader that has stopped, and ends when it is told to', () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-sink-'));
    const fifo = join(folder, 'fifo');
    assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
    const fd = openSync(fifo, 'r+');
    const started = performance.now();
    const { status } = run(
      `for (let n = 0; n < 40_000; n += 1) sink.write('x'.repeat(100) + '\\n'); process.exit(sink.dropped > 10_000 ? 4 : 5);`,
      fd,
    );
    closeSync(fd);
    rmSync(folder, { recursive: true });
    assert.equal(status, 4);
    assert.ok(performance.now() - started < 5000);
  });
});
