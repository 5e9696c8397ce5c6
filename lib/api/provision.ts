/**
 * A tenant's agent, from nothing to ready, as steps that can be taken up again: whatever was done before is found by
 * looking and not done twice. No caller writes retry code; what the gateway does to itself meanwhile is waited out.
 */
import { type GatewayError, isGatewayError } from '../core/errors.js';
import type { AgentSummary } from '../core/methods.js';
import type { Runtime } from '../core/runtime.js';
import { systemRuntime } from '../io/runtime.js';
import { type CallDetails, localError } from './call-entry.js';
import type { CallOptions } from './call-request.js';
import type { GatewayClient } from './client.js';
import { agentIdOf } from './confirm.js';
import { filesOf, inParallel, isSame, type ProvisionedFile, type ProvisionFile } from './provision-files.js';
import { sayHello } from './provision-hello.js';
import { inTurn } from './provision-queue.js';
import { pause } from './provision-time.js';
import type { Provisioned, ProvisionOptions, ProvisionProgress, Tenant } from './provision-types.js';
import { type Bounds, createAgent, untilKnown, within } from './provision-usable.js';

export type { ProvisionedFile, ProvisionFile } from './provision-files.js';
export type { HelloResult, ProvisionHello } from './provision-hello.js';
export type { Provisioned, ProvisionOptions, ProvisionProgress, Tenant } from './provision-types.js';

const DEADLINE_MS = 600_000;
const CONCURRENCY = 4;
/** An agent that was created a moment ago by somebody else is listed within this, in ms (2 s at most were measured). */
const LISTED_WITHIN_MS = 10_000;
const LOOK_MS = 100;

/**
 * Creates the agent, writes its files, says hello; resolves when the agent is ready. Run again after any failure, in
 * this process or another, it completes the work: an agent that exists with this name and workspace is taken over, a
 * file with the right content is left alone, a hello that was answered is not said again. A hello whose outcome is
 * unknown is reported, by the error of the first run and by `hello.outcome` of later ones, and never repeated unless
 * it is declared `repeatable`.
 *
 * Tenants of one client, whichever view they come through, take turns: each creation may restart the gateway.
 * @throws GatewayError: what the failed step was rejected with; reason `local` for a tenant that is described wrongly
 * or whose agent id is taken by an agent of another workspace.
 */
export async function provisionAgent(
  client: GatewayClient,
  tenant: Tenant,
  options: ProvisionOptions = {},
): Promise<Provisioned> {
  const runtime = options.runtime ?? systemRuntime;
  const files = checked(tenant, options);
  const deadlineAt = runtime.now() + (options.deadline ?? DEADLINE_MS);
  const bounds: Bounds = { signal: options.signal, deadlineAt, retry: options.retry };
  return await inTurn(client, bounds, runtime, async () => {
    const run = new Provisioning(client, tenant, files, options, bounds, runtime);
    try {
      return await run.go();
    } finally {
      run.end();
    }
  });
}

function checked(tenant: Tenant, options: ProvisionOptions): ProvisionFile[] {
  const wrong = (message: string): GatewayError =>
    localError('HOLDFAST_PARAMS', 'provisionAgent', message, 'Correct what the message names.');
  if (typeof tenant.name !== 'string' || agentIdOf(tenant.name) === '')
    throw wrong('name: expected letters or digits in it');
  if (tenant.hello !== undefined && typeof tenant.hello.message !== 'string')
    throw wrong('hello.message: expected a string');
  const { concurrency = CONCURRENCY, deadline = DEADLINE_MS } = options;
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw wrong('options.concurrency: expected a whole number, 1 or more');
  if (!(deadline > 0)) throw wrong('options.deadline: expected more than 0 ms');
  return filesOf(tenant.files);
}

