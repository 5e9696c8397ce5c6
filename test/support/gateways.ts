/** Clients attached to embedded gateways, at a pace that suits tests; and peers that are no gateway at all. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import type { ClientEvent } from '../../lib/index.js';
import { type ClientOptions, createClient, type GatewayClient } from '../../lib/index.js';
import { createTestGateway, type Fault, type TestGateway, type TestGatewayOptions } from '../../lib/testing/index.js';
import { type Collection, eventsOf, Journal, type Line } from './collect.js';

/** Short delays: real ones are the concern of the core's tests. */
export const QUICK: Required<Pick<ClientOptions, 'reconnect' | 'blocked'>> = {
  reconnect: { initialDelay: 20, maxDelay: 100, connectTimeout: 3000 },
  blocked: { initialDelay: 100, maxDelay: 200 },
};

export interface Session extends AsyncDisposable {
  readonly client: GatewayClient;
  readonly journal: Journal;
  readonly events: Collection<ClientEvent>;
}

/** Where a client is to go: a gateway, or an address. */
export interface Address {
  readonly url: string;
  readonly token?: string;
}

/** A client that has not started. It is closed when the test ends. */
export function idle(to: Address, options: Partial<ClientOptions> = {}): Session {
  const journal = new Journal();
  const client = createClient({
    url: to.url,
    ...(to.token !== undefined && { token: to.token }),
    ...QUICK,
    logger: journal.logger,
    ...options,
  });
  return { client, journal, events: eventsOf(client), [Symbol.asyncDispose]: () => client.close({ grace: 0 }) };
}

/** A client that has started. */
export function begin(to: Address, options: Partial<ClientOptions> = {}): Session {
  const session = idle(to, options);
  session.client.start();
  return session;
}

/** A client that is online. */
export async function attach(to: Address, options: Partial<ClientOptions> = {}): Promise<Session> {
  const session = begin(to, options);
  await session.client.ready({ timeout: 8000 });
  return session;
}

/** Restarts as quick as they can be, and no delay for a wrong token: what is measured is the client. */
const SWIFT: NonNullable<TestGatewayOptions['timings']> = {
  wrongTokenDelayMs: 0,
  wrongTokenMaxDelayMs: 0,
  portShutMs: 60,
  startingMs: 0,
};

export function gateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  return createTestGateway({ ...options, timings: { ...SWIFT, ...options.timings } });
}

export interface Peer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Connections accepted. */
  readonly dials: number;
  /** Connections open now. */
  readonly open: number;
}

/** A TCP server that does what it is told with every connection. */
export async function peer(handle: (socket: net.Socket) => void, port = 0): Promise<Peer> {
  const sockets = new Set<net.Socket>();
  let dials = 0;
  const server = net.createServer({ allowHalfOpen: false }, (socket) => {
    dials += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    handle(socket);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port: bound,
    url: `ws://127.0.0.1:${bound}`,
    get dials() {
      return dials;
    },
    get open() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** An address at which nothing listens. Taken from below the range of outgoing ports, so that nobody gets it meanwhile. */
export async function nobody(): Promise<Address> {
  const gone = await createTestGateway();
  const { url } = gone;
  await gone.close();
  return { url };
}

/** Deadlines as short as a busy machine allows. */
export const HASTY: NonNullable<ClientOptions['reconnect']> = { initialDelay: 20, maxDelay: 60, connectTimeout: 300 };

/** The first failed dial against a gateway with this fault, and then the proof that the client comes back by itself. */
export async function failsAndHeals(fault: Fault): Promise<Line> {
  await using gw = await gateway({ faults: [fault] });
  await using session = begin(gw, { reconnect: HASTY });
  const [line] = await session.journal.failed(1);
  assert.ok(line !== undefined);
  assert.deepEqual([line.level, line.attempt, line.restartId], ['warn', 1, undefined]);
  assert.ok(
    line.delayMs !== undefined && line.nextAttemptAt !== undefined && line.remedy !== undefined,
    JSON.stringify(line),
  );
  gw.heal();
  await session.client.ready({ timeout: 5000 });
  assert.equal(session.client.health().reason, undefined);
  return line;
}

/** A certificate for localhost that signs itself, and its key. Made for these tests; it opens nothing. Valid 2020 to 2119. */
export const CERTIFICATE: { readonly key: string; readonly cert: string; readonly fingerprint: string } = {
  fingerprint: '41:0F:79:F2:61:B6:C7:F7:CE:8B:EB:3E:58:8A:4E:D7:34:92:8A:68:38:01:B6:86:08:34:83:81:88:27:64:62',
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0rXyrV78mFyDS08g
7CQCosA6UD24R/BhEPuMgoQp8t+hRANCAAS4lO4WGgUdiP3NE1IrNz3V/EK0CYWK
DaSzQ2pyOi/Fq04F7vBSkm17nyqJ8wYI9y9gBLe3Q1DVImCSQmjCB5zp
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBaDCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLiU7hYaBR2I/c0T
Uis3PdX8QrQJhYoNpLNDanI6L8WrTgXu8FKSbXufKonzBgj3L2AEt7dDUNUiYJJC
aMIHnOmjTjBMMA8GA1UdEwEB/wQFMAMBAf8wGgYDVR0RBBMwEYcEfwAAAYIJbG9j
YWxob3N0MB0GA1UdDgQWBBRWOApvx5oXasOQcsejiJTBsHvD9DAKBggqhkjOPQQD
AgNJADBGAiEAnqQzWyfrKb1TBGvXwIEIQRf5UrrqtXfBfkFTBAM5/fkCIQDs1kLF
xF3OACLQS0sNnH5rB+QKV6bWQzMAfz3XiGU6pQ==
-----END CERTIFICATE-----
`,
};
