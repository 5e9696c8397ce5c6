/** Ready-made looks: was a call whose outcome is unknown executed? */
import type { Confirm, Confirmation } from './call-entry.js';

/** The look that belongs to a method, when there is one. */
export function confirmFor(method: string, params: unknown): Confirm | undefined {
  return method === 'agents.create' ? confirmAgent(params) : undefined;
}

/**
 * `agents.create` is answered for by `agents.list`. The id is derived from the name, and the name is the caller's own;
 * an agent of that name in another workspace is somebody else's, and nothing is claimed of it.
 */
function confirmAgent(params: unknown): Confirm | undefined {
  const name = textOf(params, 'name');
  const workspace = textOf(params, 'workspace');
  if (name === undefined) return undefined;
  return async ({ call, refused }): Promise<Confirmation> => {
    const list = await call('agents.list', {});
    const agents =
      typeof list === 'object' && list !== null && 'agents' in list && Array.isArray(list.agents) ? list.agents : null;
    if (agents === null) return { executed: 'unknown' };
    const found: unknown = agents.find(
      (agent: unknown) => textOf(agent, 'name') === name || textOf(agent, 'id') === agentIdOf(name),
    );
    // 2026.9.6 lists a new agent up to 2 s late. There is no code for this refusal, and the text is the same everywhere.
    if (found === undefined && / already exists$/.test(refused?.message ?? '')) {
      return { executed: true, result: { ok: true, agentId: agentIdOf(name), name, workspace } };
    }
    if (found === undefined) return { executed: false };
    const its = textOf(found, 'workspace');
    if (workspace !== undefined && its !== undefined && its !== workspace) return { executed: 'unknown' };
    return {
      executed: true,
      result: { ok: true, agentId: textOf(found, 'id') ?? agentIdOf(name), name, workspace: its ?? workspace },
    };
  };
}

/** The id that the gateway gives to an agent of this name: a usable name is kept, anything else becomes dashes (code). */
export function agentIdOf(name: string): string {
  const plain = name.trim().toLowerCase();
  if (/^[a-z0-9][\w-]{0,63}$/.test(plain)) return plain;
  const words = plain.split(/[^\w-]+/).join('-');
  return words.replace(/^-+|-+$/g, '').slice(0, 64);
}

function textOf(value: unknown, key: string): string | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  const entry = (value as Record<string, unknown>)[key];
  return typeof entry === 'string' ? entry : undefined;
}
