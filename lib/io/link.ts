/**
 * The way to one hello, and the link after it: providers, socket, challenge, `connect`. It decides nothing; what it
 * sees becomes events of the machine, with the epoch of their dial.
 */

import { isGatewayError } from '../core/errors.js';
import { type Evidence, isRecord } from '../core/failure.js';
import {
  type Challenge,
  type EventFrame,
  encodeRequest,
  type Hello,
  identityOf,
  MAX_HANDSHAKE_BYTES,
  parseChallenge,
  parseFrame,
  parseHello,
  parseShutdown,
  type ResponseFrame,
} from '../core/frames.js';
import type { Event } from '../core/machine.js';
import { checkUrl, type Settings, type Target } from '../core/options.js';
import type { LinkPort } from './driver.js';
import { watchReadiness } from './readiness.js';
import type { Runtime } from './runtime.js';
import { askProvider, describe, PROVIDER_DEADLINE_MS, ProviderError, readSecret } from './secrets.js';
import { GatewaySocket } from './socket.js';

/** Protocol versions offered, in one dial: every gateway from 2026.4.15 to 2026.9.6 accepts the range. */
const PROTOCOLS = { min: 3, max: 4 } as const;
/** Unreadable frames in a row after which the peer is taken for something else. */
const GARBAGE_LIMIT = 10;

export interface LinkEvents {
  /** For the machine. */
  push(event: Event): void;
  hello(hello: Hello, defaulted: readonly string[]): void;
  response(frame: ResponseFrame): void;
  event(frame: EventFrame): void;
  /** A frame that could not be read; counted and logged by the owner. */
  unreadable(why: string, bytes: number): void;
  /** A secret was read: its value must appear in no output. */
  secret(value: string): void;
}

interface Credentials {
  readonly token?: string;
  readonly password?: string;
}

interface Dial {
  readonly epoch: number;
  readonly abort: AbortController;
  socket: GatewaySocket | null;
  stage: 'dialing' | 'challenge' | 'hello' | 'online';
  garbage: number;
}

const CONNECT_ID = 'connect';

export class Link implements LinkPort {
  readonly #settings: Settings;
  readonly #runtime: Runtime;
  readonly #events: LinkEvents;
  readonly #instanceId: string;
  #dial: Dial | null = null;
  #target: Target | null = null;
  #heardAt = 0;
  #stopWatching: () => void = () => {};

