/**
 * What a node is asked to do, and its answers: one per invocation and connection, none after a cancel or a lost link.
 * The work (a `Run`) and those who wait for it (an `Invocation` each) are apart: invocations with the same idempotency
 * key share one run, and a run goes on until nobody waits for it.
 */
import { setMaxListeners } from 'node:events';
import { GatewayError } from '../core/errors.js';
import { isRecord, printable } from '../core/failure.js';
import * as core from '../core/invoke.js';
import type { Runtime, Timer } from '../core/runtime.js';
import type { Reason, Safety } from '../core/vocabulary.js';
import { sha256 } from '../io/digest.js';
import type { Level, LogRecord } from '../io/log.js';
import { localError } from './call-entry.js';
import type { CallOptions } from './call-request.js';

/** What a handler is told of its invocation. */
export interface InvokeContext {
  /** Aborts when nobody waits for the result any more; its reason is a GatewayError: deadline, cancel, lost link, close. */
  readonly signal: AbortSignal;
  /** The gateway's id of the invocation. */
  readonly id: string;
  readonly command: string;
  /** Ms that the gateway gave it, counted from its arrival. */
  readonly timeoutMs: number;
  /** Wall-clock ms at which its time is up. */
  readonly deadlineAt: number;
  readonly idempotencyKey?: string;
  readonly sessionKey?: string;
  /** Sends output before the result, in order; what is no text goes as JSON. Without effect once nobody waits. */
  progress(chunk: unknown): void;
}

/**
 * Does what a command asks. What it returns must be plain JSON data. What it throws becomes the error of the caller, with
 * its `code` if that is in capitals. `NODE_NOT_READY` says that nothing was done: the gateway then asks again.
 */
export type InvokeHandler = (params: unknown, context: InvokeContext) => unknown;

/** What the engine needs of its host. */
export interface InvocationPort {
  nodeId(): string | undefined;
  /** Sends on the live link, at once; rejects when there is none. Never on a later one. */
  call(method: string, params: unknown, options: CallOptions): Promise<unknown>;
  /** The largest frame that the gateway reads, in bytes. */
  maxPayload(): number;
  /** Takes the secrets out of a text. */
  scrub(text: string): string;
  log(level: Level, record: LogRecord, message: string): void;
  readonly runtime: Runtime;
}

export interface InvocationCounts {
  /** Handlers at work that somebody waits for. */
  readonly running: number;
  /** Invocations without an answer yet, the running ones among them. */
  readonly open: number;
  /** Answered with a result; with an error; not at all, because they were cancelled or their link was lost. */
  readonly served: number;
  readonly failed: number;
  readonly aborted: number;
  /** Results that came when nobody waited for them, and answers that could not be sent. */
  readonly dropped: number;
}

interface Invocation {
  readonly id: string;
  readonly nodeId: string;
  readonly run: Run;
  timer: Timer | null;
  /** Number of its next progress frame; null when no more are sent. */
  seq: number | null;
}

interface Run {
  /** The first that asked for it; without its parameters once it has begun. */
  request: core.InvokeRequest;
  readonly handler: InvokeHandler;
  readonly key: Key | null;
  /** Characters of its parameters. */
  readonly held: number;
  readonly deadlineAt: number;
  readonly abort: AbortController;
  readonly waiting: Set<Invocation>;
  /** How it ended for those who waited, once nobody does any more. */
  left: core.InvokeOutcome | null;
}

interface Key {
  readonly name: string;
  readonly print: string;
}

/** Why nobody waits any more: for the handler's signal, and for a repeat under the same key. */
interface Leaving {
  readonly reason: Reason;
  readonly code: core.InvokeCode;
  readonly why: string;
}

const LIMITS = core.INVOKE_LIMITS;
const CANCELLED: Leaving = { reason: 'local', code: 'ABORTED', why: 'the gateway cancelled the invocation' };
const EXPIRED: Leaving = { reason: 'timeout', code: 'TIMEOUT', why: 'the time of the invocation was up' };
const CLOSED: Leaving = { reason: 'local', code: 'ABORTED', why: 'the node host was closed' };
/** How long an answer may wait for the gateway's receipt, in ms. */
const RECEIPT_MS = 30_000;
/** Lines of one kind come no faster than this, in ms; the next one says how many there were. */
const QUIET_MS = 5000;
const MAX_KINDS = 100;
/** What a frame adds to a result, in bytes, at most: ids of 512 characters are six times as long at worst. */
const FRAME_OVERHEAD = 8192;

