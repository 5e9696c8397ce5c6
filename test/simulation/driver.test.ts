/** The driver's own promises: what throws, what is lost, and what it notices by itself. */
import assert from 'node:assert/strict';
import type { Event, Notice } from '../../lib/core/machine.js';
import type { Policy } from '../../lib/core/policy.js';
import { Driver, type Observer, PULSE_MS } from '../../lib/io/driver.js';
import type { Runtime } from '../../lib/io/runtime.js';
import { NOBODY, policyFor } from '../model/machine.js';
import { REFUSE, ScriptedPeer } from '../support/scripted-peer.js';
import { VirtualRuntime } from '../support/virtual-runtime.js';

interface Setup {
  readonly runtime: VirtualRuntime;
  readonly driver: Driver;
  readonly link: ScriptedPeer;
  readonly seen: string[];
}

function setup(change: { observer?: Partial<Observer>; runtime?: Partial<Runtime>; policy?: Policy } = {}): Setup {
  const seen: string[] = [];
  const runtime = new VirtualRuntime(1);
  const link = new ScriptedPeer(runtime, (event: Event) => driver.push(event));
  const observer: Observer = {
    notice: (notice: Notice) => {
      if (notice.type === 'state') seen.push(notice.to);
    },
    gate: () => {},
    record: () => {},
    finish: ({ outcome, exitCode }) => seen.push(`finish ${outcome} ${exitCode}`),
    broken: (what, times) => seen.push(`broken ${times}: ${what}`),
    fault: (where) => seen.push(`fault ${where}`),
    ...change.observer,
  };
  const port: Runtime = {
    now: () => runtime.now(),
    wall: () => runtime.wall(),
    draw: () => 0,
    id: () => 'id',
    setTimer: (fire, ms) => runtime.setTimer(fire, ms),
  };
  const driver = new Driver(change.policy ?? policyFor(), { ...port, ...change.runtime }, observer, PULSE_MS);
  driver.attach(link);
  return { runtime, driver, link, seen };
}

describe('the driver', () => {
  it('goes on when an observer throws, because a logger must never decide about the link', () => {
    const bad = (): never => {
      throw new Error('EPIPE');
    };
    const { driver, link, runtime, seen } = setup({ observer: { notice: bad, gate: bad, record: bad } });
    link.behaviour = REFUSE;
    driver.push({ type: 'start' });
    runtime.run(60_000);
    assert.equal(driver.state.status, 'waiting');
    assert.ok(link.dials.length >= 5 && seen.includes('fault notify'), seen.join());
  });

  it('handles an event only after the one before, because a state that is half stored has no rules', () => {
    let inner: string | undefined;
    const { driver, seen } = setup({
      observer: {
        notice: (notice) => {
          if (notice.type !== 'state') return;
          seen.push(notice.to);
          if (notice.to !== 'connecting') return;
          driver.push({ type: 'down', epoch: 1, evidence: NOBODY });
          inner = driver.state.status;
        },
      },
    });
    driver.push({ type: 'start' });
    assert.equal(inner, 'connecting', 'the event pushed from inside waited');
    assert.deepEqual(seen, ['connecting', 'waiting']);
  });

  it('finds a live state whose timer was lost, dials anew, and ends with 70 the second time', () => {
    let lose = true;
    const { driver, link, runtime, seen } = setup({
      runtime: {
        setTimer: (fire, ms) => {
          // The retry timers of this test are the only ones of 1 s and 2 s.
          if (lose && ms > 900 && ms < 2001) throw new Error('no timer today');
          return runtime.setTimer(fire, ms);
        },
      },
    });
    link.behaviour = REFUSE;
    driver.push({ type: 'start' });
    runtime.run(30_000);
    assert.deepEqual(
      seen.filter((line) => /broken|finish/.test(line)),
      [
        'broken 1: state waiting without its timer retry',
        'broken 2: state waiting without its timer retry',
        'finish fatal 70',
      ],
    );
    lose = false;
    assert.equal(driver.state.status, 'stopped');
  });

  it('survives a step that throws: nothing reaches the socket that pushed, and the self-check brings it back', () => {
    const sound = policyFor();
    let broken = 0;
    const policy: Policy = {
      ...sound,
      get outage() {
        if (broken > 0) {
          broken -= 1;
          throw new Error('a bug of ours');
        }
        return sound.outage;
      },
    };
    const { driver, link, runtime, seen } = setup({ policy });
    driver.push({ type: 'start' });
    runtime.run(1000);
    assert.equal(driver.state.status, 'online');
    broken = 1;
    link.close(1006);
    runtime.run(10_000);
    assert.equal(driver.state.status, 'online');
    assert.ok(link.live, `online without a link: ${seen.join()}`);
  });

  it('ends once, with 70, when not even the step of the self-check can be made', () => {
    const sound = policyFor();
    let broken = false;
    const policy: Policy = {
      ...sound,
      get connectTimeout() {
        if (broken) throw new Error('a bug of ours, for good');
        return sound.connectTimeout;
      },
    };
    const { driver, link, runtime, seen } = setup({ policy });
    link.behaviour = REFUSE;
    driver.push({ type: 'start' });
    runtime.run(500);
    broken = true;
    runtime.run(60_000);
    driver.push({ type: 'close' });
    runtime.run(60_000);
    const ends = seen.filter((line) => line.startsWith('finish'));
    assert.deepEqual(ends, ['finish fatal 70']);
    assert.equal(runtime.pending, 0);
  });

  it('knows sleep by its own lateness, and by the wall clock where the monotonic one slept too', () => {
    const { driver, link, runtime } = setup();
    driver.push({ type: 'start' });
    runtime.run(60_000);
    const woke = (): number => driver.trace.filter(({ event }) => event.type === 'woke').length;
    runtime.freeze(3000);
    runtime.run(20_000);
    assert.equal(woke(), 0, 'three seconds are a busy loop');
    runtime.freeze(60_000);
    runtime.run(20_000);
    assert.equal(woke(), 1);
    runtime.suspend(3_600_000);
    runtime.run(20_000);
    assert.equal(woke(), 2);
    runtime.setWall(-3_600_000);
    runtime.run(20_000);
    assert.equal(woke(), 2, 'a clock set back is no sleep');
    assert.deepEqual([driver.state.status, link.dials.length], ['online', 1]);
  });

  it('measures how late the loop was, and forgets it once it was read', () => {
    const { driver, runtime } = setup();
    driver.push({ type: 'start' });
    runtime.run(4500);
    runtime.freeze(1200);
    runtime.run(30_000);
    assert.equal(driver.takeLag(), 700);
    runtime.run(30_000);
    assert.equal(driver.takeLag(), 0);
  });

  it('keeps one ref’d timer in every live state and none in the others, so that the process lives as long as it must', () => {
    const { driver, link, runtime } = setup();
    assert.equal(runtime.pending, 0);
    link.behaviour = REFUSE;
    driver.push({ type: 'start' });
    runtime.run(500);
    assert.ok(runtime.pending >= 2, 'the next dial and the pulse');
    driver.push({ type: 'close' });
    assert.equal(runtime.pending, 0);
  });

  it('keeps the last 256 steps and no more, since a ring that grows is a leak', () => {
    const { driver, link, runtime } = setup();
    link.behaviour = REFUSE;
    driver.push({ type: 'start' });
    runtime.run(86_400_000);
    assert.equal(driver.trace.length, 256);
  });
});
