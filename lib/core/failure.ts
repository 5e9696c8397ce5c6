/**
 * Evidence in, verdict out: why a dial failed or a link ended, and what may be done about it.
 * Nothing here reads messages for people, except where the gateway gives nothing else; each such place says so.
 */
import { LIMITS } from './policy.js';
import {
  CLOSE_CODES,
  CONNECT_CODES,
  CONNECT_DETAIL_CODES,
  DETAIL_REASONS,
  LOCAL_RESOURCE_CODES,
  REMEDIES,
  RESTART_CLOSE_REASON,
  TLS_TRUST_CODES,
  UPGRADE_STATUSES,
  type Verdict,
} from './verdicts.js';
import { type Action, EXIT, type Phase, type Reason } from './vocabulary.js';

/** What the gateway said, when it said something. Untrusted. */
export interface GatewayWord {
  readonly code: string;
  readonly message: string;
  readonly details?: unknown;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
}

/** What was seen on the way to a hello, or of the end of a link. */
export type Evidence =
  /** A provider of url, token or password threw, rejected, or did not settle in time. */
  | {
      readonly kind: 'provider';
      readonly provider: string;
      readonly code: string;
      readonly message: string;
      readonly invalid?: boolean;
    }
  /** An error of DNS, TCP, TLS or of the socket before the upgrade was answered. */
  | { readonly kind: 'socket'; readonly phase: Phase; readonly code: string; readonly message: string }
  /** The upgrade was answered with a status other than 101. */
  | {
      readonly kind: 'upgrade';
      readonly status: number;
      readonly body: string;
      readonly retryAfterMs?: number;
      readonly location?: string;
    }
  /** Our own deadline over the whole dial passed. */
  | { readonly kind: 'deadline'; readonly phase: Phase; readonly ms: number }
  /** `connect` was answered with an error. */
  | {
      readonly kind: 'refused';
      readonly error: GatewayWord;
      /** The next dial has another credential to show. */
      readonly another?: boolean;
    }
  /** The socket closed; before the hello, or with phase `online` after it. */
  | { readonly kind: 'closed'; readonly phase: Phase; readonly code: number; readonly reason: string }
  /** A live link was up, but the gateway drained on it for longer than any gateway drains. */
  | { readonly kind: 'drained'; readonly ms: number }
  /** Another connection with the same device identity has taken our place. */
  | { readonly kind: 'replaced'; readonly times: number }
  /** Nothing was heard on a live link for longer than its limit. */
  | { readonly kind: 'silence'; readonly ms: number }
  /** The peer does not speak our protocol. */
  | { readonly kind: 'garbage'; readonly phase: Phase; readonly code: string; readonly message: string }
  /** Refused by ourselves before any byte left: trust, plaintext, options that turned out wrong. */
  | { readonly kind: 'trust'; readonly code: string; readonly message: string };

/** A classified failure. Plain data: it travels in state, events, log lines, health and errors. */
export interface Failure {
  readonly reason: Reason;
  readonly action: Action;
  readonly phase: Phase;
  /** Stable, for logs: `ECONNREFUSED`, `AUTH_TOKEN_MISMATCH`, `HTTP_503`, `CLOSE_1012`, `CONNECT_TIMEOUT` … */
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  /** The server's hint, in ms. Never shorter than this; jitter comes on top. */
  readonly retryAfter?: number;
  readonly httpStatus?: number;
  readonly closeCode?: number;
  readonly closeReason?: string;
  readonly gateway?: GatewayWord;
  /** Who or what is waited for while a human is needed, with the command that helps. */
  readonly awaiting?: string;
  /** Three of these in a row need a human, although each alone is worth a quick retry. */
  readonly strike?: boolean;
}

/** What is known of the gateway while evidence is judged. */
export interface Knowledge {
  /** A gateway-initiated restart (or suspected one) is in progress, within its window. */
  readonly restarting: boolean;
  /** The gateway said that it stops for good. */
  readonly stopped: boolean;
  /** The gateway was draining when it was last heard. */
  readonly draining: boolean;
}

export const NO_KNOWLEDGE: Knowledge = { restarting: false, stopped: false, draining: false };

