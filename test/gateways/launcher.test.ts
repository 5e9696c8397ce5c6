import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { GATEWAY_VERSIONS, installGateway } from './install.js';
import { type RealGateway, startGateway } from './launcher.js';
import { alive, until } from './processes.js';
import { dial, isReady, isRecord, RawError, type RawOperator } from './wire.js';

const BACK = 60_000;

describe('real gateways: the harness', () => {
  before('installs both versions', async function () {
    this.timeout(20 * 60_000);
    for (const version of GATEWAY_VERSIONS) await installGateway(version);
  });

  it('installs once', async () => {
    const [first, second] = await Promise.all([installGateway('2026.9.6'), installGateway('2026.9.6')]);
    assert.equal(first, second);
    assert.ok(existsSync(first.node) && existsSync(first.entry));
  });

  for (const version of GATEWAY_VERSIONS) {
    describe(`openclaw@${version}`, () => {
      let gateway: RealGateway;

      before(async () => {
        gateway = await startGateway({ version });
      });

      after(async () => {
        const { pid, stateDir } = gateway;
        await gateway.dispose();
        assert.equal(alive(pid), false);
        assert.equal(existsSync(dirname(stateDir)), false);
        assert.equal(await isReady(gateway.httpUrl), false);
      });

      it('says hello to the right token only', async () => {
        const operator = await gateway.operator();
        assert.equal(operator.hello.version, version);
        assert.equal(operator.hello.protocol, version === '2026.9.6' ? 4 : 3);
        assert.equal(typeof operator.hello.bootId, version === '2026.9.6' ? 'string' : 'undefined');
        assert.ok(isRecord(await operator.call('health', {})));
        operator.close();
        await assert.rejects(
          dial(gateway.url, 'wrong', 10_000),
          (error) =>
            error instanceof RawError && isRecord(error.details) && error.details['code'] === 'AUTH_TOKEN_MISMATCH',
        );
      });

      it('restarts in the same process when asked', async () => {
        const { pid } = gateway;
        const before = await gateway.operator();
        await gateway.restartRequest();
        assert.deepEqual(await before.closed, { code: 1012, reason: 'service restart' });
        assert.deepEqual(shutdownOf(before), { reason: 'gateway restarting', restartExpectedMs: 1500 });
        const after = await gateway.operator(BACK);
        assert.equal(gateway.pid, pid);
        if (version === '2026.9.6') assert.notEqual(after.hello.bootId, before.hello.bootId);
        after.close();
      });

      it(version === '2026.4.26' ? 'restarts itself after agents.create' : 'stays up after agents.create', async () => {
        const operator = await gateway.operator();
        const created = await operator.call('agents.create', {
          name: 'scout',
          workspace: join(gateway.workspaceDir, 'scout'),
        });
        assert.ok(isRecord(created) && created['agentId'] === 'scout');
        if (version === '2026.4.26') {
          assert.deepEqual(await operator.closed, { code: 1012, reason: 'service restart' });
          (await gateway.operator(BACK)).close();
          return;
        }
        assert.equal(await Promise.race([operator.closed, settled(2000)]), 'open');
        operator.close();
      });

      it('freezes and thaws', async () => {
        const operator = await gateway.operator();
        gateway.sigstop();
        await assert.rejects(operator.call('health', {}, 1000), /no answer within/);
        gateway.sigcont();
        assert.ok(isRecord(await operator.call('health', {})));
        operator.close();
      });

      it('crashes without a word, and starts again on the same port and state', async () => {
        const before = await gateway.operator();
        await gateway.kill9();
        assert.equal((await before.closed).code, 1006);
        assert.equal(shutdownOf(before), undefined);
        assert.equal(gateway.running, false);
        await gateway.start();
        const after = await gateway.operator();
        const agents = await after.call('agents.list', {});
        assert.match(JSON.stringify(agents), /"scout"/);
        after.close();
      });

      it('stops for good on SIGTERM, and starts with another token', async () => {
        const operator = await gateway.operator();
        await gateway.stopTerm();
        assert.deepEqual(await operator.closed, { code: 1012, reason: 'service restart' });
        const shutdown = shutdownOf(operator);
        assert.ok(isRecord(shutdown) && shutdown['reason'] === 'gateway stopping');
        assert.equal(shutdown['restartExpectedMs'] ?? null, null);
        assert.equal(gateway.running, false);
        const { token } = gateway;
        gateway.setToken('another-token');
        await gateway.start();
        (await gateway.operator()).close();
        await assert.rejects(dial(gateway.url, token, 10_000), RawError);
      });
    });
  }

  it('follows the successor of a 4.26 that restarts by its own default', async () => {
    const gateway = await startGateway({ version: '2026.4.26', respawn: true });
    let successor = 0;
    try {
      const { pid } = gateway;
      const operator = await gateway.operator();
      await gateway.restartRequest();
      await operator.closed;
      (await gateway.operator(BACK)).close();
      successor = gateway.pid;
      assert.notEqual(successor, pid);
      assert.equal(gateway.running, true);
      assert.equal(alive(pid), false);
    } finally {
      await gateway.dispose();
    }
    assert.equal(alive(successor), false);
  });

  for (const death of ['SIGINT', 'SIGTERM', 'throw'] as const) {
    it(`leaves nothing behind when the test process ends by ${death}`, async () => {
      const child = spawn(process.execPath, [fileURLToPath(new URL('./orphan.js', import.meta.url)), death], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const [line]: unknown[] = await once(createInterface(child.stdout), 'line');
      const started: unknown = JSON.parse(String(line));
      assert.ok(isRecord(started));
      if (death !== 'throw') child.kill(death);
      const [code, signal]: unknown[] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode, null];
      assert.ok(code !== 0 || signal === death);
      assert.ok(await until(() => !alive(Number(started['pid'])), 5000));
      assert.equal(existsSync(dirname(String(started['stateDir']))), false);
    });
  }
});

function shutdownOf(operator: RawOperator): unknown {
  return operator.events.find((event) => event.event === 'shutdown')?.payload;
}

function settled(ms: number): Promise<'open'> {
  return new Promise((resolve) => setTimeout(() => resolve('open'), ms));
}
