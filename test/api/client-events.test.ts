import assert from 'node:assert/strict';
import type { ClientEvent, GapEvent } from '../../lib/index.js';
import { bounded } from '../support/collect.js';
import { attach, begin, gateway, idle, type Session } from '../support/gateways.js';

/** What the gateway broadcasts, but for what it sends by itself. */
function broadcasts(session: Session): unknown[] {
  return session.events.all.flatMap((event) =>
    event.type === 'event' && event.event.startsWith('test.') ? [`${event.event} ${event.seq}`] : [],
  );
}

describe('the events of a client', () => {
  it('reach every listener, as records, until its own off() is called', async () => {
    await using gw = await gateway();
    await using session = idle(gw);
    const first: string[] = [];
    const second: string[] = [];
    const off = session.client.on('state', ({ from, to }) => first.push(`${from} ${to}`));
    session.client.on('state', ({ to }) => {
      second.push(to);
      if (to === 'handshaking') off();
    });
    session.client.start();
    await session.client.ready({ timeout: 5000 });
    off();
    assert.deepEqual(first, ['idle connecting', 'connecting handshaking']);
    assert.deepEqual(second, ['connecting', 'handshaking', 'online']);
    const attempt = session.events.all.find((event) => event.type === 'attempt');
    assert.deepEqual(attempt && { ...attempt, elapsed: 0 }, {
      type: 'attempt',
      number: 1,
      phase: 'online',
      elapsed: 0,
    });
  });

  it('tell of a failure with its reason, its error and the time to the next dial', async () => {
    await using gw = await gateway({ faults: [{ name: 'close-on-accept', times: 1 }] });
    await using session = begin(gw);
    await session.client.ready({ timeout: 5000 });
    const waiting = session.events.all.find((event) => event.type === 'state' && event.to === 'waiting');
    assert.ok(waiting?.type === 'state');
    assert.deepEqual([waiting.reason, waiting.error?.reason, waiting.attempt], ['outage', 'outage', 1]);
    assert.ok(waiting.retryIn !== undefined && waiting.retryIn > 0);
  });

  it('P02 come to the other listeners, and the client goes on, whatever one listener does', async () => {
    await using gw = await gateway();
    await using session = idle(gw);
    const wild: readonly (() => unknown)[] = [
      () => {
        throw new Error('sync');
      },
      async () => {
        throw new Error('async');
      },
      () => {
        throw undefined;
      },
      () => Promise.reject(),
      () => new Promise(() => {}),
      () => session.client.start(),
    ];
    const types = ['state', 'attempt', 'restart', 'event', 'gap'] as const;
    for (const type of types) for (const listener of wild) session.client.on(type, () => listener() as undefined);
    const calm = new Set<string>();
    for (const type of types) session.client.on(type, () => calm.add(type));
    session.client.start();
    await session.client.ready({ timeout: 5000 });
    gw.send('test.event', {}, { seq: 100 });
    gw.send('test.event', {}, { seq: 200 });
    await gw.restart();
    await gw.until(() => gw.hellos === 2);
    assert.deepEqual(await session.client.call('test.echo', { a: 1 }), { a: 1 });
    assert.deepEqual([...calm].sort(), [...types].sort());
    const faults = session.journal.of('fault');
    assert.ok(faults.length >= 4 * 5, `${faults.length} lines`);
    for (const line of faults) assert.match(line.where ?? '', /^listener of (state|attempt|restart|event|gap)$/);
  });

  it('P02 may be answered by closing the client in the middle of it', async () => {
    for (const type of ['state', 'attempt'] as const) {
      await using gw = await gateway();
      await using session = idle(gw);
      session.client.on(type, () => void session.client.close());
      session.client.start();
      assert.equal((await bounded(session.client.done, `the end from ${type}`)).outcome, 'closed');
    }
  });

  it('can be iterated, from the call of events() on, and end with the client', async () => {
    await using gw = await gateway();
    await using session = idle(gw);
    const stream = session.client.events();
    session.client.start();
    await session.client.ready({ timeout: 5000 });
    const seen: ClientEvent[] = [];
    const reading = (async () => {
      for await (const event of stream) {
        seen.push(event);
        if (event.type === 'state' && event.to === 'online') void session.client.close();
      }
    })();
    await bounded(reading, 'the end of the events');
    const states = seen.flatMap((event) => (event.type === 'state' ? [event.to] : []));
    assert.deepEqual(states, ['connecting', 'handshaking', 'online', 'closing', 'stopped']);
    for await (const late of session.client.events()) assert.fail(`an event after the end: ${late.type}`);
  });

  it('stop being iterated by a signal, and by leaving the loop', async () => {
    await using gw = await gateway();
    await using session = idle(gw);
    const controller = new AbortController();
    let read = 0;
    const reading = (async () => {
      for await (const _event of session.client.events({ signal: controller.signal })) read += 1;
    })();
    const leaving = (async () => {
      for await (const event of session.client.events()) if (event.type === 'attempt') return event.number;
      return 0;
    })();
    session.client.start();
    assert.equal(await bounded(leaving, 'the first attempt'), 1);
    controller.abort();
    await bounded(reading, 'the end by the signal');
    assert.ok(read > 0);
    for await (const _event of session.client.events({ signal: AbortSignal.abort() }))
      assert.fail('an event after the abort');
  });

  it('L09 tell of a gap, and drop what comes twice or from the past', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    const gaps: GapEvent[] = [];
    session.client.on('gap', (gap) => gaps.push(gap));
    for (const seq of [101, 102, 105, 105, 103, 106]) gw.send('test.event', { seq }, { seq });
    await session.client.call('test.echo', {});
    assert.deepEqual(
      broadcasts(session),
      [101, 102, 105, 106].map((seq) => `test.event ${seq}`),
    );
    assert.deepEqual(gaps.slice(-1), [{ expected: 103, received: 105 }]);
    const before = gaps.length;
    gw.cutAll('reset');
    await gw.until(() => gw.hellos === 2);
    await session.client.ready({ timeout: 5000 });
    gw.send('test.again', {}, { seq: 1 });
    gw.send('test.again', {}, { seq: 2 });
    await session.client.call('test.echo', {});
    assert.deepEqual(broadcasts(session).slice(-2), ['test.again 1', 'test.again 2'], 'a new connection counts afresh');
    assert.equal(gaps.length, before);
  });

  it('carry what the gateway broadcasts under any name, without a number too', async () => {
    await using gw = await gateway();
    await using session = await attach(gw);
    gw.send('test.__proto__', { payload: 1 });
    gw.sendRaw('{"type":"event","event":"test.toString","payload":[1],"extra":true}');
    gw.sendRaw('{"type":"event","event":"test.odd","seq":"7"}');
    await session.client.call('test.echo', {});
    const names = broadcasts(session).map((text) => String(text).split(' ')[0]);
    assert.deepEqual(names, ['test.__proto__', 'test.toString', 'test.odd']);
    assert.deepEqual(broadcasts(session).slice(1), ['test.toString undefined', 'test.odd undefined']);
  });
});
