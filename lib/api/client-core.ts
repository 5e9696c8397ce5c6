/** The one shared body behind all views of a client: it wires the machine, the link, the calls and the files together. */
import { knowledge } from '../core/connection.js';
import { errorOf, GatewayError } from '../core/errors.js';
import type { Failure } from '../core/failure.js';
import { type EventFrame, type Hello, MAX_FRAME_BYTES } from '../core/frames.js';
import { type Health, healthOf, type NodeHealth, reasonOf, restartInfo } from '../core/health.js';
import type { Effect, Gate, Notice } from '../core/machine.js';
import { type CallDefaults, type ClientOptions, parseOptions, type Settings } from '../core/options.js';
import type { RestartInfo } from '../core/restart.js';
import type { Runtime } from '../core/runtime.js';
import type { Reason, StopOutcome } from '../core/vocabulary.js';
import { Driver, PULSE_MS } from '../io/driver.js';
import { Link } from '../io/link.js';
import { LivenessFile } from '../io/liveness-file.js';
import { SafeLog } from '../io/log.js';
import { identityOf } from '../io/process-identity.js';
import { ProviderError } from '../io/provider-error.js';
import { systemRuntime } from '../io/runtime.js';
import { Scrubber } from '../io/scrubber.js';
import { checkSecretFile } from '../io/secrets.js';
import { VERSION } from '../version.js';
import { type CallDetails, localError } from './call-entry.js';
import { type CallOptions, httpOptions, NO_OPTIONS, Requests } from './call-request.js';
import { Calls } from './calls.js';
import { IsolatedEmitter } from './emitter.js';
import type { ClientEvents } from './events.js';
import { GatewayFetch } from './fetch.js';
import { Incoming } from './incoming.js';
import type { InvocationPort } from './invocations.js';
import { attemptEvent, factsOf, giveUpEvent, lineOf, restartEvent, stateEvent } from './records.js';
import { RetryAccount } from './retry-account.js';

/** How a client ended. `exitCode` is what its process should exit with; the client itself never ends a process. */
export interface Outcome {
  readonly outcome: StopOutcome;
  readonly reason?: Reason;
  readonly error?: GatewayError;
  readonly exitCode: number;
}

/** Of the grace, what is kept for the close handshake, in ms. */
const CLOSE_SHARE_MS = 1000;

/** What a role adds to a client: what it offers in `connect`, and what it does with what the gateway asks of it. */
export interface RolePart {
  offer(): { readonly caps: readonly string[]; readonly commands: readonly string[] };
  linkUp(hello: Hello): void;
  linkLost(reason: Reason): void;
  /** True: it was meant for the role, and is nobody else's business. */
  event(event: string, payload: unknown): boolean;
  health(): NodeHealth;
  close(grace: number): Promise<void>;
}

export interface RolePort extends InvocationPort {
  /** Another connection with our identity has taken our place. */
  replaced(times: number): void;
}

/** The one shared body behind all views of a client. */
export class ClientCore {
  readonly settings: Settings;
  /** What a node adds to a client. */
  role: RolePart | null = null;
  readonly done: Promise<Outcome>;
  readonly emitter: IsolatedEmitter<ClientEvents>;
  readonly #runtime: Runtime;
  readonly #instanceId: string;
  readonly #scrubber = new Scrubber();
  readonly #log: SafeLog;
  readonly #driver: Driver;
  readonly #link: Link;
  readonly #calls: Calls;
  readonly #incoming: Incoming;
  readonly #requests: Requests;
  readonly #account: RetryAccount;
  readonly #http: GatewayFetch;
  readonly #gateWaiters = new Set<() => void>();
  readonly #liveness: LivenessFile | null;
  readonly #readyWaiters = new Set<() => void>();
  #finish: (outcome: Outcome) => void = () => {};
  #ended: Outcome | null = null;
  #hello: Hello | null = null;
  #closing: Promise<void> | null = null;
  #lagMax = 0;

  constructor(options: ClientOptions) {
    // Wrong options are for the parser to refuse, a wrong runtime among them.
    this.#runtime = typeof options?.runtime?.id === 'function' ? options.runtime : systemRuntime;
    this.#instanceId = this.#runtime.id();
    this.settings = parseOptions(options, this.#instanceId.slice(0, 8), VERSION);
    checkSecretFile('token', this.settings.token);
    checkSecretFile('password', this.settings.password);
    const { policy, liveness } = this.settings;
    this.#log = new SafeLog(this.settings.logger, this.#scrubber, {
      component: 'holdfast',
      instanceId: this.#instanceId,
    });
    this.emitter = new IsolatedEmitter((event, error) => this.#fault(`listener of ${event}`, error));
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#liveness = liveness.file === null ? null : this.#makeLiveness(liveness.file, liveness.interval);
    this.#incoming = new Incoming(this.#log, this.emitter, this.#runtime);
    this.#account = new RetryAccount(this.#runtime);
    this.#calls = this.#makeCalls();
    this.#http = this.#makeHttp();
    this.#requests = new Requests(this.#runtime);
    this.#driver = new Driver(policy, this.#runtime, this.#observer(), Math.min(liveness.interval, PULSE_MS));
    this.#link = this.#makeLink();
    this.#driver.attach(this.#link);
  }

