import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LivenessFacts, LivenessRecord, WriterIdentity } from '../../lib/core/liveness.js';

/** The wall clock of the records below. */
export const NOW_MS = 1_800_000_000_000;
/** The monotonic clock of the records below. */
export const NOW_NS = 5_000_000_000_000n;

export const facts: LivenessFacts = {
  state: 'online',
  stateSinceMs: NOW_MS - 60_000,
  attempt: 0,
  lastConnectedAtMs: NOW_MS - 60_000,
  lastFrameAtMs: NOW_MS - 1000,
  restartsSeen: 1,
  gateway: { version: '2026.9.6', bootId: 'boot-g', connId: 'c-1', protocol: 4 },
  calls: { inFlight: 1, waiting: 2, retried: 3, unknown: 0 },
  loopLagMaxMs: 12,
};

export const waiting: LivenessFacts = {
  ...facts,
  state: 'waiting',
  reason: 'outage',
  stateSinceMs: NOW_MS - 2000,
  attempt: 7,
  nextAttemptAtMs: NOW_MS + 3000,
  giveUpAtMs: NOW_MS + 500_000,
  disconnectedSinceMs: NOW_MS - 100_000,
  lastError: { code: 'ECONNREFUSED', reason: 'outage', phase: 'tcp', message: 'connect ECONNREFUSED 127.0.0.1:18789' },
};

export const stopped: LivenessFacts = {
  ...waiting,
  state: 'stopped',
  exit: { code: 75, outcome: 'gave-up', reason: 'outage', attempts: 41, elapsedMs: 600_000 },
};

export const identity: WriterIdentity = {
  pid: 7,
  startToken: '131155',
  bootId: 'boot-h',
  pidNs: '4026531836',
  timeNs: '4026531834',
  host: 'mill',
  instanceId: 'instance-1',
};

/** A record written at `NOW_MS` by `identity`. */
export function recordOf(changes: Partial<LivenessRecord> = {}): LivenessRecord {
  return {
    ...facts,
    v: 1,
    seq: 12,
    writer: identity,
    intervalMs: 10_000,
    writtenAtMs: NOW_MS,
    writtenMonoNs: String(NOW_NS),
    version: '0.1.0',
    ...changes,
  };
}

/** A new directory that is gone when the test ends. */
export function scratch(): { path: string; at: (name: string) => string; [Symbol.dispose]: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-'));
  return {
    path,
    at: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
