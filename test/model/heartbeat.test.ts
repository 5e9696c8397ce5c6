/** A live link under the machine's clock: silence, our own lateness, sleep, and the self-check. */
import assert from 'node:assert/strict';
import type { ClientOptions } from '../../lib/core/options.js';
import { Machine, NOBODY, policyFor, STARTING, WRONG_TOKEN } from './machine.js';

/** Online and silent from now on. */
function silent(options: Omit<ClientOptions, 'url'> = {}, tick = 30_000): Machine {
  const m = new Machine(policyFor(options)).start().hello({ bootId: 'a' }, tick).pass(10_000);
  m.heardAt = m.now;
  return m;
}

/** Ms of silence until the link was judged dead, and the pings until then. */
function judged(m: Machine): { after: number; pings: number } {
  const from = m.now;
  let pings = 0;
  while (m.state.status === 'online') {
    m.fire('beat');
    pings += m.effectsOf('ping').length;
  }
  assert.equal(m.reason, 'unresponsive');
  return { after: m.now - from, pings };
}

describe('silence on a live link', () => {
  it('is judged after twice the tick of the current hello, and we ask before we judge', () => {
    const { after, pings } = judged(silent());
    assert.equal(after, 60_000);
    assert.ok(pings >= 3, `${pings} pings`);
    assert.equal(judged(silent({}, 5000)).after, 10_000, 'an honest change of the tick is followed');
  });

  it('is judged within 5 s to 120 s, whatever tick a gateway names', () => {
    assert.equal(judged(silent({}, 1)).after, 5000);
    assert.equal(judged(silent({}, 3_600_000)).after, 120_000);
  });

  it('obeys its options, and asks before it judges even when `ping` is the longer of the two', () => {
    assert.equal(judged(silent({ heartbeat: { timeout: 700 } })).after, 700);
    const odd = judged(silent({ heartbeat: { timeout: 1000, ping: 5000 } }));
    assert.equal(odd.after, 1000);
    assert.ok(odd.pings > 0, 'a link that was never asked is not dead');
  });

  it('is ended by any frame, because every sign of life is one', () => {
    const m = silent();
    for (let n = 0; n < 100; n += 1) {
      m.heardAt = m.now;
      m.pass(59_000);
    }
    assert.equal(m.state.status, 'online');
  });

  it('is not asked after while the gateway talks, and nothing is judged with the heartbeat off', () => {
    const m = silent();
    m.heardAt = null;
    m.pass(300_000);
    assert.equal(m.effectsOf('ping').length, 0);
    const off = silent({ heartbeat: false }).pass(3_600_000);
    assert.deepEqual([off.state.status, off.timers.size], ['online', 0]);
  });

  it('ends the link with terminate, cuts its calls, and is an outage of its own kind', () => {
    const m = silent();
    judged(m);
    assert.ok(m.effectsOf('hangUp').every(({ how }) => how === 'terminate') && m.effectsOf('hangUp').length > 0);
    assert.ok(m.effectsOf('gate').some(({ gate, cut }) => gate === 'shut' && cut));
  });
});

describe('our own lateness', () => {
  it('is forgiven once: what the gateway sent meanwhile may lie unread, so we ask', () => {
    const m = silent();
    m.fire('beat', 120_000);
    assert.equal(m.state.status, 'online');
    assert.equal(m.effectsOf('ping').length, 1);
    assert.equal(m.due('beat'), 5000);
  });

  it('is no excuse twice: nothing heard within 5 s of asking, and the link is judged', () => {
    const m = silent().fire('beat', 120_000).fire('beat');
    assert.deepEqual([m.state.status, m.reason], ['waiting', 'unresponsive']);
  });

  it('is over when something is heard: then the link is as good as before', () => {
    const m = silent().fire('beat', 120_000);
    m.heardAt = m.now + 20;
    m.fire('beat');
    assert.equal(m.state.status, 'online');
    assert.ok(judged(m).after > 40_000, 'and is judged by the ordinary limit again');
  });
});

