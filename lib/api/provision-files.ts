/** The files of an agent: what is there with the right content stays, the rest is written. */
import type { AgentFile } from '../core/methods.js';
import { sha256 } from '../io/digest.js';
import { localError } from './call-entry.js';

/** A file that the tenant is to have. */
export interface ProvisionFile {
  readonly name: string;
  readonly content: string;
}

/** A file of the tenant, and whether it had to be written. */
export interface ProvisionedFile {
  readonly name: string;
  /** `unchanged`: it had this content before. */
  readonly state: 'written' | 'unchanged';
}

/** @throws GatewayError with reason `local` for what is no file, or is there twice. */
export function filesOf(
  files: Readonly<Record<string, string>> | readonly ProvisionFile[] | undefined,
): ProvisionFile[] {
  const list = Array.isArray(files) ? files : Object.entries(files ?? {}).map(([name, content]) => ({ name, content }));
  const names = new Set<string>();
  for (const [index, file] of list.entries()) {
    const { name, content } = file as Partial<Record<keyof ProvisionFile, unknown>>;
    if (typeof name !== 'string' || name === '') throw wrong(`files[${index}].name`, 'expected a name');
    if (typeof content !== 'string') throw wrong(`files.${name}`, 'expected its content as a string');
    if (names.has(name)) throw wrong(`files.${name}`, 'it is there twice');
    names.add(name);
  }
  return list.map(({ name, content }) => ({ name, content }));
}

function wrong(path: string, message: string): Error {
  return localError('HOLDFAST_PARAMS', 'provisionAgent', `${path}: ${message}`, 'Correct what the message names.');
}

/** Has the file this content? 2026.9.x says it with a hash, older gateways only with the content itself. */
export function isSame(found: AgentFile, content: string): boolean {
  if (found.missing) return false;
  return found.hash === undefined ? found.content === content : found.hash === sha256(content);
}

/**
 * Does `work` for every item, `limit` at a time. After a failure nothing new is begun; what is under way is awaited, so
 * that no call is left behind, and then the first failure is thrown.
 */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined && failures.length === 0; item = queue.shift()) {
      try {
        await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
