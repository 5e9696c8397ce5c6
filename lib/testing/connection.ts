import type { RawData, WebSocket } from 'ws';
import type { Boot } from './boot.js';
import { dispatch } from './dispatch.js';
import { type ErrorShape, errorWord, invalid } from './errors.js';
import type { Cut, FaultOf } from './faults.js';
import { Greeting } from './greeting.js';
import type { Identity } from './hello.js';
import type { Host } from './host.js';
import type { ConnRecord, Entry } from './ledger.js';
import { FRAGMENT, giantHeader, HALF_FRAME, strayFrame } from './odd-frames.js';
import { anything, complaint, isRecord, name, object, oneOf, stringAt } from './validate.js';
import type { Wire } from './wire.js';

const FRAME = object(
  { type: oneOf('req'), id: name, method: name, params: anything, traceparent: name, expectedProfileId: name },
  'type',
  'id',
  'method',
);

export type Answer = { readonly payload: unknown } | { readonly error: ErrorShape };

/** One WebSocket: what it says, how it ends, and its frames after the greeting. */
export class Connection {
  readonly boot: Boot;
  readonly record: ConnRecord;
  readonly wire: Wire;
  /** Set with the hello. */
  identity: Identity | undefined;
  /** Calls refused as `unauthorized role`, in a row. */
  unauthorized = 0;
  readonly #host: Host;
  readonly #ws: WebSocket;
  readonly #close: (code: number, reason: string) => void;
  readonly #greeting: Greeting;
  #stop: (() => void)[] = [];
  #seq = 0;
  #pongDue = false;

