/**
 * A probe: is the host behind a liveness file alive? `holdfast probe` does the same as a command.
 *
 *   node probe.js [liveness file]
 *
 * As a Docker HEALTHCHECK or a Kubernetes exec probe its exit code is all that counts: 0 alive, 1 not alive.
 */
import { probe } from 'holdfast/probe';

const [file = './liveness.json'] = process.argv.slice(2);

// On a machine that sleeps, add `confirmAfter: 5000`: it looks twice before it says "not alive".
const { ok, verdict, why, record } = await probe({ file, maxDisconnected: 600_000 });

console.log(`${ok ? 'alive' : 'not alive'}: ${verdict}: ${why}`);
if (record?.awaiting !== undefined) console.log(`it waits for ${record.awaiting}`);
process.exitCode = ok ? 0 : 1;
