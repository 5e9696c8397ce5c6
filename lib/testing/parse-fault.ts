import { parseDuration } from '../core/durations.js';
import {
  ACCEPT_VARIANTS,
  CALL_PRESETS,
  CHALLENGE_VARIANTS,
  CUTS,
  FAULTS,
  type Fault,
  type FaultName,
  FRAME_VARIANTS,
  HELLO_VARIANTS,
  HTTP_FAULT_KINDS,
  REJECT_PRESETS,
} from './faults.js';

/** How the text of one argument becomes a value. */
type Kind = 'duration' | 'whole' | 'text' | 'flag' | 'list' | readonly string[];

interface Spec {
  /** The argument that may stand without its name. */
  readonly main?: string;
  readonly required?: boolean;
  readonly args: Readonly<Record<string, Kind>>;
}

const TIMES: Readonly<Record<string, Kind>> = { times: 'whole' };
const CALLS: Readonly<Record<string, Kind>> = { methods: 'list', execute: 'flag', ...TIMES };
const ERROR: Readonly<Record<string, Kind>> = {
  code: 'text',
  message: 'text',
  retryable: 'flag',
  retryAfterMs: 'duration',
};

const SPECS: Readonly<Record<FaultName, Spec>> = {
  refuse: { args: {} },
  'reset-on-accept': { main: 'after', args: { after: ['accept', 'request'], ...TIMES } },
  'close-on-accept': { args: TIMES },
  silent: { args: TIMES },
  banner: { main: 'text', args: { text: 'text', ...TIMES } },
  trickle: { main: 'intervalMs', args: { intervalMs: 'duration', bytes: 'whole', ...TIMES } },
  'slow-link': { main: 'latencyMs', args: { latencyMs: 'duration', ...TIMES } },
  'half-open': { main: 'fresh', args: { fresh: ['ok', 'dead'], reset: 'flag' } },
  'slow-upgrade': { main: 'ms', args: { ms: 'duration', ...TIMES } },
  'http-status': {
    main: 'status',
    required: true,
    args: { status: 'whole', body: 'text', endless: 'flag', retryAfter: 'text', location: 'text', ...TIMES },
  },
  'not-a-gateway': { args: {} },
  'bad-accept': { main: 'variant', args: { variant: ACCEPT_VARIANTS, ...TIMES } },
  echo: { args: {} },
  foreign: { args: {} },
  'no-challenge': { args: TIMES },
  'no-hello': { args: TIMES },
  'bad-challenge': {
    main: 'variant',
    args: {
      variant: CHALLENGE_VARIANTS,
      ...TIMES,
    },
  },
  'early-events': { args: TIMES },
  'reject-connect': {
    main: 'preset',
    args: {
      preset: REJECT_PRESETS,
      answer: 'flag',
      closeCode: 'whole',
      closeReason: 'text',
      role: ['operator', 'node'],
      ...ERROR,
      ...TIMES,
    },
  },
  'bad-hello': {
    main: 'variant',
    args: {
      variant: HELLO_VARIANTS,
      ...TIMES,
    },
  },
  'boot-id-flap': { args: {} },
  'drop-after-hello': {
    main: 'ms',
    args: { ms: 'duration', code: 'whole', reason: 'text', cut: CUTS, ...TIMES },
  },
  'no-responses': { args: CALLS },
  'slow-responses': { main: 'ms', args: { ms: 'duration', methods: 'list', ...TIMES } },
  'no-ticks': { args: { pongs: 'flag' } },
  'wrong-frames': {
    main: 'variant',
    args: {
      variant: FRAME_VARIANTS,
      ...TIMES,
    },
  },
  'giant-frame': { main: 'bytes', args: { bytes: 'whole', variant: ['response', 'claim', 'endless'], ...TIMES } },
  'reject-call': {
    main: 'preset',
    args: {
      preset: CALL_PRESETS,
      ...ERROR,
      ...CALLS,
    },
  },
  'cut-call': { main: 'cut', args: { cut: CUTS, ...CALLS } },
  'mute-close': { args: {} },
  'http-fault': {
    main: 'kind',
    args: {
      kind: HTTP_FAULT_KINDS,
      status: 'whole',
      body: 'text',
      path: 'text',
      intervalMs: 'duration',
      execute: 'flag',
      retryAfter: 'text',
      ...TIMES,
    },
  },
  'stuck-drain': { main: 'upgrades', args: { upgrades: ['refuse', 'accept'] } },
  suspended: { args: {} },
  'health-lies': { main: 'variant', args: { variant: ['ready', 'html', 'hang', 'unready'] } },
  'no-provider': { args: TIMES },
};