/**
 * Work is run once per idempotency key: a repeat joins the run under way, also one that a lost link has left behind, or
 * is answered as the first was, for 5 minutes. That holds for a run that was ended (`TIMEOUT`, `ABORTED`), too: it may
 * have taken effect. Only what never ran runs when it is asked for again.
 */
export class Invocations {
  readonly #port: InvocationPort;
  readonly #handlers = new Map<string, InvokeHandler>();
  /** By id, on the connection of now. */
  readonly #open = new Map<string, Invocation>();
  readonly #seen = new Set<string>();
  readonly #queue = new Set<Run>();
  readonly #running = new Set<Run>();
  /** Not finished, by key. Those that were left stay until their handler ends, so that a repeat can join them. */
  readonly #keyed = new Map<string, Run>();
  readonly #left = new Set<Run>();
  readonly #memory = new core.OutcomeMemory();
  readonly #told = new Map<string, { at: number; count: number }>();
  /** The connection of now. */
  #link: AbortController | null = null;
  #held = 0;
  #progressHeld = 0;
  #served = 0;
  #failed = 0;
  #aborted = 0;
  #dropped = 0;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;

  constructor(port: InvocationPort) {
    this.#port = port;
  }

  /**
   * Registers what serves a command; returns its off. Work that has begun is not affected by the off.
   * @throws GatewayError with reason `local` for a name that is empty or taken, or a handler that is no function.
   */
  handle(command: string, handler: InvokeHandler): () => void {
    const wrong = (text: string, remedy: string): GatewayError =>
      localError('HOLDFAST_HANDLER', 'handle', text, remedy);
    if (typeof command !== 'string' || command.trim() === '') throw wrong('the command has no name', 'Name it.');
    if (typeof handler !== 'function') throw wrong(`the handler of ${command} is no function`, 'Pass a function.');
    if (this.#handlers.has(command)) throw wrong(`${command} has a handler`, 'Remove the first one, by its off.');
    this.#handlers.set(command, handler);
    return () => {
      if (this.#handlers.get(command) === handler) this.#handlers.delete(command);
    };
  }

  /** What is served, for `connect`. */
  commands(): string[] {
    return [...this.#handlers.keys()];
  }

  counts(): InvocationCounts {
    return {
      running: this.#running.size,
      open: this.#open.size,
      served: this.#served,
      failed: this.#failed,
      aborted: this.#aborted,
      dropped: this.#dropped,
    };
  }

  // -------------------------------------------------------------------------------------------------- from the link

  /** A new connection: what an earlier one asked is nobody's business on it. */
  linkUp(): void {
    this.linkLost('outage');
    this.#link = new AbortController();
    // Every answer on the wire listens; Node would take the eleventh for a leak.
    setMaxListeners(0, this.#link.signal);
  }

  /**
   * Ends whatever the connection asked, without answers: no version takes a result on another connection than the one
   * that asked (`{ok: true, ignored: true}`, measured).
   */
  linkLost(reason: Reason): void {
    const link = this.#link;
    this.#link = null;
    this.#seen.clear();
    const lost = [...this.#open.values()];
    this.#aborted += lost.length;
    const leaving: Leaving = { reason, code: 'ABORTED', why: `the link was lost (${reason})` };
    this.#endAll(lost, leaving, null);
    // What a host still holds back of our answers must not go out on the next link.
    link?.abort(leavingError(leaving));
  }

  /** True: the event was about invocations. */
  onEvent(event: string, payload: unknown): boolean {
    const word = core.parseInvoke(event, payload);
    if (word === null) return false;
    if (this.#link === null) this.#tell('debug', 'NO_LINK', `${event} came without a link`);
    else if (word.kind === 'request') this.#arrived(word.request);
    else if (word.kind === 'cancel') this.#cancelled(word.id);
    else if (word.kind === 'input')
      this.#tell('warn', 'INPUT', 'input for a running command is not supported: dropped');
    else this.#tell('warn', 'UNREADABLE', `an unreadable ${event} was dropped`);
    return true;
  }

  #arrived(request: core.InvokeRequest): void {
    const own = this.#port.nodeId();
    if (own !== undefined && request.nodeId !== own) {
      this.#tell('warn', 'FOREIGN', 'an invocation for another node was dropped');
      return;
    }
    // The gateway knows an invocation by its id, and one answer is all that it takes.
    if (this.#seen.has(request.id) || this.#open.has(request.id)) {
      this.#tell('warn', 'REPEATED', 'an invocation came twice on one connection: it runs once');
      return;
    }
    this.#seen.add(request.id);
    if (this.#seen.size > LIMITS.ids) this.#seen.delete(this.#seen.values().next().value ?? '');
    const answer = this.#admit(request);
    if (answer === null) return;
    if (!answer.ok) this.#tell('warn', answer.code, `an invocation was answered ${answer.code}: ${answer.message}`);
    this.#send(request, answer);
  }

  /** Takes it up and returns null, or returns the answer that there is already. */
  #admit(request: core.InvokeRequest): core.InvokeOutcome | null {
    const { command } = request;
    const handler = this.#handlers.get(command);
    if (handler === undefined) return core.failed('UNKNOWN_COMMAND', `no such command: ${printable(command, 80)}`);
    const key = keyOf(request);
    const known = key && this.#memory.find(key.name, key.print, this.#port.runtime.now());
    if (known !== null) return known;
    const under = key === null ? undefined : this.#keyed.get(key.name);
    if (under !== undefined && under.key?.print !== key?.print) return core.keyReused();
    const held = request.paramsJSON?.length ?? 0;
    const full = this.#open.size >= LIMITS.running + LIMITS.waiting;
    if (full || (under === undefined && this.#held + held > LIMITS.params)) {
      return core.failed('NODE_BUSY', `the node has ${this.#open.size} invocations to answer; this one was not run`);
    }
    if (under === undefined && this.#closing !== null) {
      return core.failed('NODE_NOT_READY', 'the node host is closing; the command was not run');
    }
    this.#wait(under ?? this.#enqueue(request, handler, key, held), request);
    this.#pump();
    return null;
  }

  #enqueue(request: core.InvokeRequest, handler: InvokeHandler, key: Key | null, held: number): Run {
    const deadlineAt = Math.round(this.#port.runtime.wall() + request.timeoutMs);
    const abort = new AbortController();
    const run: Run = { request, handler, key, held, deadlineAt, abort, waiting: new Set(), left: null };
    if (key !== null) this.#keyed.set(key.name, run);
    this.#held += held;
    this.#queue.add(run);
    return run;
  }

  #wait(run: Run, { id, nodeId, timeoutMs }: core.InvokeRequest): void {
    const invocation: Invocation = { id, nodeId, run, timer: null, seq: 0 };
    run.waiting.add(invocation);
    this.#open.set(id, invocation);
    invocation.timer = this.#port.runtime.setTimer(() => this.#expired(invocation), timeoutMs);
  }

  #cancelled(id: string): void {
    const invocation = this.#open.get(id);
    // After its end: usual, since the two cross on the wire.
    if (invocation === undefined) return;
    this.#aborted += 1;
    this.#endAll([invocation], CANCELLED, null);
  }

  #expired(invocation: Invocation): void {
    const { command } = invocation.run.request;
    const begun = !this.#queue.has(invocation.run);
    const text = `not done in its time${begun ? '' : ', and never begun'}`;
    this.#tell('warn', 'TIMEOUT', `${command}: ${text}`, { command, invokeId: invocation.id });
    this.#endAll([invocation], EXPIRED, core.failed('TIMEOUT', text));
  }

  /** Nobody waits for these any more. They are answered, if there is an answer, before anybody's listeners run. */
  #endAll(invocations: readonly Invocation[], leaving: Leaving, answer: core.InvokeOutcome | null): void {
    for (const invocation of invocations) {
      this.#detach(invocation);
      if (answer !== null) this.#send(invocation, answer);
    }
    for (const { run } of invocations) if (run.waiting.size === 0) this.#leave(run, leaving);
    this.#pump();
  }

  #detach(invocation: Invocation): void {
    invocation.timer?.clear();
    invocation.timer = null;
    this.#open.delete(invocation.id);
    invocation.run.waiting.delete(invocation);
  }

  // -------------------------------------------------------------------------------------------------------- the work

  /** Begins what there is room for. */
  #pump(): void {
    for (const run of this.#queue) {
      if (this.#running.size >= LIMITS.running) break;
      this.#queue.delete(run);
      this.#begin(run);
    }
    if (this.#open.size === 0) this.#onIdle?.();
  }

  #begin(run: Run): void {
    const params = core.paramsOf(run.request);
    this.#running.add(run);
    if (params === null) {
      this.#finish(run, core.failed('BAD_PARAMS', 'the parameters are not JSON; the command was not run'));
      return;
    }
    run.request = { ...run.request, paramsJSON: null };
    const context = this.#contextOf(run);
    new Promise<unknown>((resolve) => resolve(run.handler(params.value, context))).then(
      (value) => this.#finish(run, core.outcomeOf(value)),
      (error: unknown) => this.#threw(run, error),
    );
  }

  #contextOf(run: Run): InvokeContext {
    const { id, command, timeoutMs, idempotencyKey, sessionKey } = run.request;
    return {
      signal: run.abort.signal,
      id,
      command,
      timeoutMs,
      deadlineAt: run.deadlineAt,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...(sessionKey !== undefined && { sessionKey }),
      progress: (chunk) => this.#progress(run, chunk),
    };
  }

