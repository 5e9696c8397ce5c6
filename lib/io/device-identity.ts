/**
 * The key that names this device. Made on the first start and kept for good: another key is another device, which a
 * person would have to approve again. So nothing here ever replaces one.
 *
 * `<stateDir>/identity.json`, mode 0600:
 *
 * ```json
 * { "version": 1, "created": "2026-01-31T12:00:00.000Z", "deviceId": "<64 hex>", "publicKey": "<43 base64url>",
 *   "privateKey": "-----BEGIN PRIVATE KEY-----…" }
 * ```
 *
 * `publicKey` is the raw Ed25519 key, `deviceId` its SHA-256, `privateKey` PKCS #8 as PEM.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { DeviceSigner } from '../core/device.js';
import {
  damaged,
  type PrivateFileOptions,
  parseState,
  readPrivateFile,
  stateError,
  writePrivateFile,
} from './private-file.js';
import { codeOf } from './provider-error.js';

/** The identity of this device. Its private key is in no property, no JSON and no `util.inspect`. */
export interface DeviceIdentity extends DeviceSigner {}

export interface DeviceIdentityOptions extends PrivateFileOptions {
  /** Made, mode 0700, when it is missing. */
  readonly stateDir: string;
}

const VERSION = 1;
const FILE = 'identity.json';
const RESTORE =
  'Restore it from a backup. Or move it away: a new identity is then made, and must be approved on the gateway host.';
const MEND_SOURCE = 'Name the device.json that OpenClaw made, or let holdfast make an identity of its own.';
// What stands before the 32 raw bytes of an Ed25519 key in its DER form.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const RAW_KEY_BYTES = 32;

class Identity implements DeviceIdentity {
  readonly deviceId: string;
  readonly publicKey: string;
  readonly #key: KeyObject;

  constructor(key: KeyObject) {
    this.#key = key;
    this.publicKey = createPublicKey(key).export({ format: 'jwk' }).x ?? '';
    this.deviceId = createHash('sha256').update(Buffer.from(this.publicKey, 'base64url')).digest('hex');
  }