/** Arguments that are really HTTP headers. */
const HEADERS: Readonly<Record<string, string>> = { retryAfter: 'Retry-After', location: 'Location' };

/**
 * Reads a fault as the command line writes it: `silent`, `slow-upgrade:6s`, `http-status:503,retryAfter=7`,
 * `reject-connect:rate-limited,retryAfterMs=2s,times=3`. Throws an error that says what is possible instead.
 */
export function parseFault(text: string): Fault {
  const colon = text.indexOf(':');
  const name = (colon < 0 ? text : text.slice(0, colon)).trim();
  if (!isFaultName(name)) {
    throw new Error(`unknown fault "${name}"; the faults are: ${Object.keys(FAULTS).join(', ')}`);
  }
  const spec = SPECS[name];
  const fault: Record<string, unknown> = { name };
  const headers: Record<string, string> = {};
  for (const part of colon < 0 ? [] : text.slice(colon + 1).split(',')) {
    const [key, value] = argument(name, spec, part.trim());
    const header = HEADERS[key];
    if (header === undefined) fault[key] = value;
    else headers[header] = String(value);
  }
  if (Object.keys(headers).length > 0) fault['headers'] = headers;
  if (spec.required === true && spec.main !== undefined && fault[spec.main] === undefined) {
    throw new Error(`fault "${name}" needs a ${spec.main}, e.g. ${name}:503`);
  }
  return complete(fault);
}

/** Every key of the record was checked against SPECS, which mirrors the union. */
function complete(fault: Record<string, unknown>): Fault {
  return fault as unknown as Fault;
}

function argument(name: string, spec: Spec, part: string): [key: string, value: unknown] {
  const equals = part.indexOf('=');
  const key = equals < 0 ? spec.main : part.slice(0, equals);
  const known = Object.keys(spec.args);
  const kind = key !== undefined && Object.hasOwn(spec.args, key) ? spec.args[key] : undefined;
  if (key === undefined || kind === undefined) {
    const possible = known.length === 0 ? 'it takes none' : `it takes ${known.join(', ')}`;
    throw new Error(`fault "${name}" has no argument "${key ?? part}"; ${possible}`);
  }
  return [key, argumentValue(name, key, kind, part.slice(equals + 1))];
}

function argumentValue(name: string, key: string, kind: Kind, text: string): unknown {
  const wrong = (wanted: string): Error => new Error(`fault "${name}": ${key} must be ${wanted}, not "${text}"`);
  if (typeof kind === 'object') {
    if (!kind.includes(text)) throw wrong(`one of ${kind.join(', ')}`);
    return text;
  }
  switch (kind) {
    case 'text':
      return text;
    case 'list':
      return text.split('+');
    case 'flag':
      if (text !== 'true' && text !== 'false') throw wrong('true or false');
      return text === 'true';
    case 'whole':
      if (!/^\d+$/.test(text)) throw wrong('a whole number');
      return Number(text);
    case 'duration': {
      if (/^\d+$/.test(text)) return Number(text);
      const duration = parseDuration(text);
      if (!duration.ok) throw new Error(`fault "${name}": ${key}: ${duration.why}`);
      return duration.ms;
    }
  }
}

function isFaultName(name: string): name is FaultName {
  return Object.hasOwn(FAULTS, name);
}
