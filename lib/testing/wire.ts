import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Timers } from './timers.js';

/** flow: bytes pass. hold: nothing is read or written for now. drop: both directions vanish, and no FIN is ever sent. */
type Flow = 'flow' | 'hold' | 'drop';

export interface Pace {
  /** Delay of both directions, in milliseconds. */
  latencyMs?: number;
  /** What is written leaves in slices of this many bytes … */
  bytes?: number;
  /** … one every so many milliseconds. */
  intervalMs?: number;
}

/**
 * One TCP connection, seen by the servers above it as a plain stream. It sits between them and the socket so that a
 * link can be frozen, slowed or made half-open without their knowledge, as a broken network would.
 */
export class Wire extends Duplex {
  readonly number: number;
  readonly acceptedAt: number = Date.now();
  readonly remoteAddress: string;
  readonly #socket: Socket;
  readonly #timers: Timers = new Timers();
  readonly #pace: Pace;
  #flow: Flow = 'flow';
  #held: (() => void)[] = [];

  constructor(socket: Socket, number: number, pace: Pace) {
    super({ allowHalfOpen: true });
    this.number = number;
    this.remoteAddress = socket.remoteAddress ?? '';
    this.#socket = socket;
    this.#pace = pace;
    // Whoever reads the wire learns of an error by its close; without a listener it would end the process.
    this.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#arrive(chunk));
    socket.on('end', () => this.#arrive(null));
    socket.on('error', () => {});
    socket.on('close', () => this.#lost());
    socket.pause();
  }

  /** Holds the link or lets it go on. One that has vanished stays so: the far side has long given it up. */
  setFlow(flow: 'flow' | 'hold'): void {
    if (this.#flow === 'drop' || this.#flow === flow) return;
    this.#flow = flow;
    if (flow === 'hold') {
      this.#socket.pause();
      return;
    }
    const held = this.#held;
    this.#held = [];
    for (const action of held) action();
    this.#socket.resume();
  }

  /** The link vanishes; with `reset` the next thing the peer sends is answered with RST. */
  vanish(reset: boolean): void {
    this.setFlow('flow');
    this.#flow = 'drop';
    this.#socket.resume();
    if (reset) this.#socket.once('data', () => this.#socket.resetAndDestroy());
  }

  /** RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
    this.destroy();
  }

  /** The peer does not read as fast as bytes are written. */
  get congested(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Bytes below the protocol, e.g. half a frame. `then` runs when they have left. */
  writeRaw(bytes: Buffer, then: () => void): void {
    this.#socket.write(bytes, then);
  }

  override _read(): void {
    if (this.#flow !== 'hold') this.#socket.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#flow === 'drop') done();
    else if (this.#flow === 'hold') this.#held.push(() => this._write(chunk, encoding, done));
    else if (this.#pace.bytes !== undefined) this.#trickle(chunk, done);
    else if (this.#pace.latencyMs !== undefined) {
      this.#timers.after(this.#pace.latencyMs, () => this.#socket.write(chunk));
      done();
    } else this.#socket.write(chunk, () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#flow === 'hold') this.#held.push(() => this._final(done));
    else {
      if (this.#flow === 'flow') this.#timers.after(this.#pace.latencyMs ?? 0, () => this.#socket.end());
      done();
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // Of a vanished link the socket is kept: destroying it would send the very FIN that must never come.
    if (this.#flow !== 'drop') this.#socket.destroy();
    this.#timers.clear();
    this.#held = [];
    done(error);
  }

  #trickle(chunk: Buffer, done: () => void): void {
    const bytes = this.#pace.bytes ?? 1;
    this.#socket.write(chunk.subarray(0, bytes));
    this.#timers.after(this.#pace.intervalMs ?? 1000, () => {
      if (chunk.length <= bytes) done();
      else this.#trickle(chunk.subarray(bytes), done);
    });
  }

  #arrive(chunk: Buffer | null): void {
    if (this.#pace.latencyMs !== undefined) this.#timers.after(this.#pace.latencyMs, () => this.#deliver(chunk));
    else this.#deliver(chunk);
  }

  #deliver(chunk: Buffer | null): void {
    if (this.#flow === 'drop' || this.destroyed) return;
    if (!this.push(chunk)) this.#socket.pause();
  }

  #lost(): void {
    if (this.#flow !== 'drop') this.destroy();
  }
}
