/**
 * A node host: it offers commands, and the gateway asks it to run them.
 *
 *   node node-host.js [state directory] [liveness file]
 *
 * The first start makes an identity in the state directory. On loopback the gateway pairs it by itself; elsewhere a
 * person runs `openclaw devices approve …` once, and `openclaw nodes approve …` for the commands. The log says which and
 * when; nothing has to be restarted afterwards.
 */
import { hostname, loadavg, uptime } from 'node:os';
import { createNodeHost, type Secret } from 'holdfast';

const [stateDir = './state', file = './liveness.json'] = process.argv.slice(2);

// Where the secret is, not what it is: it is read again before every dial, so that rotating it heals the host.
const secrets: Record<string, Secret> = {
  env: { env: 'OPENCLAW_GATEWAY_TOKEN' },
  file: { file: '/run/secrets/openclaw-token' },
  keychain: { command: ['/usr/bin/security', 'find-generic-password', '-s', 'openclaw', '-w'] },
  sops: { command: ['sops', 'decrypt', '--extract', '["token"]', 'secrets.yaml'], timeout: 5000 },
};

const host = createNodeHost({
  url: process.env['OPENCLAW_GATEWAY_URL'] ?? 'ws://127.0.0.1:18789',
  token: secrets[process.env['TOKEN_FROM'] ?? 'env'] ?? { env: 'OPENCLAW_GATEWAY_TOKEN' },
  // The key of this device and the tokens that gateways gave it, for its owner only. Keep it: another key is another node.
  device: { stateDir },
  client: { displayName: hostname() },
  caps: ['system'],
  liveness: { file },
  giveUp: { after: 10 * 60_000 },
});

// Register before start(): the commands travel with the first frame. Plain JSON comes in, plain JSON goes out.
host.handle('system.which', (params) => ({ asked: params, host: hostname() }));
host.handle('system.load', async (_params, { signal, progress }) => {
  progress({ uptime: uptime() });
  // When the gateway cancels, the deadline passes or the link is lost, nobody waits for the answer any more.
  signal.throwIfAborted();
  return { load: loadavg() };
});

host.on('state', ({ to, reason }) => {
  if (to === 'online') console.log('online as', host.health().node?.deviceId);
  if (to === 'blocked') console.log(`waiting for a person: ${reason}: ${host.health().awaiting}`);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void host.close({ grace: 5000 }));

const { outcome, reason, exitCode } = await host.start().done;
console.log(outcome, reason ?? '');
process.exitCode = exitCode;
