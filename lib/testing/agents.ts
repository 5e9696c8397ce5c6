import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface AgentFile {
  readonly content: string;
  readonly updatedAt: number;
}

export interface Agent {
  readonly id: string;
  name: string;
  workspace: string;
  model?: string;
  /** False while it settles: created, but unknown to the other methods. */
  visible: boolean;
  readonly files: Map<string, AgentFile>;
}

/** The files every agent may have, listed even when they are missing. */
const FILES: readonly string[] = [
  'AGENTS.md',
  'SOUL.md',
  'TOOLS.md',
  'IDENTITY.md',
  'USER.md',
  'HEARTBEAT.md',
  'MEMORY.md',
];

/** Agents and their files. Stored: they outlive restarts. */
export class AgentStore {
  readonly #agents: Map<string, Agent> = new Map();
  readonly #folder: string | undefined;

  constructor(folder: string | undefined) {
    this.#folder = folder;
    this.create('main', {});
    this.settleAll();
  }

  /** Ids are derived from names, as the gateway does it. */
  static idOf(name: string): string {
    const id = name
      .toLowerCase()
      .replace(/[^a-z0-9_-]+/g, '-')
      .replace(/^-+|-+$/g, '');
    return id.slice(0, 64);
  }

  /** Undefined when the id is taken; a new agent is not visible yet. */
  create(name: string, options: { workspace?: string; model?: string }): Agent | undefined {
    const id = AgentStore.idOf(name);
    if (id === '' || this.#agents.has(id)) return undefined;
    const workspace = options.workspace ?? join(this.#folder ?? 'workspace', id);
    const agent: Agent = { id, name, workspace, visible: false, files: new Map() };
    if (options.model !== undefined) agent.model = options.model;
    this.#agents.set(id, agent);
    return agent;
  }

  find(id: string): Agent | undefined {
    const agent = this.#agents.get(id);
    return agent?.visible ? agent : undefined;
  }

  /** Also finds an agent that has not settled yet. */
  exists(id: string): boolean {
    return this.#agents.has(id);
  }

  list(): readonly Agent[] {
    return [...this.#agents.values()].filter((agent) => agent.visible);
  }

  /** A new instance reads the stored configuration: what was created is there. */
  settleAll(): void {
    for (const agent of this.#agents.values()) agent.visible = true;
  }

  delete(id: string, withFiles: boolean): boolean {
    if (withFiles && this.#folder !== undefined && this.find(id) !== undefined) {
      rmSync(join(this.#folder, id), { recursive: true, force: true });
    }
    return this.find(id) !== undefined && this.#agents.delete(id);
  }

  write(agent: Agent, file: string, content: string): AgentFile {
    if (this.#folder !== undefined) {
      const folder = join(this.#folder, agent.id);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, file), content);
    }
    const written = { content, updatedAt: Date.now() };
    agent.files.set(file, written);
    return written;
  }

  filesOf(agent: Agent): readonly string[] {
    return [...new Set([...FILES, ...agent.files.keys()])];
  }
}

/** SHA-256 of the content, in hex. */
export function hashOf(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}
