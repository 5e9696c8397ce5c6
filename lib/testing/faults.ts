/** What can be made to go wrong, as data: a test injects it, the command line parses it. */

/** A fault that may end by itself. */
export interface Limited {
  /** How many connections, calls or frames it hits before it ends by itself. Default: all, until healed. */
  times?: number;
}

/** How a link is cut: RST, FIN without a close frame, RST inside a frame, or a close frame without a status. */
export const CUTS = ['reset', 'fin', 'mid-frame', 'no-status'] as const;
/** How a link is ended. */
export type Cut = (typeof CUTS)[number];

export const CHALLENGE_VARIANTS = [
  'blank',
  'missing',
  'number',
  'long',
  'pipe',
  'newline',
  'no-ts',
  'no-payload',
  'twice',
] as const;
export type ChallengeVariant = (typeof CHALLENGE_VARIANTS)[number];

export const ACCEPT_VARIANTS = ['accept', 'subprotocol', 'extension', 'headers'] as const;
export type AcceptVariant = (typeof ACCEPT_VARIANTS)[number];

export const HELLO_VARIANTS = [
  'no-policy',
  'no-auth',
  'no-server',
  'no-scopes',
  'not-hello',
  'tick-zero',
  'tick-negative',
  'tick-text',
  'tick-huge',
  'tick-null',
  'payload-zero',
  'prototype',
] as const;
export type HelloVariant = (typeof HELLO_VARIANTS)[number];

export const FRAME_VARIANTS = [
  'broken-json',
  'array',
  'number',
  'null',
  'binary',
  'bad-utf8',
  'deep',
  'unknown-type',
  'unknown-event',
  'prototype',
  'duplicate-response',
  'unknown-id',
  'no-result',
] as const;
export type FrameVariant = (typeof FRAME_VARIANTS)[number];

export const REJECT_PRESETS = [
  'token-mismatch',
  'token-missing',
  'rate-limited',
  'device-token-mismatch',
  'bootstrap-invalid',
  'pairing-required',
  'pairing-wait',
  'scope-upgrade',
  'metadata-upgrade',
  'device-identity',
  'signature-expired',
  'protocol-mismatch',
  'unknown-field',
  'startup-sidecars',
  'restarting',
  'suspending',
  'future-code',
  'close-1000',
  'close-1008',
] as const;
export type RejectPreset = (typeof REJECT_PRESETS)[number];

export const CALL_PRESETS = [
  'busy',
  'rate-limited',
  'restarting',
  'suspending',
  'starting',
  'not-started',
  'may-have-executed',
  'entry-closed',
  'handler-error',
] as const;
export type CallPreset = (typeof CALL_PRESETS)[number];

export const HTTP_FAULT_KINDS = [
  'status',
  'no-headers',
  'cut-body',
  'truncated-json',
  'slow-body',
  'endless-body',
  'stalled-stream',
  'html',
  'reset',
  'close',
] as const;
export type HttpFaultKind = (typeof HTTP_FAULT_KINDS)[number];

/** An error as the gateway words it; every field may be set, whether a real gateway would or not. */
export interface ErrorFields {
  code?: string;
  message?: string;
  details?: unknown;
  retryable?: boolean;
  /** Milliseconds; `unknown` because absurd hints must be possible. */
  retryAfterMs?: unknown;
}

