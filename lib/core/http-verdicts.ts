/**
 * HTTP on the port of the gateway: what an answer or an error of `fetch` says about one attempt.
 *
 * `null` means an ordinary answer, handed to the caller unchanged and never repeated. The gateway also reports failures
 * of a *model provider* as 401, 429, 502, 503 and 504, after a run was made; they carry `error.type` in the words of
 * the OpenAI API (`authentication_error`, `rate_limit_error`, `api_error`: 9.6 code) and are ordinary answers. Only the
 * gateway's own types prove that nothing ran.
 *
 * Errors are judged by code and syscall, never by message: the same ECONNRESET means "never sent" while connecting and
 * "unknown" afterwards (measured on Node 20, 24 and 26).
 */
import type { AttemptFailure } from './call-verdicts.js';
import { type Knowledge, printable } from './failure.js';
import { LIMITS } from './policy.js';
import { LOCAL_RESOURCE_CODES, REMEDIES, TLS_TRUST_CODES } from './verdicts.js';
import type { CallOutcome, Reason, Safety } from './vocabulary.js';

export interface HttpAnswer {
  readonly status: number;
  /** From `Retry-After`: see `retryAfterOf`. */
  readonly retryAfterMs?: number;
  /** `error.type` and `error.code` of a JSON body. */
  readonly errorType?: string;
  readonly errorCode?: string;
  readonly contentType?: string;
  /** The beginning of a body that is not JSON. */
  readonly text?: string;
  /** The caller asked for HTML by name, so HTML is no surprise. */
  readonly wantsHtml?: boolean;
}

/** Statuses that the body decides; every other answer can be judged, and handed on, without reading it. */
const BODY_DECIDES: ReadonlySet<number> = new Set([401, 429, 502, 503, 504]);

export function bodyDecides(status: number): boolean {
  return BODY_DECIDES.has(status);
}

export function classifyHttpResponse(answer: HttpAnswer, known: Knowledge): AttemptFailure | null {
  switch (answer.status) {
    case 401:
      return answer.errorType === 'unauthorized' ? verdict(answer, 'unauthorized', 'not-executed') : null;
    case 408:
      // The server gave up on a request that arrived slowly; a proxy says it of an answer too.
      return verdict(answer, 'timeout', 'unknown');
    case 425:
      // RFC 8470: refused before processing, to be sent again without early data.
      return { ...verdict(answer, within('outage', known), 'not-executed'), invited: true };
    case 429:
      return tooMany(answer);
    case 500:
      // 2026.4.26 answers so while it drains, and nothing in the body says it (trace); else it is the gateway's answer.
      return isGoingDown(known) ? verdict(answer, within('outage', known), 'unknown') : null;
    case 502:
    case 504:
      return isOfProvider(answer) ? null : verdict(answer, within('outage', known), 'unknown');
    case 503:
      return unavailable(answer, known);
    default:
      return isCatchAll(answer) ? catchAll(answer) : null;
  }
}

/** The gateway's lockout (`rate_limited`), or a proxy that names no type: refused before anything ran. */
function tooMany(answer: HttpAnswer): AttemptFailure | null {
  if (answer.errorType !== undefined && answer.errorType !== 'rate_limited') return null;
  return {
    ...verdict(answer, 'rate-limited', 'not-executed'),
    retryAfter: answer.retryAfterMs ?? LIMITS.rateLimitFloor,
  };
}

function unavailable(answer: HttpAnswer, known: Knowledge): AttemptFailure | null {
  // Drain or suspension, the gate in front of every work route (9.6 measured).
  if (answer.errorCode === 'gateway_unavailable')
    return verdict(answer, within('gateway-draining', known), 'not-executed');
  // Plugin routes while the gateway starts; a text body is all there is (9.6 measured).
  if (answer.errorType === undefined && answer.text?.startsWith('Plugin runtime is starting') === true) {
    return verdict(answer, 'gateway-starting', 'not-executed');
  }
  if (isOfProvider(answer)) return null;
  // Old gateways in the moment of closing, or a proxy whose upstream is gone: the text does not say what ran.
  return verdict(answer, within('outage', known), 'unknown');
}

function isOfProvider(answer: HttpAnswer): boolean {
  return answer.errorType !== undefined && answer.errorType !== 'service_unavailable';
}

/** GET on a path that the gateway does not know answers 200 with the page of its user interface (all versions). */
function isCatchAll(answer: HttpAnswer): boolean {
  return answer.status === 200 && answer.wantsHtml !== true && /^\s*text\/html\b/i.test(answer.contentType ?? '');
}

function catchAll(answer: HttpAnswer): AttemptFailure {
  return {
    ...verdict(answer, 'protocol', 'unknown'),
    message: 'HTTP 200 with a web page instead of an answer',
    remedy: 'Check the path and whether its endpoint is enabled: the gateway answers unknown paths with its web page.',
    permanent: true,
  };
}

function verdict(answer: HttpAnswer, reason: Reason, outcome: CallOutcome): AttemptFailure {
  const what = answer.errorCode ?? answer.errorType ?? answer.text ?? '';
  return {
    reason,
    outcome,
    code: `HTTP_${answer.status}`,
    message: `HTTP ${answer.status}${what === '' ? '' : `: ${printable(what, 120)}`}`,
    remedy: REMEDIES[reason],
    permanent: false,
    httpStatus: answer.status,
    ...(answer.retryAfterMs !== undefined && { retryAfter: answer.retryAfterMs }),
  };
}

