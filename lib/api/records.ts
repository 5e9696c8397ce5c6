/** What the machine tells, as log records, as events for listeners, and as facts for the liveness file. */
import { errorOf } from '../core/errors.js';
import type { Failure } from '../core/failure.js';
import type { Health } from '../core/health.js';
import type { LivenessExit, LivenessFacts } from '../core/liveness.js';
import type { Notice } from '../core/machine.js';
import type { Level, LogRecord } from '../io/log.js';
import type { AttemptEvent, GiveUpEvent, RestartEvent, StateEvent } from './events.js';

type Of<T extends Notice['type']> = Extract<Notice, { type: T }>;

export interface Line {
  readonly level: Level;
  readonly record: LogRecord;
  readonly message: string;
}

/** Facts of the moment that every line about the connection carries. */
export interface LineContext {
  readonly wall: number;
  readonly giveUpAt: number | undefined;
  readonly disconnectedSince: number | undefined;
  readonly connId: string | undefined;
  readonly bootId: string | undefined;
  readonly gatewayVersion: string | undefined;
}

export function lineOf(notice: Notice, context: LineContext): Line {
  switch (notice.type) {
    case 'attempt':
      return attemptLine(notice, context);
    case 'state':
      return stateLine(notice, context);
    case 'restart':
      return restartLine(notice, context);
    case 'giveup':
      return {
        level: 'error',
        record: {
          event: 'giveup',
          reason: notice.failure.reason,
          code: notice.failure.code,
          attempts: notice.attempts,
          elapsedMs: round(notice.elapsed),
          remedy: notice.failure.remedy,
        },
        message: `gave up after ${notice.attempts} attempts and ${seconds(notice.elapsed)}: ${notice.failure.reason}, ${notice.failure.message}`,
      };
  }
}

function attemptLine(notice: Of<'attempt'>, context: LineContext): Line {
  const { failure, retryIn } = notice;
  const common = {
    event: 'attempt',
    attempt: notice.number,
    phase: notice.phase,
    elapsedMs: round(notice.elapsed),
    ...(notice.restartId !== null && { restartId: notice.restartId }),
    ...outage(context),
  };
  if (failure === null) {
    const record = {
      ...common,
      connId: context.connId,
      bootId: context.bootId,
      gatewayVersion: context.gatewayVersion,
    };
    return { level: 'info', record, message: `attempt ${notice.number} connected in ${round(notice.elapsed)} ms` };
  }
  return {
    level: 'warn',
    record: { ...common, ...failureFields(failure), ...planFields(retryIn, context) },
    message: `attempt ${notice.number} failed in phase ${notice.phase}: ${failure.reason}, ${failure.code}; ${planText(retryIn)}`,
  };
}

function stateLine(notice: Of<'state'>, context: LineContext): Line {
  const { failure, from, to, retryIn } = notice;
  const record = {
    event: 'state',
    prevState: from,
    state: to,
    attempt: notice.attempt,
    ...(failure !== null && failureFields(failure)),
    ...(notice.restartId !== null && { restartId: notice.restartId }),
    ...(notice.downMs !== null && { downMs: round(notice.downMs) }),
    ...(retryIn !== null && planFields(retryIn, context)),
    ...(to === 'online' && { connId: context.connId, bootId: context.bootId, gatewayVersion: context.gatewayVersion }),
  };
  const why = failure === null ? '' : `: ${failure.reason}, ${failure.message}`;
  const plan = retryIn === null ? '' : `; ${planText(retryIn)}`;
  const back = notice.downMs === null ? '' : `, after ${seconds(notice.downMs)} without a link`;
  return { level: stateLevel(notice), record, message: `${from} → ${to}${why}${plan}${back}` };
}

/** The steps of a dial are told by its attempt line; the rest is what an operator reads. */
function stateLevel(notice: Of<'state'>): Level {
  const { from, to } = notice;
  if (to === 'connecting' || to === 'handshaking') return 'debug';
  if (to === 'waiting') return from === 'online' ? 'warn' : 'debug';
  if (to === 'blocked') return 'error';
  return 'info';
}

function restartLine(notice: Of<'restart'>, context: LineContext): Line {
  const { id, phase, evidence, expectedMs, downMs } = notice;
  const record = {
    event: 'restart',
    restartId: id,
    phase,
    evidence,
    ...(expectedMs !== null && { expectedMs }),
    ...(downMs !== null && { downMs: round(downMs) }),
    ...(notice.cancelled && { cancelled: true }),
    ...(phase === 'ended' && { bootId: context.bootId }),
  };
  const text = {
    began: `the gateway restarts itself (${evidence}${expectedMs === null ? '' : `, it expects ${expectedMs} ms`})`,
    ended: notice.cancelled
      ? 'the gateway did not restart after all'
      : `the restart of the gateway ended${downMs === null ? '' : ` after ${seconds(downMs)}`}`,
    'became-outage': 'the restart of the gateway outlived its window: it is an outage from here on',
  }[phase];
  return { level: phase === 'became-outage' ? 'warn' : 'info', record, message: `${id}: ${text}` };
}

