import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Boot } from './boot.js';
import type { Host } from './host.js';
import { errorBody, html, json, plain, readBody, UNAVAILABLE_BODY } from './http-answers.js';
import { breakAnswer } from './http-faults.js';
import type { Entry } from './ledger.js';
import { CANNED } from './methods-runs.js';
import { isRecord, stringAt } from './validate.js';

const PROBES: ReadonlySet<string> = new Set(['/health', '/healthz', '/ready', '/readyz', '/startup', '/startupz']);
const BODY_LIMIT = 20 * 1024 * 1024;

/** One HTTP request on its way through the routes. */
interface Exchange {
  readonly host: Host;
  readonly boot: Boot;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly entry: Entry;
}

/** Serves one HTTP request. `boot` is the instance that accepted its connection; it may be on its way out. */
export async function serve(
  host: Host,
  boot: Boot,
  conn: number,
  address: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://gateway').pathname;
  const body = await readBody(request, BODY_LIMIT).catch(() => undefined);
  if (body === undefined) return;
  const entry = host.ledger.request({
    kind: 'http',
    conn,
    bootId: boot.id,
    method: `${request.method} ${path}`,
    params: parsed(body),
  });
  response.once('close', () => {
    entry.answered = response.headersSent;
    if (response.headersSent && response.statusCode >= 400) entry.error = String(response.statusCode);
    host.ledger.touch();
  });
  const exchange: Exchange = { host, boot, request, response, path, entry };
  if (host.faults.get('not-a-gateway') !== undefined) html(response);
  else if (PROBES.has(path)) probe(exchange);
  else await route(exchange, address);
}

function parsed(body: string): unknown {
  if (body === '') return undefined;
  try {
    const value: unknown = JSON.parse(body);
    return value;
  } catch {
    return body;
  }
}

function probe(exchange: Exchange): void {
  const { host, request, response, path } = exchange;
  const lie = host.faults.get('health-lies');
  const variant = lie === undefined ? 'none' : (lie.variant ?? 'ready');
  if (variant === 'hang') return;
  if (variant === 'html' || (path.startsWith('/startup') && !host.profile.startupz)) html(response);
  else if (request.method !== 'GET' && request.method !== 'HEAD') {
    plain(response, 405, 'Method Not Allowed', { allow: 'GET, HEAD' });
  } else if (path.startsWith('/health')) json(response, 200, { ok: true, status: 'live' });
  else if (path.startsWith('/ready')) readiness(exchange, variant);
  else startup(exchange, variant);
}

function readiness({ host, boot, response }: Exchange, lie: 'ready' | 'unready' | 'none'): void {
  const failing = lie === 'ready' ? [] : lie === 'unready' ? ['agent-database:main'] : failingOf(host, boot);
  const uptimeMs = Date.now() - boot.startedAt;
  const eventLoop = { degraded: false, degradedSinceMs: null, reasons: [], intervalMs: 1000 };
  const ready = failing.length === 0;
  json(response, ready ? 200 : 503, { ready, failing, uptimeMs, ...(host.profile.verbose ? { eventLoop } : {}) });
}

function startup({ host, boot, response }: Exchange, lie: 'ready' | 'unready' | 'none'): void {
  const { version } = host.profile;
  const uptimeMs = Date.now() - boot.startedAt;
  const truth = host.state === 'starting' ? 'starting' : host.gate === 'gateway-restarting' ? 'draining' : 'started';
  const status = lie === 'ready' ? 'started' : truth;
  const pending = status === 'starting' ? { pendingReason: 'startup-sidecars' } : {};
  json(response, status === 'started' ? 200 : 503, { ok: status === 'started', status, ...pending, version, uptimeMs });
}

/** What keeps the gateway from being ready. Old versions know of no drain, and lie until their process has gone. */
function failingOf(host: Host, boot: Boot): readonly string[] {
  if (host.profile.drainGate) {
    if (host.state === 'starting') return ['startup-sidecars'];
    return host.gate === 'gateway-restarting' ? ['gateway-draining'] : [];
  }
  return Date.now() - boot.startedAt < boot.warmMs ? ['startup-sidecars'] : [];
}

async function route(exchange: Exchange, address: string): Promise<void> {
  const { host, boot, response, path, entry } = exchange;
  const fault = host.faults.take('http-fault', (candidate) => path.startsWith(candidate.path ?? '/v1/'));
  if (fault !== undefined) {
    entry.executed = fault.execute === true;
    breakAnswer(host, boot, response, fault);
  } else if (!path.startsWith('/v1/') && path !== '/tools/invoke') catchAll(exchange);
  else if (host.profile.lyingKeepAlive && boot.closing) json(response, 500, INTERNAL);
  else if (host.gate !== 'open') json(response, 503, UNAVAILABLE_BODY, { 'retry-after': '1' });
  else if (authorized(exchange, address)) await work(exchange);
}

