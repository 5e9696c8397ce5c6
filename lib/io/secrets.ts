import { accessSync, constants, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { optionError, type Secret } from '../core/options.js';
import { codeOf, describe, PROVIDER_DEADLINE_MS, ProviderError } from './provider-error.js';
import { runSecretCommand } from './secret-command.js';

/**
 * Asks a function of the owner for a text, guarded: it may throw, reject (with anything), never settle, or answer
 * nonsense; each of these is a ProviderError and nothing else.
 */
export async function askProvider(provider: string, ask: () => unknown, signal: AbortSignal): Promise<string> {
  const answer = await settled(provider, ask, signal);
  if (typeof answer !== 'string' || answer === '') {
    const got = answer === '' ? 'an empty text' : `a value of type ${answer === null ? 'null' : typeof answer}`;
    throw new ProviderError(provider, 'PROVIDER_INVALID', `the ${provider} provider answered ${got}, not a text`, true);
  }
  return answer;
}

/**
 * Looks, before anything is dialled, whether a secret that lies in a file can be read at all. Later it may come and go.
 * @throws GatewayError with reason `local` when it cannot.
 */
export function checkSecretFile(option: string, secret: Secret | undefined): void {
  if (typeof secret !== 'object' || !('file' in secret)) return;
  try {
    accessSync(secret.file, constants.R_OK);
    if (!statSync(secret.file).isDirectory()) return;
  } catch (error) {
    throw optionError(`${option}.file: ${secret.file} cannot be read: ${codeOf(error) ?? describe(error)}`);
  }
  throw optionError(`${option}.file: ${secret.file} is a directory`);
}

/** A secret as it is now. Its value appears in no message. */
export async function readSecret(provider: string, secret: Secret, signal: AbortSignal): Promise<string> {
  if (typeof secret === 'string') return headerSafe(provider, secret);
  if (typeof secret === 'function') return headerSafe(provider, await askProvider(provider, secret, signal));
  if ('command' in secret) {
    const { command, timeout } = secret;
    const value = await runSecretCommand({
      command,
      provider,
      signal,
      ...(timeout !== undefined && { timeoutMs: timeout }),
    });
    return headerSafe(provider, value);
  }
  if ('env' in secret) {
    const value = process.env[secret.env];
    if (value === undefined || value === '')
      throw new ProviderError(provider, 'SECRET_ENV_MISSING', `environment variable ${secret.env} is not set`);
    return headerSafe(provider, value);
  }
  const text = await settled(provider, () => readFile(secret.file, { encoding: 'utf8', signal }), signal, secret.file);
  const value = String(text).trim();
  if (value === '') throw new ProviderError(provider, 'SECRET_FILE_EMPTY', `${secret.file} is empty`);
  return headerSafe(provider, value);
}

async function settled(provider: string, ask: () => unknown, signal: AbortSignal, file?: string): Promise<unknown> {
  const { promise: aborted, stop } = whenAborted(signal);
  try {
    // The wrapper turns a synchronous throw into a rejection.
    const asked = Promise.resolve().then(ask);
    // A provider that is no longer waited for may still reject.
    asked.catch(() => {});
    const first = await Promise.race([asked.then((value) => ({ value })), aborted]);
    if (first === null)
      throw new ProviderError(
        provider,
        'PROVIDER_TIMEOUT',
        `the ${provider} provider did not answer within ${PROVIDER_DEADLINE_MS} ms`,
      );
    return first.value;
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    const code = codeOf(error) ?? (file === undefined ? 'PROVIDER_REJECTED' : 'SECRET_FILE');
    const where = file === undefined ? `the ${provider} provider failed` : `${file} could not be read`;
    throw new ProviderError(provider, code, `${where}: ${describe(error)}`);
  } finally {
    stop();
  }
}

function whenAborted(signal: AbortSignal): { promise: Promise<null>; stop: () => void } {
  let listener: () => void = () => {};
  const promise = new Promise<null>((resolve) => {
    listener = () => resolve(null);
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', listener, { once: true });
  });
  return { promise, stop: () => signal.removeEventListener('abort', listener) };
}

/** A token with a line break could smuggle a header into an HTTP request. */
function headerSafe(provider: string, value: string): string {
  if (/\p{Cc}/u.test(value)) {
    throw new ProviderError(
      provider,
      'SECRET_CHARACTERS',
      `the ${provider} holds control characters, such as a line break`,
      true,
    );
  }
  return value;
}