  constructor(host: Host, ws: WebSocket, wire: Wire, record: ConnRecord) {
    this.#host = host;
    this.#ws = ws;
    this.wire = wire;
    this.record = record;
    this.boot = host.boot;
    // The library answers a close frame through this method: the only place to keep it from doing so.
    const close = ws.close.bind(ws);
    this.#close = (code, reason) => close(code, reason);
    ws.close = (...args) => {
      if (host.faults.get('mute-close') === undefined) close(...args);
    };
    ws.on('message', (data, isBinary) => this.#message(data, isBinary));
    ws.on('ping', (data) => this.#pong(data));
    ws.on('pong', () => {
      this.#pongDue = false;
    });
    ws.on('error', () => {});
    ws.on('close', (code, reason) => this.#closed(code, reason.toString()));
    this.#greeting = new Greeting(host, this);
    this.#greeting.begin();
  }

  /** A hello was sent and the socket lives. */
  get online(): boolean {
    return this.identity !== undefined && this.record.open;
  }

  /** Runs `action` after `ms`, unless the connection ends first. */
  after(ms: number, action: () => void): void {
    this.#stop.push(this.boot.timers.after(ms, action));
  }

  every(ms: number, action: () => void): void {
    this.#stop.push(this.boot.timers.every(ms, action));
  }

  /** Ends it with a close frame; a reason is cut to what the protocol allows. 1005 and 1006 mean none, or no status. */
  close(code: number, reason: string): void {
    if (code === 1005 || code === 1006) {
      this.cut(code === 1005 ? 'no-status' : 'fin');
      return;
    }
    this.record.closedBy ??= 'gateway';
    let text = reason.slice(0, 123);
    while (Buffer.byteLength(text) > 123) text = text.slice(0, -1);
    this.#close(code, text);
  }

  /** Ends it below the protocol. */
  cut(cut: Cut): void {
    this.record.closedBy ??= 'gateway';
    if (cut === 'reset') this.wire.reset();
    else if (cut === 'fin') this.wire.destroy();
    else if (cut === 'mid-frame') this.wire.writeRaw(HALF_FRAME, () => this.wire.reset());
    else this.wire.writeRaw(Buffer.from([0x88, 0]), () => this.wire.end());
  }

  /** The gateway instance has gone: no close frame, no wait for one. */
  drop(): void {
    this.record.closedBy ??= 'gateway';
    this.wire.destroy();
  }

  /** A broadcast: counted. `extra` adds to the frame, or replaces what is in it. */
  event(event: string, payload: unknown, extra: Record<string, unknown> = {}): void {
    if (!this.online) return;
    this.#seq += 1;
    this.send({ type: 'event', event, payload, seq: this.#seq, ...extra });
  }

  /** An event to this connection alone: not counted. */
  targeted(event: string, payload: unknown): void {
    this.send({ type: 'event', event, payload });
  }

  healthEvent(): void {
    if (this.#host.frozen || this.#host.faults.get('no-ticks') !== undefined) return;
    this.boot.health += 1;
    const payload = { ok: true, ts: Date.now(), durationMs: 1 };
    this.event('health', payload, { stateVersion: { presence: 1, health: this.boot.health } });
  }

  send(frame: Record<string, unknown>): void {
    this.raw(JSON.stringify(frame));
  }

  raw(data: string | Buffer): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(data);
  }

  /** Answers a request; `plain` keeps the faults that spoil answers away from it. */
  respond(entry: Entry, answer: Answer, plain: boolean = false): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    entry.answered = true;
    if ('error' in answer) entry.error = errorWord(answer.error);
    const frame = { type: 'res', id: entry.id, ok: 'payload' in answer, ...answer };
    const giant = plain ? undefined : this.#host.faults.take('giant-frame');
    const wrong = plain || giant !== undefined ? undefined : this.#host.faults.take('wrong-frames');
    if (giant !== undefined) this.#giant(frame, giant);
    else if (wrong !== undefined) this.#oddly(frame, wrong);
    else this.send(frame);
    this.#host.ledger.touch();
  }

  /** A request as it enters the ledger. */
  enter(frame: Record<string, unknown>): Entry {
    return this.#host.ledger.request({
      kind: 'ws',
      conn: this.record.conn,
      bootId: this.boot.id,
      id: stringAt(frame, 'id') ?? 'invalid',
      method: stringAt(frame, 'method') ?? '',
      params: frame['params'],
    });
  }

  /** What is wrong with the shape of a frame, or undefined. */
  objection(frame: unknown): string | undefined {
    return complaint(FRAME, frame, this.#host.profile.unknownKeys);
  }

  /** A message after the hello. */
  frame(text: string): void {
    const frame = parseJson(text);
    if (frame === undefined) return;
    const wrong = this.objection(frame);
    const entry = this.enter(isRecord(frame) ? frame : {});
    if (wrong === undefined) void dispatch(this.#host, this, entry);
    else this.respond(entry, { error: invalid(`invalid request frame: ${wrong}`) });
  }

  /** The greeting is over: the deadline goes, the pings begin. */
  begin(): void {
    for (const stop of this.#stop.splice(0)) stop();
    this.every(this.#host.timings.pingIntervalMs, () => this.#ping());
    this.after(this.#host.timings.healthEventMs, () => this.healthEvent());
  }

  #message(data: RawData, isBinary: boolean): void {
    const text = data.toString();
    this.record.firstFrame ??= stringAt(parseJson(text), 'method') ?? text.slice(0, 200);
    this.#host.ledger.touch();
    if (this.#host.faults.get('echo') !== undefined) this.raw(isBinary ? Buffer.from(text) : text);
    else if (this.#host.faults.get('foreign') !== undefined) return;
    else if (this.online) this.frame(text);
    else this.#greeting.message(text);
  }

  #giant(frame: Record<string, unknown>, fault: FaultOf<'giant-frame'>): void {
    if ((fault.variant ?? 'response') === 'response') {
      this.send({ ...frame, ok: true, payload: { filler: 'x'.repeat(fault.bytes ?? 28_311_552) } });
      return;
    }
    const endless = fault.variant === 'endless';
    this.wire.writeRaw(giantHeader(endless), () => {});
    if (!endless) return;
    this.every(1, () => {
      if (!this.wire.congested) this.wire.writeRaw(FRAGMENT, () => {});
    });
  }

  /** An answer with the wrong frames around it. */
  #oddly(frame: Record<string, unknown>, fault: FaultOf<'wrong-frames'>): void {
    const variant = fault.variant ?? 'broken-json';
    const stray = strayFrame(variant);
    if (stray !== undefined) this.raw(stray);
    if (variant === 'unknown-id') this.send({ ...frame, id: `no-such-${String(frame['id'])}` });
    if (variant === 'no-result') {
      this.send({ type: 'res', id: frame['id'] });
      return;
    }
    this.send(frame);
    if (variant === 'duplicate-response') this.send(frame);
  }

  #ping(): void {
    if (this.#host.frozen || this.#host.faults.get('no-ticks') !== undefined) return;
    if (this.#pongDue) this.#ws.terminate();
    else if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping();
    this.#pongDue = true;
  }

  #pong(data: Buffer): void {
    if (this.#host.faults.get('no-ticks')?.pongs === false) return;
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.pong(data);
  }

  #closed(code: number, reason: string): void {
    for (const stop of this.#stop.splice(0)) stop();
    this.#greeting.end();
    this.record.open = false;
    this.record.closedBy ??= 'peer';
    this.record.closeCode = code;
    this.record.closeReason = reason;
    this.#host.nodes.unregister(this);
    this.#host.connections.delete(this);
    this.#host.log(`conn ${this.record.conn}: closed ${code} ${reason}`);
    this.#host.changed();
  }
}

/** Throws for a code that no close frame can carry and that names no way to end without one. */
export function assertCloseCode(code: number): void {
  const low = code >= 1000 && code <= 1014 && code !== 1004;
  if (!Number.isInteger(code) || !(low || (code >= 3000 && code <= 4999))) {
    throw new RangeError(`close code ${code}: a WebSocket can be closed with 1000–1014, but 1004, or 3000–4999`);
  }
}

/** The value, or undefined when it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}
