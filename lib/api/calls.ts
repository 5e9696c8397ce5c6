/**
 * The calls of one client: correlation, waiting for the link, repeating, exactly one settlement each.
 * What a failed attempt means and whether it is repeated is decided in the core; here it is done.
 */
import {
  type AttemptFailure,
  classifyLinkLoss,
  classifyResponse,
  isDraining,
  SETTLE_WINDOW_MS,
} from '../core/call-verdicts.js';
import type { GatewayError } from '../core/errors.js';
import type { Failure } from '../core/failure.js';
import { MAX_FRAME_BYTES, type ResponseFrame } from '../core/frames.js';
import type { Gate } from '../core/machine.js';
import type { RestartInfo } from '../core/restart.js';
import type { CallFacts, Decision, LinkFacts } from '../core/retry.js';
import type { Runtime } from '../core/runtime.js';
import type { Reason } from '../core/vocabulary.js';
import { onAbort } from '../io/abort.js';
import {
  abortedError,
  agentOf,
  attemptOf,
  type CallDetails,
  type CallRequest,
  type Entry,
  errorOf,
  localError,
  newEntry,
  outcomeOf,
  restartsOf,
  serialise,
  waitedOf,
} from './call-entry.js';
import { look } from './call-look.js';
import { CallPace } from './call-pace.js';
import { CallQueue } from './call-queue.js';
import { isolated } from './emitter.js';
import type { RetryEvent } from './events.js';
import type { RetryAccount } from './retry-account.js';

/** What the calls need of their client. */
export interface CallPort {
  /** Hands one frame to the live link; false when it was not handed over. */
  send(text: string): boolean;
  /** The restart in progress. */
  restart(): RestartInfo | undefined;
  /** Why the link is not what it should be; null when it is. */
  linkReason(): Reason | null;
  bootId(): string | undefined;
  known(): { readonly restarting: boolean; readonly stopped: boolean };
  /** A request was refused because the gateway drains, or answered although it had been draining. */
  draining(): void;
  served(): void;
  retried(event: RetryEvent): void;
  /** An answer that belongs to no call: late, doubled or foreign. */
  stray(id: string): void;
  fault(where: string, error: unknown): void;
}

export interface CallCounts {
  readonly inFlight: number;
  readonly waiting: number;
  readonly retried: number;
  readonly unknown: number;
}

/** What a frame adds to its parameters, in bytes, at most. */
const FRAME_OVERHEAD = 1024;
/** How long a draining gateway is left alone when it names no time, in ms. */
const DRAIN_ASK_MS = 1000;

export class Calls {
  readonly #port: CallPort;
  readonly #runtime: Runtime;
  /** On the wire, by the id of their frame. */
  readonly #sent = new Map<string, Entry>();
  readonly #queue = new CallQueue();
  /** Waiting for their delay, or for a confirm. */
  readonly #aside = new Set<Entry>();
  /** Agents that this client created, and when: the gateway may not know them yet. */
  readonly #created = new Map<string, number>();
  #gate: Gate = 'shut';
  #gateFailure: Failure | null = null;
  #maxPayload = MAX_FRAME_BYTES;
  readonly #account: RetryAccount;
  #closing = false;
  #frames = 0;
  #made = 0;
  readonly #pace: CallPace;
  #releasing = false;
  #onDrained: (() => void) | null = null;

  constructor(port: CallPort, runtime: Runtime, account: RetryAccount) {
    this.#port = port;
    this.#runtime = runtime;
    this.#account = account;
    this.#pace = new CallPace(runtime, () => this.#release());
  }

