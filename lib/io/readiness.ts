/**
 * Watches the gateway's own readiness probe while it starts. It told us to wait, and it is asked nothing but what
 * probes are for; the moment it says that it is ready, the dial that would have waited out the hint is made.
 * HTTP health moves no state: it only ends a wait early.
 */
import http from 'node:http';
import type { Runtime, Timer } from './runtime.js';

/** Between two looks, and the longest one look may take, in ms. */
const EVERY_MS = 50;
const LOOK_MS = 1000;
const BODY_LIMIT = 4096;

export function watchReadiness(
  target: { readonly url: string; readonly secure: boolean },
  runtime: Runtime,
  ready: () => void,
): () => void {
  // Behind TLS the probe would need the pin checked once more; such a gateway is not on loopback as a rule.
  if (target.secure) return () => {};
  const url = new URL(target.url);
  url.protocol = 'http:';
  url.pathname = '/readyz';
  let over = false;
  let timer: Timer | null = null;
  let request: http.ClientRequest | null = null;

  const look = (): void => {
    let ended = false;
    // A reset in mid-answer ends the request and the response: one look is followed by one look, not by two.
    const again = (): void => {
      if (!over && !ended) timer = runtime.setTimer(look, EVERY_MS);
      ended = true;
    };
    request = http.get(url, { agent: false, headers: { accept: 'application/json' }, timeout: LOOK_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > BODY_LIMIT) request?.destroy();
      });
      response.once('close', () => {
        if (over) return;
        if (response.statusCode === 200 && saysReady(body)) ready();
        else again();
      });
    });
    request.once('timeout', () => request?.destroy());
    request.once('error', again);
  };
  look();
  return () => {
    over = true;
    timer?.clear();
    request?.destroy();
  };
}

/** An unknown path answers 200 with HTML on every version, so only the JSON counts. */
function saysReady(body: string): boolean {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && 'ready' in value && value.ready === true;
  } catch {
    return false;
  }
}
