import type { CallPreset, ErrorFields, RejectPreset } from './faults.js';

/** An error as it stands in a response frame. */
export interface ErrorShape {
  code: string;
  message: string;
  details?: unknown;
  retryable?: boolean;
  retryAfterMs?: unknown;
}

/** Thrown by a method to answer with an error. Any other exception is answered as UNAVAILABLE with its text. */
export class RpcError extends Error {
  readonly shape: ErrorShape;
  /** Whether the call had its effect all the same. */
  readonly executed: boolean;

  constructor(shape: ErrorShape, executed: boolean = false) {
    super(shape.message);
    this.shape = shape;
    this.executed = executed;
  }
}

export function invalid(message: string, details?: unknown): ErrorShape {
  return { code: 'INVALID_REQUEST', message, ...(details === undefined ? {} : { details }) };
}

export function unavailable(message: string, retryAfterMs?: number, details?: unknown): ErrorShape {
  return {
    code: 'UNAVAILABLE',
    message,
    ...(retryAfterMs === undefined ? {} : { retryable: true, retryAfterMs }),
    ...(details === undefined ? {} : { details }),
  };
}

/** A refused connect: the error frame, if one is sent, and the close that follows it. */
export interface Refusal {
  readonly error?: ErrorShape;
  /** null leaves the socket open. */
  readonly closeCode: number | null;
  readonly closeReason: string;
}

export function refusal(error: ErrorShape, closeCode = 1008, closeReason: string = error.message): Refusal {
  return { error, closeCode, closeReason };
}

/** What the gateway says of a credential; the texts are the real ones where they were recorded. */
export function authRefusal(code: string, reason: string, text: string, nextStep: string, canRetry = false): Refusal {
  return refusal(
    invalid(`unauthorized: ${text}`, {
      code,
      authReason: reason,
      canRetryWithDeviceToken: canRetry,
      recommendedNextStep: nextStep,
    }),
  );
}

export const STARTING: Refusal = refusal(
  unavailable('gateway starting; retry shortly', 500, { reason: 'startup-sidecars' }),
  1013,
  'gateway starting',
);

export function tokenMismatch(canRetryWithDeviceToken: boolean): Refusal {
  return authRefusal(
    'AUTH_TOKEN_MISMATCH',
    'token_mismatch',
    'gateway token mismatch (provide gateway auth token)',
    canRetryWithDeviceToken ? 'retry_with_device_token' : 'update_auth_credentials',
    canRetryWithDeviceToken,
  );
}

export function rateLimited(retryAfterMs: number): Refusal {
  const refused = authRefusal(
    'AUTH_RATE_LIMITED',
    'rate_limited',
    'too many failed authentication attempts (retry later)',
    'wait_then_retry',
  );
  return refusal({ ...(refused.error ?? invalid('')), retryable: true, retryAfterMs });
}

export function gateRefusal(reason: 'gateway-restarting' | 'gateway-suspending'): Refusal {
  const what = reason === 'gateway-restarting' ? 'restart' : 'suspension';
  return refusal(gateError('connect', reason), 1013, `gateway ${what} in progress`);
}

/** What every call gets while the gate is shut. */
export function gateError(method: string, reason: 'gateway-restarting' | 'gateway-suspending'): ErrorShape {
  const what = reason === 'gateway-restarting' ? 'restart' : 'suspension';
  return unavailable(`${method} unavailable during gateway ${what}`, 1000, { method, reason, phase: 'accepting' });
}

const PAIRING_TEXTS: Readonly<Record<string, readonly [requirement: string, hint: string]>> = {
  'not-paired': ['device is not approved yet', 'Approve this device from the pending pairing requests.'],
  'role-upgrade': [
    'device is asking for a higher role than currently approved',
    'Review the requested role upgrade, then approve the pending request.',
  ],
  'scope-upgrade': [
    'device is asking for more scopes than currently approved',
    'Review the requested scopes, then approve the pending upgrade.',
  ],
  'metadata-upgrade': [
    'device identity changed and must be re-approved',
    'Review the refreshed device details, then approve the pending request.',
  ],
};

export interface PairingFacts {
  readonly reason: string;
  readonly requestId: string;
  readonly deviceId?: string;
  readonly role?: string;
  readonly scopes?: readonly string[];
  readonly approvedRoles?: readonly string[];
  /** Approval is under way: the client is told to wait and retry. */
  readonly wait?: boolean;
}

export function pairingRefusal(facts: PairingFacts): Refusal {
  const [requirement, remediationHint] = PAIRING_TEXTS[facts.reason] ?? ['device approval is required', ''];
  const message = `pairing required: ${requirement}`;
  const details = {
    code: 'PAIRING_REQUIRED',
    reason: facts.reason,
    requestId: facts.requestId,
    remediationHint,
    ...(facts.wait ? { recommendedNextStep: 'wait_then_retry', retryable: true, pauseReconnect: false } : {}),
    ...(facts.deviceId === undefined ? {} : { deviceId: facts.deviceId }),
    requestedRole: facts.role ?? 'node',
    ...(facts.scopes === undefined ? {} : { requestedScopes: facts.scopes }),
    ...(facts.approvedRoles === undefined ? {} : { approvedRoles: facts.approvedRoles }),
  };
  return refusal({ code: 'NOT_PAIRED', message, details }, 1008, `${message} (requestId: ${facts.requestId})`);
}

