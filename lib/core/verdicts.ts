/**
 * Tables only: what a refusal, a close code or a status proves. The deciding code is in `failure.ts`.
 *
 * Source of every row: the gateway's behaviour as measured or read in its shipped code, 2026.4.15 to 2026.9.6
 * (connect errors, close codes, refused upgrades).
 */
import type { Action, Reason } from './vocabulary.js';

export interface Verdict {
  readonly reason: Reason;
  readonly action: Action;
  /** What the operator does; replaces the general remedy of the reason. */
  readonly remedy?: string;
}

const soon = (reason: Reason): Verdict => ({ reason, action: 'soon' });
const fresh = (reason: Reason, remedy?: string): Verdict => ({ reason, action: 'fresh', ...(remedy && { remedy }) });
const human = (reason: Reason, remedy?: string): Verdict => ({ reason, action: 'human', ...(remedy && { remedy }) });

/** A refused `connect`, by `error.details.code`. The most specific word the gateway has. */
export const CONNECT_DETAIL_CODES: ReadonlyMap<string, Verdict> = new Map([
  ['AUTH_TOKEN_MISMATCH', fresh('unauthorized')],
  ['AUTH_TOKEN_MISSING', fresh('unauthorized', 'The gateway asks for a token and got none: set `token`.')],
  ['AUTH_PASSWORD_MISSING', fresh('unauthorized', 'The gateway asks for a password and got none: set `password`.')],
  ['AUTH_PASSWORD_MISMATCH', fresh('unauthorized')],
  ['AUTH_TOKEN_NOT_CONFIGURED', human('unauthorized', 'The gateway has no token: set `gateway.auth.token` there.')],
  ['AUTH_PASSWORD_NOT_CONFIGURED', human('unauthorized', 'The gateway has no password: set it there.')],
  ['AUTH_DEVICE_TOKEN_MISMATCH', fresh('unauthorized')],
  [
    'AUTH_BOOTSTRAP_TOKEN_INVALID',
    fresh('unauthorized', 'The setup code is used, expired or revoked: make a new one.'),
  ],
  ['AUTH_SCOPE_MISMATCH', human('unauthorized', 'The device token does not cover the role or scopes asked for.')],
  ['AUTH_RATE_LIMITED', soon('rate-limited')],
  ['AUTH_REQUIRED', fresh('unauthorized')],
  ['AUTH_UNAUTHORIZED', fresh('unauthorized')],
  [
    'AUTH_IDENTITY_HEADER_REQUIRED',
    human('unauthorized', 'The gateway trusts a proxy for identity: connect through it.'),
  ],
  ['AUTH_VERIFIED_USER_REQUIRED', human('unauthorized')],
  ['AUTHENTICATED_PROFILE_UNAVAILABLE', soon('outage')],
  ['PAIRING_REQUIRED', human('pairing-required')],
  [
    'DEVICE_IDENTITY_REQUIRED',
    human('unauthorized', 'This gateway wants a device identity for this role: set `device`.'),
  ],
  ['DEVICE_AUTH_SIGNATURE_EXPIRED', soon('unauthorized')],
  ['DEVICE_AUTH_NONCE_REQUIRED', soon('unauthorized')],
  ['DEVICE_AUTH_NONCE_MISMATCH', soon('unauthorized')],
  ['DEVICE_AUTH_SIGNATURE_INVALID', human('unauthorized')],
  ['DEVICE_AUTH_DEVICE_ID_MISMATCH', human('unauthorized')],
  ['DEVICE_AUTH_PUBLIC_KEY_INVALID', human('unauthorized')],
  ['DEVICE_AUTH_INVALID', human('unauthorized')],
  ['PROTOCOL_MISMATCH', human('protocol')],
  ['CLIENT_VERSION_MISMATCH', human('protocol', 'The gateway wants a newer client: upgrade holdfast or the node.')],
]);

/** A refused `connect` or request, by `error.details.reason`. */
export const DETAIL_REASONS: ReadonlyMap<string, Verdict> = new Map([
  ['startup-sidecars', soon('gateway-starting')],
  // Says "going down", not why: a gateway that is stopped for good says the same until its `shutdown` event.
  ['gateway-restarting', soon('gateway-draining')],
  ['gateway-suspending', soon('gateway-draining')],
]);

