/** Durations as people write and read them. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** The longest timer that Node can set; a longer one would fire at once. */
const LONGEST = 2 ** 31 - 1;

/**
 * Milliseconds of `500ms`, `45s`, `10m`, `2h` or `1.5h`. Zero is a value. `why` names the bad text and never
 * echoes more than 40 characters of it.
 */
export function parseDuration(text: string): { ok: true; ms: number } | { ok: false; why: string } {
  const [, digits, unit] = /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text) ?? [];
  const quoted = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);
  if (digits === undefined || unit === undefined) {
    return { ok: false, why: `${quoted} is not a duration: write it like 500ms, 45s, 10m or 2h` };
  }
  const ms = Math.round(Number(digits) * (UNITS[unit] ?? Number.NaN));
  if (ms > LONGEST) return { ok: false, why: `${quoted} is too long: at most 596h` };
  return { ok: true, ms };
}

function pair(value: number, big: number, bigName: string, small: number, smallName: string): string {
  const whole = Math.floor(value / big);
  const rest = Math.floor((value - whole * big) / small);
  return rest === 0 ? `${whole}${bigName}` : `${whole}${bigName} ${rest}${smallName}`;
}

/** Milliseconds for people, rounded down to two units: `250ms`, `1.6s`, `45s`, `2m 5s`, `3h 12m`, `2d 4h`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return 'for ever';
  const value = Math.max(0, Math.floor(ms));
  if (value < 1000) return `${value}ms`;
  if (value < 10_000) return `${Math.floor(value / 100) / 10}s`;
  if (value < 60_000) return `${Math.floor(value / 1000)}s`;
  if (value < 3_600_000) return pair(value, 60_000, 'm', 1000, 's');
  if (value < 86_400_000) return pair(value, 3_600_000, 'h', 60_000, 'm');
  return pair(value, 86_400_000, 'd', 3_600_000, 'h');
}
