import { connectParams } from './connect-schema.js';
import { deviceObjection, lower } from './devices.js';
import {
  authRefusal,
  bootstrapInvalid,
  deviceIdentityRequired,
  deviceTokenMismatch,
  gateRefusal,
  invalid,
  override,
  pairingRefusal,
  protocolMismatch,
  REJECTIONS,
  type Refusal,
  rateLimited,
  refusal,
  STARTING,
  tokenMismatch,
} from './errors.js';
import type { FaultOf } from './faults.js';
import type { Identity } from './hello.js';
import type { Host } from './host.js';
import { complaint, isRecord, numberAt, stringAt, stringsAt } from './validate.js';

/** What the gateway makes of a `connect`: it may take its time to refuse. */
export type Verdict =
  | { readonly ok: true; readonly identity: Identity }
  | { readonly ok: false; readonly refusal: Refusal; readonly delayMs: number };

interface Attempt {
  readonly params: Record<string, unknown>;
  readonly client: unknown;
  readonly auth: unknown;
  readonly device: unknown;
  readonly role: string;
  readonly mode: string;
  readonly nonce: string;
  readonly address: string;
}

/** Judges `connect.params` in the order of the real gateway. */
export function judgeConnect(host: Host, params: unknown, nonce: string, address: string): Verdict {
  const wrong = complaint(connectParams(host.profile.protocol), params, host.profile.unknownKeys);
  if (wrong !== undefined || !isRecord(params)) {
    return refused(refusal(invalid(`invalid connect params: ${wrong ?? 'at root: must be object'}`)));
  }
  const attempt: Attempt = {
    params,
    client: params['client'],
    auth: params['auth'],
    device: params['device'],
    role: stringAt(params, 'role') ?? 'operator',
    mode: stringAt(params['client'], 'mode') ?? '',
    nonce,
    address,
  };
  const early = gateObjection(host, attempt) ?? protocolObjection(host, attempt) ?? roleObjection(attempt);
  if (early !== undefined) return refused(early);
  if (attempt.device !== undefined) {
    const objection = deviceObjection(params, attempt.device, nonce);
    if (objection !== undefined) return refused(objection);
  } else if (attempt.role === 'node') return refused(deviceIdentityRequired());
  return judgeCredentials(host, attempt);
}

/** The refusal that the fault `reject-connect` asks for. */
export function injectedRefusal(fault: FaultOf<'reject-connect'>): Refusal {
  const preset = REJECTIONS[fault.preset ?? 'token-mismatch'];
  const error = preset.error === undefined ? undefined : override(preset.error, fault);
  const changed = fault.message !== undefined && fault.closeReason === undefined;
  return {
    ...(error === undefined || fault.answer === false ? {} : { error }),
    closeCode: fault.closeCode === undefined ? preset.closeCode : fault.closeCode,
    closeReason: fault.closeReason ?? (changed ? (fault.message ?? '') : preset.closeReason),
  };
}

function refused(why: Refusal, delayMs = 0): Verdict {
  return { ok: false, refusal: why, delayMs };
}

function gateObjection(host: Host, attempt: Attempt): Refusal | undefined {
  if (host.state === 'starting' && host.profile.startingGate) {
    const id = stringAt(attempt.device, 'id') ?? '';
    const approvedNode =
      attempt.role === 'node' && attempt.mode === 'node' && host.devices.knows(id) && host.nodes.isApproved(id);
    if (!approvedNode) return STARTING;
  }
  if (host.gate === 'gateway-restarting' && host.faults.get('stuck-drain')?.upgrades !== 'accept') {
    return gateRefusal('gateway-restarting');
  }
  if (host.gate === 'gateway-suspending' && attempt.role === 'node') return gateRefusal('gateway-suspending');
  return undefined;
}

function protocolObjection(host: Host, attempt: Attempt): Refusal | undefined {
  const min = numberAt(attempt.params, 'minProtocol') ?? 0;
  const max = numberAt(attempt.params, 'maxProtocol') ?? 0;
  const { protocol, nodeProtocol, mismatchCode } = host.profile;
  const isNode = attempt.role === 'node' && attempt.mode === 'node';
  const lowest = isNode ? nodeProtocol : protocol;
  return max >= lowest && min <= protocol ? undefined : protocolMismatch(min, max, protocol, mismatchCode);
}

