import assert from 'node:assert/strict';
import { type Level, SafeLog } from '../../lib/io/log.js';
import { Scrubber } from '../../lib/io/scrubber.js';
import { lib, script } from '../support/children.js';
import { Journal } from '../support/collect.js';

describe('the log', () => {
  it('writes each record at its level, with the fields that every record carries, scrubbed', () => {
    const journal = new Journal();
    const scrubber = new Scrubber();
    scrubber.add('s3cret-value');
    const log = new SafeLog(journal.logger, scrubber, { instanceId: 'i-1' });
    for (const level of ['debug', 'info', 'warn', 'error'] as readonly Level[])
      log.write(level, { event: 'test', error: 's3cret-value' }, 'a s3cret-value');
    assert.deepEqual(
      journal.all,
      ['debug', 'info', 'warn', 'error'].map((level) => ({
        instanceId: 'i-1',
        event: 'test',
        error: '[redacted]',
        level,
        message: 'a [redacted]',
      })),
    );
    assert.equal(log.dropped, 0);
  });

  it('may be off', () => {
    const log = new SafeLog(false, new Scrubber(), {});
    log.write('error', { event: 'test' }, 'unheard');
    assert.equal(log.dropped, 0);
  });

  it('F11 counts what a logger refuses by throwing or by rejecting, and goes on', async () => {
    let asked = 0;
    const fails = (): void => {
      asked += 1;
      throw new Error('EPIPE');
    };
    const rejects = async (): Promise<void> => {
      asked += 1;
      throw new Error('EPIPE');
    };
    const log = new SafeLog({ debug: fails, info: rejects, warn: fails, error: rejects }, new Scrubber(), {});
    for (const level of ['debug', 'info', 'warn', 'error'] as readonly Level[])
      log.write(level, { event: 'test' }, 'lost');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([asked, log.dropped], [4, 4]);
  });

  it('X04 survives a record that throws when it is read', () => {
    const journal = new Journal();
    const log = new SafeLog(journal.logger, new Scrubber(), {});
    const record = {
      event: 'test',
      get trap(): string {
        throw new Error('read');
      },
    };
    log.write('info', record, 'unreadable');
    assert.deepEqual([journal.all.length, log.dropped], [0, 1]);
  });

  it('is JSON on stderr by default, one line per record, and the last one is not lost at an exit', async () => {
    await using child = script(`
      const { defaultLogger } = await import(${lib('io/log.js')});
      const log = defaultLogger('info');
      log.debug({ event: 'unheard' }, 'below the level');
      for (let n = 0; n < 200; n += 1) log.info({ event: 'filler', n, text: 'a\\nb\\u2028c' }, 'one\\nline');
      log.error({ event: 'last' }, 'the last words');
      process.exit(3);
    `);
    assert.equal((await child.exit()).code, 3);
    const lines = child.stderr.trimEnd().split('\n');
    assert.equal(lines.length, 201);
    assert.deepEqual([child.log.all.at(-1)?.event, child.log.all.at(-1)?.message], ['last', 'the last words']);
    assert.equal(child.stdout, '');
  });

  it('F11 does not end the process when nobody reads stderr any more', async () => {
    await using child = script(`
      const { defaultLogger } = await import(${lib('io/log.js')});
      const log = defaultLogger('info');
      process.stdin.unref?.();
      process.stdout.write('ready\\n');
      setTimeout(() => {
        for (let n = 0; n < 100; n += 1) log.info({ event: 'filler' }, 'into the void');
        process.stdout.write('alive\\n');
      }, 100);
    `);
    await child.out.until((line) => line === 'ready', 'its start');
    child.process.stderr?.destroy();
    await child.out.until((line) => line === 'alive', 'a sign of life');
    assert.deepEqual(await child.exit(), { code: 0, signal: null });
  });
});