export interface FetchFailure {
  /** Of the innermost cause that has one. */
  readonly code?: string;
  readonly syscall?: string;
  readonly name: string;
  /** Which of our own signals fired: asked of them, not guessed from the name. */
  readonly aborted?: 'caller' | 'timeout' | 'stall';
  /** A response had begun. After a redirect that was followed: true as well, since an earlier hop had the request. */
  readonly headersSeen: boolean;
  /** Absent when nobody could tell. */
  readonly bytesHandedOver?: boolean;
}

interface FetchVerdict {
  readonly reason: Reason;
  /** No byte of the request can have left. */
  readonly unsent?: true;
  readonly permanent?: true;
}

/** By code, when no syscall tells that the connection was never made. Everything absent here is `outage`, unknown. */
const FETCH_CODES: ReadonlyMap<string, FetchVerdict> = new Map<string, FetchVerdict>([
  // undici's own limit on TCP and TLS.
  ['UND_ERR_CONNECT_TIMEOUT', { reason: 'unresponsive', unsent: true }],
  // The arguments were refused before anything was dialled.
  ['UND_ERR_INVALID_ARG', { reason: 'local', unsent: true, permanent: true }],
  ['ERR_INVALID_URL', { reason: 'local', unsent: true, permanent: true }],
  ['ERR_INVALID_ARG_TYPE', { reason: 'local', unsent: true, permanent: true }],
  // A body that is shorter or longer than it said: found while writing.
  ['UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', { reason: 'local', permanent: true }],
  // The handshake of TLS, before any byte of HTTP (measured: plaintext peer, Node 20 and 24; the others by their nature).
  ['ERR_SSL_WRONG_VERSION_NUMBER', { reason: 'protocol', unsent: true }],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', { reason: 'protocol', unsent: true }],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', { reason: 'protocol', unsent: true }],
  ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', { reason: 'protocol', unsent: true }],
  // The request had left, in whole or in part (measured).
  ['UND_ERR_HEADERS_TIMEOUT', { reason: 'timeout' }],
  ['UND_ERR_BODY_TIMEOUT', { reason: 'timeout' }],
  ['UND_ERR_HEADERS_OVERFLOW', { reason: 'protocol', permanent: true }],
  ['UND_ERR_RESPONSE_EXCEEDED_MAX_SIZE', { reason: 'protocol', permanent: true }],
]);

/** Calls that end before a connection exists, whatever their code: `connect ECONNRESET` is as unsent as ECONNREFUSED. */
const BEFORE_CONNECTION: ReadonlySet<string> = new Set(['connect', 'getaddrinfo', 'bind']);

export function classifyFetchError(failure: FetchFailure, known: Knowledge): AttemptFailure {
  const found = fetchVerdict(failure);
  const unsent = !failure.headersSeen && (failure.bytesHandedOver === false || found.unsent === true);
  const reason = within(found.reason, known);
  const code = failure.aborted === undefined ? (failure.code ?? failure.name) : ABORT_CODES[failure.aborted];
  return {
    reason,
    outcome: unsent ? 'not-sent' : 'unknown',
    code: printable(code, 80),
    message: `the request failed with ${printable(code, 80)}${failure.headersSeen ? ' after the response had begun' : ''}`,
    remedy: failure.aborted === 'caller' ? 'Nothing: the caller aborted it.' : REMEDIES[reason],
    permanent: found.permanent ?? false,
  };
}

const ABORT_CODES = { caller: 'ABORTED', timeout: 'CALL_TIMEOUT', stall: 'BODY_STALLED' } as const;

function fetchVerdict(failure: FetchFailure): FetchVerdict {
  const { code = '', syscall = '' } = failure;
  if (failure.aborted === 'caller') return { reason: 'local', permanent: true };
  if (failure.aborted !== undefined) return { reason: 'timeout' };
  // Verification fails before `secureConnect`, so before the request is written.
  if (TLS_TRUST_CODES.has(code)) return { reason: 'local', unsent: true, permanent: true };
  const unsent = BEFORE_CONNECTION.has(syscall);
  if (LOCAL_RESOURCE_CODES.has(code)) return { reason: 'local', ...(unsent && { unsent }) };
  if (unsent) return { reason: 'outage', unsent };
  if (code.startsWith('HPE_')) return { reason: 'protocol' };
  // UND_ERR_SOCKET, ECONNRESET, EPIPE and whatever is unknown: the bytes may have arrived.
  return FETCH_CODES.get(code) ?? { reason: 'outage' };
}

function isGoingDown(known: Knowledge): boolean {
  return known.restarting || known.draining || known.stopped;
}

/** What the link knows of the gateway explains a plain network failure. */
function within(reason: Reason, known: Knowledge): Reason {
  if (reason !== 'outage' && reason !== 'unresponsive' && reason !== 'gateway-draining') return reason;
  if (known.stopped) return 'gateway-stopped';
  if (known.restarting) return 'gateway-restart';
  return known.draining ? 'gateway-draining' : reason;
}

/**
 * `Retry-After` in ms: whole seconds, or a date, of which a past one is now. Garbage is no hint.
 * `wallNow` is wall-clock ms, since the date is.
 */
export function retryAfterOf(header: string | null, wallNow: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // Only the three date forms of RFC 9110, all of which begin with a day: Date.parse also takes "-5" and "1.5".
  if (!/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - wallNow);
}

/** Without a word of the caller: RFC 9110 §9.2.2, read by the words of holdfast. */
export function httpSafetyOf(method: string): Safety {
  switch (method.toUpperCase()) {
    case 'GET':
    case 'HEAD':
    case 'OPTIONS':
    case 'TRACE':
      return 'read';
    case 'PUT':
    case 'DELETE':
      return 'repeatable';
    default:
      return 'once';
  }
}
