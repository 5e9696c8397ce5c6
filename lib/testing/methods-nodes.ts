import type { Connection } from './connection.js';
import { type ErrorShape, invalid, RpcError, unavailable } from './errors.js';
import type { Host } from './host.js';
import type { Call, MethodTable } from './methods.js';
import type { InvokeOutcome } from './nodes.js';
import { anything, bool, count, name, names, numberAt, object, open, stringAt, text } from './validate.js';

const READ = 'operator.read';
const WRITE = 'operator.write';
const PAIRING = 'operator.pairing';

/** The node side (role node) and what operators do with nodes. */
export const NODE_METHODS: MethodTable = {
  'node.list': {
    scope: READ,
    params: object({}),
    run: ({ host }) => ({ ts: Date.now(), nodes: [...host.nodes.registered].map(([id, c]) => describe(host, id, c)) }),
  },
  'node.describe': {
    scope: READ,
    params: object({ nodeId: name }, 'nodeId'),
    run: ({ host }, params) => {
      const nodeId = stringAt(params, 'nodeId') ?? '';
      const connection = host.nodes.registered.get(nodeId);
      if (connection === undefined) throw new RpcError(invalid('unknown nodeId'));
      return { ts: Date.now(), ...describe(host, nodeId, connection) };
    },
  },
  'node.invoke': {
    scope: WRITE,
    params: object(
      { nodeId: name, command: name, params: anything, timeoutMs: count, idempotencyKey: name, sessionKey: name },
      'nodeId',
      'command',
      'idempotencyKey',
    ),
    run: (call, params) => call.boot.busy(invoke(call, params)),
  },
  'node.invoke.result': {
    role: 'node',
    whileDraining: true,
    params: object(
      {
        id: name,
        nodeId: name,
        ok: bool,
        payload: anything,
        payloadJSON: text,
        error: object({ code: name, message: name }),
      },
      'id',
      'nodeId',
      'ok',
    ),
    run: result,
  },
  'node.invoke.progress': {
    role: 'node',
    whileDraining: true,
    params: object({ invokeId: name, nodeId: name, seq: count, chunk: text }, 'invokeId', 'nodeId', 'seq', 'chunk'),
    run: () => ({ ok: true }),
  },
  'node.event': {
    role: 'node',
    params: object({ event: name, payload: anything, payloadJSON: text }, 'event'),
    run: ({ host }, params) =>
      host.profile.verbose ? { ok: true, event: params['event'], handled: true, reason: 'updated' } : { ok: true },
  },
  'node.pending.pull': {
    role: 'node',
    params: object({}),
    run: ({ connection }) => ({ nodeId: connection.identity?.deviceId, actions: [] }),
  },
  'node.pending.ack': { role: 'node', params: object({ ids: names }, 'ids'), run: () => ({ ok: true }) },
  'node.presence.alive': { role: 'node', params: open, run: () => ({ ok: true }) },
  'node.host.stats': { role: 'node', params: open, run: () => ({ ok: true }) },
  'node.pluginTools.update': { role: 'node', params: open, run: () => ({ ok: true }) },
  'node.skills.update': { role: 'node', params: open, run: () => ({ ok: true }) },
  'node.pair.list': {
    scope: PAIRING,
    params: object({}),
    run: ({ host }) => ({ pending: host.nodes.requests, paired: [...host.nodes.registered.keys()] }),
  },
  'node.pair.approve': {
    scope: PAIRING,
    params: object({ requestId: name }, 'requestId'),
    run: ({ host }, params) => {
      const requestId = stringAt(params, 'requestId') ?? '';
      if (!approveNode(host, requestId)) throw new RpcError(invalid('unknown requestId'));
      return { ok: true, requestId };
    },
  },
  'device.pair.list': {
    scope: PAIRING,
    params: object({}),
    run: ({ host }) => ({ pending: host.devices.requests, paired: [] }),
  },
  'device.pair.approve': {
    scope: PAIRING,
    params: object({ requestId: name }, 'requestId'),
    run: ({ host }, params) => {
      const request = host.devices.approve(stringAt(params, 'requestId') ?? '');
      if (request === undefined) throw new RpcError(invalid('unknown requestId'));
      return { ok: true, requestId: request.requestId, deviceId: request.deviceId };
    },
  },
};

/** Approves a node's commands and tells everybody, the node included. */
export function approveNode(host: Host, requestId: string): boolean {
  const request = host.nodes.approve(requestId);
  if (request === undefined) return false;
  const payload = { requestId, nodeId: request.deviceId, decision: 'approved', ts: Date.now() };
  host.broadcast('node.pair.resolved', payload);
  return true;
}

function describe(host: Host, nodeId: string, connection: Connection): Record<string, unknown> {
  const request = host.nodes.pendingRequest(nodeId);
  return {
    nodeId,
    displayName: connection.identity?.displayName ?? nodeId.slice(0, 12),
    platform: connection.identity?.platform,
    caps: connection.identity?.caps ?? [],
    commands: request === undefined ? host.nodes.commandsOf(nodeId) : [],
    connected: true,
    paired: true,
    ...(request === undefined
      ? { approvalState: 'approved' }
      : { approvalState: 'pending-approval', pendingRequestId: request.requestId }),
  };
}

