/** From what a caller asks to what is sent: options merged and checked, the key, the origin, the safety, the look. */
import type { CallAttempt, GatewayError } from '../core/errors.js';
import { isRecord } from '../core/failure.js';
import { factsOf, safetyOf, targetOf, withOrigin } from '../core/methods.js';
import { type CallDefaults, parseCallOptions } from '../core/options.js';
import { checkOrigin, type DeliveryOrigin } from '../core/origin.js';
import type { Runtime } from '../core/runtime.js';
import { sha256 } from '../io/digest.js';
import type { CallRequest } from './call-entry.js';
import { type Confirm, type EntryOptions, localError, serialise } from './call-entry.js';
import { confirmFor } from './confirm.js';

/** Options of one call; what is not given comes from the client or the view. Times in ms. */
export interface CallOptions extends CallDefaults {
  /** Ends the call; its outcome says whether anything was sent. */
  signal?: AbortSignal;
  /** Kept over all attempts. Methods that demand a key get one made for them when none is given. */
  idempotencyKey?: string;
  /** Looks whether a call of unknown outcome was executed, before it is repeated or rejected. Built in for `agents.create`. */
  confirm?: Confirm;
  /** Who asked: fills in the recipient of a delivery, unchanged over all attempts, and is checked against it. */
  origin?: DeliveryOrigin;
  /** Told of every attempt as it ends. */
  onAttempt?: (attempt: CallAttempt) => void;
}

/** The common call brings no options of its own: nothing to check, nothing to merge. */
export const NO_OPTIONS: CallOptions = {};

/** How many keys are remembered, to find one that is used again with other parameters. */
const KEYS = 1000;

export interface Prepared {
  readonly request: CallRequest;
  readonly warning?: string;
}

export class Requests {
  readonly #runtime: Runtime;
  readonly #keys = new Map<string, string>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** @throws GatewayError with reason `local` and outcome `not-sent` for what was asked wrongly. */
  prepare(method: string, params: unknown, options: CallOptions, defaults: CallDefaults): Prepared {
    const facts = factsOf(method);
    if (options === NO_OPTIONS && facts.key === undefined) {
      const confirm = confirmFor(method, params);
      const own: EntryOptions = confirm === undefined ? defaults : { ...defaults, confirm };
      return {
        request: {
          method,
          params,
          options: own,
          safety: defaults.safety ?? safetyOf(method, params),
          durableKey: false,
        },
      };
    }
    const merged = mergeOptions(method, options, defaults);
    const addressed = this.#addressed(method, params, options.origin);
    const keyed = this.#keyed(method, addressed.params, options.idempotencyKey);
    const confirm = options.confirm ?? confirmFor(method, keyed);
    const request: CallRequest = {
      method,
      params: keyed,
      options: { ...merged, ...(confirm !== undefined && { confirm }) },
      safety: merged.safety ?? safetyOf(method, keyed),
      durableKey: facts.durable === true,
    };
    return { request, ...(addressed.warning !== undefined && { warning: addressed.warning }) };
  }

  #addressed(
    method: string,
    params: unknown,
    origin: DeliveryOrigin | undefined,
  ): { params: unknown; warning?: string } {
    if (origin === undefined) return { params };
    const target = targetOf(method, params);
    if (target === undefined) {
      throw localError(
        'HOLDFAST_ORIGIN',
        method,
        'it delivers nothing, so it takes no origin',
        'Leave the origin out.',
      );
    }
    const checked = checkOrigin(origin, target);
    if (!checked.ok) throw localError('HOLDFAST_ORIGIN', method, `${checked.path}: ${checked.message}`, checked.remedy);
    const filled = withOrigin(method, isRecord(params) ? params : {}, origin);
    return { params: filled, ...(checked.warning !== undefined && { warning: checked.warning }) };
  }

  /** Puts the key where the gateway looks for it; makes one where the gateway demands it. */
  #keyed(method: string, params: unknown, key: string | undefined): unknown {
    const { key: rule } = factsOf(method);
    const record = isRecord(params) ? params : {};
    const given = record['idempotencyKey'];
    if (rule === undefined) {
      if (key === undefined) return params;
      throw localError(
        'HOLDFAST_KEY',
        method,
        'the gateway takes no idempotency key for it',
        'Use `confirm` to make it safe to repeat.',
      );
    }
    if (key !== undefined && given !== undefined && given !== key) {
      throw localError(
        'HOLDFAST_KEY',
        method,
        'options.idempotencyKey differs from the one in the params',
        'Give one of them.',
      );
    }
    const chosen =
      key ?? (typeof given === 'string' ? given : undefined) ?? (rule === 'required' ? this.#runtime.id() : undefined);
    if (chosen === undefined) return params;
    const keyed = { ...record, idempotencyKey: chosen };
    this.#remember(method, chosen, keyed);
    return keyed;
  }

  /** The gateway would answer a reused key with the result of another call. */
  #remember(method: string, key: string, params: unknown): void {
    const digest = sha256(`${method}\n${serialise(params) ?? ''}`);
    const known = this.#keys.get(key);
    if (known !== undefined && known !== digest) {
      throw localError(
        'HOLDFAST_KEY_REUSED',
        method,
        'its idempotency key was used with other parameters',
        'Take a new key for every piece of work.',
      );
    }
    this.#keys.set(key, digest);
    const oldest = this.#keys.size > KEYS ? this.#keys.keys().next().value : undefined;
    if (oldest !== undefined) this.#keys.delete(oldest);
  }
}

/**
 * Options of an HTTP request. One attempt may last as long as the whole unless the caller says otherwise: an agent that
 * thinks sends no header for minutes.
 * @throws GatewayError with reason `local` for what HTTP cannot do.
 */
export function httpOptions(options: CallOptions, defaults: CallDefaults): EntryOptions {
  const unusable = (['idempotencyKey', 'confirm', 'origin'] as const).find((name) => options[name] !== undefined);
  if (unusable !== undefined) {
    throw localError(
      'HOLDFAST_OPTIONS',
      'fetch',
      `gateway.${unusable} works for calls, not for HTTP`,
      'Declare `safety` instead.',
    );
  }
  const { timeout: _one, safety: _safety, ...common } = defaults;
  const merged = mergeOptions('fetch', options, common);
  const { deadline } = merged;
  return { ...merged, ...(merged.timeout === undefined && deadline !== undefined && { timeout: deadline }) };
}

function mergeOptions(method: string, options: CallOptions, defaults: CallDefaults): EntryOptions {
  const { signal, onAttempt, idempotencyKey: _key, confirm: _confirm, origin: _origin, ...rest } = options;
  const merged: EntryOptions = {
    ...defaults,
    ...checked(method, rest),
    ...(signal !== undefined && { signal }),
    ...(onAttempt !== undefined && { onAttempt }),
  };
  return merged;
}

function checked(method: string, options: CallDefaults): CallDefaults {
  try {
    return parseCallOptions(options);
  } catch (error) {
    const { message, remedy } = error as GatewayError;
    throw localError('HOLDFAST_OPTIONS', method, message, remedy);
  }
}
