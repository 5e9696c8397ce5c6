import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { AcceptVariant } from './faults.js';
import type { Host } from './host.js';
import { answerUpgrade, HTML, head } from './http-answers.js';

/** Decides on the upgrade of one connection: an HTTP answer, a broken 101, or a WebSocket. */
export class Upgrader {
  readonly #host: Host;
  readonly #server: WebSocketServer;

  constructor(host: Host) {
    this.#host = host;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: host.limits.maxPayload,
    });
  }

  upgrade(request: IncomingMessage, stream: Duplex, rest: Buffer, accepted: (ws: WebSocket) => void): void {
    if (this.#refuse(stream)) return;
    const slow = this.#host.faults.take('slow-upgrade');
    const go = (): void => {
      if (stream.destroyed) return;
      const bad = this.#host.faults.take('bad-accept');
      if (bad !== undefined) breakAccept(request, stream, bad.variant ?? 'accept');
      else this.#server.handleUpgrade(request, stream, rest, accepted);
    };
    if (slow === undefined) go();
    else this.#host.boot.timers.after(slow.ms ?? 6000, go);
  }

  /** True when the upgrade was answered with an HTTP status. */
  #refuse(stream: Duplex): boolean {
    const { faults, gate, profile, boot, limits, connections } = this.#host;
    if (faults.get('not-a-gateway') !== undefined) {
      answerUpgrade(stream, 200, HTML, { 'Content-Type': 'text/html; charset=utf-8' });
      return true;
    }
    const fault = faults.take('http-status');
    if (fault?.endless === true) this.#endless(stream, fault.status, fault.headers ?? {});
    else if (fault !== undefined) answerUpgrade(stream, fault.status, fault.body ?? '', fault.headers);
    if (fault !== undefined) return true;
    const draining = gate === 'gateway-restarting' && faults.get('stuck-drain')?.upgrades !== 'accept';
    const waiting = [...connections].filter((connection) => !connection.online).length;
    const text = draining
      ? 'Gateway websocket admission closed'
      : boot.fenced && !profile.drainGate
        ? 'Service Unavailable'
        : waiting >= limits.preauthSockets
          ? 'Too many unauthenticated sockets'
          : undefined;
    if (text !== undefined) answerUpgrade(stream, 503, text);
    return text !== undefined;
  }

  /** Headers and the beginning of a body whose end never comes. */
  #endless(stream: Duplex, status: number, headers: Readonly<Record<string, string>>): void {
    stream.write(head(status, { 'Transfer-Encoding': 'chunked', ...headers }));
    const stop = this.#host.boot.timers.every(50, () => stream.write('4\r\nwait\r\n'));
    stream.once('close', stop);
  }
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** A 101 that a client must not accept. */
function breakAccept(request: IncomingMessage, stream: Duplex, variant: AcceptVariant): void {
  const key = String(request.headers['sec-websocket-key'] ?? '');
  const good = createHash('sha1').update(`${key}${GUID}`).digest('base64');
  const headers: Record<string, string> = {
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Accept': variant === 'accept' ? 'bm90IHRoZSByaWdodCBrZXk=' : good,
  };
  if (variant === 'subprotocol') headers['Sec-WebSocket-Protocol'] = 'nobody-offered';
  if (variant === 'extension') headers['Sec-WebSocket-Extensions'] = 'x-nobody-offered';
  if (variant === 'headers') {
    for (let index = 0; index < 1024; index++) headers[`X-Filler-${index}`] = 'x'.repeat(1000);
  }
  stream.write(head(101, headers));
}