/** One run: what it has learnt so far, and its steps. */
class Provisioning {
  readonly #client: GatewayClient;
  readonly #tenant: Tenant;
  readonly #files: readonly ProvisionFile[];
  readonly #options: ProvisionOptions;
  readonly #bounds: Bounds;
  readonly #runtime: Runtime;
  readonly #startedAt: number;
  readonly #restarts = new Set<string>();
  readonly #off: () => void;
  #attempts = 0;
  #waited = 0;

  constructor(
    client: GatewayClient,
    tenant: Tenant,
    files: readonly ProvisionFile[],
    options: ProvisionOptions,
    bounds: Bounds,
    runtime: Runtime,
  ) {
    this.#client = client;
    this.#tenant = tenant;
    this.#files = files;
    this.#options = options;
    this.#bounds = bounds;
    this.#runtime = runtime;
    this.#startedAt = runtime.now();
    const { restart } = client.health();
    if (restart !== undefined) this.#restarts.add(restart.id);
    this.#off = client.on('restart', ({ id, phase }) => phase === 'began' && this.#restarts.add(id));
  }

  end(): void {
    this.#off();
  }

  async go(): Promise<Provisioned> {
    const { agentId, workspace, created } = await this.#step('agent', undefined, () => this.#agent());
    const files = await this.#writeAll(agentId, created);
    const { hello } = this.#tenant;
    const said =
      hello === undefined
        ? undefined
        : await this.#step('hello', undefined, () =>
            sayHello(this.#client, hello, { agentId, fresh: created, options: () => this.#callOptions() }),
          );
    this.#tell('ready', 'done');
    return {
      agentId,
      workspace,
      created,
      files,
      ...(said !== undefined && { hello: said }),
      restarts: [...this.#restarts],
      waited: this.#waited,
      attempts: this.#attempts,
    };
  }

  // ------------------------------------------------------------------------------------------------------- the agent

  async #agent(): Promise<{ agentId: string; workspace: string; created: boolean }> {
    const found = await this.#find();
    if (found !== undefined) return await this.#takeOver(found);
    const { name, workspace, model, emoji, avatar } = this.#tenant;
    const params = {
      name,
      ...(workspace !== undefined && { workspace }),
      ...(model !== undefined && { model }),
      ...(emoji !== undefined && { emoji }),
      ...(avatar !== undefined && { avatar }),
    };
    try {
      const { result, waited } = await createAgent(this.#client, params, this.#callOptions(), this.#runtime);
      this.#waited += waited;
      return { agentId: result.agentId, workspace: result.workspace, created: true };
    } catch (error) {
      if (!alreadyExists(error)) throw error;
      const other = await this.#findSoon();
      if (other === undefined) throw error;
      return await this.#takeOver(other);
    }
  }

  async #find(): Promise<AgentSummary | undefined> {
    const { agents } = await this.#call(this.#client.callDetailed('agents.list', {}, this.#callOptions()));
    const id = agentIdOf(this.#tenant.name);
    return agents.find((agent) => agent.id === id) ?? agents.find((agent) => agent.name === this.#tenant.name);
  }

  /** It exists, but is not listed: whoever created it did so within the last second or two. */
  async #findSoon(): Promise<AgentSummary | undefined> {
    const end = Math.min(this.#runtime.now() + LISTED_WITHIN_MS, this.#bounds.deadlineAt);
    for (;;) {
      const found = await this.#find();
      if (found !== undefined || this.#runtime.now() + LOOK_MS >= end) return found;
      await pause(this.#runtime, LOOK_MS, this.#bounds.signal);
    }
  }

  /** Ours by its name and workspace; it may have been created a moment ago. */
  async #takeOver({ id, workspace }: AgentSummary): Promise<{ agentId: string; workspace: string; created: boolean }> {
    const wanted = this.#tenant.workspace;
    if (wanted !== undefined && workspace !== undefined && !sameFolder(wanted, workspace)) {
      const text = `agent "${id}" exists, with the workspace ${workspace} and not ${wanted}`;
      throw localError(
        'HOLDFAST_AGENT_TAKEN',
        'provisionAgent',
        text,
        'Choose another name: this id belongs to another tenant.',
      );
    }
    await untilKnown(this.#client, id, this.#bounds, this.#runtime);
    return { agentId: id, workspace: workspace ?? wanted ?? '', created: false };
  }

  // ------------------------------------------------------------------------------------------------------- the files

  async #writeAll(agentId: string, fresh: boolean): Promise<ProvisionedFile[]> {
    const states = new Map<string, ProvisionedFile>();
    await inParallel(this.#files, this.#options.concurrency ?? CONCURRENCY, async (file) => {
      const state = await this.#step('file', file.name, () => this.#write(agentId, file, fresh));
      states.set(file.name, { name: file.name, state });
    });
    return this.#files.flatMap(({ name }) => states.get(name) ?? []);
  }

  /** A new agent has only what the gateway put there, so nothing is read before it is written. */
  async #write(agentId: string, { name, content }: ProvisionFile, fresh: boolean): Promise<ProvisionedFile['state']> {
    if (!fresh) {
      const { file } = await this.#call(
        this.#client.callDetailed('agents.files.get', { agentId, name }, this.#callOptions()),
      );
      if (isSame(file, content)) return 'unchanged';
    }
    await this.#call(this.#client.callDetailed('agents.files.set', { agentId, name, content }, this.#callOptions()));
    return 'written';
  }

