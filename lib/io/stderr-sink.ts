/**
 * Standard error for log lines. A line is written at once, so that the last one before an exit is not lost in a
 * buffer; a reader that has stopped reading never stops the loop, it only costs lines.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { codeOf } from './provider-error.js';

/** What is kept for a reader that does not read, in bytes; beyond it lines are dropped. */
const BACKLOG = 1024 * 1024;
/** How often a full pipe is tried again, in ms. */
const AGAIN_MS = 100;

export class StderrSink {
  readonly #fd: number;
  readonly #own: boolean;
  #backlog: Buffer[] = [];
  #bytes = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor() {
    const own = openNonBlocking();
    this.#fd = own ?? 2;
    this.#own = own !== null;
    process.on('exit', this.#onExit);
  }

  /** Lines that nobody will read: the reader has stopped, or is gone. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Never throws: whoever logs has other things to do. */
  write(text: string): void {
    const line = Buffer.from(text);
    if (this.#bytes > 0) this.#drain();
    try {
      const rest = this.#bytes > 0 ? line : this.#attempt(line);
      if (rest.length > 0) this.#keep(rest, rest.length < line.length);
    } catch {
      this.#dropped += 1;
    }
  }

  /** A line that was begun must be ended, or the next one would be read as its rest. */
  #keep(rest: Buffer, begun: boolean): void {
    if (!begun && this.#bytes + rest.length > BACKLOG) {
      this.#dropped += 1;
      return;
    }
    this.#backlog.push(rest);
    this.#bytes += rest.length;
    this.#again();
  }

  close(): void {
    this.#onExit();
    process.off('exit', this.#onExit);
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#own) closeSync(this.#fd);
  }

  readonly #onExit = (): void => this.#drain();

  /** What of the line was not taken. */
  #attempt(line: Buffer): Buffer {
    let rest = line;
    try {
      while (rest.length > 0) rest = rest.subarray(writeSync(this.#fd, rest));
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN') throw error;
    }
    return rest;
  }

  #drain(): void {
    try {
      for (let first = this.#backlog[0]; first !== undefined; first = this.#backlog[0]) {
        const rest = this.#attempt(first);
        this.#bytes -= first.length - rest.length;
        if (rest.length > 0) {
          this.#backlog[0] = rest;
          return;
        }
        this.#backlog.shift();
      }
    } catch {
      // The reader is gone for good.
      this.#dropped += this.#backlog.length;
      this.#backlog = [];
      this.#bytes = 0;
    }
  }

  #again(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#drain();
      if (this.#bytes > 0) this.#again();
    }, AGAIN_MS).unref();
  }
}

/**
 * Standard error under a description of its own: O_NONBLOCK on the inherited one would reach every process that shares
 * it. Linux only, and not for sockets; null where it cannot be had, and lines are then written as they always were.
 */
function openNonBlocking(): number | null {
  if (process.platform !== 'linux') return null;
  try {
    return openSync(
      '/proc/self/fd/2',
      constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY,
    );
  } catch {
    return null;
  }
}

let shared: StderrSink | null = null;

/** The one sink of this process. */
export function stderrSink(): StderrSink {
  shared ??= new StderrSink();
  return shared;
}
