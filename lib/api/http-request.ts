/** What a caller of `fetch` asked for, taken apart so that it can be sent more than once. */
import { Readable } from 'node:stream';
import { localError } from './call-entry.js';

/** Replaced wholesale, never changed in place: what is sent again is what was asked. */
export interface HttpTemplate {
  /** As the caller wrote it: a path is resolved anew for each attempt, since a gateway may move. */
  readonly address: string;
  readonly method: string;
  readonly headers: Headers;
  /** null: none. Changeable bodies are copies; a stream can be sent once only. */
  readonly body: Exclude<RequestInit['body'], undefined>;
  /** Has the body that is yet to be read. */
  readonly carrier: Request | null;
  readonly replayable: boolean;
  /** Of the body, as far as it is known. */
  readonly bytes: number;
  readonly redirect: 'follow' | 'manual' | 'error';
  readonly signal: AbortSignal | undefined;
  /** Everything else of the init, handed on unchanged. */
  readonly rest: RequestInit;
}

const WHERE = 'fetch';
/** Only to look at addresses before that of the gateway is known. */
const ANYWHERE = 'http://gateway/';

/**
 * Reads the arguments of `fetch`, at once, as `fetch` does: what the caller changes afterwards is not sent.
 * @throws GatewayError with reason `local` for what `fetch` would not take. No header, body or address is repeated:
 * it may hold a secret.
 */
export function templateOf(input: string | URL | Request, init: RequestInit): HttpTemplate {
  const request = input instanceof Request ? input : null;
  const { method: asked, headers, body: given, redirect, signal: own, ...rest } = init;
  const carrier = given === undefined && request !== null && request.body !== null ? request : null;
  const body = snapshot(given ?? null);
  const signal = own === undefined ? request?.signal : (own ?? undefined);
  const template: HttpTemplate = {
    address: addressOf(request?.url ?? String(input)),
    method: (asked ?? request?.method ?? 'GET').toUpperCase(),
    headers: headersOf(headers ?? request?.headers),
    body,
    carrier,
    replayable: !(body instanceof ReadableStream) && !isAsyncIterable(body),
    bytes: sizeOf(body),
    redirect: redirect ?? request?.redirect ?? 'follow',
    signal,
    rest: request === null ? rest : { integrity: request.integrity, keepalive: request.keepalive, ...rest },
  };
  check(template);
  return template;
}

/** With the body of a Request read whole: it is a stream that could be sent only once. */
export async function loaded(template: HttpTemplate): Promise<HttpTemplate> {
  if (template.carrier === null) return template;
  try {
    const body = await template.carrier.arrayBuffer();
    return { ...template, carrier: null, body, bytes: body.byteLength };
  } catch {
    throw localError('HOLDFAST_BODY', WHERE, 'the body of its Request could not be read', 'Pass a fresh Request.');
  }
}

/** Method and path, for people. The query stays out: it may hold what is nobody's business. */
export function labelOf(template: HttpTemplate): string {
  return `${template.method} ${new URL(template.address, ANYWHERE).pathname}`;
}

/**
 * Where an attempt goes.
 * @throws GatewayError with reason `local` for another origin: the credential must not get there.
 */
export function urlOf(address: string, base: string): URL {
  const url = new URL(address, base);
  if (url.origin === new URL(base).origin) return url;
  throw localError(
    'HOLDFAST_ORIGIN_FOREIGN',
    WHERE,
    `${originOf(url)} is not this gateway`,
    'Use a fetch of your own for other servers: this one carries the credential of the gateway.',
  );
}

/** Safe to be shown. */
export function originOf(url: URL): string {
  return url.origin === 'null' ? url.protocol : url.origin;
}

function addressOf(text: string): string {
  const url = URL.canParse(text, ANYWHERE) ? new URL(text, ANYWHERE) : null;
  if (url !== null && url.username === '' && url.password === '') return text;
  const why = url === null ? 'not an address' : 'credentials in an address are refused, since addresses end up in logs';
  throw localError('HOLDFAST_URL', WHERE, why, 'Pass a path of the gateway, or its full address.');
}

