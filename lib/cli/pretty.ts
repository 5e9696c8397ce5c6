/** Log records as lines for people: one per record, the time in front, colours only on a terminal. */
import type { Logger } from '../core/options.js';
import type { Output } from './io.js';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LEVELS)[number];

const COLOURS: Readonly<Record<LogLevel, string>> = {
  debug: '\u001b[2m',
  info: '',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const RESET = '\u001b[0m';

export function usesColour(output: Output): boolean {
  return output.isTTY === true && process.env['NO_COLOR'] === undefined;
}

/** `stamp` gives the text in front of each line. */
export function prettyLogger(output: Output, stamp: () => string, threshold: LogLevel = 'info'): Logger {
  const colour = usesColour(output);
  const write =
    (level: LogLevel) =>
    (record: object, message = '') => {
      if (LEVELS.indexOf(level) < LEVELS.indexOf(threshold)) return;
      const text = `${level === 'info' ? '     ' : level.padEnd(5)} ${message}${remedyOf(record, level)}`;
      output.write(`${stamp()}  ${colour ? `${COLOURS[level]}${text}${RESET}` : text}\n`);
    };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

/** An error says what to do; the lines of a back-off would only repeat it. */
function remedyOf(record: object, level: LogLevel): string {
  return level === 'error' && 'remedy' in record && typeof record.remedy === 'string' ? `. ${record.remedy}` : '';
}

export function clockStamp(): string {
  return new Date().toISOString().slice(11, 23);
}

/** Time since the first line. */
export function elapsedStamp(now: () => number): () => string {
  const start = now();
  return () => `${((now() - start) / 1000).toFixed(3).padStart(8)} s`;
}
