import { createTestGateway, type TestGateway } from '../../lib/testing/index.js';
import { GATEWAY_VERSIONS, type GatewayVersion } from './install.js';
import { declare, type GatewayUnderTest } from './scenarios.js';
import { dialUntilHello } from './wire.js';

describe('scenarios on the embedded gateway', () => {
  for (const version of GATEWAY_VERSIONS) {
    describe(`emulating ${version}`, () => {
      let gateway: TestGateway | undefined;

      before('starts it', async () => {
        gateway = await createTestGateway({ emulate: version });
      });

      after('ends it', async () => {
        await gateway?.close();
      });

      declare(version, () => {
        if (gateway === undefined) throw new Error('the gateway was not started');
        return underTest(gateway, version);
      });
    });
  }
});

function underTest(gateway: TestGateway, version: GatewayVersion): GatewayUnderTest {
  return {
    url: gateway.url,
    port: gateway.port,
    token: gateway.token,
    version,
    // It keeps files in memory; the name is only a value to it.
    workspaceDir: '/workspaces',
    get running() {
      return gateway.listening;
    },
    // Over the wire where the release has a method for it, as an operator would.
    restart: version === '2026.9.6' ? () => askForRestart(gateway) : async () => void gateway.restart(),
    kill9: () => gateway.kill(),
    start: () => gateway.start(),
    freeze: () => gateway.freeze(),
    thaw: () => gateway.thaw(),
    stop: () => gateway.stop(),
  };
}

async function askForRestart(gateway: TestGateway): Promise<void> {
  const operator = await dialUntilHello(gateway.url, gateway.token, 5000);
  try {
    await operator.call('gateway.restart.request', { reason: 'operator asked' });
  } finally {
    operator.close();
  }
}