export function classify(evidence: Evidence, known: Knowledge): Failure {
  switch (evidence.kind) {
    case 'provider':
      return make('local', 'soon', 'provider', evidence.code, evidence.message, {
        remedy: `The ${evidence.provider} provider failed: mend it; it is asked again before every attempt.`,
        ...(evidence.invalid && { strike: true }),
      });
    case 'trust':
      return make('local', 'human', 'tls', evidence.code, evidence.message);
    case 'socket':
      return classifySocket(evidence, known);
    case 'upgrade':
      return classifyUpgrade(evidence, known);
    case 'deadline':
      return make(
        deadlineReason(evidence.phase, known),
        'soon',
        evidence.phase,
        'CONNECT_TIMEOUT',
        `no hello within ${evidence.ms} ms; the dial hung in phase ${evidence.phase} (option reconnect.connectTimeout)`,
      );
    case 'refused':
      return classifyRefused(evidence.error, evidence.another === true);
    case 'closed':
      return evidence.phase === 'online' ? classifyLostLink(evidence, known) : classifyClosedEarly(evidence, known);
    case 'drained':
      return make(
        'outage',
        'soon',
        'online',
        'DRAIN_LIMIT',
        `the gateway drained for ${Math.round(evidence.ms / 1000)} s`,
        {
          remedy: 'Restart the gateway: it does not come out of its drain by itself.',
        },
      );
    case 'replaced':
      return make(
        'local',
        'soon',
        'online',
        'HOLDFAST_TWIN',
        'another connection with this device identity has taken our place',
        {
          // Two that fight for a place take it from each other for ever, so each time costs twice as long.
          retryAfter: Math.min(LIMITS.twinPause * 2 ** (evidence.times - 1), LIMITS.maxHint),
          remedy: 'Look for a second host that uses the same state directory or a copy of it, and stop one of them.',
        },
      );
    case 'silence':
      return make(
        'unresponsive',
        'soon',
        'online',
        'SILENCE',
        `nothing heard from the gateway for ${Math.round(evidence.ms)} ms`,
      );
    case 'garbage':
      return make('protocol', 'soon', evidence.phase, evidence.code, evidence.message, { strike: true });
  }
}

/** Who kept us waiting: our own provider, the network, or a gateway that accepts and does not answer. */
function deadlineReason(phase: Phase, known: Knowledge): Reason {
  if (phase === 'provider') return 'local';
  return inRestart(phase === 'dns' || phase === 'tcp' ? 'outage' : 'unresponsive', known);
}

/** A plain network failure inside a known restart or stop is part of it. */
function inRestart(reason: Reason, known: Knowledge): Reason {
  if (known.stopped) return 'gateway-stopped';
  if (known.restarting) return 'gateway-restart';
  if (known.draining) return 'gateway-draining';
  return reason;
}

function classifySocket(evidence: Extract<Evidence, { kind: 'socket' }>, known: Knowledge): Failure {
  const { phase, code, message } = evidence;
  if (TLS_TRUST_CODES.has(code)) return make('local', 'soon', 'tls', code, message, { strike: true });
  if (LOCAL_RESOURCE_CODES.has(code)) return make('local', 'soon', phase, code, message, { retryAfter: 5000 });
  // A plaintext peer behind wss:, or the reverse: OpenSSL reports it as EPROTO or as one of its own codes.
  if (phase === 'tls' && (code === 'EPROTO' || code.startsWith('ERR_SSL_'))) {
    return make('protocol', 'soon', phase, code, message, {
      strike: true,
      remedy: 'The port does not speak TLS: check ws:// against wss://.',
    });
  }
  if (code.startsWith('HPE_') || code.startsWith('WS_ERR_'))
    return make('protocol', 'soon', phase, code, message, { strike: true });
  return make(inRestart('outage', known), 'soon', phase, code, message);
}

