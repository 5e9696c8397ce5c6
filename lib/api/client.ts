/** What users hold: one attachment to one gateway, and the truth about it. */
import type { Hello } from '../core/frames.js';
import type { Health } from '../core/health.js';
import type { Methods, Params, Result } from '../core/methods.js';
import { type CallDefaults, type ClientOptions, parseCallOptions } from '../core/options.js';
import type { CallDetails } from './call-entry.js';
import { type CallOptions, NO_OPTIONS } from './call-request.js';
import { ClientCore, type Outcome } from './client-core.js';
import type { ClientEvent, ClientEvents } from './events.js';
import { createGatewayMethods, type GatewayMethods } from './gateway-methods.js';

export type { Outcome } from './client-core.js';

/** Parameters of a known method, which may be left out where none is required, and options. */
export type CallArguments<M extends keyof Methods> =
  Record<never, never> extends Params<M>
    ? [params?: Params<M>, options?: CallOptions]
    : [params: Params<M>, options?: CallOptions];

/** One attachment to one gateway. It is inert until `start()`. */
export interface GatewayClient extends AsyncDisposable {
  /** Begins to dial. Calling it again changes nothing. @throws GatewayError after the client has stopped. */
  start(): this;
  /** Resolves with the hello of the link, once there is one. Rejects when the client stops, or after `timeout` ms. */
  ready(options?: { signal?: AbortSignal; timeout?: number }): Promise<Hello>;
  /**
   * One request to the gateway. Settles exactly once, by its deadline. Made before the first hello it waits for it,
   * until a first failed attempt says what is wrong.
   * @throws GatewayError only; `reason` says why, `outcome` what became of it, `remedy` what to do first.
   */
  call<M extends keyof Methods>(method: M, ...rest: CallArguments<M>): Promise<Result<M>>;
  /** A method that the table does not know: its result is what the caller says it is. */
  call<T = unknown, M extends string = string>(
    method: M extends keyof Methods ? never : M,
    params?: unknown,
    options?: CallOptions,
  ): Promise<T>;
  /** As `call`, and tells what it took: attempts, time spent waiting, restarts. */
  callDetailed<M extends keyof Methods>(method: M, ...rest: CallArguments<M>): Promise<CallDetails<Result<M>>>;
  /** As `call` for a method that the table does not know. */
  callDetailed<T = unknown, M extends string = string>(
    method: M extends keyof Methods ? never : M,
    params?: unknown,
    options?: CallOptions,
  ): Promise<CallDetails<T>>;
  /**
   * `fetch` to the gateway, with what the link knows of its restarts. Relative paths resolve against the gateway; the
   * client's own credential is sent, as it is now. Usable as the `fetch` of an OpenAI client.
   * @throws GatewayError
   */
  fetch(input: string | URL | Request, init?: RequestInit & { gateway?: CallOptions }): Promise<Response>;
  /** The methods of the gateway that provisioning needs, typed. */
  readonly gateway: GatewayMethods;
  /** Another view of the same client, with defaults of its own: same link, same queue. One per tenant, say. */
  with(defaults: CallDefaults): GatewayClient;
  /** Returns its own off. A listener that throws is logged and harms nobody. */
  on<E extends keyof ClientEvents>(event: E, listener: (event: ClientEvents[E]) => void): () => void;
  /** All events from now on, as they come. */
  events(options?: { signal?: AbortSignal }): AsyncIterable<ClientEvent>;
  /** A snapshot of what is known. */
  health(): Health;
  /** Ends the client, from any state, within `grace` ms (default 5000). Calls in flight may finish within it. Never rejects. */
  close(options?: { grace?: number }): Promise<void>;
  /** Resolves when the client has stopped; never rejects. */
  readonly done: Promise<Outcome>;
}

const DEFAULT_GRACE_MS = 5000;

/**
 * Makes a client. It does nothing until `start()`.
 * @throws GatewayError with reason `local` when an option is wrong; the message names its path.
 */
export function createClient(options: ClientOptions): GatewayClient {
  const core = new ClientCore(options);
  return new ClientView(core, core.settings.call);
}

/** For a runner whose process must end at once: the last record, and its last words without secrets. */
export function lastWords(client: GatewayClient, text: string, exitCode: number): string {
  return client instanceof ClientView ? client.abandon(text, exitCode) : text;
}

/** A client as one of its users sees it: the shared body, and defaults of its own. */
export class ClientView implements GatewayClient {
  readonly #core: ClientCore;
  readonly #defaults: CallDefaults;
  #gateway: GatewayMethods | null = null;

  constructor(core: ClientCore, defaults: CallDefaults) {
    this.#core = core;
    this.#defaults = defaults;
  }

  get done(): Promise<Outcome> {
    return this.#core.done;
  }

  get gateway(): GatewayMethods {
    this.#gateway ??= createGatewayMethods(this, this.#core.runtime);
    return this.#gateway;
  }

  abandon(text: string, exitCode: number): string {
    this.#core.abandon(exitCode);
    return this.#core.scrubbed(text);
  }

  start(): this {
    this.#core.start();
    return this;
  }

  ready(options: { signal?: AbortSignal; timeout?: number } = {}): Promise<Hello> {
    return this.#core.ready(options);
  }

  async call<T = unknown>(method: string, params?: unknown, options: CallOptions = NO_OPTIONS): Promise<T> {
    const { result } = await this.#core.call(method, params, options, this.#defaults);
    return result as T;
  }

  async callDetailed<T = unknown>(
    method: string,
    params?: unknown,
    options: CallOptions = NO_OPTIONS,
  ): Promise<CallDetails<T>> {
    return (await this.#core.call(method, params, options, this.#defaults)) as CallDetails<T>;
  }

  /** Bound, since it is handed to clients of other makers as their `fetch`. */
  readonly fetch = (
    input: string | URL | Request,
    init: RequestInit & { gateway?: CallOptions } = {},
  ): Promise<Response> => this.#core.fetch(input, init, this.#defaults);

  with(defaults: CallDefaults): GatewayClient {
    return new ClientView(this.#core, { ...this.#defaults, ...parseCallOptions(defaults) });
  }

  on<E extends keyof ClientEvents>(event: E, listener: (event: ClientEvents[E]) => void): () => void {
    return this.#core.emitter.on(event, listener);
  }

  events(options: { signal?: AbortSignal } = {}): AsyncIterable<ClientEvent> {
    return this.#core.emitter.iterate(options.signal);
  }

  health(): Health {
    return this.#core.health();
  }

  close(options: { grace?: number } = {}): Promise<void> {
    return this.#core.close(options.grace ?? DEFAULT_GRACE_MS);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
