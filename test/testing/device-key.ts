import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { signaturePayloads } from '../../lib/testing/devices.js';
import { operator, type RawClient } from './raw-client.js';

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A device identity: an Ed25519 key, and the name derived from it. */
export class DeviceKey {
  readonly publicKey: string;
  readonly id: string;
  readonly #key: KeyObject;

  constructor(seed?: Buffer) {
    this.#key =
      seed === undefined
        ? generateKeyPairSync('ed25519').privateKey
        : createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
    this.publicKey = this.#key.export({ format: 'jwk' }).x ?? '';
    this.id = createHash('sha256').update(Buffer.from(this.publicKey, 'base64url')).digest('hex');
  }

  sign(payload: string): string {
    return sign(null, Buffer.from(payload), this.#key).toString('base64url');
  }

  /** `connect.params` of a node, signed over the challenge that the client has heard. */
  async node(client: RawClient, changes: Record<string, unknown> = {}, version: 0 | 1 = 0): Promise<object> {
    const { payload } = await client.event('connect.challenge');
    const params = operator({
      client: { id: 'node-host', version: '1', platform: 'linux', mode: 'node', deviceFamily: 'Linux' },
      role: 'node',
      scopes: [],
      caps: ['system'],
      commands: ['system.which'],
      ...changes,
    });
    const { publicKey, id } = this;
    const device = { id, publicKey, signedAt: payload?.['ts'], nonce: payload?.['nonce'] };
    return { ...params, device: { ...device, signature: this.sign(signaturePayloads(params, device)[version]) } };
  }
}
