import assert from 'node:assert/strict';
import type { Hello } from '../../lib/core/frames.js';
import type { Event } from '../../lib/core/machine.js';
import { type ClientOptions, parseOptions } from '../../lib/core/options.js';
import { Link } from '../../lib/io/link.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import type { TestGateway } from '../../lib/testing/index.js';
import { Collection, eventually } from '../support/collect.js';
import { gateway, peer } from '../support/gateways.js';

interface Rig extends Disposable {
  readonly link: Link;
  readonly pushed: Collection<Event>;
  readonly hellos: Hello[];
  readonly secrets: string[];
  readonly frames: string[];
}

/** A link that nobody drives: each test dials and hangs up by hand. */
function rig(to: { url: string; token?: string }, options: Partial<ClientOptions> = {}): Rig {
  const pushed = new Collection<Event>();
  const hellos: Hello[] = [];
  const secrets: string[] = [];
  const frames: string[] = [];
  const settings = parseOptions(
    { url: to.url, ...(to.token !== undefined && { token: to.token }), ...options },
    'test',
    '1.2.3',
  );
  const events = {
    push: (event: Event): void => pushed.add(event),
    hello: (hello: Hello): void => void hellos.push(hello),
    response: ({ id }: { id: string }): void => void frames.push(`response ${id}`),
    event: ({ event }: { event: string }): void => void frames.push(`event ${event}`),
    unreadable: (why: string): void => void frames.push(`unreadable: ${why}`),
    secret: (value: string): void => void secrets.push(value),
    warning: (): void => {},
    offer: () => ({ caps: [], commands: [] }),
  };
  const link = new Link(settings, systemRuntime, events, 'instance-1');
  return { link, pushed, hellos, secrets, frames, [Symbol.dispose]: () => link.hangUp('terminate') };
}

function shown(event: Event): string {
  const epoch = 'epoch' in event ? event.epoch : '-';
  if (event.type === 'phase') return `${epoch} ${event.phase}`;
  if (event.type === 'down') return `${epoch} down: ${event.evidence.kind}`;
  return `${epoch} ${event.type}`;
}

async function online(made: Rig, epoch: number): Promise<void> {
  made.link.dial(epoch);
  await made.pushed.until((event) => event.type === 'hello' && event.epoch === epoch, `hello ${epoch}`);
}

function connectOf(gw: TestGateway): Record<string, unknown> {
  return gw.ledger.find((entry) => entry.method === 'connect')?.params as Record<string, unknown>;
}

