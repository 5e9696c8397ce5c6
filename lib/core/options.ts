/**
 * Options are parsed once, at the door: unknown keys, wrong types and contradictions are errors with the path and a
 * remedy. Every default is here, with its reason.
 */
import { z } from 'zod';
import { errorOf, type GatewayError } from './errors.js';
import { classify, NO_KNOWLEDGE } from './failure.js';
import type { Policy } from './policy.js';
import type { Runtime } from './runtime.js';
import type { Reason, Role, Safety } from './vocabulary.js';

/** A secret, or where to find it. Read afresh before every dial, so that a rotated one heals the client. */
export type Secret =
  | string
  | { readonly file: string }
  | { readonly env: string }
  /** Program and arguments, without a shell; `timeout` in ms, default 10 000. Its first line is the secret. */
  | { readonly command: readonly [string, ...string[]]; readonly timeout?: number }
  | (() => string | Promise<string>);

/** Any logger with these four, in the style of pino: `(record, message)`. */
export interface Logger {
  debug(record: object, message?: string): void;
  info(record: object, message?: string): void;
  warn(record: object, message?: string): void;
  error(record: object, message?: string): void;
}

/** Defaults of every call of a client or of a view made by `with()`. Times in ms. */
export interface CallDefaults {
  /** One attempt. Default 30 000. */
  timeout?: number;
  /** The whole call, waiting for the link included. Default 120 000. */
  deadline?: number;
  /**
   * `restart` rides out restarts, starts and drains of the gateway and fails at once on an outage; `always` waits out
   * outages too; `never` fails whenever the link is not there. Default `restart`.
   */
  retry?: 'restart' | 'always' | 'never';
  /** Counts the first attempt. Default: as many as the deadline allows. */
  maxAttempts?: number;
  /** Default: from the table of methods; unknown methods are `once`. */
  safety?: Safety;
}

/** The identity of this device. */
export interface DeviceOptions {
  /** Folder of the identity and the device tokens, mode 0700. */
  stateDir: string;
}

/** When to dial again, in milliseconds. */
export interface ReconnectOptions {
  /** Outage profile: first delay. Default 1000. */
  initialDelay?: number;
  /** Outage profile: no delay is longer. Default 30 000. */
  maxDelay?: number;
  /** Outage profile: growth. Default 2. */
  factor?: number;
  /** Share of each delay that is random, 0…1. Default 0.5: half the delay is kept, so that the tail stays short. */
  jitter?: number;
  /**
   * While a restart of the gateway is in progress. Defaults on loopback 50 → 250 ms, ×1.5: a refused dial costs nothing
   * there, and the gateway is back within seconds. From afar 1000 → 5000 ms, ×1.6, because others come back with us.
   */
  restart?: { initialDelay?: number; maxDelay?: number; factor?: number; window?: number };
  /** Uptime after which earlier attempts are forgiven. Default 10 000. */
  minUptime?: number;
  /** One deadline for name, TCP, TLS, upgrade, challenge and hello. Default 20 000; above 5 s, since a wrong token is answered late. */
  connectTimeout?: number;
  /** Spreads a herd over `size / (0.5 · acceptRate)` seconds and raises `maxDelay` to twice that. */
  fleet?: { size: number; acceptRate: number };
}

/** Options of a client. All times are milliseconds; only `url` is required. */
export interface ClientOptions {
  /** Asked again before every dial when it is a function, under a timeout. */
  url: string | (() => string | Promise<string>);
  token?: Secret;
  password?: Secret;
  /** Default `operator`. */
  role?: Role;
  /** Default `operator.admin`, `operator.read`, `operator.write` for an operator, none for a node. */
  scopes?: string[];
  client?: { id?: string; version?: string; mode?: string; displayName?: string };
  /** Ed25519 identity of this device, made on first start under `stateDir`. Default false; a node needs one. */
  device?: DeviceOptions | false;
  tls?: { fingerprint?: string; ca?: string | Uint8Array };
  /** `ws://` beyond loopback is refused unless true. Default false. */
  allowPlaintext?: boolean;
  reconnect?: ReconnectOptions;
  /** Pace while a human is needed. Default 15 000 → 60 000: ten wrong tokens in 60 s lock the address out. */
  blocked?: { initialDelay?: number; maxDelay?: number };
  /** Default false for `createClient`; 10 minutes for a node host. `after` in ms without a serving link; `maxAttempts` in dials. */
  giveUp?: false | { after?: number; maxAttempts?: number };
  /** `hold`: state `blocked`, slow retries. `stop`: outcome `fatal` after three fresh tries over a minute. Default `hold`. */
  onPermanent?: 'hold' | 'stop';
  /** `timeout`: longest silence on a live link, default twice the gateway's tick. `ping`: how often we ask, default a quarter of it. */
  heartbeat?: false | { timeout?: number; ping?: number };
  call?: CallDefaults;
  /** Default false. `interval`: how often the file is written without a change, default 5000. */
  liveness?: false | { file: string; interval?: number };
  /** Default pino, to stderr. */
  logger?: Logger | false;
  /** Clock, timers, randomness and ids; replaced in tests. */
  runtime?: Runtime;
}