  // ---------------------------------------------------------------------------------------------------------- pieces

  async #step<T>(step: ProvisionProgress['step'], file: string | undefined, work: () => Promise<T>): Promise<T> {
    this.#tell(step, 'began', file);
    try {
      const result = await work();
      this.#tell(step, wasThere(result) ? 'skipped' : 'done', file);
      return result;
    } catch (error) {
      this.#tell(step, 'failed', file, error);
      throw error;
    }
  }

  #tell(step: ProvisionProgress['step'], state: ProvisionProgress['state'], file?: string, error?: unknown): void {
    try {
      this.#options.onProgress?.({
        step,
        state,
        ...(file !== undefined && { file }),
        attempts: this.#attempts,
        restarts: [...this.#restarts],
        elapsed: this.#runtime.now() - this.#startedAt,
        ...(error !== undefined && { error }),
      });
    } catch {
      // Somebody else's mistake, and no reason to leave a tenant half made.
    }
  }

  async #call<T>(call: Promise<CallDetails<T>>): Promise<T> {
    const { result, waited } = await call;
    this.#waited += waited;
    return result;
  }

  /** Every call ends where the whole ends. */
  #callOptions(): CallOptions {
    const { timeout, maxAttempts } = this.#options;
    return {
      ...within(this.#bounds, this.#runtime),
      ...(timeout !== undefined && { timeout }),
      ...(maxAttempts !== undefined && { maxAttempts }),
      onAttempt: () => {
        this.#attempts += 1;
      },
    };
  }
}

function wasThere(result: unknown): boolean {
  if (result === 'unchanged') return true;
  if (typeof result !== 'object' || result === null) return false;
  return ('created' in result && result.created === false) || ('earlier' in result && result.earlier === true);
}

/** There is no code for it in any version; the text is the same in all of them (measured). */
function alreadyExists(error: unknown): boolean {
  if (!isGatewayError(error, 'rejected') || error.gateway?.code !== 'INVALID_REQUEST') return false;
  return /^agent "[^"]*" already exists$/.test(error.gateway.message);
}

/** The gateway resolves what it is given: `~`, relative paths and trailing slashes are gone from what it lists. */
function sameFolder(wanted: string, listed: string): boolean {
  const plain = (path: string): string => path.trim().replace(/[/\\]+$/, '');
  const [ours, theirs] = [plain(wanted), plain(listed)];
  if (ours === theirs) return true;
  const relative = /^(?:~|\.)?[/\\]?(.+)$/.exec(ours)?.[1] ?? ours;
  return (
    !/^(?:[/\\]|[A-Za-z]:)/.test(ours) && theirs.replaceAll('\\', '/').endsWith(`/${relative.replaceAll('\\', '/')}`)
  );
}
