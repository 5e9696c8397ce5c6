/** Waits that obey a signal, and leave nothing behind on it. */
import type { Runtime, Timer } from './runtime.js';

interface Watch {
  readonly acts: Set<() => void>;
  readonly fire: () => void;
}

const WATCHES = new WeakMap<AbortSignal, Watch>();

/**
 * Calls `act` when the signal aborts, at once if it has; returns its off. Many may share one signal (a tenant's, say): it carries a single
 * listener of ours, since Node warns of a leak at eleven, and none once nobody waits.
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act();
    return () => {};
  }
  const watch = WATCHES.get(signal) ?? begin(signal);
  // A function of its own, so that the same `act` may be given twice.
  const own = (): void => act();
  watch.acts.add(own);
  return () => {
    watch.acts.delete(own);
    if (watch.acts.size > 0 || WATCHES.get(signal) !== watch) return;
    WATCHES.delete(signal);
    signal.removeEventListener('abort', watch.fire);
  };
}

function begin(signal: AbortSignal): Watch {
  const acts = new Set<() => void>();
  const fire = (): void => {
    WATCHES.delete(signal);
    for (const act of [...acts]) act();
  };
  const watch: Watch = { acts, fire };
  WATCHES.set(signal, watch);
  signal.addEventListener('abort', fire, { once: true });
  return watch;
}

/** How a race ended: the promise was kept, the time was up, or the signal aborted. */
export type Raced<T> = { readonly value: T } | 'late' | 'aborted';

/**
 * Waits for the promise (null: for nothing, a pause), at most `ms`, and not beyond the signal. Rejects only with what
 * the promise rejects with in time; a later rejection is nobody's.
 */
export function raced<T>(
  runtime: Runtime,
  promise: Promise<T> | null,
  ms: number,
  signal: AbortSignal,
): Promise<Raced<T>> {
  return new Promise((resolve, reject) => {
    let timer: Timer | null = null;
    let off = (): void => {};
    const end = (settle: () => void): void => {
      timer?.clear();
      off();
      settle();
    };
    promise?.then(
      (value) => end(() => resolve({ value })),
      (error: unknown) => end(() => reject(error)),
    );
    if (signal.aborted) {
      resolve('aborted');
      return;
    }
    off = onAbort(signal, () => end(() => resolve('aborted')));
    if (Number.isFinite(ms)) timer = runtime.setTimer(() => end(() => resolve('late')), Math.max(0, ms));
  });
}
