import { join } from 'node:path';
import { type Agent, AgentStore, hashOf } from './agents.js';
import { invalid, RpcError } from './errors.js';
import type { Call, MethodTable } from './methods.js';
import { bool, name, object, stringAt, text } from './validate.js';

const READ = 'operator.read';
const ADMIN = 'operator.admin';

const CHANGES = { name, workspace: name, model: name, emoji: text, avatar: text };

export const AGENT_METHODS: MethodTable = {
  'agents.list': {
    scope: READ,
    params: object({}),
    run: ({ host }) => ({
      defaultId: 'main',
      mainKey: 'main',
      scope: 'per-sender',
      agents: host.agents.list().map(({ id, name, workspace }) => ({ id, name, workspace })),
    }),
  },
  'agents.create': { scope: ADMIN, params: object(CHANGES, 'name'), run: create },
  'agents.update': {
    scope: ADMIN,
    params: object({ agentId: name, ...CHANGES }, 'agentId'),
    run: (call, params) => {
      const agent = known(call, params, 'agent');
      agent.name = stringAt(params, 'name') ?? agent.name;
      agent.workspace = stringAt(params, 'workspace') ?? agent.workspace;
      agent.model = stringAt(params, 'model') ?? agent.model ?? '';
      return { ok: true, agentId: agent.id };
    },
  },
  'agents.delete': {
    scope: ADMIN,
    params: object({ agentId: name, deleteFiles: bool }, 'agentId'),
    run: (call, params) => {
      const { id } = known(call, params, 'agent');
      if (id === 'main') throw new RpcError(invalid('"main" cannot be deleted'));
      call.host.agents.delete(id, params['deleteFiles'] !== false);
      return { ok: true, agentId: id, removedBindings: 0 };
    },
  },
  'agents.files.list': {
    scope: READ,
    params: object({ agentId: name }, 'agentId'),
    run: (call, params) => {
      const agent = known(call, params, 'files');
      const files = call.host.agents.filesOf(agent).map((file) => describe(call, agent, file, false));
      return { agentId: agent.id, workspace: agent.workspace, files };
    },
  },
  'agents.files.get': {
    scope: READ,
    params: object({ agentId: name, name }, 'agentId', 'name'),
    run: (call, params) => {
      const agent = known(call, params, 'files');
      const file = fileName(call, params);
      return { agentId: agent.id, workspace: agent.workspace, file: describe(call, agent, file, true) };
    },
  },
  'agents.files.set': {
    scope: ADMIN,
    params: object({ agentId: name, name, content: text, expectedHash: text }, 'agentId', 'name', 'content'),
    run: setFile,
  },
};

async function create(call: Call, params: Record<string, unknown>): Promise<unknown> {
  const { host, boot } = call;
  const wanted = stringAt(params, 'name') ?? '';
  const id = AgentStore.idOf(wanted);
  if (id === '') throw new RpcError(invalid(`invalid agent name "${wanted}"`));
  const model = stringAt(params, 'model');
  const workspace = stringAt(params, 'workspace');
  const agent = host.agents.create(wanted, {
    ...(model === undefined ? {} : { model }),
    ...(workspace === undefined ? {} : { workspace }),
  });
  if (agent === undefined) throw new RpcError(invalid(`agent "${id}" already exists`));
  await boot.busy(boot.timers.sleep(host.timings.createMs));
  call.afterAnswer(() => settle(call, agent));
  return {
    ok: true,
    agentId: id,
    name: wanted,
    workspace: agent.workspace,
    ...(model === undefined ? {} : { model }),
  };
}

/** What creating an agent does to the gateway: a settle window, or a restart. */
function settle({ host, boot }: Call, agent: Agent): void {
  const settled = (): void => {
    agent.visible = true;
    host.changed();
  };
  if (host.timings.settleMs <= 0) settled();
  else boot.timers.after(host.timings.settleMs, settled);
  if (host.profile.createRestarts) {
    boot.reloading = true;
    host.restartAfterCreate();
  } else {
    const payload = (): unknown => ({ path: 'openclaw.json', hash: `hmac-sha256:v1:${agent.id}`, ts: Date.now() });
    boot.timers.after(host.timings.settleMs + 10, () => host.broadcast('config.changed', payload()));
  }
}

function setFile(call: Call, params: Record<string, unknown>): unknown {
  const { host } = call;
  const agent = known(call, params, 'files');
  const file = fileName(call, params);
  const expected = stringAt(params, 'expectedHash');
  const currentHash = hashOf(agent.files.get(file)?.content ?? '');
  if (expected !== undefined && expected !== currentHash) {
    const message = `agent file "${file}" changed since last read; re-run agents.files.get and retry`;
    throw new RpcError(invalid(message, { type: 'agent_file_conflict', name: file, currentHash }));
  }
  host.agents.write(agent, file, stringAt(params, 'content') ?? '');
  return { ok: true, agentId: agent.id, workspace: agent.workspace, file: describe(call, agent, file, true) };
}

/** The agent that the params name. Of its files, old versions word the absence differently. */
function known({ host }: Call, params: Record<string, unknown>, asked: 'agent' | 'files'): Agent {
  const id = stringAt(params, 'agentId') ?? '';
  const agent = host.agents.find(id);
  if (agent !== undefined) return agent;
  const old = asked === 'files' && !host.profile.fileHashes;
  throw new RpcError(invalid(old ? 'unknown agent id' : `agent "${id}" not found`));
}

function fileName({ host }: Call, params: Record<string, unknown>): string {
  const file = stringAt(params, 'name') ?? '';
  if (!host.profile.agentFiles.includes(file)) throw new RpcError(invalid(`unsupported file "${file}"`));
  return file;
}

function describe({ host }: Call, agent: Agent, file: string, withContent: boolean): Record<string, unknown> {
  const path = join(agent.workspace, file);
  const stored = agent.files.get(file);
  if (stored === undefined) return { name: file, path, missing: true };
  return {
    name: file,
    path,
    missing: false,
    size: Buffer.byteLength(stored.content),
    updatedAtMs: stored.updatedAt,
    ...(host.profile.fileHashes ? { hash: hashOf(stored.content) } : {}),
    ...(withContent ? { content: stored.content } : {}),
  };
}
