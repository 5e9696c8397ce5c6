/** The timers of one owner, so that ending the owner ends all of them and nothing fires late. */
export class Timers {
  readonly #pending: Map<NodeJS.Timeout, () => void> = new Map();
  #over = false;

  /** Runs `action` once after `ms`; returns a function that calls it off. */
  after(ms: number, action: () => void): () => void {
    return this.#start(ms, action, () => {});
  }

  /** Runs `action` every `ms`; a period of 0 or less means never. */
  every(ms: number, action: () => void): () => void {
    if (ms <= 0 || this.#over) return () => {};
    const timer = setInterval(action, ms);
    this.#pending.set(timer, () => {});
    return () => this.#stop(timer);
  }

  /** True when the time has passed, false when the timers were cleared first. */
  sleep(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      this.#start(
        ms,
        () => resolve(true),
        () => resolve(false),
      );
    });
  }

  /** Ends every timer, and those asked for later: the owner is gone. */
  clear(): void {
    this.#over = true;
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const [timer, cleared] of pending) {
      clearTimeout(timer);
      cleared();
    }
  }

  #start(ms: number, action: () => void, cleared: () => void): () => void {
    if (this.#over) {
      cleared();
      return () => {};
    }
    const timer = setTimeout(() => {
      this.#pending.delete(timer);
      action();
    }, ms);
    this.#pending.set(timer, cleared);
    return () => this.#stop(timer);
  }

  #stop(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    this.#pending.delete(timer);
  }
}
