import { join } from 'node:path';
import { runHost } from '../api/run-host.js';
import { isGatewayError } from '../core/errors.js';
import type { ClientOptions, Logger } from '../core/options.js';
import { EXIT } from '../core/vocabulary.js';
import { defaultLogger } from '../io/log.js';
import { stderrSink } from '../io/stderr-sink.js';
import { type Flags, parseFlags, UsageError } from './args.js';
import type { CliIo } from './io.js';
import { clockStamp, type LogLevel, prettyLogger } from './pretty.js';

export const HOST_HELP = `holdfast host --url ws://127.0.0.1:18789 (--token-file F | --token-env V) [options]

Keeps this process attached to its gateway, logs every attempt, and exits with a code that its supervisor can act on.

  --url U                 address of the gateway, ws:// or wss://
  --token-file F          file with the token, read again before every attempt
  --token-env V           environment variable with the token
  --state-dir D           folder for what this host keeps; the liveness file is D/liveness.json
  --liveness F            liveness file, instead of the one in --state-dir
  --liveness-interval T   how often it is written without a change (5s)
  --give-up-after T|never exit 75 after so long without a serving link (10m)
  --max-attempts N        exit 75 after so many attempts without a serving link
  --on-permanent hold|stop  when a human is needed: stay and retry slowly, or exit 76, 77, 78 (hold)
  --connect-timeout T     one deadline for the whole way to a hello (20s)
  --initial-delay T       first delay after an outage (1s)
  --max-delay T           longest delay (30s)
  --blocked-delay T       pace while a human is needed: T growing to four times T (15s)
  --heartbeat-timeout T   longest silence on a link (twice the gateway's tick)
  --allow-plaintext       permit ws:// to a remote host
  --log-format json|pretty  (json)
  --log-level debug|info|warn|error  (info)

Durations read 500ms, 45s, 10m, 2h. Exit codes: 0 stopped by its owner · 75 gave up on an outage · 70 broken invariant
76 protocol mismatch · 77 credentials refused · 78 bad configuration.
`;

const SPEC = {
  url: { type: 'string' },
  'token-file': { type: 'string' },
  'token-env': { type: 'string' },
  'state-dir': { type: 'string' },
  liveness: { type: 'string' },
  'liveness-interval': { type: 'string' },
  'give-up-after': { type: 'string' },
  'max-attempts': { type: 'string' },
  'on-permanent': { type: 'string' },
  'connect-timeout': { type: 'string' },
  'initial-delay': { type: 'string' },
  'max-delay': { type: 'string' },
  'blocked-delay': { type: 'string' },
  'heartbeat-timeout': { type: 'string' },
  'allow-plaintext': { type: 'boolean' },
  'log-format': { type: 'string' },
  'log-level': { type: 'string' },
} as const;

/** Runs until the client ends; resolves with the exit code. */
export async function hostCommand(argv: readonly string[], io: CliIo): Promise<number> {
  const flags = parseFlags(argv, SPEC);
  if (flags.has('help')) {
    io.stdout.write(HOST_HELP);
    return EXIT.closed;
  }
  const options = hostOptions(flags, io);
  try {
    const outcome = await runHost(options);
    return outcome.exitCode;
  } catch (error) {
    if (!isGatewayError(error)) throw error;
    throw new UsageError(`${inFlags(error.message)}. ${error.remedy}`);
  }
}

function hostOptions(flags: Flags, io: CliIo): ClientOptions {
  const url = flags.text('url');
  if (url === undefined) throw new UsageError('--url is missing');
  const livenessFile = flags.text('liveness') ?? stateFile(flags.text('state-dir'));
  const interval = flags.duration('liveness-interval');
  const token = tokenOf(flags);
  const onPermanent = flags.choice('on-permanent', ['hold', 'stop']);
  const heartbeat = flags.duration('heartbeat-timeout');
  return {
    url,
    ...(token !== undefined && { token }),
    ...(livenessFile !== undefined && {
      liveness: { file: livenessFile, ...(interval !== undefined && { interval }) },
    }),
    ...giveUpOf(flags),
    ...(onPermanent !== undefined && { onPermanent }),
    ...(heartbeat !== undefined && { heartbeat: { timeout: heartbeat } }),
    ...(flags.has('allow-plaintext') && { allowPlaintext: true }),
    ...paceOf(flags),
    logger: loggerOf(flags, io),
  };
}

/** The options by the names under which this command takes them. */
const FLAG_OF: Readonly<Record<string, string>> = {
  'token.file': '--token-file',
  'giveUp.after': '--give-up-after',
  'giveUp.maxAttempts': '--max-attempts',
  'reconnect.connectTimeout': '--connect-timeout',
  'reconnect.initialDelay': '--initial-delay',
  'reconnect.maxDelay': '--max-delay',
  'blocked.initialDelay': '--blocked-delay',
  'blocked.maxDelay': '--blocked-delay',
  'heartbeat.timeout': '--heartbeat-timeout',
  'liveness.interval': '--liveness-interval',
  'liveness.file': '--liveness',
  allowPlaintext: '--allow-plaintext',
};

/** An error of the options in the words of the command line. */
function inFlags(message: string): string {
  const text = message.replace(/^options: /, '').replace(/^url:/, '--url:');
  return Object.entries(FLAG_OF).reduce((said, [option, flag]) => said.replaceAll(option, flag), text);
}

function stateFile(stateDir: string | undefined): string | undefined {
  return stateDir === undefined ? undefined : join(stateDir, 'liveness.json');
}

function tokenOf(flags: Flags): ClientOptions['token'] {
  const file = flags.text('token-file');
  const env = flags.text('token-env');
  if (file !== undefined && env !== undefined) throw new UsageError('--token-file and --token-env exclude each other');
  if (file !== undefined) return { file };
  return env === undefined ? undefined : { env };
}

function giveUpOf(flags: Flags): Pick<ClientOptions, 'giveUp'> {
  const maxAttempts = flags.count('max-attempts');
  const never = flags.text('give-up-after') === 'never';
  const after = never ? undefined : flags.duration('give-up-after');
  if (never && maxAttempts === undefined) return { giveUp: false };
  if (after === undefined && maxAttempts === undefined) return {};
  return { giveUp: { ...(after !== undefined && { after }), ...(maxAttempts !== undefined && { maxAttempts }) } };
}

function paceOf(flags: Flags): Pick<ClientOptions, 'reconnect' | 'blocked'> {
  const given = {
    connectTimeout: flags.duration('connect-timeout'),
    initialDelay: flags.duration('initial-delay'),
    maxDelay: flags.duration('max-delay'),
  };
  const reconnect = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const blocked = flags.duration('blocked-delay');
  return {
    ...(Object.keys(reconnect).length > 0 && { reconnect }),
    ...(blocked !== undefined && { blocked: { initialDelay: blocked, maxDelay: blocked * 4 } }),
  };
}

function loggerOf(flags: Flags, io: CliIo): Logger {
  const level: LogLevel = flags.choice('log-level', ['debug', 'info', 'warn', 'error']) ?? 'info';
  const format = flags.choice('log-format', ['json', 'pretty']) ?? 'json';
  if (format === 'json') return defaultLogger(level);
  // The stream of the process would wait for a reader that has stopped.
  const sink = { write: (text: string) => stderrSink().write(text), isTTY: process.stderr.isTTY === true };
  return prettyLogger(io.stderr === process.stderr ? sink : io.stderr, clockStamp, level);
}
