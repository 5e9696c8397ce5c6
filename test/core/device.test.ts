import assert from 'node:assert/strict';
import fc from 'fast-check';
import { deviceProof, gatewayKey, type SignatureFields, signaturePayload, signedToken } from '../../lib/core/device.js';
import { isGatewayError } from '../../lib/core/errors.js';
import { signaturePayloads } from '../../lib/testing/devices.js';

/** The published vector. */
const fields: SignatureFields = {
  deviceId: '56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c',
  clientId: 'node-host',
  clientMode: 'node',
  role: 'node',
  scopes: [],
  signedAt: 1795191101023,
  token: 'example-gateway-token',
  nonce: 'a612a9c8-80ff-4757-9231-c92b56ab9e97',
  platform: 'Linux',
  deviceFamily: 'Linux',
};

function refuses(changes: Partial<SignatureFields>, what: RegExp): void {
  assert.throws(
    () => signaturePayload('v3', { ...fields, ...changes }),
    (error: unknown) => {
      assert.ok(isGatewayError(error, 'local'));
      assert.deepEqual([error.code, error.outcome], ['DEVICE_FIELD', 'not-sent']);
      assert.match(error.message, what);
      // A value may be a secret.
      for (const value of Object.values(changes)) {
        if (typeof value === 'string' && value.length > 4) assert.ok(!error.message.includes(value));
      }
      return true;
    },
  );
}

describe('what a device signs', () => {
  it('is the text of the published vector', () => {
    const common =
      '56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c|node-host|node|node||1795191101023|example-gateway-token|a612a9c8-80ff-4757-9231-c92b56ab9e97';
    assert.equal(signaturePayload('v3', fields), `v3|${common}|linux|linux`);
    assert.equal(signaturePayload('v2', fields), `v2|${common}`);
  });

  it('leaves fields empty that are not sent, and joins scopes by commas', () => {
    const { platform: _platform, deviceFamily: _family, token: _token, ...bare } = fields;
    const text = signaturePayload('v3', { ...bare, scopes: ['operator.read', 'operator.write'] });
    assert.deepEqual(text.split('|').slice(4), [
      'node',
      'operator.read,operator.write',
      '1795191101023',
      '',
      fields.nonce,
      '',
      '',
    ]);
  });

  it('lower-cases A–Z of platform and family only, and trims them and the nonce', () => {
    const text = signaturePayload('v3', {
      ...fields,
      clientId: 'Node-Host',
      platform: ' ÄMac-OS ',
      deviceFamily: 'İBM',
      nonce: ' n-1 ',
    });
    assert.match(text, /\|Node-Host\|/);
    assert.deepEqual(text.split('|').slice(-3), ['n-1', 'Ämac-os', 'İbm']);
  });

  it('carries one credential: token, device token or setup code, never a password', () => {
    assert.equal(signedToken({ token: 't', deviceToken: 'd', bootstrapToken: 'b' }), 't');
    assert.equal(signedToken({ deviceToken: 'd', bootstrapToken: 'b' }), 'd');
    assert.equal(signedToken({ bootstrapToken: 'b' }), 'b');
    const auth = { password: 'secret' };
    assert.equal(signedToken(auth), '');
  });

  it('X05 refuses what could be taken for two fields or would not arrive as it is, without repeating it', () => {
    for (const bad of ['some|thing', 'some\r\nthing', 'some\u0000thing', 'some\ud800thing', 'some\u0085thing']) {
      for (const name of [
        'deviceId',
        'clientId',
        'clientMode',
        'token',
        'nonce',
        'platform',
        'deviceFamily',
      ] as const) {
        refuses({ [name]: bad }, /separates|control/);
      }
      refuses({ scopes: ['operator.read', bad] }, /a scope/);
    }
    refuses({ scopes: ['a,b'] }, /a scope holds a comma/);
    refuses({ scopes: [''] }, /a scope is empty/);
    for (const name of ['deviceId', 'clientId', 'clientMode', 'nonce'] as const) refuses({ [name]: '' }, /is empty/);
    refuses({ nonce: '  ' }, /nonce is empty/);
    for (const signedAt of [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY]) refuses({ signedAt }, /signedAt/);
  });

  it('is what the gateway makes of the same connect, and two different connects never share it', () => {
    const word = fc.stringMatching(/^[ A-Za-z0-9ÄÖé._:-]{1,12}$/).filter((text) => text.trim() !== '');
    const arbitrary = fc.record({
      deviceId: word,
      clientId: word,
      clientMode: word,
      role: fc.constantFrom('node' as const, 'operator' as const),
      scopes: fc.array(word, { maxLength: 3 }),
      signedAt: fc.nat(),
      token: word,
      nonce: word,
      platform: word,
      deviceFamily: word,
    });
    fc.assert(
      fc.property(arbitrary, arbitrary, (one, other) => {
        const { clientId: id, clientMode: mode, platform, deviceFamily, role, scopes, token, signedAt, nonce } = one;
        const params = { client: { id, mode, platform, deviceFamily }, role, scopes, auth: { token } };
        const texts = (['v3', 'v2'] as const).map((version) => signaturePayload(version, one));
        assert.deepEqual(texts, signaturePayloads(params, { id: one.deviceId, signedAt, nonce }));
        const same = (of: typeof one): string =>
          JSON.stringify([
            of.deviceId,
            of.clientId,
            of.clientMode,
            of.role,
            of.scopes,
            of.signedAt,
            of.token,
            of.nonce.trim(),
          ]);
        assert.equal(signaturePayload('v2', other) === texts[1], same(one) === same(other));
      }),
      { numRuns: 200 },
    );
  });

  it('goes into connect with its signature', () => {
    const signed: string[] = [];
    const signer = {
      deviceId: fields.deviceId,
      publicKey: 'key',
      sign(text: string): string {
        signed.push(text);
        return 'signature';
      },
    };
    const { deviceId: _id, ...rest } = fields;
    assert.deepEqual(deviceProof(signer, 'v2', { ...rest, nonce: ` ${fields.nonce}` }), {
      id: fields.deviceId,
      publicKey: 'key',
      signature: 'signature',
      signedAt: fields.signedAt,
      nonce: fields.nonce,
    });
    assert.deepEqual(signed, [signaturePayload('v2', fields)]);
  });
});

describe('the name of a gateway', () => {
  it('is its address without what does not matter, or what identifies it', () => {
    const same: readonly (readonly string[])[] = [
      ['wss://gateway.example', 'WSS://Gateway.Example:443/', 'https://gateway.example'],
      ['ws://127.0.0.1:18789', 'ws://127.0.0.1:18789/', 'http://127.0.0.1:18789'],
      ['wss://proxy.example/one', 'wss://proxy.example/one/'],
      ['wss://proxy.example/two'],
      ['ws://[::1]:18789'],
    ];
    for (const names of same) assert.deepEqual([...new Set(names.map((url) => gatewayKey(url)))], [names[0]]);
    assert.equal(gatewayKey('wss://gateway.example', 'sha256:ab'), 'id:sha256:ab');
  });

  it('is refused for what is no address, without repeating it', () => {
    for (const make of [
      () => gatewayKey('secret'),
      () => gatewayKey('ws://h', ''),
      () => gatewayKey('ws://h', 'secret\n'),
    ]) {
      assert.throws(make, (error: unknown) => isGatewayError(error, 'local') && !error.message.includes('secret'));
    }
  });
});
