import { EXIT } from '../core/vocabulary.js';
import { createTestGateway, FAULTS, parseFault, type TestGateway, type TestGatewayOptions } from '../testing/index.js';
import { type Flags, parseFlags, UsageError } from './args.js';
import type { CliIo } from './io.js';
import { clockStamp } from './pretty.js';

const HELP = `holdfast gateway [--port P] [--emulate 2026.9.6|2026.4.26] [--token T] [--restart-every 20s] [--fault NAME[:ARG]]…

An embedded gateway on loopback that behaves like a real one, and misbehaves on request. Ends with Ctrl-C.

  --port P            port to listen on (a free one)
  --emulate V         version to behave like (2026.9.6)
  --token T           its token (test-gateway-token)
  --restart-every T   restart itself so often
  --fault NAME[:ARG]  misbehave from the start; may be given several times

Faults:
`;

const SPEC = {
  port: { type: 'string' },
  emulate: { type: 'string' },
  token: { type: 'string' },
  'restart-every': { type: 'string' },
  fault: { type: 'string', multiple: true },
} as const;

export async function gatewayCommand(argv: readonly string[], io: CliIo): Promise<number> {
  const flags = parseFlags(argv, SPEC);
  if (flags.has('help')) {
    io.stdout.write(
      HELP +
        Object.entries(FAULTS)
          .map(([name, text]) => `  ${name.padEnd(20)} ${text}\n`)
          .join(''),
    );
    return EXIT.closed;
  }
  const gateway = await createTestGateway(gatewayOptions(flags, io)).catch(unbound);
  io.stdout.write(`listening on ${gateway.url} as ${flags.text('emulate') ?? '2026.9.6'}, token ${gateway.token}\n`);
  await untilAsked(gateway);
  return EXIT.closed;
}

function gatewayOptions(flags: Flags, io: CliIo): TestGatewayOptions {
  const port = flags.count('port');
  const emulate = flags.choice('emulate', ['2026.9.6', '2026.4.26']);
  const token = flags.text('token');
  const restartEvery = flags.duration('restart-every');
  const faults = flags.texts('fault').map((text) => {
    try {
      return parseFault(text);
    } catch (error) {
      throw new UsageError(`--fault: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
  return {
    ...(port !== undefined && { port }),
    ...(emulate !== undefined && { emulate }),
    ...(token !== undefined && { token }),
    ...(restartEvery !== undefined && { restartEvery }),
    ...(faults.length > 0 && { faults }),
    log: (line) => io.stdout.write(`${clockStamp()}  ${line}\n`),
  };
}

/** A port that cannot be had is a flag that is wrong here and now. */
function unbound(error: unknown): never {
  if (!(error instanceof Error) || !('code' in error)) throw error;
  throw new UsageError(`--port: ${error.message}`);
}

/** Until a signal ends it: a tidy stop, as a real gateway makes it. */
async function untilAsked(gateway: TestGateway): Promise<void> {
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  await gateway.stop();
  await gateway.close();
}
