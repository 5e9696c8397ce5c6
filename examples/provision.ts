/**
 * Provisions a tenant on an OpenClaw gateway: an agent, its files, a first hello. There is no retry code in here: the
 * gateway may restart itself half-way, and running this again after any failure completes what is missing.
 *
 *   node provision.js [name] [workspace]
 */
import { createClient, isGatewayError, type ProvisionProgress, provisionAgent } from 'holdfast';

const [name = 'acme', workspace = `/srv/tenants/${name}`] = process.argv.slice(2);

const client = createClient({
  url: process.env['OPENCLAW_GATEWAY_URL'] ?? 'ws://127.0.0.1:18789',
  token: { env: 'OPENCLAW_GATEWAY_TOKEN' },
}).start();

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
  console.log(`${made.agentId} is ready in ${made.workspace}: ${made.created ? 'created' : 'was there'}`);
  console.log(
    `hello: ${made.hello?.status ?? made.hello?.outcome}; restarts of the gateway on the way: ${made.restarts.length}`,
  );
} catch (error) {
  if (!isGatewayError(error)) throw error;
  // The reason decides what an operator does; the outcome, whether anything happened.
  console.log(`${error.reason}, ${error.outcome}: ${error.message}\n→ ${error.remedy}`);
  process.exitCode = 1;
} finally {
  await client.close();
}

function tell({ step, state, file, restarts, elapsed }: ProvisionProgress): void {
  const restarted = restarts.length > 0 ? `, after ${restarts.length} restart(s) of the gateway` : '';
  console.log(
    `${String(Math.round(elapsed)).padStart(6)} ms  ${step}${file === undefined ? '' : ` ${file}`}: ${state}${restarted}`,
  );
}