  constructor(settings: Settings, runtime: Runtime, events: LinkEvents, instanceId: string) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#events = events;
    this.#instanceId = instanceId;
  }

  heardAt(): number {
    return this.#heardAt;
  }

  /** The address of the last dial. */
  get target(): Target | null {
    return this.#target;
  }

  get buffered(): number {
    return this.#dial?.socket?.buffered ?? 0;
  }

  dial(epoch: number): void {
    this.hangUp('terminate');
    const dial: Dial = { epoch, abort: new AbortController(), socket: null, stage: 'dialing', garbage: 0 };
    this.#dial = dial;
    this.#prepare(dial).catch((error: unknown) => this.#unprepared(dial, error));
  }

  hangUp(how: 'terminate' | 'close'): void {
    this.#stopWatching();
    this.#stopWatching = () => {};
    const dial = this.#dial;
    if (dial === null) return;
    dial.abort.abort();
    if (how === 'close') {
      dial.socket?.close();
      return;
    }
    this.#dial = null;
    dial.socket?.terminate();
  }

  ping(): void {
    this.#dial?.socket?.ping();
  }

  watchReadiness(epoch: number): void {
    this.#stopWatching();
    if (this.#target === null) return;
    this.#stopWatching = watchReadiness(this.#target, this.#runtime, () => this.#events.push({ type: 'ready', epoch }));
  }

  /** Hands one frame to the live link. False: nothing was handed over. */
  send(text: string): boolean {
    const dial = this.#dial;
    return dial?.stage === 'online' && dial.socket?.send(text) === true;
  }

  /** Asks the providers, each under its deadline, and opens the socket. */
  async #prepare(dial: Dial): Promise<void> {
    const { url, token, password, allowPlaintext } = this.#settings;
    const signal = dial.abort.signal;
    const deadline = this.#runtime.setTimer(() => dial.abort.abort(), PROVIDER_DEADLINE_MS);
    try {
      const address = typeof url === 'string' ? url : await askProvider('url', url, signal);
      const target = checkUrl(address, allowPlaintext);
      const [tokenNow, passwordNow] = await Promise.all([
        token === undefined ? undefined : readSecret('token', token, signal),
        password === undefined ? undefined : readSecret('password', password, signal),
      ]);
      for (const value of [tokenNow, passwordNow]) if (value !== undefined) this.#events.secret(value);
      if (this.#dial !== dial) return;
      this.#target = target;
      this.#events.push({ type: 'target', epoch: dial.epoch, loopback: target.loopback });
      const credentials = {
        ...(tokenNow !== undefined && { token: tokenNow }),
        ...(passwordNow !== undefined && { password: passwordNow }),
      };
      this.#open(dial, target, credentials);
    } finally {
      deadline.clear();
    }
  }

  /** The address as it is now, for a request before the first dial. @throws ProviderError or GatewayError */
  async findTarget(): Promise<Target> {
    const { url, allowPlaintext } = this.#settings;
    const address =
      typeof url === 'string' ? url : await this.#withDeadline((signal) => askProvider('url', url, signal));
    return checkUrl(address, allowPlaintext);
  }

  /** Token or password as it is now. @throws ProviderError */
  async readCredential(): Promise<string | undefined> {
    const { token, password } = this.#settings;
    const secret = token ?? password;
    if (secret === undefined) return undefined;
    const value = await this.#withDeadline((signal) =>
      readSecret(token === undefined ? 'password' : 'token', secret, signal),
    );
    this.#events.secret(value);
    return value;
  }

  async #withDeadline<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const timer = this.#runtime.setTimer(() => abort.abort(), PROVIDER_DEADLINE_MS);
    try {
      return await ask(abort.signal);
    } finally {
      timer.clear();
    }
  }

  #unprepared(dial: Dial, error: unknown): void {
    if (this.#dial !== dial) return;
    this.#down(dial, providerEvidence(error));
  }

  #open(dial: Dial, target: Target, credentials: Credentials): void {
    const { fingerprint, ca } = this.#settings.tls;
    dial.socket = new GatewaySocket(
      { url: target.url, secure: target.secure, fingerprint, ca },
      {
        phase: (phase) => this.#events.push({ type: 'phase', epoch: dial.epoch, phase }),
        open: () => {
          dial.stage = 'challenge';
        },
        text: (text, bytes) => this.#text(dial, credentials, text, bytes),
        sign: () => {
          this.#heardAt = this.#runtime.now();
        },
        down: (evidence) => this.#down(dial, evidence),
      },
    );
  }

  #down(dial: Dial, evidence: Evidence): void {
    if (this.#dial !== dial) return;
    this.#dial = null;
    dial.abort.abort();
    dial.socket?.terminate();
    this.#events.push({ type: 'down', epoch: dial.epoch, evidence });
  }

  #text(dial: Dial, credentials: Credentials, text: string, bytes: number): void {
    if (this.#dial !== dial) return;
    this.#heardAt = this.#runtime.now();
    const parsed = parseFrame(text);
    if (!parsed.ok) {
      this.#unreadable(dial, parsed.why, bytes);
      return;
    }
    dial.garbage = 0;
    const { frame } = parsed;
    if (dial.stage === 'online') {
      if (frame.type === 'res') this.#events.response(frame);
      else this.#event(dial, frame);
    } else if (frame.type === 'event') {
      // Ticks and broadcasts before the hello are not ours yet; a second challenge is ignored.
      if (frame.event === 'connect.challenge' && dial.stage === 'challenge')
        this.#challenge(dial, frame.payload, credentials);
    } else if (dial.stage === 'hello' && frame.id === CONNECT_ID) {
      this.#answer(dial, frame);
    }
  }

  #event(dial: Dial, frame: EventFrame): void {
    if (frame.event === 'shutdown')
      this.#events.push({ type: 'shutdown', epoch: dial.epoch, ...parseShutdown(frame.payload) });
    this.#events.event(frame);
  }

  #unreadable(dial: Dial, why: string, bytes: number): void {
    dial.garbage += 1;
    this.#events.unreadable(why, bytes);
    const handshake = dial.stage !== 'online';
    if (dial.garbage < GARBAGE_LIMIT && !handshake) return;
    const phase = handshake ? (dial.stage === 'hello' ? 'hello' : 'challenge') : 'online';
    this.#down(dial, {
      kind: 'garbage',
      phase,
      code: 'UNREADABLE_FRAMES',
      message: `the peer sends what is no frame of this protocol: ${why}`,
    });
  }

  #challenge(dial: Dial, payload: unknown, credentials: Credentials): void {
    const challenge = parseChallenge(payload);
    if (challenge === null) {
      this.#down(dial, {
        kind: 'garbage',
        phase: 'challenge',
        code: 'BAD_CHALLENGE',
        message: 'the challenge has no usable nonce',
      });
      return;
    }
    dial.stage = 'hello';
    const text = encodeRequest(CONNECT_ID, 'connect', this.#connectParams(challenge, credentials));
    if (Buffer.byteLength(text) > MAX_HANDSHAKE_BYTES) {
      this.#down(dial, {
        kind: 'trust',
        code: 'CONNECT_TOO_LARGE',
        message: `connect is larger than the ${MAX_HANDSHAKE_BYTES} bytes a gateway reads before the hello`,
      });
      return;
    }
    dial.socket?.handshaking();
    dial.socket?.send(text);
  }

  /** A closed schema on the other side: an unknown key or an empty optional is refused. */
  #connectParams(_challenge: Challenge, credentials: Credentials): object {
    const { client, role, scopes } = this.#settings;
    return {
      minProtocol: PROTOCOLS.min,
      maxProtocol: PROTOCOLS.max,
      client: {
        id: client.id,
        version: client.version,
        platform: process.platform,
        mode: client.mode,
        ...(client.displayName !== undefined && { displayName: client.displayName }),
        instanceId: this.#instanceId,
      },
      role,
      scopes,
      caps: [],
      ...(Object.keys(credentials).length > 0 && { auth: credentials }),
    };
  }

  #answer(dial: Dial, frame: ResponseFrame): void {
    if (!frame.ok) {
      const error = frame.error ?? { code: 'UNKNOWN', message: 'refused without an error' };
      this.#down(dial, { kind: 'refused', error });
      return;
    }
    const parsed = parseHello(frame.payload);
    if (!parsed.ok) {
      this.#down(dial, { kind: 'garbage', phase: 'hello', code: 'BAD_HELLO', message: parsed.why });
      return;
    }
    dial.stage = 'online';
    dial.socket?.established();
    const { hello } = parsed;
    this.#events.hello(hello, parsed.defaulted);
    this.#events.push({
      type: 'hello',
      epoch: dial.epoch,
      hello: { identity: identityOf(hello), tickInterval: hello.policy.tickIntervalMs },
    });
  }
}

function providerEvidence(error: unknown): Evidence {
  if (error instanceof ProviderError) {
    const { provider, code, message, invalid } = error;
    return { kind: 'provider', provider, code, message, ...(invalid && { invalid }) };
  }
  if (isGatewayError(error))
    return { kind: 'provider', provider: 'url', code: error.code, message: error.message, invalid: true };
  const code = isRecord(error) && typeof error['code'] === 'string' ? error['code'] : 'DIAL_FAILED';
  return { kind: 'provider', provider: 'dial', code, message: describe(error) };
}
