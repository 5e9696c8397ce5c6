// The gateway's wire, spoken by hand: the harness must not depend on the library it judges.
import { request as httpRequest } from 'node:http';
import { WebSocket } from 'ws';

export interface RawEvent {
  readonly event: string;
  readonly payload: unknown;
}

export interface RawClose {
  readonly code: number;
  readonly reason: string;
}

export interface RawHello {
  readonly protocol: number;
  readonly version: string;
  readonly connId: string;
  readonly bootId?: string;
}

/** What a gateway answered with `ok: false`. */
export class RawError extends Error {
  readonly code: string;
  readonly details: unknown;

  constructor(code: string, message: string, details: unknown) {
    super(message);
    this.name = 'RawError';
    this.code = code;
    this.details = details;
  }
}

/** One operator connection without any recovery. */
export interface RawOperator {
  readonly hello: RawHello;
  readonly events: readonly RawEvent[];
  /** Resolves when the socket has closed. */
  readonly closed: Promise<RawClose>;
  call(method: string, params: unknown, timeout?: number): Promise<unknown>;
  close(): void;
}

interface Pending {
  readonly resolve: (payload: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Dials and waits for hello-ok. `timeout` covers TCP, upgrade, challenge and hello together. */
export function dial(url: string, token: string, timeout: number): Promise<RawOperator> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const pending = new Map<string, Pending>();
    const events: RawEvent[] = [];
    let lastId = 0;
    let close: RawClose | undefined;
    let settleClosed: (close: RawClose) => void = () => {};
    const closed = new Promise<RawClose>((settle) => {
      settleClosed = settle;
    });

    const timer = setTimeout(() => {
      reject(new Error(`no hello-ok within ${timeout} ms`));
      socket.terminate();
    }, timeout);

    const send = (method: string, params: unknown): Promise<unknown> => {
      if (close) return Promise.reject(new Error(`the connection is closed: ${close.code} ${close.reason}`));
      const id = String(++lastId);
      return new Promise((settle, fail) => {
        pending.set(id, { resolve: settle, reject: fail });
        socket.send(JSON.stringify({ type: 'req', id, method, params }));
      });
    };

    const connect = async (): Promise<void> => {
      const payload = await send('connect', {
        minProtocol: 3,
        maxProtocol: 4,
        client: { id: 'gateway-client', version: '0.0.1', platform: process.platform, mode: 'backend' },
        role: 'operator',
        scopes: ['operator.admin', 'operator.read', 'operator.write'],
        caps: [],
        auth: { token },
      });
      clearTimeout(timer);
      resolve({
        hello: helloOf(payload),
        events,
        closed,
        call: (method, params, limit = 30_000) => withTimeout(send(method, params), limit, method),
        close: () => socket.terminate(),
      });
    };

    socket.on('message', (data) => {
      const frame: unknown = JSON.parse(String(data));
      if (!isRecord(frame)) return;
      if (frame['type'] === 'event' && typeof frame['event'] === 'string') {
        events.push({ event: frame['event'], payload: frame['payload'] });
        if (frame['event'] === 'connect.challenge') connect().catch(reject);
      } else if (frame['type'] === 'res' && typeof frame['id'] === 'string') {
        const waiting = pending.get(frame['id']);
        pending.delete(frame['id']);
        if (frame['ok'] === true) waiting?.resolve(frame['payload']);
        else waiting?.reject(errorOf(frame['error']));
      }
    });
    // `close` follows with what matters.
    socket.on('error', (error) => reject(error));
    socket.on('close', (code, reason) => {
      clearTimeout(timer);
      close = { code, reason: reason.toString() };
      const error = new Error(`closed: ${code} ${close.reason}`);
      reject(error);
      for (const waiting of pending.values()) waiting.reject(error);
      pending.clear();
      settleClosed(close);
    });
  });
}

/** Dials again until hello-ok. `give` may say early why it is pointless to go on. */
export async function dialUntilHello(
  url: string,
  token: string,
  timeout: number,
  give: () => string | undefined = () => undefined,
): Promise<RawOperator> {
  const end = performance.now() + timeout;
  let last: unknown;
  while (performance.now() < end) {
    const verdict = give();
    if (verdict !== undefined) throw new Error(verdict);
    try {
      // Above the 5 s for which 9.6 holds back its answer to a wrong token.
      return await dial(url, token, Math.min(10_000, Math.max(1, end - performance.now())));
    } catch (error) {
      last = error;
    }
    await new Promise((settle) => setTimeout(settle, 50));
  }
  throw new Error(`no hello-ok within ${timeout} ms, last: ${last instanceof Error ? last.message : String(last)}`);
}

/** GET /readyz on a connection of its own; true only for the JSON that says so. */
export function isReady(httpUrl: string, timeout = 5000): Promise<boolean> {
  return new Promise((resolve) => {
    const req = httpRequest(`${httpUrl}/readyz`, { agent: false, timeout }, (res) => {
      let body = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        body += chunk;
      });
      res.on('error', () => resolve(false));
      res.on('end', () => resolve(res.statusCode === 200 && saysReady(body)));
    });
    req.on('timeout', () => req.destroy());
    req.on('error', () => resolve(false));
    req.on('close', () => resolve(false));
    req.end();
  });
}

function saysReady(body: string): boolean {
  try {
    const parsed: unknown = JSON.parse(body);
    return isRecord(parsed) && parsed['ready'] === true;
  } catch {
    return false;
  }
}

function helloOf(payload: unknown): RawHello {
  const server = isRecord(payload) ? payload['server'] : undefined;
  if (
    !isRecord(payload) ||
    payload['type'] !== 'hello-ok' ||
    typeof payload['protocol'] !== 'number' ||
    !isRecord(server)
  ) {
    throw new Error('the answer to connect is no hello-ok');
  }
  const { version, connId, bootId } = server;
  if (typeof version !== 'string' || typeof connId !== 'string') throw new Error('hello-ok names no server');
  return { protocol: payload['protocol'], version, connId, ...(typeof bootId === 'string' ? { bootId } : {}) };
}

function errorOf(error: unknown): Error {
  if (!isRecord(error)) return new Error('a refusal without error');
  return new RawError(String(error['code']), String(error['message']), error['details']);
}

function withTimeout<T>(promise: Promise<T>, timeout: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: no answer within ${timeout} ms`)), timeout);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
