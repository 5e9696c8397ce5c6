/** argv → command. Each command is loaded when it is asked for. */
import { EXIT } from '../core/vocabulary.js';
import type { CliIo } from './io.js';

type Command = (argv: string[], io: CliIo) => Promise<number>;

const HELP = `holdfast: keeps a process attached to its OpenClaw gateway, and tells the truth about it

  holdfast host      --url U --token-file F …   run a host: reconnect, log every attempt, exit honestly
  holdfast probe     --file F …                 is the process that writes F alive and attached? exit 0, 1, 2
  holdfast status    --file F [--watch]         the same, for people
  holdfast gateway   [--port P] [--fault F] …   an embedded gateway to try things against
  holdfast demo      [--url U --token-file F]   watch a client ride through a restart of the gateway

Every command has --help. Durations read 500ms, 45s, 10m, 2h.
`;

async function load(name: string): Promise<Command | null> {
  switch (name) {
    case 'status':
      return (await import('./status.js')).statusCommand;
    case 'host':
      return (await import('./host.js')).hostCommand;
    case 'gateway':
      return (await import('./gateway.js')).gatewayCommand;
    case 'demo':
      return (await import('./demo.js')).demoCommand;
    default:
      return null;
  }
}

/** Runs one command; resolves with the exit code of the process. */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    io.stdout.write(HELP);
    return name === undefined ? EXIT.config : EXIT.closed;
  }
  if (name === '--version') {
    io.stdout.write(`${(await import('../version.js')).VERSION}\n`);
    return EXIT.closed;
  }
  const command = await load(name);
  if (command === null) {
    io.stderr.write(`holdfast: there is no command "${name.slice(0, 40)}"; holdfast --help lists them\n`);
    return EXIT.config;
  }
  try {
    return await command(rest, io);
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'UsageError') throw error;
    io.stderr.write(`holdfast ${name}: ${error.message}\nholdfast ${name} --help shows the flags\n`);
    return EXIT.config;
  }
}
