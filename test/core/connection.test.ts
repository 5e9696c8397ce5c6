import assert from 'node:assert/strict';
import { giveUpAt } from '../../lib/core/connection.js';
import { INITIAL } from '../../lib/core/machine.js';
import type { ClientOptions } from '../../lib/core/options.js';
import { closed, Machine, NOBODY, policyFor, refused, STARTING, WRONG_TOKEN } from '../model/machine.js';

const GARBAGE = { kind: 'garbage', phase: 'challenge', code: 'BAD_CHALLENGE', message: '' } as const;
const BUDGET = { after: 600_000 };

function machine(options: Omit<ClientOptions, 'url'> = {}): Machine {
  return new Machine(policyFor(options));
}

/** Fails every dial with `evidence` until the state is one of `until`. */
function failUntil(m: Machine, evidence: Parameters<Machine['down']>[0], until: string): Machine {
  while (m.state.status !== until) {
    if (m.state.status === 'connecting') m.down(evidence);
    else m.redial();
  }
  return m;
}

describe('the way to a hello', () => {
  it('goes idle → connecting → handshaking → online, each told once, under one deadline for the whole dial', () => {
    const m = machine().start().pass(3000);
    m.send({ type: 'phase', epoch: 1, phase: 'tls' }).send({ type: 'phase', epoch: 1, phase: 'challenge' });
    assert.equal(m.due('connect'), 17_000, 'the deadline runs on');
    m.send({ type: 'phase', epoch: 1, phase: 'hello' }).pass(100).hello();
    assert.deepEqual(
      m.noticesOf('state').map(({ from, to }) => `${from} ${to}`),
      ['idle connecting', 'connecting handshaking', 'handshaking online'],
    );
    assert.equal(m.due('connect'), Number.NaN);
    const [attempt] = m.noticesOf('attempt');
    assert.deepEqual([attempt?.number, attempt?.phase, attempt?.elapsed, attempt?.failure], [1, 'online', 3100, null]);
  });

  it('ends at connectTimeout whatever trickles in, because the deadline is over all and not over idleness', () => {
    const m = machine({ reconnect: { connectTimeout: 4000 } }).start();
    for (let t = 0; t < 3999; t += 31) m.pass(31).send({ type: 'phase', epoch: 1, phase: 'upgrade' });
    m.pass(4000);
    const [attempt] = m.noticesOf('attempt');
    assert.deepEqual([attempt?.elapsed, attempt?.phase, attempt?.failure?.reason], [4000, 'upgrade', 'unresponsive']);
    assert.ok(m.noticesOf('attempt').length === 1 && m.state.status !== 'idle');
  });

  it('does nothing for the events of another dial, an old or a future one', () => {
    const m = machine().start().down(NOBODY).redial();
    const before = m.state;
    for (const epoch of [0, 1, 3]) {
      m.send({ type: 'hello', epoch, hello: { identity: {}, tickInterval: 1000 } }).send({
        type: 'down',
        epoch,
        evidence: NOBODY,
      });
      m.send({ type: 'shutdown', epoch, restartExpectedMs: 1500 }).send({ type: 'target', epoch, loopback: false });
      assert.deepEqual([m.state, m.effects.length], [before, 0]);
    }
  });

  it('forgives attempts only after minUptime, because a hello proves nothing about the next second', () => {
    const flap = machine().start().down(NOBODY).redial().hello().pass(9999).down(closed(1011)).redial();
    assert.equal(flap.state.journey.attempt, 3);
    const served = machine().start().down(NOBODY).redial().hello().pass(10_000).down(closed(1011)).redial();
    assert.equal(served.state.journey.attempt, 1);
  });
});

