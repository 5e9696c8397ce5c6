/** What is known of a method before it is called: whether it may be repeated, and the shapes of its params and result. */
import { METHODS, type MethodFacts } from './methods/table.js';
import type { Safety } from './vocabulary.js';

export { targetOf, withOrigin } from './methods/delivery.js';
export type {
  AgentFile,
  AgentSummary,
  Attachment,
  Methods,
  NodeSummary,
  Params,
  Result,
  SessionSummary,
} from './methods/shapes.js';
export { METHODS, type MethodFacts } from './methods/table.js';

const UNKNOWN_METHOD: MethodFacts = { safety: 'once', why: 'unknown methods are never repeated on a guess' };

export function factsOf(method: string): MethodFacts {
  return METHODS.get(method) ?? UNKNOWN_METHOD;
}

/** The safety of one call: some methods are safe only with a certain param (a key, a guard). */
export function safetyOf(method: string, params?: unknown): Safety {
  const { safety, needs } = factsOf(method);
  return needs === undefined || hasText(params, needs) ? safety : 'once';
}

function hasText(params: unknown, key: string): boolean {
  if (typeof params !== 'object' || params === null || !Object.hasOwn(params, key)) return false;
  const value: unknown = (params as Record<string, unknown>)[key];
  return typeof value === 'string' && value !== '';
}
