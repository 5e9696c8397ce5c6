/** Long lives that were reported, or that peers are known to get wrong: hours in milliseconds. */
import assert from 'node:assert/strict';
import { DRAINING, fail, REFUSE, SERVE, SHUT_OUT, STARTING, WRONG_TOKEN } from '../support/scripted-peer.js';
import { World } from './world.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const BUDGET = { giveUp: { after: 10 * MINUTE } };

/** Ms between one attempt line and the next. */
function gaps(world: World): number[] {
  const at = world.told.filter(({ notice }) => notice.type === 'attempt').map((line) => line.at);
  return at.slice(1).map((time, n) => time - (at[n] ?? 0));
}

function online(options: ConstructorParameters<typeof World>[0] = {}): World {
  const world = new World(options).start().run(20_000);
  assert.equal(world.state.status, 'online');
  return world;
}

/** `shutdown`, 1012, a closed port for `ms`, another boot id. */
function restart(world: World, ms: number): void {
  world.link.shutdown(1500);
  world.link.close(1012, 'service restart');
  world.link.newBoot();
  world.link.behaviour = REFUSE;
  world.after(ms, () => {
    world.link.behaviour = SERVE;
  });
}

describe('an outage', () => {
  it('of 25 h with no budget ends in one line for every dial, and never a longer gap than delay and deadline', () => {
    const world = online();
    world.link.behaviour = REFUSE;
    world.link.close(1006);
    world.run(25 * HOUR);
    assert.equal(world.state.status, 'waiting');
    assert.equal(world.notices('attempt').length, world.link.dials.length);
    assert.ok(Math.max(...gaps(world).slice(1)) <= 30_000 + 20_000, `${Math.max(...gaps(world))} ms of silence`);
    assert.ok(
      world.link.dials.length > 25 * 120 && world.link.dials.length < 25 * 300,
      `${world.link.dials.length} dials`,
    );
    world.link.behaviour = SERVE;
    assert.ok(world.runUntil(() => world.state.status === 'online', 30_000 + 1000));
  });

  it('that outlives the budget ends the client at it, 75, and not a second before', () => {
    const world = online(BUDGET);
    world.link.behaviour = REFUSE;
    world.link.close(1006);
    world.run(10 * MINUTE - 1);
    assert.notEqual(world.state.status, 'stopped');
    world.run(1);
    assert.deepEqual(
      world.ends.map(({ outcome, exitCode, elapsed }) => [outcome, exitCode, elapsed]),
      [['gave-up', 75, 10 * MINUTE]],
    );
    assert.equal(world.notices('giveup').length, 1);
  });

  it('in which the gateway accepts and never answers costs one dial at a time, each ended at its deadline', () => {
    const world = online();
    world.link.behaviour = { kind: 'hang', phase: 'upgrade' };
    world.link.close(1006);
    world.run(HOUR);
    const failed = world.notices('attempt').filter(({ failure }) => failure !== null);
    assert.ok(failed.every(({ elapsed, failure }) => elapsed === 20_000 && failure?.reason === 'unresponsive'));
    world.link.behaviour = SERVE;
    assert.ok(world.runUntil(() => world.state.status === 'online', 20_000 + 30_000));
  });

  it('in which the token provider never settles is a failed attempt each time, and heals by itself', () => {
    const world = new World();
    world.link.behaviour = { kind: 'provider', ms: 1e9 };
    world.start().run(HOUR);
    const [first] = world.notices('attempt');
    assert.deepEqual([first?.phase, first?.failure?.reason, first?.elapsed], ['provider', 'local', 10_000]);
    world.link.behaviour = SERVE;
    assert.ok(world.runUntil(() => world.state.status === 'online', 45_000));
  });
});

describe('a link that does not last', () => {
  it('for 6 h grows the back-off and never becomes a dial a second, because attempts are forgiven only for uptime', () => {
    const world = online();
    const flap = (): void => {
      world.link.close(1011);
      world.after(500, flap);
    };
    flap();
    const from = world.link.dials.length;
    world.run(6 * HOUR);
    const dials = world.link.dials.length - from;
    assert.ok(dials < 6 * 120 * 2 && dials > 6 * 60, `${dials} dials in 6 h`);
    assert.equal(world.state.status === 'stopped', false);
  });

  it('for 6 h ends a client with a budget, because a flapping link serves nobody', () => {
    const world = online(BUDGET);
    const flap = (): void => {
      world.link.close(1011);
      world.after(500, flap);
    };
    flap();
    world.run(6 * HOUR);
    assert.deepEqual(
      world.ends.map(({ exitCode }) => exitCode),
      [75],
    );
  });

  it('while it restarts 30 times in 60 s is no reason to give up: a new instance is progress, and each has its id', () => {
    const world = online({ giveUp: { after: 30_000 } });
    for (let n = 0; n < 30; n += 1) {
      restart(world, 300);
      world.run(2000);
    }
    assert.ok(world.runUntil(() => world.state.status === 'online', 35_000));
    const began = world.notices('restart').filter(({ phase }) => phase === 'began');
    assert.equal(new Set(began.map(({ id }) => id)).size, began.length);
    assert.ok(began.length >= 20, `${began.length} restarts seen`);
    assert.equal(world.ends.length, 0);
  });
});

