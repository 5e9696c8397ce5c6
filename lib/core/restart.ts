/**
 * A restart of the gateway, as a value: it has an id, it begins on evidence, and it ends with the next hello or becomes
 * an outage after its window.
 *
 * The evidence, strongest first (source: frames recorded from 2026.4.26 and 2026.9.6):
 * `shutdown` with a number · 1012 "service restart" without that event · the gateway was draining when the link broke ·
 * it says that it starts although we had a link before · after the fact, a hello with another boot id.
 */
export type RestartEvidence = 'shutdown' | 'close-1012' | 'draining' | 'starting' | 'boot-id' | 'version';

export interface Restart {
  readonly id: string;
  readonly evidence: RestartEvidence;
  /** Monotonic ms. */
  readonly since: number;
  /** The gateway's own estimate, in ms: a hint, never a deadline (it is the constant 1500 in every version). */
  readonly expectedMs?: number;
}

/** What a caller, a log line and the health snapshot say of a restart. `since` is wall-clock ms. */
export interface RestartInfo {
  readonly id: string;
  readonly since: number;
  readonly expectedMs?: number;
}

/** Hints beyond this are cut, in ms: a restart that is announced to last longer is still asked after. */
export const MAX_RESTART_HINT_MS = 60_000;

/** Who the gateway said it was, in its last hello. */
export interface GatewayIdentity {
  readonly version?: string;
  readonly bootId?: string;
  readonly connId?: string;
  readonly protocol?: number;
}

/**
 * Did the gateway restart between two hellos? `connId` always changes and says nothing; `snapshot.uptimeMs` is the age
 * of the process and survives an in-process restart, so it is not used.
 */
export function restartedBetween(
  before: GatewayIdentity | undefined,
  after: GatewayIdentity,
): RestartEvidence | undefined {
  if (before === undefined) return undefined;
  if (before.bootId !== undefined && after.bootId !== undefined) {
    return before.bootId === after.bootId ? undefined : 'boot-id';
  }
  return before.version !== undefined && before.version !== after.version ? 'version' : undefined;
}