  get counts(): CallCounts {
    const { retried, unknown } = this.#account;
    return { inFlight: this.#sent.size, waiting: this.#queue.size + this.#aside.size, retried, unknown };
  }

  /** Makes one call. The promise settles exactly once, by its deadline; it rejects with a GatewayError only. */
  make(request: CallRequest): Promise<CallDetails> {
    return new Promise((resolve, reject) => {
      const { method, options } = request;
      if (options.signal?.aborted === true) {
        reject(abortedError({ method, attempts: [] }, 'not-sent', options.signal.reason));
        return;
      }
      if (this.#closing) {
        reject(localError('HOLDFAST_CLOSED', method, 'the client is closed', 'Make a new client.'));
        return;
      }
      const params = serialise(request.params);
      if (params === null) {
        reject(
          localError('HOLDFAST_PARAMS', method, 'the parameters cannot be serialised as JSON', 'Pass plain JSON data.'),
        );
        return;
      }
      const bytes = Buffer.byteLength(params);
      if (bytes + FRAME_OVERHEAD > this.#maxPayload) {
        reject(
          localError(
            'HOLDFAST_PAYLOAD',
            method,
            `the parameters take ${bytes} bytes, the gateway reads ${this.#maxPayload}`,
            'Send less at once.',
          ),
        );
        return;
      }
      this.#account.deposit();
      this.#admit(this.#entry(request, params, resolve, reject));
    });
  }

  #entry(
    request: CallRequest,
    params: string,
    resolve: (details: CallDetails) => void,
    reject: (error: GatewayError) => void,
  ): Entry {
    const { signal } = request.options;
    this.#made += 1;
    const entry = newEntry(this.#made, request, params, this.#runtime.now(), { resolve, reject });
    if (signal !== undefined) {
      entry.unwatch = onAbort(signal, () => this.#abort(entry, signal.reason));
    }
    return entry;
  }

  /** Sends it, lets it wait, or refuses it, by the state of the link. */
  #admit(entry: Entry): void {
    const { retry } = entry.options;
    const mayWait = this.#gate === 'shut' ? retry === 'always' : retry !== 'never' || this.#port.linkReason() === null;
    const free = this.#queue.size === 0 && this.#pace.hasRoom(this.#sent.size) && !this.#pace.draining;
    // Who wants no retry is not held back either: the gateway's refusal is what was asked for.
    const insists = retry === 'never' && this.#pace.draining;
    if (this.#gate === 'open' && (free || insists)) this.#transmit(entry);
    else if (this.#gate === 'open' || mayWait) {
      this.#enqueue(entry);
      // Nobody else may be under way whose end would let it out.
      this.#release();
    } else this.#fail(entry, this.#linkFailure(false));
  }

  #enqueue(entry: Entry): void {
    if (!this.#queue.add(entry)) {
      const text = `${this.#queue.size} calls (${this.#queue.bytes} bytes) wait for the link already`;
      const error = localError(
        'HOLDFAST_QUEUE_FULL',
        entry.method,
        text,
        'Send less while the gateway is away, or shorten the deadlines.',
      );
      this.#reject(entry, entry.attempts.length === 0 ? error : this.#errorOf(entry, failureFrom(error)));
      return;
    }
    this.#arm(entry, entry.deadlineAt);
  }

  /** False: the link takes nothing, and the call waits. */
  #transmit(entry: Entry): boolean {
    const { onlyTo } = entry;
    const bootId = this.#port.bootId();
    if (onlyTo !== null && onlyTo.bootId !== bootId) {
      entry.onlyTo = null;
      this.#follow(entry, onlyTo.failure, this.#decide(entry, onlyTo.failure, this.link()));
      return true;
    }
    this.#frames += 1;
    const frame = String(this.#frames);
    const now = this.#runtime.now();
    entry.frame = frame;
    entry.attemptAt = now;
    this.#sent.set(frame, entry);
    if (!this.#handOver(entry, frame)) {
      this.#sent.delete(frame);
      entry.frame = null;
      // The link ended under us, and its end is about to be told: the gate decides then.
      this.#enqueue(entry);
      return false;
    }
    if (!entry.doubtful) {
      entry.sentTo = bootId;
      entry.sentAt = now;
    }
    entry.lastTo = bootId;
    entry.onlyTo = null;
    this.#arm(entry, Math.min(entry.deadlineAt, now + (entry.options.timeout ?? Number.POSITIVE_INFINITY)));
    return true;
  }

  /** Only `type, id, method, params`: 2026.4.26 refuses a frame with any other key. */
  #handOver(entry: Entry, frame: string): boolean {
    try {
      return this.#port.send(
        `{"type":"req","id":"${frame}","method":${JSON.stringify(entry.method)},"params":${entry.params}}`,
      );
    } catch (error) {
      this.#port.fault('send', error);
      return false;
    }
  }

  #arm(entry: Entry, at: number): void {
    entry.timer?.clear();
    entry.timer = Number.isFinite(at)
      ? this.#runtime.setTimer(() => this.#expired(entry), Math.max(0, at - this.#runtime.now()))
      : null;
  }

  /** The attempt ran into its timeout, or the whole call into its deadline. */
  #expired(entry: Entry): void {
    entry.timer = null;
    const sent = entry.frame !== null;
    const whole = this.#runtime.now() >= entry.deadlineAt - 1;
    if (entry.frame !== null) this.#sent.delete(entry.frame);
    entry.frame = null;
    if (sent) {
      const limit = whole ? 'deadline' : 'timeout';
      const failure: AttemptFailure = {
        reason: 'timeout',
        outcome: 'unknown',
        code: whole ? 'HOLDFAST_DEADLINE' : 'HOLDFAST_TIMEOUT',
        message: `no answer within its ${limit}`,
        remedy: 'Look whether it took effect before you repeat it.',
        permanent: false,
      };
      if (whole) this.#end(entry, failure);
      else this.#fail(entry, failure);
      // Its place on the wire is free, also when it is to be sent again.
      if (this.#queue.size > 0) this.#release();
      return;
    }
    this.#waitedInVain(entry);
  }

  /** The deadline came while it waited for the link or for its next attempt: what kept it waiting is why it failed. */
  #waitedInVain(entry: Entry): void {
    const last = entry.attempts.at(-1);
    const reason = this.#port.linkReason() ?? last?.reason ?? 'timeout';
    const seconds = ((this.#runtime.now() - entry.madeAt) / 1000).toFixed(1);
    const error = this.#errorOf(entry, {
      reason,
      outcome: outcomeOf(entry),
      code: 'HOLDFAST_DEADLINE',
      message: `its deadline passed after ${seconds} s of ${reason === 'timeout' ? 'waiting for the link' : reason}`,
      remedy: 'See why the gateway does not serve: health(), or raise the deadline.',
      permanent: false,
    });
    this.#reject(entry, error);
  }

  #abort(entry: Entry, cause: unknown): void {
    this.#reject(entry, abortedError(entry, outcomeOf(entry), cause));
  }

  // -------------------------------------------------------------------------------------------------- from the link

  /** The link opened, is held, or is gone. `cut`: what was on the wire will not be answered. */
  setGate(gate: Gate, cut: boolean, failure: Failure | null): void {
    this.#gate = gate;
    this.#gateFailure = failure;
    this.#pace.restart(0);
    if (cut) {
      const lost = [...this.#sent.values()];
      this.#sent.clear();
      for (const entry of lost) {
        entry.frame = null;
        this.#fail(entry, this.#linkFailure(true));
      }
    }
    if (gate === 'open') {
      this.#queue.sort();
      this.#pace.restart(this.#queue.size);
      this.#release();
    } else if (gate === 'shut') this.#shut();
  }

  /** The largest frame that this gateway reads, in bytes. */
  set maxPayload(bytes: number) {
    this.#maxPayload = bytes;
  }

  /** Lets waiting calls out in their order, as many as the slow start allows. */
  #release(): void {
    // A call that ends in here lets the next one out: in this loop, not in one within it, or a long queue of calls that
    // cannot be repeated would overflow the stack.
    if (this.#releasing) return;
    this.#releasing = true;
    try {
      this.#letOut();
    } finally {
      this.#releasing = false;
    }
    if (this.#gate === 'open' && this.#queue.size > 0) this.#pace.stepLater();
  }

  #letOut(): void {
    let taken = true;
    while (taken && this.#gate === 'open' && this.#pace.hasRoom(this.#sent.size)) {
      const entry = this.#queue.first();
      if (entry === undefined) {
        this.#pace.emptied();
        return;
      }
      this.#queue.delete(entry);
      const { pending } = entry;
      entry.pending = null;
      if (pending === null) taken = this.#transmit(entry);
      else if (pending.act === 'confirm') this.#confirm(entry, pending.failure);
      else this.#follow(entry, pending.failure, this.#decide(entry, pending.failure, this.link()));
    }
  }

  #shut(): void {
    for (const entry of this.#queue.all()) {
      if (entry.options.retry === 'always' && !this.#closing) continue;
      this.#queue.delete(entry);
      this.#fail(entry, this.#linkFailure(false));
    }
  }

  #linkFailure(handedOver: boolean): AttemptFailure {
    if (this.#gateFailure !== null) return classifyLinkLoss(this.#gateFailure, { handedOver });
    const message = this.#closing ? 'the client was closed' : 'the client is not connected';
    const remedy = 'Call start() first, and make no calls after close().';
    return {
      reason: 'local',
      outcome: handedOver ? 'unknown' : 'not-sent',
      code: 'HOLDFAST_NOT_CONNECTED',
      message,
      remedy,
      permanent: true,
    };
  }

  /** An answer. */
  answered(frame: ResponseFrame): void {
    const entry = this.#sent.get(frame.id);
    if (entry === undefined) {
      this.#port.stray(frame.id);
      return;
    }
    this.#sent.delete(frame.id);
    entry.frame = null;
    if (frame.ok) this.#succeed(entry, frame.payload);
    else this.#refused(entry, frame);
    if (this.#pace.answered()) this.#release();
  }

  #succeed(entry: Entry, result: unknown): void {
    if (this.#pace.draining) {
      this.#pace.endDrain();
      this.#port.served();
    }
    if (entry.method === 'agents.create') this.#remember(result);
    this.#note(entry, null);
    this.#resolve(entry, result);
  }

  #refused(entry: Entry, frame: ResponseFrame): void {
    const word = frame.error ?? { code: 'MALFORMED_ERROR', message: 'refused without an error' };
    if (isDraining(word)) {
      this.#port.draining();
      this.#pace.holdBack(word.retryAfterMs ?? DRAIN_ASK_MS);
    }
    const createdAt = entry.agentId === undefined ? undefined : this.#created.get(entry.agentId);
    const justCreated = createdAt !== undefined && this.#runtime.now() - createdAt < SETTLE_WINDOW_MS;
    this.#fail(entry, classifyResponse(word, { method: entry.method, justCreated, known: this.#port.known() }));
  }

  #remember(result: unknown): void {
    const agentId = agentOf(result);
    if (agentId === undefined) return;
    const now = this.#runtime.now();
    for (const [id, at] of this.#created) if (now - at > SETTLE_WINDOW_MS) this.#created.delete(id);
    this.#created.set(agentId, now);
  }

  // ------------------------------------------------------------------------------------------------ after a failure

  /** One attempt is over without a result: ask the core what follows. */
  #fail(entry: Entry, failure: AttemptFailure): void {
    this.#note(entry, failure);
    // After an unknown copy of our own, a refusal for good may be that copy's doing ("already exists"): look, even when a
    // look had found nothing before. What was done a moment ago is not listed at once.
    const doubted = entry.attempts.some(({ outcome }) => outcome === 'unknown');
    const suspicious = doubted && failure.permanent && failure.outcome === 'not-executed';
    if (failure.outcome === 'unknown') {
      entry.clean = false;
      entry.doubtful = true;
    }
    if (suspicious && entry.options.confirm !== undefined) this.#follow(entry, failure, { do: 'confirm' });
    else this.#follow(entry, failure, this.#decide(entry, failure));
  }

  #decide(entry: Entry, failure: AttemptFailure, link: LinkFacts = this.#linkFor(failure, entry)): Decision {
    if (this.#closing) return { do: 'stop', because: 'policy' };
    const facts: CallFacts = {
      method: entry.method,
      safety: entry.safety,
      retry: entry.options.retry ?? 'restart',
      maxAttempts: entry.options.maxAttempts ?? null,
      attempts: entry.attempts.length,
      deadlineAt: entry.deadlineAt,
      canConfirm: entry.options.confirm !== undefined,
      durableKey: entry.durableKey,
      ...(entry.sentTo !== undefined && { sentTo: entry.sentTo }),
      ...(entry.sentAt !== undefined && { sentAt: entry.sentAt }),
    };
    // What became of the last copy says nothing of an earlier one: together they are as uncertain as any of them.
    const judged: AttemptFailure = entry.doubtful ? { ...failure, outcome: 'unknown' } : failure;
    return this.#account.decide(facts, judged, link);
  }

  /** While the gateway drains, a call waits as it does for the link, unless its hint is longer than the call may last. */
  #linkFor(failure: AttemptFailure, entry: Entry): LinkFacts {
    const inTime = this.#runtime.now() + (failure.retryAfter ?? 0) < entry.deadlineAt;
    if (!this.#pace.draining || failure.reason !== 'gateway-draining' || !inTime) return this.link();
    return { ...this.link(), gate: 'hold', reason: 'gateway-draining' };
  }

  /** What is known of the link, as a decision needs it. */
  link(): LinkFacts {
    const bootId = this.#port.bootId();
    const reason = this.#gate === 'open' ? null : this.#port.linkReason();
    return { gate: this.#gate, reason, ...(bootId !== undefined && { bootId }) };
  }

  #follow(entry: Entry, failure: AttemptFailure, decision: Decision): void {
    switch (decision.do) {
      case 'retry':
        this.#tellRetry(entry, failure, decision.delay);
        this.#aside.add(entry);
        entry.timer?.clear();
        entry.timer = this.#runtime.setTimer(() => {
          this.#aside.delete(entry);
          entry.timer = null;
          // Checked when it is sent: it may have to wait once more, and be met by another instance then.
          if (decision.onlyTo !== undefined) entry.onlyTo = { bootId: decision.onlyTo, failure };
          this.#admit(entry);
        }, decision.delay);
        return;
      case 'wait':
        this.#tellRetry(entry, failure, 0);
        entry.pending = null;
        // Held back by a drain: who answers is known, and may be another by the time that it is over.
        if (decision.recheck === true && this.#gate === 'open') {
          entry.onlyTo = entry.sentTo === undefined ? null : { bootId: entry.sentTo, failure };
        } else if (decision.recheck === true) entry.pending = { act: 'recheck', failure };
        this.#enqueue(entry);
        return;
      case 'confirm':
        if (this.#gate === 'open') {
          this.#confirm(entry, failure);
          return;
        }
        entry.pending = { act: 'confirm', failure };
        this.#enqueue(entry);
        return;
      case 'stop':
        this.#end(entry, failure, decision.retryAt);
    }
  }

  #tellRetry(entry: Entry, failure: AttemptFailure, delay: number): void {
    this.#account.retried += 1;
    const last = entry.attempts.at(-1);
    if (last !== undefined) entry.attempts[entry.attempts.length - 1] = { ...last, delay };
    const { reason, outcome } = failure;
    this.#port.retried({ call: entry.method, attempt: entry.attempts.length, reason, outcome, delay });
  }

  /** Looks whether it was executed, and goes on from what was found. */
  #confirm(entry: Entry, failure: AttemptFailure): void {
    const { confirm } = entry.options;
    if (confirm === undefined) {
      this.#end(entry, failure);
      return;
    }
    const succeeded = entry.lastTo !== undefined && entry.lastTo !== this.#port.bootId();
    this.#aside.add(entry);
    this.#arm(entry, entry.deadlineAt);
    look(entry, failure, confirm, {
      make: (request) => this.make(request),
      now: () => this.#runtime.now(),
      fault: (error) => this.#port.fault('confirm', error),
    }).then((found) => {
      this.#aside.delete(entry);
      if (!entry.settled) this.#confirmed(entry, failure, found, succeeded);
    });
  }

  /** `succeeded`: the instance that was asked is not the one that the call was sent to. */
  #confirmed(
    entry: Entry,
    failure: AttemptFailure,
    found: { executed: boolean | 'unknown'; result?: unknown },
    succeeded: boolean,
  ): void {
    if (found.executed === true) {
      if (entry.method === 'agents.create') this.#remember(found.result);
      this.#resolve(entry, found.result);
      return;
    }
    if (found.executed === 'unknown') {
      entry.clean = false;
      this.#end(entry, failure);
      return;
    }
    // Nothing of ours happened so far: it may be sent again. That nothing will is sure only when its instance is gone;
    // one that lives may still be at work on it, although nobody hears of that any more.
    entry.doubtful = false;
    entry.clean = succeeded;
    const proven: AttemptFailure = { ...failure, outcome: 'not-executed' };
    this.#follow(entry, proven, failure.permanent ? { do: 'stop', because: 'permanent' } : this.#decide(entry, proven));
  }

  // -------------------------------------------------------------------------------------------------------- the end

  /** Rejects with what the last attempt failed for. */
  #end(entry: Entry, failure: AttemptFailure, retryAt?: number): void {
    if (failure.code === 'HOLDFAST_DEADLINE') this.#note(entry, failure);
    const until =
      retryAt === undefined
        ? ''
        : `; the gateway asks to wait ${((retryAt - this.#runtime.now()) / 1000).toFixed(1)} s, longer than the deadline`;
    if (failure.outcome === 'unknown') entry.clean = false;
    this.#reject(entry, this.#errorOf(entry, { ...failure, message: `${failure.message}${until}` }));
  }

  #errorOf(entry: Entry, failure: AttemptFailure): GatewayError {
    return errorOf(entry, failure, this.#port.restart());
  }

  /** Writes the attempt down, and tells whoever wants to know. */
  #note(entry: Entry, failure: AttemptFailure | null): void {
    const restart = failure === null ? undefined : this.#port.restart();
    const attempt = attemptOf(entry, failure, { now: this.#runtime.now(), wall: this.#runtime.wall() }, restart);
    entry.attempts.push(attempt);
    const { onAttempt } = entry.options;
    if (onAttempt === undefined) return;
    isolated(
      () => onAttempt(attempt),
      (error) => this.#port.fault('onAttempt', error),
    );
  }

  #resolve(entry: Entry, result: unknown): void {
    if (!this.#close(entry)) return;
    const { attempts } = entry;
    entry.resolve({ result, attempts, waited: waitedOf(entry, this.#runtime.now()), restarts: restartsOf(attempts) });
  }

  #reject(entry: Entry, error: GatewayError): void {
    if (!this.#close(entry)) return;
    if (error.outcome === 'unknown') this.#account.unknown += 1;
    entry.reject(error);
  }

  /** Lets go of everything that a call holds. False: it had settled already. */
  #close(entry: Entry): boolean {
    if (entry.settled) return false;
    entry.settled = true;
    entry.timer?.clear();
    entry.timer = null;
    if (entry.frame !== null) this.#sent.delete(entry.frame);
    entry.frame = null;
    this.#queue.delete(entry);
    this.#aside.delete(entry);
    entry.look?.abort();
    entry.unwatch();
    if (this.#onDrained !== null && this.#idle) this.#onDrained();
    // Its place on the wire is free, however it ended.
    if (this.#queue.size > 0) this.#release();
    return true;
  }

  get #idle(): boolean {
    return this.#sent.size === 0 && this.#queue.size === 0 && this.#aside.size === 0;
  }

  /** No new calls from here on. Resolves when those there are have settled, or after `grace` ms. */
  drain(grace: number): Promise<void> {
    this.#closing = true;
    // What waits for a link or for another attempt will get neither.
    if (this.#gate !== 'open') this.#shut();
    for (const entry of this.#aside) this.#waitedInVain(entry);
    if (this.#idle) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#runtime.setTimer(resolve, grace);
      this.#onDrained = () => {
        timer.clear();
        resolve();
      };
    });
  }
}

function failureFrom(error: GatewayError): AttemptFailure {
  const { reason, outcome, code, message, remedy } = error;
  return { reason, outcome, code, message, remedy, permanent: true };
}