  sign(payload: string): string {
    return sign(null, Buffer.from(payload, 'utf8'), this.#key).toString('base64url');
  }
}

/**
 * The identity in the state directory. On the first start it is made; of processes that start at once, all get the same.
 * @throws GatewayError with reason `local` and a remedy: the codes of a private file, such as `STATE_LINK`,
 *   `STATE_FOREIGN_OWNER` and `STATE_MODE`, and `STATE_DAMAGED` for a file that holds no identity, or one whose parts do
 *   not belong together. The file is left as it is.
 */
export async function loadDeviceIdentity(options: DeviceIdentityOptions): Promise<DeviceIdentity> {
  const file = join(resolve(options.stateDir), FILE);
  const text = await readPrivateFile(file, options);
  if (text !== null) return parseIdentity(file, text);
  const { privateKey } = await promisify(generateKeyPair)('ed25519');
  return keep(file, privateKey, options);
}

/**
 * Takes over the identity of an OpenClaw installation, so that the gateway knows this device already. Stop its own node
 * host first: of two that share an identity only the last to connect is heard. The source is only read.
 *
 * Known formats: `identity/device.json` as OpenClaw 2026.4 writes it (version 1, keys as PEM), and that of its macOS app
 * (raw keys in base64). 2026.9 keeps its identity in `state/openclaw.sqlite`, which is not read; the remedy of the error
 * then has the command that gets it out.
 *
 * @param source The file, or the directory that holds `identity/device.json`, such as `~/.openclaw`.
 * @throws GatewayError with reason `local`: as {@link loadDeviceIdentity} does, and `IDENTITY_NOT_FOUND`,
 *   `IDENTITY_FORMAT` for a database or an unknown format, `IDENTITY_EXISTS` when the state directory holds another one.
 */
export async function importOpenClawIdentity(source: string, options: DeviceIdentityOptions): Promise<DeviceIdentity> {
  const from = await findSource(resolve(source));
  const text = await readPrivateFile(from, options);
  if (text === null) {
    throw stateError('IDENTITY_NOT_FOUND', `${from} is not there: no identity to import`, MEND_SOURCE);
  }
  const key = parseOpenClaw(from, text);
  const file = join(resolve(options.stateDir), FILE);
  const wanted = new Identity(key);
  const kept = await keep(file, key, options);
  if (kept.deviceId === wanted.deviceId) return kept;
  throw stateError(
    'IDENTITY_EXISTS',
    `${file} holds another identity, ${kept.deviceId}; ${wanted.deviceId} was not imported`,
    'Move the file away first, if that identity is no longer wanted.',
  );
}

/** Stores the key unless there is one already; the one that is there counts. */
async function keep(file: string, key: KeyObject, options: DeviceIdentityOptions): Promise<DeviceIdentity> {
  const identity = new Identity(key);
  if (await writePrivateFile(file, encode(identity, key), { ...options, exclusive: true })) return identity;
  const text = await readPrivateFile(file, options);
  if (text !== null) return parseIdentity(file, text);
  throw stateError('STATE_UNSTEADY', `${file} was there and is gone again`, 'See what else uses that directory.');
}

function encode({ deviceId, publicKey }: DeviceIdentity, key: KeyObject): string {
  const created = new Date().toISOString();
  const privateKey = key.export({ type: 'pkcs8', format: 'pem' });
  return `${JSON.stringify({ version: VERSION, created, deviceId, publicKey, privateKey }, null, 2)}\n`;
}

function parseIdentity(file: string, text: string): DeviceIdentity {
  const stored = parseState(file, text, RESTORE);
  if (stored['version'] !== VERSION) {
    const newer = typeof stored['version'] === 'number' && stored['version'] > VERSION;
    const remedy = newer ? 'Use the holdfast that wrote it, or a later one.' : RESTORE;
    throw damaged(file, `its version is not ${VERSION}`, remedy);
  }
  const identity = new Identity(privateKeyOf(file, stored['privateKey'], RESTORE));
  if (identity.publicKey !== stored['publicKey']) throw damaged(file, 'its two keys are no pair', RESTORE);
  if (identity.deviceId !== stored['deviceId']) throw damaged(file, 'its id is not that of its key', RESTORE);
  return identity;
}

function parseOpenClaw(file: string, text: string): KeyObject {
  const stored = parseState(file, text, MEND_SOURCE);
  const pem = stored['version'] === 1 && 'privateKeyPem' in stored;
  if (!pem && ('version' in stored || !('privateKey' in stored))) {
    throw stateError('IDENTITY_FORMAT', `${file} is in no format of OpenClaw that is known`, MEND_SOURCE);
  }
  const key = pem
    ? privateKeyOf(file, stored['privateKeyPem'], MEND_SOURCE)
    : privateKeyOf(file, fromRaw(stored['privateKey']), MEND_SOURCE);
  const identity = new Identity(key);
  const publicKey = pem ? rawOfPem(stored['publicKeyPem']) : bytesOf(stored['publicKey'])?.toString('base64url');
  if (identity.publicKey !== publicKey) throw damaged(file, 'its two keys are no pair', MEND_SOURCE);
  if (identity.deviceId !== stored['deviceId']) throw damaged(file, 'its id is not that of its key', MEND_SOURCE);
  return key;
}

/** The message of the library that reads the key says nothing to an operator; it goes nowhere. */
function privateKeyOf(file: string, value: unknown, remedy: string): KeyObject {
  try {
    const key =
      value instanceof Buffer
        ? createPrivateKey({ key: value, format: 'der', type: 'pkcs8' })
        : createPrivateKey({ key: String(value), format: 'pem' });
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {}
  throw damaged(file, 'it holds no Ed25519 private key', remedy);
}

function rawOfPem(value: unknown): string | undefined {
  try {
    return createPublicKey({ key: String(value), format: 'pem' }).export({ format: 'jwk' }).x;
  } catch {
    return undefined;
  }
}

function fromRaw(value: unknown): Buffer | undefined {
  const raw = bytesOf(value);
  return raw === undefined ? undefined : Buffer.concat([PKCS8_PREFIX, raw]);
}

/** The bytes of a raw key in base64 or base64url. */
function bytesOf(value: unknown): Buffer | undefined {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'base64') : undefined;
  return bytes?.length === RAW_KEY_BYTES ? bytes : undefined;
}

async function findSource(source: string): Promise<string> {
  const inside = (await isDirectory(source)) ? join(source, 'identity', 'device.json') : source;
  const database = inside === source ? source : join(source, 'state', 'openclaw.sqlite');
  const isDatabase = database.endsWith('.sqlite') && (inside === source || !(await exists(inside)));
  if (isDatabase && (await exists(database))) {
    throw stateError(
      'IDENTITY_FORMAT',
      `${database} is a database of OpenClaw, which is not read here`,
      `Write its identity to a file with the command below, import that file, then delete it:\n${exportCommand(database)}`,
    );
  }
  return inside;
}

function exportCommand(database: string): string {
  const fields =
    "'version',1,'deviceId',device_id,'publicKeyPem',public_key_pem,'privateKeyPem',private_key_pem,'createdAtMs',created_at_ms";
  const query = `SELECT json_object(${fields}) FROM device_identities WHERE identity_key='primary'`;
  return `(umask 077; sqlite3 -readonly '${database.replaceAll("'", "'\\''")}' "${query}" > device.json)`;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isDirectory();
  } catch {
    // Whatever is wrong with it is told when it is read.
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ENOENT';
  }
}
