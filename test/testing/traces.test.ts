import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Emulate, TestGateway, TestGatewayOptions } from '../../lib/testing/index.js';
import { Bench, type Frame, RawClient, shape } from './raw-client.js';

/** One line of a recording from a real gateway, without its times and without what the embedded one need not say. */
interface Step {
  readonly dir: 'open' | 'in' | 'out' | 'close' | 'http-out' | 'http-in' | 'readyz';
  readonly conn?: number;
  readonly frame?: Frame;
  readonly code?: number;
  readonly reason?: string;
  readonly pending?: readonly string[];
  readonly status?: number;
  readonly body?: string;
}

function recording(name: string): readonly Step[] {
  // The compiled test stands three folders below the root, like its source.
  const file = new URL(`../../../test/testing/fixtures/${name}.jsonl`, import.meta.url);
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Step => JSON.parse(line));
}

const TOKEN = 'example-gateway-token';

/** What is compared of a frame: texts and codes as they are, everything else by its shape. */
function essence(frame: Frame): unknown {
  if (frame.error !== undefined) return { id: frame.id, error: frame.error };
  if (frame.event === 'shutdown') return { event: frame.event, payload: frame.payload };
  const { snapshot: _snapshot, ...payload } = frame.payload ?? {};
  return { type: frame.type, id: frame.id, ok: frame.ok, event: frame.event, payload: shape(payload) };
}

/** Sends what the recorded client sent on one connection, and checks each frame that comes back against the recording. */
async function replay(bench: Bench, gateway: TestGateway, steps: readonly Step[]): Promise<RawClient> {
  const client = bench.keep(await RawClient.open(gateway.url));
  let heard = 0;
  for (const { dir, frame, code, reason } of steps) {
    if (dir === 'out') client.send(frame);
    if (dir === 'close') assert.deepEqual(await client.closed, { code, reason });
    if (dir !== 'in' || frame === undefined || frame.event === 'health') continue;
    const wanted = essence(frame);
    await client.until(() => {
      // Events may come at other moments than in the recording: they are skipped, not compared.
      while (client.frames[heard]?.event === 'health') heard += 1;
      return client.frames.length > heard;
    });
    assert.deepEqual(essence(client.frames[heard] ?? {}), wanted);
    heard += 1;
  }
  return client;
}

describe('the embedded gateway against recordings of real ones', () => {
  const bench = new Bench();
  afterEach(() => bench.release());

  const open = (emulate: Emulate, options: TestGatewayOptions = {}): Promise<TestGateway> =>
    bench.gateway({ emulate, token: TOKEN, ...options });
  const onConn = (steps: readonly Step[], conn: number): readonly Step[] => steps.filter((step) => step.conn === conn);

  it('2026.9.6 refuses a wrong token with the recorded words, late', async () => {
    const gateway = await open('2026.9.6');
    const started = Date.now();
    await replay(bench, gateway, recording('2026.9.6-token-mismatch'));
    assert.ok(Date.now() - started >= 245, 'the first wrong token waits 250 ms');
  });

  it('2026.9.6 refuses protocol 3 with both ranges', async () => {
    await replay(bench, await open('2026.9.6'), recording('2026.9.6-protocol-mismatch'));
  });

  it('2026.4.26 refuses protocol 4 with the expected one only', async () => {
    await replay(bench, await open('2026.4.26'), recording('2026.4.26-protocol-mismatch'));
  });

  it('2026.9.6 restarts on request: answer, shutdown, 1012, refused, starting, new boot id', async () => {
    const steps = recording('2026.9.6-operator-restart');
    const gateway = await open('2026.9.6', { timings: { portShutMs: 100, startingMs: 300 } });
    const before = gateway.bootId;
    await replay(bench, gateway, onConn(steps, 1));
    await assert.rejects(RawClient.open(gateway.url), { code: 'ECONNREFUSED' });
    await gateway.until(() => gateway.state === 'starting' && gateway.listening);
    await replay(bench, gateway, onConn(steps, 24));
    await gateway.until(() => gateway.state === 'ready');
    const recovered = onConn(steps, 25).filter(({ frame }) => frame?.event !== 'sessions.changed');
    const client = await replay(bench, gateway, recovered);
    const hello = await client.frame((frame) => frame.id === '1');
    assert.notEqual(gateway.bootId, before);
    assert.deepEqual(Reflect.get(Object(hello.payload?.['server']), 'bootId'), gateway.bootId);
  });

  it('2026.4.26 restarts itself after agents.create: what was sent behind it ran, unanswered; the POST gets 500', async () => {
    const steps = recording('2026.4.26-provision-self-restart');
    const gateway = await open('2026.4.26', { timings: { portShutMs: 250, lingerMs: 150 } });
    const posted = gateway.until(() => gateway.ledger.some(({ method }) => method === 'agents.files.set'));
    const response = posted.then(() =>
      fetch(`${gateway.httpUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'openclaw/tenant-vqk4', messages: [{ role: 'user', content: 'hello' }] }),
      }),
    );
    await replay(bench, gateway, onConn(steps, 1));
    await assert.rejects(RawClient.open(gateway.url), { code: 'ECONNREFUSED' });

    const pending = steps.find(({ pending }) => pending !== undefined)?.pending;
    const unanswered = gateway.ledger.filter(({ kind, answered }) => kind === 'ws' && !answered);
    assert.deepEqual(
      unanswered.map(({ id }) => id),
      pending,
    );
    assert.ok(unanswered.every(({ executed }) => executed));

    const recorded = steps.find(({ dir }) => dir === 'http-in');
    const answer = await response;
    assert.equal(answer.status, recorded?.status);
    assert.equal(await answer.text(), recorded?.body);

    await gateway.until(() => gateway.state === 'ready');
    const client = await replay(bench, gateway, onConn(steps, 59));
    const set = await client.ok('agents.files.get', { agentId: 'tenant-vqk4', name: 'SOUL.md' });
    assert.equal(Reflect.get(Object(set['file']), 'content'), '# SOUL.md');
  });

  it('2026.9.6 settles after agents.create: files.set is refused for a while, then works; no restart', async () => {
    const steps = onConn(recording('2026.9.6-provision-settle'), 1);
    const gateway = await open('2026.9.6', { timings: { tickIntervalMs: 300, settleMs: 60 } });
    const before = gateway.bootId;
    const client = await replay(bench, gateway, steps);
    assert.deepEqual((await client.event('config.changed')).payload?.['path'], 'openclaw.json');
    const set = await client.ok('agents.files.set', { agentId: 'tenant-pp30', name: 'SOUL.md', content: '# SOUL.md' });
    assert.equal(set['ok'], true);
    assert.equal(gateway.bootId, before);
  });
});
