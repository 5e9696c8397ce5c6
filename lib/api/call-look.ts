/** Looks whether a call of unknown outcome was executed. */
import type { AttemptFailure } from '../core/call-verdicts.js';
import type { CallDetails, CallRequest, Confirm, Confirmation, Entry } from './call-entry.js';

export interface LookPort {
  make(request: CallRequest): Promise<CallDetails>;
  now(): number;
  /** The caller's look threw; nothing is known then. */
  fault(error: unknown): void;
}

/** Never rejects. Its calls end with the call that it is made for. */
export async function look(
  entry: Entry,
  failure: AttemptFailure,
  confirm: Confirm,
  port: LookPort,
): Promise<Confirmation> {
  const abort = new AbortController();
  entry.look = abort;
  const { timeout, retry } = entry.options;
  const call = async (method: string, params?: unknown): Promise<unknown> => {
    const deadline = Math.max(1, entry.deadlineAt - port.now());
    // As patient as the call that it is made for: an answer that is lost must not cost the whole deadline.
    const options = {
      retry: retry ?? 'restart',
      ...(timeout !== undefined && { timeout }),
      deadline,
      signal: abort.signal,
    };
    return (await port.make({ method, params, options, safety: 'read', durableKey: false })).result;
  };
  const refused = failure.permanent ? failure.gateway : undefined;
  try {
    return await confirm({ signal: abort.signal, call, ...(refused !== undefined && { refused }) });
  } catch (error) {
    port.fault(error);
    return { executed: 'unknown' };
  } finally {
    abort.abort();
  }
}