/** A refused `connect`, by the outer `error.code`, when the details say nothing. */
export const CONNECT_CODES: ReadonlyMap<string, Verdict> = new Map([
  ['UNAVAILABLE', soon('outage')],
  // "node pairing changed during connect" and its kin carry no details and pass by themselves.
  ['NOT_PAIRED', soon('pairing-required')],
  ['FORBIDDEN', human('unauthorized')],
  ['INVALID_REQUEST', human('protocol', 'The gateway refused the connect request itself: see its message.')],
]);

/** A close frame on a link that had its hello, by code, when nothing else explains it. */
export const CLOSE_CODES: ReadonlyMap<number, Verdict> = new Map([
  [1000, soon('outage')],
  [1001, soon('outage')],
  [1002, soon('protocol')],
  [1003, soon('protocol')],
  [1005, soon('outage')],
  [1006, soon('outage')],
  [1007, soon('protocol')],
  // "slow consumer", "repeated unauthorized calls": misuse or load, not a refused credential.
  [1008, soon('outage')],
  // About one frame, not about the link: the frame is not sent again.
  [1009, soon('outage')],
  [1010, soon('protocol')],
  [1011, soon('outage')],
  // "service restart" is decided by the restart tracker; any other text is no restart.
  [1012, soon('outage')],
  [1013, soon('gateway-starting')],
  [1014, soon('outage')],
  // "gateway auth changed", "device removed": this link's authority ended; read the credentials again.
  [4001, soon('unauthorized')],
]);

/** An upgrade answered with a status instead of 101. */
export const UPGRADE_STATUSES: ReadonlyMap<number, Verdict> = new Map([
  [401, fresh('unauthorized')],
  [
    403,
    fresh('unauthorized', 'Refused before the handshake: a proxy in between may have to be configured as trusted.'),
  ],
  [404, human('protocol', 'Nothing serves WebSocket at this path: is this the port of the gateway?')],
  [429, soon('rate-limited')],
  [502, soon('outage')],
  [503, soon('outage')],
  [504, soon('outage')],
]);

/** Close reasons of 1012 that mean a restart or a stop. Every other text of 1012 asks for a new link, no more. */
export const RESTART_CLOSE_REASON = 'service restart';

/** Certificate errors of Node's TLS (`node:tls`, OpenSSL verify codes): the peer is not whom we were told to trust. */
export const TLS_TRUST_CODES: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'HOLDFAST_TLS_PIN',
]);

/** Errors of our own host: the dial did not fail for anything the gateway or the network did. */
export const LOCAL_RESOURCE_CODES: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'EADDRNOTAVAIL',
  'ENOBUFS',
  'ENOMEM',
]);

/** What to do first, by reason. A wrong remedy is worse than none, so these promise little. */
export const REMEDIES: Readonly<Record<Reason, string>> = {
  'gateway-restart': 'Nothing: the gateway is restarting itself, and the client comes back with it.',
  'gateway-stopped': 'Start the gateway; it was stopped on purpose. The client goes on trying.',
  'gateway-starting': 'Nothing: the gateway is starting. If it lasts, read the log of the gateway.',
  'gateway-draining': 'Nothing for some minutes. A gateway that drains for longer than six needs a restart.',
  outage: 'Check that the gateway runs and that host and port are right.',
  unresponsive: 'The gateway accepts connections and does not answer: restart the gateway, not this process.',
  unauthorized: 'Put the right credential in place; it is read again before every attempt, no restart is needed.',
  'pairing-required':
    'Approve this device on the gateway host: openclaw devices list, then openclaw devices approve <id>.',
  'rate-limited': 'Wait: the gateway says for how long, and the client obeys it.',
  protocol: 'Check that this port is an OpenClaw gateway, and that its version speaks protocol 3 or 4.',
  rejected: 'Correct the request: the gateway understood it and refused it.',
  timeout: 'The answer did not come in time: see the outcome before the call is repeated.',
  local: 'The cause is on this side: see the message.',
};