describe('a restart', () => {
  it('on loopback is over within a quarter of a second of the gateway being there again', () => {
    for (const down of [200, 1600, 3800, 5900, 7300]) {
      const world = online();
      restart(world, down);
      world.run(down);
      const back = world.now;
      assert.ok(
        world.runUntil(() => world.state.status === 'online', 500),
        `down ${down} ms`,
      );
      assert.ok(
        (world.told.at(-1)?.at ?? 0) - back <= 300,
        `${(world.told.at(-1)?.at ?? 0) - back} ms late after ${down} ms`,
      );
      const reasons = new Set(world.notices('attempt').map(({ failure }) => failure?.reason ?? null));
      assert.deepEqual([...reasons], [null, 'gateway-restart']);
    }
  });

  it('that passes through a start is watched by the probe, so that no hint is waited out in vain', () => {
    const world = online();
    restart(world, 1e9);
    world.run(1600);
    world.link.behaviour = STARTING;
    world.run(700);
    world.link.behaviour = SERVE;
    world.link.ready = true;
    assert.ok(world.runUntil(() => world.state.status === 'online', 300));
  });
});

describe('a gateway that never finishes', () => {
  it('starting is asked at its own pace for 10 s, then ever more slowly, and is given up at the budget', () => {
    const world = new World(BUDGET);
    world.link.behaviour = STARTING;
    world.start().run(10_000);
    assert.ok(
      gaps(world).every((gap) => gap >= 500 && gap <= 800),
      String(gaps(world)),
    );
    world.run(MINUTE);
    assert.ok((gaps(world).at(-1) ?? 0) >= 15_000, `still every ${gaps(world).at(-1)} ms after a minute`);
    world.run(10 * MINUTE);
    assert.deepEqual(
      world.ends.map(({ exitCode }) => exitCode),
      [75],
    );
    const counted = world.notices('attempt').filter(({ failure }) => failure?.reason === 'gateway-starting').length;
    assert.ok(counted < 60, `${counted} dials in 10 min`);
  });

  it('starting is an outage after ten minutes when there is no budget', () => {
    const world = new World();
    world.link.behaviour = STARTING;
    world.start().run(12 * MINUTE);
    assert.equal(world.notices('attempt').at(-1)?.failure?.reason, 'outage');
  });

  it('draining on a live link is redialled at 330 s, and ends the client when it goes on and on', () => {
    const world = online(BUDGET);
    world.link.draining = true;
    world.link.behaviour = DRAINING;
    world.run(5 * MINUTE);
    assert.equal(world.state.status, 'online', 'five minutes are within the budget of a drain');
    world.run(MINUTE);
    assert.notEqual(world.state.status, 'online');
    world.run(12 * MINUTE);
    assert.deepEqual(
      world.ends.map(({ outcome, exitCode }) => [outcome, exitCode]),
      [['gave-up', 75]],
    );
  });
});

describe('a refusal', () => {
  it('for a lockout is waited out in full, never asked earlier, and heals by itself', () => {
    const world = new World();
    world.link.behaviour = SHUT_OUT;
    world.start().run(1000);
    world.link.behaviour = SERVE;
    world.run(290_000);
    assert.equal(world.link.dials.length, 1);
    assert.ok(world.runUntil(() => world.state.status === 'online', 8000));
  });

  it('of the token asks at most four times a minute, and is over within a minute of the rotation', () => {
    const world = new World(BUDGET);
    world.link.behaviour = WRONG_TOKEN;
    world.start().run(10 * MINUTE);
    assert.equal(world.state.status, 'blocked');
    const { dials } = world.link;
    for (const at of dials) assert.ok(dials.filter((other) => other >= at && other < at + MINUTE).length <= 4);
    world.link.behaviour = SERVE;
    assert.ok(
      world.runUntil(() => world.state.status === 'online', MINUTE + 1000),
      'hold never gives up',
    );
  });

  it('of three kinds that end in peers for ever is here one line more and a slower dial', () => {
    for (const code of ['PROTOCOL_MISMATCH', 'PAIRING_REQUIRED', 'DEVICE_AUTH_SIGNATURE_INVALID']) {
      const world = new World();
      world.link.behaviour = fail({
        kind: 'refused',
        error: { code: 'INVALID_REQUEST', message: code, details: { code } },
      });
      world.start().run(15 * MINUTE);
      assert.equal(world.state.status, 'blocked', code);
      world.link.behaviour = SERVE;
      assert.ok(
        world.runUntil(() => world.state.status === 'online', MINUTE + 1000),
        code,
      );
    }
  });
});
