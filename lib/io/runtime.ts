import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Runtime } from '../core/runtime.js';

export type { Runtime, Timer } from '../core/runtime.js';

/** Node fires a timer beyond this at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemRuntime: Runtime = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimer(fire, ms) {
    const timer = setTimeout(fire, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS));
    return { clear: () => clearTimeout(timer) };
  },
  draw: () => Math.random(),
  id: () => randomUUID(),
};
