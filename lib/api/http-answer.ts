/** The answers that callers of `fetch` get: judged, marked, and with a body that cannot hang or end by half unnoticed. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import { isRecord, type Knowledge } from '../core/failure.js';
import { bodyDecides, classifyHttpResponse, retryAfterOf } from '../core/http-verdicts.js';
import type { GuardedBody } from '../io/http.js';
import { peekBody } from '../io/http.js';

/** How much of the body of a failure is read to judge it, in bytes. */
const JUDGED_BODY = 65_536;

export interface Judged {
  /** The same answer; where its body was looked into, with all of it. */
  readonly response: Response;
  /** null: an ordinary answer. */
  readonly failure: AttemptFailure | null;
}

/** What the answer says of its attempt. Its body is looked into only where the body decides. */
export async function judge(
  response: Response,
  asked: Headers,
  wallNow: number,
  known: () => Knowledge,
): Promise<Judged> {
  const contentType = response.headers.get('content-type') ?? undefined;
  const retryAfterMs = retryAfterOf(response.headers.get('retry-after'), wallNow);
  const looked =
    bodyDecides(response.status) && response.body !== null ? await peekBody(response.body, JUDGED_BODY) : null;
  const failure = classifyHttpResponse(
    {
      status: response.status,
      wantsHtml: asked.get('accept')?.includes('text/html') === true,
      ...(contentType !== undefined && { contentType }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(looked !== null && errorFields(Buffer.from(looked.start).toString())),
    },
    known(),
  );
  return { response: looked === null ? response : rebuilt(response, looked.body), failure };
}

function errorFields(text: string): { errorType?: string; errorCode?: string; text?: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { text };
  }
  const error = isRecord(value) && isRecord(value['error']) ? value['error'] : {};
  const { type, code } = error;
  return { ...(typeof type === 'string' && { errorType: type }), ...(typeof code === 'string' && { errorCode: code }) };
}

/**
 * An answer that fell into a failure says so in its headers; the rest of it is the gateway's. Clients with retries of
 * their own (OpenAI's) are asked to leave them: what may be repeated has been.
 */
export function marked(response: Response, marks: Readonly<Record<string, string>>): Response {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(marks)) headers.set(`holdfast-${name}`, value);
  headers.set('x-should-retry', 'false');
  return rebuilt(response, response.body, { headers });
}

/** An answer that nobody will read: its connection is let go. */
export function discard(response: Response): void {
  response.body?.cancel().catch(() => {});
}

interface Changes {
  readonly headers?: Headers;
  readonly redirected?: boolean;
  /** What a reader is told whose JSON has no end. */
  readonly truncated?: (cause: unknown) => Error;
}

/** The same answer with another body, as far as the constructor allows: it knows no status beyond 200 to 599. */
function rebuilt(original: Response, body: ReadableStream<Uint8Array> | null, changes: Changes = {}): Response {
  const { status, statusText } = original;
  const headers = changes.headers ?? original.headers;
  const allowed = status >= 200 && status <= 599;
  const made = new Response(body, { status: allowed && body !== null ? status : 200, statusText: '', headers });
  return dressed(made, {
    url: original.url,
    redirected: changes.redirected ?? original.redirected,
    type: original.type,
    status,
    statusText,
    ok: original.ok,
    truncated: changes.truncated,
  });
}

interface Dress extends Pick<Response, 'url' | 'redirected' | 'type' | 'status' | 'statusText' | 'ok'> {
  readonly truncated: Changes['truncated'];
}

/** A Response that was made here does not know where it came from, nor does a clone of it. */
function dressed(made: Response, dress: Dress): Response {
  const { truncated, ...facts } = dress;
  const parse = made.json.bind(made);
  const json = async (): Promise<unknown> => {
    try {
      return await parse();
    } catch (error) {
      throw truncated !== undefined && error instanceof SyntaxError ? truncated(error) : error;
    }
  };
  const copy = made.clone.bind(made);
  const clone = (): Response => dressed(copy(), dress);
  const values = Object.entries({ ...facts, json, clone });
  Object.defineProperties(made, Object.fromEntries(values.map(([name, value]) => [name, { value }])));
  return made;
}

/** A body that nobody reads any more must not hold its connection; `fetch` sees to that for its own answers only. */
const unread = new FinalizationRegistry<() => void>((abandon) => abandon());

/** The answer as it is handed to the caller, its body under guard. */
export function guarded(original: Response, body: GuardedBody | null, changes: Changes): Response {
  if (body === null && changes.redirected === original.redirected) return original;
  const response = rebuilt(original, body?.stream ?? null, changes);
  if (body !== null) unread.register(response, () => body.abandon());
  return response;
}
