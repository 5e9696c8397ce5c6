/** A client as the whole purpose of a process: signals, the dry-loop guard, and an exit code that tells the truth. */

import { GatewayError } from '../core/errors.js';
import type { ClientOptions } from '../core/options.js';
import { EXIT } from '../core/vocabulary.js';
import { guardProcess } from '../io/exit.js';
import { createClient, type GatewayClient, lastWords, type Outcome } from './client.js';

/** Default budget of a host, in ms: give up after ten minutes without a serving link, so that a supervisor respawns it. */
const HOST_BUDGET_MS = 600_000;

/**
 * Runs one client until it ends and resolves with its outcome; the caller exits with `outcome.exitCode`.
 * SIGTERM, SIGINT and SIGHUP stop it tidily (exit code 0); a second one ends the process at once.
 * @throws GatewayError with reason `local` when an option is wrong.
 */
export async function runHost(
  options: ClientOptions,
  onClient: (client: GatewayClient) => void = () => {},
): Promise<Outcome> {
  const logger = options.logger;
  const client = createClient({ giveUp: { after: HOST_BUDGET_MS }, ...options });
  const last = (event: string, text: string, extra: object = {}): void => {
    const message = lastWords(client, text, EXIT.broken);
    if (logger !== undefined && logger !== false) logger.error({ event, ...extra }, message);
    else process.stderr.write(`${message}\n`);
  };
  const release = guardProcess({
    stop: () => void client.close(),
    dry: () =>
      last('dry-loop', 'nothing keeps the event loop alive although nobody asked for the end', {
        exitCode: EXIT.broken,
      }),
    uncaught: (error) =>
      last(
        'uncaught',
        `uncaught: ${error instanceof GatewayError ? error.code : error instanceof Error ? error.stack : String(error)}`,
        { exitCode: EXIT.broken },
      ),
  });
  try {
    onClient(client);
    client.start();
    return await client.done;
  } finally {
    release();
  }
}