describe('waking up', () => {
  it('asks a live link for proof, because it may have died in our sleep, and forgets none that answers', () => {
    const dead = silent().pass(1).send({ type: 'woke', slept: 28_800_000 }).pass(5000);
    assert.equal(dead.reason, 'unresponsive');
    const good = silent().send({ type: 'woke', slept: 28_800_000 });
    good.heardAt = good.now + 10;
    assert.equal(good.pass(5000).state.status, 'online');
  });

  it('costs no budget: what slept did not try', () => {
    const m = new Machine(policyFor({ giveUp: { after: 600_000 } })).start().pass(1).down(NOBODY);
    m.now += 28_800_000;
    m.send({ type: 'woke', slept: 28_800_000 });
    assert.equal(m.due('giveUp'), 600_000 - 1);
  });

  it('decides nothing by a give-up timer that comes late, until it is known how long we slept', () => {
    const m = new Machine(policyFor({ giveUp: { after: 20_000 }, reconnect: { connectTimeout: 60_000 } })).start();
    m.fire('giveUp', 28_800_000);
    assert.equal(m.state.status, 'connecting');
    m.send({ type: 'woke', slept: 28_800_000 });
    assert.ok(m.due('giveUp') >= 0 && m.due('giveUp') <= 20_000, String(m.due('giveUp')));
  });

  it('keeps no old delay: the network is probably back, but what the gateway ordered is obeyed', () => {
    const m = new Machine(policyFor()).start();
    for (let n = 0; n < 8; n += 1) m.down(NOBODY).redial();
    m.down(NOBODY).pass(1000).send({ type: 'woke', slept: 28_800_000 });
    assert.equal(m.wait, 1000);
    assert.equal(m.redial().down(NOBODY).wait, 1000, 'and the back-off begins anew');
    const ordered = new Machine(policyFor()).start().down(STARTING).send({ type: 'woke', slept: 6000 });
    assert.equal(ordered.wait, 500);
    const refusedToken = new Machine(policyFor()).start().down(WRONG_TOKEN).send({ type: 'woke', slept: 6000 });
    assert.equal(refusedToken.wait, 15_000);
  });
});

describe('a live state without its next action', () => {
  it('dials anew the first time, with the calls of the old link cut, and goes on to give up in time', () => {
    const m = silent({ giveUp: { after: 60_000 } }).send({ type: 'stuck', times: 1 });
    assert.deepEqual([m.state.status, m.epoch], ['connecting', 2]);
    assert.ok(m.effectsOf('gate').some(({ cut }) => cut) && m.effectsOf('hangUp').length === 1);
    assert.equal(m.due('giveUp'), 60_000);
  });

  it('ends with 70 the second time, because a process that needs this twice is better respawned', () => {
    const m = silent().send({ type: 'stuck', times: 2 });
    assert.deepEqual(
      m.effectsOf('finish').map(({ outcome, exitCode }) => [outcome, exitCode]),
      [['fatal', 70]],
    );
    assert.equal(m.timers.size, 0);
  });

  it('tells of the attempt that it cuts short, or the log would miss a dial', () => {
    const m = new Machine(policyFor()).start().send({ type: 'stuck', times: 1 });
    assert.equal(m.noticesOf('attempt').length, 1);
  });

  it('does not turn an old verdict into an end: the link of a held client had proven the credentials good', () => {
    const m = new Machine(policyFor({ giveUp: { after: 20_000 } }))
      .start()
      .down(WRONG_TOKEN)
      .redial()
      .hello()
      .pass(100);
    m.send({ type: 'stuck', times: 1 }).pass(30_000);
    assert.notEqual(m.state.status === 'stopped' ? m.state.outcome : '', 'fatal');
  });

  it('closes when it was closing anyway', () => {
    const m = silent().send({ type: 'close' }).send({ type: 'stuck', times: 1 });
    assert.deepEqual([m.state.status, m.state.status === 'stopped' && m.state.exitCode], ['stopped', 0]);
    assert.equal(new Machine(policyFor()).send({ type: 'stuck', times: 1 }).state.status, 'idle');
  });
});
