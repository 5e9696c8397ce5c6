import assert from 'node:assert/strict';
import { restartedBetween } from '../../lib/core/restart.js';
import { closed, DRAINING, Machine, NOBODY, policyFor, refused, STARTING, WRONG_TOKEN } from '../model/machine.js';

const SERVICE_RESTART = closed(1012, 'service restart');

/** Online for long, on gateway instance `a`. */
function online(): Machine {
  return new Machine(policyFor({ giveUp: { after: 600_000 } })).start().serve({ bootId: 'a' });
}

describe('evidence of a restart', () => {
  it('is a shutdown with a number: the restart begins before the link is even lost', () => {
    const machine = online().shutdown(1500);
    assert.deepEqual(machine.restarts, ['began shutdown']);
    machine.down(SERVICE_RESTART).redial().down(NOBODY);
    assert.equal(machine.reason, 'gateway-restart');
    machine.redial().hello({ bootId: 'b' });
    assert.deepEqual(machine.restarts, ['began shutdown', 'ended shutdown']);
    const { restartId } = machine.noticesOf('attempt').at(-1) ?? {};
    assert.equal(restartId, machine.noticesOf('restart')[0]?.id, 'one id from the first line to the last');
  });

  it('is not a shutdown without a number: 1012 says "service restart" there too and must not win', () => {
    const machine = online().shutdown(null).down(SERVICE_RESTART);
    assert.deepEqual(machine.restarts, []);
    assert.equal(machine.reason, 'gateway-stopped');
    assert.equal(machine.redial().down(NOBODY).reason, 'gateway-stopped');
  });

  it('is 1012 "service restart" without any shutdown event, because old gateways may send only that', () => {
    const machine = online().down(SERVICE_RESTART);
    assert.deepEqual(machine.restarts, ['began close-1012']);
    assert.equal(machine.reason, 'gateway-restart');
  });

  it('is the same close before the hello, since a third of the links of a restart storm end there', () => {
    const machine = online()
      .down(closed(1006))
      .redial()
      .down(closed(1012, 'service restart', 'challenge'));
    assert.equal(machine.reason, 'gateway-restart');
  });

  it('is not 1012 with any other text: those ask for a new link and mean no restart', () => {
    for (const text of ['node capabilities changed', 'browser identity route changed', '']) {
      const machine = online().down(closed(1012, text));
      assert.deepEqual([machine.restarts, machine.reason, machine.wait], [[], 'outage', 1000], text);
      assert.deepEqual(machine.redial().hello({ bootId: 'a' }).restarts, []);
    }
  });

  it('is a gateway that starts although we had a link before, and not one that starts before the first', () => {
    const machine = online().down(closed(1006)).redial().down(STARTING);
    assert.deepEqual([machine.restarts, machine.reason], [['began starting'], 'gateway-starting']);
    const first = new Machine(policyFor()).start().down(STARTING);
    assert.deepEqual([first.restarts, first.reason], [[], 'gateway-starting']);
  });

  it('is a link that breaks while the gateway drains', () => {
    const machine = online().send({ type: 'draining', epoch: 1 }).down(closed(1006));
    assert.deepEqual([machine.restarts, machine.reason], [['began draining'], 'gateway-restart']);
  });

  it('is not gateway-restarting alone: a gateway that is stopped for good says exactly the same', () => {
    const machine = online().down(closed(1006)).redial().down(DRAINING);
    assert.deepEqual([machine.restarts, machine.reason], [[], 'gateway-draining']);
  });

  it('comes after the fact for a kill -9: seen as an outage, relabelled when a new boot id proves it', () => {
    const machine = online().down(closed(1006));
    assert.equal(machine.reason, 'outage');
    machine.redial().down(NOBODY).redial().hello({ bootId: 'b' });
    assert.deepEqual(machine.restarts, ['began boot-id', 'ended boot-id']);
    assert.equal(machine.noticesOf('restart')[1]?.downMs, 3000);
  });

  it('is no restart when the same instance answers, because only the network broke', () => {
    assert.deepEqual(online().down(closed(1006)).redial().hello({ bootId: 'a' }).restarts, []);
  });

  it('compares boot ids first, then versions, and the id of the connection never', () => {
    assert.equal(restartedBetween(undefined, { bootId: 'a' }), undefined);
    assert.equal(restartedBetween({ bootId: 'a', version: '1' }, { bootId: 'a', version: '2' }), undefined);
    assert.equal(restartedBetween({ bootId: 'a' }, { bootId: 'b' }), 'boot-id');
    assert.equal(restartedBetween({ version: '1' }, { version: '2', bootId: 'b' }), 'version');
    assert.equal(restartedBetween({ version: '1', connId: 'x' }, { version: '1', connId: 'y' }), undefined);
    assert.equal(restartedBetween({}, { version: '1' }), undefined);
  });
});

