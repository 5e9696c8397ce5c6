/** What we send is valid by the official schema, for both roles: it is closed, and a gateway refuses what it does not know. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as protocol from '@openclaw/gateway-protocol';
import { WebSocket, WebSocketServer } from 'ws';
import { provisionAgent } from '../../lib/api/provision.js';
import { createClient, createNodeHost } from '../../lib/index.js';
import { eventually } from '../support/collect.js';
import { gateway, QUICK } from '../support/gateways.js';
import { scratch } from '../support/liveness-records.js';

/** A relay that keeps the texts of whoever dials it. */
interface Tap extends AsyncDisposable {
  readonly url: string;
  readonly heard: string[];
}

async function tap(to: string): Promise<Tap> {
  const heard: string[] = [];
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (near) => {
    const far = new WebSocket(to);
    const waiting: string[] = [];
    near.on('message', (data) => {
      heard.push(String(data));
      if (far.readyState === WebSocket.OPEN) far.send(String(data));
      else waiting.push(String(data));
    });
    far.on('open', () => {
      for (const text of waiting) far.send(text);
    });
    far.on('message', (data) => near.send(String(data)));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('close', () => other.terminate());
      one.on('error', () => other.terminate());
    }
  });
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    url: `ws://127.0.0.1:${address.port}`,
    heard,
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate();
      server.close();
    },
  };
}

/** Methods whose params the official package has no schema for; what we send is given here. */
const WITHOUT_SCHEMA: Readonly<Record<string, object>> = { health: {}, status: {}, 'node.pending.pull': {} };

/** `agents.files.set` → `validateAgentsFilesSetParams`; undefined where there is none. */
function validatorOf(method: string): ((params: unknown) => string | null) | undefined {
  const name = method.replace(/(^|\.)([a-z])/g, (_all, _dot, letter: string) => letter.toUpperCase());
  const found: unknown = Reflect.get(protocol, `validate${name}Params`);
  if (typeof found !== 'function') return undefined;
  return (params) => (found(params) === true ? null : protocol.formatValidationErrors(Reflect.get(found, 'errors')));
}

/** Checks each frame as it went over the wire; returns the methods that were seen. */
function check(heard: readonly string[]): string[] {
  const seen = new Set<string>();
  for (const text of heard) {
    const frame = JSON.parse(text);
    assert.ok(
      protocol.validateRequestFrame(frame),
      `${text}: ${protocol.formatValidationErrors(protocol.validateRequestFrame.errors)}`,
    );
    const { method, params } = frame;
    const validate = validatorOf(method);
    if (validate === undefined) assert.deepEqual(params, WITHOUT_SCHEMA[method], `${method} has no schema`);
    else assert.equal(validate(params), null, text);
    seen.add(method);
  }
  return [...seen].sort();
}

describe('the official schema of the protocol', () => {
  it('refuses what is wrong, so that its word counts here', () => {
    assert.ok(!protocol.validateConnectParams({}));
    const client = { id: 'node-host', version: '1', platform: 'linux', mode: 'node' };
    const good = { minProtocol: 3, maxProtocol: 4, client };
    assert.ok(protocol.validateConnectParams(good));
    assert.ok(!protocol.validateConnectParams({ ...good, foo: 1 }));
    assert.ok(!protocol.validateNodeInvokeResultParams({ id: 'i', nodeId: 'n', ok: true, foo: 1 }));
  });

  it('takes every frame of an operator', async () => {
    using dir = scratch();
    await using gw = await gateway({ workspace: dir.at('work') });
    await using wire = await tap(gw.url);
    for (const device of [false, { stateDir: dir.at('state') }] as const) {
      await using client = createClient({
        url: wire.url,
        token: gw.token,
        device,
        client: { displayName: 'a backend' },
        logger: false,
        ...QUICK,
      }).start();
      const { agents, chat, agent, models, sessions, health, status } = client.gateway;
      const name = device === false ? 'one' : 'two';
      await client.ready({ timeout: 8000 });
      const files = { 'AGENTS.md': '# hello\n' };
      const { agentId } = await provisionAgent(client, { name, workspace: dir.at(name), files });
      await agents.list();
      await agents.update({ agentId, model: 'openai/any' });
      await agents.files.list({ agentId });
      await agents.files.get({ agentId, name: 'AGENTS.md' });
      const sessionKey = `agent:${agentId}:main`;
      await agent.run({ message: 'hello', agentId, sessionKey });
      await chat.send({ sessionKey, message: 'hello' });
      await chat.history({ sessionKey });
      await chat.abort({ sessionKey });
      await Promise.allSettled([models.list(), sessions.list(), health(), status()]);
      await agents.delete({ agentId });
    }
    const seen = check(wire.heard);
    for (const method of ['connect', 'agents.create', 'agents.files.set', 'agent', 'agent.wait', 'chat.send'])
      assert.ok(seen.includes(method), `${method} was not sent: ${seen.join(', ')}`);
  });

  it('takes every frame of a node, with each kind of credential', async () => {
    using dir = scratch();
    await using gw = await gateway();
    await using wire = await tap(gw.url);
    for (const [round, credential] of [{ token: gw.token }, {}, { password: gw.token }].entries()) {
      await using host = createNodeHost({
        url: wire.url,
        ...credential,
        device: { stateDir: dir.at('state') },
        caps: ['system'],
        client: { displayName: 'build-1' },
        logger: false,
        ...QUICK,
      });
      host.handle('works', (params, { progress }) => {
        progress('half way');
        progress({ done: true });
        return { params };
      });
      host.handle('quiet', () => undefined);
      host.handle('fails', () => {
        throw Object.assign(new Error('no'), { code: 'ENOENT' });
      });
      host.start();
      await eventually(() => host.health().node?.registration === 'proven', `registered in round ${round}`);
      const nodeId = host.health().node?.deviceId ?? '';
      await gw.invoke(nodeId, 'works', { a: 1 });
      await gw.invoke(nodeId, 'quiet');
      await Promise.allSettled([gw.invoke(nodeId, 'fails')]);
      await eventually(() => host.health().calls.inFlight === 0, 'all is answered');
    }
    assert.deepEqual(check(wire.heard), ['connect', 'node.invoke.progress', 'node.invoke.result', 'node.pending.pull']);
  });
});
