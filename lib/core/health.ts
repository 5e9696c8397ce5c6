/** Health: what the machine knows, in words and wall-clock times. Pure. */
import { failureOf, giveUpAt } from './connection.js';
import type { State } from './machine.js';
import type { Policy } from './policy.js';
import type { GatewayIdentity, Restart, RestartInfo } from './restart.js';
import type { Reason, Status } from './vocabulary.js';

/** The last failure, as the health snapshot tells it. */
export interface HealthError {
  readonly code: string;
  readonly reason: Reason;
  readonly phase: string;
  readonly message: string;
  readonly remedy: string;
}

/** A snapshot. All times are wall-clock ms since 1970. */
export interface Health {
  /** A link is up, and the gateway neither drains nor ends. */
  readonly ok: boolean;
  readonly state: Status;
  readonly since: number;
  /** Why it is not ok. */
  readonly reason?: Reason;
  /** Dials since the last serving link. */
  readonly attempt: number;
  readonly nextAttemptAt?: number;
  readonly giveUpAt?: number;
  /** End of the last serving link; absent while one is up. */
  readonly disconnectedSince?: number;
  readonly lastConnectedAt?: number;
  readonly lastFrameAt?: number;
  readonly lastError?: HealthError;
  /** While a human is needed: who or what is waited for, with the command that helps. */
  readonly awaiting?: string;
  /** The restart in progress. */
  readonly restart?: RestartInfo;
  readonly restartsSeen: number;
  readonly gateway?: GatewayIdentity;
  readonly calls: {
    readonly inFlight: number;
    readonly waiting: number;
    readonly retried: number;
    readonly unknown: number;
  };
  readonly loop: { readonly lagMaxMs: number };
  readonly liveness: {
    readonly file?: string;
    readonly lastWriteAt?: number;
    readonly mode?: string;
    readonly error?: { readonly code: string; readonly message: string };
  };
  readonly log: { readonly dropped: number };
  readonly instanceId: string;
  /** Of a node. */
  readonly node?: NodeHealth;
}

/** What the health snapshot of a node host has in addition. */
export interface NodeHealth {
  readonly deviceId?: string;
  /**
   * Whether the gateway sends this link its invocations: `proven` by an answer that only the registered link gets,
   * `pending-approval` while its commands await approval, `unproven` where the gateway's version cannot tell.
   */
  readonly registration: 'proven' | 'pending-approval' | 'unproven';
  readonly invocations: {
    readonly running: number;
    readonly served: number;
    readonly failed: number;
    readonly aborted: number;
  };
}

/** Facts that the machine does not hold. */
export interface HealthInput {
  /** Monotonic to wall-clock: add it. */
  readonly wallOffset: number;
  readonly heardAt: number;
  readonly calls: Health['calls'];
  readonly lagMaxMs: number;
  readonly liveness: Health['liveness'];
  readonly logDropped: number;
  readonly instanceId: string;
  readonly node: NodeHealth | undefined;
}

/** Whom a node waits for whose commands nobody has approved; it never learns the id of the request. */
export const COMMAND_APPROVAL: string =
  'approval of the commands of this node on the gateway host: openclaw nodes pending, then openclaw nodes approve <requestId>';

export function healthOf(policy: Policy, state: State, input: HealthInput): Health {
  const { journey } = state;
  const wall = (at: number): number => Math.round(at + input.wallOffset);
  const reason = reasonOf(state);
  const failure = state.status === 'online' ? journey.lastFailure : (failureOf(state) ?? journey.lastFailure);
  const deadline = giveUpAt(policy, state);
  const waits = state.status === 'waiting' || state.status === 'blocked';
  return {
    ok: state.status === 'online' && reason === null,
    state: state.status,
    since: wall(state.since),
    ...(reason !== null && { reason }),
    attempt: journey.attempt,
    ...(waits && { nextAttemptAt: wall(state.until) }),
    ...(deadline !== null && { giveUpAt: wall(deadline) }),
    ...(journey.budgetSince !== null && state.status !== 'online' && { disconnectedSince: wall(journey.budgetSince) }),
    ...(journey.lastConnectedAt !== null && { lastConnectedAt: wall(journey.lastConnectedAt) }),
    ...(input.heardAt > 0 && { lastFrameAt: wall(input.heardAt) }),
    ...(failure !== null && {
      lastError: {
        code: failure.code,
        reason: failure.reason,
        phase: failure.phase,
        message: failure.message,
        remedy: failure.remedy,
      },
    }),
    // Also while it dials once more: who is waited for does not change by asking.
    ...(journey.verdict !== null &&
      state.status !== 'stopped' && { awaiting: failure?.awaiting ?? failure?.remedy ?? 'an operator' }),
    // The link is up, and yet nothing is served: the commands of a node are approved apart from its device.
    ...(state.status === 'online' && input.node?.registration === 'pending-approval' && { awaiting: COMMAND_APPROVAL }),
    ...(journey.restart !== null && { restart: restartInfo(journey.restart, wall) }),
    restartsSeen: journey.restarts,
    ...(journey.gateway !== undefined && { gateway: journey.gateway }),
    calls: input.calls,
    loop: { lagMaxMs: Math.round(input.lagMaxMs) },
    liveness: input.liveness,
    log: { dropped: input.logDropped },
    instanceId: input.instanceId,
    ...(input.node !== undefined && { node: input.node }),
  };
}

/** Why a state is not what its owner wants; null when all is well. */
export function reasonOf(state: State): Reason | null {
  const { journey } = state;
  if (state.status === 'online') {
    if (state.shutdown) return journey.gatewayStopped ? 'gateway-stopped' : 'gateway-restart';
    return journey.drainingSince === null ? null : 'gateway-draining';
  }
  return failureOf(state)?.reason ?? null;
}

/** A restart as callers see it. */
export function restartInfo(restart: Restart, wall: (at: number) => number): RestartInfo {
  const { id, since, expectedMs } = restart;
  return { id, since: wall(since), ...(expectedMs !== undefined && { expectedMs }) };
}