/** A fault that the embedded gateway can be given; `FAULTS` describes each. */
export type Fault =
  /** The port is closed: new dials are refused. Links that exist live on. */
  | { name: 'refuse' }
  /** RST on a new TCP connection: at once, or when the first bytes of the request have been read. */
  | ({ name: 'reset-on-accept'; after?: 'accept' | 'request' } & Limited)
  /** FIN on a new TCP connection, at once. */
  | ({ name: 'close-on-accept' } & Limited)
  /** New TCP connections are accepted, never read and never answered; they stay so after healing. */
  | ({ name: 'silent' } & Limited)
  /** Another service: writes `text` on a new TCP connection and ignores what it reads. */
  | ({ name: 'banner'; text?: string } & Limited)
  /** New links send `bytes` (1) every `intervalMs` (1000). */
  | ({ name: 'trickle'; intervalMs?: number; bytes?: number } & Limited)
  /** New links delay both directions by `latencyMs` (1500). */
  | ({ name: 'slow-link'; latencyMs?: number } & Limited)
  /**
   * Live links swallow both directions without a FIN, for ever. `fresh`: what new links do (`ok`). `reset`: what the
   * client sends next is answered with RST, as by a middlebox that has forgotten the flow (false).
   */
  | { name: 'half-open'; fresh?: 'ok' | 'dead'; reset?: boolean }
  /** The 101 comes `ms` (6000) late. */
  | ({ name: 'slow-upgrade'; ms?: number } & Limited)
  /** The upgrade is answered with an HTTP status. `endless`: the body never ends. */
  | ({
      name: 'http-status';
      status: number;
      headers?: Readonly<Record<string, string>>;
      body?: string;
      endless?: boolean;
    } & Limited)
  /** Everything, upgrades included, is answered 200 with HTML. */
  | { name: 'not-a-gateway' }
  /** A malformed 101: wrong accept key, a subprotocol or extension nobody offered, or 1 MiB of headers. */
  | ({ name: 'bad-accept'; variant?: AcceptVariant } & Limited)
  /** 101, then every message comes back. */
  | { name: 'echo' }
  /** 101, then JSON of another protocol. */
  | { name: 'foreign' }
  | ({ name: 'no-challenge' } & Limited)
  /** The first `connect` is read and swallowed. */
  | ({ name: 'no-hello' } & Limited)
  | ({ name: 'bad-challenge'; variant?: ChallengeVariant } & Limited)
  /** Events, ticks and a second challenge before the hello. */
  | ({ name: 'early-events' } & Limited)
  /**
   * `connect` is refused with this error. `closeCode: null` leaves the socket open; `answer: false` closes without
   * an error frame; `role` restricts it to one role.
   */
  | ({
      name: 'reject-connect';
      preset?: RejectPreset;
      answer?: boolean;
      closeCode?: number | null;
      closeReason?: string;
      role?: 'operator' | 'node';
    } & ErrorFields &
      Limited)
  /** hello-ok is altered by a variant, or by `patch`: merged into it, a key with `undefined` is removed. */
  | ({ name: 'bad-hello'; variant?: HelloVariant; patch?: Readonly<Record<string, unknown>> } & Limited)
  /** Successive hellos name two boot ids in turn, as two gateways behind one address would. */
  | { name: 'boot-id-flap' }
  /** The link ends `ms` (20) after hello-ok, with a close code (1011) or a cut. */
  | ({ name: 'drop-after-hello'; ms?: number; code?: number; reason?: string; cut?: Cut } & Limited)
  /** Ticks go on, calls are never answered. `execute`: they run all the same (false). */
  | ({ name: 'no-responses'; methods?: readonly string[]; execute?: boolean } & Limited)
  /** Answers come `ms` (5000) late. */
  | ({ name: 'slow-responses'; methods?: readonly string[]; ms?: number } & Limited)
  /** No ticks, no health events and no pings from the gateway; `pongs: false`: no pongs either. */
  | { name: 'no-ticks'; pongs?: boolean }
  /** Wrong frames around every answer (and after hello, for those that need no answer). */
  | ({ name: 'wrong-frames'; variant?: FrameVariant } & Limited)
  /** An answer as a frame of `bytes` (27 MiB); `claim`: a frame header that claims 2^40 bytes; `endless`: fragments without end. */
  | ({ name: 'giant-frame'; bytes?: number; variant?: 'response' | 'claim' | 'endless' } & Limited)
  /** A call is refused with this error. `execute`: it runs first (false). */
  | ({ name: 'reject-call'; preset?: CallPreset; methods?: readonly string[]; execute?: boolean } & ErrorFields &
      Limited)
  /** The link is cut instead of the answer. `execute`: the call runs first (true). */
  | ({ name: 'cut-call'; methods?: readonly string[]; execute?: boolean; cut?: Cut } & Limited)
  /** The client's close frame is never answered. */
  | { name: 'mute-close' }
  /** HTTP work routes fail. `path`: a prefix (`/v1/`). `execute`: the work is done first (false). */
  | ({
      name: 'http-fault';
      kind?: HttpFaultKind;
      status?: number;
      headers?: Readonly<Record<string, string>>;
      body?: string;
      path?: string;
      intervalMs?: number;
      execute?: boolean;
    } & Limited)
  /** The drain gate stays shut although no restart follows. `upgrades: 'accept'`: new links get their hello. */
  | { name: 'stuck-drain'; upgrades?: 'refuse' | 'accept' }
  /** Host suspension: nodes are refused with 1013, operators connect, calls answer `gateway-suspending`. */
  | { name: 'suspended' }
  /** Probes lie: always ready, HTML, never answered, or not ready for a reason that is no drain. */
  | { name: 'health-lies'; variant?: 'ready' | 'html' | 'hang' | 'unready' }
  /** The model provider of the agents has no credential: completions end in 401 `authentication_error`. */
  | ({ name: 'no-provider' } & Limited);