// Node fires a timer beyond this at once.
const LONGEST_MS = 2 ** 31 - 1;
const ms = z.number().min(0).max(LONGEST_MS);
const positive = z.number().gt(0);
const duration = positive.max(LONGEST_MS);
const provider = z.custom<() => string | Promise<string>>(
  (value) => typeof value === 'function',
  'expected a function',
);
const secret = z.union([
  z.string().min(1),
  z.strictObject({ file: z.string().min(1) }),
  z.strictObject({ env: z.string().min(1) }),
  z.strictObject({ command: z.tuple([z.string().min(1)], z.string()), timeout: duration.optional() }),
  provider,
]);

const callShape = z.strictObject({
  timeout: duration.optional(),
  deadline: duration.optional(),
  retry: z.enum(['restart', 'always', 'never']).optional(),
  maxAttempts: z.number().int().min(1).optional(),
  safety: z.enum(['read', 'repeatable', 'keyed', 'once']).optional(),
});

const reconnectShape = z.strictObject({
  initialDelay: ms.optional(),
  maxDelay: ms.optional(),
  factor: z.number().finite().min(1).optional(),
  jitter: z.number().min(0).max(1).optional(),
  restart: z
    .strictObject({
      initialDelay: ms.optional(),
      maxDelay: ms.optional(),
      factor: z.number().finite().min(1).optional(),
      window: ms.optional(),
    })
    .optional(),
  minUptime: ms.optional(),
  connectTimeout: positive.max(3_600_000).optional(),
  fleet: z.strictObject({ size: z.number().int().min(1), acceptRate: positive }).optional(),
});

function hasFunctions(value: unknown, names: readonly string[]): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
  );
}

const optionsShape = z.strictObject({
  url: z.union([z.string().min(1), provider]),
  token: secret.optional(),
  password: secret.optional(),
  role: z.enum(['operator', 'node']).optional(),
  scopes: z.array(z.string().min(1)).optional(),
  client: z
    .strictObject({
      id: z.string().min(1).optional(),
      version: z.string().min(1).optional(),
      mode: z.string().min(1).optional(),
      displayName: z.string().min(1).optional(),
    })
    .optional(),
  device: z.union([z.literal(false), z.strictObject({ stateDir: z.string().min(1) })]).optional(),
  tls: z
    .strictObject({
      fingerprint: z.string().optional(),
      ca: z.union([z.string(), z.instanceof(Uint8Array)]).optional(),
    })
    .optional(),
  allowPlaintext: z.boolean().optional(),
  reconnect: reconnectShape.optional(),
  blocked: z.strictObject({ initialDelay: ms.optional(), maxDelay: ms.optional() }).optional(),
  giveUp: z
    .union([
      z.literal(false),
      z.strictObject({ after: duration.optional(), maxAttempts: z.number().int().min(1).optional() }),
    ])
    .optional(),
  onPermanent: z.enum(['hold', 'stop']).optional(),
  heartbeat: z
    .union([z.literal(false), z.strictObject({ timeout: duration.optional(), ping: duration.optional() })])
    .optional(),
  call: callShape.optional(),
  liveness: z
    .union([
      z.literal(false),
      z.strictObject({ file: z.string().min(1), interval: z.number().min(50).max(3_600_000).optional() }),
    ])
    .optional(),
  logger: z
    .union([
      z.literal(false),
      z.custom<Logger>(
        (value) => hasFunctions(value, ['debug', 'info', 'warn', 'error']),
        'expected a logger with debug, info, warn and error',
      ),
    ])
    .optional(),
  runtime: z
    .custom<Runtime>(
      (value) => typeof value === 'object' && value !== null && 'setTimer' in value,
      'expected a runtime',
    )
    .optional(),
});

