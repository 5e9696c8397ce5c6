/** A closed schema, as the gateway checks what is sent to it: a key it does not know is refused. */
export type Rule =
  | { readonly kind: 'any' | 'boolean' }
  | { readonly kind: 'string'; readonly min: number; readonly allowed?: readonly string[] }
  | { readonly kind: 'integer'; readonly min: number }
  | { readonly kind: 'array'; readonly items: Rule }
  | { readonly kind: 'object'; readonly keys: Readonly<Record<string, Rule>>; readonly required: readonly string[] }
  | { readonly kind: 'open' };

export const anything: Rule = { kind: 'any' };
export const bool: Rule = { kind: 'boolean' };
/** A string that may be empty. */
export const text: Rule = { kind: 'string', min: 0 };
/** A string of at least one character. */
export const name: Rule = { kind: 'string', min: 1 };
export const count: Rule = { kind: 'integer', min: 0 };
export const positive: Rule = { kind: 'integer', min: 1 };
/** An object with any keys. */
export const open: Rule = { kind: 'open' };
export const names: Rule = { kind: 'array', items: name };

export function oneOf(...allowed: string[]): Rule {
  return { kind: 'string', min: 1, allowed };
}

export function object(keys: Readonly<Record<string, Rule>>, ...required: string[]): Rule {
  return { kind: 'object', keys, required };
}

/** What is wrong with `value`, in the gateway's words, or undefined. `unknown` are keys that this version lacks. */
export function complaint(rule: Rule, value: unknown, unknown: readonly string[], path = ''): string | undefined {
  const at = `at ${path === '' ? 'root' : path}:`;
  switch (rule.kind) {
    case 'any':
      return undefined;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `${at} must be boolean`;
    case 'string':
      return stringComplaint(rule, value, at);
    case 'integer':
      if (typeof value !== 'number' || !Number.isInteger(value)) return `${at} must be integer`;
      return value < rule.min ? `${at} must be >= ${rule.min}` : undefined;
    case 'array': {
      if (!Array.isArray(value)) return `${at} must be array`;
      return first(value.map((item, index) => complaint(rule.items, item, unknown, `${path}/${index}`)));
    }
    case 'open':
      return isRecord(value) ? undefined : `${at} must be object`;
    case 'object':
      return objectComplaint(rule, value, unknown, path, at);
  }
}

function stringComplaint(
  rule: { min: number; allowed?: readonly string[] },
  value: unknown,
  at: string,
): string | undefined {
  if (typeof value !== 'string') return `${at} must be string`;
  if (value.length < rule.min) return `${at} must NOT have fewer than ${rule.min} characters`;
  if (rule.allowed !== undefined && !rule.allowed.includes(value)) {
    return `${at} must be equal to one of the allowed values`;
  }
  return undefined;
}

function objectComplaint(
  rule: { keys: Readonly<Record<string, Rule>>; required: readonly string[] },
  value: unknown,
  unknown: readonly string[],
  path: string,
  at: string,
): string | undefined {
  if (!isRecord(value)) return `${at} must be object`;
  const missing = rule.required.find((key) => value[key] === undefined);
  if (missing !== undefined) return `${at} must have required property '${missing}'`;
  const extra = Object.keys(value).find((key) => !Object.hasOwn(rule.keys, key) || unknown.includes(key));
  if (extra !== undefined) return `${at} unexpected property '${extra}'`;
  return first(
    Object.entries(rule.keys).map(([key, inner]) =>
      value[key] === undefined ? undefined : complaint(inner, value[key], unknown, `${path}/${key}`),
    ),
  );
}

function first(complaints: readonly (string | undefined)[]): string | undefined {
  return complaints.find((text) => text !== undefined);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value of a key if it is a string. */
export function stringAt(value: unknown, key: string): string | undefined {
  const found = isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return typeof found === 'string' ? found : undefined;
}

/** The value of a key if it is a number. */
export function numberAt(value: unknown, key: string): number | undefined {
  const found = isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return typeof found === 'number' ? found : undefined;
}

/** The strings in the array at a key; empty if there is none. */
export function stringsAt(value: unknown, key: string): string[] {
  const found = isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return Array.isArray(found) ? found.filter((item) => typeof item === 'string') : [];
}
