import assert from 'node:assert/strict';
import { type Child, lib, script } from '../support/children.js';

/** A process guarded by our hooks, which tells on stdout what they are called with. */
function guarded(body: string): Child {
  return script(`
    process.removeAllListeners('uncaughtException');
    process.removeAllListeners('unhandledRejection');
    const { guardProcess, leave } = await import(${lib('io/exit.js')});
    const say = (text) => { const { writeSync } = fs; writeSync(1, text + '\\n'); };
    const fs = await import('node:fs');
    const release = guardProcess({
      stop: (signal) => say('stop ' + signal),
      dry: () => say('dry'),
      uncaught: (error) => say('uncaught ' + (error?.message ?? error)),
    });
    const stay = () => setInterval(() => {}, 1000);
    say('ready');
    ${body}
  `);
}

async function ended(child: Child): Promise<unknown[]> {
  const { code, signal } = await child.exit();
  return [code ?? signal, ...child.stdout.trimEnd().split('\n').slice(1)];
}

describe('the guard of a process', () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`P07 asks for a tidy stop at ${signal}, and ends at once at the second signal, with 0`, async () => {
      await using child = guarded('stay();');
      await child.out.until((line) => line === 'ready', 'its start');
      child.kill(signal);
      await child.out.until((line) => line === `stop ${signal}`, 'the request');
      child.kill(signal === 'SIGINT' ? 'SIGTERM' : 'SIGINT');
      assert.deepEqual(await ended(child), [0, `stop ${signal}`]);
    });
  }

  it('P01 ends with 70, never 0, when the event loop runs dry', async () => {
    await using child = guarded('');
    assert.deepEqual(await ended(child), [70, 'dry']);
  });

  it('ends with 70 at an error that nobody caught, whatever was thrown, even if the hook throws too', async () => {
    const cases: Readonly<Record<string, readonly unknown[]>> = {
      "setTimeout(() => { throw new Error('sync'); }, 1); stay();": [70, 'uncaught sync'],
      "Promise.reject(new Error('async')); stay();": [70, 'uncaught async'],
      'Promise.reject(); stay();': [70, 'uncaught undefined'],
      'setTimeout(() => { throw null; }, 1); stay();': [70, 'uncaught null'],
    };
    await Promise.all(
      Object.entries(cases).map(async ([body, expected]) => {
        await using child = guarded(body);
        assert.deepEqual(await ended(child), expected, body);
      }),
    );
    await using wild = script(`
      process.removeAllListeners('uncaughtException');
      const { guardProcess } = await import(${lib('io/exit.js')});
      guardProcess({ stop() {}, dry() {}, uncaught() { throw new Error('in the hook'); } });
      setTimeout(() => { throw new Error('sync'); }, 1);
    `);
    assert.equal((await wild.exit()).code, 70);
  });

  it('lets go: released, a signal ends the process as it would without us, and so does a dry loop', async () => {
    await using dry = guarded('release();');
    assert.deepEqual(await ended(dry), [0]);
    await using signalled = guarded("release(); stay(); say('released');");
    await signalled.out.until((line) => line === 'released', 'the release');
    signalled.kill('SIGTERM');
    assert.deepEqual(await ended(signalled), ['SIGTERM', 'released']);
  });

  it('leaves by itself when it can, and by force when some handle keeps it, with the code it was given', async () => {
    const started = performance.now();
    await using free = guarded('release(); leave(75);');
    assert.deepEqual(await ended(free), [75]);
    await using kept = guarded('release(); stay(); leave(76);');
    assert.deepEqual(await ended(kept), [76]);
    assert.ok(performance.now() - started < 5000);
  });
});
