/**
 * A host: one long-lived process under launchd, systemd, Docker or Kubernetes.
 *
 *   node host.js [liveness file] [minutes until it gives up]
 *
 * It rides through restarts of the gateway, keeps the liveness file fresh for `holdfast probe`, and exits with a code
 * that its supervisor can act on: 0 when it was asked to stop, 75 when it gave up and wants to be respawned.
 */
import { createClient } from 'holdfast';

const [file = './liveness.json', minutes = '10'] = process.argv.slice(2);

const client = createClient({
  url: process.env['OPENCLAW_GATEWAY_URL'] ?? 'ws://127.0.0.1:18789',
  // The name of the variable, not its value: it is read again before every dial. A file can even be rotated meanwhile.
  token: { env: 'OPENCLAW_GATEWAY_TOKEN' },
  liveness: { file },
  // Without a serving link for so long: end, and let the supervisor begin afresh. Sleep does not count.
  giveUp: { after: Number(minutes) * 60_000 },
  // A refused token is waited out with slow retries, and `holdfast status` says on whom it waits.
  onPermanent: 'hold',
});

// The log on stderr tells everything; this is what the program itself may want to know.
client.on('restart', ({ id, phase, downMs }) =>
  console.log(id, phase, downMs === undefined ? '' : `${downMs.toFixed()} ms`),
);
client.on('event', ({ event }) => {
  if (event === 'shutdown') console.log('the gateway says that it goes down');
});

// A tidy stop: calls in flight may finish within the grace, the last record says `closed`, the exit code is 0.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void client.close({ grace: 5000 }));

const { outcome, reason, exitCode } = await client.start().done;
console.log(outcome, reason ?? '');
process.exitCode = exitCode;