describe('giving up', () => {
  it('comes at the budget, to the millisecond, and not before', () => {
    const m = machine({ giveUp: BUDGET }).start();
    const began = m.now;
    failUntil(m, NOBODY, 'stopped');
    assert.equal(m.state.since - began, 600_000);
    assert.deepEqual(
      m.effectsOf('finish').map(({ outcome, exitCode, elapsed }) => [outcome, exitCode, elapsed]),
      [['gave-up', 75, 600_000]],
    );
    assert.equal(m.noticesOf('giveup')[0]?.failure.reason, 'outage');
    assert.equal(m.timers.size, 0);
  });

  it('ends a dial that hangs across the budget, and tells of that attempt too', () => {
    const m = machine({ giveUp: { after: 5000 } })
      .start()
      .pass(5000);
    assert.deepEqual(
      [m.state.status, m.reason, m.noticesOf('attempt').length],
      ['stopped', 'local', 1],
      'it hung in the provider',
    );
    assert.ok(m.effectsOf('hangUp').some(({ how }) => how === 'terminate'));
  });

  it('counts from the end of the last serving link, and never strikes while one is up', () => {
    const m = machine({ giveUp: BUDGET }).start().serve().pass(3_600_000);
    assert.equal(giveUpAt(policyFor({ giveUp: BUDGET }), m.state), null);
    m.down(closed(1006));
    const began = m.now;
    assert.equal(m.now, (giveUpAt(policyFor({ giveUp: BUDGET }), m.state) ?? 0) - 600_000);
    assert.equal(failUntil(m, NOBODY, 'stopped').state.since - began, 600_000);
  });

  it('leaves a link that is up its chance: it may prove to serve after the budget, or end and find it spent', () => {
    const late = (): Machine =>
      machine({ giveUp: { after: 5000 } })
        .start()
        .pass(4990)
        .hello()
        .pass(100);
    assert.equal(late().state.status, 'online');
    assert.equal(late().down(closed(1011)).state.status, 'stopped');
    assert.equal(late().pass(10_000).down(closed(1011)).state.status, 'waiting');
  });

  it('after n attempts means n dials, not n and one more', () => {
    for (const maxAttempts of [1, 2, 5]) {
      const m = failUntil(machine({ giveUp: { maxAttempts } }).start(), NOBODY, 'stopped');
      assert.deepEqual(
        [m.dials, m.noticesOf('attempt').length, m.noticesOf('giveup')[0]?.attempts],
        [maxAttempts, maxAttempts, maxAttempts],
      );
      assert.equal(m.noticesOf('attempt').at(-1)?.retryIn, null);
    }
  });

  it('counts a new gateway instance as progress: a storm of restarts is no reason to end', () => {
    const m = machine({ giveUp: { after: 5000 } })
      .start()
      .serve({ bootId: '0' });
    for (let n = 1; n <= 30; n += 1) {
      m.shutdown(1500).pass(10).down(closed(1012, 'service restart')).redial();
      m.pass(1000)
        .hello({ bootId: String(n) })
        .pass(990);
    }
    assert.equal(m.state.status, 'online');
    m.down(closed(1006)).redial().pass(1).hello({ bootId: 'x' });
    assert.equal(m.due('giveUp'), 5000, 'also when nothing announced it');
  });

  it('counts a new instance as progress even when its restart had become an outage', () => {
    const m = machine({ giveUp: { after: 120_000 }, reconnect: { maxDelay: 5000 } })
      .start()
      .serve()
      .shutdown(1500)
      .down(closed(1012, 'service restart'));
    while (m.now < 1_000_000 + 10_000 + 100_000) m.redial().down(NOBODY);
    m.redial().hello({ bootId: 'b' });
    assert.equal(m.due('giveUp'), 120_000);
  });

  it('is not put off by restarts that are announced and never made, or a flapping link would live for ever', () => {
    const m = machine({ giveUp: { after: 5000 } }).start();
    for (let n = 0; n < 500 && m.state.status !== 'stopped'; n += 1) {
      m.hello({ bootId: 'same' }).pass(20).down(closed(1012, 'service restart'));
      if (m.state.status === 'waiting') m.redial();
    }
    assert.equal(m.state.status, 'stopped');
  });
});

