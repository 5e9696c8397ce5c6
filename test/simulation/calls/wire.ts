/** The link of the simulated client: the scripted dials of the driver's own simulation, and frames between both ends. */
import { isRecord } from '../../../lib/core/failure.js';
import { parseFrame, type ResponseFrame } from '../../../lib/core/frames.js';
import type { Event } from '../../../lib/core/machine.js';
import type { LinkPort } from '../../../lib/io/driver.js';
import type { Request, ScriptedGateway } from '../../support/scripted-gateway.js';
import { ScriptedPeer } from '../../support/scripted-peer.js';
import type { VirtualRuntime } from '../../support/virtual-runtime.js';
import { Connection } from './connection.js';

export interface WireEvents {
  push(event: Event): void;
  /** Told before the machine hears of the hello, as the real link does. */
  hello(bootId: string): void;
  response(frame: ResponseFrame): void;
  /** A frame was handed over. */
  sent(request: Request): void;
  broken(what: string): void;
}

/** So many refused frames at one instant are a loop that would never end. */
const TIGHT = 10_000;

export class Wire implements LinkPort {
  /** Dials and closes; scripts move it. */
  readonly link: ScriptedPeer;
  readonly #runtime: VirtualRuntime;
  readonly #gateway: ScriptedGateway;
  readonly #events: WireEvents;
  #connection: Connection | null = null;
  #heardAt = 0;
  /** The socket is closing: it takes nothing more, and its end is not told yet. */
  #closing = false;
  #refusals = { at: 0, count: 0 };

  constructor(runtime: VirtualRuntime, gateway: ScriptedGateway, events: WireEvents) {
    this.#runtime = runtime;
    this.#gateway = gateway;
    this.#events = events;
    this.link = new ScriptedPeer(runtime, (event) => this.#pass(event));
    this.link.bootId = gateway.bootId;
  }

  dial(epoch: number): void {
    this.#drop();
    this.link.dial(epoch);
  }

  hangUp(how: 'terminate' | 'close'): void {
    if (how === 'terminate') this.#drop();
    this.#closing = true;
    this.link.hangUp(how);
  }

  ping(): void {
    this.link.ping();
  }

  watchReadiness(epoch: number): void {
    this.link.watchReadiness(epoch);
  }

  heardAt(): number {
    return Math.max(this.#heardAt, this.link.heardAt());
  }

  /** False: nothing was handed over. */
  send(text: string): boolean {
    const connection = this.#connection;
    if (connection === null || this.#closing) {
      return this.#refused();
    }
    const request: unknown = JSON.parse(text);
    if (!isRequest(request)) throw new Error(`not a request that every gateway reads: ${text}`);
    connection.send(request);
    this.#events.sent(request);
    return true;
  }

  /** What the gateway does to the link that is up, if one is. */
  toClient(act: (connection: Connection) => void): void {
    if (this.#connection !== null) act(this.#connection);
  }

  /** The network ends the link; the socket is `closing` for a while before its end is told. */
  cut(code: number, closingFor: number): void {
    this.#connection?.sever();
    if (this.#connection === null || !this.link.sound) return;
    if (closingFor === 0) {
      this.link.close(code);
      return;
    }
    this.#closing = true;
    const connection = this.#connection;
    this.#runtime.setTimer(() => {
      if (this.#connection === connection) this.link.close(code);
    }, closingFor);
  }

  /** Half-open: nothing gets through, and nobody is told. */
  deafen(): void {
    this.#connection?.sever();
    this.link.deafen();
  }

  /** A frozen gateway runs again; a link that was cut meanwhile stays dead. */
  thaw(): void {
    if (this.#connection?.open !== false) this.link.undeafen();
  }

  #pass(event: Event): void {
    if (event.type === 'down') this.#drop();
    if (event.type !== 'hello') {
      this.#events.push(event);
      return;
    }
    if (!this.#gateway.alive) {
      // The process died while the handshake was under way.
      const evidence = { kind: 'closed', phase: 'hello', code: 1006, reason: '' } as const;
      this.#events.push({ type: 'down', epoch: event.epoch, evidence });
      return;
    }
    this.#heardAt = this.#runtime.now();
    this.#closing = false;
    const { bootId } = this.#gateway;
    const connection = new Connection(this.#gateway, {
      text: (frame) => this.#text(connection, frame),
      shutdown: (expected) => {
        if (this.#isUp(connection)) this.link.shutdown(expected);
      },
      closed: (code, reason) => {
        if (this.#isUp(connection)) this.link.close(code, reason);
      },
    });
    this.#connection = connection;
    this.#events.hello(bootId);
    this.#events.push({ ...event, hello: { ...event.hello, identity: { bootId, connId: `conn-${event.epoch}` } } });
  }

  #isUp(connection: Connection): boolean {
    return this.#connection === connection && this.link.sound;
  }

  #text(connection: Connection, text: string): void {
    if (!this.#isUp(connection)) return;
    this.#heardAt = this.#runtime.now();
    const parsed = parseFrame(text);
    if (!parsed.ok || parsed.frame.type !== 'res') throw new Error(`the script sent what is no answer: ${text}`);
    this.#events.response(parsed.frame);
  }

  #drop(): void {
    this.#connection?.sever();
    this.#connection = null;
  }

  /** Whoever tries for ever is told that it was taken, so that the loop ends and can be reported. */
  #refused(): boolean {
    const now = this.#runtime.now();
    this.#refusals = { at: now, count: this.#refusals.at === now ? this.#refusals.count + 1 : 1 };
    if (this.#refusals.count <= TIGHT) return false;
    this.#events.broken(`${TIGHT} frames tried on a closing socket at once: a tight loop`);
    return true;
  }
}

/** 2026.4.26 refuses a frame with any other key. */
function isRequest(value: unknown): value is Request {
  return (
    isRecord(value) &&
    Object.keys(value).join() === 'type,id,method,params' &&
    value['type'] === 'req' &&
    typeof value['id'] === 'string' &&
    typeof value['method'] === 'string' &&
    isRecord(value['params'])
  );
}
