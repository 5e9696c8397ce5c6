/** Log records with stable fields. Whatever the logger does, nothing else changes. */
import { pino } from 'pino';
import type { Logger } from '../core/options.js';
import type { Scrubber } from './scrubber.js';
import { stderrSink } from './stderr-sink.js';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Every record has `event`, for filters that do not read messages. */
export interface LogRecord {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** Writes records to the owner's logger, scrubbed, with the fields that every record carries. */
export class SafeLog {
  readonly #logger: Logger | null;
  readonly #isDefault: boolean;
  readonly #scrubber: Scrubber;
  readonly #always: Readonly<Record<string, unknown>>;
  #dropped = 0;

  constructor(logger: Logger | false | undefined, scrubber: Scrubber, always: Readonly<Record<string, unknown>>) {
    this.#isDefault = logger === undefined;
    this.#logger = logger === false ? null : (logger ?? defaultLogger());
    this.#scrubber = scrubber;
    this.#always = always;
  }

  /** Records that the logger refused by throwing, or that nobody will read. */
  get dropped(): number {
    return this.#dropped + (this.#isDefault ? stderrSink().dropped : 0);
  }

  write(level: Level, record: LogRecord, message: string): void {
    if (this.#logger === null) return;
    try {
      const clean = this.#scrubber.value({ ...this.#always, ...record });
      const written: unknown = this.#logger[level](clean as object, this.#scrubber.text(message));
      // An async logger that rejects would otherwise be an unhandled rejection of the whole process.
      if (written instanceof Promise) written.catch(() => this.#drop());
    } catch {
      this.#drop();
    }
  }

  #drop(): void {
    this.#dropped += 1;
  }
}

/** pino on standard error: at once, and never waiting for who reads it. */
export function defaultLogger(level: string = process.env['HOLDFAST_LOG_LEVEL'] ?? 'info'): Logger {
  return pino({ name: 'holdfast', level, timestamp: pino.stdTimeFunctions.isoTime }, stderrSink());
}
