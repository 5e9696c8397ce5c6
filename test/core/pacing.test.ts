import assert from 'node:assert/strict';
import type { Evidence } from '../../lib/core/failure.js';
import { closed, DRAINING, Machine, NOBODY, policyFor, refused, STARTING, WRONG_TOKEN } from '../model/machine.js';

function limited(retryAfterMs?: number): Evidence {
  const details = { code: 'AUTH_RATE_LIMITED' };
  return refused('INVALID_REQUEST', details, { retryable: true, ...(retryAfterMs !== undefined && { retryAfterMs }) });
}

/** The waits after so many failures of one kind, each dial failing at once. */
function waits(machine: Machine, evidence: Evidence, count: number): number[] {
  return Array.from({ length: count }, () => {
    const { wait } = machine.down(evidence);
    machine.redial();
    return wait;
  });
}

function restarting(machine: Machine): Machine {
  return machine.start().serve().shutdown(1500).down(closed(1012, 'service restart'));
}

describe('the pace of an outage', () => {
  it('grows from 1 s to 30 s, because nobody knows why the gateway is gone', () => {
    assert.deepEqual(
      waits(new Machine(policyFor()).start(), NOBODY, 7),
      [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000],
    );
  });

  it('counts from the start of the attempt, so that 20 s of silence are not paid twice', () => {
    const machine = new Machine(policyFor()).start();
    assert.equal(machine.pass(20_000).wait, 50);
    machine.redial().pass(700);
    assert.equal(machine.down(NOBODY).wait, 1300);
  });

  it('goes on growing over links that do not last, and starts afresh after one that does', () => {
    const machine = new Machine(policyFor()).start();
    const flap = Array.from({ length: 4 }, () => {
      const { wait } = machine.hello().pass(9999).down(closed(1011));
      machine.redial();
      return wait;
    });
    assert.deepEqual(flap, [1000, 2000, 4000, 8000]);
    assert.equal(machine.serve().down(closed(1011)).wait, 1000);
  });

  it('is the same for a gateway that was stopped, since supervisors restart by stop and start', () => {
    const machine = new Machine(policyFor()).start().serve().shutdown(null).down(closed(1012, 'service restart'));
    assert.equal(machine.reason, 'gateway-stopped');
    assert.equal(machine.wait, 1000);
    assert.deepEqual(waits(machine.redial(), NOBODY, 3), [2000, 4000, 8000]);
    assert.equal(machine.reason, undefined);
  });
});

describe('the pace of a restart', () => {
  it('is 50 to 250 ms on loopback, where a refused dial costs nothing and the gateway is back within seconds', () => {
    const machine = restarting(new Machine(policyFor()));
    assert.equal(machine.wait, 50);
    assert.deepEqual(waits(machine.redial(), NOBODY, 6), [75, 112.5, 168.75, 250, 250, 250]);
  });

  it('ends with its window of 60 s: after that it is an outage and is paced like one', () => {
    const machine = restarting(new Machine(policyFor()));
    while (machine.state.journey.restart !== null) machine.redial().down(NOBODY);
    assert.deepEqual(machine.restarts, ['began shutdown', 'became-outage shutdown']);
    assert.equal(machine.wait, 1000);
    assert.deepEqual(waits(machine.redial(), NOBODY, 3), [2000, 4000, 8000]);
  });

  it('waits, from afar, for what the gateway announced and is spread over 5 s, because others come back too', () => {
    const machine = new Machine(policyFor()).start().remote().serve().shutdown(1500);
    machine.draw = 0.5;
    assert.equal(machine.down(closed(1012, 'service restart')).wait, 1500 + 2500);
    machine.draw = 0;
    machine.redial().pass(10);
    assert.equal(machine.down(NOBODY).wait, 1600 - 10);
  });

  it('takes an announced time for a hint and never for a deadline, so a wild one is cut at 60 s', () => {
    const machine = new Machine(policyFor()).start().remote().serve().shutdown(1e12);
    assert.equal(machine.down(closed(1012, 'service restart')).wait, 60_000);
  });

  it('keeps two dials 50 ms apart from afar as well, even when the announced time and the draw are zero', () => {
    const machine = new Machine(policyFor()).start().remote().serve().shutdown(0);
    assert.ok(machine.down(closed(1012, 'service restart')).wait >= 50);
  });

  it('slows down for one that announces a restart at every hello and never makes it: each would hurry anew', () => {
    const machine = new Machine(policyFor()).start();
    const gaps: number[] = [];
    for (let n = 0; n < 30; n += 1) {
      machine.hello({ bootId: 'same' }).pass(20).down(closed(1012, 'service restart'));
      gaps.push(machine.wait);
      machine.redial();
    }
    assert.ok((gaps.at(-1) ?? 0) >= 1000, `still a dial every ${gaps.at(-1)} ms after 30 links that did not last`);
  });
});