  #makeLiveness(file: string, intervalMs: number): LivenessFile {
    return new LivenessFile({
      file,
      intervalMs,
      identity: identityOf(this.#instanceId),
      version: VERSION,
      onModeChange: ({ from, to, error }) => {
        const level = to === 'rename' ? 'info' : 'warn';
        this.#log.write(
          level,
          { event: 'liveness', mode: to, prevMode: from, ...(error && { code: error.code, error: error.message }) },
          `liveness file: ${from} → ${to}${error ? `, ${error.message}` : ''}`,
        );
      },
    });
  }

  #makeCalls(): Calls {
    const port = {
      send: (text: string) => this.#link.send(text),
      restart: () => this.#restart(),
      linkReason: () => reasonOf(this.#driver.state),
      bootId: () => this.#hello?.server.bootId,
      known: () => knowledge(this.#driver.state.journey),
      draining: () => this.#driver.push({ type: 'draining', epoch: this.#driver.state.journey.epoch }),
      served: () => this.#driver.push({ type: 'served', epoch: this.#driver.state.journey.epoch }),
      retried: (event: ClientEvents['retry']) => this.emitter.emit('retry', event),
      stray: (id: string) =>
        this.#log.write('debug', { event: 'stray-answer', requestId: id }, 'an answer that no call waits for'),
      fault: (where: string, error: unknown) => this.#fault(where, error),
    };
    return new Calls(port, this.#runtime, this.#account);
  }

  #makeHttp(): GatewayFetch {
    return new GatewayFetch(
      {
        base: async () => {
          const { url, secure } = this.#link.target ?? (await this.#link.findTarget().catch(unprovided));
          return url.replace(/^wss?:/, secure ? 'https:' : 'http:');
        },
        credential: () => this.#link.readCredential().catch(unprovided),
        link: () => this.#calls.link(),
        known: () => knowledge(this.#driver.state.journey),
        restart: () => this.#restart(),
        restarts: () => this.#driver.state.journey.restarts,
        gateChanged: (signal) => this.#gateChanged(signal),
        draining: () => this.#driver.push({ type: 'draining', epoch: this.#driver.state.journey.epoch }),
        served: () => this.#driver.push({ type: 'served', epoch: this.#driver.state.journey.epoch }),
        retried: (event) => this.emitter.emit('retry', event),
        fault: (where, error) => this.#fault(where, error),
      },
      this.#runtime,
      this.#account,
    );
  }

  #gateChanged(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#gateWaiters.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#gateWaiters.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #makeLink(): Link {
    return new Link(
      this.settings,
      this.#runtime,
      {
        // Scrubbed at the door: what a peer throws back must reach no error, event, snapshot or file either.
        push: (event) =>
          this.#driver.push(event.type === 'down' ? (this.#scrubber.value(event) as typeof event) : event),
        hello: (hello, defaulted) => this.#welcome(hello, defaulted),
        response: (frame) => this.#calls.answered(frame.ok ? frame : (this.#scrubber.value(frame) as typeof frame)),
        event: (frame) => this.#broadcast(frame),
        unreadable: (why, bytes) => this.#incoming.unreadable(why, bytes),
        secret: (value) => this.#scrubber.add(value),
        warning: (error) =>
          this.#log.write(
            'warn',
            { event: 'device-store', code: error.code, error: error.message, remedy: error.remedy },
            error.message,
          ),
        offer: () => this.role?.offer() ?? { caps: [], commands: [] },
      },
      this.#instanceId,
    );
  }

  // ------------------------------------------------------------------------------------------------ from the machine

  #observer(): ConstructorParameters<typeof Driver>[2] {
    return {
      notice: (notice) => this.#tell(notice),
      gate: (gate, cut, failure) => this.#setGate(gate, cut, failure),
      record: () => this.#record(),
      finish: (end) => this.#end(end),
      broken: (what, times) =>
        this.#log.write(
          'error',
          { event: 'invariant_broken', what, times, trace: this.#driver.trace.slice(-20) },
          `invariant broken: ${what}`,
        ),
      fault: (where, error) => this.#fault(where, error),
    };
  }

  #tell(notice: Notice): void {
    const line = lineOf(notice, this.#lineContext());
    this.#log.write(line.level, line.record, line.message);
    if (notice.type === 'state') this.emitter.emit('state', stateEvent(notice));
    else if (notice.type === 'attempt') this.emitter.emit('attempt', attemptEvent(notice));
    else if (notice.type === 'restart') this.emitter.emit('restart', restartEvent(notice));
    else this.emitter.emit('giveup', giveUpEvent(notice));
    if (notice.type === 'state' && notice.to === 'online') this.#wakeReady();
  }

  #lineContext(): Parameters<typeof lineOf>[1] {
    const { giveUpAt, disconnectedSince } = this.health();
    return {
      wall: this.#runtime.wall(),
      giveUpAt,
      disconnectedSince,
      connId: this.#hello?.server.connId,
      bootId: this.#hello?.server.bootId,
      gatewayVersion: this.#hello?.server.version,
    };
  }

  #setGate(gate: Gate, cut: boolean, failure: Failure | null): void {
    this.#calls.setGate(gate, cut, failure);
    if (cut) this.role?.linkLost(failure?.reason ?? 'local');
    for (const wake of [...this.#gateWaiters]) wake();
  }

  #end(end: Extract<Effect, { type: 'finish' }>): void {
    const { outcome, exitCode, failure } = end;
    const reason = failure?.reason;
    const exit = {
      code: exitCode,
      outcome,
      attempts: end.attempts,
      elapsedMs: Math.round(end.elapsed),
      ...(reason !== undefined && { reason }),
    };
    this.#liveness?.writeSync(factsOf(this.health(), exit));
    const error = failure === null ? undefined : errorOf(failure, 'not-sent');
    this.#ended = { outcome, exitCode, ...(reason !== undefined && { reason }), ...(error !== undefined && { error }) };
    this.#wakeReady();
    this.emitter.end();
    this.#finish(this.#ended);
  }

  /** The process ends under it, for a reason of its own: what is known goes to the file at once. */
  abandon(exitCode: number): void {
    if (this.#ended !== null) return;
    const health = this.health();
    const exit = { code: exitCode, outcome: 'fatal', reason: 'local', attempts: health.attempt } as const;
    this.#liveness?.writeSync(factsOf({ ...health, state: 'stopped' }, exit));
  }

  scrubbed(text: string): string {
    return this.#scrubber.text(text);
  }

  /** Written by the main loop only, and only while the machine has a next action: it must not vouch for a stuck one. */
  #record(): void {
    this.#lagMax = this.#driver.takeLag();
    if (this.#liveness === null || !this.#driver.sound || this.#driver.state.status === 'stopped') return;
    void this.#liveness.write(factsOf(this.health()));
  }

  // --------------------------------------------------------------------------------------------------- from the link

  #welcome(hello: Hello, defaulted: readonly string[]): void {
    this.#hello = hello;
    this.role?.linkUp(hello);
    this.#calls.maxPayload = hello.policy.maxPayload;
    this.#incoming.welcome(hello, defaulted, this.settings.scopes);
  }

  #broadcast(frame: EventFrame): void {
    if (this.role?.event(frame.event, frame.payload) !== true) this.#incoming.broadcast(frame);
  }

  #fault(where: string, error: unknown): void {
    this.#log.write('error', { event: 'fault', where, err: error }, `${where} threw`);
  }

  // ------------------------------------------------------------------------------------------------------- for views

  get runtime(): Runtime {
    return this.#runtime;
  }

  start(): void {
    if (this.#ended !== null || this.#closing !== null) {
      throw new GatewayError({
        code: 'HOLDFAST_CLOSED',
        reason: 'local',
        outcome: 'not-sent',
        message: 'the client has stopped',
        remedy: 'Make a new client.',
      });
    }
    this.#driver.push({ type: 'start' });
  }

  /** Rejects what the caller asked wrongly; everything else is the engine's. */
  call(method: string, params: unknown, options: CallOptions, defaults: CallDefaults): Promise<CallDetails> {
    try {
      const { request, warning } = this.#requests.prepare(method, params, options, defaults);
      if (warning !== undefined) this.#log.write('warn', { event: 'origin', method, warning }, `${method}: ${warning}`);
      return this.#calls.make(request);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  fetch(
    input: string | URL | Request,
    init: RequestInit & { gateway?: CallOptions },
    defaults: CallDefaults,
  ): Promise<Response> {
    const { gateway = NO_OPTIONS, ...plain } = init;
    if (this.settings.tls.fingerprint !== undefined) {
      // The HTTP client of Node takes no pin of ours, and the credential must not go to a peer that nobody checked.
      const remedy = 'Trust the certificate through NODE_EXTRA_CA_CERTS and leave the fingerprint out, or use call().';
      return Promise.reject(
        localError('HOLDFAST_FETCH_PIN', 'fetch', 'HTTP cannot check the pinned fingerprint', remedy),
      );
    }
    try {
      return this.#http.fetch(input, plain, httpOptions(gateway, defaults));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async ready(options: { signal?: AbortSignal; timeout?: number }): Promise<Hello> {
    const { signal, timeout } = options;
    let expired = false;
    const timer =
      timeout === undefined
        ? null
        : this.#runtime.setTimer(() => {
            expired = true;
            this.#wakeReady();
          }, timeout);
    const onAbort = (): void => this.#wakeReady();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        if (signal?.aborted === true)
          throw this.#notReady('HOLDFAST_ABORTED', 'ready() was aborted by its signal', 'local');
        if (this.#driver.state.status === 'online' && this.#hello !== null) return this.#hello;
        if (this.#ended !== null)
          throw this.#ended.error ?? this.#notReady('HOLDFAST_CLOSED', 'the client has stopped', 'local');
        if (expired)
          throw this.#notReady('HOLDFAST_TIMEOUT', `no hello within ${timeout} ms`, this.health().reason ?? 'timeout');
        await new Promise<void>((resolve) => this.#readyWaiters.add(resolve));
      }
    } finally {
      timer?.clear();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #notReady(code: string, message: string, reason: Reason): GatewayError {
    const remedy = this.health().lastError?.remedy ?? 'Call start() first.';
    return new GatewayError({ code, reason, outcome: 'not-sent', message, remedy });
  }

  #wakeReady(): void {
    const waiters = [...this.#readyWaiters];
    this.#readyWaiters.clear();
    for (const wake of waiters) wake();
  }

  #restart(): RestartInfo | undefined {
    const { restart } = this.#driver.state.journey;
    return restart === null ? undefined : restartInfo(restart, (at) => Math.round(at + this.#wallOffset()));
  }

  #wallOffset(): number {
    return this.#runtime.wall() - this.#runtime.now();
  }

  health(): Health {
    const { policy } = this.settings;
    return healthOf(policy, this.#driver.state, {
      wallOffset: this.#wallOffset(),
      heardAt: this.#link.heardAt(),
      calls: { ...this.#calls.counts, inFlight: this.#calls.counts.inFlight + this.#http.inFlight },
      lagMaxMs: this.#lagMax,
      liveness: this.#liveness?.health() ?? {},
      logDropped: this.#log.dropped,
      instanceId: this.#instanceId,
      node: this.role?.health(),
    });
  }

  /** What a role needs of the client it is part of. */
  rolePort(): RolePort {
    return {
      runtime: this.#runtime,
      nodeId: () => this.#link.deviceId,
      maxPayload: () => this.#hello?.policy.maxPayload ?? MAX_FRAME_BYTES,
      scrub: (text) => this.#scrubber.text(text),
      log: (level, record, message) => this.#log.write(level, record, message),
      call: async (method, params, options) => (await this.call(method, params, options, this.settings.call)).result,
      replaced: (times) => this.#driver.push({ type: 'replaced', epoch: this.#driver.state.journey.epoch, times }),
    };
  }

  close(grace: number): Promise<void> {
    this.#closing ??= this.#close(grace);
    return this.#closing;
  }

  async #close(grace: number): Promise<void> {
    if (this.#ended !== null) return;
    const until = this.#runtime.now() + grace;
    const share = Math.max(0, grace - CLOSE_SHARE_MS);
    await Promise.all([this.role?.close(share), this.#calls.drain(share), this.#http.drain(share)]);
    this.#driver.push({ type: 'close' });
    if (this.#driver.state.status === 'stopped') return;
    // A gateway may leave our close frame unanswered: the grace is the owner's, and the link is cut at its end.
    const { epoch } = this.#driver.state.journey;
    const evidence = { kind: 'closed', phase: 'online', code: 1006, reason: 'close not answered' } as const;
    const cut = this.#runtime.setTimer(
      () => this.#driver.push({ type: 'down', epoch, evidence }),
      Math.max(0, until - this.#runtime.now()),
    );
    await this.done;
    cut.clear();
  }
}

/** A provider that failed is a failure of this side: nothing was sent. */
function unprovided(error: unknown): never {
  if (!(error instanceof ProviderError)) throw error;
  throw localError(
    error.code,
    'fetch',
    error.message,
    `Mend the ${error.provider} provider; it is asked again every time.`,
  );
}
