/** The vocabulary of the connection machine: states, events, effects, notices. All plain data; `transition` is in `connection.ts`. */
import type { Evidence, Failure } from './failure.js';
import type { GatewayIdentity, Restart, RestartEvidence } from './restart.js';
import type { Phase, Status, StopOutcome } from './vocabulary.js';

/** What outlives a single dial. Times are monotonic ms. */
export interface Journey {
  /** Number of the current or last dial. Events of an older one change nothing. */
  readonly epoch: number;
  /** Dials since the last serving link (one that stayed up for `minUptime`). */
  readonly attempt: number;
  /** Those of them that count towards `maxAttempts`: not the slow ones made while a human was needed. */
  readonly spent: number;
  /** Failures since then, by the profile that paced them. */
  readonly failures: { readonly outage: number; readonly restart: number; readonly blocked: number };
  /** Start of the give-up budget: end of the last serving link; null while one is up. */
  readonly budgetSince: number | null;
  /** Same `strike` reason in a row. */
  readonly strikes: { readonly reason: string; readonly count: number } | null;
  /** A verdict that needs a human, while it stands. */
  readonly verdict: { readonly reason: string; readonly since: number; readonly count: number } | null;
  readonly restart: Restart | null;
  /** Restarts seen; also numbers their ids. */
  readonly restarts: number;
  /** The restart since the last hello has been told to its end: the next hello does not tell of it again. */
  readonly told: boolean;
  /** Announced restarts that the same instance answered, since the last serving link. */
  readonly falseAlarms: number;
  /** The gateway said that it stops for good. */
  readonly gatewayStopped: boolean;
  readonly startingSince: number | null;
  readonly drainingSince: number | null;
  /** Dials made because the gateway's probe said that it was ready, since the last hello. */
  readonly believed: number;
  readonly loopback: boolean;
  readonly gateway: GatewayIdentity | undefined;
  readonly lastConnectedAt: number | null;
  /** End of the last link that had a hello. */
  readonly lostAt: number | null;
  /** The last failure of all; it stays when the link is back. */
  readonly lastFailure: Failure | null;
  /** The last failure since the last hello. */
  readonly failing: Failure | null;
}

interface Common {
  /** When this state was entered. */
  readonly since: number;
  readonly journey: Journey;
}

export interface Idle extends Common {
  readonly status: 'idle';
}

export interface Dialing extends Common {
  readonly status: 'connecting' | 'handshaking';
  /** Start of the dial. */
  readonly dialedAt: number;
  /** How far it has come. */
  readonly phase: Phase;
}

export interface Online extends Common {
  readonly status: 'online';
  /** Up for `minUptime`: earlier attempts are forgiven. */
  readonly serving: boolean;
  /** Longest silence allowed, in ms; null when the heartbeat is off. */
  readonly silenceLimit: number | null;
  readonly pingEvery: number;
  /** The gateway announced its end; nothing more is written on this link. */
  readonly shutdown: boolean;
  /** After a sleep: something must be heard after `from`, by `by`. */
  readonly proof: { readonly from: number; readonly by: number } | null;
}

export interface Waiting extends Common {
  readonly status: 'waiting' | 'blocked';
  /** When the next dial is due. */
  readonly until: number;
  /** Why it waits; null only before the very first dial of a fleet's member. */
  readonly failure: Failure | null;
}

export interface Closing extends Common {
  readonly status: 'closing';
}

export interface Stopped extends Common {
  readonly status: 'stopped';
  readonly outcome: StopOutcome;
  readonly exitCode: number;
  readonly failure: Failure | null;
}

export type State = Idle | Dialing | Online | Waiting | Closing | Stopped;

/** Named timers. Setting a slot replaces it. Each belongs to the states in `OWNED` (connection/moves.ts) or to the journey. */
export type Slot = 'connect' | 'retry' | 'beat' | 'settle' | 'shutdown' | 'drain' | 'close' | 'window' | 'giveUp';

/** What the machine needs of a hello. */
export interface HelloFacts {
  readonly identity: GatewayIdentity;
  readonly tickInterval: number;
}

