/** One WebSocket over one TCP or TLS connection that we open ourselves, so that every phase can be named. */
import net from 'node:net';
import tls from 'node:tls';
import { WebSocket } from 'ws';
import { type Evidence, printable } from '../core/failure.js';
import { MAX_FRAME_BYTES } from '../core/frames.js';
import { retryAfterOf } from '../core/http-verdicts.js';
import type { Phase } from '../core/vocabulary.js';
import { codeOf, describe } from './provider-error.js';

export interface SocketTarget {
  readonly url: string;
  readonly secure: boolean;
  /** SHA-256 of the certificate the peer must show, in hex. */
  readonly fingerprint: string | undefined;
  readonly ca: string | Uint8Array | undefined;
}

export interface SocketEvents {
  phase(phase: Phase): void;
  /** The upgrade was answered with 101. */
  open(): void;
  text(text: string, bytes: number): void;
  /** A ping or pong: a sign of life. */
  sign(): void;
  /** The end, once. Nothing follows it. */
  down(evidence: Evidence): void;
}

/** How much of a refused upgrade's body is kept, in characters, and how long it may take, in ms. */
const BODY_LIMIT = 200;
const BODY_DEADLINE_MS = 1000;
/** The code of an error that has none. */
const NO_CODE = 'SOCKET_ERROR';

export class GatewaySocket {
  readonly #target: SocketTarget;
  readonly #events: SocketEvents;
  #phase: Phase = 'dns';
  #raw: net.Socket | null = null;
  #ws: WebSocket | null = null;
  /** What the WebSocket writes to: the TCP connection, or TLS over it. */
  #stream: net.Socket | null = null;
  #gathering = false;
  #over = false;

  constructor(target: SocketTarget, events: SocketEvents) {
    this.#target = target;
    this.#events = events;
    this.#connect();
  }

  /** Bytes handed to the kernel's queue and not yet taken. */
  get buffered(): number {
    return this.#ws?.bufferedAmount ?? 0;
  }