/** What `node.invoke` asks for. */
export interface NodeRequest {
  readonly nodeId: string;
  readonly command: string;
  readonly params: unknown;
  readonly timeoutMs: number;
  readonly idempotencyKey: string;
  readonly sessionKey?: string;
}

function invoke({ host }: Call, params: Record<string, unknown>): Promise<unknown> {
  const sessionKey = stringAt(params, 'sessionKey');
  return invokeNode(host, {
    nodeId: stringAt(params, 'nodeId') ?? '',
    command: stringAt(params, 'command') ?? '',
    params: params['params'],
    timeoutMs: numberAt(params, 'timeoutMs') ?? 30_000,
    idempotencyKey: stringAt(params, 'idempotencyKey') ?? '',
    ...(sessionKey === undefined ? {} : { sessionKey }),
  });
}

/** Sends the command to the node and waits; throws the error that the operator is answered. */
export async function invokeNode(host: Host, request: NodeRequest): Promise<unknown> {
  const { nodeId, command } = request;
  const connection = host.nodes.registered.get(nodeId);
  const dispatched = (was: boolean): Record<string, unknown> =>
    host.profile.verbose ? { nodeCommandDispatched: was } : {};
  if (connection === undefined) {
    throw new RpcError(unavailable('node not connected', undefined, { code: 'NOT_CONNECTED', ...dispatched(false) }));
  }
  const refused = commandObjection(host, nodeId, command);
  if (refused !== undefined) throw new RpcError(refused);
  const outcome = await dispatchTo(host, connection, request);
  return answer(outcome, nodeId, command, dispatched(true));
}

function dispatchTo(host: Host, connection: Connection, request: NodeRequest): Promise<InvokeOutcome> {
  const { params, nodeId, command, timeoutMs, idempotencyKey, sessionKey } = request;
  return new Promise((resolve) => {
    const invocation = host.nodes.invoke(nodeId, connection, (settled) => {
      // 4.26 does not notice that the node has gone: the call runs into its timeout.
      if (settled.kind !== 'disconnected' || host.profile.verbose) resolve(settled);
    });
    connection.boot.timers.after(timeoutMs, () => {
      if (host.nodes.find(invocation.id, connection) !== undefined && host.profile.verbose) {
        connection.targeted('node.invoke.cancel', { invokeId: invocation.id, nodeId });
      }
      invocation.settle({ kind: 'timeout' });
      resolve({ kind: 'timeout' });
    });
    const paramsJSON = params === undefined ? null : JSON.stringify(params);
    const asked = { id: invocation.id, nodeId, command, paramsJSON, timeoutMs, idempotencyKey };
    connection.targeted('node.invoke.request', sessionKey === undefined ? asked : { ...asked, sessionKey });
  });
}

/** What the operator hears. A failed command has reached the node, so it counts as executed. */
function answer(outcome: InvokeOutcome, nodeId: string, command: string, dispatched: Record<string, unknown>): unknown {
  if (outcome.kind === 'result' && outcome.ok) return { ok: true, nodeId, command, payload: outcome.payload };
  const failure = describeFailure(outcome, command);
  const details = { nodeError: failure, ...dispatched };
  throw new RpcError(unavailable(`${failure.code}: ${failure.message}`, undefined, details), true);
}

function describeFailure(outcome: InvokeOutcome, command: string): { code: string; message: string } {
  if (outcome.kind === 'timeout') return { code: 'TIMEOUT', message: 'node invoke timed out' };
  if (outcome.kind === 'disconnected') return { code: 'DISCONNECTED', message: `node disconnected (${command})` };
  return {
    code: stringAt(outcome.error, 'code') ?? 'UNAVAILABLE',
    message: stringAt(outcome.error, 'message') ?? 'node invoke failed',
  };
}

function commandObjection(host: Host, nodeId: string, command: string): ErrorShape | undefined {
  if (!host.profile.gatesNodeCommands) return undefined;
  if (host.nodes.pendingRequest(nodeId) !== undefined) {
    const message = 'node pairing changed while invocation was active';
    return { ...unavailable(message, undefined, { code: 'PAIRING_CHANGED' }), retryable: true };
  }
  if (host.nodes.commandsOf(nodeId).includes(command)) return undefined;
  return invalid(`node command not allowed: "${command}" is not in the allowlist`);
}

function result({ host, connection }: Call, params: Record<string, unknown>): unknown {
  const invocation = host.nodes.find(stringAt(params, 'id') ?? '', connection);
  if (invocation === undefined) return { ok: true, ignored: true };
  const json = stringAt(params, 'payloadJSON');
  const payload: unknown = json === undefined ? params['payload'] : JSON.parse(json);
  invocation.settle({ kind: 'result', ok: params['ok'] === true, payload, error: params['error'] });
  return { ok: true };
}
