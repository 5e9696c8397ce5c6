import type { ServerResponse } from 'node:http';
import type { Boot } from './boot.js';
import type { FaultOf } from './faults.js';
import type { Host } from './host.js';
import { errorBody, HTML, plain } from './http-answers.js';

const WHOLE = JSON.stringify({ id: 'chatcmpl_cut', object: 'chat.completion', choices: [], filler: 'x'.repeat(200) });

/** Answers, or does not, as the fault `http-fault` asks. */
export function breakAnswer(host: Host, boot: Boot, response: ServerResponse, fault: FaultOf<'http-fault'>): void {
  const body = fault.body ?? WHOLE;
  const half = body.slice(0, body.length / 2);
  const headers = { 'content-type': 'application/json; charset=utf-8', ...fault.headers };
  const status = fault.status ?? 200;
  switch (fault.kind ?? 'status') {
    case 'status':
      answerStatus(response, fault);
      break;
    case 'no-headers':
      break;
    case 'cut-body':
      response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) });
      response.write(half, () => response.socket?.destroy());
      break;
    case 'truncated-json':
      response.writeHead(status, headers);
      response.end(half);
      break;
    case 'slow-body':
      response.writeHead(status, headers);
      drip(boot, response, [...body], fault.intervalMs ?? 5000);
      break;
    case 'endless-body':
      response.writeHead(status, headers);
      drip(boot, response, undefined, fault.intervalMs ?? 5);
      break;
    case 'stalled-stream':
      response.writeHead(status, { 'content-type': 'text/event-stream; charset=utf-8' });
      response.write(EVENT.repeat(3));
      break;
    case 'html':
      plain(response, status, HTML, { 'content-type': 'text/html; charset=utf-8' });
      break;
    case 'reset':
      host.resetHttp(response);
      break;
    case 'close':
      response.socket?.destroy();
  }
}

const EVENT = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'word ' } }] })}\n\n`;

function answerStatus(response: ServerResponse, fault: FaultOf<'http-fault'>): void {
  const status = fault.status ?? 500;
  const body = fault.body ?? JSON.stringify(errorBody(status === 500 ? 'internal error' : 'failed', 'api_error'));
  plain(response, status, body, { 'content-type': 'application/json; charset=utf-8', ...fault.headers });
}

/** One piece each `ms`; without pieces a block of filler, for ever. */
function drip(boot: Boot, response: ServerResponse, pieces: string[] | undefined, ms: number): void {
  const stop = boot.timers.every(ms, () => {
    const piece = pieces === undefined ? 'x'.repeat(65_536) : pieces.shift();
    if (piece === undefined) response.end();
    else if (!response.writableNeedDrain) response.write(piece);
  });
  response.once('close', stop);
}
