import assert from 'node:assert/strict';
import { type Health, type HealthInput, healthOf, reasonOf, restartInfo } from '../../lib/core/health.js';
import type { ClientOptions } from '../../lib/core/options.js';
import { closed, Machine, NOBODY, policyFor, WRONG_TOKEN } from '../model/machine.js';

const OFFSET = 1_000_000_000_000;

const INPUT: HealthInput = {
  wallOffset: OFFSET,
  heardAt: 0,
  calls: { inFlight: 0, waiting: 0, retried: 0, unknown: 0 },
  lagMaxMs: 1.6,
  liveness: {},
  logDropped: 0,
  instanceId: 'instance-1',
  node: undefined,
};

/** A machine, and what the health says of it. */
function life(options: Omit<ClientOptions, 'url'> = {}): {
  readonly machine: Machine;
  readonly health: (input?: Partial<HealthInput>) => Health;
} {
  const policy = policyFor(options);
  const machine = new Machine(policy);
  return {
    machine,
    health: (input: Partial<HealthInput> = {}) => healthOf(policy, machine.state, { ...INPUT, ...input }),
  };
}

describe('health', () => {
  it('of an idle client has no keys for what there is not', () => {
    assert.deepEqual(life().health(), {
      ok: false,
      state: 'idle',
      since: OFFSET,
      attempt: 0,
      restartsSeen: 0,
      calls: INPUT.calls,
      loop: { lagMaxMs: 2 },
      liveness: {},
      log: { dropped: 0 },
      instanceId: 'instance-1',
    });
  });

  it('is ok only online, and tells times of the wall clock', () => {
    const { machine, health } = life();
    machine.start();
    assert.equal(health().ok, false);
    machine.hello({ bootId: 'a', version: '2026.9.6' });
    const now = health({ heardAt: machine.now });
    assert.deepEqual(
      [now.ok, now.state, now.reason, now.since, now.lastFrameAt, now.lastConnectedAt],
      [true, 'online', undefined, OFFSET + machine.now, OFFSET + machine.now, OFFSET + machine.now],
    );
    assert.equal(now.gateway?.version, '2026.9.6');
    assert.ok(!('disconnectedSince' in now) && !('nextAttemptAt' in now));
  });

  it('while it waits says why, since when, and when it dials again and gives up', () => {
    const { machine, health } = life({ giveUp: { after: 600_000 } });
    const began = machine.now;
    machine.start().down(NOBODY);
    const { state, reason, attempt, lastError, nextAttemptAt, giveUpAt, disconnectedSince, awaiting } = health();
    assert.deepEqual([state, reason, attempt, lastError?.code], ['waiting', 'outage', 1, 'ECONNREFUSED']);
    assert.equal(nextAttemptAt, OFFSET + machine.now + machine.wait);
    assert.deepEqual([giveUpAt, disconnectedSince], [OFFSET + began + 600_000, OFFSET + began]);
    assert.ok(lastError !== undefined && lastError.remedy !== '');
    assert.equal(awaiting, undefined);
  });

  it('while blocked says on whom it waits', () => {
    const { machine, health } = life();
    machine.start().down(WRONG_TOKEN);
    const { state, reason, awaiting } = health();
    assert.deepEqual([state, reason], ['blocked', 'unauthorized']);
    assert.ok(awaiting !== undefined && awaiting !== '');
  });

  it('online is not ok while the gateway ends or drains, and says which of the two', () => {
    const restarting = life().machine.start().hello().shutdown(1500);
    assert.equal(reasonOf(restarting.state), 'gateway-restart');
    const stopping = life().machine.start().hello().shutdown(null);
    assert.equal(reasonOf(stopping.state), 'gateway-stopped');
    const { machine, health } = life();
    machine.start().hello();
    machine.send({ type: 'draining', epoch: machine.epoch });
    assert.deepEqual([health().ok, health().reason], [false, 'gateway-draining']);
    machine.send({ type: 'served', epoch: machine.epoch });
    assert.equal(health().ok, true);
  });

  it('tells the restart in progress, and counts those that were seen', () => {
    const { machine, health } = life();
    machine.start().hello().shutdown(1500);
    const { restart } = health();
    assert.deepEqual([restart?.expectedMs, restart?.since], [1500, OFFSET + machine.now]);
    machine.down(closed(1012, 'service restart')).pass(60).hello({ bootId: 'b' });
    assert.deepEqual([health().restart, health().restartsSeen], [undefined, 1]);
  });

  it('carries what the machine does not know as it is given', () => {
    const node = {
      registration: 'proven',
      invocations: { running: 1, served: 2, failed: 3, aborted: 4 },
    } as const;
    const now = life().health({ node, logDropped: 3, liveness: { file: 'live.json' } });
    assert.deepEqual([now.node, now.log.dropped, now.liveness.file], [node, 3, 'live.json']);
  });
});

describe('a restart as callers see it', () => {
  it('has its time on the wall clock, and no key for a hint that was not given', () => {
    const restart = { id: 'r-1', evidence: 'close-1012', since: 5 } as const;
    assert.deepEqual(
      restartInfo(restart, (at) => at + 100),
      { id: 'r-1', since: 105 },
    );
    assert.deepEqual(
      restartInfo({ ...restart, expectedMs: 1500 }, (at) => at),
      { id: 'r-1', since: 5, expectedMs: 1500 },
    );
  });
});
