/** Looks on while a schedule runs: what must hold after every event, and at the moment a frame is handed over. */
import assert from 'node:assert/strict';
import type { RetryEvent } from '../../../lib/api/events.js';
import type { ResponseFrame } from '../../../lib/core/frames.js';
import type { Gate } from '../../../lib/core/machine.js';
import { markerOf, type Request } from '../../support/scripted-gateway.js';
import type { Handed, Tracked } from './tracked.js';
import type { CallWorld } from './world.js';

/** How late a call may settle, in ms. */
export const SLACK_MS = 50;
/** A key is forgotten by the gateway after this. */
const KEY_TTL = 300_000;
/** After a hello one more call may be on the wire for each of these, in ms. */
const STEP_MS = 100;
/** A hint is waited out for at most so much longer. */
const DRAIN_SPREAD = 1.25;

export class Watch {
  /** When our own process last came out of a freeze: what was due before is late. */
  wokeAt: number = Number.NEGATIVE_INFINITY;
  readonly #world: CallWorld;
  readonly #byMarker = new Map<string, Tracked>();
  readonly #frames = new Map<string, Tracked | null>();
  #links = 0;
  #shutdown = false;
  #ended: Tracked | null = null;
  #cutting: readonly Tracked[] | null = null;
  /** Calls that waited at the last hello, in their order; and how many answers have come since. */
  #line: Tracked[] = [];
  #answers = 0;
  #openedAt = 0;
  /** The gateway drains: nothing is asked for the time it named. Until somebody asks, or the jitter is over too. */
  #held: { readonly until: number; readonly atMost: number } | null = null;

  constructor(world: CallWorld) {
    this.#world = world;
  }

  made(call: Tracked): void {
    this.#byMarker.set(call.spec.marker, call);
    call.queued = this.#world.gate !== 'open';
  }

  /** An attempt of this call is over; what follows is told next. */
  ended(call: Tracked): void {
    call.delay = null;
    this.#ended = call;
  }

