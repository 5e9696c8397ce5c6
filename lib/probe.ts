/** The package entry `holdfast/probe`: judges a liveness file, and starts as fast as Node itself. */
export { type ProbeOptions, type ProbeResult, probe } from './api/probe.js';
export type { Ages, Cause, Judgement, Limits, Verdict, WriterState } from './core/liveness/judge.js';
export type {
  LivenessCalls,
  LivenessError,
  LivenessExit,
  LivenessFacts,
  LivenessGateway,
  LivenessRecord,
  LivenessRestart,
  WriterIdentity,
} from './core/liveness/types.js';
export type { Status, StopOutcome } from './core/vocabulary.js';
