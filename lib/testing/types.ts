import type { Fault } from './faults.js';

/** The OpenClaw release that is emulated: protocol 4, or protocol 3. */
export type Emulate = '2026.9.6' | '2026.4.26';

/** What the embedded gateway is doing. */
export type GatewayState = 'starting' | 'ready' | 'draining' | 'restarting' | 'stopped';

/** Durations in milliseconds. The defaults are those of the emulated version, shortened where a test would wait. */
export interface Timings {
  /** How long a socket may take from TCP accept to a complete handshake. Default 15000, or 10000 on 2026.4.26. */
  handshakeTimeoutMs: number;
  /** Period of the `tick` event, also said in hello-ok. Default 30000. */
  tickIntervalMs: number;
  /** Period of the gateway's pings; a pong must come within one period. 0: no pings. Default 25000, 0 on 2026.4.26. */
  pingIntervalMs: number;
  /** From hello-ok to the first `health` event. Default 20. */
  healthEventMs: number;
  /** Answer delay of the first wrong token; doubles with each one, forgotten after 60 s or a success. Default 250, 0 on 2026.4.26. */
  wrongTokenDelayMs: number;
  /** Longest answer delay of a wrong token. Default 5000. */
  wrongTokenMaxDelayMs: number;
  /** From an accepted restart request to its begin. Default 15. */
  restartDelayMs: number;
  /** Time between two requested restarts; a request within it is delayed. Default 0 (really 30000). */
  restartCooldownMs: number;
  /** How often a deferred restart looks whether the work has ended. Default 20 (really 500). */
  deferPollMs: number;
  /** How long the drain gate is shut before `shutdown`. Default 10, 0 on 2026.4.26. */
  drainMs: number;
  /** From the `shutdown` event to the close 1012. Default 7, or 17 on 2026.4.26. */
  shutdownToCloseMs: number;
  /** How long the port refuses in a restart. Default 200 (really 2400, or 5900 on 2026.4.26). */
  portShutMs: number;
  /** How long the new instance says `startup-sidecars`; on 2026.4.26 only /readyz says so. Default 60 (really 100–700). */
  startingMs: number;
  /** How long connections accepted before a restart may still be answered over HTTP. Default 80 (really 650 and more). */
  lingerMs: number;
  /** What agents.create takes before its ok. Default 5 (really about 1000). */
  createMs: number;
  /** How long a new agent is unknown to the other methods. Default 100 (really 300–2000), 0 on 2026.4.26. */
  settleMs: number;
  /** From the ok of agents.create to the restart it causes, on 2026.4.26. Default 34. */
  createToRestartMs: number;
  /** What an agent run or a chat completion takes. Default 20. */
  runMs: number;
}

/** Limits of the embedded gateway, as real ones have them. */
export interface Limits {
  /** Largest frame to the gateway after hello, in bytes. Default 26214400. */
  maxPayload: number;
  /** Largest frame before hello, in bytes. Default 65536. */
  preauthPayload: number;
  /** Sockets without hello per address. Default 32. */
  preauthSockets: number;
  /** Control-plane writes per window. Default 30 per method, or 3 in all on 2026.4.26. */
  controlPlane: number;
  /** The window of `controlPlane`, in milliseconds. Default 60000. */
  controlPlaneWindowMs: number;
  /** Lock an address out after `attempts` wrong credentials within `windowMs`, for `lockMs`; false: never. Default 10, 60000, 300000. */
  lockout: false | { attempts: number; windowMs: number; lockMs: number };
  /** Whether loopback is exempt from the lockout (and slowed instead). Default true. */
  exemptLoopback: boolean;
  /** Entries kept in the ledger, the oldest go first. Default 100000. */
  ledger: number;
}

