/**
 * The tokens that gateways gave to this device. One file per gateway, device and role, so that processes which share a
 * state directory never overwrite each other's.
 *
 * `<stateDir>/device-tokens/<hash>.json`, mode 0600:
 *
 * ```json
 * { "version": 1, "gateway": "wss://gateway.example", "deviceId": "<64 hex>", "role": "node", "token": "…",
 *   "scopes": [], "issuedAtMs": 1795191101023 }
 * ```
 */
import { join, resolve } from 'node:path';
import type { DeviceTokenKey } from '../core/device.js';
import { type GatewayError, isGatewayError } from '../core/errors.js';
import { sha256 } from './digest.js';
import {
  damaged,
  heeding,
  type PrivateFileOptions,
  type PrivateSystem,
  parseState,
  readPrivateFile,
  removePrivateFile,
  stateError,
  writePrivateFile,
} from './private-file.js';
import { describe } from './provider-error.js';

/** What a gateway issues in its hello. */
export interface IssuedToken {
  readonly token: string;
  readonly scopes: readonly string[];
  readonly issuedAtMs?: number | undefined;
}

/** A token that is kept. The token itself is in no JSON and no `util.inspect`. */
export class DeviceToken {
  readonly scopes: readonly string[];
  readonly issuedAtMs: number | undefined;
  readonly #token: string;

  constructor({ token, scopes, issuedAtMs }: IssuedToken) {
    this.#token = token;
    this.scopes = [...scopes];
    this.issuedAtMs = issuedAtMs;
  }

  get token(): string {
    return this.#token;
  }
}

/** What became of a change: kept on the disk, or only in memory, and why. The warning names no token. */
export type StoreResult = { readonly stored: true } | { readonly stored: false; readonly warning: GatewayError };

/** What memory knows better than the disk. */
type Unsaved =
  | { readonly kind: 'kept'; readonly entry: DeviceToken }
  /** Refused by the gateway, but still on the disk. Without `token`: whatever is there. */
  | { readonly kind: 'dead'; readonly token: string | undefined };

const STORED: StoreResult = { stored: true };
const VERSION = 1;
const FOLDER = 'device-tokens';
const LONGEST_TOKEN = 4096;
const MOST_SCOPES = 100;
const REMEDY = 'Move it away: the next connect with the shared token brings a new one.';

export interface DeviceTokenStoreOptions {
  /** Made, mode 0700, with the first token. */
  readonly stateDir: string;
  /** Replaced in tests. */
  readonly system?: PrivateSystem;
}

/** Device tokens by gateway, device and role. */
export class DeviceTokenStore {
  readonly #folder: string;
  readonly #system: PrivateSystem | undefined;
  readonly #unsaved: Map<string, Unsaved> = new Map();
  /** Changes of one file, one after the other. */
  readonly #last: Map<string, Promise<unknown>> = new Map();

  constructor({ stateDir, system }: DeviceTokenStoreOptions) {
    this.#folder = join(resolve(stateDir), FOLDER);
    this.#system = system;
  }

  /**
   * The token as it is now; null when there is none. What could not be written yet is answered from memory.
   * @throws GatewayError with reason `local` when it cannot be read: the codes of a private file, or `STATE_DAMAGED`.
   */
  async get(key: DeviceTokenKey, signal?: AbortSignal): Promise<DeviceToken | null> {
    const file = this.#fileOf(key);
    const unsaved = this.#unsaved.get(file);
    if (unsaved?.kind === 'kept') return unsaved.entry;
    const entry = await this.#read(file, key, signal);
    // Meanwhile a hello may have brought one, or a refusal ended this one.
    const now = this.#unsaved.get(file);
    if (now?.kind === 'kept') return now.entry;
    return entry === null || (now !== undefined && isDead(now, entry)) ? null : entry;
  }

