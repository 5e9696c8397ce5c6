/**
 * Invocations, as the gateway words them and as a node answers them. Checked at the door, decided without a clock.
 * The gateway leaves it to the node not to run the same work twice: it forwards the caller's idempotency key and
 * dispatches again (measured, 2026.4.26 and 2026.9.6).
 */
import { z } from 'zod';
import { isRecord, printable } from './failure.js';

/** Bounds that no option moves. Times in ms, texts in characters. */
export const INVOKE_LIMITS = {
  /** Handlers at work at once, and invocations that wait: for a free handler, or for the run they have joined. */
  running: 64,
  waiting: 256,
  /** Parameters of all that is running or waiting. */
  params: 67_108_864,
  /** Ids of one connection that are known to have been there. */
  ids: 10_000,
  /** Finished work by its key: how many, for how long, and how much of their results. */
  keys: 1000,
  keyAge: 300_000,
  kept: 16_777_216,
  /** When the gateway names no time, or none that can be; and the longest that is believed. */
  defaultTimeout: 30_000,
  maxTimeout: 86_400_000,
  /** One progress frame, and all those that the gateway has not acknowledged. */
  chunk: 16_384,
  progress: 8_388_608,
  /** Of an error's text, what is told. */
  message: 512,
} as const;

export interface InvokeRequest {
  readonly id: string;
  readonly nodeId: string;
  /** Empty when the gateway sent none that is a text: no handler has that name. */
  readonly command: string;
  readonly paramsJSON: string | null;
  readonly timeoutMs: number;
  readonly idempotencyKey?: string;
  readonly sessionKey?: string;
}

export type InvokeWord =
  | { readonly kind: 'request'; readonly request: InvokeRequest }
  | { readonly kind: 'cancel'; readonly id: string }
  | { readonly kind: 'input'; readonly id: string }
  | { readonly kind: 'unreadable'; readonly event: string };

const id = z.string().min(1).max(512);
const optionalText = z.string().min(1).optional().catch(undefined);
const requestShape = z.object({
  id,
  nodeId: id,
  command: z.string().catch(''),
  // What is no text is no JSON either, and is refused as such: the caller hears of it.
  paramsJSON: z.string().nullish().catch('?'),
  timeoutMs: z.unknown().optional(),
  idempotencyKey: optionalText,
  sessionKey: optionalText,
});
const cancelShape = z.object({ invokeId: id });
const inputShape = z.object({ id });

/** An event about invocations; null when it is about something else. Never throws. */
export function parseInvoke(event: string, payload: unknown): InvokeWord | null {
  if (event === 'node.invoke.request') {
    const parsed = requestShape.safeParse(payload);
    return parsed.success ? { kind: 'request', request: requestOf(parsed.data) } : { kind: 'unreadable', event };
  }
  if (event === 'node.invoke.cancel') {
    const parsed = cancelShape.safeParse(payload);
    return parsed.success ? { kind: 'cancel', id: parsed.data.invokeId } : { kind: 'unreadable', event };
  }
  if (event === 'node.invoke.input') {
    const parsed = inputShape.safeParse(payload);
    return parsed.success ? { kind: 'input', id: parsed.data.id } : { kind: 'unreadable', event };
  }
  return null;
}

function requestOf(data: z.infer<typeof requestShape>): InvokeRequest {
  const { idempotencyKey, sessionKey } = data;
  return {
    id: data.id,
    nodeId: data.nodeId,
    command: data.command,
    paramsJSON: data.paramsJSON ?? null,
    timeoutMs: timeoutOf(data.timeoutMs),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(sessionKey !== undefined && { sessionKey }),
  };
}

function timeoutOf(value: unknown): number {
  if (typeof value !== 'number' || !(value > 0)) return INVOKE_LIMITS.defaultTimeout;
  return Math.min(value, INVOKE_LIMITS.maxTimeout);
}

/** The parameters of a request; null when they are not JSON. None at all are `undefined`. */
export function paramsOf(request: InvokeRequest): { readonly value: unknown } | null {
  if (request.paramsJSON === null) return { value: undefined };
  try {
    return { value: JSON.parse(request.paramsJSON) };
  } catch {
    return null;
  }
}

/** What the gateway is answered. */
export type InvokeOutcome =
  | { readonly ok: true; readonly payloadJSON?: string }
  | { readonly ok: false; readonly code: string; readonly message: string };

/** Codes of our own. A handler's error may bring another. */
export type InvokeCode =
  | 'UNKNOWN_COMMAND'
  | 'BAD_PARAMS'
  | 'NODE_BUSY'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'KEY_REUSED'
  | 'RESULT_NOT_KEPT'
  | 'UNSERIALISABLE_RESULT'
  | 'PAYLOAD_TOO_LARGE'
  | 'HANDLER_ERROR'
  | 'NODE_NOT_READY';

export function failed(code: InvokeCode, message: string): InvokeOutcome {
  return { ok: false, code, message };
}

/** What a handler returned, as it is sent. */
export function outcomeOf(value: unknown): InvokeOutcome {
  if (value === undefined) return { ok: true };
  const payloadJSON = jsonOf(value);
  if (payloadJSON !== null) return { ok: true, payloadJSON };
  return failed('UNSERIALISABLE_RESULT', 'the command ran, but its result cannot be written as JSON');
}

