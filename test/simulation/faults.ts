/** What can befall a client, as steps of a script. Each step lasts for a while; steps may overlap. */
import {
  type Behaviour,
  DRAINING,
  fail,
  REFUSE,
  RESET,
  reject,
  SERVE,
  SHUT_OUT,
  STARTING,
  WRONG_TOKEN,
} from '../support/scripted-peer.js';
import type { Chance } from '../support/virtual-runtime.js';
import type { World } from './world.js';

/** A script that can be called off: after the heal nothing of it happens any more. */
export class Script {
  readonly world: World;
  readonly chance: Chance;
  #over = false;

  constructor(world: World, chance: Chance) {
    this.world = world;
    this.chance = chance;
  }

  after(ms: number, act: () => void): void {
    this.world.after(ms, () => {
      if (!this.#over) act();
    });
  }

  /** Every dial of the next `ms` meets this; then they are served again. */
  meets(behaviour: Behaviour, ms: number): void {
    this.world.link.behaviour = behaviour;
    this.after(ms, () => {
      this.world.link.behaviour = SERVE;
    });
  }

  /** From now on everything behaves. What the client has in hand is not touched. */
  heal(): void {
    this.#over = true;
    const { link } = this.world;
    link.behaviour = SERVE;
    link.draining = false;
    link.ready = true;
    link.answersClose = true;
  }
}

export type Fault = (script: Script, ms: number) => void;

/** A restart as gateways make it: announced, closed, refused, starting, and back with another boot id. */
function restart(script: Script, ms: number): void {
  const { link } = script.world;
  const announced = script.chance.draw();
  if (announced < 0.7) link.shutdown(script.chance.pick([0, 1500, 1e9]));
  script.after(script.chance.whole(0, 20), () => {
    if (announced < 0.9) link.close(1012, 'service restart');
    else link.close(1006);
  });
  link.newBoot();
  link.ready = false;
  link.behaviour = REFUSE;
  script.after(ms * 0.8, () => {
    link.behaviour = STARTING;
  });
  script.after(ms, () => {
    link.ready = true;
    link.behaviour = SERVE;
  });
}

function stop(script: Script, ms: number): void {
  script.world.link.shutdown(null);
  script.world.link.close(1012, 'service restart');
  script.world.link.newBoot();
  script.meets(REFUSE, ms);
}

function kill(script: Script, ms: number): void {
  script.world.link.close(1006);
  script.world.link.newBoot();
  script.meets(REFUSE, ms);
}

/** Hello, then a close, again and again. */
function flap(code: number, reason: string): Fault {
  return (script, ms) => {
    const every = script.chance.span(20, 12_000);
    for (let t = every, n = 0; t < ms && n < 200; t += every, n += 1)
      script.after(t, () => script.world.link.close(code, reason));
  };
}

function drain(script: Script, ms: number): void {
  const { link } = script.world;
  link.draining = true;
  link.behaviour = DRAINING;
  script.after(ms, () => {
    link.draining = false;
    link.behaviour = SERVE;
  });
}

/** The gateway does not run for a while; its sockets outlive that. */
function stopped(script: Script, ms: number): void {
  script.world.link.deafen();
  script.meets({ kind: 'hang', phase: 'upgrade' }, ms);
  script.after(ms, () => script.world.link.undeafen());
}

function dials(behaviour: Behaviour): Fault {
  return (script, ms) => {
    script.world.link.close(1006);
    script.meets(behaviour, ms);
  };
}

const http = (status: number, retryAfterMs?: number): Behaviour =>
  fail({ kind: 'upgrade', status, body: '', ...(retryAfterMs !== undefined && { retryAfterMs }) });

export const FAULTS: Readonly<Record<string, Fault>> = {
  refused: dials(REFUSE),
  reset: dials(RESET),
  'hangs in tcp': dials({ kind: 'hang', phase: 'tcp' }),
  'hangs before the hello': dials({ kind: 'hang', phase: 'hello' }),
  slow: dials({ kind: 'serve', ms: 6000 }),
  'too slow': dials({ kind: 'serve', ms: 60_000 }),
  starting: dials(STARTING),
  'hint of nothing': dials(reject('UNAVAILABLE', { reason: 'startup-sidecars' }, { retryAfterMs: 0 })),
  'wrong token': dials(WRONG_TOKEN),
  'locked out': dials(SHUT_OUT),
  pairing: dials(reject('NOT_PAIRED', { code: 'PAIRING_REQUIRED', requestId: 'r-1' })),
  'other protocol': dials(reject('INVALID_REQUEST', { code: 'PROTOCOL_MISMATCH' })),
  garbage: dials(fail({ kind: 'garbage', phase: 'challenge', code: 'BAD_CHALLENGE', message: '' })),
  'HTTP 503': dials(http(503)),
  'HTTP 503 with a hint': dials(http(503, 7000)),
  'HTTP 429': dials(http(429, 3000)),
  'HTTP 401': dials(http(401)),
  'proxy 502': dials(http(502)),
  'provider fails': dials(fail({ kind: 'provider', provider: 'token', code: 'PROVIDER_FAILED', message: '' }, 1)),
  'provider hangs': dials({ kind: 'provider', ms: 1e9 }),
  'provider is slow': dials({ kind: 'provider', ms: 8000 }),
  'no descriptors': dials(fail({ kind: 'socket', phase: 'tcp', code: 'EMFILE', message: '' })),
  restart,
  stop,
  kill,
  drain,
  stopped,
  'half-open': ({ world }) => world.link.deafen(),
  'announced and not closed': ({ world }) => world.link.shutdown(1500),
  'authority changed': ({ world }) => world.link.close(4001, 'gateway auth changed'),
  'capabilities changed': ({ world }) => world.link.close(1012, 'node capabilities changed'),
  'try again': ({ world }) => world.link.close(1013, 'gateway starting'),
  flapping: flap(1011, ''),
  'restarts at every hello': flap(1012, 'service restart'),
  'we are stopped': ({ world }, ms) => world.freeze(Math.min(ms, 600_000)),
  'we sleep': ({ world }, ms) => {
    world.runtime.suspend(ms);
    world.excuse();
  },
  'the clock is set': ({ world, chance }) => world.runtime.setWall(chance.pick([-86_400_000, 86_400_000, 3000])),
};