  /**
   * Keeps a token. When the gateway repeats the token that is there, the scopes that are there stay, since a later hello
   * may show fewer. Never throws and never rejects: without a disk the token lives in memory until the next `put`.
   */
  async put(key: DeviceTokenKey, issued: IssuedToken, signal?: AbortSignal): Promise<StoreResult> {
    if (!isToken(issued)) {
      const message = 'the gateway issued a device token that is none; it was not kept';
      return { stored: false, warning: stateError('DEVICE_TOKEN_INVALID', message, 'Look at the gateway.') };
    }
    const file = this.#fileOf(key);
    const earlier = this.#unsaved.get(file);
    const repeated = earlier?.kind === 'kept' && earlier.entry.token === issued.token;
    const kept: Unsaved = repeated ? earlier : { kind: 'kept', entry: new DeviceToken(issued) };
    this.#unsaved.set(file, kept);
    return this.#change(file, signal, async () => {
      const there = await this.#read(file, key, signal);
      if (there?.token !== kept.entry.token) await this.#write(file, key, kept.entry, signal);
      if (this.#unsaved.get(file) === kept) this.#unsaved.delete(file);
    });
  }

  /**
   * Forgets a token, because the gateway refused it. With `token` only that one: another process may have got a newer
   * one meanwhile. Never throws and never rejects: what cannot be removed is not answered any more.
   */
  async clear(key: DeviceTokenKey, token?: string, signal?: AbortSignal): Promise<StoreResult> {
    const file = this.#fileOf(key);
    const earlier = this.#unsaved.get(file);
    if (earlier?.kind === 'kept' && token !== undefined && earlier.entry.token !== token) return STORED;
    const dead: Unsaved = { kind: 'dead', token };
    this.#unsaved.set(file, dead);
    return this.#change(file, signal, async () => {
      const there = await this.#read(file, key, signal);
      if (there !== null && isDead(dead, there)) await removePrivateFile(file, this.#options(signal));
      if (this.#unsaved.get(file) === dead) this.#unsaved.delete(file);
    });
  }

  #fileOf({ gateway, deviceId, role }: DeviceTokenKey): string {
    return join(this.#folder, `${sha256(JSON.stringify([gateway, deviceId, role])).slice(0, 32)}.json`);
  }

  #options(signal: AbortSignal | undefined): PrivateFileOptions {
    return { signal, system: this.#system };
  }

  async #read(file: string, key: DeviceTokenKey, signal: AbortSignal | undefined): Promise<DeviceToken | null> {
    const text = await readPrivateFile(file, this.#options(signal));
    return text === null ? null : parseToken(file, text, key);
  }

  async #write(file: string, key: DeviceTokenKey, entry: DeviceToken, signal: AbortSignal | undefined): Promise<void> {
    const { gateway, deviceId, role } = key;
    const { token, scopes, issuedAtMs } = entry;
    const record = { version: VERSION, gateway, deviceId, role, token, scopes, issuedAtMs };
    await writePrivateFile(file, `${JSON.stringify(record, null, 2)}\n`, this.#options(signal));
  }

  /** One after the other, each with its own outcome: a failure of one is no failure of the next. */
  #change(file: string, signal: AbortSignal | undefined, change: () => Promise<void>): Promise<StoreResult> {
    const before = this.#last.get(file) ?? Promise.resolve();
    const mine = before.then(change).then(() => STORED, unstored);
    this.#last.set(file, mine);
    mine.then(() => {
      if (this.#last.get(file) === mine) this.#last.delete(file);
    });
    return heeding(signal, file, () => mine).catch(unstored);
  }
}

function unstored(error: unknown): StoreResult {
  if (isGatewayError(error)) return { stored: false, warning: error };
  const message = `the device token is kept in memory only: ${describe(error)}`;
  return { stored: false, warning: stateError('STATE_UNUSABLE', message, REMEDY) };
}

function isDead(unsaved: Unsaved, entry: DeviceToken): boolean {
  return unsaved.kind === 'dead' && (unsaved.token === undefined || unsaved.token === entry.token);
}

/** It will travel in a header, and come back from the disk: bounded, and one line. */
function isToken(issued: {
  readonly token: unknown;
  readonly scopes: unknown;
  readonly issuedAtMs?: unknown;
}): boolean {
  const { token, scopes, issuedAtMs } = issued;
  return (
    isPlain(token, LONGEST_TOKEN) &&
    Array.isArray(scopes) &&
    scopes.length <= MOST_SCOPES &&
    scopes.every((scope) => isPlain(scope, 256)) &&
    (issuedAtMs === undefined || (typeof issuedAtMs === 'number' && Number.isSafeInteger(issuedAtMs)))
  );
}

function isPlain(value: unknown, longest: number): value is string {
  return typeof value === 'string' && value !== '' && value.length <= longest && !/[\p{Cc}\p{Cs}]/u.test(value);
}

function parseToken(file: string, text: string, key: DeviceTokenKey): DeviceToken {
  const { version, gateway, deviceId, role, token, scopes, issuedAtMs } = parseState(file, text, REMEDY);
  if (version !== VERSION) throw damaged(file, `its version is not ${VERSION}`, REMEDY);
  if (gateway !== key.gateway || deviceId !== key.deviceId || role !== key.role) {
    throw damaged(file, 'it belongs to another gateway, device or role', REMEDY);
  }
  const issued = { token, scopes, issuedAtMs };
  if (!isToken(issued)) throw damaged(file, 'it holds no usable token', REMEDY);
  return new DeviceToken(issued as IssuedToken);
}
