import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { factsOf, METHODS, type Methods, type Params, safetyOf, targetOf, withOrigin } from '../../lib/core/methods.js';

describe('the safety of a method', () => {
  it('is read, repeatable, keyed or once', () => {
    assert.equal(safetyOf('agents.list', {}), 'read');
    assert.equal(safetyOf('agents.files.set', { agentId: 'a', name: 'SOUL.md', content: '' }), 'repeatable');
    assert.equal(safetyOf('agents.files.set', { expectedHash: 'x' }), 'repeatable');
    assert.equal(safetyOf('agents.create', { name: 'a' }), 'once');
    assert.equal(safetyOf('chat.send', { idempotencyKey: 'k' }), 'keyed');
  });

  it('depends on the guard or key in the params', () => {
    for (const method of ['config.set', 'config.patch', 'config.apply']) {
      assert.equal(safetyOf(method, { raw: '{}', baseHash: 'h' }), 'repeatable');
      assert.equal(safetyOf(method, { raw: '{}' }), 'once');
      assert.equal(safetyOf(method, { raw: '{}', baseHash: '' }), 'once');
    }
    assert.equal(safetyOf('cron.add', { declarationKey: 'd' }), 'repeatable');
    assert.equal(safetyOf('cron.add', {}), 'once');
    assert.equal(safetyOf('sessions.create', { idempotencyKey: 'k' }), 'keyed');
    assert.equal(safetyOf('sessions.create', { key: 'agent:main:x' }), 'once');
    for (const method of ['agent', 'chat.send', 'send', 'poll', 'message.action', 'sessions.send']) {
      assert.equal(safetyOf(method, {}), 'once', method);
      assert.equal(safetyOf(method, { idempotencyKey: 7 }), 'once', method);
    }
  });

  it('does not trust a key that the gateway only forwards', () => {
    assert.equal(safetyOf('node.invoke', { idempotencyKey: 'k' }), 'once');
    assert.equal(safetyOf('tools.invoke', { idempotencyKey: 'k' }), 'once');
  });

  it('calls one receipt durable, no more: the same chat.send key ran again after a restart', () => {
    assert.deepEqual(
      [...METHODS].filter(([, facts]) => facts.durable).map(([name]) => name),
      ['environments.create'],
    );
  });

  it('is once for every unknown method, whatever its name', () => {
    for (const name of ['boards.list', 'x.get', '', 'toString', '__proto__', 'constructor', 'hasOwnProperty']) {
      assert.equal(safetyOf(name, { idempotencyKey: 'k', baseHash: 'h' }), 'once', name);
    }
    fc.assert(
      fc.property(fc.string(), fc.anything(), (name, params) => METHODS.has(name) || safetyOf(name, params) === 'once'),
    );
  });

  it('takes no key from a prototype', () => {
    assert.equal(safetyOf('send', Object.create({ idempotencyKey: 'k' })), 'once');
    for (const params of [null, undefined, 'x', 1, []]) assert.equal(safetyOf('send', params), 'once');
  });

  it('gives every method a reason, and a check that is a read', () => {
    for (const [name, facts] of METHODS) {
      assert.ok(facts.why.length > 5, name);
      if (facts.confirmWith !== undefined) assert.equal(factsOf(facts.confirmWith).safety, 'read', name);
      if (facts.safety === 'keyed') assert.equal(facts.needs, 'idempotencyKey', name);
    }
  });
});

interface Schema {
  readonly methods: Readonly<Record<string, unknown>>;
  readonly definitions: Readonly<
    Record<string, { readonly properties?: object; readonly required?: readonly string[] }>
  >;
}

