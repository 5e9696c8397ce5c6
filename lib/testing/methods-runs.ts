import type { Boot } from './boot.js';
import { invalid, RpcError } from './errors.js';
import type { Host } from './host.js';
import type { Call, MethodTable } from './methods.js';
import type { Run } from './runs.js';
import { bool, count, name, names, numberAt, object, stringAt, text } from './validate.js';

const READ = 'operator.read';
const WRITE = 'operator.write';

const AGENT = object(
  {
    message: name,
    agentId: name,
    provider: text,
    model: text,
    to: text,
    sessionId: text,
    sessionKey: text,
    thinking: text,
    deliver: bool,
    channel: text,
    timeout: count,
    lane: text,
    extraSystemPrompt: text,
    label: name,
    idempotencyKey: name,
  },
  'message',
  'idempotencyKey',
);
const CHAT_SEND = object(
  {
    sessionKey: name,
    agentId: name,
    sessionId: name,
    message: text,
    thinking: text,
    deliver: bool,
    timeoutMs: count,
    idempotencyKey: name,
  },
  'sessionKey',
  'message',
  'idempotencyKey',
);
const SEND = object(
  {
    to: name,
    message: text,
    mediaUrl: text,
    mediaUrls: names,
    channel: text,
    accountId: text,
    agentId: text,
    replyToId: text,
    threadId: text,
    silent: bool,
    sessionKey: text,
    idempotencyKey: name,
  },
  'to',
  'idempotencyKey',
);

/** Runs of agents, deduplicated by a key for as long as this instance lives. */
export const RUN_METHODS: MethodTable = {
  agent: {
    scope: WRITE,
    params: AGENT,
    run: (call, params) => {
      const agentId = stringAt(params, 'agentId') ?? 'main';
      return start(call, params, stringAt(params, 'sessionKey') ?? `agent:${agentId}:main`, 'accepted');
    },
  },
  'chat.send': {
    scope: WRITE,
    params: CHAT_SEND,
    run: (call, params) => start(call, params, stringAt(params, 'sessionKey') ?? '', 'started'),
  },
  'agent.wait': {
    scope: WRITE,
    params: object({ runId: name, timeoutMs: count }, 'runId'),
    run: wait,
  },
  'chat.abort': {
    scope: WRITE,
    params: object({ sessionKey: name, agentId: name, runId: name, preserveSideRuns: bool }, 'sessionKey'),
    run: ({ host, boot }, params) => {
      const wanted = stringAt(params, 'runId');
      const runs = boot.runs
        .running(stringAt(params, 'sessionKey') ?? '')
        .filter((run) => wanted === undefined || run.id === wanted);
      for (const run of runs) finish(host, boot, run, 'aborted');
      return { ok: true, aborted: runs.length > 0, runIds: runs.map((run) => run.id) };
    },
  },
  'chat.history': {
    scope: READ,
    params: object({ sessionKey: name, agentId: name, limit: count, offset: count, maxChars: count }, 'sessionKey'),
    run: (_call, params) => ({ sessionKey: params['sessionKey'], messages: [] }),
  },
  send: { scope: WRITE, params: SEND, run: send },
};

/** The key is the run id; a repeat of it answers for the first run. */
function start(call: Call, params: Record<string, unknown>, sessionKey: string, status: string): unknown {
  const { host, boot, entry } = call;
  const runId = stringAt(params, 'idempotencyKey') ?? '';
  const earlier = boot.runs.repeatOf(runId);
  if (earlier !== undefined) {
    entry.executed = false;
    return { runId, status: earlier.status === 'running' ? 'in_flight' : 'ok' };
  }
  const run = boot.runs.begin(runId, sessionKey);
  void boot.busy(
    boot.timers.sleep(host.timings.runMs).then((passed) => {
      if (passed) finish(host, boot, run, 'ok');
    }),
  );
  return status === 'accepted' ? { runId, status, acceptedAt: run.startedAt } : { runId, status };
}

function finish(host: Host, boot: Boot, run: Run, status: 'ok' | 'aborted'): void {
  if (!boot.runs.end(run, status)) return;
  const { id: runId, sessionKey, startedAt, endedAt } = run;
  const data = { phase: 'end', startedAt, endedAt, aborted: status === 'aborted' };
  host.broadcast('agent', { runId, sessionKey, stream: 'lifecycle', data, seq: 1, ts: Date.now() });
  const state = status === 'ok' ? 'final' : 'aborted';
  const message = { role: 'assistant', content: [{ type: 'text', text: CANNED }] };
  host.broadcast('chat', { runId, sessionKey, seq: 2, state, message });
}

/** What every model of this gateway says. */
export const CANNED = 'This is a canned answer.';

async function wait({ host, boot }: Call, params: Record<string, unknown>): Promise<unknown> {
  const runId = stringAt(params, 'runId') ?? '';
  const run = boot.runs.find(runId);
  const timeoutMs = numberAt(params, 'timeoutMs') ?? 30_000;
  if (run !== undefined) await Promise.race([boot.runs.ended(run), boot.timers.sleep(timeoutMs)]);
  else await boot.timers.sleep(Math.min(timeoutMs, host.timings.runMs));
  if (run === undefined || run.status === 'running') return { runId, status: 'timeout' };
  return { runId, status: run.status === 'ok' ? 'ok' : 'error', startedAt: run.startedAt, endedAt: run.endedAt };
}

/** Delivery to a channel; the embedded gateway has one that accepts everything. */
function send({ boot, entry }: Call, params: Record<string, unknown>): unknown {
  const key = stringAt(params, 'idempotencyKey') ?? '';
  if (stringAt(params, 'message') === undefined && stringAt(params, 'mediaUrl') === undefined) {
    throw new RpcError(invalid('send requires a message or media'));
  }
  const id = `send:${key}`;
  const earlier = boot.runs.repeatOf(id);
  if (earlier !== undefined) entry.executed = false;
  else boot.runs.end(boot.runs.begin(id, ''), 'ok');
  return { runId: key, messageId: key, channel: stringAt(params, 'channel') ?? 'embedded' };
}