export type Event =
  | { readonly type: 'start' }
  /** The address of this dial is known. */
  | { readonly type: 'target'; readonly epoch: number; readonly loopback: boolean }
  /** The dial came one step further; from `challenge` on, the upgrade has been answered with 101. */
  | { readonly type: 'phase'; readonly epoch: number; readonly phase: Phase }
  | { readonly type: 'hello'; readonly epoch: number; readonly hello: HelloFacts }
  /** The dial failed, or the link is lost. */
  | { readonly type: 'down'; readonly epoch: number; readonly evidence: Evidence }
  /** The gateway announced its end; a number means that it is coming back. */
  | { readonly type: 'shutdown'; readonly epoch: number; readonly restartExpectedMs: number | null }
  /** A request was refused because the gateway drains. */
  | { readonly type: 'draining'; readonly epoch: number }
  /** Another connection with our identity has taken our place, `times` times without a long peace: this one is deaf. */
  | { readonly type: 'replaced'; readonly epoch: number; readonly times: number }
  /** A request was answered normally. */
  | { readonly type: 'served'; readonly epoch: number }
  /** The gateway's own probe says that it is ready. */
  | { readonly type: 'ready'; readonly epoch: number }
  /** The process or the host slept for about `slept` ms. */
  | { readonly type: 'woke'; readonly slept: number }
  /** A timer fired, `late` ms after it was due; `heardAt` is when the link last heard anything. */
  | { readonly type: 'timer'; readonly slot: Slot; readonly late: number; readonly heardAt: number }
  /** The self-check found a live state without a next action, for the `times`-th time. */
  | { readonly type: 'stuck'; readonly times: number }
  | { readonly type: 'close' };

/** What may be written: `open` everything, `hold` nothing but it will pass, `shut` nothing and it is an outage. */
export type Gate = 'open' | 'hold' | 'shut';

export type Notice =
  | {
      readonly type: 'state';
      readonly from: Status;
      readonly to: Status;
      readonly attempt: number;
      readonly failure: Failure | null;
      readonly retryIn: number | null;
      readonly restartId: string | null;
      /** How long there was no link, when it is back. */
      readonly downMs: number | null;
    }
  | {
      readonly type: 'attempt';
      readonly number: number;
      readonly phase: Phase;
      readonly elapsed: number;
      readonly failure: Failure | null;
      readonly retryIn: number | null;
      readonly restartId: string | null;
    }
  | {
      readonly type: 'restart';
      readonly id: string;
      readonly phase: 'began' | 'ended' | 'became-outage';
      readonly evidence: RestartEvidence;
      readonly expectedMs: number | null;
      readonly downMs: number | null;
      /** The same gateway instance answered again: it did not restart after all. */
      readonly cancelled: boolean;
    }
  | { readonly type: 'giveup'; readonly failure: Failure; readonly attempts: number; readonly elapsed: number };

export type Effect =
  | { readonly type: 'dial'; readonly epoch: number }
  /** `terminate` for every link suspected dead; `close` only when the owner ends a good one. */
  | { readonly type: 'hangUp'; readonly how: 'terminate' | 'close' }
  | { readonly type: 'ping' }
  | { readonly type: 'setTimer'; readonly slot: Slot; readonly delay: number }
  | { readonly type: 'clearTimer'; readonly slot: Slot }
  /** Ask the gateway's own probe until it is ready or the next dial begins. */
  | { readonly type: 'watchReadiness'; readonly epoch: number }
  /** `cut`: the link that carried the calls in flight is gone. */
  | { readonly type: 'gate'; readonly gate: Gate; readonly cut: boolean; readonly failure: Failure | null }
  | { readonly type: 'notify'; readonly notice: Notice }
  /** The liveness file is to be written. */
  | { readonly type: 'record' }
  | {
      readonly type: 'finish';
      readonly outcome: StopOutcome;
      readonly exitCode: number;
      readonly failure: Failure | null;
      readonly attempts: number;
      readonly elapsed: number;
    };

export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** Time and chance of one transition, as numbers: monotonic ms, and a draw in [0, 1). */
export interface At {
  readonly now: number;
  readonly draw: number;
}

export const INITIAL: Idle = {
  status: 'idle',
  since: 0,
  journey: {
    epoch: 0,
    attempt: 0,
    spent: 0,
    failures: { outage: 0, restart: 0, blocked: 0 },
    budgetSince: null,
    strikes: null,
    verdict: null,
    restart: null,
    restarts: 0,
    told: false,
    falseAlarms: 0,
    gatewayStopped: false,
    startingSince: null,
    drainingSince: null,
    believed: 0,
    loopback: true,
    gateway: undefined,
    lastConnectedAt: null,
    lostAt: null,
    lastFailure: null,
    failing: null,
  },
};
