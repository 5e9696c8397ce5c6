import { once } from 'node:events';
import { type ClientOptions, type RawData, WebSocket } from 'ws';
import { createTestGateway, type TestGateway, type TestGatewayOptions } from '../../lib/testing/index.js';

/** A frame as it came, not interpreted. */
export interface Frame {
  readonly type?: string;
  readonly id?: string;
  readonly ok?: boolean;
  readonly event?: string;
  readonly seq?: number;
  readonly payload?: Record<string, unknown>;
  readonly error?: Record<string, unknown>;
}

const PATIENCE_MS = 3000;

/** A client without any manners: it sends what it is told and keeps what it hears. */
export class RawClient {
  readonly frames: Frame[] = [];
  readonly texts: string[] = [];
  readonly ws: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  pings = 0;
  #ids = 0;
  #news: (() => void)[] = [];

  constructor(url: string, options: ClientOptions = {}) {
    this.ws = new WebSocket(url, options);
    this.ws.on('message', (data: RawData) => this.#heard(data.toString()));
    this.ws.on('ping', () => {
      this.pings += 1;
      this.#tell();
    });
    this.ws.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.ws.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.#tell();
      });
    });
  }

  static async open(url: string, options: ClientOptions = {}): Promise<RawClient> {
    const client = new RawClient(url, options);
    await once(client.ws, 'open');
    return client;
  }

  /** The first frame, past or future, that fits. */
  async frame(fits: (frame: Frame) => boolean): Promise<Frame> {
    await this.until(() => this.frames.some(fits));
    return this.frames.find(fits) ?? {};
  }

  event(name: string): Promise<Frame> {
    return this.frame((frame) => frame.event === name);
  }

  async until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!condition()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`nothing fits; heard: ${this.texts.join('\n').slice(0, 2000)}`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#news.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  send(frame: unknown): void {
    this.ws.send(JSON.stringify(frame));
  }

  /** Status and body of the HTTP answer to an upgrade that was refused. */
  refusal(): Promise<string> {
    return new Promise((resolve) => {
      this.ws.on('unexpected-response', (_request, answer) => {
        answer.setEncoding('utf8');
        answer.once('data', (body: string) => resolve(`${answer.statusCode} ${body}`));
        answer.once('end', () => resolve(`${answer.statusCode} `));
      });
    });
  }

  /** Sends a request and returns its id. */
  request(method: string, params?: unknown): string {
    this.#ids += 1;
    const id = `r${this.#ids}`;
    this.send({ type: 'req', id, method, ...(params === undefined ? {} : { params }) });
    return id;
  }

  /** Sends a request and waits for its response. */
  async call(method: string, params?: unknown): Promise<Frame> {
    const id = this.request(method, params);
    return await this.frame((frame) => frame.type === 'res' && frame.id === id);
  }

  /** The payload of a call that must succeed. */
  async ok(method: string, params?: unknown): Promise<Record<string, unknown>> {
    const response = await this.call(method, params);
    if (response.ok !== true) throw new Error(`${method} failed: ${JSON.stringify(response.error)}`);
    return response.payload ?? {};
  }

  /** The error of a call that must fail. */
  async fails(method: string, params?: unknown): Promise<Record<string, unknown>> {
    const response = await this.call(method, params);
    if (response.ok !== false) throw new Error(`${method} succeeded: ${JSON.stringify(response.payload)}`);
    return response.error ?? {};
  }

  #heard(text: string): void {
    this.texts.push(text);
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null) this.frames.push(value);
    } catch {
      // Kept in `texts`.
    }
    this.#tell();
  }

  #tell(): void {
    for (const news of this.#news.splice(0)) news();
  }
}

/** `connect.params` of a backend, with what the test changes. */
export function operator(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    minProtocol: 3,
    maxProtocol: 4,
    client: { id: 'gateway-client', version: '0.0.1', platform: 'linux', mode: 'backend' },
    role: 'operator',
    scopes: ['operator.admin', 'operator.read', 'operator.write', 'operator.pairing'],
    caps: [],
    auth: { token: 'test-gateway-token' },
    ...changes,
  };
}

/** Gateways and clients of one test; `release` in afterEach. */
export class Bench {
  readonly #gateways: TestGateway[] = [];
  readonly #clients: RawClient[] = [];

  async gateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
    const gateway = await createTestGateway(options);
    this.#gateways.push(gateway);
    return gateway;
  }

  /** A socket that has heard its challenge. */
  async dial(gateway: TestGateway): Promise<RawClient> {
    const client = this.keep(await RawClient.open(gateway.url));
    await client.event('connect.challenge');
    return client;
  }

  /** A client that is through its handshake. */
  async operator(gateway: TestGateway, changes: Record<string, unknown> = {}): Promise<RawClient> {
    const client = await this.dial(gateway);
    await client.ok('connect', operator({ auth: { token: gateway.token }, ...changes }));
    return client;
  }

  keep(client: RawClient): RawClient {
    this.#clients.push(client);
    return client;
  }

  async release(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.ws.terminate();
    await Promise.all(this.#gateways.splice(0).map((gateway) => gateway.close()));
  }
}

/** The shape of a value: keys and types without contents. */
export function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])];
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, child]) => [key, shape(child)]),
  );
}
