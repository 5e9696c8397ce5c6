import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { WebSocketServer } from 'ws';
import type { Evidence } from '../../lib/core/failure.js';
import { GatewaySocket, type SocketTarget } from '../../lib/io/socket.js';
import { bounded, eventually } from '../support/collect.js';
import { CERTIFICATE, nobody, peer } from '../support/gateways.js';

interface Seen {
  readonly socket: GatewaySocket;
  /** Phases, texts and signs, in order. */
  readonly told: string[];
  readonly opened: Promise<void>;
  /** Resolves with the end. */
  readonly down: Promise<Evidence>;
}

function dial(url: string, extra: Partial<SocketTarget> = {}): Seen {
  const told: string[] = [];
  let open: () => void = () => {};
  let end: (evidence: Evidence) => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const down = new Promise<Evidence>((resolve) => {
    end = resolve;
  });
  const socket = new GatewaySocket(
    { url, secure: url.startsWith('wss:'), fingerprint: undefined, ca: undefined, ...extra },
    {
      phase: (phase) => void told.push(phase),
      open: () => {
        told.push('open');
        open();
      },
      text: (text, bytes) => void told.push(`${bytes}: ${text}`),
      sign: () => void told.push('sign'),
      down: (evidence) => {
        told.push('down');
        end(evidence);
      },
    },
  );
  return { socket, told, opened, down };
}

/** A WebSocket server, over TLS when it is given a certificate. */
async function server(secure = false): Promise<{ url: string; port: number; wss: WebSocketServer } & AsyncDisposable> {
  const listener = secure ? tls.createServer(CERTIFICATE) : net.createServer();
  const http = (await import('node:http')).createServer();
  listener.on(secure ? 'secureConnection' : 'connection', (socket) => http.emit('connection', socket));
  listener.on('tlsClientError', () => {});
  const wss = new WebSocketServer({ server: http });
  wss.on('error', () => {});
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `${secure ? 'wss' : 'ws'}://127.0.0.1:${port}`,
    port,
    wss,
    async [Symbol.asyncDispose]() {
      for (const client of wss.clients) client.terminate();
      listener.close();
      http.closeAllConnections();
      await once(listener, 'close');
    },
  };
}

function kindOf(evidence: Evidence): string {
  const phase = 'phase' in evidence ? evidence.phase : '';
  const code = 'code' in evidence ? evidence.code : '';
  return `${evidence.kind} ${phase} ${code}`;
}

describe('a socket', () => {
  it('names each phase on the way, carries texts, and tells of pings as signs of life', async () => {
    await using far = await server();
    far.wss.on('connection', (ws) => {
      ws.send('{"grüße":1}');
      ws.ping();
      ws.on('message', (text) => ws.send(`echo ${text}`));
    });
    const { socket, told, opened } = dial(far.url);
    assert.equal(socket.send('too early'), false);
    await bounded(opened, 'the open socket');
    assert.equal(socket.send('hello'), true);
    socket.ping();
    await eventually(() => told.length >= 8, 'all of it');
    assert.deepEqual(told.slice(0, 4), ['tcp', 'upgrade', 'challenge', 'open']);
    assert.deepEqual(told.slice(4).sort(), ['13: {"grüße":1}', '10: echo hello', 'sign', 'sign'].sort());
    socket.terminate();
  });

  it('names the phase dns for a name, and dials it afresh', async () => {
    const { told, down } = dial((await nobody()).url.replace('127.0.0.1', 'localhost'));
    assert.match(kindOf(await bounded(down, 'the end')), /^socket tcp ECONNREFUSED$/);
    assert.deepEqual(told, ['dns', 'tcp', 'down']);
  });

  it('C14a says that a name is unknown in phase dns', async () => {
    // Longer than a name may be, so that no resolver has to be asked.
    const { down } = dial(`ws://${'a'.repeat(64)}.invalid:1`);
    assert.match(kindOf(await bounded(down, 'the end')), /^socket dns (ENOTFOUND|EAI_AGAIN)$/);
  });

  it('ends once, and nothing follows the end', async () => {
    await using far = await server();
    far.wss.on('connection', (ws) => ws.close(4000, 'enough'));
    const { socket, told, opened, down } = dial(far.url);
    await opened;
    socket.established();
    const evidence = await bounded(down, 'the end');
    assert.deepEqual(evidence, { kind: 'closed', phase: 'online', code: 4000, reason: 'enough' });
    assert.equal(socket.send('late'), false);
    socket.ping();
    socket.close();
    socket.terminate();
    await eventually(() => far.wss.clients.size === 0, 'the end on the other side');
    assert.equal(told.filter((what) => what === 'down').length, 1);
  });

  it('says nothing more once it was terminated, in whatever phase', async () => {
    await using silent = await peer((raw) => raw.resume());
    await using far = await server();
    const early = dial(silent.url);
    early.socket.terminate();
    const upgrading = dial(silent.url);
    await eventually(() => upgrading.told.includes('upgrade'), 'the upgrade');
    upgrading.socket.terminate();
    const open = dial(far.url);
    await open.opened;
    open.socket.terminate();
    await eventually(() => silent.open === 0 && far.wss.clients.size === 0, 'all closed');
    for (const { told } of [early, upgrading, open]) assert.ok(!told.includes('down'), told.join());
  });

  it('closes with 1000, and before it is open at once', async () => {
    await using far = await server();
    const closed = new Promise<number>((resolve) => {
      far.wss.on('connection', (ws) => ws.on('close', resolve));
    });
    const { socket, opened, down } = dial(far.url);
    await opened;
    socket.close();
    assert.equal(await bounded(closed, 'the close frame'), 1000);
    assert.equal(kindOf(await bounded(down, 'the end')), 'closed challenge 1000');
    await using silent = await peer((raw) => raw.resume());
    const early = dial(silent.url);
    await eventually(() => silent.open === 1, 'the connection');
    early.socket.close();
    await eventually(() => silent.open === 0, 'its end');
  });

  it('C11, C12 tells of a status instead of 101: body in part, hint, and where a redirect points', async () => {
    const answers: Readonly<Record<string, object>> = {
      'HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n a\r\nb\u001bc\n ': {
        status: 503,
        body: 'a b c',
        retryAfterMs: 7000,
      },
      [`HTTP/1.1 401 No\r\nContent-Length: 100000\r\n\r\n${'y'.repeat(90_000)}`]: {
        status: 401,
        body: `${'y'.repeat(199)}…`,
      },
      'HTTP/1.1 302 No\r\nLocation: https://other.example/x?token=abc\r\nContent-Length: 0\r\n\r\n': {
        status: 302,
        body: '',
        location: 'https://other.example',
      },
      'HTTP/1.1 302 No\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n': { status: 302, body: '' },
    };
    for (const [answer, expected] of Object.entries(answers)) {
      await using far = await peer((raw) => raw.once('data', () => raw.write(answer)));
      const { down } = dial(far.url);
      assert.deepEqual(await bounded(down, 'the end'), { kind: 'upgrade', ...expected });
      await eventually(() => far.open === 0, 'no socket is left');
    }
  });

  it('C09, X11 takes an answer that is no WebSocket for garbage or for a broken peer, never for a clean end', async () => {
    const answers: Readonly<Record<string, RegExp>> = {
      'SSH-2.0-OpenSSH_9.9\r\n': /^socket upgrade HPE_/,
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n':
        /^garbage upgrade BAD_UPGRADE$/,
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: smoke\r\nConnection: Upgrade\r\n\r\n':
        /^garbage upgrade BAD_UPGRADE$/,
    };
    for (const [answer, expected] of Object.entries(answers)) {
      await using far = await peer((raw) => raw.once('data', () => raw.write(answer)));
      assert.match(kindOf(await bounded(dial(far.url).down, 'the end')), expected, answer);
    }
  });

  it('X01 cuts a frame that is too large as soon as it is announced', async () => {
    await using far = await server();
    far.wss.on('connection', (ws, request) => {
      assert.equal(ws.readyState, ws.OPEN);
      request.socket.write(Buffer.from([0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]));
    });
    assert.equal(
      kindOf(await bounded(dial(far.url).down, 'the end')),
      'garbage challenge WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
    );
  });
});

