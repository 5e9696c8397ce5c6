import { GATEWAY_VERSIONS, installGateway } from './install.js';
import { type RealGateway, startGateway } from './launcher.js';
import { declare, type GatewayUnderTest } from './scenarios.js';

describe('scenarios on real gateways', () => {
  for (const version of GATEWAY_VERSIONS) {
    // 4.26 restarts in two ways: within its process, and by a successor while its port is shut for seconds.
    for (const respawn of version === '2026.4.26' ? [false, true] : [false]) {
      describe(`openclaw@${version}${respawn ? ', by a successor process' : ''}`, () => {
        let gateway: RealGateway | undefined;

        before('starts it', async function () {
          this.timeout(20 * 60_000);
          await installGateway(version);
          gateway = await startGateway({ version, respawn });
        });

        after('ends it', async () => {
          await gateway?.dispose();
        });

        afterEach('shows what it logged', function () {
          const { currentTest } = this;
          if (currentTest?.state !== 'failed' || currentTest.err === undefined || gateway === undefined) return;
          currentTest.err.message += `\n${gateway.logTail()}`;
        });

        declare(version, () => {
          if (gateway === undefined) throw new Error('the gateway was not started');
          return underTest(gateway);
        });
      });
    }
  }
});

function underTest(gateway: RealGateway): GatewayUnderTest {
  return {
    url: gateway.url,
    port: gateway.port,
    token: gateway.token,
    version: gateway.version,
    workspaceDir: gateway.workspaceDir,
    get running() {
      return gateway.running;
    },
    restart: async () => {
      await gateway.restartRequest();
    },
    kill9: () => gateway.kill9(),
    start: () => gateway.start(),
    freeze: () => gateway.sigstop(),
    thaw: () => gateway.sigcont(),
    stop: () => gateway.stopTerm(),
  };
}
