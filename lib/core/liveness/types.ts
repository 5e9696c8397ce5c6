/**
 * The words of the liveness file: what a client knows about itself, and who wrote it.
 *
 * Every `*Ms` field that names an instant is wall-clock epoch milliseconds. A writer that holds monotonic instants
 * derives them at each write (`wallNow - (monoNow - monoThen)`), so that differences inside one record are exact
 * even when the wall clock was set in between: the judge subtracts fields of one record from each other.
 */
import type { Status, StopOutcome } from '../vocabulary.js';

/** The last failure, already free of secrets. Long strings are shortened when it is written. */
export interface LivenessError {
  code: string;
  reason: string;
  /** Where in an attempt it happened, such as `connect` or `handshake`. */
  phase?: string;
  message: string;
}

/** A restart of the gateway that is in progress. */
export interface LivenessRestart {
  id: string;
  sinceMs: number;
  /** How long the gateway said it would take, in milliseconds. */
  expectedMs?: number;
}

/** What the gateway told about itself in its last hello. */
export interface LivenessGateway {
  version?: string;
  bootId?: string;
  connId?: string;
  protocol?: number;
}

/** Counts of calls. `retried` and `unknown` are totals since the start of the process. */
export interface LivenessCalls {
  inFlight: number;
  waiting: number;
  retried: number;
  unknown: number;
}

/** The give-up or stop record: the last thing that a client writes. */
export interface LivenessExit {
  /** The exit code of the process. */
  code: number;
  outcome: StopOutcome;
  reason?: string;
  attempts?: number;
  elapsedMs?: number;
}

/** What a client knows about itself at the moment of a write. */
export interface LivenessFacts {
  state: Status;
  stateSinceMs: number;
  /** Why it waits, is blocked or stopped. */
  reason?: string;
  /** Number of the current or last dial attempt; 0 before the first and after a proven link. */
  attempt: number;
  nextAttemptAtMs?: number;
  giveUpAtMs?: number;
  /** End of the last serving link, or the start of the client while there was none; absent while serving. */
  disconnectedSinceMs?: number;
  lastConnectedAtMs?: number;
  lastFrameAtMs?: number;
  lastError?: LivenessError;
  /** While blocked: on whom or what the client waits, and the command that an operator would run. */
  awaiting?: string;
  restart?: LivenessRestart;
  restartsSeen: number;
  gateway?: LivenessGateway;
  calls: LivenessCalls;
  /** The longest delay of the event loop since the previous record, in milliseconds. */
  loopLagMaxMs: number;
  /** Present once the client has stopped. */
  exit?: LivenessExit;
}

/** Who wrote a record. Together the parts tell a process from any other that reuses its pid. */
export interface WriterIdentity {
  pid: number;
  /** When the process started, as its platform says it (Linux: clock ticks since boot; macOS: a second in UTC). */
  startToken?: string;
  /** Tells two boots of one kernel apart. Containers share it. */
  bootId?: string;
  /** Inode of the pid namespace (Linux). */
  pidNs?: string;
  /** Inode of the time namespace (Linux): start tokens and monotonic times compare only inside one. */
  timeNs?: string;
  host: string;
  /** Random, made when the client is made; also on every log line. */
  instanceId: string;
}

/** One record of the liveness file, format version 1. */
export interface LivenessRecord extends LivenessFacts {
  v: 1;
  /** Grows by one with each record of one instance. */
  seq: number;
  writer: WriterIdentity;
  /** How often the writer promises a record at the least, in milliseconds. */
  intervalMs: number;
  writtenAtMs: number;
  /** Monotonic clock at the write, in nanoseconds: decimal text, because it outgrows a double. */
  writtenMonoNs: string | number;
  /** Version of holdfast. */
  version: string;
}
