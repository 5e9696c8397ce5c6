/** The failure of something that the owner lent us: a provider, a secret, a file. */
/** A provider failed: the dial it was asked for is over, and the next one asks again. */
export class ProviderError extends Error {
  override readonly name: string = 'ProviderError';
  readonly provider: string;
  readonly code: string;
  /** It answered, with something that can never be right. */
  readonly invalid: boolean;

  constructor(provider: string, code: string, message: string, invalid = false) {
    super(message);
    this.provider = provider;
    this.code = code;
    this.invalid = invalid;
  }
}

/** How long a provider may take, in ms. */
export const PROVIDER_DEADLINE_MS = 10_000;

export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function describe(error: unknown): string {
  if (error instanceof Error) return error.message;
  return error === undefined ? 'it rejected with undefined' : String(error);
}
