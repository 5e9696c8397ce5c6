import { CAPABILITIES_9_6, EVENTS_4_26, EVENTS_9_6, METHODS_4_26, METHODS_9_6 } from './features.js';
import type { Emulate, Limits, Timings } from './types.js';

const AGENT_FILES = ['AGENTS.md', 'SOUL.md', 'IDENTITY.md', 'USER.md', 'BOOTSTRAP.md', 'MEMORY.md'];

/** What one release does differently from the other. Data only: the code asks these, never the version. */
export interface Profile {
  readonly version: Emulate;
  readonly protocol: 3 | 4;
  readonly buildId?: string;
  readonly methods: readonly string[];
  readonly events: readonly string[];
  readonly capabilities?: readonly string[];
  /** hello-ok says which gateway instance it is. */
  readonly tellsBootId: boolean;
  /** The challenge lists capabilities, hello-ok the auth method and more of the policy. */
  readonly verbose: boolean;
  /** Nodes may come with protocol 3 only. */
  readonly nodeProtocol: 3 | 4;
  /** `details` of a protocol mismatch carry a code and both ranges. */
  readonly mismatchCode: boolean;
  /** connect is refused with `startup-sidecars` while the gateway starts. */
  readonly startingGate: boolean;
  /** Calls, work over HTTP and upgrades are refused while the gateway drains. */
  readonly drainGate: boolean;
  /** Frames after `shutdown` are dropped unread; otherwise they run, and nobody hears of it. */
  readonly dropsAfterShutdown: boolean;
  /** `shutdown` at a stop says `restartExpectedMs: null`; otherwise the key is absent. */
  readonly stopSaysNull: boolean;
  /** agents.create restarts the gateway. */
  readonly createRestarts: boolean;
  /** The files that agents.files.set takes; any other name is refused (measured). */
  readonly agentFiles: readonly string[];
  /** Control-plane writes are limited per method; otherwise all of them share one budget. */
  readonly limitPerMethod: boolean;
  /** A missing scope is FORBIDDEN with details; otherwise INVALID_REQUEST without. */
  readonly scopeDetails: boolean;
  /** The shared token is good in `auth.password` too. */
  readonly tokenAsPassword: boolean;
  /** `client.id/mode` pairs that keep their scopes without a device. */
  readonly keepScopes: readonly string[];
  /** agents.files.* know `hash` and `expectedHash`. */
  readonly fileHashes: boolean;
  readonly startupz: boolean;
  /** Probes on kept-alive connections go on saying ready after the port has closed; work gets 500. */
  readonly lyingKeepAlive: boolean;
  /** node.invoke is refused until the node's commands are approved. */
  readonly gatesNodeCommands: boolean;
  /** Requests of a node that another connection has replaced are refused. */
  readonly refusesReplacedNode: boolean;
  /** Params and frame keys that this version does not know yet. */
  readonly unknownKeys: readonly string[];
  readonly unknownMethods: readonly string[];
  readonly timings: Timings;
  readonly limits: Limits;
}

const TIMINGS: Timings = {
  handshakeTimeoutMs: 15_000,
  tickIntervalMs: 30_000,
  pingIntervalMs: 25_000,
  healthEventMs: 20,
  wrongTokenDelayMs: 250,
  wrongTokenMaxDelayMs: 5000,
  restartDelayMs: 15,
  restartCooldownMs: 0,
  deferPollMs: 20,
  drainMs: 10,
  shutdownToCloseMs: 7,
  portShutMs: 200,
  startingMs: 60,
  lingerMs: 80,
  createMs: 5,
  settleMs: 100,
  createToRestartMs: 34,
  runMs: 20,
};

const LIMITS: Limits = {
  maxPayload: 26_214_400,
  preauthPayload: 65_536,
  preauthSockets: 32,
  controlPlane: 30,
  controlPlaneWindowMs: 60_000,
  lockout: { attempts: 10, windowMs: 60_000, lockMs: 300_000 },
  exemptLoopback: true,
  ledger: 100_000,
};

const V2026_9_6: Profile = {
  version: '2026.9.6',
  protocol: 4,
  buildId: '2026.9.6-release-eb377ac59e6c-2026-09-23T16-33-12.144Z',
  methods: METHODS_9_6,
  events: EVENTS_9_6,
  capabilities: CAPABILITIES_9_6,
  tellsBootId: true,
  verbose: true,
  nodeProtocol: 3,
  mismatchCode: true,
  startingGate: true,
  drainGate: true,
  dropsAfterShutdown: true,
  stopSaysNull: false,
  createRestarts: false,
  agentFiles: AGENT_FILES,
  limitPerMethod: true,
  scopeDetails: true,
  tokenAsPassword: true,
  keepScopes: ['gateway-client/backend', 'cli/cli'],
  fileHashes: true,
  startupz: true,
  lyingKeepAlive: false,
  gatesNodeCommands: true,
  refusesReplacedNode: true,
  unknownKeys: [],
  unknownMethods: ['node.canvas.capability.refresh', 'node.pair.request', 'node.pair.verify'],
  timings: TIMINGS,
  limits: LIMITS,
};

const V2026_4_26: Profile = {
  version: '2026.4.26',
  protocol: 3,
  methods: METHODS_4_26,
  events: EVENTS_4_26,
  tellsBootId: false,
  verbose: false,
  nodeProtocol: 3,
  mismatchCode: false,
  startingGate: false,
  drainGate: false,
  dropsAfterShutdown: false,
  stopSaysNull: true,
  createRestarts: true,
  agentFiles: [...AGENT_FILES, 'TOOLS.md', 'HEARTBEAT.md'],
  limitPerMethod: false,
  scopeDetails: false,
  tokenAsPassword: false,
  keepScopes: ['gateway-client/backend'],
  fileHashes: false,
  startupz: false,
  lyingKeepAlive: true,
  gatesNodeCommands: false,
  refusesReplacedNode: false,
  unknownKeys: [
    'traceparent',
    'expectedProfileId',
    'buildId',
    'timeZone',
    'computerUse',
    'workerRuns',
    'modelCatalog',
    'expectedHash',
  ],
  unknownMethods: [
    'gateway.restart.request',
    'gateway.restart.preflight',
    'node.pluginTools.update',
    'node.skills.update',
  ],
  timings: {
    ...TIMINGS,
    handshakeTimeoutMs: 10_000,
    pingIntervalMs: 0,
    wrongTokenDelayMs: 0,
    drainMs: 0,
    shutdownToCloseMs: 17,
    settleMs: 0,
  },
  limits: { ...LIMITS, controlPlane: 3 },
};

export function profileOf(emulate: Emulate): Profile {
  return emulate === '2026.4.26' ? V2026_4_26 : V2026_9_6;
}

/** The durations as they were measured on real gateways of that release, for those who want to wait as long. */
export function measuredTimings(emulate: Emulate): Timings {
  const { timings } = profileOf(emulate);
  const measured = { restartCooldownMs: 30_000, deferPollMs: 500, lingerMs: 650, createMs: 1000, runMs: 700 };
  return emulate === '2026.4.26'
    ? { ...timings, ...measured, portShutMs: 5900, startingMs: 600, createMs: 1900, healthEventMs: 400 }
    : { ...timings, ...measured, portShutMs: 2400, startingMs: 200, settleMs: 400 };
}
