/**
 * The frames of the wire, checked at the door. Written strictly, read leniently: what the gateway sends carries keys
 * beyond its schema, and what it is sent must carry none (measured, 2026.4.26 and 2026.9.6).
 */
import { z } from 'zod';
import { type GatewayWord, printable, validHint } from './failure.js';
import { LIMITS } from './policy.js';
import type { GatewayIdentity } from './restart.js';

/** Largest frame accepted, in bytes: the gateway's own limit for what it is sent; answers can be as large. */
export const MAX_FRAME_BYTES = 26_214_400;
/** Largest frame the gateway takes before the hello, in bytes. */
export const MAX_HANDSHAKE_BYTES = 65_536;

const errorShape = z.object({
  code: z.string(),
  message: z.string(),
  details: z.unknown().optional(),
  retryable: z.unknown().optional(),
  retryAfterMs: z.unknown().optional(),
});

const frameShape = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('event'),
    event: z.string().min(1),
    payload: z.unknown().optional(),
    seq: z.unknown().optional(),
  }),
  z.object({
    type: z.literal('res'),
    id: z.string(),
    ok: z.unknown().optional(),
    payload: z.unknown().optional(),
    error: z.unknown().optional(),
  }),
]);

export interface EventFrame {
  readonly type: 'event';
  readonly event: string;
  readonly payload: unknown;
  readonly seq: number | null;
}

export interface ResponseFrame {
  readonly type: 'res';
  readonly id: string;
  readonly ok: boolean;
  readonly payload: unknown;
  readonly error: GatewayWord | null;
}

export type Frame = EventFrame | ResponseFrame;

export type Parsed = { readonly ok: true; readonly frame: Frame } | { readonly ok: false; readonly why: string };

/** One text of the wire as a frame, or why it is none. Never throws. */
export function parseFrame(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, why: 'not JSON' };
  }
  const parsed = frameShape.safeParse(value);
  if (!parsed.success) return { ok: false, why: 'not a frame of this protocol' };
  const frame = parsed.data;
  if (frame.type === 'event') {
    const seq = typeof frame.seq === 'number' && Number.isSafeInteger(frame.seq) && frame.seq >= 0 ? frame.seq : null;
    return { ok: true, frame: { type: 'event', event: frame.event, payload: frame.payload, seq } };
  }
  // Neither yes nor no: the call it answers fails for it, and only that call.
  const ok = frame.ok === true;
  return {
    ok: true,
    frame: { type: 'res', id: frame.id, ok, payload: frame.payload, error: ok ? null : wordOf(frame.error) },
  };
}

/** The gateway's error as it is kept: its texts on one line and bounded, its hints checked. */
function wordOf(value: unknown): GatewayWord {
  const parsed = errorShape.safeParse(value);
  if (!parsed.success) return { code: 'MALFORMED_ERROR', message: 'the gateway refused without a readable error' };
  const { code, message, details, retryable, retryAfterMs } = parsed.data;
  const hint = validHint(retryAfterMs);
  return {
    code: printable(code, 80),
    message: printable(message),
    ...(details !== undefined && { details }),
    ...(typeof retryable === 'boolean' && { retryable }),
    ...(hint !== undefined && { retryAfterMs: hint }),
  };
}

export interface Challenge {
  readonly nonce: string;
  readonly ts: number | null;
}

const challengeShape = z.object({ nonce: z.string().trim().min(1).max(512), ts: z.unknown().optional() });

/** The gateway's challenge, or null when it cannot be one: nothing is sent, let alone signed, for such a peer. */
export function parseChallenge(payload: unknown): Challenge | null {
  const parsed = challengeShape.safeParse(payload);
  if (!parsed.success || /[|\r\n\0]/.test(parsed.data.nonce)) return null;
  const { nonce, ts } = parsed.data;
  return { nonce, ts: typeof ts === 'number' && Number.isSafeInteger(ts) && ts >= 0 ? ts : null };
}

/** What the gateway says of itself and of this link in `hello-ok`. */
export interface Hello {
  readonly protocol: number;
  /** `bootId` names this gateway instance and changes at every restart; 2026.8 and later. */
  readonly server: { readonly version?: string; readonly connId?: string; readonly bootId?: string };
  readonly auth: { readonly role?: string; readonly scopes: readonly string[]; readonly method?: string };
  readonly policy: { readonly maxPayload: number; readonly tickIntervalMs: number };
  readonly methods: readonly string[];
  /** The whole payload as it came, without the device token. Untrusted. */
  readonly raw: Readonly<Record<string, unknown>>;
}

