/** Waiting that obeys a signal. */
import type { Runtime } from '../core/runtime.js';

/** Resolves after `ms`, when the signal aborts, or when `wake` is called, whichever comes first. Whoever waits looks. */
export function pause(
  runtime: Runtime,
  ms: number,
  signal?: AbortSignal,
  onWake: (wake: () => void) => void = () => {},
): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.clear();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = runtime.setTimer(done, signal?.aborted === true ? 0 : Math.max(0, ms));
    signal?.addEventListener('abort', done, { once: true });
    onWake(done);
  });
}
