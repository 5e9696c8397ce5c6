import assert from 'node:assert/strict';
import { refusal } from '../support/collect.js';
import { attach, gateway } from '../support/gateways.js';

describe('frames that do not fit', () => {
  for (const variant of [
    'broken-json',
    'array',
    'number',
    'null',
    'binary',
    'deep',
    'unknown-type',
    'unknown-event',
    'prototype',
    'duplicate-response',
    'unknown-id',
  ] as const) {
    it(`X02, X03, Q08 of kind ${variant} are survived: calls are answered and the link stays`, async () => {
      await using gw = await gateway();
      await using session = await attach(gw);
      gw.inject({ name: 'wrong-frames', variant });
      for (let round = 0; round < 12; round += 1)
        assert.deepEqual(await session.client.call('test.echo', { round }), { round });
      assert.equal(gw.dials, 1);
      assert.equal(Reflect.get({}, 'polluted'), undefined);
      const unread = session.journal.of('unreadable-frame');
      assert.ok(unread.length <= 1, 'one line for a burst');
    });
  }

  it('X02 that are no UTF-8 end the link as the WebSocket protocol demands, and it is dialled again', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    gw.inject({ name: 'wrong-frames', variant: 'bad-utf8', times: 1 });
    await session.client.call('test.echo', {}, { retry: 'never', safety: 'once' }).catch(() => {});
    await gw.until(() => gw.dials <= 2 && gw.hellos >= 1);
    assert.equal((await session.client.ready({ timeout: 5000 })).protocol, 4);
    assert.deepEqual(await session.client.call('test.echo', { after: 1 }), { after: 1 });
  });

  it('X02 ten in a row mean that the peer is something else: reason protocol, and a new link', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    for (let count = 0; count < 9; count += 1) gw.sendRaw('{"type":');
    gw.send('presence', {});
    for (let count = 0; count < 9; count += 1) gw.sendRaw('{"type":');
    await session.client.call('test.echo', {});
    assert.equal(session.client.health().state, 'online', 'a good frame in between ends the row');
    for (let count = 0; count < 10; count += 1) gw.sendRaw('[]');
    const lost = await session.journal.until((line) => line.prevState === 'online', 'the loss');
    assert.deepEqual([lost.reason, lost.code], ['protocol', 'UNREADABLE_FRAMES']);
    await gw.until(() => gw.hellos === 2);
  });

  it('X01 that are too large, or claim to be, or never end, cut the link and name the limit', async () => {
    for (const variant of ['claim', 'response'] as const) {
      await using gw = await gateway({ faults: [{ name: 'giant-frame', variant, times: 1 }] });
      await using session = await attach(gw);
      const error = await refusal(session.client.call('test.echo', {}, { safety: 'once' }));
      assert.deepEqual([error.reason, error.outcome], ['protocol', 'unknown'], variant);
      assert.equal(error.code, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
      await gw.until(() => gw.hellos === 2);
    }
  });
});