const text = z.string().max(256).optional().catch(undefined);
const helloShape = z.object({
  type: z.literal('hello-ok'),
  protocol: z.number().int().positive(),
  server: z.object({ version: text, connId: text, bootId: text }).catch({}),
  auth: z
    .object({
      role: text,
      scopes: z.array(z.string()).catch([]),
      method: text,
      deviceToken: z.string().min(1).optional().catch(undefined),
      issuedAtMs: z.number().int().optional().catch(undefined),
    })
    .catch({ scopes: [] }),
  policy: z.object({ maxPayload: z.unknown().optional(), tickIntervalMs: z.unknown().optional() }).catch({}),
  features: z.object({ methods: z.array(z.string()).catch([]) }).catch({ methods: [] }),
});

/** A device token that a hello carries. It is in no other place of what is handed on. */
export interface IssuedDeviceToken {
  readonly token: string;
  readonly issuedAtMs?: number;
}

export type ParsedHello =
  | {
      readonly ok: true;
      readonly hello: Hello;
      readonly issued: IssuedDeviceToken | null;
      /** Fields that were unusable and took their default. */
      readonly defaulted: readonly string[];
    }
  | { readonly ok: false; readonly why: string };

export function parseHello(payload: unknown): ParsedHello {
  const parsed = helloShape.safeParse(payload);
  if (!parsed.success) return { ok: false, why: 'the answer to connect is not a hello-ok' };
  const { protocol, server, auth, policy, features } = parsed.data;
  const defaulted: string[] = [];
  const limit = (name: string, value: unknown, fallback: number, max: number): number => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value <= max) return value;
    defaulted.push(name);
    return fallback;
  };
  const hello: Hello = {
    protocol,
    server: defined(server),
    auth: { scopes: auth.scopes, ...defined({ role: auth.role, method: auth.method }) },
    policy: {
      maxPayload: limit('policy.maxPayload', policy.maxPayload, MAX_FRAME_BYTES, 2 ** 31),
      // A tick of more than an hour is no heartbeat; Node fires a timer beyond 2^31 ms at once.
      tickIntervalMs: limit('policy.tickIntervalMs', policy.tickIntervalMs, LIMITS.defaultTick, 3_600_000),
    },
    methods: features.methods,
    raw: withoutSecrets(payload as Record<string, unknown>),
  };
  const { deviceToken, issuedAtMs } = auth;
  const issued =
    deviceToken === undefined ? null : { token: deviceToken, ...(issuedAtMs !== undefined && { issuedAtMs }) };
  return { ok: true, hello, issued, defaulted };
}

export function identityOf(hello: Hello): GatewayIdentity {
  return { ...hello.server, protocol: hello.protocol };
}

/** Tokens and capability addresses of a hello stay out of what is handed on. */
function withoutSecrets(payload: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { auth, canvasHostUrl: _canvas, controlUiUrl: _ui, ...rest } = payload;
  if (typeof auth !== 'object' || auth === null) return rest;
  const { deviceToken: _token, deviceTokens: _tokens, ...harmless } = auth as Record<string, unknown>;
  return { ...rest, auth: harmless };
}

/** `restartExpectedMs` of a `shutdown` event: a number means that the gateway is coming back; absent or null, that it stops. */
export function parseShutdown(payload: unknown): { readonly restartExpectedMs: number | null } {
  const parsed = z.object({ restartExpectedMs: z.unknown().optional() }).safeParse(payload);
  const value = parsed.success ? parsed.data.restartExpectedMs : undefined;
  if (typeof value !== 'number' || Number.isNaN(value)) return { restartExpectedMs: null };
  return { restartExpectedMs: validHint(value) ?? 0 };
}

/** Only `type, id, method, params`: 2026.4.26 closes the socket on any other key. */
export function encodeRequest(id: string, method: string, params: unknown): string {
  return JSON.stringify({ type: 'req', id, method, params: params ?? {} });
}

function defined<T extends Record<string, unknown>>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const out: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(value)) if (entry !== undefined) out[key] = entry;
  return out as { [K in keyof T]?: Exclude<T[K], undefined> };
}
