import { randomBytes } from 'node:crypto';
import type { FaultOf, HelloVariant } from './faults.js';
import type { Host } from './host.js';
import { isRecord } from './validate.js';

/** Who a connection is, once its handshake was accepted. */
export interface Identity {
  readonly role: 'operator' | 'node';
  readonly scopes: readonly string[];
  readonly clientId: string;
  readonly method: string;
  readonly deviceId?: string;
  readonly deviceToken?: string;
  readonly issuedAt?: number;
  readonly displayName?: string;
  readonly platform: string;
  readonly caps: readonly string[];
  readonly commands: readonly string[];
}

const OWN_METHODS: readonly string[] = [
  'agent',
  'agent.wait',
  'cron.add',
  'cron.list',
  'cron.remove',
  'models.list',
  'send',
  'test.count',
  'test.echo',
  'test.fail',
  'test.sleep',
];

/** hello-ok as the recordings show it. */
export function helloOk(host: Host, identity: Identity, connId: string): Record<string, unknown> {
  const { profile } = host;
  return {
    type: 'hello-ok',
    protocol: profile.protocol,
    server: {
      version: profile.version,
      ...(profile.tellsBootId
        ? { buildId: profile.buildId, bootId: host.helloBootId(), controlUiBuildSource: 'bundled' }
        : {}),
      connId,
    },
    features: {
      methods: [...profile.methods, ...OWN_METHODS],
      events: profile.events,
      ...(profile.capabilities === undefined ? {} : { capabilities: profile.capabilities }),
    },
    snapshot: snapshot(host),
    ...(profile.verbose
      ? {}
      : { canvasHostUrl: `${host.httpUrl}/__openclaw__/cap/${randomBytes(16).toString('hex')}` }),
    auth: authOf(host, identity),
    policy: {
      maxPayload: host.limits.maxPayload,
      maxBufferedBytes: 52_428_800,
      tickIntervalMs: host.timings.tickIntervalMs,
      ...(profile.verbose
        ? {
            attachments: { maxBytes: 19_464_192, maxImageBytes: 6_291_456 },
            allowedSessionVisibilities: ['shared', 'read-only', 'suggest', 'draft'],
            hasMultipleSessionSharingIdentities: false,
          }
        : {}),
    },
  };
}

function snapshot(host: Host): Record<string, unknown> {
  const phase = host.gate === 'gateway-suspending' ? 'prepared' : 'accepting';
  return {
    presence: [],
    health: { ok: true, ts: Date.now(), durationMs: 1 },
    stateVersion: { presence: 1, health: host.boot.health },
    // The age of the process, which an in-process restart does not set back.
    uptimeMs: Date.now() - host.processStartedAt,
    authMode: host.auth.token === null ? 'none' : 'token',
    ...(host.profile.verbose ? { suspension: { phase } } : {}),
  };
}

function authOf(host: Host, identity: Identity): Record<string, unknown> {
  return {
    ...(host.profile.verbose ? { method: identity.method } : {}),
    role: identity.role,
    scopes: identity.scopes,
    ...(identity.deviceToken === undefined
      ? {}
      : { deviceToken: identity.deviceToken, issuedAtMs: identity.issuedAt ?? Date.now() }),
  };
}

const PATCHES: Readonly<Record<HelloVariant, Readonly<Record<string, unknown>>>> = {
  'no-policy': { policy: undefined },
  'no-auth': { auth: undefined },
  'no-server': { server: undefined },
  'no-scopes': { auth: { scopes: [] } },
  'not-hello': { type: 'welcome' },
  'tick-zero': { policy: { tickIntervalMs: 0 } },
  'tick-negative': { policy: { tickIntervalMs: -1 } },
  'tick-text': { policy: { tickIntervalMs: '30000' } },
  'tick-huge': { policy: { tickIntervalMs: 1e12 } },
  'tick-null': { policy: { tickIntervalMs: null } },
  'payload-zero': { policy: { maxPayload: 0 } },
  prototype: { policy: { ['__proto__']: { polluted: true }, constructor: { prototype: { polluted: true } } } },
};

/** hello-ok as the fault `bad-hello` spoils it. */
export function spoiled(hello: Record<string, unknown>, fault: FaultOf<'bad-hello'>): Record<string, unknown> {
  return merged(hello, fault.patch ?? PATCHES[fault.variant ?? 'no-policy']);
}

function merged(target: Record<string, unknown>, patch: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...target };
  for (const [key, change] of Object.entries(patch)) {
    const old = Object.hasOwn(result, key) ? result[key] : undefined;
    const value = isRecord(change) && isRecord(old) ? merged(old, change) : change;
    if (change === undefined) delete result[key];
    // Defined, not assigned: a key named `__proto__` must travel as a key.
    else Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return result;
}