export function deviceIdentityRequired(): Refusal {
  return refusal({
    code: 'NOT_PAIRED',
    message: 'device identity required',
    details: { code: 'DEVICE_IDENTITY_REQUIRED' },
  });
}

export function deviceRefusal(code: string, reason: string, message: string): Refusal {
  return refusal(invalid(message, { code, reason }));
}

export function protocolMismatch(min: number, max: number, expected: number, withCode: boolean): Refusal {
  const details = withCode
    ? {
        code: 'PROTOCOL_MISMATCH',
        clientMinProtocol: min,
        clientMaxProtocol: max,
        expectedProtocol: expected,
        minimumProbeProtocol: 3,
      }
    : { expectedProtocol: expected };
  return refusal(invalid('protocol mismatch', details), 1002);
}

const REQUEST_ID = '6d1f3c0e-4f55-4f0e-9c6b-0d9b8f6b2a11';

/** Ready-made refusals for the fault `reject-connect`. */
export const REJECTIONS: Readonly<Record<RejectPreset, Refusal>> = {
  'token-mismatch': tokenMismatch(false),
  'token-missing': authRefusal(
    'AUTH_TOKEN_MISSING',
    'token_missing',
    'gateway token missing (provide gateway auth token)',
    'update_auth_configuration',
  ),
  'rate-limited': rateLimited(2000),
  'device-token-mismatch': deviceTokenMismatch(),
  'bootstrap-invalid': bootstrapInvalid(),
  'pairing-required': pairingRefusal({ reason: 'not-paired', requestId: REQUEST_ID }),
  'pairing-wait': pairingRefusal({ reason: 'not-paired', requestId: REQUEST_ID, wait: true }),
  'scope-upgrade': pairingRefusal({ reason: 'scope-upgrade', requestId: REQUEST_ID }),
  'metadata-upgrade': pairingRefusal({ reason: 'metadata-upgrade', requestId: REQUEST_ID }),
  'device-identity': deviceIdentityRequired(),
  'signature-expired': deviceRefusal(
    'DEVICE_AUTH_SIGNATURE_EXPIRED',
    'device-signature-stale',
    'device signature expired',
  ),
  'protocol-mismatch': protocolMismatch(3, 4, 5, true),
  'unknown-field': refusal(invalid("invalid connect params: at root: unexpected property 'foo'")),
  'startup-sidecars': STARTING,
  restarting: gateRefusal('gateway-restarting'),
  suspending: gateRefusal('gateway-suspending'),
  'future-code': authRefusal('AUTH_FUTURE_X', 'future', 'something new', 'review_auth_configuration'),
  'close-1000': { closeCode: 1000, closeReason: '' },
  'close-1008': { closeCode: 1008, closeReason: 'unauthorized: gateway token mismatch (provide gateway auth token)' },
};

export function deviceTokenMismatch(): Refusal {
  return authRefusal(
    'AUTH_DEVICE_TOKEN_MISMATCH',
    'device_token_mismatch',
    'device token mismatch (rotate/reissue device token)',
    'update_auth_credentials',
  );
}

export function bootstrapInvalid(): Refusal {
  return authRefusal(
    'AUTH_BOOTSTRAP_TOKEN_INVALID',
    'bootstrap_token_invalid',
    'bootstrap token invalid or expired (scan a fresh setup code)',
    'review_auth_configuration',
  );
}

/** Ready-made errors for the fault `reject-call`. */
export function callError(preset: CallPreset, method: string): ErrorShape {
  switch (preset) {
    case 'busy':
      return { ...unavailable('The server is busy. Please try again in a moment.'), retryable: true };
    case 'rate-limited':
      return unavailable(`rate limit exceeded for ${method}; retry after 60s`, 60_000, { method, limit: '30 per 60s' });
    case 'restarting':
      return gateError(method, 'gateway-restarting');
    case 'suspending':
      return gateError(method, 'gateway-suspending');
    case 'starting':
      return unavailable(`${method} unavailable during gateway startup`, 500, { reason: 'startup-sidecars', method });
    case 'not-started':
      return { ...unavailable('profile binding changed', undefined, { execution: 'not_started' }), retryable: true };
    case 'may-have-executed':
      return unavailable('the outcome is not known', undefined, { execution: 'may_have_executed' });
    case 'entry-closed':
      return unavailable('Error: Gateway request entry is closed');
    case 'handler-error':
      return unavailable('Error: ENOSPC: no space left on device, write');
  }
}

/** The fields a fault sets replace those of the ready-made error. */
export function override(error: ErrorShape, fields: ErrorFields): ErrorShape {
  return {
    code: fields.code ?? error.code,
    message: fields.message ?? error.message,
    ...pick('details', fields.details, error.details),
    ...pick('retryable', fields.retryable, error.retryable),
    ...pick('retryAfterMs', fields.retryAfterMs, error.retryAfterMs),
  };
}

function pick<K extends string, T>(key: K, first: T | undefined, second: T | undefined): { [P in K]?: T } {
  const value = first === undefined ? second : first;
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: T });
}

/** The most telling word of an error: `details.reason`, else `details.code`, else `code`. */
export function errorWord(error: ErrorShape): string {
  const { details } = error;
  if (typeof details === 'object' && details !== null) {
    if ('reason' in details && typeof details.reason === 'string' && !('code' in details)) return details.reason;
    if ('code' in details && typeof details.code === 'string') return details.code;
  }
  return error.code;
}
