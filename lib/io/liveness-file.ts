/**
 * Writes the liveness file. Only the main loop may call this: that a record appears is the proof that the loop turns.
 * The work is done off the loop, so that a slow or hung disk holds nothing but the file.
 */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join, resolve } from 'node:path';
import { encodeRecord } from '../core/liveness/record.js';
import type { LivenessFacts, WriterIdentity } from '../core/liveness/types.js';
import {
  type FileStep,
  failureOf,
  type WriteFailure,
  type WriteMode,
  type WriteOutcome,
  type WritePlan,
  writeSteps,
} from '../core/liveness/write-steps.js';
import { type StepRunner, systemRunner } from './liveness-steps.js';

export type { WriteFailure, WriteMode } from '../core/liveness/write-steps.js';

/** A write that takes longer than this is reported. */
const PENDING_MS = 10_000;
/** How long a write that was already handed to the system may still land. */
const LANDING_MS = 20;

export interface ModeChange {
  from: WriteMode;
  to: WriteMode;
  error?: WriteFailure;
}

export interface LivenessFileOptions {
  file: string;
  /** How often the owner promises to write, in milliseconds. */
  intervalMs: number;
  identity: WriterIdentity;
  /** Version of holdfast. */
  version: string;
  /** Wall clock in epoch milliseconds. Default: `Date.now`. */
  nowMs?: () => number;
  /** Monotonic clock of the machine in nanoseconds; readers compare it with theirs. Default: `process.hrtime.bigint`. */
  monoNs?: () => bigint;
  /** Called once per change of mode or of error code, for a log line. */
  onModeChange?: (change: ModeChange) => void;
  /** Replaced in tests. */
  runner?: StepRunner;
}

export interface LivenessFileHealth {
  file: string;
  /** Epoch milliseconds of the last record on disk. */
  lastWriteAt?: number;
  error?: WriteFailure;
  mode: WriteMode;
}

/** One write that is under way. */
interface Flight {
  readonly temp: string;
  readonly startedNs: bigint;
  /** Set when a synchronous write overtook it: it begins no further step that changes anything. */
  overtaken: boolean;
}

/** What a reader decides by: only a record of the same kind may be kept alive by its time alone. */
function kindOf({ state }: LivenessFacts): string {
  return state === 'connecting' || state === 'handshaking' || state === 'waiting' ? 'reconnecting' : state;
}

/** The liveness file of one client. Nothing here ever throws or rejects: failures show in {@link health}. */
export class LivenessFile {
  readonly #options: LivenessFileOptions;
  readonly #file: string;
  readonly #runner: StepRunner;
  #seq = 0;
  #mode: WriteMode = 'rename';
  #error: WriteFailure | undefined;
  #lastWriteAt: number | undefined;
  /** Kind of the record on disk, while it is known to be ours. */
  #onDisk: string | undefined;
  #waiting: LivenessFacts | undefined;
  #busy = false;
  #drained: Promise<void> = Promise.resolve();
  #flight: Flight | undefined;
  #stuck = false;
  #closed = false;
  #careful = true;
  #everWrote = false;
  #made = false;

  constructor(options: LivenessFileOptions) {
    this.#options = options;
    this.#file = resolve(options.file);
    this.#runner = options.runner ?? systemRunner;
  }

  /**
   * Writes a record of now. At most one write is under way; of those asked for meanwhile only the newest follows.
   * Resolves when the disk has taken it or refused it.
   */
  write(facts: LivenessFacts): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#waiting = facts;
    const late = this.#pending();
    if (late !== undefined) {
      this.#stuck = true;
      this.#report('memory', late);
    }
    if (!this.#busy) this.#drained = this.#drain();
    return this.#drained;
  }

