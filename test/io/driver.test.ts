import assert from 'node:assert/strict';
import type { Notice, Slot } from '../../lib/core/machine.js';
import { type ClientOptions, parseOptions } from '../../lib/core/options.js';
import { Driver, type LinkPort, nextAction, type Observer } from '../../lib/io/driver.js';
import type { Runtime, Timer } from '../../lib/io/runtime.js';
import { VirtualRuntime } from '../support/virtual-runtime.js';

interface Rig {
  readonly driver: Driver;
  readonly runtime: VirtualRuntime;
  /** What was done and told, in order. */
  readonly told: string[];
  readonly link: LinkPort & { onDial: (epoch: number) => void };
}

/** A driver on virtual time. `damage` may break the runtime, `observe` the observer. */
function rig(
  options: Partial<ClientOptions> = {},
  observe: Partial<Observer> = {},
  damage: (runtime: Runtime) => Runtime = (it) => it,
): Rig {
  const runtime = new VirtualRuntime(1);
  const told: string[] = [];
  const { policy } = parseOptions({ url: 'ws://127.0.0.1:1', ...options }, 'test', '0');
  const link = {
    onDial: (_epoch: number): void => {},
    dial(epoch: number): void {
      told.push(`dial ${epoch}`);
      this.onDial(epoch);
    },
    hangUp: (how: string): void => void told.push(`hang up: ${how}`),
    ping: (): void => void told.push('ping'),
    watchReadiness: (): void => void told.push('watch'),
    heardAt: (): number => runtime.now(),
  };
  const observer: Observer = {
    notice: (notice: Notice) => void told.push(notice.type === 'state' ? `${notice.from} → ${notice.to}` : notice.type),
    gate: (gate) => void told.push(`gate ${gate}`),
    record: () => {},
    finish: ({ outcome, exitCode }) => void told.push(`finish ${outcome} ${exitCode}`),
    broken: (what, times) => void told.push(`broken ${times}: ${what}`),
    fault: (where, error) => void told.push(`fault in ${where}: ${error instanceof Error ? error.message : error}`),
    ...observe,
  };
  const driver = new Driver(policy, damage(runtime), observer, 5000);
  driver.attach(link);
  return { driver, runtime, told, link };
}

/** Timers of this length are lost for as long as the function says so: the damage that the self-check is for. */
function losing(isLost: (ms: number) => boolean): (runtime: Runtime) => Runtime {
  return (runtime) => ({
    now: () => runtime.now(),
    wall: () => runtime.wall(),
    draw: () => runtime.draw(),
    id: () => runtime.id(),
    setTimer(fire: () => void, ms: number): Timer {
      if (isLost(ms)) throw new Error('no timer');
      return runtime.setTimer(fire, ms);
    },
  });
}