function classifyUpgrade(evidence: Extract<Evidence, { kind: 'upgrade' }>, known: Knowledge): Failure {
  const { status, body } = evidence;
  const extra = {
    httpStatus: status,
    ...(evidence.retryAfterMs !== undefined && { retryAfter: evidence.retryAfterMs }),
  };
  const code = `HTTP_${status}`;
  const said = body === '' ? '' : `: ${body}`;
  if (status >= 300 && status < 400) {
    const target = evidence.location === undefined ? '' : ` to ${evidence.location}`;
    return make(
      'protocol',
      'soon',
      'upgrade',
      code,
      `the upgrade was redirected${target}; redirects are not followed`,
      { ...extra, strike: true },
    );
  }
  const verdict = UPGRADE_STATUSES.get(status);
  if (verdict === undefined) {
    const action = status >= 500 ? 'soon' : 'human';
    const reason = status >= 500 ? inRestart('outage', known) : 'protocol';
    return make(reason, action, 'upgrade', code, `the upgrade was answered with HTTP ${status}${said}`, extra);
  }
  // The gateway of 2026.9.x refuses upgrades with 503 while it drains; 502 and 504 come from a proxy in front of it.
  const draining = status === 503 && (known.draining || known.restarting);
  const reason = verdict.reason === 'outage' ? inRestart('outage', known) : verdict.reason;
  return make(
    draining ? 'gateway-draining' : reason,
    verdict.action,
    'upgrade',
    code,
    `the upgrade was answered with HTTP ${status}${said}`,
    {
      ...extra,
      ...(verdict.remedy !== undefined && { remedy: verdict.remedy }),
    },
  );
}

/** `details.reason`, then `details.code`, then the outer code. Details are untrusted: every look is guarded. */
function classifyRefused(error: GatewayWord, another: boolean): Failure {
  const details = isRecord(error.details) ? error.details : {};
  const detailCode = typeof details['code'] === 'string' ? details['code'] : undefined;
  const detailReason = typeof details['reason'] === 'string' ? details['reason'] : undefined;
  const retryAfter = validHint(error.retryAfterMs);
  const common = { gateway: error, ...(retryAfter !== undefined && { retryAfter }) };
  const found = refusalVerdict(error, details, detailCode, detailReason);
  // With another credential at hand, nobody has to be waited for.
  const verdict: Verdict = another && found.action === 'fresh' ? { reason: found.reason, action: 'soon' } : found;
  const code = detailCode ?? detailReason ?? (verdict.reason === 'protocol' ? 'PROTOCOL_MISMATCH' : error.code);
  const message = `the gateway refused connect: ${error.message}`;
  if (verdict.reason === 'pairing-required') return pairing(verdict, code, message, details, common);
  return make(verdict.reason, verdict.action, 'hello', code, message, {
    ...common,
    ...(verdict.remedy !== undefined && { remedy: verdict.remedy }),
    ...(verdict.action !== 'soon' && { awaiting: verdict.remedy ?? REMEDIES[verdict.reason] }),
    // A nonce or time refused once is worth a new challenge; three in a row are a fault of ours.
    ...(verdict.action === 'soon' && verdict.reason === 'unauthorized' && !another && { strike: true }),
  });
}

function refusalVerdict(
  error: GatewayWord,
  details: Readonly<Record<string, unknown>>,
  detailCode: string | undefined,
  detailReason: string | undefined,
): Verdict {
  const byReason = detailReason === undefined ? undefined : DETAIL_REASONS.get(detailReason);
  if (byReason !== undefined) return byReason;
  const byCode = detailCode === undefined ? undefined : CONNECT_DETAIL_CODES.get(detailCode);
  if (byCode !== undefined) return byCode;
  // 2026.4.x and 2026.5.x say a protocol mismatch by this number alone.
  if (typeof details['expectedProtocol'] === 'number') return { reason: 'protocol', action: 'human' };
  // A code of a later gateway: credentials by its family name; its own `retryable` is obeyed.
  if (detailCode !== undefined && /^(AUTH|DEVICE)_/.test(detailCode)) {
    return { reason: 'unauthorized', action: error.retryable === true ? 'soon' : 'fresh' };
  }
  const outer = CONNECT_CODES.get(error.code);
  if (outer !== undefined) return outer;
  return {
    reason: error.retryable === true ? 'outage' : 'protocol',
    action: error.retryable === true ? 'soon' : 'human',
  };
}

