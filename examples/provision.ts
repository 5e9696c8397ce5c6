/**
 * Provisions a tenant on an OpenClaw gateway: an agent, its files, a first hello. There is no retry code in here: the
 * gateway may restart itself half-way, and running this again after any failure completes what is missing.
 *
 *     node build/examples/provision.js ws://127.0.0.1:18789 acme /srv/tenants/acme
 *
 * The address may come from GATEWAY_URL instead; the token comes from GATEWAY_TOKEN.
 */

import { type ProvisionProgress, provisionAgent } from '../lib/api/provision.js';
import { createClient, isGatewayError } from '../lib/index.js';

const [url = process.env['GATEWAY_URL'] ?? 'ws://127.0.0.1:18789', name = 'acme', workspace = `/tmp/tenants/${name}`] =
  process.argv.slice(2);

// Read again before every dial, so that a rotated token heals the client.
const client = createClient({ url, token: { env: 'GATEWAY_TOKEN' } }).start();

try {
  const made = await provisionAgent(
    client,
    {
      name,
      workspace,
      // Which files an agent may have is the gateway's word.
      files: {
        'SOUL.md': `# ${name}\n\nYou answer for ${name}, briefly and politely.\n`,
        'USER.md': '# Who asks\n\nCustomers.\n',
      },
      // Said once. An error of the model provider is an answer as well, and arrives as it is.
      hello: { message: 'Introduce yourself in one sentence.' },
    },
    { onProgress: tell, deadline: 120_000 },
  );
  print(`${made.agentId} is ready in ${made.workspace}: ${made.created ? 'created' : 'was there'}`);
  print(
    `hello: ${made.hello?.status ?? made.hello?.outcome}; restarts of the gateway on the way: ${made.restarts.length}`,
  );
} catch (error) {
  if (!isGatewayError(error)) throw error;
  // The reason decides what an operator does; the outcome, whether anything happened.
  print(`${error.reason}, ${error.outcome}: ${error.message}\n→ ${error.remedy}`);
  process.exitCode = 1;
} finally {
  await client.close();
}

function tell({ step, state, file, restarts, elapsed }: ProvisionProgress): void {
  const restarted = restarts.length > 0 ? `, after ${restarts.length} restart(s) of the gateway` : '';
  print(
    `${String(Math.round(elapsed)).padStart(6)} ms  ${step}${file === undefined ? '' : ` ${file}`}: ${state}${restarted}`,
  );
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