function headersOf(headers: RequestInit['headers'] | undefined): Headers {
  try {
    const own = new Headers(headers ?? {});
    // Not the caller's, by the Fetch standard. With `close`, fetch of Node 20 takes a cut chunked body for a whole one.
    own.delete('connection');
    return own;
  } catch {
    throw localError(
      'HOLDFAST_HEADERS',
      WHERE,
      'a header holds a line break or a character that HTTP does not allow',
      'Correct the headers.',
    );
  }
}

/** What `fetch` itself refuses is refused here, where it is certain that nothing was sent. */
function check(template: HttpTemplate): void {
  const { method, redirect, rest, body, carrier, signal } = template;
  const spent = carrier?.bodyUsed === true || (body instanceof ReadableStream && (body.locked || isRead(body)));
  if (spent) throw localError('HOLDFAST_BODY', WHERE, 'its body has been read already', 'Pass a fresh body.');
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw localError('HOLDFAST_SIGNAL', WHERE, 'signal is no AbortSignal', 'Pass the signal of an AbortController.');
  try {
    new Request(ANYWHERE, { ...rest, method, redirect, ...((body !== null || carrier !== null) && { body: '' }) });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'fetch does not take these arguments';
    throw localError('HOLDFAST_REQUEST', WHERE, why, 'Correct the arguments of fetch.');
  }
}

/** Node has the question, and leaves web streams out of its types. */
function isRead(stream: ReadableStream): boolean {
  const isDisturbed: (stream: never) => boolean = Readable.isDisturbed;
  return isDisturbed(stream as never);
}

function isAsyncIterable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value && !(value instanceof Blob);
}

/** A copy of what the caller could still change. */
function snapshot(body: HttpTemplate['body']): HttpTemplate['body'] {
  if (body instanceof ArrayBuffer) return body.slice(0);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice();
  if (body instanceof URLSearchParams) return new URLSearchParams(body);
  if (!(body instanceof FormData)) return body;
  const copy = new FormData();
  for (const [name, value] of body) {
    if (typeof value === 'string') copy.append(name, value);
    else copy.append(name, value, value.name);
  }
  return copy;
}

function sizeOf(body: HttpTemplate['body']): number {
  if (typeof body === 'string') return body.length;
  if (body instanceof Blob) return body.size;
  return body instanceof ArrayBuffer || ArrayBuffer.isView(body) ? body.byteLength : 0;
}

/** The credential of the client, as it is now, in place of what the caller wrote: other makers' clients demand a key. */
export function withCredential(headers: Headers, credential: string | undefined): Headers {
  if (credential === undefined) return headers;
  const own = new Headers(headers);
  try {
    own.set('authorization', `Bearer ${credential}`);
  } catch {
    throw localError(
      'HOLDFAST_CREDENTIAL',
      WHERE,
      'the credential holds characters that HTTP does not allow',
      'Correct the token or password; it is read again before every attempt.',
    );
  }
  return own;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** They describe a body, and go with it. */
const OF_THE_BODY = ['content-type', 'content-length', 'content-encoding', 'content-language', 'content-location'];

/** Where an answer sends its caller, as it was written; null when it sends nobody anywhere. */
export function locationOf(response: Response): string | null {
  return REDIRECTS.has(response.status) ? response.headers.get('location') : null;
}

/** The request that a redirect asks for: 303, and 301 and 302 after a POST, become GET without a body (Fetch standard). */
export function redirected(template: HttpTemplate, status: number, url: URL): HttpTemplate {
  const address = url.href;
  const toGet = status === 303 ? template.method !== 'HEAD' : status < 303 && template.method === 'POST';
  if (!toGet) return { ...template, address };
  const headers = new Headers(template.headers);
  for (const name of OF_THE_BODY) headers.delete(name);
  return { ...template, address, method: 'GET', headers, body: null, replayable: true, bytes: 0 };
}
