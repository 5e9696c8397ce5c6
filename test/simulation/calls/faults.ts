/** What can befall a gateway with calls in flight, and the way to it. A step lasts for a while; steps may overlap. */
import { DRAINING, REFUSE, SERVE, STARTING } from '../../support/scripted-peer.js';
import { Chance } from '../../support/virtual-runtime.js';
import { ODDITY_NAMES, tempered } from './oddities.js';
import type { FaultStep } from './schedule.js';
import type { CallWorld } from './world.js';

type Fault = (world: CallWorld, ms: number, chance: Chance) => void;

/** The gateway ends, as it does on purpose: a drain or none, an announcement or none, a close frame or none. */
function goDown(world: CallWorld, chance: Chance, restartExpectedMs: number | null, then: () => void): void {
  const { gateway, wire } = world;
  const drain = chance.draw() < 0.4 ? chance.span(10, 5000) : 0;
  if (drain > 0) gateway.mode = 'draining';
  const announced = chance.draw() < 0.8;
  world.later(drain, () => {
    if (announced) {
      gateway.mode = chance.draw() < 0.6 ? 'fenced' : 'legacy';
      wire.toClient((link) => link.shutdown(restartExpectedMs));
    }
    world.later(chance.whole(0, 40), () => {
      if (chance.draw() < 0.9) wire.toClient((link) => link.close(1012, 'service restart'));
      else wire.cut(1006, 0);
      // What it works on when it closes may still be finished.
      world.later(chance.pick([0, 0, 300]), () => {
        gateway.kill();
        wire.cut(1006, 0);
        wire.link.behaviour = REFUSE;
        then();
      });
    });
  });
}

function comeUp(world: CallWorld, chance: Chance): void {
  const { gateway, wire } = world;
  // Another step has brought it up already.
  if (gateway.alive) return;
  const starting = chance.draw() < 0.4 ? chance.span(50, 2000) : 0;
  if (starting > 0) wire.link.behaviour = STARTING;
  world.later(starting, () => {
    if (gateway.alive) return;
    world.boot();
    if (chance.draw() < 0.3) {
      gateway.mode = 'starting';
      world.later(chance.span(50, 3000), () => {
        if (gateway.mode === 'starting') gateway.mode = 'ready';
      });
    }
  });
}

const restart: Fault = (world, ms, chance) => {
  goDown(world, chance, chance.pick([0, 1500]), () => world.later(Math.min(ms, 15_000), () => comeUp(world, chance)));
};

const stop: Fault = (world, ms, chance) => {
  goDown(world, chance, null, () => world.later(ms, () => comeUp(world, chance)));
};

const kill: Fault = (world, ms, chance) => {
  world.gateway.kill();
  world.wire.cut(1006, chance.pick([0, 0, 5, 100]));
  world.wire.link.behaviour = REFUSE;
  world.later(ms, () => comeUp(world, chance));
};

/** The link ends, the gateway does not: what it works on goes on unseen. */
const cut: Fault = (world, ms, chance) => {
  world.wire.cut(1006, chance.pick([0, 0, 5, 100, 2000]));
  if (chance.draw() < 0.5) return;
  world.wire.link.behaviour = REFUSE;
  world.later(ms, () => {
    if (world.gateway.alive) world.wire.link.behaviour = SERVE;
  });
};

const flap: Fault = (world, ms, chance) => {
  for (let at = 0, n = 0; at < ms && n < 30; at += chance.span(1, 4000), n += 1)
    world.later(at, () => world.wire.cut(1006, 0));
};

/** The link breaks; the same gateway is found again, suspended perhaps, and goes down soon after. */
const cutThenDown: Fault = (world, _ms, chance) => {
  world.wire.cut(1006, 0);
  if (world.gateway.mode === 'ready' && chance.draw() < 0.5) world.gateway.mode = 'suspended';
  const dialled = world.wire.link.dials.length;
  const wait = (): void => {
    if (world.wire.link.dials.length === dialled || world.gate !== 'open') world.later(10, wait);
    else world.later(chance.span(1, 1000), () => restart(world, chance.span(50, 3000), chance));
  };
  wait();
};

/** It drains, or is suspended, and takes it up again: nothing restarts. */
const drain: Fault = (world, ms, chance) => {
  const { gateway, wire } = world;
  if (gateway.mode !== 'ready') return;
  gateway.mode = chance.pick(['draining', 'suspended']);
  if (chance.draw() < 0.5) wire.link.behaviour = DRAINING;
  world.later(ms, () => {
    if (gateway.mode !== 'draining' && gateway.mode !== 'suspended') return;
    gateway.mode = 'ready';
    if (gateway.alive) wire.link.behaviour = SERVE;
  });
};

const freeze: Fault = (world, ms) => {
  world.gateway.freeze();
  world.wire.link.deafen();
  world.wire.link.behaviour = { kind: 'hang', phase: 'upgrade' };
  world.later(ms, () => world.thaw());
};

const busy: Fault = (world, ms, chance) => {
  const { gateway } = world;
  const before = gateway.temper;
  gateway.temper = tempered(chance.draw(), ODDITY_NAMES);
  world.later(ms, () => {
    gateway.temper = before;
  });
};

const FAULTS: Readonly<Record<string, Fault>> = {
  restart,
  'restart again': restart,
  stop,
  kill,
  cut,
  flap,
  'cut, then down': cutThenDown,
  'cut, then down again': cutThenDown,
  drain,
  'drain again': drain,
  freeze,
  busy,
  'half-open': ({ wire }) => wire.deafen(),
  // Announced, and neither closed nor restarted.
  'false alarm': ({ wire }) => wire.toClient((link) => link.shutdown(1500)),
  'capabilities changed': ({ wire }) => wire.toClient((link) => link.close(1012, 'node capabilities changed')),
  'too big': ({ wire }) => wire.toClient((link) => link.close(1009)),
  'authority changed': ({ wire }) => wire.toClient((link) => link.close(4001, 'gateway auth changed')),
  'we are stopped': (world, ms) => world.freeze(Math.min(ms, 20_000)),
};

export const FAULT_NAMES: [string, ...string[]] = Object.keys(FAULTS) as [string, ...string[]];

export function befall(world: CallWorld, { name, ms, seed }: FaultStep): void {
  FAULTS[name]?.(world, ms, new Chance(seed));
}

/** From now on everything behaves. What the client has in hand is not touched. */
export function heal(world: CallWorld): void {
  const { gateway, wire } = world;
  world.thaw();
  gateway.temper = ({ answer }) => answer(0);
  gateway.slowest = 20;
  if (!gateway.alive) world.boot();
  gateway.mode = 'ready';
  wire.link.behaviour = SERVE;
}
