/**
 * What became of one attempt of a call, from what the gateway answered or from how the link ended.
 *
 * `not-sent` and `not-executed` are claimed only on proof. A row of `STATEMENTS` is such a proof, or the explicit
 * absence of one. Structured details decide; a text is read only where a version gives nothing else, and the row says
 * so. Facts: gateway 2026.4.15 to 2026.9.6, measured or read in the shipped code.
 */
import { type Failure, type GatewayWord, isRecord, type Knowledge, printable, validHint } from './failure.js';
import { LIMITS } from './policy.js';
import { REMEDIES } from './verdicts.js';
import type { CallOutcome, Reason } from './vocabulary.js';

/** One failed attempt, classified. Plain data. */
export interface AttemptFailure {
  readonly reason: Reason;
  readonly outcome: CallOutcome;
  /** Stable, for logs. */
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  /** The gateway's hint in ms; never waited for shorter than this. */
  readonly retryAfter?: number;
  /** The same request will be refused again. */
  readonly permanent: boolean;
  readonly gateway?: GatewayWord;
  readonly httpStatus?: number;
  /** Temporary only because this client has just created the agent that is missing. */
  readonly settling?: boolean;
  /** Proven not executed, and the gateway asks for the same request again: ridden out whatever the reason. */
  readonly invited?: boolean;
}

/** How long after our own `agents.create` a missing agent is taken for one that settles, in ms (0.3–2 s measured). */
export const SETTLE_WINDOW_MS = 10_000;

/** What is seen in an error, as a pattern: every part that is given must hold. */
interface Pattern {
  readonly code?: string;
  readonly detailCode?: string;
  readonly detailReason?: string;
  readonly execution?: 'not_started' | 'may_have_executed';
  readonly dispatched?: boolean;
  readonly nodeError?: string;
  readonly retryable?: true;
  /** `details.method` is the method that was called. */
  readonly sameMethod?: true;
  /** `details.limit` is a text such as "30 per 60s". */
  readonly limit?: true;
  /** Only where the gateway gives nothing else. */
  readonly text?: string | RegExp;
  /** The params name an agent that this client has just created. */
  readonly justCreated?: true;
}

interface Statement {
  readonly on: Pattern;
  readonly reason: Reason;
  readonly outcome: 'not-executed' | 'unknown';
  readonly permanent?: true;
  readonly settling?: true;
  readonly invited?: true;
  /** Ms to wait when the gateway names none. */
  readonly floor?: number;
  readonly remedy?: string;
}

const WITHHELD = 'Look whether it took effect before it is repeated: the gateway cannot rule that out.';
const NODE_AWAY = 'The command did not reach the node: see node.list whether it is connected and approved.';
const REPLACED = 'Another connection took over this node identity: reconnect, and look for a second host that uses it.';
const UNAPPROVED = 'Approve the commands of the node on the gateway host: openclaw nodes pending.';
const NO_SCOPE = 'This connection lacks the scope named in the message: ask for it, with a credential that covers it.';

const maybeRan = (reason: Reason, on: Pattern, remedy = WITHHELD): Statement => ({
  on,
  reason,
  outcome: 'unknown',
  remedy,
});
const didNotRun = (reason: Reason, on: Pattern, more: Partial<Statement> = {}): Statement => ({
  on,
  reason,
  outcome: 'not-executed',
  ...more,
});
const refused = (on: Pattern, more: Partial<Statement> = {}): Statement =>
  didNotRun('rejected', on, { permanent: true, ...more });

const UNAVAILABLE = 'UNAVAILABLE';
const INVALID = 'INVALID_REQUEST';