  /** Hands one frame to the socket. False: it was not handed over. */
  send(text: string): boolean {
    if (this.#over || this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#gather();
    this.#ws.send(text);
    return true;
  }

  /** Frames of one turn of the loop leave in one system call: a write each was nearly half of the cost of a call (measured). */
  #gather(): void {
    const stream = this.#stream;
    if (this.#gathering || stream === null) return;
    this.#gathering = true;
    stream.cork();
    process.nextTick(() => {
      this.#gathering = false;
      stream.uncork();
    });
  }

  ping(): void {
    if (!this.#over && this.#ws?.readyState === WebSocket.OPEN) this.#ws.ping();
  }

  /** Ends a good link with a close frame; `down` follows when the peer answers. */
  close(): void {
    if (this.#over) return;
    if (this.#ws?.readyState === WebSocket.OPEN) this.#ws.close(1000);
    else this.terminate();
  }

  /** Ends the link now. No event follows. */
  terminate(): void {
    this.#over = true;
    this.#ws?.terminate();
    this.#raw?.destroy();
  }

  #enter(phase: Phase): void {
    if (this.#over) return;
    this.#phase = phase;
    this.#events.phase(phase);
  }

  #down(evidence: Evidence): void {
    if (this.#over) return;
    this.terminate();
    this.#events.down(evidence);
  }

  #connect(): void {
    const url = new URL(this.#target.url);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port === '' ? (this.#target.secure ? 443 : 80) : url.port);
    this.#enter(net.isIP(host) === 0 ? 'dns' : 'tcp');
    const raw = net.connect({ host, port, noDelay: true });
    this.#raw = raw;
    // For the life of the socket: an 'error' without a listener would end the process.
    raw.on('error', (error) => this.#failed(error));
    raw.once('lookup', (error: Error | null) => {
      if (error === null) this.#enter('tcp');
    });
    // Once there is a WebSocket, its own close tells more: the code and the reason of the close frame.
    raw.once('close', () => {
      if (this.#ws === null) this.#down({ kind: 'closed', phase: this.#phase, code: 1006, reason: '' });
    });
    raw.once('connect', () => {
      if (this.#target.secure) this.#secure(raw, host);
      else this.#upgrade(raw);
    });
  }

  #secure(raw: net.Socket, host: string): void {
    this.#enter('tls');
    const { fingerprint, ca } = this.#target;
    const secured = tls.connect({
      socket: raw,
      ...(net.isIP(host) === 0 && { servername: host }),
      host,
      ...(ca !== undefined && { ca: typeof ca === 'string' ? ca : Buffer.from(ca) }),
      // A pin replaces the chain: the certificate itself is what we trust.
      rejectUnauthorized: fingerprint === undefined,
      ALPNProtocols: ['http/1.1'],
    });
    secured.on('error', (error) => this.#failed(error));
    secured.once('secureConnect', () => {
      const seen = secured.getPeerCertificate().fingerprint256;
      if (fingerprint !== undefined && !samePin(fingerprint, seen)) {
        const message = `the certificate shows SHA-256 ${shortPin(seen)}, pinned is ${shortPin(fingerprint)}`;
        this.#down({ kind: 'trust', code: 'HOLDFAST_TLS_PIN', message });
        return;
      }
      this.#upgrade(secured);
    });
  }

  #upgrade(stream: net.Socket): void {
    this.#enter('upgrade');
    this.#stream = stream;
    const ws = new WebSocket(this.#target.url, {
      createConnection: () => stream,
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      followRedirects: false,
    });
    this.#ws = ws;
    ws.on('error', (error) => this.#failed(error));
    ws.on('unexpected-response', (_request, response) => this.#refused(response));
    ws.once('open', () => {
      if (this.#over) return;
      this.#enter('challenge');
      this.#events.open();
    });
    ws.on('message', (data: Buffer) => {
      if (!this.#over) this.#events.text(data.toString('utf8'), data.length);
    });
    ws.on('ping', () => this.#sign());
    ws.on('pong', () => this.#sign());
    ws.once('close', (code, reason) => {
      this.#down({ kind: 'closed', phase: this.#phase, code, reason: printable(reason.toString('utf8'), 123) });
    });
  }

  /** The handshake is behind us: from here on, an end is the end of a link. */
  established(): void {
    this.#phase = 'online';
  }

  /** `connect` was written. */
  handshaking(): void {
    this.#enter('hello');
  }

  #sign(): void {
    if (!this.#over) this.#events.sign();
  }

  #failed(error: unknown): void {
    const { code, message } = innermost(error);
    const text = printable(message);
    const before = this.#phase === 'dns' || this.#phase === 'tcp' || this.#phase === 'tls' || this.#phase === 'upgrade';
    // Only ws itself reports without a code: a 101 that is none, such as a wrong Sec-WebSocket-Accept.
    if (this.#phase === 'upgrade' && code === NO_CODE)
      this.#down({ kind: 'garbage', phase: 'upgrade', code: 'BAD_UPGRADE', message: text });
    else if (before) this.#down({ kind: 'socket', phase: phaseOf(error, this.#phase), code, message: text });
    else if (code.startsWith('WS_ERR_')) this.#down({ kind: 'garbage', phase: this.#phase, code, message: text });
    else this.#down({ kind: 'closed', phase: this.#phase, code: 1006, reason: code });
  }

  /** A status instead of 101. Its body is read in part, under a deadline: it may be endless. */
  #refused(response: import('node:http').IncomingMessage): void {
    const status = response.statusCode ?? 0;
    let body = '';
    const done = (): void => {
      clearTimeout(timer);
      const hint = retryAfterOf(response.headers['retry-after'] ?? null, Date.now());
      const location = originOf(response.headers.location);
      this.#down({
        kind: 'upgrade',
        status,
        body: printable(body.trim(), BODY_LIMIT),
        ...(hint !== undefined && { retryAfterMs: hint }),
        ...(location !== undefined && { location }),
      });
    };
    const timer = setTimeout(done, BODY_DEADLINE_MS);
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      body += chunk;
      if (body.length >= BODY_LIMIT) done();
    });
    response.once('end', done);
    response.once('error', done);
  }
}

/** The addresses of a name fail together in an AggregateError: the first one's code, every address in the text. */
function innermost(error: unknown): { code: string; message: string } {
  if (error instanceof AggregateError && error.errors.length > 0) {
    const parts = error.errors.map((each) => describe(each));
    return { code: codeOf(error.errors[0]) ?? codeOf(error) ?? NO_CODE, message: parts.join('; ') };
  }
  return { code: codeOf(error) ?? NO_CODE, message: describe(error) };
}

function phaseOf(error: unknown, fallback: Phase): Phase {
  if (typeof error !== 'object' || error === null || !('syscall' in error)) return fallback;
  if (error.syscall === 'getaddrinfo') return 'dns';
  return error.syscall === 'connect' ? 'tcp' : fallback;
}

/** Where a redirect points, without path and query: those may carry a secret. */
function originOf(location: string | undefined): string | undefined {
  return location !== undefined && URL.canParse(location) ? new URL(location).origin : undefined;
}

function samePin(pin: string, seen: string | undefined): boolean {
  return seen !== undefined && plainPin(pin) === plainPin(seen);
}

function plainPin(pin: string): string {
  return pin
    .replace(/^sha256:/i, '')
    .replace(/[^0-9a-f]/gi, '')
    .toLowerCase();
}

function shortPin(pin: string | undefined): string {
  return pin === undefined ? 'nothing' : `${plainPin(pin).slice(0, 16)}…`;
}
