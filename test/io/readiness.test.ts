import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { watchReadiness } from '../../lib/io/readiness.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import { bounded, eventually, pause, sideBySide } from '../support/collect.js';
import { nobody } from '../support/gateways.js';

interface Rig extends AsyncDisposable {
  /** Looks that reached the server. */
  readonly looks: number;
  /** Calls of `ready`. */
  readonly told: number;
  readonly ready: Promise<void>;
  answer: RequestListener;
  stop(): void;
}

/** A server that answers as it is told, and a watch on it. */
async function rig(answer: RequestListener): Promise<Rig> {
  let looks = 0;
  let told = 0;
  let tell: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const server = createServer((request, response) => {
    looks += 1;
    assert.deepEqual([request.method, request.url], ['GET', '/readyz']);
    made.answer(request, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const made: Rig = {
    get looks() {
      return looks;
    },
    get told() {
      return told;
    },
    ready,
    answer,
    stop: () => {},
    async [Symbol.asyncDispose]() {
      made.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  made.stop = watchReadiness({ url: `ws://127.0.0.1:${port}/some/path`, secure: false }, systemRuntime, () => {
    told += 1;
    tell();
  });
  return made;
}

function json(status: number, body: unknown): RequestListener {
  return (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
}

const READY = json(200, { ready: true });

describe('the watch on readiness', () => {
  const beside = sideBySide();

  it(
    'tells once, at the first look that says ready',
    beside(async () => {
      await using watched = await rig(json(503, { ready: false, failing: ['startup-sidecars'] }));
      await eventually(() => watched.looks >= 3, 'three looks');
      assert.equal(watched.told, 0);
      watched.answer = READY;
      await bounded(watched.ready, 'ready');
      const { looks } = watched;
      await pause(150);
      assert.deepEqual([watched.told, watched.looks], [1, looks], 'it looks no more');
    }),
  );

  it(
    'R14 believes nothing but JSON that says ready: no HTML, no other status, no other word',
    beside(async () => {
      const lies: readonly RequestListener[] = [
        (_request, response) => response.end('<html>ready: true</html>'),
        json(503, { ready: true }),
        json(200, { ready: 'true' }),
        json(200, null),
        json(200, [true]),
        (_request, response) => response.end('x'.repeat(100_000)),
        (_request, response) => response.end('{"ready":tr'),
      ];
      await using watched = await rig(json(404, {}));
      for (const [index, lie] of lies.entries()) {
        const before = watched.looks;
        watched.answer = lie;
        await eventually(() => watched.looks >= before + 2, `two more looks after lie ${index}`);
      }
      assert.equal(watched.told, 0);
      watched.answer = READY;
      await bounded(watched.ready, 'ready');
    }),
  );

  it(
    'keeps its pace, one look after the other, however the server breaks off',
    beside(async () => {
      const breaks: readonly RequestListener[] = [
        (request) => request.socket.resetAndDestroy(),
        (request) => request.socket.destroy(),
        (request, response) => {
          response.writeHead(200, { 'content-length': '100' });
          // A little later, or the reset would overtake what was written.
          response.write('{"ready"', () => setTimeout(() => request.socket.resetAndDestroy(), 5));
        },
        (request, response) => {
          response.writeHead(200, { 'content-length': '100' });
          response.write('{"ready"', () => request.socket.destroy());
        },
      ];
      await Promise.all(
        breaks.map(async (broken) => {
          await using watched = await rig(broken);
          await eventually(() => watched.looks >= 1, 'a look');
          await pause(420);
          assert.ok(watched.looks >= 3 && watched.looks <= 10, `${watched.looks} looks in 420 ms at one each 50 ms`);
          assert.equal(watched.told, 0);
        }),
      );
    }),
  );

  it(
    'survives that nobody listens, and stops when told to, also in the middle of a look',
    beside(async () => {
      const away = watchReadiness({ url: (await nobody()).url, secure: false }, systemRuntime, () =>
        assert.fail('ready'),
      );
      await pause(120);
      away();
      await using watched = await rig(() => {});
      await eventually(() => watched.looks === 1, 'a look that is never answered');
      watched.stop();
      watched.stop();
      await pause(120);
      assert.deepEqual([watched.looks, watched.told], [1, 0]);
    }),
  );

  it('does not look behind TLS, where the certificate would have to be checked once more', () => {
    watchReadiness({ url: 'wss://127.0.0.1:1', secure: true }, systemRuntime, () => assert.fail('ready'))();
  });
});