/** The first row that holds decides. */
const STATEMENTS: readonly Statement[] = [
  // --- It may have run. Before everything else: INVALID_REQUEST carries this too (9.6 code: the selected account
  // changed after the handler had been entered).
  maybeRan('rejected', { execution: 'may_have_executed' }),
  // node.invoke: the command reached the node (9.6 measured); what it did there is its own matter.
  maybeRan('timeout', { dispatched: true, nodeError: 'TIMEOUT' }),
  maybeRan('rejected', { dispatched: true }),

  // --- Proof of not-executed by details.
  // Selected account changed before dispatch (9.6 docs, code): as INVALID_REQUEST it stays so until the caller acts.
  refused({ execution: 'not_started', code: INVALID }),
  didNotRun('rejected', { execution: 'not_started', retryable: true }, { invited: true }),
  didNotRun('rejected', { execution: 'not_started' }),
  // Drain and suspension (9.6 measured). Says "going down", not why: a stop says the same until its `shutdown`.
  didNotRun('gateway-draining', { code: UNAVAILABLE, detailReason: 'gateway-restarting' }),
  didNotRun('gateway-draining', { code: UNAVAILABLE, detailReason: 'gateway-suspending' }),
  // The method is not ready yet (5.7, 7.35 code; 9.6).
  didNotRun('gateway-starting', { code: UNAVAILABLE, detailReason: 'startup-sidecars' }),
  // node.invoke: usually the node is not connected (9.6 measured).
  didNotRun('rejected', { dispatched: false }, { remedy: NODE_AWAY }),
  // Control-plane write limit (9.6 measured, 4.26 code): checked before the handler.
  didNotRun('rate-limited', { code: UNAVAILABLE, limit: true, sameMethod: true }, { floor: LIMITS.rateLimitFloor }),

  // --- Proof by text, where there is nothing else.
  // A node's own request on a socket that another connection has replaced (9.6 measured). It is retryable, but never
  // succeeds on this socket; only the text tells it from the row below.
  didNotRun(
    'rejected',
    { detailCode: 'PAIRING_CHANGED', text: 'node pairing changed before request dispatch' },
    { remedy: REPLACED },
  ),
  // The command surface awaits approval, for as long as nobody approves (9.6 measured). No proof.
  maybeRan('pairing-required', { detailCode: 'PAIRING_CHANGED' }, UNAPPROVED),
  // Queue full (9.6 docs: refused before the method runs). No details, no hint.
  didNotRun('rate-limited', {
    code: UNAVAILABLE,
    retryable: true,
    text: 'The server is busy. Please try again in a moment.',
  }),
  // Start-up of 4.26 (code): chat.history and models.list; `details.method` without a reason.
  didNotRun('gateway-starting', {
    code: UNAVAILABLE,
    sameMethod: true,
    text: /^\S+ unavailable during gateway startup$/,
  }),
  // A node's request after `shutdown` (9.6 code): no details, no retryable.
  didNotRun('gateway-draining', { code: UNAVAILABLE, text: /^\S+ unavailable during gateway shutdown$/ }),
  // Caught between drain and close (9.6 measured, code): raised before the handler is entered.
  didNotRun('gateway-draining', { code: UNAVAILABLE, text: /^(Error: )?Gateway request entry is closed$/ }),
  didNotRun('gateway-draining', { code: UNAVAILABLE, text: 'gateway closing before request dispatch' }),

  // --- Refusals of the request itself.
  // Settle window after agents.create (9.6 measured, 0.3–2 s): permanent for any agent that we did not just create.
  didNotRun('rejected', { code: INVALID, justCreated: true, detailCode: 'UNKNOWN_AGENT_ID' }, { settling: true }),
  didNotRun('rejected', { code: INVALID, justCreated: true, text: /^agent "[^"]*" not found$/ }, { settling: true }),
  refused({ code: 'FORBIDDEN', detailCode: 'MISSING_SCOPE' }, { remedy: NO_SCOPE }),
  // Validation, unknown method, missing scope (old), role, stale write guard (all versions).
  refused({ code: INVALID }),
  refused({ code: 'FORBIDDEN' }),
  refused({ code: 'APPROVAL_NOT_FOUND' }),
  refused({ code: 'NOT_PAIRED' }, { reason: 'pairing-required' }),

  // --- Not an error of this protocol (`frames.ts` puts this code).
  maybeRan('protocol', { code: 'MALFORMED_ERROR' }),
];

/**
 * UNAVAILABLE without a proof, and codes of later gateways. Any exception inside a handler is reported as UNAVAILABLE,
 * also one thrown after the work was done, and `retryable` may stand on work that was cancelled half-way: the outcome
 * is unknown. The reason is `rejected`, since link and gateway are well and this call was refused; not permanent, since
 * a full disk or a missing provider passes. So it fails at once, and only a `confirm` can say what became of it.
 */
const NO_PROOF: Statement = maybeRan('rejected', {});

/** What is known of the answered call, beyond the answer. */
export interface AnsweredCall {
  readonly method: string;
  /** The params name an agent that this client created within `SETTLE_WINDOW_MS`. */
  readonly justCreated?: boolean;
  /** A restart or stop that `shutdown` announced: more exact than the "going down" of a refused call. */
  readonly known?: Pick<Knowledge, 'restarting' | 'stopped'>;
}

/** An answer with `ok: false`. Details are untrusted: every look is guarded. */
export function classifyResponse(word: GatewayWord, call: AnsweredCall): AttemptFailure {
  const details = isRecord(word.details) ? word.details : {};
  const row = STATEMENTS.find((statement) => holds(statement.on, word, details, call)) ?? NO_PROOF;
  const reason = row.reason === 'gateway-draining' ? sharpened(call.known) : row.reason;
  const retryAfter = validHint(word.retryAfterMs) ?? row.floor;
  return {
    reason,
    outcome: row.outcome,
    code: printable(textOf(details, 'code') ?? textOf(details, 'reason') ?? word.code, 80),
    message: `the gateway refused ${printable(call.method, 80)}: ${printable(word.message)}`,
    remedy: row.remedy ?? REMEDIES[reason],
    permanent: row.permanent ?? false,
    gateway: word,
    ...(retryAfter !== undefined && { retryAfter }),
    ...(row.settling && { settling: true }),
    ...(row.invited && { invited: true }),
  };
}

function sharpened(known: AnsweredCall['known']): Reason {
  if (known?.stopped) return 'gateway-stopped';
  return known?.restarting ? 'gateway-restart' : 'gateway-draining';
}

function holds(
  on: Pattern,
  word: GatewayWord,
  details: Readonly<Record<string, unknown>>,
  call: AnsweredCall,
): boolean {
  return (
    (on.code === undefined || on.code === word.code) &&
    (on.detailCode === undefined || on.detailCode === textOf(details, 'code')) &&
    (on.detailReason === undefined || on.detailReason === textOf(details, 'reason')) &&
    (on.execution === undefined || on.execution === textOf(details, 'execution')) &&
    (on.dispatched === undefined || on.dispatched === own(details, 'nodeCommandDispatched')) &&
    (on.nodeError === undefined || on.nodeError === nodeErrorOf(details)) &&
    (on.retryable === undefined || word.retryable === true) &&
    (on.sameMethod === undefined || textOf(details, 'method') === call.method) &&
    (on.limit === undefined || textOf(details, 'limit') !== undefined) &&
    (on.justCreated === undefined || call.justCreated === true) &&
    (on.text === undefined || (typeof on.text === 'string' ? on.text === word.message : on.text.test(word.message)))
  );
}

function nodeErrorOf(details: Readonly<Record<string, unknown>>): string | undefined {
  const nodeError = own(details, 'nodeError');
  return isRecord(nodeError) ? textOf(nodeError, 'code') : undefined;
}

function textOf(record: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const value = own(record, key);
  return typeof value === 'string' ? value : undefined;
}

function own(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** How far the frame of a call had come when its link ended. */
export interface CutCall {
  /** The frame was given to the socket; that is not yet "received". */
  readonly handedOver: boolean;
  /** It was given to the socket after the `shutdown` event had been read … */
  readonly afterShutdown?: boolean;
  /** … from a gateway that drops such frames unread (2026.9.x; older ones may still run them). */
  readonly fencing?: boolean;
}

/** The link ended, or was not there, and the call has no answer. */
export function classifyLinkLoss(failure: Failure, call: CutCall): AttemptFailure {
  return {
    reason: failure.reason,
    outcome: lostOutcome(call),
    code: failure.code,
    message: failure.message,
    remedy: failure.remedy,
    // 1009: a frame was too big for the peer. Which of those in flight is not said, so none of them is sent again.
    permanent: call.handedOver && failure.closeCode === 1009,
    ...(failure.retryAfter !== undefined && { retryAfter: failure.retryAfter }),
    ...(failure.gateway !== undefined && { gateway: failure.gateway }),
    ...(failure.httpStatus !== undefined && { httpStatus: failure.httpStatus }),
  };
}

/** Unanswered at the close is unknown: on 2026.4.26 four unanswered `agents.files.set` had all been executed (trace). */
function lostOutcome(call: CutCall): CallOutcome {
  if (!call.handedOver) return 'not-sent';
  return call.afterShutdown === true && call.fencing === true ? 'not-executed' : 'unknown';
}

/** Does a refusal say that the gateway is on its way down or suspended? Restart and stop sound the same here. */
export function isDraining(word: GatewayWord): boolean {
  const reason = isRecord(word.details) ? textOf(word.details, 'reason') : undefined;
  return reason === 'gateway-restarting' || reason === 'gateway-suspending';
}
