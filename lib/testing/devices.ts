import { createHash, createPublicKey, randomBytes, randomUUID, verify } from 'node:crypto';
import { deviceRefusal, type Refusal } from './errors.js';
import type { PairingRequest } from './types.js';
import { numberAt, stringAt } from './validate.js';

/** What a device said of itself in `connect`, as far as pairing pins it. */
export interface DeviceClaim {
  readonly id: string;
  readonly platform: string;
  readonly family: string;
  readonly role: string;
  readonly scopes: readonly string[];
}

interface Grant {
  scopes: string[];
  token: string;
  issuedAt: number;
}

interface Device {
  platform: string;
  family: string;
  readonly roles: Map<string, Grant>;
}

export type Admission =
  | { readonly ok: true; readonly token: string; readonly issuedAt: number }
  | { readonly ok: false; readonly request: PairingRequest; readonly approvedRoles: readonly string[] };

/** Paired devices, their tokens, and those that wait for approval. Stored: it outlives restarts. */
export class Devices {
  readonly #devices: Map<string, Device> = new Map();
  readonly #waiting: Map<string, { request: PairingRequest; claim: DeviceClaim }> = new Map();

  get requests(): readonly PairingRequest[] {
    return [...this.#waiting.values()].map(({ request }) => request);
  }

  /** Whether this is the token of that device and role. */
  isToken(id: string, role: string, token: string | undefined): boolean {
    return token !== undefined && this.#devices.get(id)?.roles.get(role)?.token === token;
  }

  knows(id: string): boolean {
    return this.#devices.has(id);
  }

  /** Lets the device in, or leaves a request that a person must approve. `auto` approves what is new, not what changed. */
  admit(claim: DeviceClaim, auto: boolean): Admission {
    const device = this.#devices.get(claim.id);
    const reason = this.#objection(device, claim);
    if (reason === 'not-paired' && auto) this.#grant(claim);
    else if (reason !== undefined) {
      return { ok: false, request: this.#wait(claim, reason), approvedRoles: [...(device?.roles.keys() ?? [])] };
    }
    const grant = this.#devices.get(claim.id)?.roles.get(claim.role);
    return { ok: true, token: grant?.token ?? '', issuedAt: grant?.issuedAt ?? Date.now() };
  }

  approve(requestId: string): PairingRequest | undefined {
    const waiting = this.#waiting.get(requestId);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(requestId);
    this.#grant(waiting.claim);
    return waiting.request;
  }

  reject(requestId: string): boolean {
    return this.#waiting.delete(requestId);
  }

  remove(id: string): boolean {
    return this.#devices.delete(id);
  }

  /** Gives every role of the device a new token. */
  rotate(id: string): boolean {
    const device = this.#devices.get(id);
    for (const grant of device?.roles.values() ?? []) Object.assign(grant, newToken());
    return device !== undefined;
  }

  #objection(device: Device | undefined, claim: DeviceClaim): string | undefined {
    if (device === undefined) return 'not-paired';
    if (device.platform !== claim.platform || device.family !== claim.family) return 'metadata-upgrade';
    const grant = device.roles.get(claim.role);
    if (grant === undefined) return 'role-upgrade';
    return claim.scopes.every((scope) => grant.scopes.includes(scope)) ? undefined : 'scope-upgrade';
  }

  #grant(claim: DeviceClaim): void {
    const device: Device = this.#devices.get(claim.id) ?? { platform: '', family: '', roles: new Map() };
    this.#devices.set(claim.id, device);
    device.platform = claim.platform;
    device.family = claim.family;
    const grant = device.roles.get(claim.role) ?? { scopes: [], ...newToken() };
    grant.scopes = [...new Set([...grant.scopes, ...claim.scopes])];
    device.roles.set(claim.role, grant);
  }

  #wait(claim: DeviceClaim, reason: string): PairingRequest {
    for (const { request, claim: earlier } of this.#waiting.values()) {
      if (earlier.id === claim.id && request.reason === reason) return request;
    }
    const request: PairingRequest = {
      requestId: randomUUID(),
      kind: 'device',
      deviceId: claim.id,
      reason,
      role: claim.role,
      commands: [],
    };
    this.#waiting.set(request.requestId, { request, claim });
    return request;
  }
}

function newToken(): { token: string; issuedAt: number } {
  return { token: randomBytes(32).toString('base64url'), issuedAt: Date.now() };
}

const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const MAX_SKEW_MS = 120_000;

/** Checks the proof in `connect.params.device` against the challenge of this socket. */
export function deviceObjection(params: unknown, device: unknown, nonce: string): Refusal | undefined {
  const key = Buffer.from(stringAt(device, 'publicKey') ?? '', 'base64url');
  const id = createHash('sha256').update(key).digest('hex');
  if (key.length !== 32 || stringAt(device, 'id') !== id) {
    return deviceRefusal('DEVICE_AUTH_DEVICE_ID_MISMATCH', 'device-id-mismatch', 'device identity mismatch');
  }
  const signedAt = numberAt(device, 'signedAt') ?? 0;
  if (Math.abs(Date.now() - signedAt) > MAX_SKEW_MS) {
    return deviceRefusal('DEVICE_AUTH_SIGNATURE_EXPIRED', 'device-signature-stale', 'device signature expired');
  }
  const given = (stringAt(device, 'nonce') ?? '').trim();
  if (given === '') return deviceRefusal('DEVICE_AUTH_NONCE_REQUIRED', 'device-nonce-missing', 'device nonce required');
  if (given !== nonce) {
    return deviceRefusal('DEVICE_AUTH_NONCE_MISMATCH', 'device-nonce-mismatch', 'device nonce mismatch');
  }
  const publicKey = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, key]), format: 'der', type: 'spki' });
  const signature = Buffer.from(stringAt(device, 'signature') ?? '', 'base64url');
  const good = signaturePayloads(params, device).some((payload) =>
    verify(null, Buffer.from(payload), publicKey, signature),
  );
  return good
    ? undefined
    : deviceRefusal('DEVICE_AUTH_SIGNATURE_INVALID', 'device-signature', 'device signature invalid');
}

/** What a device may have signed: the v3 text, then the v2 text. */
export function signaturePayloads(params: unknown, device: unknown): readonly [v3: string, v2: string] {
  const client = childOf(params, 'client');
  const auth = childOf(params, 'auth');
  const scopes = childOf(params, 'scopes');
  const token = stringAt(auth, 'token') ?? stringAt(auth, 'deviceToken') ?? stringAt(auth, 'bootstrapToken') ?? '';
  const common = [
    stringAt(device, 'id'),
    stringAt(client, 'id'),
    stringAt(client, 'mode'),
    stringAt(params, 'role') ?? 'operator',
    Array.isArray(scopes) ? scopes.join(',') : '',
    numberAt(device, 'signedAt'),
    token,
    (stringAt(device, 'nonce') ?? '').trim(),
  ].join('|');
  const pinned = `${lower(stringAt(client, 'platform'))}|${lower(stringAt(client, 'deviceFamily'))}`;
  return [`v3|${common}|${pinned}`, `v2|${common}`];
}

/** Trimmed, and A–Z lower-cased: other letters stay, as the gateway does it. */
export function lower(value: string | undefined): string {
  return (value ?? '').trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function childOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}