function roleObjection(attempt: Attempt): Refusal | undefined {
  if (attempt.role === 'worker' || attempt.mode === 'worker') {
    return { closeCode: 1008, closeReason: 'invalid-handshake' };
  }
  return attempt.role === 'operator' || attempt.role === 'node' ? undefined : refusal(invalid('invalid role'));
}

function judgeCredentials(host: Host, attempt: Attempt): Verdict {
  const { auth, devices } = host;
  const token = stringAt(attempt.auth, 'token');
  const deviceToken = stringAt(attempt.auth, 'deviceToken');
  const password = stringAt(attempt.auth, 'password');
  const deviceId = attempt.device === undefined ? undefined : (stringAt(attempt.device, 'id') ?? '');
  const locked = auth.lockedFor(attempt.address);
  if (locked > 0) return refused(rateLimited(locked));
  if (auth.accepts(token, password)) {
    auth.succeeded(attempt.address);
    const method = auth.token === null ? 'none' : auth.isToken(token) ? 'token' : 'password';
    return admit(host, attempt, deviceId, method, host.pairingMode === 'auto');
  }
  if (deviceId !== undefined && devices.isToken(deviceId, attempt.role, deviceToken ?? token)) {
    auth.succeeded(attempt.address);
    return admit(host, attempt, deviceId, 'device-token', false);
  }
  const why = credentialRefusal(attempt, token, deviceToken);
  const missing = why.error?.code === 'NOT_PAIRED' || isMissing(why);
  return refused(why, missing ? 0 : auth.failed(attempt.address, true));
}

function credentialRefusal(attempt: Attempt, token: string | undefined, deviceToken: string | undefined): Refusal {
  if (stringAt(attempt.auth, 'bootstrapToken') !== undefined) return bootstrapInvalid();
  if (deviceToken !== undefined) return deviceTokenMismatch();
  if (token !== undefined) return tokenMismatch(attempt.device !== undefined);
  if (attempt.device === undefined && stringAt(attempt.auth, 'password') === undefined) return deviceIdentityRequired();
  return authRefusal(
    'AUTH_TOKEN_MISSING',
    'token_missing',
    'gateway token missing (provide gateway auth token)',
    'update_auth_configuration',
  );
}

function isMissing(why: Refusal): boolean {
  return stringAt(why.error?.details, 'code') === 'AUTH_TOKEN_MISSING';
}

function admit(
  host: Host,
  attempt: Attempt,
  deviceId: string | undefined,
  method: string,
  autoApprove: boolean,
): Verdict {
  const asked = stringsAt(attempt.params, 'scopes');
  const identity = {
    role: attempt.role === 'node' ? ('node' as const) : ('operator' as const),
    clientId: stringAt(attempt.client, 'id') ?? '',
    method,
    platform: stringAt(attempt.client, 'platform') ?? '',
    caps: stringsAt(attempt.params, 'caps'),
    commands: stringsAt(attempt.params, 'commands'),
    ...optional('displayName', stringAt(attempt.client, 'displayName')),
  };
  if (deviceId === undefined) {
    const keeps = host.profile.keepScopes.includes(`${identity.clientId}/${attempt.mode}`);
    return { ok: true, identity: { ...identity, scopes: keeps ? asked : [] } };
  }
  const admission = host.devices.admit(
    {
      id: deviceId,
      platform: lower(identity.platform),
      family: lower(stringAt(attempt.client, 'deviceFamily')),
      role: identity.role,
      scopes: asked,
    },
    autoApprove,
  );
  if (!admission.ok) {
    const { requestId, reason } = admission.request;
    const { approvedRoles } = admission;
    return refused(pairingRefusal({ reason, requestId, deviceId, role: identity.role, scopes: asked, approvedRoles }));
  }
  const { token: deviceToken, issuedAt } = admission;
  return { ok: true, identity: { ...identity, scopes: asked, deviceId, deviceToken, issuedAt } };
}

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: string });
}