  #threw(run: Run, error: unknown): void {
    const outcome = core.outcomeOfError(error, (text) => this.#port.scrub(text));
    // It stopped because it was told to: that is what a repeat hears, not in which words it stopped.
    const { command } = run.request;
    if (run.left === null) this.#tell('warn', 'HANDLER', `the handler of ${command} threw`, { command, err: error });
    this.#finish(run, run.left ?? outcome);
  }

  #finish(run: Run, outcome: core.InvokeOutcome): void {
    this.#release(run);
    this.#left.delete(run);
    const { key, request } = run;
    if (key !== null && this.#keyed.get(key.name) === run) {
      this.#keyed.delete(key.name);
      if (core.hasRun(outcome)) this.#memory.keep(key.name, key.print, outcome, this.#port.runtime.now());
    }
    if (run.waiting.size === 0) {
      this.#dropped += 1;
      const record = { event: 'invoke', code: 'LATE', invokeId: request.id, command: request.command, ok: outcome.ok };
      this.#port.log('info', record, `${request.command}: it ended when nobody waited any more; its result is dropped`);
    }
    for (const invocation of [...run.waiting]) {
      this.#detach(invocation);
      this.#send(invocation, outcome);
    }
    this.#pump();
  }

  /** Its place is free. */
  #release(run: Run): void {
    if (this.#running.delete(run) || this.#queue.delete(run)) this.#held -= run.held;
  }

  /** What has not begun never will; what runs is told to stop, and does not hold a place until it does. */
  #leave(run: Run, leaving: Leaving): void {
    const { key } = run;
    const queued = this.#queue.has(run);
    this.#release(run);
    if (queued) {
      if (key !== null) this.#keyed.delete(key.name);
      return;
    }
    if (run.left !== null) return;
    run.left = core.failed(leaving.code, `${leaving.why}; whether the command took effect is unknown`);
    if (key !== null) this.#left.add(run);
    const [oldest] = this.#left.size > LIMITS.keys ? this.#left : [];
    if (oldest !== undefined) this.#abandon(oldest);
    run.abort.abort(leavingError(leaving));
  }

  /** Handlers that never end are not waited for without end, either: how they were left is all that is kept. */
  #abandon(run: Run): void {
    this.#left.delete(run);
    const { key, left } = run;
    if (key === null || left === null || this.#keyed.get(key.name) !== run) return;
    this.#keyed.delete(key.name);
    this.#memory.keep(key.name, key.print, left, this.#port.runtime.now());
    for (const invocation of [...run.waiting]) {
      this.#detach(invocation);
      this.#send(invocation, left);
    }
  }

  // ----------------------------------------------------------------------------------------------------- the answers

  #send(to: Pick<Invocation, 'id' | 'nodeId'>, outcome: core.InvokeOutcome): void {
    const answer = this.#fits(outcome)
      ? outcome
      : core.failed('PAYLOAD_TOO_LARGE', 'the command ran, but its result is larger than the gateway reads');
    if (answer.ok) this.#served += 1;
    else this.#failed += 1;
    this.#transmit('node.invoke.result', core.resultParams(to, answer), 'repeatable').then(
      (receipt) => {
        if (!isRecord(receipt) || receipt['ignored'] !== true) return;
        this.#tell('info', 'IGNORED', 'the gateway did not wait for a result any more', { invokeId: to.id });
      },
      (error: unknown) => {
        this.#dropped += 1;
        this.#tell('warn', 'UNSENT', 'a result may not have reached the gateway', { invokeId: to.id, err: error });
      },
    );
  }

  /** JSON in JSON: what it takes is known exactly only when it is written. Most are far below. */
  #fits(outcome: core.InvokeOutcome): boolean {
    if (!outcome.ok || outcome.payloadJSON === undefined) return true;
    const limit = this.#port.maxPayload() - FRAME_OVERHEAD;
    const { payloadJSON } = outcome;
    return payloadJSON.length * 3 <= limit || Buffer.byteLength(JSON.stringify(payloadJSON)) <= limit;
  }

  #progress(run: Run, chunk: unknown): void {
    if (run.waiting.size === 0) return;
    const { command } = run.request;
    const text = typeof chunk === 'string' ? chunk : core.jsonOf(chunk);
    if (text === null || this.#progressHeld + text.length > LIMITS.progress) {
      const why = text === null ? 'it cannot be written as JSON' : 'too much of it is on its way already';
      this.#tell('warn', 'PROGRESS', `progress of ${command} was dropped: ${why}`, { command });
      return;
    }
    const chunks = core.chunksOf(text);
    for (const invocation of run.waiting) for (const part of chunks) this.#sendChunk(invocation, part);
  }

  #sendChunk(invocation: Invocation, chunk: string): void {
    const { id, nodeId, seq } = invocation;
    if (seq === null) return;
    invocation.seq = seq + 1;
    this.#progressHeld += chunk.length;
    this.#transmit('node.invoke.progress', { invokeId: id, nodeId, seq, chunk }, 'once').then(
      () => {
        this.#progressHeld -= chunk.length;
      },
      (error: unknown) => {
        this.#progressHeld -= chunk.length;
        // A gateway that knows no progress closes the link on a node that keeps asking.
        invocation.seq = null;
        this.#tell('warn', 'PROGRESS', 'progress could not be sent; no more of it is', { invokeId: id, err: error });
      },
    );
  }

  #transmit(method: string, params: object, safety: Safety): Promise<unknown> {
    const signal = this.#link?.signal;
    const options: CallOptions = {
      retry: 'never',
      safety,
      timeout: RECEIPT_MS,
      deadline: RECEIPT_MS,
      ...(signal !== undefined && { signal }),
    };
    return new Promise((resolve) => resolve(this.#port.call(method, params, options)));
  }

  /** One line per kind, command and while; the next one says how many there were. */
  #tell(level: Level, code: string, message: string, more: Readonly<Record<string, unknown>> = {}): void {
    const now = this.#port.runtime.now();
    const kind = `${code} ${String(more['command'] ?? '')}`;
    const last = this.#told.get(kind);
    if (last !== undefined && now - last.at < QUIET_MS) {
      last.count += 1;
      return;
    }
    if (this.#told.size > MAX_KINDS) this.#told.clear();
    this.#told.set(kind, { at: now, count: 0 });
    const count = (last?.count ?? 0) + 1;
    this.#port.log(level, { event: 'invoke', code, ...(count > 1 && { count }), ...more }, message);
  }

  // --------------------------------------------------------------------------------------------------------- the end

  /**
   * Takes no more work, lets what runs finish within `grace` ms, then ends it; what is still open is answered
   * `ABORTED`. Call it while the link lives. Leaves no timer.
   */
  close(grace = 0): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      let timer: Timer | null = null;
      const end = (): void => {
        timer?.clear();
        this.#onIdle = null;
        this.#shut();
        resolve();
      };
      if (grace > 0 && this.#open.size > 0) {
        timer = this.#port.runtime.setTimer(end, grace);
        this.#onIdle = end;
      } else end();
    });
    return this.#closing;
  }

  #shut(): void {
    this.#endAll([...this.#open.values()], CLOSED, core.failed('ABORTED', CLOSED.why));
    this.#keyed.clear();
    this.#left.clear();
    this.#memory.clear();
  }
}

function keyOf({ idempotencyKey, command, paramsJSON }: core.InvokeRequest): Key | null {
  if (idempotencyKey === undefined) return null;
  return { name: sha256(idempotencyKey), print: sha256(`${command}\n${paramsJSON ?? ''}`) };
}

function leavingError({ reason, why }: Leaving): GatewayError {
  return new GatewayError({
    code: 'HOLDFAST_INVOKE_ABORTED',
    reason,
    outcome: 'unknown',
    message: why,
    remedy: 'Stop, and undo what is half done: nobody waits for the result.',
  });
}
