/** One schedule from its first call to the reckoning; and, when it fails, the shortest part of it that still does. */
import assert from 'node:assert/strict';
import { befall, heal } from './faults.js';
import { tempered } from './oddities.js';
import { type CallSpec, draw, type Schedule } from './schedule.js';
import { judge } from './verdict.js';
import { CallWorld, type Parts } from './world.js';

/** From the heal to the hello: the longest pause between dials and the dial, or a link that is found dead. */
const RECOVERY_MS = 70_000;
/** From there on nothing takes longer than one attempt, the longest hint, and another attempt. */
const CALM_MS = 130_000;
/** A read on a link and a gateway that are well. */
const PROBE_MS = 3000;

export interface Figures {
  readonly calls: number;
  readonly resolved: number;
  readonly unknown: number;
  readonly frames: number;
  readonly retried: number;
  readonly seconds: number;
}

export interface Setup {
  readonly parts?: Parts;
  /** Whether a schedule that fails is made as short as can be. */
  readonly shrinks?: boolean;
}

/** @throws AssertionError whose message names the seed, what was left of the schedule, and the command that repeats it */
export async function runSeed(seed: number, { parts = {}, shrinks = true }: Setup = {}): Promise<Figures> {
  const schedule = draw(seed);
  try {
    return await runSchedule(schedule, parts);
  } catch (error) {
    if (!shrinks) throw error;
    const { schedule: short, error: why } = await shrink(schedule, parts, error);
    const lines = [
      ...short.faults.map((step) => `  ${JSON.stringify(step)}`),
      ...short.calls.map((call) => `  ${JSON.stringify(call)}`),
      `  heal at ${short.healAt}, odd ${short.odd}, ${JSON.stringify(short.close ?? 'no close')}`,
    ];
    const replay = `node build/test/simulation/calls-soak.js --seeds 1 --from ${seed}`;
    throw new assert.AssertionError({
      message: `seed ${seed}: ${textOf(why)}\n${lines.join('\n')}\n  replay: ${replay}`,
    });
  }
}

async function runSchedule(schedule: Schedule, parts: Parts): Promise<Figures> {
  const world = new CallWorld(schedule.seed, parts);
  const { runtime, gateway } = world;
  const each = (): void => world.watch.check();
  gateway.temper = tempered(schedule.odd, schedule.oddities);
  gateway.slowest = schedule.slowest;
  gateway.drainHint = schedule.drainHint;
  gateway.listLag = schedule.listLag;
  world.driver.push({ type: 'start' });
  for (const spec of schedule.calls) runtime.setTimer(() => world.make(spec), spec.at);
  for (const step of schedule.faults) world.later(step.at, () => befall(world, step));
  const { close } = schedule;
  if (close !== undefined) runtime.setTimer(() => void world.close(close.grace), close.at);
  await world.run(schedule.healAt, each);
  world.endScript();
  heal(world);
  await world.run(RECOVERY_MS, each);
  if (close === undefined) await recovered(world, schedule.healAt, each);
  await world.run(CALM_MS, each);
  if (close === undefined) await probe(world, each);
  await world.run(PROBE_MS, each);
  judge(world);
  const settled = world.tracked.map(({ outcome }) => outcome);
  return {
    calls: settled.length,
    resolved: settled.filter((outcome) => outcome === 'executed').length,
    unknown: settled.filter((outcome) => outcome === 'unknown').length,
    frames: world.tracked.reduce((total, { handed }) => total + handed.length, 0),
    retried: world.retries,
    seconds: world.now / 1000,
  };
}

/** What waited at the heal and rides out everything has been done, and what is asked now is answered at once. */
async function recovered(world: CallWorld, healedAt: number, each: () => void): Promise<void> {
  assert.equal(world.driver.state.status, 'online', `not back ${RECOVERY_MS} ms after the heal`);
  for (const call of world.tracked) {
    const waited = (call.settledAt ?? Number.POSITIVE_INFINITY) >= healedAt && call.madeAt < healedAt;
    const patient =
      call.request.options.retry === 'always' && call.deadlineAt > world.now && !call.abort.signal.aborted;
    if (waited && patient && call.handed.length === 0)
      assert.equal(call.outcome, 'executed', `waited through it all, and was not done\n  ${call.story()}`);
  }
  await probe(world, each);
}

async function probe(world: CallWorld, each: () => void): Promise<void> {
  const made = ['health', 'test.count', 'health'].map((method, index): CallSpec => {
    const marker = `probe-${world.now}-${index}`;
    return { at: world.now, marker, method, params: { marker }, options: { retry: index === 2 ? 'never' : 'restart' } };
  });
  const probes = made.map((spec) => world.make(spec));
  await world.run(PROBE_MS, each);
  for (const call of probes)
    assert.equal(call.outcome, 'executed', `all is well, and a call is not served\n  ${call.story()}`);
}

/** Halves of calls and of faults are left out as long as it still fails. */
async function shrink(
  schedule: Schedule,
  parts: Parts,
  error: unknown,
): Promise<{ schedule: Schedule; error: unknown }> {
  let best = { schedule, error };
  for (const part of ['calls', 'faults'] as const) {
    for (let size = Math.ceil(best.schedule[part].length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < best.schedule[part].length; ) {
        const list = best.schedule[part];
        const shorter: Schedule = {
          ...best.schedule,
          [part]: list.filter((_, index) => index < at || index >= at + size),
        };
        try {
          await runSchedule(shorter, parts);
          at += size;
        } catch (why) {
          best = { schedule: shorter, error: why };
        }
      }
    }
  }
  return best;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
