/** What is known of one call, from outside: what was asked, what its attempts said, how it ended. */
import assert from 'node:assert/strict';
import type { CallDetails, CallRequest, Confirm, Confirmation } from '../../../lib/api/call-entry.js';
import { type CallAttempt, type GatewayError, isGatewayError } from '../../../lib/core/errors.js';
import { isRecord } from '../../../lib/core/failure.js';
import type { Gate } from '../../../lib/core/machine.js';
import type { CallOutcome } from '../../../lib/core/vocabulary.js';
import type { CallSpec } from './schedule.js';

/** One frame as it was handed over. */
export interface Handed {
  readonly at: number;
  readonly bootId: string | undefined;
  readonly link: number;
}

export class Tracked {
  readonly spec: CallSpec;
  readonly request: CallRequest;
  readonly madeAt: number;
  readonly madeAtGate: Gate;
  readonly deadlineAt: number;
  readonly abort: AbortController = new AbortController();
  readonly handed: Handed[] = [];
  /** As told by `onAttempt`, each when it ended. */
  readonly attempts: CallAttempt[] = [];
  /** No attempt since then can have been executed: a look said so, or none was made. */
  provenAt = 0;
  /** One for every look that was begun. */
  readonly signals: AbortSignal[] = [];
  /** Id of the last frame. */
  frame: string | null = null;
  settlements = 0;
  settledAt: number | null = null;
  details: CallDetails | null = null;
  error: GatewayError | null = null;
  foreign: unknown = null;
  /** Not before this may it be sent again on the same link: the gateway said so. */
  notBefore = 0;
  /** Of the last attempt: how long it waits before the next; null when it does not. */
  delay: number | null = null;
  /** It waits for the link without further ado: it was made meanwhile, or its link was lost under it. */
  queued = false;

  constructor(spec: CallSpec, request: CallRequest, now: number, gate: Gate, ended: (call: Tracked) => void) {
    this.spec = spec;
    this.madeAt = now;
    this.madeAtGate = gate;
    const { confirm } = request.options;
    this.request = {
      ...request,
      options: {
        ...request.options,
        signal: this.abort.signal,
        onAttempt: (attempt) => {
          this.attempts.push(attempt);
          ended(this);
        },
        ...(confirm !== undefined && { confirm: this.#watched(confirm) }),
      },
    };
    this.deadlineAt = now + (request.options.deadline ?? Number.POSITIVE_INFINITY);
  }

  get outcome(): CallOutcome | null {
    if (this.details !== null) return 'executed';
    return this.error === null ? null : this.error.outcome;
  }

  /** Over by now, or about to be told so. */
  over(now: number): boolean {
    return this.settlements > 0 || this.abort.signal.aborted || now >= this.deadlineAt - 1;
  }

  settle(now: number, details: CallDetails | null, error: unknown): void {
    this.settlements += 1;
    this.settledAt = now;
    this.details = details;
    if (isGatewayError(error)) this.error = error;
    else this.foreign = error;
  }

  /** Attempts that may have been executed, since anything was proven. */
  get doubts(): number {
    return this.attempts.slice(this.provenAt).filter(({ outcome }) => outcome === 'unknown').length;
  }

  #watched(confirm: Confirm): Confirm {
    return async (context) => {
      this.signals.push(context.signal);
      const found = await confirm(context);
      if (found.executed === false) this.provenAt = this.attempts.length;
      return found;
    };
  }

  story(): string {
    const attempts = this.attempts.map(({ outcome, reason, code }) => [outcome, reason, code].join('/')).join(' ');
    const end = this.error === null ? this.outcome : `${this.error.outcome}: ${this.error.reason} ${this.error.code}`;
    return `${this.spec.marker} ${this.spec.method} made ${this.madeAt} settled ${this.settledAt} [${attempts}] ${end}`;
  }
}

/** A look that never errs: it says "not executed" only when no copy can be executed any more. */
function look(marker: string): Confirm {
  return async ({ call }): Promise<Confirmation> => {
    const found = await call('test.look', { look: marker });
    assert.ok(isRecord(found));
    if (found['executed'] === true) return { executed: true, result: { marker } };
    return { executed: found['final'] === true ? false : 'unknown' };
  };
}

export const CONFIRMS: Readonly<Record<'looks' | 'throws' | 'hangs', (marker: string) => Confirm>> = {
  looks: look,
  throws: () => () => Promise.reject(new Error('thrown by a confirm')),
  hangs: () => () => new Promise(() => {}),
};
