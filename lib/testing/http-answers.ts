import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

export type Headers = Readonly<Record<string, string>>;

const JSON_HEADERS: Headers = {
  'content-type': 'application/json; charset=utf-8',
  'x-content-type-options': 'nosniff',
};

/** Answers with JSON; a HEAD request gets the headers alone. */
export function json(response: ServerResponse, status: number, body: unknown, headers: Headers = {}): void {
  send(response, status, JSON.stringify(body), { ...JSON_HEADERS, ...headers });
}

export function plain(response: ServerResponse, status: number, body: string, headers: Headers = {}): void {
  send(response, status, body, { 'content-type': 'text/plain; charset=utf-8', ...headers });
}

export function html(response: ServerResponse): void {
  send(response, 200, HTML, { 'content-type': 'text/html; charset=utf-8' });
}

function send(response: ServerResponse, status: number, body: string, headers: Headers): void {
  if (response.destroyed || response.headersSent) return;
  response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) });
  response.end(body);
}

/** What the catch-all of the Control UI answers. */
export const HTML = '<!doctype html><html><head><title>OpenClaw Control</title></head><body></body></html>\n';

export const UNAVAILABLE_BODY: unknown = {
  error: {
    message: 'Gateway is temporarily unavailable while suspending or restarting',
    type: 'service_unavailable',
    code: 'gateway_unavailable',
  },
};

export function errorBody(message: string, type: string): unknown {
  return { error: { message, type } };
}

/** An HTTP answer to an upgrade, written on the bare stream. */
export function answerUpgrade(stream: Duplex, status: number, body: string, headers: Headers = {}): void {
  const all: Headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'close',
    ...headers,
  };
  stream.end(head(status, all) + body);
}

export function head(status: number, headers: Headers): string {
  const lines = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n${lines.join('')}\r\n`;
}

/** The body of a request, at most `limit` bytes of it. */
export async function readBody(request: IncomingMessage, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
