/** A run of an agent; its id is the idempotency key that asked for it. */
export interface Run {
  readonly id: string;
  readonly sessionKey: string;
  readonly startedAt: number;
  endedAt?: number;
  status: 'running' | 'ok' | 'aborted';
}

const DEDUPE_MS = 300_000;
const DEDUPE_ENTRIES = 1000;

/** The runs and the dedupe table of one gateway instance: both are gone after a restart. */
export class Runs {
  readonly #runs: Map<string, Run> = new Map();
  readonly #waiters: Map<Run, (() => void)[]> = new Map();

  /** The run that this key started, if it is still remembered. */
  repeatOf(key: string): Run | undefined {
    const run = this.#runs.get(key);
    return run !== undefined && Date.now() - run.startedAt <= DEDUPE_MS ? run : undefined;
  }

  find(id: string): Run | undefined {
    return this.#runs.get(id);
  }

  running(sessionKey: string): Run[] {
    return [...this.#runs.values()].filter((run) => run.sessionKey === sessionKey && run.status === 'running');
  }

  begin(id: string, sessionKey: string): Run {
    const run: Run = { id, sessionKey, startedAt: Date.now(), status: 'running' };
    this.#runs.set(id, run);
    const [oldest] = this.#runs.keys();
    if (this.#runs.size > DEDUPE_ENTRIES && oldest !== undefined) this.#runs.delete(oldest);
    return run;
  }

  /** False when it had ended before. */
  end(run: Run, status: 'ok' | 'aborted'): boolean {
    if (run.status !== 'running') return false;
    run.status = status;
    run.endedAt = Date.now();
    for (const waiter of this.#waiters.get(run) ?? []) waiter();
    this.#waiters.delete(run);
    return true;
  }

  /** Resolves when the run has ended. */
  ended(run: Run): Promise<void> {
    if (run.status !== 'running') return Promise.resolve();
    return new Promise((resolve) => this.#waiters.set(run, [...(this.#waiters.get(run) ?? []), resolve]));
  }
}