/** Options of the embedded gateway. */
export interface TestGatewayOptions {
  /** Address to listen on. Default 127.0.0.1. */
  host?: string;
  /** Port to listen on, kept over restarts; 0 takes a free one. Default 0. */
  port?: number;
  /** Default 2026.9.6. */
  emulate?: Emulate;
  /** The gateway's token. null: no authentication, any credential is good. Default `test-gateway-token`. */
  token?: string | null;
  timings?: Partial<Timings>;
  limits?: Partial<Limits>;
  /** Restart by itself every so many milliseconds after it became ready. Default: never. */
  restartEvery?: number;
  /** Folder in which agents.files.set really writes, one sub-folder per agent. Default: files live in memory. */
  workspace?: string;
  /** Faults that are active from the start. */
  faults?: readonly Fault[];
  /** `auto` approves a new device that brings the token; `manual` waits for `pairing.approve`. Default auto. */
  pairing?: 'auto' | 'manual';
  /** The same for the commands that a node declares. Default auto. */
  nodeCommands?: 'auto' | 'manual';
  /** Serve wss and https with this key and certificate. */
  tls?: { key: string | Buffer; cert: string | Buffer };
  /** Receives a line for each thing of note: connects, refusals, restarts, faults. Default: nobody. */
  log?: (line: string) => void;
}

/** A request that reached the gateway: a frame of type `req`, or an HTTP request. */
export interface LedgerEntry {
  /** Arrival, ms since the epoch. */
  readonly at: number;
  readonly kind: 'ws' | 'http';
  /** Number of the TCP connection, as in `connections`. */
  readonly conn: number;
  /** The gateway instance that was alive. */
  readonly bootId: string;
  /** Id of the frame; for HTTP a counter. */
  readonly id: string;
  /** Method of the frame; for HTTP e.g. `POST /v1/chat/completions`. */
  readonly method: string;
  /** Params of the frame, or the body of the HTTP request: parsed if it is JSON. */
  readonly params: unknown;
  /** The method ran: its effect exists. False for what was refused, dropped, or answered from the dedupe table. */
  readonly executed: boolean;
  /** An answer was handed to the link, error answers included. */
  readonly answered: boolean;
  /** What the error answer said: `details.reason`, `details.code` or `code`; for HTTP the status. */
  readonly error?: string;
}

/** One TCP connection, from accept to now. Dials refused by a closed port are never seen by the gateway. */
export interface ConnInfo {
  readonly conn: number;
  readonly at: number;
  readonly remoteAddress: string;
  readonly open: boolean;
  /** A WebSocket upgrade was completed on it. */
  readonly upgraded: boolean;
  /** A hello-ok was sent on it. */
  readonly hello: boolean;
  readonly role?: string;
  readonly clientId?: string;
  readonly deviceId?: string;
  /** `server.connId` of its hello. */
  readonly connId?: string;
  /** The first message the client sent: the method of a request frame, otherwise its first 200 characters. */
  readonly firstFrame?: string;
  readonly closeCode?: number;
  readonly closeReason?: string;
  /** Whether the gateway began the close, or the peer (or the network). */
  readonly closedBy?: 'gateway' | 'peer';
}

/** How the embedded gateway restarts. */
export interface RestartOptions {
  /** Time with the drain gate shut. Default: timings. */
  drainMs?: number;
  shutdownToCloseMs?: number;
  portShutMs?: number;
  startingMs?: number;
  /** Announce it with the `shutdown` event. Default true. */
  shutdownEvent?: boolean;
  /** `restartExpectedMs` of the event, sensible or not; undefined leaves the key out. Default 1500. */
  restartExpectedMs?: unknown;
  /** `reason` of the event. Default `gateway restarting`. */
  reason?: string;
  /** Code of the close frame. Default 1012. */
  closeCode?: number;
  /** Text of the close frame. Default `service restart`. */
  closeReason?: string;
  /** A successor process: the process age in hello starts again. Default false, restarted in the same process. */
  newProcess?: boolean;
}

/** How the embedded gateway starts again. */
export interface StartOptions {
  /** How long it says `startup-sidecars` before it is ready. Default: timings. */
  startingMs?: number;
}

/** A device or a node surface that waits for approval. */
export interface PairingRequest {
  readonly requestId: string;
  readonly kind: 'device' | 'node';
  readonly deviceId: string;
  /** not-paired, role-upgrade, scope-upgrade, metadata-upgrade; for a node: commands. */
  readonly reason: string;
  readonly role: string;
  readonly commands: readonly string[];
}