describe('a verdict that needs a human', () => {
  it('is held for ever by default: blocked, with slow retries and no budget running', () => {
    const m = machine({ giveUp: BUDGET }).start();
    for (let n = 0; n < 100; n += 1) m.down(WRONG_TOKEN).redial();
    assert.equal(m.state.status, 'connecting');
    assert.ok(!m.timers.has('giveUp'));
    assert.equal(m.hello().state.status, 'online', 'and heals with the credential');
  });

  it('leaves the whole budget once it is over, because no clock ran against the client meanwhile', () => {
    const cured = (): Machine => {
      const m = machine({ giveUp: BUDGET }).start();
      for (let n = 0; n < 20; n += 1) m.down(WRONG_TOKEN).redial();
      return m;
    };
    assert.equal(cured().down(NOBODY).due('giveUp'), 600_000);
    const flapped = cured().hello().pass(100).down(closed(1011));
    assert.equal(flapped.state.status, 'waiting', 'one short link after the cure is no reason to give up');
  });

  it('leaves the attempts as well: those made while held were slow on purpose', () => {
    const m = machine({ giveUp: { maxAttempts: 3 } }).start();
    for (let n = 0; n < 5; n += 1) m.down(WRONG_TOKEN).redial();
    assert.equal(m.down(NOBODY).state.status, 'waiting');
  });

  it('ends a client that asked for it after three fresh tries over a minute, and not sooner', () => {
    const m = machine({ onPermanent: 'stop' }).start();
    const began = m.now;
    failUntil(m, WRONG_TOKEN, 'stopped');
    assert.ok(m.now - began >= 60_000 && m.dials >= 3, `${m.dials} dials in ${m.now - began} ms`);
    assert.deepEqual(
      m.effectsOf('finish').map(({ outcome, exitCode }) => [outcome, exitCode]),
      [['fatal', 77]],
    );
    const quick = machine({ onPermanent: 'stop', blocked: { initialDelay: 100, maxDelay: 100 } }).start();
    for (let n = 0; n < 50; n += 1) quick.down(WRONG_TOKEN).redial();
    assert.equal(quick.state.status, 'connecting', 'fifty tries within a minute are not enough');
  });

  it('has the exit code of its kind: 76 for the protocol, 77 for credentials, 78 for our own side', () => {
    const ends = [
      refused('X', { code: 'PROTOCOL_MISMATCH' }),
      refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED' }),
      { kind: 'trust', code: 'PIN', message: '' } as const,
    ];
    const codes = ends.map(
      (evidence) =>
        failUntil(machine({ onPermanent: 'stop' }).start(), evidence, 'stopped').effectsOf('finish')[0]?.exitCode,
    );
    assert.deepEqual(codes, [76, 77, 78]);
  });

  it('must be the same verdict each time: another one between starts the count again', () => {
    const m = machine({ onPermanent: 'stop' }).start();
    for (let n = 0; n < 10; n += 1) m.down(WRONG_TOKEN).redial().down(NOBODY).redial();
    assert.equal(m.state.status, 'connecting');
  });

  it('is what three strikes in a row become: garbage once is worth a quick retry, three times it is another service', () => {
    const m = machine().start().down(GARBAGE).redial().down(GARBAGE);
    assert.equal(m.state.status, 'waiting');
    m.redial().down(GARBAGE);
    assert.deepEqual([m.state.status, m.reason], ['blocked', 'protocol']);
    const mixed = machine().start().down(GARBAGE).redial().down(NOBODY).redial().down(GARBAGE).redial().down(GARBAGE);
    assert.equal(mixed.state.status, 'waiting', 'another failure between breaks the row');
  });

  it('is told as one end, fatal, by whichever clock it comes', () => {
    const pairing = refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED' });
    const byClock = machine({ onPermanent: 'stop', giveUp: { after: 20_000 } })
      .start()
      .down(pairing)
      .redial()
      .pass(19_000);
    const byDial = machine({ onPermanent: 'stop', giveUp: { maxAttempts: 1 } })
      .start()
      .down(pairing);
    for (const m of [byClock, byDial])
      assert.deepEqual(
        m.effectsOf('finish').map(({ outcome, exitCode }) => [outcome, exitCode]),
        [['fatal', 77]],
      );
  });
});

describe('a start or a drain that does not end', () => {
  it('is an outage after ten minutes, for callers and for the final line', () => {
    const m = machine().start();
    for (let t = m.now; m.now - t <= 600_000; ) m.down(STARTING).redial();
    assert.equal(m.down(STARTING).reason, 'outage');
    assert.match(m.state.status === 'waiting' ? (m.state.failure?.message ?? '') : '', /for 6\d\d s/);
  });
});

describe('closing', () => {
  it('works from every state, exits 0 and leaves nothing behind', () => {
    const states: Record<string, Machine> = {
      idle: machine(),
      connecting: machine({ giveUp: BUDGET }).start(),
      handshaking: machine().start().send({ type: 'phase', epoch: 1, phase: 'hello' }),
      waiting: machine({ giveUp: BUDGET }).start().down(NOBODY),
      blocked: machine().start().down(WRONG_TOKEN),
    };
    for (const [status, m] of Object.entries(states)) {
      assert.equal(m.state.status, status);
      m.send({ type: 'close' });
      assert.deepEqual(
        [m.state.status, m.effectsOf('finish').map(({ exitCode }) => exitCode), m.timers.size],
        ['stopped', [0], 0],
        status,
      );
    }
  });

  it('says good-bye on a live link and waits one second for the answer', () => {
    const online = (): Machine => machine({ giveUp: BUDGET }).start().serve().shutdown(1500).send({ type: 'close' });
    assert.deepEqual(
      online()
        .effectsOf('hangUp')
        .map(({ how }) => how),
      ['close'],
    );
    assert.deepEqual(online().effectsOf('gate'), [{ type: 'gate', gate: 'shut', cut: true, failure: null }]);
    const answered = online().down(closed(1000));
    assert.deepEqual([answered.state.status, answered.timers.size], ['stopped', 0]);
    assert.equal(online().pass(999).state.status, 'closing');
    assert.equal(online().send({ type: 'close' }).pass(1000).state.status, 'stopped');
  });

  it('absorbs everything afterwards', () => {
    const m = machine().start().send({ type: 'close' });
    const { state } = m;
    m.start()
      .down(NOBODY)
      .hello()
      .send({ type: 'close' })
      .send({ type: 'woke', slept: 1e9 })
      .send({ type: 'stuck', times: 1 });
    assert.deepEqual([m.state, m.effects, m.noticesOf('state').length], [state, [], 2]);
    assert.equal(INITIAL.status, 'idle');
  });
});
