/** Small statistics and tables for the benchmarks. */

/** Nearest rank; nothing is trimmed. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export type Row = Readonly<Record<string, string | number>>;

/** Rows as a Markdown table; columns are those of the first row. */
export function table(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0] ?? {});
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const body = rows.map((row) => line(columns.map((column) => String(row[column] ?? ''))));
  return [line(columns), line(columns.map(() => '---')), ...body].join('\n');
}

export interface Result {
  readonly name: string;
  /** What is promised, in words; empty when nothing is. */
  readonly target: string;
  readonly met: boolean;
  readonly rows: readonly Row[];
}
