import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CHANNELS, checkOrigin, type DeliveryOrigin, type DeliveryTarget } from '../../lib/core/origin.js';

function said(channel: string, to: string, target?: DeliveryTarget): string {
  const check = checkOrigin({ channel, to }, target);
  if (!check.ok) return 'refused';
  return check.warning === undefined ? 'ok' : 'warned';
}

/** One address that is unmistakably of its channel. */
const SURE: Readonly<Record<string, string>> = {
  feishu: 'ou_7d8a6e6df7621556ce0d21922b676706',
  'openclaw-weixin': 'o9cq80zXpSmZ@im.wechat',
  slack: '<@U12345678>',
  discord: '<@123456789012345678>',
  telegram: '-1001234567890',
  whatsapp: '120363424282127706@g.us',
  signal: 'uuid:123e4567-e89b-12d3-a456-426614174000',
  imessage: 'chat_id:123',
  matrix: '@user:example.org',
  msteams: '19:abc123@thread.tacv2',
  googlechat: 'spaces/AAAA1234',
  mattermost: 'abcdefghijklmnopqrstuvwxyz__abcdefghijklmnopqrstuvwxyz',
  line: 'U4af4980629d1f2a3b4c5d6e7f8a9b0c1',
  qqbot: 'c2c:OPENID',
  nostr: 'npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq',
};

describe('an address and its channel', () => {
  const good: readonly [string, string][] = [
    ['feishu', 'oc_a0553eda9014c201e6969b478895c230'],
    ['feishu', 'e33ggbyz'],
    ['lark', 'user:ou_abc'],
    ['feishu', 'feishu:chat_id:oc_abc'],
    ['feishu', 'someone@example.com'],
    ['openclaw-weixin', 'wxid_abc123'],
    ['wechat', 'o9cq80zXpSmZ@im.wechat'],
    ['slack', 'C0123456789'],
    ['slack', 'channel:C12345678'],
    ['slack', '#general'],
    ['discord', 'channel:123456789012345678'],
    ['telegram', '123456789'],
    ['telegram', '@somebody'],
    ['telegram', 'tg:-1001234567890:topic:5'],
    ['whatsapp', '+15551234567'],
    ['whatsapp', '4915112345678@s.whatsapp.net'],
    ['signal', 'signal:+15551234567'],
    ['imessage', 'imessage:+15551234567'],
    ['imessage', 'someone@example.com'],
    ['matrix', '!room:example.org'],
    ['msteams', 'conversation:19:abc@thread.tacv2'],
    ['sms', '+15551234567'],
    ['irc', '#openclaw'],
  ];
  for (const [channel, to] of good) it(`${channel} takes ${to}`, () => assert.equal(said(channel, to), 'ok'));

  const foreign: readonly [string, string][] = [
    ['feishu', 'o9cq80zXpSmZ@im.wechat'],
    ['feishu', 'wxid_abc123'],
    ['feishu', 'user:wxid_abc123'],
    ['feishu', '+15551234567'],
    ['feishu', '120363424282127706@g.us'],
    ['openclaw-weixin', 'ou_7d8a6e6df7621556ce0d21922b676706'],
    ['slack', 'ou_7d8a6e6df7621556ce0d21922b676706'],
    ['telegram', 'C0123456789'],
    ['whatsapp', 'telegram:123456789'],
    ['slack', '123456789012345678'],
    ['discord', '+15551234567'],
    ['whatsapp', '@user:example.org'],
  ];
  for (const [channel, to] of foreign) it(`${channel} refuses ${to}`, () => assert.equal(said(channel, to), 'refused'));

  it('an unmistakable address is taken by its own channel and refused by every other', () => {
    assert.deepEqual(
      Object.keys(SURE).filter((id) => !CHANNELS.has(id)),
      [],
    );
    for (const [owner, to] of Object.entries(SURE)) {
      for (const channel of CHANNELS.keys()) {
        assert.equal(said(channel, to), channel === owner ? 'ok' : 'refused', `${to} for ${channel}`);
      }
    }
  });

  it('passes an unfamiliar form and an unknown channel, with a warning', () => {
    assert.equal(said('telegram', 'some body'), 'warned');
    assert.equal(said('msteams', 'user:John Smith'), 'warned');
    assert.equal(said('carrier-pigeon', 'ou_123'), 'warned');
  });

  it('says what to do, and does not repeat the address', () => {
    const check = checkOrigin({ channel: 'feishu', to: 'wxid_secret' });
    assert.ok(!check.ok);
    assert.equal(check.path, 'origin.to');
    assert.match(check.message, /openclaw-weixin, not of feishu/);
    assert.match(check.remedy, /ou_/);
    assert.doesNotMatch(check.message + check.remedy, /secret/);
  });
});

describe('an origin and the target of its call', () => {
  it('agree, or the target is complete', () => {
    assert.equal(said('feishu', 'ou_1', {}), 'ok');
    assert.equal(said('feishu', 'ou_1', { channel: 'lark', to: 'ou_1' }), 'ok');
    assert.equal(said('feishu', 'ou_1', { channel: 'slack', to: 'C0123456789' }), 'warned');
    assert.equal(said('feishu', 'ou_1', { to: 'ou_2' }), 'warned');
    assert.equal(said('feishu', 'ou_1', { accountId: 'other' }), 'warned');
  });

  it('are not mixed: the channel of one with the address of the other', () => {
    assert.equal(said('feishu', 'ou_1', { channel: 'openclaw-weixin' }), 'refused');
    assert.equal(said('feishu', 'e33ggbyz', { channel: 'openclaw-weixin', to: 'e33ggbyz' }), 'refused');
    const check = checkOrigin({ channel: 'feishu', to: 'ou_1' }, { to: 'wxid_1' });
    assert.deepEqual([check.ok, !check.ok && check.path], [false, 'params.to']);
  });
});

describe('an origin that is none', () => {
  const bad: readonly [unknown, string][] = [
    [null, 'origin'],
    ['feishu', 'origin'],
    [[], 'origin'],
    [{ to: 'x' }, 'origin.channel'],
    [{ channel: 'feishu' }, 'origin.to'],
    [{ channel: 'feishu', to: '' }, 'origin.to'],
    [{ channel: ' ', to: 'x' }, 'origin.channel'],
    [{ channel: 'last', to: 'x' }, 'origin.channel'],
    [{ channel: 'feishu', to: 7 }, 'origin.to'],
    [{ channel: 'feishu', to: 'ou_1', accountId: '' }, 'origin.accountId'],
    [{ channel: 'feishu', to: 'ou_1', account: 'x' }, 'origin.account'],
    [{ channel: 'feishu', to: 'ou_1\n' }, 'origin.to'],
    [{ channel: 'feishu', to: 'x'.repeat(600) }, 'origin.to'],
  ];
  for (const [origin, path] of bad) {
    it(`${JSON.stringify(origin)?.slice(0, 50)} names ${path}`, () => {
      const check = checkOrigin(origin as DeliveryOrigin);
      assert.equal(check.ok ? '' : check.path, path);
    });
  }

  it('never throws and is never slow, whatever it is given', () => {
    const text = fc.oneof(fc.string({ maxLength: 600 }), fc.constantFrom('constructor', '__proto__', 'a'.repeat(512)));
    const began = process.hrtime.bigint();
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(...CHANNELS.keys()), text), text, (channel, to) => {
        checkOrigin({ channel, to }, { to });
      }),
      { numRuns: 300 },
    );
    assert.ok(process.hrtime.bigint() - began < 2_000_000_000n);
  });
});
