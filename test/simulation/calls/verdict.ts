/** The reckoning when a schedule is over: what callers were told, against what the gateway did. */
import assert from 'node:assert/strict';
import type { GatewayError } from '../../../lib/core/errors.js';
import { isRecord } from '../../../lib/core/failure.js';
import { RIDDEN_OUT } from '../../../lib/core/options.js';
import type { Tracked } from './tracked.js';
import { SLACK_MS } from './watch.js';
import type { CallWorld } from './world.js';

/** Longest pause between attempts when the gateway names none. */
const LONGEST_PACE_MS = 3000;

export function judge(world: CallWorld): void {
  for (const call of world.tracked) {
    try {
      judgeCall(world, call);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n  ${call.story()}`);
    }
  }
  const { inFlight, waiting, retried, unknown } = world.calls.counts;
  assert.deepEqual([inFlight, waiting], [0, 0], 'left in the engine');
  assert.equal(world.timers, 0, 'timers left behind');
  assert.equal(retried, world.retries, 'retries counted, and told');
  const ended = world.tracked.filter(({ outcome }) => outcome === 'unknown').length;
  assert.equal(unknown, ended + world.unknownLooks, 'calls counted as unknown');
}

function judgeCall(world: CallWorld, call: Tracked): void {
  const { spec, error, details, handed, attempts, request } = call;
  const { marker, method } = spec;
  assert.equal(call.settlements, 1, `${marker} settled ${call.settlements} times`);
  assert.equal(call.foreign, null, `${marker} rejected with what is no GatewayError: ${String(call.foreign)}`);
  const late = (call.settledAt ?? Number.POSITIVE_INFINITY) - Math.max(call.deadlineAt, world.watch.wokeAt);
  assert.ok(late <= SLACK_MS, `${marker} settled ${late} ms after its deadline`);

  const { executed, frames } = world.gateway.entry(marker);
  const effective = request.safety !== 'read';
  if (request.safety === 'once' || request.safety === 'keyed')
    assert.ok(executed.length <= 1, `${marker} (${request.safety}) was executed by ${executed.join(' and ')}`);
  if (details !== null) {
    if (effective) assert.notEqual(executed.length, 0, `${marker} resolved, and was never executed`);
    assert.ok(isOwn(details.result, marker), `${marker} got what is not its own: ${JSON.stringify(details.result)}`);
    assert.ok(
      details.waited >= 0 && details.waited <= (call.settledAt ?? 0) - call.madeAt + 1,
      `${marker} waited ${details.waited} ms`,
    );
  }
  if (error?.outcome === 'not-sent')
    assert.deepEqual(
      [handed.length, frames],
      [0, 0],
      `${marker}: "not-sent", but handed over, and seen by the gateway`,
    );
  if (error?.outcome === 'not-executed') assert.deepEqual(executed, [], `${marker}: "not-executed", but it was`);
  assert.notEqual(error?.outcome, 'executed', `${marker} failed, and says executed`);

  const told = error?.attempts ?? details?.attempts ?? [];
  assert.deepEqual(
    told.map(({ number }) => number),
    attempts.map((_, index) => index + 1),
    `${marker}: numbers of its attempts`,
  );
  const cutShort = error?.code === 'HOLDFAST_ABORTED' && call.request.options.signal?.aborted === true ? 1 : 0;
  const sent = attempts.filter(({ outcome }) => outcome !== 'not-sent').length;
  assert.ok(
    sent === handed.length || sent + cutShort === handed.length,
    `${marker} tells of ${sent} attempts, ${handed.length} frames were handed over`,
  );
  assert.ok(frames <= handed.length, `${marker}: the gateway saw ${frames} frames, ${handed.length} were handed over`);
  if (error !== null && !isCalledOff(world, call)) judgePatience(error, call);
  for (const signal of call.signals) assert.ok(signal.aborted, `${marker} is over, and its look goes on (${method})`);
}

/** The client was closed under it, or there was no time for another attempt. */
function isCalledOff({ closing }: CallWorld, { settledAt, deadlineAt }: Tracked): boolean {
  const at = settledAt ?? 0;
  return (closing !== null && at >= closing.at) || deadlineAt - at < LONGEST_PACE_MS;
}

/** What its caller rides out does not end a call that may be sent again: only its deadline, its attempts or its owner do. */
function judgePatience({ reason, outcome, code, retryAfter }: GatewayError, { request, spec }: Tracked): void {
  const { retry, maxAttempts } = request.options;
  const harmless = outcome !== 'unknown' || request.safety === 'read' || request.safety === 'repeatable';
  // 1009: a frame was too big. Which one is not said, so none is sent again.
  if (
    code === 'CLOSE_1009' ||
    retry === 'never' ||
    maxAttempts !== undefined ||
    retryAfter !== undefined ||
    code.startsWith('HOLDFAST_')
  )
    return;
  assert.ok(
    !(harmless && RIDDEN_OUT.has(reason)),
    `${spec.marker} did not ride out what it could: ${reason}, ${outcome}`,
  );
}

function isOwn(result: unknown, marker: string): boolean {
  return isRecord(result) && (result['marker'] === marker || result['workspace'] === marker);
}
