import type { Connection } from './connection.js';
import { callError, type ErrorShape, gateError, invalid, override, RpcError, unavailable } from './errors.js';
import { hitsMethod } from './fault-set.js';
import type { Host } from './host.js';
import type { Entry } from './ledger.js';
import { type Call, METHODS, type Method } from './methods.js';
import { complaint, isRecord } from './validate.js';

const UNAUTHORIZED_LIMIT = 10;

/** One request after hello: gates, checks, the method, the answer. */
export async function dispatch(host: Host, connection: Connection, entry: Entry): Promise<void> {
  const { boot } = connection;
  const { faults, profile } = host;
  const isNode = connection.identity?.role === 'node';
  if (boot.fenced && profile.dropsAfterShutdown) {
    // Operators hear nothing; nodes are told, but not that they may retry.
    if (isNode) {
      connection.respond(entry, { error: unavailable(`${entry.method} unavailable during gateway shutdown`) });
    }
    return;
  }
  const unheard = boot.fenced || boot.reloading;
  const mute = faults.take('no-responses', (fault) => hitsMethod(fault, entry.method));
  if (mute !== undefined && mute.execute !== true) return;
  const rejected = faults.take('reject-call', (fault) => hitsMethod(fault, entry.method));
  const cut = faults.take('cut-call', (fault) => hitsMethod(fault, entry.method));
  const runs = rejected?.execute ?? cut?.execute ?? cut !== undefined;
  const after: (() => void)[] = [];
  const result =
    rejected === undefined && cut === undefined ? await perform(host, connection, entry, after) : undefined;
  if (result === undefined && runs) await perform(host, connection, entry, after);
  if (cut !== undefined) connection.cut(cut.cut ?? 'reset');
  else if (mute === undefined && !unheard) {
    await late(host, connection, entry);
    const error = rejected && override(callError(rejected.preset ?? 'busy', entry.method), rejected);
    connection.respond(entry, error === undefined ? (result ?? { payload: null }) : { error });
  }
  for (const action of after) action();
}

/** The delay of the fault `slow-responses`. */
async function late(host: Host, connection: Connection, entry: Entry): Promise<void> {
  const slow = host.faults.take('slow-responses', (fault) => hitsMethod(fault, entry.method));
  if (slow !== undefined) await connection.boot.timers.sleep(slow.ms ?? 5000);
}

async function perform(
  host: Host,
  connection: Connection,
  entry: Entry,
  after: (() => void)[],
): Promise<{ payload: unknown } | { error: ErrorShape }> {
  const method = METHODS.get(entry.method);
  const error = objection(host, connection, entry, method);
  if (error !== undefined || method === undefined) return { error: error ?? unknownMethod(entry.method) };
  const call: Call = {
    host,
    connection,
    boot: connection.boot,
    entry,
    afterAnswer: (action) => after.push(action),
  };
  entry.executed = true;
  host.changed();
  try {
    const payload = await method.run(call, isRecord(entry.params) ? entry.params : {});
    return { payload };
  } catch (thrown) {
    if (thrown instanceof RpcError) {
      entry.executed = thrown.executed;
      return { error: thrown.shape };
    }
    return { error: unavailable(String(thrown)) };
  }
}

/** Why the call is refused before its method runs. */
function objection(
  host: Host,
  connection: Connection,
  entry: Entry,
  method: Method | undefined,
): ErrorShape | undefined {
  if (entry.method === 'connect') return invalid('connect is only valid as the first request');
  if (host.gate !== 'open' && method?.whileDraining !== true) return gateError(entry.method, host.gate);
  if (method === undefined || host.profile.unknownMethods.includes(entry.method)) return unknownMethod(entry.method);
  const refused = roleObjection(connection, method) ?? scopeObjection(host, connection, method);
  if (refused !== undefined) return refused;
  const params = entry.params ?? {};
  const wrong = method.params && complaint(method.params, params, host.profile.unknownKeys);
  if (wrong !== undefined) return invalid(`invalid ${entry.method} params: ${wrong}`);
  return nodeObjection(host, connection, method) ?? limitObjection(host, connection, entry.method, method);
}

function unknownMethod(method: string): ErrorShape {
  return invalid(`unknown method: ${method}`);
}

function roleObjection(connection: Connection, method: Method): ErrorShape | undefined {
  const role = connection.identity?.role ?? 'operator';
  if (method.role === 'any' || (method.role ?? 'operator') === role) {
    connection.unauthorized = 0;
    return undefined;
  }
  connection.unauthorized += 1;
  if (connection.unauthorized > UNAUTHORIZED_LIMIT) connection.close(1008, 'repeated unauthorized calls');
  return invalid(`unauthorized role: ${role}`);
}

function scopeObjection(host: Host, connection: Connection, method: Method): ErrorShape | undefined {
  if (method.scope === undefined) return undefined;
  const scopes = connection.identity?.scopes ?? [];
  const wide = method.scope === 'operator.read' ? ['operator.write', 'operator.admin'] : ['operator.admin'];
  if ([method.scope, ...wide].some((scope) => scopes.includes(scope))) return undefined;
  const message = `missing scope: ${method.scope}`;
  if (!host.profile.scopeDetails) return invalid(message);
  const details = { code: 'MISSING_SCOPE', missingScope: method.scope, requiredScopes: [method.scope] };
  return { code: 'FORBIDDEN', message, details };
}

/** A node that was replaced, or whose commands await approval, is refused on versions that look. */
function nodeObjection(host: Host, connection: Connection, method: Method): ErrorShape | undefined {
  if (method.role !== 'node') return undefined;
  const details = { code: 'PAIRING_CHANGED' };
  if (host.profile.refusesReplacedNode && !host.nodes.isRegistered(connection)) {
    return { ...unavailable('node pairing changed before request dispatch', undefined, details), retryable: true };
  }
  const nodeId = connection.identity?.deviceId ?? '';
  if (host.profile.gatesNodeCommands && host.nodes.pendingRequest(nodeId) !== undefined) {
    return { ...unavailable('node pairing changed while invocation was active', undefined, details), retryable: true };
  }
  return undefined;
}

function limitObjection(host: Host, connection: Connection, name: string, method: Method): ErrorShape | undefined {
  if (method.limited !== true) return undefined;
  const { controlPlane, controlPlaneWindowMs: window } = host.limits;
  const who = connection.identity?.deviceId ?? `conn-${connection.record.conn}`;
  const key = host.profile.limitPerMethod
    ? `${name} ${who} ${connection.wire.remoteAddress}`
    : `${who} ${connection.wire.remoteAddress}`;
  const now = Date.now();
  const recent = (connection.boot.writes.get(key) ?? []).filter((at) => now - at < window);
  if (recent.length < controlPlane) {
    connection.boot.writes.set(key, [...recent, now]);
    return undefined;
  }
  const retryAfterMs = Math.max(1, window - (now - (recent[0] ?? now)));
  const seconds = Math.ceil(retryAfterMs / 1000);
  const limit = `${controlPlane} per ${Math.round(window / 1000)}s`;
  return unavailable(`rate limit exceeded for ${name}; retry after ${seconds}s`, retryAfterMs, { method: name, limit });
}
