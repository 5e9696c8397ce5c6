import { createHash, randomUUID } from 'node:crypto';
import { invalid, RpcError } from './errors.js';
import type { Call, MethodTable } from './methods.js';
import { anything, bool, count, name, object, oneOf, open, positive, stringAt, text } from './validate.js';

const READ = 'operator.read';
const ADMIN = 'operator.admin';

const CRON_ADD = object(
  {
    name,
    declarationKey: name,
    displayName: name,
    agentId: name,
    sessionKey: name,
    description: text,
    enabled: bool,
    deleteAfterRun: bool,
    schedule: open,
    sessionTarget: name,
    wakeMode: oneOf('next-heartbeat', 'now'),
    payload: open,
    delivery: open,
    failureAlert: anything,
    owner: open,
    pacing: open,
    trigger: open,
  },
  'name',
  'schedule',
  'sessionTarget',
  'wakeMode',
  'payload',
);

/** Health, configuration, models, sessions, cron and the restart request. */
export const CORE_METHODS: MethodTable = {
  health: {
    role: 'any',
    run: ({ boot }) => ({ ok: true, ts: Date.now(), durationMs: 1, uptimeMs: age(boot.startedAt) }),
  },
  status: {
    scope: READ,
    run: ({ host, boot }) => ({
      runtimeVersion: host.profile.version,
      uptimeMs: age(boot.startedAt),
      sessions: { count: 0, recent: [] },
      agents: host.agents.list().length,
    }),
  },
  'gateway.identity.get': { scope: READ, run: ({ host }) => ({ deviceId: digest(host.httpUrl), publicKey: '' }) },
  'config.get': {
    scope: READ,
    params: object({}),
    run: ({ host }) => {
      const config = { gateway: { mode: 'local' }, agents: { list: host.agents.list() } };
      return { path: 'openclaw.json', exists: true, valid: true, hash: digest(JSON.stringify(config)), config };
    },
  },
  'models.list': {
    scope: READ,
    params: object({
      agentId: name,
      includeProviderCapabilities: bool,
      preparedOnly: bool,
      refresh: bool,
      view: oneOf('default', 'configured', 'provider-config', 'all'),
    }),
    run: () => ({ models: [{ id: 'canned-1', name: 'Canned answers', provider: 'embedded', contextWindow: 8192 }] }),
  },
  'sessions.list': {
    scope: READ,
    params: object({
      limit: positive,
      offset: count,
      agentId: name,
      search: text,
      label: name,
      activeMinutes: positive,
    }),
    run: () => ({ ts: Date.now(), count: 0, sessions: [] }),
  },
  'cron.list': {
    scope: READ,
    params: object({ includeDisabled: bool, limit: positive, offset: count, query: text, agentId: name }),
    run: ({ host }) => ({ jobs: [...host.jobs.values()], total: host.jobs.size }),
  },
  'cron.add': { scope: ADMIN, limited: true, params: CRON_ADD, run: addJob },
  'cron.remove': { scope: ADMIN, limited: true, params: object({ id: name }, 'id'), run: removeJob },
  'gateway.restart.request': {
    scope: ADMIN,
    limited: true,
    params: object({ reason: text, skipDeferral: bool, delayMs: count }),
    run: requestRestart,
  },
};

function addJob({ host, entry }: Call, params: Record<string, unknown>): unknown {
  const key = stringAt(params, 'declarationKey');
  const earlier = [...host.jobs.values()].find((job) => key !== undefined && job['declarationKey'] === key);
  if (earlier !== undefined) {
    entry.executed = false;
    return { created: false, job: earlier };
  }
  const now = Date.now();
  const job = { enabled: true, ...params, id: randomUUID(), createdAtMs: now, updatedAtMs: now, state: {} };
  host.jobs.set(job.id, job);
  host.broadcast('cron', { jobId: job.id, action: 'added', job });
  // With a key the answer also says whether it is new.
  return key === undefined ? job : { created: true, job };
}

function removeJob({ host }: Call, params: Record<string, unknown>): unknown {
  const removed = host.jobs.delete(stringAt(params, 'id') ?? '');
  if (!removed && host.profile.limitPerMethod) {
    throw new RpcError(invalid('cron job not found', { code: 'CRON_JOB_NOT_FOUND' }));
  }
  return { ok: true, removed };
}

function requestRestart({ host }: Call, params: Record<string, unknown>): unknown {
  const reason = stringAt(params, 'reason') ?? 'gateway.restart.request';
  const { status, work, cooldownMs } = host.requestRestart(reason, params['skipDeferral'] === true);
  const safe = work === 0;
  const blockers = safe ? [] : [{ kind: 'root-request', count: work, message: `${work} active root request(s)` }];
  const counts = {
    queueSize: 0,
    pendingReplies: 0,
    embeddedRuns: 0,
    cronRuns: 0,
    backgroundExecSessions: 0,
    rootRequests: work,
    activeTasks: 0,
    totalActive: work,
  };
  const summary = safe ? 'safe to restart now' : `restart deferred: ${work} active root request(s)`;
  return {
    ok: true,
    status,
    preflight: { safe, counts, blockers, summary },
    restart: {
      ok: true,
      pid: process.pid,
      signal: 'SIGUSR2',
      reason,
      mode: 'emit',
      cooldownMsApplied: cooldownMs,
      delayMs: 0,
      coalesced: status === 'coalesced',
      emitHooksQueued: false,
    },
  };
}

function age(since: number): number {
  return Date.now() - since;
}

function digest(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}
