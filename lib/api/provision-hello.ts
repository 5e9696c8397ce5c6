/**
 * The first word to a new agent, once. A POST has no key and no receipt, so it is not repeated when its outcome is
 * unknown, and whether an earlier run has done it is known in three ways: this process remembers it; the caller's
 * `confirm` says so; or the gateway lists the session that it is sent in, which has a name of its own for that.
 */
import { GatewayError, isGatewayError } from '../core/errors.js';
import type { Result } from '../core/methods.js';
import { type CallOutcome, REASONS } from '../core/vocabulary.js';
import { sha256 } from '../io/digest.js';
import type { Confirm } from './call-entry.js';
import type { CallOptions } from './call-request.js';
import type { GatewayClient } from './client.js';

/** Over HTTP by default: `POST /v1/chat/completions` with the model `openclaw/<agentId>`. */
export interface ProvisionHello {
  /** What is said to the agent. */
  readonly message: string;
  /** `http`: a chat completion; resolves with its answer. `chat`: `chat.send`; resolves when the run has started. */
  readonly via?: 'http' | 'chat';
  /** Further fields of the completion, e.g. `max_tokens`; for `chat`, further params. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Default `agent:<agentId>:hello`. */
  readonly sessionKey?: string;
  /** May a POST of unknown outcome be repeated? Default false. */
  readonly repeatable?: boolean;
  /** Looks whether an earlier run, of another process perhaps, has done it. Default: is its session listed? */
  readonly confirm?: Confirm;
}

/** What became of the hello. */
export interface HelloResult {
  readonly via: 'http' | 'chat';
  /** `unknown`: it was sent once and may have been executed; it is not sent again. */
  readonly outcome: CallOutcome;
  /** An earlier run did it: what was answered then is known only to the process that did. */
  readonly earlier?: true;
  /** HTTP status of the answer. Errors of the agent's model provider are answers too, e.g. 401 `authentication_error`. */
  readonly status?: number;
  /** Headers of the answer; `holdfast-reason` and `holdfast-outcome` mark one that fell into a restart. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Body of the answer: parsed if it is JSON. */
  readonly body?: unknown;
  /** Id of the run that `chat` started. */
  readonly runId?: string;
}

/** What the hello needs to know of its run. */
interface HelloContext {
  readonly agentId: string;
  /** The agent was made by this run: nobody can have talked to it. */
  readonly fresh: boolean;
  /** Options of each call of this run. */
  readonly options: () => CallOptions;
}

/** Results by agent, for as long as a client lives. */
const memory = new WeakMap<object, Map<string, HelloResult>>();
/** How many agents are remembered per client. */
const REMEMBERED = 10_000;

/**
 * Says hello, unless it was said before. An answer is a result, whatever its status; no answer is an error.
 * @throws GatewayError; with outcome `unknown` it is not said again by a later run.
 */
export async function sayHello(
  client: GatewayClient,
  hello: ProvisionHello,
  context: HelloContext,
): Promise<HelloResult> {
  const known = memoryOf(client);
  const { agentId } = context;
  const via = hello.via ?? 'http';
  // What was said to an agent that has been deleted since does not count.
  if (context.fresh) known.delete(agentId);
  const remembered = known.get(agentId);
  if (remembered?.outcome === 'executed') return { ...remembered, earlier: true };
  const mayRepeat = hello.repeatable === true;
  if (!context.fresh && !(remembered !== undefined && mayRepeat)) {
    if (await wasSaid(client, hello, context)) return keep(known, agentId, { via, outcome: 'executed', earlier: true });
    if (remembered !== undefined) return { ...remembered, earlier: true };
  }
  try {
    const said = via === 'http' ? await post(client, hello, context) : await send(client, hello, context);
    if (said.outcome !== 'executed' && said.outcome !== 'unknown') throw refused(said);
    return keep(known, agentId, said);
  } catch (error) {
    if (isGatewayError(error) && error.outcome === 'unknown') keep(known, agentId, { via, outcome: 'unknown' });
    throw error;
  }
}

function memoryOf(client: GatewayClient): Map<string, HelloResult> {
  const known = memory.get(client.done) ?? new Map<string, HelloResult>();
  memory.set(client.done, known);
  return known;
}

function keep(known: Map<string, HelloResult>, agentId: string, result: HelloResult): HelloResult {
  known.set(agentId, result);
  const oldest = known.size > REMEMBERED ? known.keys().next().value : undefined;
  if (oldest !== undefined) known.delete(oldest);
  return result;
}

function sessionOf(hello: ProvisionHello, agentId: string): string {
  return hello.sessionKey ?? `agent:${agentId}:hello`;
}

async function wasSaid(
  client: GatewayClient,
  hello: ProvisionHello,
  { agentId, options }: HelloContext,
): Promise<boolean> {
  if (hello.confirm !== undefined) {
    const signal = options().signal ?? new AbortController().signal;
    const found = await hello.confirm({ signal, call: (method, params) => client.call(method, params, options()) });
    return found.executed === true;
  }
  const { sessions } = await client.call('sessions.list', { agentId }, options());
  return sessions.some(({ key }) => key === sessionOf(hello, agentId));
}

async function post(
  client: GatewayClient,
  hello: ProvisionHello,
  { agentId, options }: HelloContext,
): Promise<HelloResult> {
  const { signal, ...gateway } = options();
  const response = await client.fetch('/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-openclaw-session-key': sessionOf(hello, agentId) },
    body: JSON.stringify({
      ...hello.body,
      model: `openclaw/${agentId}`,
      messages: [{ role: 'user', content: hello.message }],
    }),
    ...(signal !== undefined && { signal }),
    gateway: { ...gateway, safety: hello.repeatable === true ? 'repeatable' : 'once' },
  });
  const headers = Object.fromEntries(response.headers);
  return {
    via: 'http',
    outcome: outcomeOf(headers),
    status: response.status,
    headers,
    body: parsed(await response.text()),
  };
}

function outcomeOf(headers: Readonly<Record<string, string>>): CallOutcome {
  const marked = headers['holdfast-outcome'];
  return marked === 'unknown' || marked === 'not-executed' || marked === 'not-sent' ? marked : 'executed';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** The key is the same in every run, so that a gateway that still knows it answers for the first. */
async function send(
  client: GatewayClient,
  hello: ProvisionHello,
  { agentId, options }: HelloContext,
): Promise<HelloResult> {
  const params = { ...hello.body, sessionKey: sessionOf(hello, agentId), message: hello.message };
  const idempotencyKey = `holdfast-hello-${agentId}-${sha256(hello.message).slice(0, 16)}`;
  const { runId } = await client.call<Result<'chat.send'>>('chat.send', params, { ...options(), idempotencyKey });
  return { via: 'chat', outcome: 'executed', runId };
}

/** An answer that proves that nothing was said is no hello: the next run says it. */
function refused({ status = 0, headers = {}, outcome, body }: HelloResult): GatewayError {
  const reason = REASONS.find((known) => known === headers['holdfast-reason']) ?? 'rejected';
  return new GatewayError({
    code: `HTTP_${status}`,
    reason,
    outcome,
    method: 'provisionAgent',
    message: `provisionAgent: the hello was refused with status ${status}, ${reason}`,
    remedy: 'Provision the same tenant again: what is done is not done twice.',
    gateway: { code: `HTTP_${status}`, message: 'see details', details: body },
  });
}
