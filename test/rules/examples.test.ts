/** Every example runs, against the embedded gateway. */
import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { createTestGateway } from '../../lib/testing/index.js';
import { nobody } from '../support/gateways.js';
import { Consumer, type Finished } from './consumer.js';
import { filesBelow } from './repository.js';

const BUILT = join(import.meta.dirname, '..', '..', 'examples');

/** Each example by its name, and what shows that it works. */
const RUNS: Readonly<Record<string, (here: Consumer) => Promise<void>>> = {
  async host(here) {
    await using gateway = await createTestGateway({ timings: { startingMs: 0 } });
    using host = here.spawn([join(BUILT, 'host.js'), 'live.json'], gateway);
    await gateway.until(() => gateway.hellos === 1);
    await gateway.restart();
    await host.said(/^\S+ ended \d+ ms$/m);
    const alive = await probed(here, 'live.json');
    assert.deepEqual([alive.code, alive.stdout.startsWith('alive: fresh: ')], [0, true], alive.stdout);
    host.process.kill('SIGTERM');
    const stopped = await host.finished;
    assert.equal(stopped.code, 0);
    assert.match(stopped.stdout, /^the gateway says that it goes down$/m);
    assert.match(stopped.stdout, /^closed $/m);
    const { url } = await nobody();
    using lost = here.spawn([join(BUILT, 'host.js'), 'live.json', '0.003'], { url, token: 'any' });
    const { code, stdout } = await lost.finished;
    assert.deepEqual([code, stdout.trim()], [75, 'gave-up outage']);
  },

  async probe(here) {
    const { code, stdout } = await probed(here, 'no-such-file.json');
    assert.deepEqual([code, stdout], [1, 'not alive: missing: no such file\n']);
  },

  async provision(here) {
    // The one that restarts itself when an agent is created.
    await using gateway = await createTestGateway({
      emulate: '2026.4.26',
      timings: { startingMs: 0, portShutMs: 100 },
    });
    const run = () => here.spawn([join(BUILT, 'provision.js'), 'acme', '/srv/tenants/acme'], gateway).finished;
    const first = await run();
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /^acme is ready in \/srv\/tenants\/acme: created$/m);
    assert.match(first.stdout, /restarts of the gateway on the way: 1$/m);
    const second = await run();
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stdout, /agent: skipped[\s\S]* was there$/m);
    assert.equal(gateway.ledger.filter(({ method, executed }) => method === 'agents.create' && executed).length, 1);
  },

  async 'node-host'(here) {
    await using gateway = await createTestGateway();
    using host = here.spawn([join(BUILT, 'node-host.js'), 'state', 'live.json'], gateway);
    await host.said(/^online as [0-9a-f]{64}$/m);
    const nodeId = gateway.connections.find(({ role }) => role === 'node')?.deviceId ?? '';
    const answer = await gateway.invoke(nodeId, 'system.which', { bins: ['node'] });
    assert.match(JSON.stringify(answer), /asked.*bins.*node/);
    host.process.kill('SIGTERM');
    assert.equal((await host.finished).code, 0);
  },
};

function probed(here: Consumer, file: string): Promise<Finished> {
  return here.spawn([join(BUILT, 'probe.js'), file]).finished;
}

describe('examples', () => {
  it('are all run here', () => {
    assert.deepEqual(
      filesBelow('examples', '.ts').map((file) => basename(file, '.ts')),
      Object.keys(RUNS).sort(),
    );
  });

  for (const [name, run] of Object.entries(RUNS)) {
    it(`${name} does what it says`, async () => {
      using here = new Consumer();
      await run(here);
    });
  }
});