describe('the end of a restart', () => {
  it('is an outage after its window of 60 s, and not a millisecond before', () => {
    const machine = online()
      .shutdown(1500)
      .down(SERVICE_RESTART)
      .redial()
      .pass(59_950 - 50 - 1);
    assert.deepEqual(machine.restarts, ['began shutdown']);
    machine.pass(100);
    assert.deepEqual(machine.restarts, ['began shutdown', 'became-outage shutdown']);
    if (machine.state.status !== 'waiting') machine.down(NOBODY);
    assert.equal(machine.reason, 'outage');
  });

  it('relabels a wait that is under way, because calls that wait for a restart must fail now', () => {
    const machine = new Machine(policyFor({ reconnect: { restart: { initialDelay: 90_000, maxDelay: 90_000 } } }))
      .start()
      .serve();
    machine.shutdown(1500).down(SERVICE_RESTART).pass(60_000);
    assert.deepEqual([machine.state.status, machine.reason], ['waiting', 'outage']);
    assert.deepEqual(
      machine.effectsOf('gate').map(({ gate }) => gate),
      ['shut'],
    );
  });

  it('lets waiting calls fail when the window passes in the middle of a dial, which may hang for 20 s more', () => {
    const machine = online().shutdown(1500).down(SERVICE_RESTART);
    while (machine.due('window') > 600) machine.redial().pass(10).down(NOBODY);
    machine.redial().fire('window');
    assert.equal(machine.state.status, 'connecting');
    assert.deepEqual(
      machine.effectsOf('gate').map(({ gate }) => gate),
      ['shut'],
    );
  });

  it('is told as cancelled when the same instance answers: it announced a restart and did not make one', () => {
    const machine = online().shutdown(1500).down(SERVICE_RESTART).redial().hello({ bootId: 'a' });
    assert.deepEqual(machine.restarts, ['began shutdown', 'ended shutdown cancelled']);
  });

  it('comes when the gateway refuses our token, for it is up again: the restart is not told a second time', () => {
    const machine = online().shutdown(1500).down(SERVICE_RESTART).redial().down(WRONG_TOKEN);
    assert.deepEqual([machine.state.status, machine.restarts], ['blocked', ['began shutdown', 'ended shutdown']]);
    machine.redial().hello({ bootId: 'b' });
    assert.deepEqual(machine.restarts, ['began shutdown', 'ended shutdown']);
  });

  it('outlives nothing: a restart after one that lapsed has an id of its own', () => {
    const machine = online().shutdown(1500).down(SERVICE_RESTART).redial().pass(60_000);
    if (machine.state.status === 'waiting') machine.redial();
    machine.serve({ bootId: 'b' }).shutdown(1500);
    const ids = machine.noticesOf('restart').map(({ id, phase }) => `${id} ${phase}`);
    assert.equal(new Set(ids).size, 3);
    assert.equal(new Set(machine.noticesOf('restart').map(({ id }) => id)).size, 2);
  });

  it('has an id that begins with the label of the instance, or two clients of one process would share it', () => {
    const { id } = online().shutdown(1500).noticesOf('restart')[0] ?? {};
    assert.ok(id?.startsWith('test'), id);
  });
});

describe('a gateway that announces its end', () => {
  it('is cut at its hint and 5 s when it keeps the link open, because nothing may be written on it', () => {
    const machine = online().shutdown(1500);
    assert.deepEqual(
      machine.effectsOf('gate').map(({ gate }) => gate),
      ['hold'],
    );
    machine.pass(6499);
    assert.equal(machine.state.status, 'online');
    machine.pass(1);
    assert.deepEqual([machine.state.status, machine.reason], ['waiting', 'gateway-restart']);
    assert.ok(machine.effectsOf('hangUp').some(({ how }) => how === 'terminate'));
  });

  it('says a restart once, however often it says it', () => {
    assert.deepEqual(online().shutdown(1500).shutdown(1500).restarts, ['began shutdown']);
  });

  it('is asked by its own probe while it starts on loopback, so that the hint need not be waited out', () => {
    const machine = online().down(SERVICE_RESTART).redial().down(STARTING);
    assert.deepEqual(
      machine.effectsOf('watchReadiness').map(({ epoch }) => epoch),
      [machine.epoch],
    );
    machine.pass(100).send({ type: 'ready', epoch: machine.epoch });
    assert.equal(machine.state.status, 'connecting');
  });

  it('is not dialled in a tight loop when its probe says ready and its handshake says starting', () => {
    const machine = new Machine(policyFor()).start().down(STARTING);
    machine.send({ type: 'ready', epoch: machine.epoch });
    assert.ok(machine.state.status === 'waiting' && machine.wait >= 50, 'dialled at once');
  });

  it('counts as draining only until it serves again', () => {
    const machine = online().send({ type: 'draining', epoch: 1 }).send({ type: 'served', epoch: 1 }).down(closed(1006));
    assert.deepEqual([machine.restarts, machine.reason], [[], 'outage']);
  });

  it('is redialled once when it drains for 330 s, and is an outage then: no gateway drains for so long', () => {
    const machine = online().send({ type: 'draining', epoch: 1 }).pass(330_000);
    assert.deepEqual([machine.state.status, machine.reason], ['waiting', 'outage']);
    machine.redial().down(refused('UNAVAILABLE', { reason: 'gateway-restarting' }));
    assert.notEqual(machine.state.status, 'stopped');
  });
});
