/** `holdfast probe`: one fast look for supervisors. Its imports are counted: a health check starts it every few seconds. */
import { probe } from '../api/probe.js';
import { parseDuration } from '../core/durations.js';

/** Where a command writes; the streams of `process` fit. */
export interface ProbeIo {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

function direct(fd: 1 | 2, text: string): void {
  try {
    process.getBuiltinModule('node:fs').writeSync(fd, text);
  } catch {
    // A full pipe: let the stream wait for it.
    (fd === 1 ? process.stdout : process.stderr).write(text);
  }
}

/** The real outputs, without the streams of `process`: to set those up costs a probe two milliseconds. */
export const directIo: ProbeIo = {
  stdout: { write: (text) => direct(1, text) },
  stderr: { write: (text) => direct(2, text) },
};

const HELP = `holdfast probe --file F [options]

Says whether the client that writes the liveness file F is alive.

  --file F                 the liveness file
  --max-age 45s            how old its record may be (default: four times the writer's interval)
  --max-disconnected 10m   how long the client may be without its gateway (default: no limit; not while blocked)
  --confirm-after 5s       look twice before saying "not alive": for hosts that sleep
  --fail-when-blocked      a client that waits for a human is not alive (default: it is)
  --allow-foreign          judge a record of another host or container by its age alone (default: not alive)
  --json                   one line of JSON
  --help                   this text

Durations read 500ms, 45s, 10m, 2h.
Exit code: 0 alive, 1 not alive, 2 asked wrongly.
`;

const DURATIONS = {
  '--max-age': 'maxAge',
  '--max-disconnected': 'maxDisconnected',
  '--confirm-after': 'confirmAfter',
} as const;
const SWITCHES = {
  '--fail-when-blocked': 'failWhenBlocked',
  '--allow-foreign': 'allowForeign',
  '--json': 'json',
  '--watch': 'watch',
} as const;

/** What was asked on the command line; `probe` and `status` share it. */
export interface ProbeFlags {
  file: string;
  maxAge?: number;
  maxDisconnected?: number;
  confirmAfter?: number;
  failWhenBlocked?: boolean;
  allowForeign?: boolean;
  json?: boolean;
  watch?: boolean;
}

type Asked = { kind: 'flags'; flags: ProbeFlags } | { kind: 'help' } | { kind: 'wrong'; why: string };

function known<T extends object>(table: T, flag: string): flag is keyof T & string {
  return Object.hasOwn(table, flag);
}

/** Reads flags as `--flag value` or `--flag=value`. `allowed` names the flags of this command. */
export function parseFlags(argv: readonly string[], allowed: readonly string[]): Asked {
  const flags: ProbeFlags = { file: '' };
  const wrong = (why: string): Asked => ({ kind: 'wrong', why });
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    if (word === '--help' || word === '-h') return { kind: 'help' };
    const equals = word.startsWith('--') ? word.indexOf('=') : -1;
    const flag = equals < 0 ? word : word.slice(0, equals);
    // A stray word is not echoed: it may be a secret that lost its flag.
    if (!flag.startsWith('-')) return wrong('takes flags only, and one of the words is none');
    if (!allowed.includes(flag)) return wrong(`unknown flag ${flag}`);
    if (known(SWITCHES, flag)) {
      if (equals >= 0) return wrong(`${flag} takes no value`);
      flags[SWITCHES[flag]] = true;
      continue;
    }
    const value = equals < 0 ? argv[++i] : word.slice(equals + 1);
    // A flag in the place of a value means that the value was forgotten.
    if (value === undefined || value === '' || (equals < 0 && value.startsWith('--')))
      return wrong(`${flag} needs a value`);
    if (flag === '--file') {
      flags.file = value;
    } else if (known(DURATIONS, flag)) {
      const parsed = parseDuration(value);
      if (!parsed.ok) return wrong(`${flag}: ${parsed.why}`);
      flags[DURATIONS[flag]] = parsed.ms;
    }
  }
  return flags.file === '' ? wrong('--file is required') : { kind: 'flags', flags };
}

const ALLOWED = ['--file', ...Object.keys(DURATIONS), '--fail-when-blocked', '--allow-foreign', '--json'];

/** Runs `holdfast probe` with the arguments after its name, and resolves to its exit code. Never rejects. */
export async function probeCommand(argv: readonly string[], io: ProbeIo): Promise<number> {
  const asked = parseFlags(argv, ALLOWED);
  if (asked.kind === 'help') {
    io.stdout.write(HELP);
    return 0;
  }
  if (asked.kind === 'wrong') {
    io.stderr.write(`holdfast probe: ${asked.why}\nTry: holdfast probe --help\n`);
    return 2;
  }
  const result = await probe(asked.flags);
  const exitCode = result.ok ? 0 : 1;
  if (asked.flags.json === true) {
    const { ok, verdict, cause, why, file, ages, looks, writer, record } = result;
    const { state, stateSinceMs, reason, attempt, nextAttemptAtMs, giveUpAtMs, awaiting, restart, exit } = record ?? {};
    const facts = { state, stateSinceMs, reason, attempt, nextAttemptAtMs, giveUpAtMs, awaiting, restart, exit };
    const who = record === undefined ? undefined : { ...record.writer, state: writer };
    io.stdout.write(
      `${JSON.stringify({ ok, verdict, cause, why, file, ages, looks, ...facts, writer: who, exitCode })}\n`,
    );
  } else {
    io.stdout.write(`${result.ok ? 'alive' : 'not alive'}: ${result.verdict}: ${result.why}\n`);
  }
  return exitCode;
}
