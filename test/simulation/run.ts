/** One seeded run: disturb, heal, recover, stay calm. */
import assert from 'node:assert/strict';
import type { ClientOptions } from '../../lib/core/options.js';
import { LIMITS } from '../../lib/core/policy.js';
import { Chance } from '../support/virtual-runtime.js';
import { FAULTS, Script } from './faults.js';
import { World } from './world.js';

export interface Scale {
  readonly steps: number;
  /** Longest step, in ms. */
  readonly longest: number;
}

/** For `npm test`; the soak uses longer lives. */
export const QUICK: Scale = { steps: 12, longest: 900_000 };
export const LONG: Scale = { steps: 60, longest: 7_200_000 };

export interface Outcome {
  readonly verdict: 'recovered' | 'ended';
  /** Ms from the heal, or from the start of a new process after it, to the hello. */
  readonly recovery: number;
  readonly extended: boolean;
  readonly dials: number;
}

const NAMES = Object.keys(FAULTS) as [string, ...string[]];

function optionsOf(chance: Chance): Omit<ClientOptions, 'url'> {
  return {
    reconnect: {
      jitter: chance.pick([0, 0.5, 1]),
      maxDelay: chance.pick([1000, 30_000]),
      connectTimeout: chance.pick([8000, 20_000]),
      restart: { window: chance.pick([5000, 60_000]) },
      ...(chance.draw() < 0.1 && { fleet: { size: 10, acceptRate: 10 } }),
    },
    giveUp: chance.pick([
      false,
      false,
      { after: 600_000 },
      { after: 60_000 },
      { maxAttempts: 20 },
      { after: 3_600_000, maxAttempts: 500 },
    ]),
    onPermanent: chance.pick(['hold', 'stop']),
    heartbeat: chance.pick([{}, {}, { timeout: 2000 }]),
  };
}

/** @throws AssertionError whose message names the seed, the steps and the command that repeats the run */
export function runSeed(seed: number, scale: Scale): Outcome {
  const chance = new Chance(seed);
  const world = new World(optionsOf(chance), seed);
  const script = new Script(world, chance);
  const steps: string[] = [];
  try {
    world.link.loopback = chance.draw() < 0.6;
    world.link.tickInterval = chance.pick([1000, 30_000]);
    world.start();
    const count = chance.whole(1, scale.steps);
    for (let n = 0; n < count; n += 1) {
      const name = chance.pick(NAMES);
      const ms = chance.span(1, scale.longest);
      steps.push(`${world.now} ${name} ${ms}`);
      FAULTS[name]?.(script, ms);
      if (chance.draw() < 0.3) script.after(chance.span(1, ms + 1), () => world.stale());
      world.run(chance.draw() < 0.3 ? ms * chance.draw() : ms + chance.span(1, 60_000));
    }
    if (chance.draw() < 0.1) return close(world);
    script.heal();
    steps.push(`${world.now} heal in ${world.state.status}`);
    return recover(world);
  } catch (error) {
    const replay = `npm run soak -- --seeds 1 --from ${seed}${scale === QUICK ? ' --quick' : ''}`;
    const what = error instanceof Error ? error.message : String(error);
    throw new assert.AssertionError({
      message: `seed ${seed} at ${world.now} ms: ${what}\n  ${steps.join('\n  ')}\n  replay: ${replay}`,
    });
  }
}

/** The owner closes it instead, in whatever state it is: it ends within a second, with 0, and nothing is left. */
function close(world: World): Outcome {
  const before = world.ends.length;
  world.link.answersClose = world.runtime.draw() < 0.5;
  world.driver.push({ type: 'close' });
  world.run(LIMITS.closeGrace);
  assert.equal(world.state.status, 'stopped');
  if (before === 0) assert.deepEqual([world.ends[0]?.outcome, world.ends[0]?.exitCode], ['closed', 0]);
  world.run(600_000);
  return ended(world);
}

function ended(world: World): Outcome {
  return { verdict: 'ended', recovery: 0, extended: false, dials: world.link.dials.length };
}

function recover(world: World): Outcome {
  if (world.state.status === 'stopped') {
    const [end] = world.ends;
    judgeEnd(world);
    if (end?.exitCode !== 75) return ended(world);
    world.run(10_000).respawn();
  }
  const { policy } = world;
  const spread = policy.fleet ? policy.spread.remote : 0;
  const base = policy.outage.maxDelay * 1.5 + policy.connectTimeout + spread;
  const began = world.now;
  const ordered = extension(world);
  // A dial under way at the heal may still bring an order: a hint, or a refusal.
  world.runUntil(
    () => world.state.status !== 'connecting' && world.state.status !== 'handshaking',
    policy.connectTimeout + 1000,
  );
  const extra = Math.max(ordered, extension(world));
  const back = (): boolean =>
    world.state.status === 'stopped' || (world.state.status === 'online' && world.link.sound && !world.state.shutdown);
  const recovered = world.runUntil(back, began + base + extra - world.now);
  if (world.state.status === 'stopped') {
    judgeEnd(world);
    return ended(world);
  }
  assert.ok(recovered, `not back ${base + extra} ms after the heal (state ${world.state.status})`);
  const recovery = world.now - began;
  assert.ok(world.link.request(), 'online, and a read is not answered');
  const dials = world.link.dials.length;
  const lines = world.told.length;
  world.run(600_000);
  assert.deepEqual(
    [world.state.status, world.link.dials.length - dials, world.told.length - lines],
    ['online', 0, 0],
    'not calm',
  );
  return { verdict: 'recovered', recovery, extended: extra > 0, dials };
}

/** What was legitimately ordered before the heal, in ms. */
function extension(world: World): number {
  const { state, policy } = world;
  if (state.status === 'blocked')
    return 1.5 * policy.blocked.maxDelay + policy.spread.remote + (state.failure?.retryAfter ?? 0);
  if (state.status === 'waiting') {
    const { failure, journey, since, until } = state;
    // An announced time outlives the window of its restart; no wait of our own is longer than the cap.
    const announced = journey.restart !== null || until - since > policy.outage.maxDelay;
    const ordered = announced || failure?.retryAfter !== undefined || failure?.reason === 'rate-limited';
    return ordered ? Math.max(until - world.now, 0) : 0;
  }
  if (state.status !== 'online') return 0;
  const announced = state.shutdown ? 60_000 + LIMITS.shutdownGrace + policy.spread.remote : 0;
  return announced + (world.link.sound ? 0 : (state.silenceLimit ?? 0) + LIMITS.silence.min);
}

/** An end must be one that the policy asked for, with its code, and not before its time. */
function judgeEnd(world: World): void {
  const [end] = world.ends;
  const { giveUp, onPermanent } = world.policy;
  assert.ok(end !== undefined && end.failure !== null, 'ended without a failure');
  assert.notEqual(end.outcome, 'closed', 'closed, and nobody asked');
  if (end.outcome === 'fatal') {
    assert.equal(onPermanent, 'stop');
    assert.ok([76, 77, 78].includes(end.exitCode), `exit ${end.exitCode}`);
    return;
  }
  const byTime = giveUp.after !== null && end.elapsed > giveUp.after - 1;
  const byAttempts = giveUp.maxAttempts !== null && end.attempts >= giveUp.maxAttempts;
  assert.ok(byTime || byAttempts, `gave up after ${end.elapsed} ms and ${end.attempts} attempts`);
  assert.equal(end.exitCode, end.failure.reason === 'pairing-required' ? 77 : 75, end.failure.reason);
}
