/**
 * What a device signs to prove itself to the gateway, and under which name its token is kept. The key itself, the disk
 * and the clock are elsewhere: the time that is signed is the gateway's own, out of its challenge.
 */
import { GatewayError } from './errors.js';
import type { Role } from './vocabulary.js';

/** Form of the signed text. `v3` pins platform and device family; `v2` is the older one. Gateways accept both. */
export type SignatureVersion = 'v3' | 'v2';

/** The credentials of `connect.params.auth`. */
export interface SignedAuth {
  readonly token?: string | undefined;
  readonly deviceToken?: string | undefined;
  readonly bootstrapToken?: string | undefined;
  /** Never signed. */
  readonly password?: string | undefined;
}

/** What is signed. Every value is the very one that `connect.params` carries. */
export interface SignatureFields {
  /** 64 hex digits: SHA-256 of the raw public key. */
  readonly deviceId: string;
  readonly clientId: string;
  readonly clientMode: string;
  readonly role: Role;
  readonly scopes: readonly string[];
  /** The `ts` of the challenge, in ms: never the local clock, which may be off by more than the gateway allows. */
  readonly signedAt: number;
  /** The one credential that is signed: see {@link signedToken}. Default: none. */
  readonly token?: string | undefined;
  /** Of the challenge. */
  readonly nonce: string;
  /** As sent; lower-cased in the signed text only. Default: empty. */
  readonly platform?: string | undefined;
  /** As sent; lower-cased in the signed text only. Default: empty. */
  readonly deviceFamily?: string | undefined;
}

/** `connect.params.device`. */
export interface DeviceProof {
  readonly id: string;
  readonly publicKey: string;
  readonly signature: string;
  readonly signedAt: number;
  readonly nonce: string;
}

/** Something that signs as a device. */
export interface DeviceSigner {
  /** 64 hex digits. */
  readonly deviceId: string;
  /** The raw Ed25519 key: 43 characters of base64url. */
  readonly publicKey: string;
  /** The Ed25519 signature over the UTF-8 text: 86 characters of base64url. */
  sign(payload: string): string;
}

/** Whose token it is and where it is good. */
export interface DeviceTokenKey {
  /** From {@link gatewayKey}. */
  readonly gateway: string;
  readonly deviceId: string;
  readonly role: Role;
}

/** The credential that goes into the signed text. A password never does. */
export function signedToken(auth: SignedAuth): string {
  return auth.token ?? auth.deviceToken ?? auth.bootstrapToken ?? '';
}

/**
 * The text that a device signs.
 * @throws GatewayError with reason `local` and code `DEVICE_FIELD` when a value could be taken for two, or would not
 *   reach the gateway as it is: `|`, control characters, lone surrogates, a comma in a scope. It never repeats the value.
 */
export function signaturePayload(version: SignatureVersion, fields: SignatureFields): string {
  if (!Number.isSafeInteger(fields.signedAt) || fields.signedAt < 0) throw unfit('signedAt', 'is no time in ms');
  const parts = [
    version,
    required('deviceId', fields.deviceId),
    required('client.id', fields.clientId),
    required('client.mode', fields.clientMode),
    required('role', fields.role),
    fields.scopes.map(scope).join(','),
    String(fields.signedAt),
    plain('the token', fields.token ?? ''),
    required('nonce', fields.nonce.trim()),
  ];
  if (version === 'v3') {
    parts.push(pinned('client.platform', fields.platform), pinned('client.deviceFamily', fields.deviceFamily));
  }
  return parts.join('|');
}

/**
 * Signs for one `connect`; the result is its `device`.
 * @throws GatewayError as {@link signaturePayload} does.
 */
export function deviceProof(
  signer: DeviceSigner,
  version: SignatureVersion,
  fields: Omit<SignatureFields, 'deviceId'>,
): DeviceProof {
  const signature = signer.sign(signaturePayload(version, { ...fields, deviceId: signer.deviceId }));
  const { signedAt } = fields;
  return { id: signer.deviceId, publicKey: signer.publicKey, signature, signedAt, nonce: fields.nonce.trim() };
}

/**
 * The name under which the tokens of a gateway are kept: what identifies it for certain, such as a pinned certificate,
 * where that is known; else its address. The path counts, since one proxy may stand before several gateways.
 * @throws GatewayError with reason `local` and code `DEVICE_FIELD` for what is no address; it never repeats it.
 */
export function gatewayKey(url: string, identity?: string): string {
  if (identity !== undefined) return `id:${required('the identity of the gateway', identity)}`;
  if (!URL.canParse(url)) throw unfit('url', 'is no address');
  const { protocol, host, pathname } = new URL(url);
  return `${protocol.replace(/^http/, 'ws')}//${host}${pathname.replace(/\/+$/, '')}`;
}

/** Only A–Z: the gateway leaves other letters as they are. */
function pinned(name: string, value = ''): string {
  return plain(name, value)
    .trim()
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function scope(value: string): string {
  if (value.includes(',')) throw unfit('a scope', 'holds a comma');
  return required('a scope', value);
}

function required(name: string, value: string): string {
  if (value === '') throw unfit(name, 'is empty');
  return plain(name, value);
}

function plain(name: string, value: string): string {
  if (value.includes('|')) throw unfit(name, 'holds a "|", which separates the fields of the signed text');
  if (/[\p{Cc}\p{Cs}]/u.test(value)) throw unfit(name, 'holds control characters or half a character');
  return value;
}

function unfit(name: string, why: string): GatewayError {
  return new GatewayError({
    code: 'DEVICE_FIELD',
    reason: 'local',
    outcome: 'not-sent',
    message: `device: ${name} ${why}; nothing was signed`,
    remedy: `Correct ${name}.`,
  });
}
