/**
 * The way to one hello, and the link after it: providers, socket, challenge, `connect`. It decides nothing; what it
 * sees becomes events of the machine, with the epoch of their dial.
 */

import { type GatewayError, isGatewayError } from '../core/errors.js';
import { type Evidence, type GatewayWord, isRecord } from '../core/failure.js';
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
import { Credentials, type Prepared } from './credentials.js';
import type { LinkPort } from './driver.js';
import { describe, PROVIDER_DEADLINE_MS, ProviderError } from './provider-error.js';
import { watchReadiness } from './readiness.js';
import type { Runtime } from './runtime.js';
import { askProvider, readSecret } from './secrets.js';
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
  /** The store of device tokens could not be written; the link is good all the same. */
  warning(error: GatewayError): void;
  /** What a node offers. */
  offer(): { readonly caps: readonly string[]; readonly commands: readonly string[] };
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
  readonly #credentials: Credentials;
  #dial: Dial | null = null;
  #target: Target | null = null;
  #heardAt = 0;
  #stopWatching: () => void = () => {};

  constructor(settings: Settings, runtime: Runtime, events: LinkEvents, instanceId: string) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#events = events;
    this.#instanceId = instanceId;
    this.#credentials = new Credentials(settings, events);
  }

  get deviceId(): string | undefined {
    return this.#credentials.deviceId;
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
    const { url, allowPlaintext } = this.#settings;
    const signal = dial.abort.signal;
    const deadline = this.#runtime.setTimer(() => dial.abort.abort(), PROVIDER_DEADLINE_MS);
    try {
      const address = typeof url === 'string' ? url : await askProvider('url', url, signal);
      const target = checkUrl(address, allowPlaintext);
      const prepared = await this.#credentials.prepare(target, signal);
      if (this.#dial !== dial) return;
      this.#target = target;
      this.#events.push({ type: 'target', epoch: dial.epoch, loopback: target.loopback });
      this.#open(dial, target, prepared);
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

  #open(dial: Dial, target: Target, prepared: Prepared): void {
    const { fingerprint, ca } = this.#settings.tls;
    dial.socket = new GatewaySocket(
      { url: target.url, secure: target.secure, fingerprint, ca },
      {
        phase: (phase) => this.#events.push({ type: 'phase', epoch: dial.epoch, phase }),
        open: () => {
          dial.stage = 'challenge';
        },
        text: (text, bytes) => this.#text(dial, prepared, text, bytes),
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

  #text(dial: Dial, prepared: Prepared, text: string, bytes: number): void {
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
        this.#challenge(dial, frame.payload, prepared);
    } else if (dial.stage === 'hello' && frame.id === CONNECT_ID) {
      this.#answer(dial, frame, prepared);
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

  #challenge(dial: Dial, payload: unknown, prepared: Prepared): void {
    const challenge = parseChallenge(payload);
    // Without the gateway's time a device cannot sign; ours may be off by more than it allows.
    if (challenge === null || (prepared.device !== null && challenge.ts === null)) {
      this.#down(dial, {
        kind: 'garbage',
        phase: 'challenge',
        code: 'BAD_CHALLENGE',
        message: 'the challenge has no usable nonce or time',
      });
      return;
    }
    dial.stage = 'hello';
    const text = encodeRequest(CONNECT_ID, 'connect', this.#connectParams(challenge, prepared));
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
  #connectParams(challenge: Challenge, prepared: Prepared): object {
    const { client, role, scopes } = this.#settings;
    const presented = { platform: process.platform, deviceFamily: deviceFamily() };
    const device = this.#credentials.prove(prepared, challenge, presented);
    const { caps, commands } = this.#events.offer();
    return {
      minProtocol: PROTOCOLS.min,
      maxProtocol: PROTOCOLS.max,
      client: {
        id: client.id,
        version: client.version,
        platform: presented.platform,
        mode: client.mode,
        ...(device !== undefined && { deviceFamily: presented.deviceFamily }),
        ...(client.displayName !== undefined && { displayName: client.displayName }),
        instanceId: this.#instanceId,
      },
      role,
      scopes,
      caps,
      ...(role === 'node' && { commands }),
      ...(Object.keys(prepared.auth).length > 0 && { auth: prepared.auth }),
      ...(device !== undefined && { device }),
    };
  }

  /** Refused: the link is over at once, and told of once it is known whether another credential is at hand. */
  async #refused(dial: Dial, error: GatewayWord, prepared: Prepared): Promise<void> {
    const target = this.#target;
    const another = target !== null && (await this.#credentials.refused(prepared, error, target));
    this.#down(dial, { kind: 'refused', error, ...(another && { another }) });
  }

  #answer(dial: Dial, frame: ResponseFrame, prepared: Prepared): void {
    if (!frame.ok) {
      const error = frame.error ?? { code: 'UNKNOWN', message: 'refused without an error' };
      // The close that follows must not be taken for the whole story.
      dial.stage = 'dialing';
      dial.socket?.terminate();
      this.#refused(dial, error, prepared).catch((fault: unknown) => this.#unprepared(dial, fault));
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
    if (this.#target !== null) this.#credentials.accepted(prepared, hello, parsed.issued, this.#target);
    this.#events.hello(hello, parsed.defaulted);
    this.#events.push({
      type: 'hello',
      epoch: dial.epoch,
      hello: { identity: identityOf(hello), tickInterval: hello.policy.tickIntervalMs },
    });
  }
}

/** How the gateway's own node names its host; pinned at pairing together with the platform. */
function deviceFamily(): string {
  const families: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
    darwin: 'Mac',
    linux: 'Linux',
    win32: 'Windows',
  };
  return families[process.platform] ?? 'Other';
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