/** The names of the faults. */
export type FaultName = Fault['name'];
/** The fault of this name. */
export type FaultOf<N extends FaultName> = Extract<Fault, { name: N }>;

/** Every fault by name, with what it does in one line. */
export const FAULTS: Readonly<Record<FaultName, string>> = {
  refuse: 'the port is closed',
  'reset-on-accept': 'RST on a new connection; :accept (default) or :request',
  'close-on-accept': 'FIN on a new connection',
  silent: 'connections are accepted and never answered',
  banner: 'another service answers with a banner; :text',
  trickle: 'new links send one byte at an interval; :interval (1s)',
  'slow-link': 'new links are slow both ways; :latency (1500ms)',
  'half-open': 'live links go dead without a FIN; :ok or :dead for new links',
  'slow-upgrade': 'the 101 comes late; :delay (6s)',
  'http-status': 'the upgrade is refused; :status, e.g. 503',
  'not-a-gateway': 'everything is answered 200 with HTML',
  'bad-accept': 'a malformed 101; :accept, :subprotocol, :extension or :headers',
  echo: '101, then every message comes back',
  foreign: '101, then JSON of another protocol',
  'no-challenge': '101, then no challenge',
  'no-hello': 'connect is read and never answered',
  'bad-challenge':
    'a malformed challenge; :blank, :missing, :number, :long, :pipe, :newline, :no-ts, :no-payload, :twice',
  'early-events': 'events and a second challenge before the hello',
  'reject-connect': 'connect is refused; :preset, e.g. token-mismatch or startup-sidecars',
  'bad-hello': 'a malformed hello-ok; :variant, e.g. tick-zero or no-policy',
  'boot-id-flap': 'successive hellos name two boot ids in turn',
  'drop-after-hello': 'the link ends soon after hello; :delay (20ms)',
  'no-responses': 'ticks go on, calls are never answered',
  'slow-responses': 'answers come late; :delay (5s)',
  'no-ticks': 'answers go on, ticks and pings never come',
  'wrong-frames': 'frames that do not fit; :variant, e.g. broken-json or duplicate-response',
  'giant-frame': 'an answer as one giant frame; :bytes (28311552)',
  'reject-call': 'calls are refused; :preset, e.g. busy or not-started',
  'cut-call': 'the link is cut instead of an answer; :reset, :fin, :mid-frame or :no-status',
  'mute-close': 'the close frame is never answered',
  'http-fault': 'HTTP work fails; :kind, e.g. status, cut-body or stalled-stream',
  'stuck-drain': 'the drain gate stays shut; :refuse or :accept for upgrades',
  suspended: 'the host is suspended',
  'health-lies': 'probes lie; :ready, :html, :hang or :unready',
  'no-provider': 'completions end in 401 authentication_error',
};
