import assert from 'node:assert/strict';
import { IsolatedEmitter, type Tagged } from '../../lib/api/emitter.js';
import { bounded } from '../support/collect.js';

interface Events {
  tick: { readonly n: number };
  tock: { readonly text: string };
}

function made(): { emitter: IsolatedEmitter<Events>; faults: string[] } {
  const faults: string[] = [];
  return {
    emitter: new IsolatedEmitter<Events>((event, error) =>
      faults.push(`${event}: ${error instanceof Error ? error.message : error}`),
    ),
    faults,
  };
}

async function collected(items: AsyncIterable<Tagged<Events>>): Promise<Tagged<Events>[]> {
  const all: Tagged<Events>[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('the emitter', () => {
  it('calls every listener in order, though some of them throw, reject or take themselves off', async () => {
    const { emitter, faults } = made();
    const heard: string[] = [];
    emitter.on('tick', () => {
      throw new Error('first');
    });
    const off = emitter.on('tick', ({ n }) => {
      heard.push(`b${n}`);
      off();
    });
    emitter.on('tick', async () => {
      throw new Error('third');
    });
    emitter.on('tick', ({ n }) => void heard.push(`d${n}`));
    emitter.emit('tick', { n: 1 });
    emitter.emit('tick', { n: 2 });
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(heard, ['b1', 'd1', 'd2']);
    assert.deepEqual(faults.sort(), ['tick: first', 'tick: first', 'tick: third', 'tick: third']);
  });

  it('knows whether anybody listens', () => {
    const { emitter } = made();
    assert.equal(emitter.has('tick'), false);
    const off = emitter.on('tick', () => {});
    assert.deepEqual([emitter.has('tick'), emitter.has('tock')], [true, false]);
    off();
    off();
    assert.equal(emitter.has('tick'), false);
    emitter.iterate();
    assert.equal(emitter.has('tock'), true);
  });

  it('yields what came since iterate() was called, in order and with its name', async () => {
    const { emitter } = made();
    emitter.emit('tick', { n: 0 });
    const items = emitter.iterate();
    emitter.emit('tick', { n: 1 });
    emitter.emit('tock', { text: 'two' });
    emitter.end();
    const expected = [
      { type: 'tick', n: 1 },
      { type: 'tock', text: 'two' },
    ];
    assert.deepEqual(await bounded(collected(items), 'the end'), expected);
  });

  it('keeps the last thousand for a reader that does not read', async () => {
    const { emitter } = made();
    const items = emitter.iterate();
    for (let n = 0; n < 1500; n += 1) emitter.emit('tick', { n });
    emitter.end();
    const kept = await collected(items);
    assert.deepEqual([kept.length, kept[0], kept.at(-1)], [1000, { type: 'tick', n: 500 }, { type: 'tick', n: 1499 }]);
  });

  it('wakes a reader that waits, by an event, by the end and by its signal', async () => {
    const { emitter } = made();
    const controller = new AbortController();
    const ended = collected(emitter.iterate());
    const aborted = collected(emitter.iterate(controller.signal));
    await new Promise((resolve) => setImmediate(resolve));
    emitter.emit('tick', { n: 1 });
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    assert.deepEqual(await bounded(aborted, 'the end by the signal'), [{ type: 'tick', n: 1 }]);
    emitter.emit('tick', { n: 2 });
    emitter.end();
    assert.deepEqual((await bounded(ended, 'the end')).length, 2);
    assert.deepEqual(await bounded(collected(emitter.iterate()), 'an iteration after the end'), []);
  });
});