const REFUSED = { kind: 'socket', phase: 'tcp', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' } as const;

describe('the driver', () => {
  it('stores a state before anybody hears of it, and handles what is pushed meanwhile afterwards', () => {
    const seen: string[] = [];
    const { driver, told } = rig(
      {},
      {
        notice: (notice) => {
          if (notice.type !== 'state') return;
          seen.push(`${notice.to}: ${driver.state.status}`);
          if (notice.to === 'connecting') driver.push({ type: 'close' });
          seen.push(`still ${driver.state.status}`);
        },
      },
    );
    driver.push({ type: 'start' });
    assert.deepEqual(seen, ['connecting: connecting', 'still connecting', 'stopped: stopped', 'still stopped']);
    assert.equal(told.at(-1), 'finish closed 0');
  });

  it('goes on when what it moves throws: the dial ends at its deadline and the next one is made', () => {
    const { driver, runtime, told, link } = rig({ reconnect: { connectTimeout: 1000 } });
    link.onDial = (epoch) => {
      if (epoch === 1) throw new Error('no socket to be had');
    };
    driver.push({ type: 'start' });
    assert.ok(told.includes('fault in dial: no socket to be had'));
    runtime.run(3000);
    assert.ok(told.includes('dial 2'), told.join(', '));
    driver.push({ type: 'close' });
  });

  it('goes on when whoever is told throws, and every effect is performed even so', () => {
    const told: string[] = [];
    const { driver } = rig(
      {},
      {
        notice: () => {
          throw new Error('notice');
        },
        gate: () => {
          throw new Error('gate');
        },
        fault: (where) => void told.push(where),
      },
    );
    driver.push({ type: 'start' });
    assert.equal(driver.state.status, 'connecting');
    assert.deepEqual([...new Set(told)].sort(), ['gate', 'notify']);
    driver.push({ type: 'close' });
    assert.equal(driver.state.status, 'stopped');
  });

  it('P10a finds a live state without its timer, tells of it, and dials anew', () => {
    let lost = 1;
    const { driver, runtime, told } = rig(
      { reconnect: { initialDelay: 700, maxDelay: 700, jitter: 0 } },
      {},
      losing((ms) => ms === 700 && lost-- > 0),
    );
    driver.push({ type: 'start' });
    driver.push({ type: 'down', epoch: 1, evidence: REFUSED });
    assert.equal(driver.state.status, 'waiting');
    assert.equal(driver.sound, false, 'liveness may not vouch for it');
    runtime.run(5000);
    assert.ok(told.includes('broken 1: state waiting without its timer retry'), told.join(', '));
    assert.ok(told.includes('dial 2'));
    assert.equal(driver.sound, true);
    driver.push({ type: 'close' });
  });

  it('P10a ends with 70 the second time, so that a fresh process takes over', () => {
    const { driver, runtime, told } = rig(
      { reconnect: { initialDelay: 700, maxDelay: 700, jitter: 0, factor: 1 } },
      {},
      losing((ms) => ms === 700),
    );
    driver.push({ type: 'start' });
    driver.push({ type: 'down', epoch: 1, evidence: REFUSED });
    runtime.run(5000);
    driver.push({ type: 'down', epoch: 2, evidence: REFUSED });
    runtime.run(5000);
    assert.equal(told.at(-1), 'finish fatal 70');
    assert.equal(runtime.pending, 0);
  });

  it('leaves no timer once it has stopped, and absorbs what still comes', () => {
    const { driver, runtime, told } = rig({ giveUp: { maxAttempts: 1 } });
    driver.push({ type: 'start' });
    assert.ok(runtime.pending > 0);
    driver.push({ type: 'down', epoch: 1, evidence: REFUSED });
    assert.deepEqual([driver.state.status, runtime.pending, told.at(-1)], ['stopped', 0, 'finish gave-up 75']);
    const before = told.length;
    for (const slot of ['connect', 'retry', 'beat', 'close', 'giveUp'] as readonly Slot[])
      driver.push({ type: 'timer', slot, late: 0, heardAt: 0 });
    driver.push({ type: 'start' });
    driver.push({ type: 'woke', slept: 10 });
    driver.push({ type: 'close' });
    assert.deepEqual([driver.state.status, told.length, runtime.pending], ['stopped', before, 0]);
  });

  it('keeps a trace of the last 256 steps, from which they could be replayed', () => {
    const { driver } = rig();
    driver.push({ type: 'start' });
    for (let index = 0; index < 300; index += 1) driver.push({ type: 'phase', epoch: 1, phase: 'tcp' });
    const { trace } = driver;
    assert.equal(trace.length, 256);
    assert.deepEqual(JSON.parse(JSON.stringify(trace)), trace);
    driver.dispose();
  });

  it('measures how late its loop is, until it is asked', () => {
    const { driver, runtime } = rig({ reconnect: { connectTimeout: 60_000 } });
    driver.push({ type: 'start' });
    runtime.freeze(5000 + 2300);
    runtime.run(0);
    assert.equal(driver.takeLag(), 2300);
    assert.equal(driver.takeLag(), 0);
    driver.dispose();
    assert.equal(runtime.pending, 0);
  });

  it('has a next action in every live state', () => {
    const { driver, runtime } = rig({ reconnect: { initialDelay: 500, connectTimeout: 1000 } });
    const { policy } = parseOptions({ url: 'ws://127.0.0.1:1' }, 'test', '0');
    assert.equal(nextAction(driver.state, policy), null);
    driver.push({ type: 'start' });
    assert.equal(nextAction(driver.state, policy), 'connect');
    runtime.run(1000);
    assert.equal(nextAction(driver.state, policy), 'retry');
    runtime.run(1000);
    driver.push({ type: 'hello', epoch: 2, hello: { identity: {}, tickInterval: 30_000 } });
    assert.equal(nextAction(driver.state, policy), 'beat');
    driver.push({ type: 'close' });
    assert.equal(nextAction(driver.state, policy), 'close');
    runtime.run(1000);
    assert.deepEqual([driver.state.status, nextAction(driver.state, policy)], ['stopped', null]);
  });
});