describe('a socket over TLS', () => {
  const pinned = CERTIFICATE.fingerprint;

  it('C13a refuses a certificate that nobody vouches for, before any byte of ours', async () => {
    await using far = await server(true);
    let upgrades = 0;
    far.wss.on('connection', () => {
      upgrades += 1;
    });
    const { told, down } = dial(far.url);
    assert.equal(kindOf(await bounded(down, 'the end')), 'socket tls DEPTH_ZERO_SELF_SIGNED_CERT');
    assert.deepEqual([told, upgrades], [['tcp', 'tls', 'down'], 0]);
  });

  it('accepts the one that is pinned, in any spelling, or vouched for by the given authority', async () => {
    await using far = await server(true);
    const spelt = [pinned, `sha256:${pinned.toLowerCase()}`, pinned.replaceAll(':', '')];
    for (const extra of [
      ...spelt.map((fingerprint) => ({ fingerprint })),
      { ca: CERTIFICATE.cert },
      { ca: Buffer.from(CERTIFICATE.cert) },
    ]) {
      const { socket, opened, down } = dial(far.url, extra);
      await bounded(
        Promise.race([opened, down.then((evidence) => assert.fail(JSON.stringify(evidence)))]),
        'the open socket',
      );
      socket.terminate();
    }
  });

  it('X10 refuses another one than the pinned, naming both in part, before any byte of ours', async () => {
    await using far = await server(true);
    let upgrades = 0;
    far.wss.on('connection', () => {
      upgrades += 1;
    });
    const evidence = await bounded(dial(far.url, { fingerprint: 'ab'.repeat(32) }).down, 'the end');
    assert.equal(evidence.kind, 'trust');
    assert.match(
      'message' in evidence ? evidence.message : '',
      /shows SHA-256 [0-9a-f]{16}…, pinned is abababababababab…/,
    );
    assert.equal(upgrades, 0);
  });

  it('C13b says so when the other side speaks no TLS, or nothing but TLS, or nothing at all', async () => {
    await using plain = await server();
    const first = kindOf(await bounded(dial(`wss://127.0.0.1:${plain.port}`).down, 'the end'));
    assert.match(first, /^socket tls (EPROTO|ERR_SSL_)/);
    await using secure = await server(true);
    const second = await bounded(dial(`ws://127.0.0.1:${secure.port}`).down, 'the end');
    assert.match(kindOf(second), /^(socket|closed) upgrade /);
    await using silent = await peer((raw) => raw.resume());
    const hung = dial(`wss://127.0.0.1:${silent.port}`);
    await eventually(() => hung.told.includes('tls'), 'the phase');
    assert.deepEqual(hung.told, ['tcp', 'tls']);
    hung.socket.terminate();
    await eventually(() => silent.open === 0, 'its end');
  });
});
