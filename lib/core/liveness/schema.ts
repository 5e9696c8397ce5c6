/**
 * One table for both directions: how long a text may be, which fields may be absent, what a value must look like.
 * Written by hand, because a probe must start as fast as Node itself.
 */

/** Why a value is not what the table says; caught by the parser and never seen by users. */
export class Malformed extends Error {}

interface Field<V> {
  readonly optional: boolean;
  /** Never throws; a value that cannot be said becomes the nearest one that can, or `undefined` for "leave it out". */
  encode(value: V): unknown;
  /** Throws {@link Malformed}. */
  decode(value: unknown, at: string): V;
}

/** A field for each key of `T`, optional exactly where the type says so. */
export type Schema<T> = {
  readonly [K in keyof T]-?: Field<T[K]> & {
    readonly optional: Record<never, never> extends Pick<T, K> ? true : false;
  };
};

type Required<V> = Field<V> & { readonly optional: false };

/** Nothing that needs an escape in JSON: most texts, and quick to see. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** Printable ASCII. */
const ASCII = /^[ -~]*$/;

// Control, format and line-separator characters and lone surrogates: none may reach a terminal or a log. Made on
// first need: the tables of Unicode would cost each probe a millisecond.
let unprintables: RegExp | undefined;
function printable(value: string): string {
  if (ASCII.test(value)) return value;
  unprintables ??= /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
  return value.replace(unprintables, ' ');
}

/** Length of a character in ASCII-only JSON. */
function width(char: string): number {
  if (char === '"' || char === '\\') return 2;
  return char <= '~' ? 1 : 6 * char.length;
}

/** Makes a text printable and cuts it so that its JSON form has at most `limit` characters between the quotes. */
function clip(value: string, limit: number): string {
  if (value.length <= limit && PLAIN.test(value)) return value;
  let used = 0;
  let kept = '';
  let short = '';
  // Cut before all else: the text may be a megabyte of a hostile peer.
  for (const char of printable(value.slice(0, limit + 1))) {
    used += width(char);
    if (used > limit) return `${short}...`;
    kept += char;
    if (used <= limit - 3) short = kept;
  }
  return kept;
}

/** Printable text of at most `limit` characters in ASCII-only JSON. */
export function text(limit: number): Required<string> {
  return {
    optional: false,
    encode: (value) => clip(String(value), limit),
    decode(value, at) {
      if (typeof value !== 'string') throw new Malformed(`${at} is not a text`);
      if (value.length > limit) throw new Malformed(`${at} is longer than ${limit}`);
      if (printable(value) !== value) throw new Malformed(`${at} holds control characters`);
      return value;
    },
  };
}

/** A finite number of at least `min`, written without fraction. */
export function number(min: number = Number.MIN_SAFE_INTEGER): Required<number> {
  return {
    optional: false,
    encode(value) {
      if (!Number.isFinite(value)) return Math.max(min, 0);
      return Math.min(Math.max(Math.round(value), min), Number.MAX_SAFE_INTEGER) + 0;
    },
    decode(value, at) {
      if (typeof value !== 'number' || !Number.isFinite(value)) throw new Malformed(`${at} is not a number`);
      if (value < min) throw new Malformed(`${at} is below ${min}`);
      return value;
    },
  };
}

/** One of a few values. */
export function oneOf<V extends string | number>(values: readonly V[]): Required<V> {
  return {
    optional: false,
    encode: (value) => value,
    decode(value, at) {
      const found = values.find((known) => known === value);
      if (found === undefined) throw new Malformed(`${at} is not one of ${values.join(', ')}`);
      return found;
    },
  };
}

/** Nanoseconds as decimal text; a number is accepted too. */
export const nanoseconds: Required<string | number> = {
  optional: false,
  encode: (value) => (/^\d{1,20}$/.test(String(value)) ? String(value) : '0'),
  decode(value, at) {
    if (typeof value === 'string' && /^\d{1,20}$/.test(value)) return value;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw new Malformed(`${at} is not a count of nanoseconds`);
  },
};

/** The same field, allowed to be absent; a number that is not finite is left out. */
export function optional<V>(field: Required<V>): Field<V> & { readonly optional: true } {
  return {
    optional: true,
    encode: (value) => (typeof value === 'number' && !Number.isFinite(value) ? undefined : field.encode(value)),
    decode: field.decode,
  };
}

/** An object of known fields; unknown ones are passed over, so that a field may be added within one version. */
export function object<T extends object>(schema: Schema<T>): Required<T> {
  const fields = Object.entries(schema) as [string, Field<unknown>][];
  return {
    optional: false,
    encode(value) {
      const out: Record<string, unknown> = {};
      for (const [key, field] of fields) {
        const own = (value as Record<string, unknown>)[key];
        if (own !== undefined) out[key] = field.encode(own);
      }
      return out;
    },
    decode(value, at) {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw new Malformed(`${at} is no object`);
      const out: Record<string, unknown> = {};
      for (const [key, field] of fields) {
        // Own keys only: a `__proto__` in the file must not supply fields.
        if (Object.hasOwn(value, key)) out[key] = field.decode((value as Record<string, unknown>)[key], `${at}.${key}`);
        else if (!field.optional) throw new Malformed(`${at}.${key} is missing`);
      }
      return out as T;
    },
  };
}
