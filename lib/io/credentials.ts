/**
 * What a dial proves itself with: secrets read afresh, the device identity, the device token. It also learns from the
 * gateway's answer: a dead device token is forgotten, a new one is kept.
 */
import { type DeviceSigner, deviceProof, gatewayKey, signedToken } from '../core/device.js';
import { type GatewayError, isGatewayError } from '../core/errors.js';
import { type GatewayWord, isRecord } from '../core/failure.js';
import type { Challenge, Hello, IssuedDeviceToken } from '../core/frames.js';
import type { Settings, Target } from '../core/options.js';
import { loadDeviceIdentity } from './device-identity.js';
import { DeviceTokenStore, type StoreResult } from './device-tokens.js';
import { ProviderError } from './provider-error.js';
import { readSecret } from './secrets.js';

/** Credentials of one dial. */
export interface Prepared {
  readonly auth: { readonly token?: string; readonly password?: string; readonly deviceToken?: string };
  readonly device: DeviceSigner | null;
}

export interface CredentialEvents {
  /** A secret was read: its value must appear in no output. */
  secret(value: string): void;
  /** The store of device tokens could not be written; the link is good all the same. */
  warning(error: GatewayError): void;
}

/** What of `connect` is signed and sent besides the credentials. */
export interface Presented {
  readonly platform: string;
  readonly deviceFamily: string;
}

export class Credentials {
  readonly #settings: Settings;
  readonly #events: CredentialEvents;
  readonly #store: DeviceTokenStore | null;
  #device: DeviceSigner | null = null;
  /** The next dial presents the device token although there is a shared one. */
  #preferDevice = false;
  /** That was tried for the shared token that stands. */
  #triedDevice = false;
  /** What is wrong with the store of device tokens, as it was last told; null when nothing is. */
  #trouble: string | null = null;

  constructor(settings: Settings, events: CredentialEvents) {
    this.#settings = settings;
    this.#events = events;
    this.#store = settings.device === null ? null : new DeviceTokenStore({ stateDir: settings.device.stateDir });
  }

  /** Of the device, once it is known. */
  get deviceId(): string | undefined {
    return this.#device?.deviceId;
  }

  /** @throws ProviderError when something cannot be read: a failed attempt, and the next one reads again. */
  async prepare(target: Target, signal: AbortSignal): Promise<Prepared> {
    const { token, password } = this.#settings;
    const [tokenNow, passwordNow, device] = await Promise.all([
      token === undefined ? undefined : readSecret('token', token, signal),
      password === undefined ? undefined : readSecret('password', password, signal),
      this.#loadDevice(signal),
    ]);
    const shared = {
      ...(tokenNow !== undefined && { token: tokenNow }),
      ...(passwordNow !== undefined && { password: passwordNow }),
    };
    const hasShared = tokenNow !== undefined || passwordNow !== undefined;
    const stored =
      device === null || (hasShared && !this.#preferDevice) ? null : await this.#stored(target, device, signal);
    for (const value of [tokenNow, passwordNow, stored]) if (typeof value === 'string') this.#events.secret(value);
    return { auth: stored === null ? shared : { deviceToken: stored }, device };
  }

  /** `connect.params.device`; undefined without an identity. @throws GatewayError with reason `local` */
  prove(prepared: Prepared, challenge: Challenge, presented: Presented): object | undefined {
    if (prepared.device === null || challenge.ts === null) return undefined;
    const { client, role, scopes } = this.#settings;
    return deviceProof(prepared.device, 'v3', {
      clientId: client.id,
      clientMode: client.mode,
      role,
      scopes,
      signedAt: challenge.ts,
      token: signedToken(prepared.auth),
      nonce: challenge.nonce,
      ...presented,
    });
  }

  /** `connect` was refused. True: the next dial has another credential, so it need not wait for a human. */
  async refused(prepared: Prepared, word: GatewayWord, target: Target): Promise<boolean> {
    const details = isRecord(word.details) ? word.details : {};
    const { device } = prepared;
    if (this.#store === null || device === null) return false;
    if (details['code'] === 'AUTH_DEVICE_TOKEN_MISMATCH') return this.#forget(prepared, target, device);
    // A gateway that starts or drains has not looked at any credential.
    if (details['code'] === undefined) return false;
    this.#preferDevice = false;
    if (details['code'] !== 'AUTH_TOKEN_MISMATCH' || details['canRetryWithDeviceToken'] !== true || this.#triedDevice)
      return false;
    // Once, and only where nobody else can listen or answer in the gateway's place.
    const trusted = target.loopback || (target.secure && this.#settings.tls.fingerprint !== undefined);
    if (!trusted || (await this.#stored(target, device).catch(() => null)) === null) return false;
    this.#triedDevice = true;
    this.#preferDevice = true;
    return true;
  }

  async #forget(prepared: Prepared, target: Target, device: DeviceSigner): Promise<boolean> {
    this.#preferDevice = false;
    const cleared = await this.#store?.clear(this.#key(target, device), prepared.auth.deviceToken);
    if (cleared !== undefined) this.#told(cleared);
    return (
      prepared.auth.deviceToken !== undefined &&
      (this.#settings.token !== undefined || this.#settings.password !== undefined)
    );
  }

  /** A hello: what it issued is kept. */
  accepted(prepared: Prepared, hello: Hello, issued: IssuedDeviceToken | null, target: Target): void {
    this.#triedDevice = false;
    const { device } = prepared;
    if (issued === null || device === null || this.#store === null) return;
    this.#events.secret(issued.token);
    const kept = {
      token: issued.token,
      scopes: hello.auth.scopes,
      ...(issued.issuedAtMs !== undefined && { issuedAtMs: issued.issuedAtMs }),
    };
    this.#store.put(this.#key(target, device), kept).then((result) => this.#told(result));
  }

  /** The same trouble after every hello is one line, not many. */
  #told(result: StoreResult): void {
    const trouble = result.stored ? null : `${result.warning.code} ${result.warning.message}`;
    if (!result.stored && trouble !== this.#trouble) this.#events.warning(result.warning);
    this.#trouble = trouble;
  }

  async #loadDevice(signal: AbortSignal): Promise<DeviceSigner | null> {
    const { device } = this.#settings;
    if (device === null) return null;
    this.#device ??= await loadDeviceIdentity({ stateDir: device.stateDir, signal }).catch(asProvider('identity'));
    return this.#device;
  }

  async #stored(target: Target, device: DeviceSigner, signal?: AbortSignal): Promise<string | null> {
    const token = await this.#store?.get(this.#key(target, device), signal).catch(asProvider('device token'));
    return token?.token ?? null;
  }

  #key(target: Target, device: DeviceSigner): { gateway: string; deviceId: string; role: Settings['role'] } {
    return {
      gateway: gatewayKey(target.url, this.#settings.tls.fingerprint),
      deviceId: device.deviceId,
      role: this.#settings.role,
    };
  }
}

/** A file of ours that cannot be used is a failed attempt; three in a row need a human. */
function asProvider(provider: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof ProviderError || !isGatewayError(error)) throw error;
    throw new ProviderError(provider, error.code, `${error.message}. ${error.remedy}`, true);
  };
}
