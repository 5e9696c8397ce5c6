/** Flags, checked: an unknown or ill-formed one is named. */
import { parseArgs } from 'node:util';
import { parseDuration } from '../core/durations.js';

/** The command was asked wrongly; the text names the flag. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}

export interface FlagSpec {
  readonly [flag: string]: { readonly type: 'string' | 'boolean'; readonly multiple?: boolean };
}

export interface Flags {
  has(flag: string): boolean;
  text(flag: string): string | undefined;
  texts(flag: string): readonly string[];
  duration(flag: string): number | undefined;
  count(flag: string): number | undefined;
  choice<T extends string>(flag: string, choices: readonly T[]): T | undefined;
}

/** @throws UsageError */
export function parseFlags(argv: readonly string[], spec: FlagSpec): Flags {
  let values: Record<string, unknown>;
  try {
    const options = { help: { type: 'boolean' as const }, ...spec };
    values = parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    // Its text names the flag; the advice about `--` that follows helps nobody here.
    throw new UsageError(error instanceof Error ? (error.message.split('. ')[0] ?? error.message) : String(error));
  }
  const text = (flag: string): string | undefined => {
    const value = values[flag];
    if (value === '') throw new UsageError(`--${flag} is empty`);
    return typeof value === 'string' ? value : undefined;
  };
  return {
    has: (flag) => values[flag] === true,
    text,
    texts: (flag) => (Array.isArray(values[flag]) ? values[flag].map(String) : []),
    duration: (flag) => durationOf(flag, text(flag)),
    count: (flag) => countOf(flag, text(flag)),
    choice: (flag, choices) => choiceOf(flag, text(flag), choices),
  };
}

function durationOf(flag: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const parsed = parseDuration(value);
  if (!parsed.ok) throw new UsageError(`--${flag}: ${parsed.why}`);
  return parsed.ms;
}

function countOf(flag: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,9}$/.test(value)) throw new UsageError(`--${flag}: "${value}" is not a whole number`);
  return Number(value);
}

function choiceOf<T extends string>(flag: string, value: string | undefined, choices: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new UsageError(`--${flag}: "${value}" is none of ${choices.join(', ')}`);
  return found;
}