/** Options with nothing left open. */
export interface Settings {
  readonly url: ClientOptions['url'];
  readonly token: Secret | undefined;
  readonly password: Secret | undefined;
  readonly role: Role;
  readonly scopes: readonly string[];
  readonly client: {
    readonly id: string;
    readonly version: string;
    readonly mode: string;
    readonly displayName: string | undefined;
  };
  readonly device: DeviceOptions | null;
  readonly tls: { readonly fingerprint: string | undefined; readonly ca: string | Uint8Array | undefined };
  readonly allowPlaintext: boolean;
  readonly policy: Policy;
  readonly call: Required<Omit<CallDefaults, 'safety' | 'maxAttempts'>> & Pick<CallDefaults, 'safety' | 'maxAttempts'>;
  readonly liveness: { readonly file: string | null; readonly interval: number };
  readonly logger: Logger | false | undefined;
}

/** The window over which a remote client spreads its first dial after a restart, in ms (RFC 6455 §7.2.3: 0–5 s). */
const REMOTE_SPREAD = 5000;
const LOOPBACK_SPREAD = 250;

/**
 * Parses and completes options.
 * @throws GatewayError with reason `local` and outcome `not-sent`; its message names the path of each mistake.
 */
export function parseOptions(input: ClientOptions, label: string, version: string): Settings {
  const parsed = optionsShape.safeParse(input);
  if (!parsed.success) throw optionError(issuesText(parsed.error.issues));
  const options = parsed.data as ClientOptions;
  if (typeof options.url === 'string') checkUrl(options.url, options.allowPlaintext ?? false);
  const role = options.role ?? 'operator';
  if (role === 'node' && (options.device === undefined || options.device === false)) {
    throw optionError('device: a node needs an identity; name its `stateDir`');
  }
  return {
    url: options.url,
    token: options.token,
    password: options.password,
    role,
    scopes: options.scopes ?? (role === 'operator' ? ['operator.admin', 'operator.read', 'operator.write'] : []),
    client: {
      id: options.client?.id ?? (role === 'operator' ? 'gateway-client' : 'node-host'),
      version: options.client?.version ?? version,
      mode: options.client?.mode ?? (role === 'operator' ? 'backend' : 'node'),
      displayName: options.client?.displayName,
    },
    device: options.device === undefined || options.device === false ? null : options.device,
    tls: { fingerprint: options.tls?.fingerprint, ca: options.tls?.ca },
    allowPlaintext: options.allowPlaintext ?? false,
    policy: policyOf(options, label),
    call: { timeout: 30_000, deadline: 120_000, retry: 'restart', ...withoutUndefined(options.call ?? {}) },
    liveness: {
      file: options.liveness === undefined || options.liveness === false ? null : options.liveness.file,
      interval:
        (options.liveness === undefined || options.liveness === false ? undefined : options.liveness.interval) ?? 5000,
    },
    logger: options.logger,
  };
}

function policyOf(options: ClientOptions, label: string): Policy {
  const reconnect = options.reconnect ?? {};
  const jitter = reconnect.jitter ?? 0.5;
  const fleetWindow =
    reconnect.fleet === undefined ? null : (reconnect.fleet.size / (0.5 * reconnect.fleet.acceptRate)) * 1000;
  const initialDelay = reconnect.initialDelay ?? Math.min(1000, reconnect.maxDelay ?? 1000);
  // A cap that is too short for the fleet keeps the gateway saturated: it scales with the fleet.
  const maxDelay = Math.max(reconnect.maxDelay ?? Math.max(30_000, initialDelay), 2 * (fleetWindow ?? 0));
  const restart = reconnect.restart ?? {};
  const restartProfile = (initial: number, max: number, factor: number) => ({
    initialDelay: restart.initialDelay ?? Math.min(initial, restart.maxDelay ?? initial),
    maxDelay: restart.maxDelay ?? Math.max(max, restart.initialDelay ?? 0),
    factor: restart.factor ?? factor,
    jitter,
  });
  const blocked = options.blocked ?? {};
  const policy: Policy = {
    label,
    outage: { initialDelay, maxDelay, factor: reconnect.factor ?? 2, jitter },
    restart: {
      loopback: restartProfile(50, 250, 1.5),
      remote: restartProfile(1000, 5000, 1.6),
      window: restart.window ?? 60_000,
    },
    blocked: {
      initialDelay: blocked.initialDelay ?? Math.min(15_000, blocked.maxDelay ?? 15_000),
      maxDelay: blocked.maxDelay ?? Math.max(60_000, blocked.initialDelay ?? 0),
      factor: 2,
      jitter: 0,
    },
    minUptime: reconnect.minUptime ?? 10_000,
    connectTimeout: reconnect.connectTimeout ?? 20_000,
    spread: { loopback: fleetWindow ?? LOOPBACK_SPREAD, remote: fleetWindow ?? REMOTE_SPREAD },
    fleet: fleetWindow !== null,
    giveUp: giveUpOf(options.giveUp),
    onPermanent: options.onPermanent ?? 'hold',
    heartbeat:
      options.heartbeat === false
        ? null
        : { timeout: options.heartbeat?.timeout ?? null, ping: options.heartbeat?.ping ?? null },
  };
  checkOrder('reconnect', policy.outage);
  checkOrder('reconnect.restart', policy.restart.loopback);
  checkOrder('blocked', policy.blocked);
  return policy;
}