/** The devices of the embedded gateway that wait for approval, and what can be done with each. */
export interface Pairing {
  readonly requests: readonly PairingRequest[];
  /** Approves one request, or with no argument the oldest; false when there is none. */
  approve(requestId?: string): boolean;
  /** Forgets a device and its tokens; its live sockets are closed with 4001 `device removed`. */
  remove(deviceId: string): boolean;
  /** Replaces the device's token: the one it holds becomes wrong. */
  rotate(deviceId: string): boolean;
}

/** An embedded gateway on a real socket of loopback. */
export interface TestGateway extends AsyncDisposable {
  /** `ws://127.0.0.1:<port>` */
  readonly url: string;
  /** `http://127.0.0.1:<port>` */
  readonly httpUrl: string;
  readonly port: number;
  /** The token now accepted; empty when there is none. */
  readonly token: string;
  /** Id of the current instance. On 2026.4.26 clients are not told. */
  readonly bootId: string;
  readonly state: GatewayState;
  readonly emulate: Emulate;
  /** Whether the port accepts connections. */
  readonly listening: boolean;
  /** Restarts by itself; resolves when it is ready again, or when stop, kill or close came in between. */
  restart(options?: RestartOptions): Promise<void>;
  /** Stops for good: `shutdown` without a number, 1012 `service restart`, port closed until `start`. */
  stop(options?: RestartOptions): Promise<void>;
  /** Starts after `stop` or `kill`, on the same port, as a new process. */
  start(options?: StartOptions): Promise<void>;
  /** Dies without a word: sockets destroyed, port closed. */
  kill(): Promise<void>;
  /** Shuts the drain gate, for `ms` or until the returned function is called. 2026.4.26 has no gate: nothing happens. */
  drain(options?: { ms?: number }): () => void;
  /** A process that is stopped but not gone: connects are accepted, nothing is read or written, no tick or ping is due. */
  freeze(): void;
  /** Goes on where `freeze` stopped it, with what arrived meanwhile. */
  thaw(): void;
  /** Activates a fault and returns what heals it. Several may be active; the newest of a name wins. */
  inject(fault: Fault): () => void;
  /** Heals every fault. Links that went half-open or silent stay so. */
  heal(): void;
  readonly faults: readonly Fault[];
  /** Another token is right from now on; live sockets are closed with 4001 `gateway auth changed`. */
  rotateToken(token: string): void;
  /** Sends an event to every connection after hello. `seq` overrides the connection's own counter for this event. */
  send(event: string, payload: unknown, options?: { seq?: number }): void;
  /** Sends one text message as it is to every connection, whether it is JSON or not. */
  sendRaw(text: string): void;
  /** Closes every WebSocket; a reason is cut to 123 bytes. 1005 sends a close frame without status, 1006 sends none. */
  closeAll(code: number, reason?: string): void;
  /** Cuts every WebSocket below the protocol. */
  cutAll(cut: 'reset' | 'fin' | 'mid-frame' | 'no-status'): void;
  /**
   * Asks a node as an operator's `node.invoke` does; resolves to the answer's payload, rejects with an error whose
   * message is the gateway's.
   */
  invoke(nodeId: string, command: string, params?: unknown, options?: { timeoutMs?: number }): Promise<unknown>;
  /** Every request that arrived, oldest first. */
  readonly ledger: readonly LedgerEntry[];
  clearLedger(): void;
  /** Every TCP connection accepted so far, oldest first. */
  readonly connections: readonly ConnInfo[];
  /** TCP connections accepted. */
  readonly dials: number;
  /** WebSocket upgrades completed. */
  readonly upgrades: number;
  /** hello-ok sent. */
  readonly hellos: number;
  /** How often `test.count` ran for this key. */
  count(key: string): number;
  readonly pairing: Pairing;
  /** Resolves when the condition holds; it is looked at after everything that happens to the gateway. Rejects after `timeoutMs` (5000). */
  until(condition: () => boolean, timeoutMs?: number): Promise<void>;
  /** Releases everything: no socket, timer or listener is left. May be called twice. */
  close(): Promise<void>;
}
