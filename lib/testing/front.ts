import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { Boot } from './boot.js';
import { Connection } from './connection.js';
import type { Host } from './host.js';
import { serve } from './http.js';
import type { ConnRecord } from './ledger.js';
import { Upgrader } from './upgrade.js';
import type { Wire } from './wire.js';

interface Link {
  readonly wire: Wire;
  readonly boot: Boot;
  readonly record: ConnRecord;
  requests: number;
}

/** What stands between the port and the routes: HTTP on every connection, WebSocket on those that ask for it. */
export class Front {
  readonly #host: Host;
  readonly #http: Server;
  readonly #upgrader: Upgrader;
  readonly #secure: SecureContext | undefined;
  readonly #links: WeakMap<Duplex, Link> = new WeakMap();
  readonly #plain: Set<Link> = new Set();

  constructor(host: Host, tls: { key: string | Buffer; cert: string | Buffer } | undefined) {
    this.#host = host;
    this.#upgrader = new Upgrader(host);
    this.#secure = tls === undefined ? undefined : createSecureContext(tls);
    this.#http = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      const link = this.#links.get(request.socket);
      if (link === undefined) return;
      link.requests += 1;
      response.once('close', () => {
        link.requests -= 1;
        if (link.boot.closing && link.requests === 0 && !host.profile.lyingKeepAlive) link.wire.destroy();
      });
      serve(host, link.boot, link.record.conn, link.wire.remoteAddress, request, response).catch(() => {
        response.destroy();
      });
    });
    this.#http.on('upgrade', (request, stream, rest) => {
      const link = this.#links.get(stream);
      if (link === undefined) return;
      this.#upgrader.upgrade(request, stream, rest, (ws) => {
        this.#plain.delete(link);
        link.record.upgraded = true;
        host.connections.add(new Connection(host, ws, link.wire, link.record));
        host.changed();
      });
    });
    this.#http.on('clientError', (_error, stream) => stream.destroy());
  }

  /** Serves one accepted connection. */
  take(wire: Wire, record: ConnRecord): void {
    const link: Link = { wire, boot: this.#host.boot, record, requests: 0 };
    const stream = this.#secure === undefined ? wire : this.#encrypted(wire, this.#secure);
    this.#links.set(stream, link);
    this.#plain.add(link);
    wire.on('close', () => this.#plain.delete(link));
    this.#http.emit('connection', stream);
  }

  /** The instance closes: idle HTTP connections end, except where old versions keep them. */
  closeIdle(): void {
    if (this.#host.profile.lyingKeepAlive) return;
    for (const link of [...this.#plain]) {
      if (link.requests === 0) link.wire.destroy();
    }
  }

  /** Ends every HTTP connection of an instance that has gone. */
  closeAll(boot: Boot): void {
    for (const link of [...this.#plain]) {
      if (link.boot === boot) link.wire.destroy();
    }
  }

  reset(response: ServerResponse): void {
    const link = response.socket === null ? undefined : this.#links.get(response.socket);
    link?.wire.reset();
  }

  #encrypted(wire: Wire, secureContext: SecureContext): TLSSocket {
    const socket = new TLSSocket(wire, { isServer: true, secureContext });
    socket.on('error', () => {});
    return socket;
  }
}