function failureFields(failure: Failure): Record<string, unknown> {
  return {
    reason: failure.reason,
    code: failure.code,
    error: failure.message,
    ...(failure.httpStatus !== undefined && { httpStatus: failure.httpStatus }),
    ...(failure.closeCode !== undefined && { closeCode: failure.closeCode, closeReason: failure.closeReason }),
    ...(failure.retryAfter !== undefined && { retryAfterMs: failure.retryAfter }),
    ...(failure.awaiting !== undefined && { awaiting: failure.awaiting }),
    remedy: failure.remedy,
  };
}

function planFields(retryIn: number | null, context: LineContext): Record<string, unknown> {
  return {
    ...(retryIn !== null && { delayMs: round(retryIn), nextAttemptAt: iso(context.wall + retryIn) }),
    ...(context.giveUpAt !== undefined && { giveUpAt: iso(context.giveUpAt) }),
  };
}

function outage(context: LineContext): Record<string, unknown> {
  return context.disconnectedSince === undefined ? {} : { outageMs: round(context.wall - context.disconnectedSince) };
}

function planText(retryIn: number | null): string {
  return retryIn === null ? 'no further attempt' : `next attempt in ${seconds(retryIn)}`;
}

export function stateEvent(notice: Of<'state'>): StateEvent {
  const { from, to, attempt, failure, retryIn } = notice;
  return {
    from,
    to,
    attempt,
    ...(failure !== null && { reason: failure.reason, error: errorOf(failure, 'not-sent') }),
    ...(retryIn !== null && { retryIn }),
  };
}

export function attemptEvent(notice: Of<'attempt'>): AttemptEvent {
  const { number, phase, elapsed, failure, retryIn } = notice;
  return {
    number,
    phase,
    elapsed,
    ...(failure !== null && { reason: failure.reason, code: failure.code }),
    ...(retryIn !== null && { retryIn }),
  };
}

export function restartEvent(notice: Of<'restart'>): RestartEvent {
  const { id, phase, evidence, expectedMs, downMs, cancelled } = notice;
  return {
    id,
    phase,
    evidence,
    ...(expectedMs !== null && { expectedMs }),
    ...(downMs !== null && { downMs }),
    ...(cancelled && { cancelled }),
  };
}

export function giveUpEvent(notice: Of<'giveup'>): GiveUpEvent {
  return { reason: notice.failure.reason, attempts: notice.attempts, elapsed: notice.elapsed };
}

/** The health snapshot as the liveness file carries it. */
export function factsOf(health: Health, exit?: LivenessExit): LivenessFacts {
  const { lastError, restart, gateway } = health;
  return {
    state: health.state,
    stateSinceMs: health.since,
    attempt: health.attempt,
    restartsSeen: health.restartsSeen,
    calls: health.calls,
    loopLagMaxMs: health.loop.lagMaxMs,
    ...(health.reason !== undefined && { reason: health.reason }),
    ...(health.nextAttemptAt !== undefined && { nextAttemptAtMs: health.nextAttemptAt }),
    ...(health.giveUpAt !== undefined && { giveUpAtMs: health.giveUpAt }),
    ...(health.disconnectedSince !== undefined && { disconnectedSinceMs: health.disconnectedSince }),
    ...(health.lastConnectedAt !== undefined && { lastConnectedAtMs: health.lastConnectedAt }),
    ...(health.lastFrameAt !== undefined && { lastFrameAtMs: health.lastFrameAt }),
    ...(lastError !== undefined && {
      lastError: { code: lastError.code, reason: lastError.reason, phase: lastError.phase, message: lastError.message },
    }),
    ...(health.awaiting !== undefined && { awaiting: health.awaiting }),
    ...(restart !== undefined && {
      restart: {
        id: restart.id,
        sinceMs: restart.since,
        ...(restart.expectedMs !== undefined && { expectedMs: restart.expectedMs }),
      },
    }),
    ...(gateway !== undefined && { gateway }),
    ...(exit !== undefined && { exit }),
  };
}

function round(ms: number): number {
  return Math.round(ms);
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : `${Math.round(ms / 1000)} s`;
}

function iso(wall: number): string {
  return new Date(wall).toISOString();
}
