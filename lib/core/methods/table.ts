/**
 * May a method be repeated? One row for every method that a node host or a provisioning backend uses; what is not here
 * is `once`, whatever its name ends in.
 *
 * Source of every row: schema, documents and measurements of the gateway, 2026.4.15 to 2026.9.6. The reason says what
 * a repeat does.
 */
import type { Safety } from '../vocabulary.js';

export interface MethodFacts {
  /** Without regard to the params; `safetyOf` looks at them. */
  readonly safety: Safety;
  readonly why: string;
  /** An `idempotencyKey` in the params; where absent, the key is an unknown property and is refused. */
  readonly key?: 'required' | 'optional';
  /** The receipt of the key outlives a restart of the gateway. */
  readonly durable?: true;
  /** The method that shows whether it was executed. */
  readonly confirmWith?: string;
  /** The param (a non-empty text) that makes it `safety`; without it, it is `once`. */
  readonly needs?: string;
}

const reads = (...names: readonly string[]): [string, MethodFacts][] =>
  names.map((name) => [name, { safety: 'read', why: 'changes nothing' }]);

const repeatable = (why: string, ...names: readonly string[]): [string, MethodFacts][] =>
  names.map((name) => [name, { safety: 'repeatable', why }]);

const once = (why: string, ...names: readonly string[]): [string, MethodFacts][] =>
  names.map((name) => [name, { safety: 'once', why }]);

// The table of keys is in memory, per gateway instance: 5 minutes, 1000 entries (code). After a restart the same `agent`
// and `chat.send` keys ran again (measured), so no receipt counts as durable except that of `environments.create` (docs).
const keyed = (why: string, confirmWith: string | undefined, ...names: readonly string[]): [string, MethodFacts][] =>
  names.map((name) => [
    name,
    {
      safety: 'keyed',
      why,
      key: 'required',
      needs: 'idempotencyKey',
      ...(confirmWith !== undefined && { confirmWith }),
    },
  ]);