describe('a link', () => {
  it('tells each step of a dial with the number of that dial', async () => {
    await using gw = await gateway();
    using made = rig(gw);
    await online(made, 7);
    assert.deepEqual(made.pushed.all.map(shown), [
      '7 target',
      '7 tcp',
      '7 upgrade',
      '7 challenge',
      '7 hello',
      '7 hello',
    ]);
    assert.deepEqual([made.hellos.length, made.secrets], [1, [gw.token]]);
    assert.ok(made.link.heardAt() > 0);
  });

  it('sends a connect that the gateway takes, with both protocols and nothing that is empty', async () => {
    await using gw = await gateway();
    using made = rig(gw, { password: 'a password', client: { displayName: 'a test' } });
    await online(made, 1);
    const { client, ...rest } = connectOf(gw);
    assert.deepEqual(rest, {
      minProtocol: 3,
      maxProtocol: 4,
      role: 'operator',
      scopes: ['operator.admin', 'operator.read', 'operator.write'],
      caps: [],
      auth: { token: gw.token, password: 'a password' },
    });
    assert.deepEqual(client, {
      id: 'gateway-client',
      version: '1.2.3',
      platform: process.platform,
      mode: 'backend',
      displayName: 'a test',
      instanceId: 'instance-1',
    });
    await using open = await gateway({ token: null });
    using bare = rig({ url: open.url });
    await online(bare, 1);
    assert.equal('auth' in connectOf(open), false);
  });

  it('X07 hands on a hello without the tokens and addresses that give access', async () => {
    await using gw = await gateway({
      emulate: '2026.4.26',
      faults: [{ name: 'bad-hello', patch: { auth: { deviceToken: 'device-s3cret' } } }],
    });
    using made = rig(gw);
    await online(made, 1);
    assert.doesNotMatch(JSON.stringify(made.hellos), /device-s3cret|__openclaw__\/cap/);
    assert.equal(made.hellos[0]?.protocol, 3);
  });

  it('INV2 ends the dial before when a new one begins, and says nothing more of the old one', async () => {
    await using gw = await gateway();
    using made = rig(gw);
    await online(made, 1);
    await online(made, 2);
    gw.closeAll(1011);
    await made.pushed.until((event) => event.type === 'down', 'the end');
    await eventually(() => gw.connections.every((connection) => !connection.open), 'both ended');
    assert.deepEqual(made.pushed.all.filter((event) => event.type === 'down').map(shown), ['2 down: closed']);
  });

  it('says nothing more after it was hung up, in whatever phase, not even of a provider that comes late', async () => {
    await using silent = await peer((socket) => socket.resume());
    let answer: (token: string) => void = () => {};
    const late = new Promise<string>((resolve) => {
      answer = resolve;
    });
    using asking = rig(silent, { token: () => late });
    asking.link.dial(1);
    asking.link.hangUp('terminate');
    answer('late');
    using upgrading = rig(silent);
    upgrading.link.dial(1);
    await upgrading.pushed.until((event) => event.type === 'phase' && event.phase === 'upgrade', 'the upgrade');
    const before = upgrading.pushed.all.length;
    upgrading.link.hangUp('terminate');
    await eventually(() => silent.open === 0, 'no socket');
    assert.deepEqual([asking.pushed.all.length, upgrading.pushed.all.length, silent.dials], [0, before, 1]);
  });

  it('sends nothing but on a link that had its hello', async () => {
    await using gw = await gateway({ faults: [{ name: 'no-hello', times: 1 }] });
    using made = rig(gw);
    assert.equal(made.link.send('{}'), false);
    made.link.dial(1);
    await gw.until(() => gw.connections.some((connection) => connection.firstFrame === 'connect'));
    assert.equal(made.link.send('{"type":"req","id":"1","method":"test.echo","params":{}}'), false);
    await online(made, 2);
    assert.equal(made.link.send('{"type":"req","id":"1","method":"test.echo","params":{}}'), true);
    await eventually(() => made.frames.includes('response 1'), 'the answer');
    made.link.hangUp('terminate');
    assert.equal(made.link.send('{}'), false);
  });

  it('closes a good link politely and tells of its end', async () => {
    await using gw = await gateway();
    using made = rig(gw);
    await online(made, 1);
    made.link.hangUp('close');
    const down = await made.pushed.until((event) => event.type === 'down', 'the end');
    assert.deepEqual(down, {
      type: 'down',
      epoch: 1,
      evidence: { kind: 'closed', phase: 'online', code: 1000, reason: '' },
    });
  });

  it('hears pings and pongs', async () => {
    await using gw = await gateway({ timings: { pingIntervalMs: 0 }, faults: [{ name: 'no-ticks' }] });
    using made = rig(gw);
    await online(made, 1);
    const before = made.link.heardAt();
    made.link.ping();
    await eventually(() => made.link.heardAt() > before, 'the pong');
  });

  it('hands on answers and events after the hello, counts what it cannot read, and ends at ten of those in a row', async () => {
    await using gw = await gateway();
    using made = rig(gw);
    await online(made, 1);
    gw.send('test.event', {});
    for (let count = 0; count < 12; count += 1) gw.sendRaw('garbage');
    await made.pushed.until((event) => event.type === 'down', 'the end');
    assert.equal(made.frames[0], 'event test.event');
    assert.equal(made.frames.filter((frame) => frame.startsWith('unreadable')).length, 10);
    assert.equal(made.pushed.all.map(shown).at(-1), '1 down: garbage');
  });

  it('tells the machine of a shutdown with its hint, and without one', async () => {
    await using gw = await gateway();
    using made = rig(gw);
    await online(made, 1);
    gw.send('shutdown', { restartExpectedMs: 1500 });
    gw.send('shutdown', {});
    gw.send('shutdown', { restartExpectedMs: null });
    gw.send('shutdown', 'odd');
    const events = await made.pushed.untilCount(4, (event) => event.type === 'shutdown', 'four of them');
    assert.deepEqual(
      events.map((event) => event.type === 'shutdown' && event.restartExpectedMs),
      [1500, null, null, null],
    );
  });

  it('C18 refuses to send a connect that no gateway would read', async () => {
    await using gw = await gateway();
    using made = rig(gw, { token: 'x'.repeat(70_000) });
    made.link.dial(1);
    const down = await made.pushed.until((event) => event.type === 'down', 'the end');
    assert.deepEqual(shown(down), '1 down: trust');
    assert.equal(gw.connections[0]?.firstFrame, undefined);
  });
});