function giveUpOf(option: ClientOptions['giveUp']): Policy['giveUp'] {
  if (option === undefined || option === false) return { after: null, maxAttempts: null };
  if (option.after === undefined && option.maxAttempts === undefined) {
    throw optionError('giveUp: name `after`, `maxAttempts` or both, or set it to false');
  }
  return { after: option.after ?? null, maxAttempts: option.maxAttempts ?? null };
}

function checkOrder(path: string, profile: { readonly initialDelay: number; readonly maxDelay: number }): void {
  if (profile.maxDelay < profile.initialDelay) {
    throw optionError(
      `${path}.maxDelay: ${profile.maxDelay} is less than ${path}.initialDelay ${profile.initialDelay}`,
    );
  }
}

export interface Target {
  readonly url: string;
  readonly loopback: boolean;
  readonly secure: boolean;
}

/**
 * Checks an address before anything is dialled.
 * @throws GatewayError with reason `local`; the text never repeats the address, which may carry a secret.
 */
export function checkUrl(text: string, allowPlaintext: boolean): Target {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null) throw optionError('url: not an address; it looks like ws://127.0.0.1:18789');
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:')
    throw optionError(`url: the scheme is ${url.protocol}//, expected ws:// or wss://`);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw optionError('url: credentials, query and fragment are refused, since addresses end up in logs; use `token`');
  }
  const loopback = isLoopback(url.hostname);
  if (url.protocol === 'ws:' && !loopback && !allowPlaintext) {
    throw optionError(
      `url: plaintext ws:// to ${url.hostname} would show the token to the network; use wss://, or set allowPlaintext`,
    );
  }
  return { url: url.href, loopback, secure: url.protocol === 'wss:' };
}

function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  );
}

/** An error of the options: exit code 78 in the command line. */
export function optionError(message: string): GatewayError {
  const failure = classify({ kind: 'trust', code: 'HOLDFAST_OPTIONS', message: `options: ${message}` }, NO_KNOWLEDGE);
  return errorOf(failure, 'not-sent', { remedy: 'Correct the option named in the message.' });
}

/** @throws GatewayError with reason `local` when the options of a call are not usable. */
export function parseCallOptions(input: CallDefaults): CallDefaults {
  const parsed = callShape.safeParse(input);
  if (parsed.success) return withoutUndefined(parsed.data as CallDefaults);
  throw optionError(issuesText(parsed.error.issues));
}

/** The mistakes as text: path and what is wrong. Values are never repeated; they may be secrets. */
function issuesText(issues: readonly z.core.$ZodIssue[]): string {
  return issues.flatMap((issue) => leaves(issue, [])).join('; ');
}

/** Of a union, the branch that came furthest says what was meant. */
function leaves(issue: z.core.$ZodIssue, prefix: readonly PropertyKey[]): string[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'invalid_union') {
    const depth = (branch: readonly z.core.$ZodIssue[]): number =>
      Math.max(0, ...branch.map((each) => each.path.length));
    const deepest = issue.errors.reduce(
      (best, branch) => (depth(branch) > depth(best) || isUnknownKey(branch) ? branch : best),
      [],
    );
    if (depth(deepest) > 0 || isUnknownKey(deepest)) return deepest.flatMap((each) => leaves(each, path));
  }
  const where = path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return [`${where === '' ? '' : `${where}: `}unknown ${issue.keys.map((key) => `"${key}"`).join(', ')}`];
  }
  return [`${where === '' ? 'options' : where}: ${issue.message}`];
}

function isUnknownKey(branch: readonly z.core.$ZodIssue[]): boolean {
  return branch.some(({ code }) => code === 'unrecognized_keys');
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}

/** Reasons that a call with `retry: 'restart'` rides out. */
export const RIDDEN_OUT: ReadonlySet<Reason> = new Set<Reason>([
  'gateway-restart',
  'gateway-starting',
  'gateway-draining',
]);
