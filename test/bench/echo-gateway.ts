/** A process of its own that says hello and echoes: as little gateway as possible, so that the clients are measured. */
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const HELLO = {
  type: 'hello-ok',
  protocol: 4,
  server: { version: '2026.9.6', connId: 'bench', bootId: 'bench' },
  features: { methods: [], events: [] },
  snapshot: {},
  auth: { role: 'operator', scopes: ['operator.admin', 'operator.read', 'operator.write'] },
  policy: { maxPayload: 26_214_400, maxBufferedBytes: 52_428_800, tickIntervalMs: 30_000 },
};

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('listening', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
server.on('connection', (socket) => {
  socket.send(
    JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'bench', ts: Date.now() } }),
  );
  socket.on('message', (data: Buffer) => {
    const { id, method, params } = JSON.parse(data.toString());
    socket.send(JSON.stringify({ type: 'res', id, ok: true, payload: method === 'connect' ? HELLO : params }));
  });
});
