/** One seeded schedule, as plain data: what is called, what befalls link and gateway, when it heals. It can be shrunk. */
import type { CallOptions } from '../../../lib/api/call-request.js';
import { Chance } from '../../support/virtual-runtime.js';
import { FAULT_NAMES } from './faults.js';
import { ODDITY_NAMES } from './oddities.js';

export interface CallSpec {
  readonly at: number;
  /** Names the call at the gateway. */
  readonly marker: string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly options: Pick<CallOptions, 'retry' | 'timeout' | 'deadline' | 'maxAttempts' | 'safety' | 'idempotencyKey'>;
  readonly confirm?: 'looks' | 'throws' | 'hangs';
  /** Aborted so long after it was made. */
  readonly abortAfter?: number;
}

export interface FaultStep {
  readonly at: number;
  readonly name: string;
  readonly ms: number;
  readonly seed: number;
}

export interface Schedule {
  readonly seed: number;
  readonly calls: readonly CallSpec[];
  readonly faults: readonly FaultStep[];
  /** Share of requests that are served oddly while the gateway is up, and how. */
  readonly odd: number;
  readonly oddities: readonly [string, ...string[]];
  readonly slowest: number;
  readonly drainHint: number;
  readonly listLag: number;
  readonly healAt: number;
  readonly close?: { readonly at: number; readonly grace: number };
}

/** Virtual ms of trouble, at most. */
const LONGEST = 120_000;

export function draw(seed: number): Schedule {
  const chance = new Chance(seed * 7919 + 1);
  const healAt = chance.span(2000, LONGEST);
  const faults = Array.from(
    { length: chance.whole(0, 8) },
    (): FaultStep => ({
      at: Math.round(healAt * chance.draw()),
      name: chance.pick(FAULT_NAMES),
      ms: chance.span(1, 60_000),
      seed: chance.whole(1, 1e9),
    }),
  ).sort((a, b) => a.at - b.at);
  const few = chance.pick(ODDITY_NAMES);
  const close = { at: Math.round(healAt * 1.2 * chance.draw()), grace: chance.pick([0, 500, 3000, 20_000]) };
  const listLag = chance.pick([0, 1500]);
  return {
    seed,
    calls: drawCalls(chance, healAt, faults, listLag === 0),
    listLag,
    faults,
    odd: chance.pick([0, 0, 0.05, 0.3, 0.8]),
    oddities: chance.draw() < 0.3 ? [few, chance.pick(ODDITY_NAMES)] : ODDITY_NAMES,
    slowest: chance.pick([5, 200, 5000]),
    drainHint: chance.pick([0, 200, 1000, 30_000]),
    healAt,
    ...(chance.draw() < 0.15 && { close }),
  };
}

function drawCalls(chance: Chance, healAt: number, faults: readonly FaultStep[], shared: boolean): CallSpec[] {
  const calls = Array.from({ length: chance.span(1, 60) }, (_, index): CallSpec => {
    // Around faults is where it matters; otherwise anywhere, and some after all is well.
    const near = faults[chance.whole(0, faults.length)];
    const at =
      near !== undefined && chance.draw() < 0.7
        ? near.at + chance.pick([-30, 0, 30, 500, 3000])
        : healAt * chance.draw();
    return drawCall(chance, Math.max(0, Math.round(at)), `c${index}`, shared);
  });
  return calls.sort((a, b) => a.at - b.at);
}

function drawCall(chance: Chance, at: number, marker: string, shared: boolean): CallSpec {
  const aborted = chance.draw() < 0.12;
  const timeout = chance.pick([undefined, undefined, 200, 2000, 10_000]);
  const deadline = chance.pick([undefined, undefined, 500, 5000, 30_000, 400_000]);
  const maxAttempts = chance.pick([undefined, undefined, undefined, 1, 2, 4]);
  const kind = KINDS[chance.whole(0, KINDS.length - 1)]?.(chance, marker, shared);
  const { method, params, confirm, ...options } = kind ?? { method: 'health', params: { marker } };
  return {
    at,
    marker,
    method,
    params,
    options: {
      retry: chance.pick(['restart', 'restart', 'restart', 'always', 'always', 'always', 'never']),
      ...(timeout !== undefined && { timeout }),
      // A look that hangs is over at the deadline only.
      ...(deadline !== undefined && confirm !== 'hangs' && { deadline }),
      ...(maxAttempts !== undefined && { maxAttempts }),
      ...options,
    },
    ...(confirm !== undefined && { confirm }),
    ...(aborted && { abortAfter: chance.span(1, 20_000) }),
  };
}

type Kind = Pick<CallSpec, 'method' | 'params' | 'confirm'> & Pick<CallOptions, 'safety' | 'idempotencyKey'>;

const KINDS: readonly ((chance: Chance, marker: string, shared: boolean) => Kind)[] = [
  (_, marker) => ({ method: 'health', params: { marker } }),
  (_, marker) => ({ method: 'agents.list', params: { marker } }),
  (_, marker) => ({ method: 'agents.update', params: { marker } }),
  (chance, marker) => ({
    method: 'agents.files.set',
    params: { marker, agentId: `agent-${chance.whole(0, 5)}`, name: 'X.md' },
  }),
  (_, marker) => ({ method: 'chat.send', params: { marker } }),
  (_, marker) => ({ method: 'chat.send', params: { marker } }),
  (_, marker) => ({ method: 'agent', params: { marker }, idempotencyKey: `key-${marker}` }),
  (_, marker) => ({ method: 'chat.send', params: { marker }, confirm: 'looks' }),
  (_, marker) => ({ method: 'environments.create', params: { marker } }),
  (_, marker) => ({ method: 'test.count', params: { marker } }),
  (_, marker) => ({ method: 'node.invoke', params: { marker } }),
  (chance, marker) => ({
    method: 'test.count',
    params: { marker },
    confirm: chance.pick(['looks', 'looks', 'looks', 'throws', 'hangs']),
  }),
  (_, marker) => ({ method: 'test.count', params: { marker }, safety: 'repeatable' }),
  // Few names for many callers: what already exists may be somebody else's. That can be seen only where agents are
  // listed at once.
  (chance, marker, shared) => ({
    method: 'agents.create',
    params: { name: shared ? `Agent-${chance.whole(0, 5)}` : `Agent-${marker}`, workspace: marker },
  }),
  (_, marker) => ({ method: 'agents.create', params: { name: `own-${marker}`, workspace: marker } }),
];
