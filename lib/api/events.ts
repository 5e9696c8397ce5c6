/** What a client tells its listeners. Records, never positional; there is no `error` event. Times in ms. */

import type { GatewayError } from '../core/errors.js';
import type { RestartEvidence } from '../core/restart.js';
import type { CallOutcome, Phase, Reason, Status } from '../core/vocabulary.js';
import type { Tagged } from './emitter.js';

/** The client went from one state to another. */
export interface StateEvent {
  readonly from: Status;
  readonly to: Status;
  readonly reason?: Reason;
  /** Dials since the last serving link. */
  readonly attempt: number;
  /** Ms until the next dial. */
  readonly retryIn?: number;
  readonly error?: GatewayError;
}

/** One per ended dial; without `reason` it succeeded. */
export interface AttemptEvent {
  readonly number: number;
  readonly phase: Phase;
  readonly reason?: Reason;
  readonly code?: string;
  /** Ms from the start of the dial to its end. */
  readonly elapsed: number;
  readonly retryIn?: number;
}

/** A restart of the gateway began, ended, or became an outage. */
export interface RestartEvent {
  readonly id: string;
  readonly phase: 'began' | 'ended' | 'became-outage';
  /** What told of it. */
  readonly evidence: RestartEvidence;
  /** The gateway's own estimate; a hint, never a deadline. */
  readonly expectedMs?: number;
  /** Ms without a link, when it has ended. */
  readonly downMs?: number;
  /** The same gateway instance answered again: it did not restart after all. */
  readonly cancelled?: boolean;
}

/** A call is about to be sent again. */
export interface RetryEvent {
  readonly call: string;
  readonly attempt: number;
  readonly reason: Reason;
  readonly outcome: CallOutcome;
  readonly delay: number;
}

/** Something the gateway broadcasts. `seq` counts per connection; targeted events have none. */
export interface BroadcastEvent {
  readonly event: string;
  readonly payload: unknown;
  readonly seq?: number;
}

/** Broadcasts were lost: read again whatever they would have told. */
export interface GapEvent {
  readonly expected: number;
  readonly received: number;
}

/** The budget is spent: the client ends. */
export interface GiveUpEvent {
  readonly reason: Reason;
  readonly attempts: number;
  readonly elapsed: number;
}

/** Every event by its name, with its record. */
export interface ClientEvents {
  state: StateEvent;
  attempt: AttemptEvent;
  restart: RestartEvent;
  retry: RetryEvent;
  event: BroadcastEvent;
  gap: GapEvent;
  giveup: GiveUpEvent;
}

/** Any event, with its name in `type`. */
export type ClientEvent = Tagged<ClientEvents>;