export const METHODS: ReadonlyMap<string, MethodFacts> = new Map<string, MethodFacts>([
  ...reads('health', 'status', 'system.info', 'gateway.identity.get', 'models.list', 'update.status'),
  ...reads(
    'agents.list',
    'agents.files.list',
    'agents.files.get',
    'config.get',
    'config.schema',
    'config.schema.lookup',
  ),
  ...reads('sessions.list', 'sessions.describe', 'chat.history', 'tasks.list', 'tasks.get', 'secrets.store.list'),
  ...reads('node.list', 'node.describe', 'node.pair.list', 'device.pair.list', 'node.pending.pull', 'skills.bins'),
  ...reads('cron.list', 'cron.get', 'cron.status', 'cron.runs', 'exec.approval.list', 'exec.approval.get'),
  ...reads('gateway.suspend.status', 'gateway.restart.preflight', 'environments.status'),
  ['agent.wait', { safety: 'read', why: 'waits again; its timeout is not the end of the run' }],

  // 9.6 answers a hash, 4.26 none. With `expectedHash` (9.6 only) a repeat is a conflict that shows our own content.
  ['agents.files.set', { safety: 'repeatable', why: 'writes the same bytes again', confirmWith: 'agents.files.get' }],
  ['agents.update', { safety: 'repeatable', why: 'sets the same fields again (measured)', confirmWith: 'agents.list' }],
  [
    'agents.delete',
    { safety: 'repeatable', why: 'the repeat says "not found" (measured)', confirmWith: 'agents.list' },
  ],
  // "already exists" proves the first one only where the id is the caller's alone.
  [
    'agents.create',
    { safety: 'once', why: 'the repeat says "already exists", whoever made it', confirmWith: 'agents.list' },
  ],

  // With `baseHash` the repeat is "config changed since last load" (measured); without, it overwrites another's change.
  ['config.set', { safety: 'repeatable', why: 'guarded by baseHash', needs: 'baseHash', confirmWith: 'config.get' }],
  ['config.patch', { safety: 'repeatable', why: 'guarded by baseHash', needs: 'baseHash', confirmWith: 'config.get' }],
  ['config.apply', { safety: 'repeatable', why: 'guarded by baseHash', needs: 'baseHash', confirmWith: 'config.get' }],

  [
    'cron.add',
    {
      safety: 'repeatable',
      why: 'the declaration key finds the same job',
      needs: 'declarationKey',
      confirmWith: 'cron.list',
    },
  ],
  ['cron.update', { safety: 'repeatable', why: 'sets the same fields again', confirmWith: 'cron.list' }],
  ['cron.remove', { safety: 'repeatable', why: 'the repeat finds nothing to remove', confirmWith: 'cron.list' }],
  ['cron.run', { safety: 'once', why: 'enqueues another run', confirmWith: 'cron.runs' }],

  ...keyed('the key is the run id; a repeat joins the first run', 'agent.wait', 'agent'),
  ...keyed('the key is the run id; a repeat joins the first run', 'chat.history', 'chat.send'),
  ...keyed('the key answers for the first delivery', undefined, 'send', 'poll', 'message.action'),
  [
    'sessions.send',
    {
      safety: 'keyed',
      why: 'the key answers for the first',
      key: 'optional',
      needs: 'idempotencyKey',
      confirmWith: 'chat.history',
    },
  ],
  // Without an authenticated device the key is refused as INVALID_REQUEST (measured).
  [
    'sessions.create',
    {
      safety: 'keyed',
      why: 'the key finds the session',
      key: 'optional',
      needs: 'idempotencyKey',
      confirmWith: 'sessions.list',
    },
  ],
  [
    'environments.create',
    {
      safety: 'keyed',
      why: 'a durable operation under its key (docs)',
      key: 'required',
      durable: true,
      needs: 'idempotencyKey',
      confirmWith: 'environments.status',
    },
  ],
  // The gateway forwards the key and dispatches again (measured 4.26, 9.6).
  ['node.invoke', { safety: 'once', why: 'runs the command again unless the node remembers the key', key: 'required' }],
  ['tools.invoke', { safety: 'once', why: 'runs the tool again; the key only names the call (docs)', key: 'optional' }],
  // The schema demands or allows a key here; what it does was not measured.
  ['sessions.github.publish', { safety: 'once', why: 'publishes', key: 'required' }],
  ['migrations.memory.apply', { safety: 'once', why: 'migrates', key: 'required' }],
  ['skills.proposals.requestRevision', { safety: 'once', why: 'asks again', key: 'required' }],
  ['skills.upload.begin', { safety: 'once', why: 'begins another upload', key: 'optional' }],

  // Per connection: they must be repeated after every hello.
  ...repeatable(
    'subscribes this connection',
    'sessions.subscribe',
    'sessions.messages.subscribe',
    'sessions.messages.unsubscribe',
  ),
  ...repeatable(
    'best effort; presence is throttled (measured)',
    'node.event',
    'node.host.stats',
    'node.presence.alive',
  ),
  ...repeatable('a late or second result is ignored (measured)', 'node.invoke.result'),
  ...repeatable(
    'replaces the whole catalogue',
    'node.pluginTools.update',
    'node.skills.update',
    'node.runnerInventory.update',
  ),
  ['node.pending.ack', { safety: 'repeatable', why: 'the ids are gone already', confirmWith: 'node.pending.pull' }],
  ...once('duplicates a chunk', 'node.invoke.progress'),
  ...once('queues another item', 'node.pending.enqueue'),
  ['node.pair.approve', { safety: 'once', why: 'the request is gone the second time', confirmWith: 'node.pair.list' }],
  ['node.pair.reject', { safety: 'once', why: 'the request is gone the second time', confirmWith: 'node.pair.list' }],
  [
    'device.pair.approve',
    { safety: 'once', why: 'the request is gone the second time', confirmWith: 'device.pair.list' },
  ],
  [
    'device.pair.reject',
    { safety: 'once', why: 'the request is gone the second time', confirmWith: 'device.pair.list' },
  ],
  ...once('a second rotation kills the first new token', 'device.token.rotate', 'device.token.revoke'),

  ...repeatable(
    'leads to the same state',
    'secrets.store.set',
    'secrets.store.delete',
    'set-heartbeats',
    'channels.stop',
  ),
  ...repeatable('leads to the same state', 'sessions.abort', 'chat.abort'),
  [
    'gateway.suspend.prepare',
    {
      safety: 'repeatable',
      why: 'renews the same request (docs)',
      needs: 'requestId',
      confirmWith: 'gateway.suspend.status',
    },
  ],
  [
    'gateway.suspend.resume',
    { safety: 'repeatable', why: 'the repeat resumes nothing (docs)', confirmWith: 'gateway.suspend.status' },
  ],
  // Coalesced within the cooldown, a second restart after it; another boot id shows it.
  ...once('restarts again after the cooldown', 'gateway.restart.request'),
  ...once(
    'acts again',
    'update.run',
    'sessions.reset',
    'sessions.delete',
    'sessions.compact',
    'chat.inject',
    'system-event',
    'wake',
    'secrets.reload',
  ),
]);