describe('a hint of the gateway', () => {
  it('sets the pace while it starts: 500 ms and up to 250 more, for 10 s', () => {
    const machine = new Machine(policyFor()).start();
    assert.equal(machine.down(STARTING).wait, 500);
    machine.redial();
    machine.draw = 0.999;
    assert.ok(Math.abs(machine.down(STARTING).wait - 749.75) < 0.01);
  });

  it('is only the floor of a growing back-off once a start takes longer than 10 s', () => {
    const machine = new Machine(policyFor()).start();
    for (let t = machine.now; machine.now - t < 10_000; ) machine.down(STARTING).redial();
    assert.deepEqual(waits(machine, STARTING, 7), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  });

  it('sets the pace of a drain for 60 s', () => {
    const machine = new Machine(policyFor()).start();
    for (let t = machine.now; machine.now - t < 60_000; machine.redial())
      assert.equal(machine.down(DRAINING).wait, 1000);
    assert.deepEqual(waits(machine, DRAINING, 3), [1000, 2000, 4000]);
  });

  it('is obeyed in full when the address is locked out, with jitter on top and never inside it', () => {
    const machine = new Machine(policyFor()).start();
    for (const draw of [0, 0.5, 0.99]) {
      machine.draw = draw;
      assert.equal(machine.down(limited(297_000)).wait, 297_000 + draw * 250);
      machine.redial();
    }
    assert.equal(machine.down(limited()).reason, 'rate-limited');
    assert.ok(machine.wait >= 15_000, 'a lockout without a time is not asked again sooner');
  });

  it('is held within bounds: no tight loop for 0, no client that sleeps for years for 1e12', () => {
    const hinted: [string, (hint: number) => Evidence, number][] = [
      ['starting', (retryAfterMs) => refused('UNAVAILABLE', { reason: 'startup-sidecars' }, { retryAfterMs }), 2000],
      [
        'draining',
        (retryAfterMs) => refused('UNAVAILABLE', { reason: 'gateway-restarting' }, { retryAfterMs }),
        300_000,
      ],
      ['rate-limited', limited, 300_000],
      [
        'unauthorized',
        (retryAfterMs) => refused('INVALID_REQUEST', { code: 'AUTH_UNAUTHORIZED' }, { retryAfterMs }),
        300_000,
      ],
      ['HTTP 503', (retryAfterMs) => ({ kind: 'upgrade', status: 503, body: '', retryAfterMs }), 300_000],
      ['HTTP 401', (retryAfterMs) => ({ kind: 'upgrade', status: 401, body: '', retryAfterMs }), 300_000],
    ];
    for (const [name, evidence, most] of hinted) {
      const none = new Machine(policyFor()).start().down(evidence(0)).wait;
      const wild = new Machine(policyFor()).start().down(evidence(1e12)).wait;
      assert.ok(none >= 100, `${name}: ${none} ms for a hint of 0`);
      assert.ok(wild <= most, `${name}: ${wild} ms for a hint of 1e12`);
    }
  });

  it('is ignored when it is no whole number of ms, because details of the gateway are untrusted', () => {
    for (const bad of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      const machine = new Machine(policyFor())
        .start()
        .down(refused('UNAVAILABLE', { reason: 'startup-sidecars' }, { retryAfterMs: bad }));
      assert.equal(machine.wait, 1000, String(bad));
    }
  });
});

describe('the pace while a human is needed', () => {
  it('is 15 s to 60 s, because ten wrong tokens within 60 s lock the address out', () => {
    assert.deepEqual(waits(new Machine(policyFor()).start(), WRONG_TOKEN, 4), [15_000, 30_000, 60_000, 60_000]);
  });

  it('obeys its options, and a floor of 50 ms even when they are zero', () => {
    assert.deepEqual(
      waits(new Machine(policyFor({ blocked: { initialDelay: 100, maxDelay: 150 } })).start(), WRONG_TOKEN, 3),
      [100, 150, 150],
    );
    assert.ok(
      new Machine(policyFor({ blocked: { initialDelay: 0, maxDelay: 0 } })).start().down(WRONG_TOKEN).wait >= 50,
    );
  });
});

describe('the pace of a fleet', () => {
  const fleet = policyFor({ reconnect: { fleet: { size: 1000, acceptRate: 100 }, jitter: 0 } });

  it('spreads the very first dial over size / (0.5 · acceptRate), because cloned machines start in the same second', () => {
    const machine = new Machine(fleet);
    machine.draw = 0.5;
    machine.start();
    assert.equal(machine.state.status, 'waiting');
    assert.equal(machine.wait, 10_000);
    assert.equal(machine.redial().dials, 1);
  });

  it('spreads outages too, and its cap grows with it, since each member sees the same outage', () => {
    assert.equal(fleet.outage.maxDelay, 40_000);
    const machine = new Machine(fleet).start().redial();
    machine.draw = 0.5;
    assert.equal(machine.down(NOBODY).wait, 1000 + 10_000);
  });
});
