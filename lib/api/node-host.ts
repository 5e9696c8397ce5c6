/** A client in the role of a node: it offers commands, and the gateway asks it to run them. */
import { type GatewayError, isGatewayError } from '../core/errors.js';
import { isRecord } from '../core/failure.js';
import type { Hello } from '../core/frames.js';
import { COMMAND_APPROVAL, type NodeHealth } from '../core/health.js';
import type { ClientOptions, DeviceOptions } from '../core/options.js';
import type { Timer } from '../core/runtime.js';
import type { Reason } from '../core/vocabulary.js';
import { ClientView, type GatewayClient } from './client.js';
import { ClientCore, type RolePart, type RolePort } from './client-core.js';
import { Invocations, type InvokeHandler } from './invocations.js';

/** Options of a node host. */
export interface NodeHostOptions extends Omit<ClientOptions, 'role' | 'device'> {
  /** Where its identity and its device tokens are kept. */
  device: DeviceOptions;
  /** Capabilities that it advertises. Default none. */
  caps?: string[];
}

/** A client in the role of a node, which serves commands. */
export interface NodeHost extends GatewayClient {
  /**
   * Serves a command; returns its off. Commands are advertised with the next `connect`, so register them before `start()`.
   * @throws GatewayError with reason `local` for a name that is empty or taken.
   */
  handle(command: string, handler: InvokeHandler): () => void;
}

/** How often a node asks whether the gateway still counts it, and how soon it asks again when in doubt, in ms. */
const ASK_MS = 60_000;
const DOUBT_MS = 1000;
/** After so many quiet answers in a row a twin is taken to be gone. */
const PEACEFUL = 10;

/**
 * Makes a node host. It does nothing until `start()`.
 * @throws GatewayError with reason `local` when an option is wrong.
 */
export function createNodeHost(options: NodeHostOptions): NodeHost {
  const { caps, ...rest } = options;
  const core = new ClientCore({ ...rest, role: 'node' });
  const part = new NodePart(core.rolePort(), caps ?? []);
  core.role = part;
  return new NodeHostView(core, part);
}

class NodeHostView extends ClientView implements NodeHost {
  readonly #part: NodePart;

  constructor(core: ClientCore, part: NodePart) {
    super(core, core.settings.call);
    this.#part = part;
  }

  handle(command: string, handler: InvokeHandler): () => void {
    return this.#part.invocations.handle(command, handler);
  }
}

class NodePart implements RolePart {
  readonly invocations: Invocations;
  readonly #port: RolePort;
  readonly #caps: readonly string[];
  #registration: NodeHealth['registration'] = 'unproven';
  #ask: Timer | null = null;
  /** Answers in a row that another connection took our place. */
  #doubts = 0;
  /** How often it was taken, and quiet answers in a row since. */
  #replaced = 0;
  #peace = 0;
  /** Counts links and their ends: an answer that comes late is about another one. */
  #link = 0;
  /** The gateway refuses the requests of a node that was replaced. Older ones answer them, so an answer proves nothing. */
  #tells = false;

  constructor(port: RolePort, caps: readonly string[]) {
    this.#port = port;
    this.#caps = caps;
    this.invocations = new Invocations({
      ...port,
      call: (method, params, options) => this.#watched(port.call(method, params, options)),
    });
  }

  offer(): { readonly caps: readonly string[]; readonly commands: readonly string[] } {
    return { caps: this.#caps, commands: this.invocations.commands() };
  }

  linkUp(hello: Hello): void {
    this.#forget();
    this.#doubts = 0;
    this.#registration = 'unproven';
    this.#tells = hello.server.bootId !== undefined;
    this.invocations.linkUp();
    if (this.#tells) this.#askIn(0);
  }

  linkLost(reason: Reason): void {
    this.#forget();
    this.#registration = 'unproven';
    this.invocations.linkLost(reason);
  }

  event(event: string, payload: unknown): boolean {
    const approved = event === 'node.pair.resolved' && isRecord(payload) && payload['decision'] === 'approved';
    if (approved && this.#tells) this.#askIn(0);
    return this.invocations.onEvent(event, payload);
  }

  health(): NodeHealth {
    const { running, served, failed, aborted } = this.invocations.counts();
    const deviceId = this.#port.nodeId();
    return {
      registration: this.#registration,
      invocations: { running, served, failed, aborted },
      ...(deviceId !== undefined && { deviceId }),
    };
  }

  close(grace: number): Promise<void> {
    this.#forget();
    return this.invocations.close(grace);
  }

  /** What was asked is over, and what is still answered changes nothing: no timer outlives its link. */
  #forget(): void {
    this.#link += 1;
    this.#ask?.clear();
    this.#ask = null;
  }

  /** A result that is refused so may be the first sign that another connection took our place. */
  async #watched(call: Promise<unknown>): Promise<unknown> {
    try {
      return await call;
    } catch (error) {
      if (this.#ask !== null && isGatewayError(error) && error.code === 'PAIRING_CHANGED') this.#askIn(0);
      throw error;
    }
  }

  #askIn(ms: number): void {
    this.#ask?.clear();
    this.#ask = this.#port.runtime.setTimer(() => {
      this.#ask = null;
      this.#askGateway(this.#link).catch(() => {});
    }, ms);
  }

  /** A cheap request of our own. Ticks do not prove that a node is registered: a replaced one goes on getting them. */
  async #askGateway(link: number): Promise<void> {
    try {
      await this.#port.call('node.pending.pull', {}, { retry: 'never' });
      if (link === this.#link) this.#proven();
    } catch (error) {
      if (link === this.#link && isGatewayError(error)) this.#doubted(error);
    }
  }

  #proven(): void {
    this.#doubts = 0;
    this.#peace = this.#registration === 'proven' ? this.#peace + 1 : 0;
    // A link that stayed up forgives a twin nothing: the other one has it back within the minute.
    if (this.#peace >= PEACEFUL) this.#replaced = 0;
    if (this.#registration !== 'proven')
      this.#port.log(
        'info',
        { event: 'node-registered', nodeId: this.#port.nodeId() },
        'the gateway counts this node as registered',
      );
    this.#registration = 'proven';
    this.#askIn(ASK_MS);
  }

  #doubted(error: GatewayError): void {
    if (error.code !== 'PAIRING_CHANGED') {
      // It drains, or did not answer in time: nothing is proven.
      this.#askIn(ASK_MS);
      return;
    }
    if (error.outcome === 'not-executed') {
      this.#doubts += 1;
      if (this.#doubts < 2) this.#askIn(DOUBT_MS);
      else {
        this.#replaced += 1;
        this.#port.replaced(this.#replaced);
      }
      return;
    }
    const known = this.#registration === 'pending-approval';
    this.#registration = 'pending-approval';
    if (!known) {
      const record = { event: 'node-approval', nodeId: this.#port.nodeId(), awaiting: COMMAND_APPROVAL };
      this.#port.log('warn', record, `connected, but waiting for ${COMMAND_APPROVAL}`);
    }
    this.#askIn(15_000);
  }
}
