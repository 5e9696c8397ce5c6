/** A host that sleeps, stops or has its clock set; and the trace that such an incident leaves. */
import assert from 'node:assert/strict';
import { transition } from '../../lib/core/connection.js';
import { INITIAL, type State } from '../../lib/core/machine.js';
import { REFUSE, SERVE } from '../support/scripted-peer.js';
import { World } from './world.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const BUDGET = { giveUp: { after: 10 * MINUTE } };

function online(options: ConstructorParameters<typeof World>[0] = {}): World {
  const world = new World(options).start().run(20_000);
  assert.equal(world.state.status, 'online');
  return world;
}

describe('a host that sleeps', () => {
  it('for 8 h, its clocks with it, believes no link it left behind and loses no budget', () => {
    const world = online(BUDGET);
    world.link.deafen();
    world.runtime.suspend(8 * HOUR);
    assert.ok(
      world.runUntil(() => world.state.status !== 'online', 12_000),
      'a dead link survived the sleep',
    );
    assert.ok(world.runUntil(() => world.state.status === 'online', 2000));
    assert.equal(world.ends.length, 0);
  });

  it('for 8 h on a clock that runs on, in the middle of an outage, goes on where it was', () => {
    const world = online(BUDGET);
    world.link.behaviour = REFUSE;
    world.link.close(1006);
    world.run(5 * MINUTE);
    world.freeze(8 * HOUR);
    world.run(MINUTE);
    assert.notEqual(world.state.status, 'stopped', 'eight hours of sleep are no ten minutes of outage');
    world.link.behaviour = SERVE;
    assert.ok(world.runUntil(() => world.state.status === 'online', 35_000));
  });

  it('and finds its link alive keeps it: what arrived meanwhile is read before anything is judged', () => {
    const world = online();
    world.freeze(5 * MINUTE);
    world.run(MINUTE);
    assert.deepEqual([world.state.status, world.link.dials.length], ['online', 1]);
  });

  it('or has its clock set by a day does nothing early and nothing late', () => {
    const world = online(BUDGET);
    for (const by of [86_400_000, -172_800_000]) {
      world.runtime.setWall(by);
      world.run(HOUR);
    }
    assert.deepEqual([world.state.status, world.link.dials.length], ['online', 1]);
  });
});

describe('a trace', () => {
  it('of the last steps replays to the state the driver is in, as JSON in a give-up record would', () => {
    const world = new World({ giveUp: { maxAttempts: 6 } });
    world.link.behaviour = REFUSE;
    world.start().run(MINUTE);
    assert.equal(world.state.status, 'stopped');
    let state: State = INITIAL;
    for (const { event, now, draw } of JSON.parse(JSON.stringify(world.driver.trace))) {
      state = transition(world.policy, state, event, { now, draw }).state;
    }
    assert.deepEqual(JSON.parse(JSON.stringify(state)), JSON.parse(JSON.stringify(world.state)));
  });
});