/** As JSON; null when that cannot be. What the handler hands over may throw when it is looked at. */
export function jsonOf(value: unknown): string | null {
  try {
    return JSON.stringify(value) ?? null;
  } catch {
    return null;
  }
}

/** What a handler threw, as the gateway may read it: a code that is one, a text that is scrubbed, short and not empty. */
export function outcomeOfError(error: unknown, scrub: (text: string) => string): InvokeOutcome {
  const { code, message } = wordsOf(error);
  const known = code !== undefined && /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? code : 'HANDLER_ERROR';
  // Cut before it is scrubbed, for its cost, and marked as cut, so that half a secret at the end is found.
  const short = message.length > 8192 ? `${message.slice(0, 8191)}…` : message;
  const text = printable(scrub(short), INVOKE_LIMITS.message).trim();
  return { ok: false, code: known, message: text === '' ? 'the command failed' : text };
}

function wordsOf(error: unknown): { readonly code?: string; readonly message: string } {
  try {
    if (typeof error === 'string') return { message: error };
    if (!isRecord(error)) return { message: '' };
    const { code, message } = error;
    return { message: typeof message === 'string' ? message : '', ...(typeof code === 'string' && { code }) };
  } catch {
    return { message: '' };
  }
}

/** Parameters of `node.invoke.result`: nothing but what its schema knows. */
export function resultParams(request: Pick<InvokeRequest, 'id' | 'nodeId'>, outcome: InvokeOutcome): object {
  const { id, nodeId } = request;
  if (!outcome.ok) return { id, nodeId, ok: false, error: { code: outcome.code, message: outcome.message } };
  const { payloadJSON } = outcome;
  return { id, nodeId, ok: true, ...(payloadJSON !== undefined && { payloadJSON }) };
}

/** A text in frames of the allowed length; a character of two units stays whole. */
export function chunksOf(text: string, limit: number = INVOKE_LIMITS.chunk): string[] {
  const chunks: string[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + limit, text.length);
    if (to < text.length && to - from > 1 && (text.codePointAt(to - 1) ?? 0) > 0xffff) to -= 1;
    chunks.push(text.slice(from, to));
    from = to;
  }
  return chunks;
}

/** Did it leave a trace? What never ran may run when it is asked for again. */
export function hasRun(outcome: InvokeOutcome): boolean {
  return outcome.ok || (outcome.code !== 'NODE_NOT_READY' && outcome.code !== 'BAD_PARAMS');
}

interface Kept {
  readonly print: string;
  readonly outcome: InvokeOutcome;
  readonly at: number;
}

/**
 * How finished work ended, by its key: the newest 1,000 of the last 5 minutes, as in the gateway's own table. Results
 * beyond 16 Mi characters are let go, oldest first: such work is known to have run, and is not run again.
 */
export class OutcomeMemory {
  readonly #kept = new Map<string, Kept>();
  #chars = 0;

  get size(): number {
    return this.#kept.size;
  }

  get chars(): number {
    return this.#chars;
  }

  /** `print` names the work: the same key for other work is the caller's mistake. */
  find(key: string, print: string, now: number): InvokeOutcome | null {
    this.#expire(now);
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    return kept.print === print ? kept.outcome : keyReused();
  }

  keep(key: string, print: string, outcome: InvokeOutcome, now: number): void {
    this.#expire(now);
    this.#forget(key);
    this.#kept.set(key, { print, outcome, at: now });
    this.#chars += charsOf(outcome);
    if (this.#kept.size > INVOKE_LIMITS.keys) this.#forget(this.#kept.keys().next().value);
    if (this.#chars > INVOKE_LIMITS.kept) this.#shed();
  }

  clear(): void {
    this.#kept.clear();
    this.#chars = 0;
  }

  #expire(now: number): void {
    for (const [key, { at }] of this.#kept) {
      if (now - at < INVOKE_LIMITS.keyAge) return;
      this.#forget(key);
    }
  }

  #forget(key: string | undefined): void {
    const kept = key === undefined ? undefined : this.#kept.get(key);
    if (key === undefined || kept === undefined) return;
    this.#chars -= charsOf(kept.outcome);
    this.#kept.delete(key);
  }

  #shed(): void {
    const gone = failed('RESULT_NOT_KEPT', 'the command ran under this idempotency key; its result was not kept');
    for (const [key, kept] of this.#kept) {
      if (this.#chars <= INVOKE_LIMITS.kept) return;
      if (charsOf(kept.outcome) === 0) continue;
      this.#chars -= charsOf(kept.outcome);
      // The same place in the order: its age has not changed.
      this.#kept.set(key, { ...kept, outcome: gone });
    }
  }
}

export function keyReused(): InvokeOutcome {
  return failed('KEY_REUSED', 'the idempotency key was used for another command or other parameters');
}

function charsOf(outcome: InvokeOutcome): number {
  return outcome.ok ? (outcome.payloadJSON?.length ?? 0) : 0;
}