function pairing(
  verdict: Verdict,
  code: string,
  message: string,
  details: Readonly<Record<string, unknown>>,
  common: Partial<Failure>,
): Failure {
  // An approval under way (a proxy of the gateway's owner, a setup code) is worth seconds, not minutes.
  const underWay = details['pauseReconnect'] === false || details['recommendedNextStep'] === 'wait_then_retry';
  // It ends up in a command that people paste into a shell.
  const given = details['requestId'];
  const requestId = typeof given === 'string' && /^[\w-]{1,80}$/.test(given) ? given : '<requestId>';
  const awaiting = `approval of this device on the gateway host: openclaw devices approve ${requestId}`;
  return make('pairing-required', underWay ? 'soon' : verdict.action, 'hello', code, message, {
    ...common,
    awaiting,
    remedy: `Run on the gateway host: openclaw devices approve ${requestId}`,
  });
}

/** A close before the hello that no error frame explained. */
function classifyClosedEarly(evidence: Extract<Evidence, { kind: 'closed' }>, known: Knowledge): Failure {
  const { code, reason, phase } = evidence;
  const extra = { closeCode: code, closeReason: reason };
  const text = `the socket closed in phase ${phase} with ${code}${reason === '' ? '' : ` "${reason}"`}`;
  const name = `CLOSE_${code}`;
  if (code === 1013) {
    // The refusal before it names the state; without it only the text tells starting from draining.
    const starting = !/restart|suspension/.test(reason);
    return make(starting ? 'gateway-starting' : 'gateway-draining', 'soon', phase, name, text, extra);
  }
  if (code === 1002) return make('protocol', 'soon', phase, name, text, { ...extra, strike: true });
  // A gateway that refuses credentials without an error frame leaves only the text.
  if (code === 1008 && /^(unauthorized|device|pairing)/.test(reason))
    return make('unauthorized', 'fresh', phase, name, text, extra);
  if (code === 1008) return make('protocol', 'soon', phase, name, text, { ...extra, strike: true });
  return make(inRestart('outage', known), 'soon', phase, name, text, extra);
}

/** The end of a link that had its hello. Restart and stop are the tracker's word, told through `known`. */
function classifyLostLink(evidence: Extract<Evidence, { kind: 'closed' }>, known: Knowledge): Failure {
  const { code, reason } = evidence;
  const verdict = CLOSE_CODES.get(code) ?? { reason: 'outage', action: 'soon' };
  const about: Reason = verdict.reason === 'outage' ? inRestart('outage', known) : verdict.reason;
  return make(
    about,
    verdict.action,
    'online',
    `CLOSE_${code}`,
    `the link closed with ${code}${reason === '' ? '' : ` "${reason}"`}`,
    {
      closeCode: code,
      closeReason: reason,
      ...(verdict.reason === 'protocol' && { strike: true }),
    },
  );
}

/** Does a close frame announce a restart or a stop of the gateway? */
export function isRestartClose(code: number, reason: string): boolean {
  return code === 1012 && reason === RESTART_CLOSE_REASON;
}

/** Exit code of a failure that ended the client: 76, 77 and 78 only where a human is needed. */
export function exitCodeOf(failure: Pick<Failure, 'reason' | 'action'>): number {
  if (failure.reason === 'pairing-required') return EXIT.unauthorized;
  if (failure.action === 'soon') return EXIT.gaveUp;
  switch (failure.reason) {
    case 'unauthorized':
      return EXIT.unauthorized;
    case 'protocol':
      return EXIT.protocol;
    case 'local':
      return EXIT.config;
    default:
      return EXIT.gaveUp;
  }
}

/** A hint of the gateway is a finite, non-negative whole number of ms; anything else is no hint. */
export function validHint(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function make(
  reason: Reason,
  action: Action,
  phase: Phase,
  code: string,
  message: string,
  extra: Partial<Failure> = {},
): Failure {
  return { reason, action, phase, code, message, remedy: REMEDIES[reason], ...extra };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Foreign text on its way to a log line or an error: one line, no control characters, bounded. */
export function printable(text: string, limit = 512): string {
  const clean = text.slice(0, limit * 2).replace(/[\p{Cc}\u2028\u2029]+/gu, ' ');
  return clean.length > limit ? `${clean.slice(0, limit - 1)}…` : clean;
}