async function work(exchange: Exchange): Promise<void> {
  const { host, request, response, path, entry } = exchange;
  if (path === '/v1/chat/completions' && request.method === 'POST') await complete(exchange);
  else if (path === '/v1/models' && request.method === 'GET') json(response, 200, models(host));
  else if (path === '/tools/invoke') {
    const error = { type: 'not_found', message: `Tool not available: ${stringAt(entry.params, 'tool') ?? ''}` };
    json(response, 404, { ok: false, error });
  } else plain(response, 404, 'Not Found');
}

function catchAll({ request, response, path }: Exchange): void {
  const accept = request.headers.accept ?? '*/*';
  const page = accept.includes('*/*') || accept.includes('text/html');
  const special = path.startsWith('/api/') || /\.[a-z0-9]+$/i.test(path) || path === '/readyz/';
  if (request.method === 'GET' && page && !special) html(response);
  else plain(response, 404, 'Not Found');
}

function authorized({ host, request, response }: Exchange, address: string): boolean {
  const locked = host.auth.lockedFor(address);
  if (locked > 0) {
    const seconds = String(Math.ceil(locked / 1000));
    json(response, 429, errorBody('Too many failed authentication attempts', 'rate_limited'), {
      'retry-after': seconds,
    });
    return false;
  }
  const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (host.auth.isToken(bearer)) return true;
  if (bearer !== undefined) host.auth.failed(address, false);
  json(response, 401, errorBody('Unauthorized', 'unauthorized'));
  return false;
}

function models(host: Host): unknown {
  const ids = ['openclaw', 'openclaw/default', ...host.agents.list().map(({ id }) => `openclaw/${id}`)];
  return { object: 'list', data: ids.map((id) => ({ id, object: 'model', created: 0, owned_by: 'openclaw' })) };
}

async function complete(exchange: Exchange): Promise<void> {
  const { host, response, entry } = exchange;
  const model = stringAt(entry.params, 'model') ?? 'openclaw';
  const wrong = completionObjection(host, entry.params, model);
  if (wrong !== undefined) {
    json(response, 400, errorBody(wrong, 'invalid_request_error'));
    return;
  }
  entry.executed = true;
  host.changed();
  const id = `chatcmpl_${randomUUID()}`;
  if (isRecord(entry.params) && entry.params['stream'] === true) await stream(exchange, id, model);
  else if (await finished(exchange)) {
    const unpaid = host.faults.take('no-provider') !== undefined;
    json(response, unpaid ? 401 : 200, unpaid ? NO_PROVIDER : completion(id, model));
  }
}

function completionObjection(host: Host, params: unknown, model: string): string | undefined {
  if (!isRecord(params) || !Array.isArray(params['messages'])) return 'Missing user message in `messages`.';
  const agentId = /^(?:openclaw[/:]|agent:)(.+)$/.exec(model)?.[1] ?? 'default';
  const checked = host.profile.drainGate && agentId !== 'default' && !host.agents.exists(agentId);
  return checked ? `Unknown agent '${agentId}'.` : undefined;
}

function completion(id: string, model: string): unknown {
  const message = { role: 'assistant', content: CANNED };
  return {
    id,
    object: 'chat.completion',
    created: Math.floor(Date.now() / 1000),
    model,
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 5, total_tokens: 6 },
  };
}

const INTERNAL: unknown = errorBody('internal error', 'api_error');
const NO_PROVIDER: unknown = errorBody(
  'No route-compatible authentication source is configured for openai.',
  'authentication_error',
);

/**
 * Waits until the run has ended; false when it was answered otherwise, or never will be. When the gateway restarts
 * under it, old versions answer 500 some time after the port has closed; newer ones let it end while its connection
 * lives.
 */
async function finished({ host, boot, response }: Exchange): Promise<boolean> {
  const { lingerMs, runMs } = host.timings;
  const run = boot.busy(boot.timers.sleep(runMs));
  if (!host.profile.lyingKeepAlive) return await run;
  const passed = await (boot.reloading ? boot.closes().then(() => false) : boot.pass(runMs));
  if (passed) return true;
  if (await boot.timers.sleep(lingerMs * 0.8)) json(response, 500, INTERNAL);
  return false;
}

/** A completion as server-sent events, one word each. */
async function stream({ host, boot, response }: Exchange, id: string, model: string): Promise<void> {
  const words = CANNED.split(' ');
  const created = Math.floor(Date.now() / 1000);
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
  for (const [index, word] of words.entries()) {
    const alive = await boot.busy(boot.timers.sleep(host.timings.runMs / words.length));
    if (!alive || response.destroyed) return;
    const delta = { content: index === 0 ? word : ` ${word}` };
    const choices = [{ index: 0, delta, finish_reason: null }];
    response.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created, model, choices })}\n\n`);
  }
  const choices = [{ index: 0, delta: {}, finish_reason: 'stop' }];
  const last = JSON.stringify({ id, object: 'chat.completion.chunk', created, model, choices });
  response.end(`data: ${last}\n\ndata: [DONE]\n\n`);
}
