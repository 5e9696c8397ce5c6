/** The end of a process: signals, a dry event loop, errors nobody caught. The only place that ends one. */
import { EXIT } from '../core/vocabulary.js';

export interface ExitHooks {
  /** The owner asks for a tidy stop. */
  stop(signal: NodeJS.Signals): void;
  /** Nothing keeps the event loop alive although nobody asked for the end. */
  dry(): void;
  /** An error that nobody caught. What it returns has been done before the process ends. */
  uncaught(error: unknown): void;
}

const SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];
/** How long handles of others may keep a process alive once its work is done, in ms. */
const LINGER_MS = 500;

/** Installs the hooks; returns what takes them away again. A second signal ends the process at once. */
export function guardProcess(hooks: ExitHooks): () => void {
  let asked = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(EXIT.closed);
    asked = true;
    hooks.stop(signal);
  };
  const onDry = (): void => {
    hooks.dry();
    process.exit(EXIT.broken);
  };
  const onUncaught = (error: unknown): void => {
    // Whatever the hook does, the process ends: it must not live on after an error that nobody understood.
    try {
      hooks.uncaught(error);
    } finally {
      process.exit(EXIT.broken);
    }
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.on('beforeExit', onDry);
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', onUncaught);
  return () => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    process.off('beforeExit', onDry);
    process.off('uncaughtException', onUncaught);
    process.off('unhandledRejection', onUncaught);
  };
}

/** Ends the process with `code`: by itself if it can, by force when some handle keeps it. */
export function leave(code: number): void {
  process.exitCode = code;
  setTimeout(() => process.exit(code), LINGER_MS).unref();
}