/** Every key of the params, so that the compiler complains when one is missing here. */
type Keys<M extends keyof Methods> = Readonly<Record<keyof Params<M>, true>>;
const agentKeys: Keys<'agent'> = {
  message: true,
  agentId: true,
  sessionKey: true,
  sessionId: true,
  model: true,
  thinking: true,
  deliver: true,
  to: true,
  channel: true,
  accountId: true,
  replyTo: true,
  replyChannel: true,
  replyAccountId: true,
  threadId: true,
  attachments: true,
  extraSystemPrompt: true,
  timeout: true,
  label: true,
  idempotencyKey: true,
};
const chatSendKeys: Keys<'chat.send'> = {
  sessionKey: true,
  message: true,
  agentId: true,
  sessionId: true,
  thinking: true,
  deliver: true,
  originatingChannel: true,
  originatingTo: true,
  originatingAccountId: true,
  originatingThreadId: true,
  attachments: true,
  timeoutMs: true,
  idempotencyKey: true,
};
const sendKeys: Keys<'send'> = {
  to: true,
  message: true,
  mediaUrl: true,
  mediaUrls: true,
  channel: true,
  accountId: true,
  agentId: true,
  replyToId: true,
  threadId: true,
  silent: true,
  sessionKey: true,
  idempotencyKey: true,
};
const SHAPES: readonly (readonly [method: string, definition: string, keys: object])[] = [
  [
    'agents.create',
    'AgentsCreateParams',
    { name: true, workspace: true, model: true, emoji: true, avatar: true } satisfies Keys<'agents.create'>,
  ],
  [
    'agents.update',
    'AgentsUpdateParams',
    {
      agentId: true,
      name: true,
      workspace: true,
      model: true,
      emoji: true,
      avatar: true,
    } satisfies Keys<'agents.update'>,
  ],
  ['agents.delete', 'AgentsDeleteParams', { agentId: true, deleteFiles: true } satisfies Keys<'agents.delete'>],
  ['agents.files.list', 'AgentsFilesListParams', { agentId: true } satisfies Keys<'agents.files.list'>],
  ['agents.files.get', 'AgentsFilesGetParams', { agentId: true, name: true } satisfies Keys<'agents.files.get'>],
  [
    'agents.files.set',
    'AgentsFilesSetParams',
    { agentId: true, name: true, content: true, expectedHash: true } satisfies Keys<'agents.files.set'>,
  ],
  ['models.list', 'ModelsListParams', { agentId: true, refresh: true, view: true } satisfies Keys<'models.list'>],
  [
    'sessions.list',
    'SessionsListParams',
    {
      limit: true,
      offset: true,
      agentId: true,
      search: true,
      label: true,
      activeMinutes: true,
    } satisfies Keys<'sessions.list'>,
  ],
  [
    'chat.history',
    'ChatHistoryParams',
    { sessionKey: true, agentId: true, limit: true, offset: true, maxChars: true } satisfies Keys<'chat.history'>,
  ],
  ['chat.abort', 'ChatAbortParams', { sessionKey: true, agentId: true, runId: true } satisfies Keys<'chat.abort'>],
  ['agent.wait', 'AgentWaitParams', { runId: true, timeoutMs: true } satisfies Keys<'agent.wait'>],
  ['node.describe', 'NodeDescribeParams', { nodeId: true } satisfies Keys<'node.describe'>],
  [
    'node.invoke',
    'NodeInvokeParams',
    { nodeId: true, command: true, params: true, timeoutMs: true, idempotencyKey: true } satisfies Keys<'node.invoke'>,
  ],
  [
    'node.invoke.result',
    'NodeInvokeResultParams',
    {
      id: true,
      nodeId: true,
      ok: true,
      payload: true,
      payloadJSON: true,
      error: true,
    } satisfies Keys<'node.invoke.result'>,
  ],
  ['node.event', 'NodeEventParams', { event: true, payload: true, payloadJSON: true } satisfies Keys<'node.event'>],
  ['node.pending.ack', 'NodePendingAckParams', { ids: true } satisfies Keys<'node.pending.ack'>],
  ['agent', 'AgentParams', agentKeys],
  ['chat.send', 'ChatSendParams', chatSendKeys],
  ['send', 'SendParams', sendKeys],
];
/** Known to gateways that are newer than the published schema. */
const NEWER = new Set(['agents.files.set expectedHash']);
/** Not in the published schema, but measured on real gateways. */
const UNPUBLISHED = new Set(['node.host.stats', 'node.presence.alive']);

describe('the typed params', () => {
  // The package ships the schema without exporting it.
  const file = new URL('../protocol.schema.json', import.meta.resolve('@openclaw/gateway-protocol'));
  const schema = JSON.parse(readFileSync(file, 'utf8')) as Schema;

  for (const [method, definition, keys] of SHAPES) {
    it(`${method}: no key that the gateway would refuse, none left out that it requires`, () => {
      const { properties = {}, required = [] } = schema.definitions[definition] ?? {};
      const ours = Object.keys(keys);
      assert.deepEqual(
        ours.filter((key) => !Object.hasOwn(properties, key) && !NEWER.has(`${method} ${key}`)),
        [],
      );
      assert.deepEqual(
        required.filter((key) => !ours.includes(key)),
        [],
      );
    });
  }

  it('every method of the table is one of the gateway', () => {
    assert.deepEqual(
      [...METHODS.keys()].filter((name) => !Object.hasOwn(schema.methods, name) && !UNPUBLISHED.has(name)),
      [],
    );
  });

  it('every method that demands a key by its schema is known to', () => {
    const demand = SHAPES.filter(([, definition]) =>
      schema.definitions[definition]?.required?.includes('idempotencyKey'),
    );
    assert.deepEqual(
      demand.map(([method]) => factsOf(method).key),
      demand.map(() => 'required'),
    );
    assert.equal(demand.length, 4);
  });
});

describe('the recipient in the params', () => {
  const origin = { channel: 'feishu', to: 'ou_1', accountId: 'main' };

  it('is found where the method holds it', () => {
    assert.deepEqual(targetOf('send', { to: 'x', channel: 'slack', message: 'hi' }), { channel: 'slack', to: 'x' });
    assert.deepEqual(targetOf('agent', { to: 'x', replyTo: 'y' }), { to: 'y' });
    assert.deepEqual(targetOf('chat.send', { originatingTo: 'x' }), { to: 'x' });
    assert.equal(targetOf('agents.list', {}), undefined);
    assert.deepEqual(targetOf('send', null), {});
  });

  it('is filled in from the origin, and never replaced', () => {
    assert.deepEqual(withOrigin('send', { message: 'hi' }, origin), { message: 'hi', ...origin });
    assert.deepEqual(withOrigin('send', { to: 'ou_2' }, origin), { ...origin, to: 'ou_2' });
    assert.deepEqual(withOrigin('send', { to: 'C01', channel: 'slack' }, origin), { to: 'C01', channel: 'slack' });
    assert.deepEqual(withOrigin('chat.send', {}, origin), {
      originatingChannel: 'feishu',
      originatingTo: 'ou_1',
      originatingAccountId: 'main',
    });
    assert.deepEqual(withOrigin('agents.list', {}, origin), {});
  });
});
