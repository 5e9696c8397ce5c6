/**
 * The methods of the gateway by name: thin, typed, found by grep. Restarts, retries and outcomes are the business of
 * `client.call`; added here is only that `agents.create` returns an agent that can be used, and `agent.run`.
 */
import type { Params, Result } from '../core/methods.js';
import type { Runtime } from '../core/runtime.js';
import { systemRuntime } from '../io/runtime.js';
import { type AgentRun, type AgentRunOptions, runAgent } from './agent-run.js';
import type { CallOptions } from './call-request.js';
import type { GatewayClient } from './client.js';
import { type CreateOptions, createAgent } from './provision-usable.js';

/** The files of an agent. */
export interface AgentFileMethods {
  /** `agents.files.set`: repeatable. Which names are allowed is the gateway's word (`AGENTS.md`, `SOUL.md` …). */
  set(params: Params<'agents.files.set'>, options?: CallOptions): Promise<Result<'agents.files.set'>>;
  /** `agents.files.get`: with content; `missing: true` when there is none. */
  get(params: Params<'agents.files.get'>, options?: CallOptions): Promise<Result<'agents.files.get'>>;
  /** `agents.files.list`: without content. */
  list(params: Params<'agents.files.list'>, options?: CallOptions): Promise<Result<'agents.files.list'>>;
}

/** The agents of the gateway. */
export interface AgentMethods {
  /**
   * `agents.create`; resolves when the new agent can be *used*: the restart that 2026.4.26 makes of it and the time in
   * which 2026.9.6 does not know it yet are waited out, within `deadline` and until `signal`. Where neither is to be
   * expected it costs one read more. `usable: false` resolves at the ok of the gateway.
   *
   * An outcome that is unknown is cleared up by `agents.list`: it is never created twice.
   * @throws GatewayError; outcome `executed` when the agent exists and only the wait for it failed.
   */
  create(params: Params<'agents.create'>, options?: CreateOptions): Promise<Result<'agents.create'>>;
  /** `agents.list`. */
  list(params?: Params<'agents.list'>, options?: CallOptions): Promise<Result<'agents.list'>>;
  /** `agents.update`: repeatable. */
  update(params: Params<'agents.update'>, options?: CallOptions): Promise<Result<'agents.update'>>;
  /** `agents.delete`: repeatable; a repeat is refused with "not found". Deletes the files too, unless told otherwise. */
  delete(params: Params<'agents.delete'>, options?: CallOptions): Promise<Result<'agents.delete'>>;
  readonly files: AgentFileMethods;
}

/** The chat of a session. */
export interface ChatMethods {
  /** `chat.send`: keyed; the key is made when absent, and is the run id. Returns when the run has started. */
  send(params: Params<'chat.send'>, options?: CallOptions): Promise<Result<'chat.send'>>;
  /** `chat.history`. */
  history(params: Params<'chat.history'>, options?: CallOptions): Promise<Result<'chat.history'>>;
  /** `chat.abort`: repeatable. Without `runId` all runs of the session. */
  abort(params: Params<'chat.abort'>, options?: CallOptions): Promise<Result<'chat.abort'>>;
}

/** Runs of an agent. */
export interface AgentRunMethods {
  /** `agent`, then `agent.wait` until the run has ended: see `runAgent`. */
  run(params: Params<'agent'>, options?: AgentRunOptions): Promise<AgentRun>;
}

/** Every method takes the options of `client.call`, resolves with the gateway's result and rejects with a GatewayError. */
export interface GatewayMethods {
  readonly agents: AgentMethods;
  readonly chat: ChatMethods;
  readonly agent: AgentRunMethods;
  readonly models: {
    /** `models.list`. */
    list(params?: Params<'models.list'>, options?: CallOptions): Promise<Result<'models.list'>>;
  };
  readonly sessions: {
    /** `sessions.list`. */
    list(params?: Params<'sessions.list'>, options?: CallOptions): Promise<Result<'sessions.list'>>;
  };
  /** `health` of the gateway; that of the link is `client.health()`. */
  health(params?: Params<'health'>, options?: CallOptions): Promise<Result<'health'>>;
  /** `status`. */
  status(params?: Params<'status'>, options?: CallOptions): Promise<Result<'status'>>;
  /** `send`: delivers a message; keyed. Give `origin` when it answers somebody, so that it reaches that one or nobody. */
  send(params: Params<'send'>, options?: CallOptions): Promise<Result<'send'>>;
}

/** The methods of one client or view; its defaults apply. `runtime` is the clock of the waits, replaced in tests. */
export function createGatewayMethods(client: GatewayClient, runtime: Runtime = systemRuntime): GatewayMethods {
  return {
    agents: agentMethods(client, runtime),
    chat: {
      send: (params, options) => client.call('chat.send', params, options),
      history: (params, options) => client.call('chat.history', params, options),
      abort: (params, options) => client.call('chat.abort', params, options),
    },
    agent: { run: (params, options) => runAgent(client, params, options, runtime) },
    models: { list: (params = {}, options) => client.call('models.list', params, options) },
    sessions: { list: (params = {}, options) => client.call('sessions.list', params, options) },
    health: (params = {}, options) => client.call('health', params, options),
    status: (params = {}, options) => client.call('status', params, options),
    send: (params, options) => client.call('send', params, options),
  };
}

function agentMethods(client: GatewayClient, runtime: Runtime): AgentMethods {
  return {
    create: async (params, options = {}) => (await createAgent(client, params, options, runtime)).result,
    list: (params = {}, options) => client.call('agents.list', params, options),
    update: (params, options) => client.call('agents.update', params, options),
    delete: (params, options) => client.call('agents.delete', params, options),
    files: {
      set: (params, options) => client.call('agents.files.set', params, options),
      get: (params, options) => client.call('agents.files.get', params, options),
      list: (params, options) => client.call('agents.files.list', params, options),
    },
  };
}
