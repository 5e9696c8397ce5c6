/** A timer that can be taken back. */
export interface Timer {
  /** Stops it; harmless when it has fired. */
  clear(): void;
}

/**
 * Time, chance and ids, as a port: the core names none of them. The system's own by default; a virtual one makes hours
 * pass in milliseconds.
 */
export interface Runtime {
  /** Monotonic ms. All waiting is measured by it. */
  now(): number;
  /** Wall-clock ms since 1970, for records that people read. */
  wall(): number;
  /** Calls `fire` once, after `ms`. The timer keeps the process alive. */
  setTimer(fire: () => void, ms: number): Timer;
  /** A number in [0, 1). */
  draw(): number;
  /** A new unique id. */
  id(): string;
}
