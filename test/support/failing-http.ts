/** Real HTTP servers on loopback that fail as servers fail: what no mock has the shape of. */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request as the server read it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** Number of its TCP connection, from 1. */
  readonly conn: number;
  /** Resolves when its connection is gone, as the server sees it. */
  readonly closed: Promise<void>;
}

/** What becomes of one request. */
export type Behaviour = (response: http.ServerResponse, seen: Seen) => void;

export interface FailingHttp extends AsyncDisposable {
  readonly url: string;
  readonly httpUrl: string;
  /** Whole requests, oldest first. */
  readonly requests: readonly Seen[];
  /** TCP connections accepted. */
  readonly dials: number;
  /** Resolves with the `count`-th request. */
  request(count: number): Promise<Seen>;
}

/** Each request takes the next behaviour; the last one stays. */
export async function failingHttp(...script: readonly Behaviour[]): Promise<FailingHttp> {
  const requests: Seen[] = [];
  const sockets = new WeakMap<Socket, { readonly conn: number; readonly closed: Promise<void> }>();
  const waiting = new Set<() => void>();
  let dials = 0;
  const server = http.createServer(async (request, response) => {
    const { socket } = request;
    const { conn = 0, closed = Promise.resolve() } = sockets.get(socket) ?? {};
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(Buffer.from(chunk));
    } catch {
      return;
    }
    const { method = '', url: path = '', headers } = request;
    const seen: Seen = { method, path, headers, body: Buffer.concat(chunks).toString(), conn, closed };
    requests.push(seen);
    script[Math.min(requests.length, script.length) - 1]?.(response, seen);
    for (const look of [...waiting]) look();
  });
  server.on('connection', (socket) => {
    dials += 1;
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
    });
    sockets.set(socket, { conn: dials, closed });
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}`,
    httpUrl: `http://127.0.0.1:${port}`,
    requests,
    get dials() {
      return dials;
    },
    request: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          const seen = requests[count - 1];
          if (seen === undefined) return;
          waiting.delete(look);
          resolve(seen);
        };
        waiting.add(look);
        look();
      }),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

const JSON_TYPE = { 'content-type': 'application/json' };
const EVENTS_TYPE = { 'content-type': 'text/event-stream' };
export const EVENT: string = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'word ' } }] })}\n\n`;

export function answers(status = 200, body: unknown = { ok: true }, headers: http.OutgoingHttpHeaders = {}): Behaviour {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return (response) => {
    response.writeHead(status, { ...JSON_TYPE, ...headers });
    response.end(text);
  };
}

/** RST when the request has been read, before any header. */
export const resets: Behaviour = (response) => {
  response.socket?.resetAndDestroy();
};

/** FIN when the request has been read, before any header. */
export const hangsUp: Behaviour = (response) => {
  response.socket?.destroy();
};

/** Headers never come. */
export const neverAnswers: Behaviour = () => {};

/** Announces more than it sends, and hangs up. */
export const cutsBody: Behaviour = (response) => {
  response.writeHead(200, { ...JSON_TYPE, 'content-length': '1000' });
  response.write('{"half":"', () => response.socket?.destroy());
};

/** Breaks off a body that announces no length. */
export const cutsStream: Behaviour = (response) => {
  response.writeHead(200, EVENTS_TYPE);
  response.write(EVENT, () => response.socket?.destroy());
};

/** Half of a JSON text, ended as if it were all. */
export const truncates: Behaviour = (response) => {
  response.writeHead(200, JSON_TYPE);
  response.end('{"half":"of i');
};

/** So many events, then nothing more; the connection stays open. */
export function stallsAfter(events: number): Behaviour {
  return (response) => {
    response.writeHead(200, EVENTS_TYPE);
    response.write(EVENT.repeat(events));
  };
}

/** One byte every `ms`, for ever. */
export function drips(ms: number): Behaviour {
  return (response) => {
    response.writeHead(200, JSON_TYPE);
    response.flushHeaders();
    const timer = setInterval(() => response.write(' '), ms);
    response.once('close', () => clearInterval(timer));
  };
}

export function redirects(status: number, location: string): Behaviour {
  return (response) => {
    response.writeHead(status, { location });
    response.end('elsewhere');
  };
}

/** Accepts connections and closes each at once: `fetch` has written its request by then, or has not. */
export async function closesOnAccept(): Promise<
  { readonly httpUrl: string; readonly dials: number } & AsyncDisposable
> {
  let dials = 0;
  const server = http.createServer();
  server.on('connection', (socket) => {
    dials += 1;
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    httpUrl: `http://127.0.0.1:${port}`,
    get dials() {
      return dials;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}