  /**
   * Writes a record at once, through to the platter: for the give-up or stop record before the process exits. A record
   * of state `stopped` is the last: later writes are ignored. Skipped while the disk hangs, which would hang the exit.
   */
  writeSync(facts: LivenessFacts): void {
    if (this.#closed) return;
    if (facts.state === 'stopped') this.close();
    // What waits is older than these facts.
    this.#waiting = undefined;
    if (this.#stuck) return;
    const flight = this.#flight;
    if (flight !== undefined) {
      flight.overtaken = true;
      // Its rename may be with the system already: without its source it cannot undo ours.
      this.#attempt({ op: 'remove', path: flight.temp });
    }
    try {
      const plan = this.#plan(facts, this.#tempName(), true);
      let outcome = this.#runNow(plan);
      if (flight !== undefined && outcome.mode === 'in-place') {
        // The same goes for an overwrite, which nothing can call back: let it land, then write over it.
        this.#attempt({ op: 'pause', ms: LANDING_MS });
        outcome = this.#runNow(plan);
      }
      this.#settle(facts, outcome);
    } catch (error) {
      this.#report('memory', failureOf(error));
    }
  }

  /** How the file fares. `error` also while a fallback keeps it fresh, or while a write hangs. */
  health(): LivenessFileHealth {
    const error = this.#pending() ?? this.#error;
    return {
      file: this.#file,
      ...(this.#lastWriteAt === undefined ? {} : { lastWriteAt: this.#lastWriteAt }),
      ...(error === undefined ? {} : { error }),
      mode: this.#mode,
    };
  }

  /** No more writes. The file stays: its last record goes stale, or says that the client stopped. */
  close(): void {
    this.#closed = true;
    this.#waiting = undefined;
  }

  #nowMs(): number {
    return this.#options.nowMs?.() ?? Date.now();
  }

  #monoNs(): bigint {
    return this.#options.monoNs?.() ?? process.hrtime.bigint();
  }

  #pending(): WriteFailure | undefined {
    if (this.#flight === undefined) return undefined;
    const ms = Number(this.#monoNs() - this.#flight.startedNs) / 1e6;
    if (ms <= PENDING_MS) return undefined;
    return { code: 'PENDING', message: `a write has not returned for ${Math.floor(ms / 1000)}s` };
  }

  #tempName(): string {
    return join(dirname(this.#file), `.${basename(this.#file)}.${randomBytes(6).toString('hex')}.tmp`);
  }

  #plan(facts: LivenessFacts, temp: string, durable: boolean): WritePlan {
    const { identity, intervalMs, version } = this.#options;
    const writtenAtMs = this.#nowMs();
    this.#seq += 1;
    const stamps = { seq: this.#seq, writer: identity, intervalMs, writtenAtMs, writtenMonoNs: String(this.#monoNs()) };
    return {
      file: this.#file,
      directory: dirname(this.#file),
      temp,
      text: encodeRecord({ ...facts, v: 1, ...stamps, version }),
      durable,
      careful: this.#careful,
      mayMake: this.#made || !this.#everWrote,
      patient: this.#mode === 'rename',
      // Whole seconds: the mark by which a reader knows this from a stray `touch`.
      ...(this.#onDisk === kindOf(facts) ? { touchSeconds: Math.floor(writtenAtMs / 1000) } : {}),
    };
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#waiting !== undefined) {
      const facts = this.#waiting;
      this.#waiting = undefined;
      const flight: Flight = { temp: this.#tempName(), startedNs: this.#monoNs(), overtaken: false };
      this.#flight = flight;
      try {
        const outcome = await this.#runLater(this.#plan(facts, flight.temp, false), flight);
        if (!flight.overtaken) this.#settle(facts, outcome);
      } catch (error) {
        this.#report('memory', failureOf(error));
      }
      this.#flight = undefined;
      this.#stuck = false;
    }
    this.#busy = false;
  }

  async #runLater(plan: WritePlan, flight: Flight): Promise<WriteOutcome> {
    const steps = writeSteps(plan);
    let next = steps.next();
    while (!next.done) {
      const step = next.value;
      let answer: { value: unknown } | { error: unknown };
      try {
        if (flight.overtaken && step.op !== 'close' && step.op !== 'remove') throw new Error('overtaken');
        answer = { value: await this.#runner.later(step) };
      } catch (error) {
        answer = { error };
      }
      next = 'error' in answer ? steps.throw(answer.error) : steps.next(answer.value);
    }
    return next.value;
  }

  #runNow(plan: WritePlan): WriteOutcome {
    const steps = writeSteps(plan);
    let next = steps.next();
    while (!next.done) {
      const answer = this.#attempt(next.value);
      next = 'error' in answer ? steps.throw(answer.error) : steps.next(answer.value);
    }
    return next.value;
  }

  #attempt(step: FileStep): { value: unknown } | { error: unknown } {
    try {
      return { value: this.#runner.now(step) };
    } catch (error) {
      return { error };
    }
  }

  #settle(facts: LivenessFacts, { mode, error, made }: WriteOutcome): void {
    this.#made ||= made;
    this.#careful = mode !== 'rename';
    if (mode === 'rename' || mode === 'in-place') {
      this.#everWrote = true;
      this.#lastWriteAt = this.#nowMs();
      this.#onDisk = kindOf(facts);
    }
    this.#report(mode, error);
  }

  #report(to: WriteMode, error: WriteFailure | undefined): void {
    const from = this.#mode;
    const news = from !== to || this.#error?.code !== error?.code;
    this.#mode = to;
    this.#error = error;
    if (!news) return;
    try {
      this.#options.onModeChange?.({ from, to, ...(error === undefined ? {} : { error }) });
    } catch {
      // A logger that fails must not stop the record.
    }
  }
}