  retried({ delay }: RetryEvent): void {
    if (this.#ended !== null) this.#ended.delay = delay;
    this.#ended = null;
  }

  shutdownRead(): void {
    this.#shutdown = true;
  }

  /** Before the calls hear of it. */
  gate(gate: Gate, cut: boolean): void {
    const { now, tracked } = this.#world;
    this.#held = null;
    if (cut) this.#cutting = tracked.filter((call) => !call.over(now) && isUnderWay(call));
    if (gate !== 'open') return;
    this.#links += 1;
    this.#shutdown = false;
    this.#answers = 0;
    this.#openedAt = now;
    this.#line = tracked.filter((call) => call.queued && !call.over(now));
  }

  /** After it. */
  gateSet(cut: boolean): void {
    if (!cut) return;
    assert.equal(this.#world.calls.counts.inFlight, 0, 'in flight on a link that is gone');
    for (const call of this.#cutting ?? []) {
      const { safety } = call.request;
      call.queued = (safety === 'read' || safety === 'repeatable') && call.delay === 0;
    }
    this.#cutting = null;
  }

  sent(request: Request): void {
    const { now, bootId, calls } = this.#world;
    assert.ok(!this.#shutdown, 'a frame was written after `shutdown` had been read');
    const marker = markerOf(request.params);
    const call = marker === undefined ? undefined : this.#byMarker.get(marker);
    const insists = call?.request.options.retry === 'never';
    if (!insists) {
      this.#checkSlowStart(call, calls.counts.inFlight);
      const early = (this.#held?.until ?? 0) - now;
      assert.ok(early <= 1e-6, `asked a draining gateway ${early} ms too early`);
      this.#held = null;
    }
    this.#frames.set(request.id, call ?? null);
    if (call === undefined) return;
    this.#checkOrder(call);
    this.#checkRepeat(call);
    call.frame = request.id;
    call.queued = false;
    call.handed.push({ at: now, bootId, link: this.#links });
  }

  /**
   * Before the calls hear of it. A frame without a call of ours is a look. Whether an answer still finds the one who
   * waits for it cannot always be seen from here: then it counts, but nothing is claimed by it.
   */
  answer({ id, ok, error }: ResponseFrame): void {
    const { now } = this.#world;
    const call = this.#frames.get(id);
    if (call === undefined) return;
    this.#frames.delete(id);
    this.#answers += 1;
    const sure = call !== null && call.frame === id && isUnderWay(call) && !call.over(now);
    if (ok && this.#held !== null) this.#held = sure ? null : { ...this.#held, until: 0 };
    const hint = error?.retryAfterMs;
    if (hint === undefined) return;
    const draining = /gateway-(restarting|suspending)/.test(JSON.stringify(error?.details ?? {}));
    if (draining) this.#hold(now, hint, sure);
    else if (sure) call.notBefore = now + hint;
  }

  #hold(now: number, hint: number, sure: boolean): void {
    const held = this.#held;
    const atMost = now + hint * DRAIN_SPREAD;
    if (held === null || now > held.atMost) this.#held = { until: sure ? now + hint : 0, atMost };
    // Refused without having been held back, and maybe the time before was over: from when it counts is not known.
    else if (now > held.until) this.#held = { until: 0, atMost };
    else if (!sure) this.#held = { ...held, atMost: Math.max(held.atMost, atMost) };
  }

  /** After every event that touched the calls, when all promises have run. */
  check(): void {
    const { now, calls, tracked, looks, closing } = this.#world;
    const open = tracked.filter(({ settlements }) => settlements === 0);
    const { inFlight, waiting } = calls.counts;
    assert.equal(inFlight + waiting, open.length + looks, 'calls in the engine, and calls that have not settled');
    for (const call of open) {
      const late = now - Math.max(call.deadlineAt, this.wokeAt);
      assert.ok(late <= SLACK_MS, `${call.spec.marker} is ${late} ms over its deadline`);
      if (call.madeAtGate === 'shut' && now === call.madeAt)
        assert.equal(call.request.options.retry, 'always', `${call.spec.marker} was made in an outage, and waits`);
    }
    if (closing?.done) assert.equal(open.length, 0, 'closed, and calls are open');
    if (closing !== null)
      assert.ok(closing.done || now <= Math.max(closing.by, this.wokeAt) + SLACK_MS, 'over the grace');
  }

  /** Those who waited leave in the order in which they were made. */
  #checkOrder(call: Tracked): void {
    const { now } = this.#world;
    if (!this.#line.includes(call) || !call.queued || call.over(now)) return;
    const first = this.#line.find((each) => each.queued && !each.over(now));
    assert.ok(first === undefined || first === call, `${call.spec.marker} left before ${first?.spec.marker}`);
  }

  /** 1, 2, 4 … with the answers, and one more with time: as long as somebody of the line still waits. */
  #checkSlowStart(call: Tracked | undefined, inFlight: number): void {
    const { now } = this.#world;
    const waiting = this.#line.some((each) => each !== call && each.queued && !each.over(now));
    if (!waiting) return;
    const passed = now - this.#openedAt;
    const allowed = (1 + Math.floor(passed / STEP_MS + 1e-6)) * 2 ** this.#answers;
    assert.ok(inFlight <= allowed, `${inFlight} in flight ${passed} ms and ${this.#answers} answers after the hello`);
  }

  /** A second copy needs a proof that the first is harmless. */
  #checkRepeat(call: Tracked): void {
    const { handed, request, spec, attempts } = call;
    const { now, bootId } = this.#world;
    assert.equal(call.settlements, 0, `${spec.marker} was sent after it had settled`);
    assert.ok(!call.abort.signal.aborted, `${spec.marker} was sent after it had been aborted`);
    if (handed.length === 0) return;
    const last = handed.at(-1);
    if (last?.link === this.#links) assert.ok(now >= call.notBefore - 1e-6, `${spec.marker} was sent before its hint`);
    if (call.doubts === 0) return;
    const outcomes = attempts.map(({ outcome }) => outcome).join(' ');
    assert.notEqual(request.safety, 'once', `${spec.marker} is sent again after ${outcomes}`);
    if (request.safety !== 'keyed' || request.durableKey) return;
    for (const each of doubtful(call)) {
      assert.equal(each?.bootId, bootId, `${spec.marker}: its key means nothing to ${bootId} after ${outcomes}`);
      assert.ok(now - (each?.at ?? 0) < KEY_TTL, `${spec.marker}: its key is forgotten`);
    }
  }
}

/** A copy is on the wire, as far as its caller was told. */
function isUnderWay({ handed, attempts }: Tracked): boolean {
  return handed.length > attempts.filter(({ outcome }) => outcome !== 'not-sent').length;
}

/** Frames that may have been executed, since anything was proven. */
function doubtful({ handed, attempts, provenAt }: Tracked): (Handed | undefined)[] {
  const sent = attempts
    .map((attempt, index) => ({ attempt, index }))
    .filter(({ attempt }) => attempt.outcome !== 'not-sent');
  return sent.flatMap(({ attempt, index }, nth) =>
    attempt.outcome === 'unknown' && index >= provenAt ? [handed[nth]] : [],
  );
}
