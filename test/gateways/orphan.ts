// Run by launcher.test.ts as a test process that dies with a gateway at hand.
import { startGateway } from './launcher.js';

const gateway = await startGateway({ version: '2026.4.26' });
process.stdout.write(`${JSON.stringify({ pid: gateway.pid, stateDir: gateway.stateDir })}\n`);
if (process.argv[2] === 'throw') {
  setImmediate(() => {
    throw new Error('nobody catches this');
  });
}
// Otherwise it waits to be killed.
setInterval(() => {}, 1000);
