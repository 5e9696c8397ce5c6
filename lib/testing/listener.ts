import { createServer, type Server, type Socket } from 'node:net';
import type { FaultSet } from './fault-set.js';
import { type Pace, Wire } from './wire.js';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly faults: FaultSet;
  /** A connection that the gateway above is to serve. */
  readonly onWire: (wire: Wire) => void;
  /** Every TCP connection, served or not. */
  readonly onDial: (number: number, socket: Socket) => void;
}

const BIND_LIMIT_MS = 5000;

/** The port: opens, closes, opens again, and breaks connections below HTTP when a fault asks for it. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #sockets: Set<Socket> = new Set();
  readonly #wires: Set<Wire> = new Set();
  /** Accepted and never served. */
  readonly #stuck: Set<Socket> = new Set();
  #server: Server | undefined;
  #wanted = false;
  #frozen = false;
  #bound = false;
  #port: number;
  #dials = 0;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  get port(): number {
    return this.#port;
  }

  get dials(): number {
    return this.#dials;
  }

  get listening(): boolean {
    return this.#server?.listening ?? false;
  }

  get wires(): ReadonlySet<Wire> {
    return this.#wires;
  }

  /** Resolves when the port accepts, or at once while the fault `refuse` keeps it closed. */
  async open(): Promise<void> {
    this.#wanted = true;
    await this.#bind();
  }

  /** New dials are refused from here on; connections that exist live on. */
  close(): void {
    this.#wanted = false;
    this.#unbind();
  }

  /** Follows the faults that close the port or kill links. */
  async follow(): Promise<void> {
    if (this.#options.faults.get('refuse') !== undefined) this.#unbind();
    else if (this.#wanted) await this.#bind();
  }

  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    for (const wire of this.#wires) wire.setFlow(frozen ? 'hold' : 'flow');
  }

  /** Makes every live link half-open. */
  vanish(reset: boolean): void {
    for (const wire of this.#wires) wire.vanish(reset);
  }

  /** Ends every connection without a word. Those that have vanished are ended only by `all`: nobody must hear of it. */
  destroyAll(all: boolean): void {
    for (const wire of [...this.#wires]) wire.destroy();
    for (const socket of [...this.#stuck]) socket.destroy();
    if (all) for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** Resolves when every connection has ended. */
  async drained(): Promise<void> {
    await Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  }

  async #bind(): Promise<void> {
    const until = Date.now() + BIND_LIMIT_MS;
    while (this.#wanted && this.#server === undefined && this.#options.faults.get('refuse') === undefined) {
      const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
      this.#server = server;
      try {
        this.#port = await listen(server, this.#options.host, this.#port);
        this.#bound = true;
        // Closed again while it was opening.
        if (this.#server !== server) server.close();
        return;
      } catch (error) {
        if (this.#server === server) this.#server = undefined;
        // A port that was ours before comes back; one that somebody else has at the start does not.
        if (!this.#bound || !isAddressInUse(error) || Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  #unbind(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  #accept(socket: Socket): void {
    this.#dials += 1;
    const number = this.#dials;
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#stuck.delete(socket);
    });
    socket.setNoDelay(true);
    this.#options.onDial(number, socket);
    if (this.#break(socket)) return;
    const wire = new Wire(socket, number, this.#pace());
    this.#wires.add(wire);
    wire.on('close', () => this.#wires.delete(wire));
    if (this.#frozen) wire.setFlow('hold');
    this.#options.onWire(wire);
  }

  /** True when a fault has dealt with the connection: it never reaches the gateway. */
  #break(socket: Socket): boolean {
    const { faults } = this.#options;
    const reset = faults.take('reset-on-accept');
    if (reset !== undefined) {
      if (reset.after === 'request') socket.once('data', () => socket.resetAndDestroy());
      else socket.resetAndDestroy();
      return true;
    }
    if (faults.take('close-on-accept') !== undefined) {
      socket.end();
      socket.resume();
      socket.on('end', () => socket.destroy());
      return true;
    }
    if (faults.take('silent') !== undefined) {
      this.#stuck.add(socket);
      return true;
    }
    const banner = faults.take('banner');
    if (banner !== undefined) {
      socket.write(banner.text ?? 'SSH-2.0-OpenSSH_9.9\r\n');
      socket.resume();
      socket.on('end', () => socket.end());
      return true;
    }
    if (faults.get('half-open')?.fresh === 'dead') {
      socket.resume();
      return true;
    }
    return false;
  }

  #pace(): Pace {
    const { faults } = this.#options;
    const trickle = faults.take('trickle');
    if (trickle !== undefined) return { bytes: trickle.bytes ?? 1, intervalMs: trickle.intervalMs ?? 1000 };
    const slow = faults.take('slow-link');
    return slow === undefined ? {} : { latencyMs: slow.latencyMs ?? 1500 };
  }
}

/**
 * Port 0 takes a port below the range that systems use for outgoing connections: while the gateway is down, nobody's
 * dial can be given the port as its own end, or connect to itself.
 */
async function listen(server: Server, host: string, port: number): Promise<number> {
  if (port !== 0) return await listenOn(server, host, port);
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      return await listenOn(server, host, 20_000 + Math.floor(Math.random() * 12_000));
    } catch (error) {
      if (!isAddressInUse(error)) throw error;
    }
  }
  return await listenOn(server, host, 0);
}

function listenOn(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('close', () => resolve(port));
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

function isAddressInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EADDRINUSE' || error.code === 'EACCES');
}
