/**
 * Keeps secrets out of everything that leaves the process. Path-based redaction of a logger does not look inside
 * texts, so every text of ours goes through here: messages, addresses, causes.
 */
/** So many characters of a secret are too many. */
const LEGIBLE = 8;

export class Scrubber {
  readonly #forms = new Set<string>();
  #pattern: RegExp | null = null;

  /** Remembers a secret and the forms in which it may come back: base64, base64url, URL-encoded. */
  add(secret: string): void {
    // A shorter one would blacken ordinary words; it is no secret worth the name.
    if (secret.length < 6 || this.#forms.has(secret)) return;
    const base64 = Buffer.from(secret).toString('base64').replace(/=+$/, '');
    const base64url = Buffer.from(secret).toString('base64url');
    for (const form of [secret, base64, base64url, encodeURIComponent(secret)]) this.#forms.add(form);
    const longestFirst = [...this.#forms].sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(longestFirst.map(literally).join('|'), 'g');
  }

  text(text: string): string {
    const known = this.#pattern === null ? text : this.#withoutRest(text.replace(this.#pattern, '[redacted]'));
    // Secrets that were never ours to know: in addresses, in headers that somebody quotes.
    return known
      .replace(/\b([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/@]+@/gi, '$1[redacted]@')
      .replace(/([?&](?:token|password|secret|key|access_token)=)[^\s&#]+/gi, '$1[redacted]')
      .replace(/(bearer\s+)[\w.~+/=-]{6,}/gi, '$1[redacted]');
  }

  /** A foreign text that was cut to its limit may end in the middle of a secret. */
  #withoutRest(text: string): string {
    const end = text.endsWith('…') ? text.length - 1 : text.length;
    for (const form of this.#forms) {
      for (let length = Math.min(form.length - 1, end); length >= LEGIBLE; length -= 1) {
        if (text.startsWith(form.slice(0, length), end - length)) return `${text.slice(0, end - length)}[redacted]`;
      }
    }
    return text;
  }

  /** A copy of plain data with every text scrubbed, to a bounded depth. */
  value(value: unknown, depth = 0): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (depth > 6) return '[deep]';
    if (Array.isArray(value)) return value.slice(0, 100).map((entry) => this.value(entry, depth + 1));
    if (value instanceof Error) return this.#error(value, depth);
    // Defined, not assigned: a key `__proto__` from the wire must stay a key.
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, this.value(entry, depth + 1)]));
  }

  #error(error: Error, depth: number): unknown {
    const { name, message, stack, cause } = error;
    const code = 'code' in error ? error.code : undefined;
    return {
      type: name,
      message: this.text(message),
      ...(typeof code === 'string' && { code }),
      ...(stack !== undefined && { stack: this.text(stack) }),
      ...(cause !== undefined && { cause: this.value(cause, depth + 1) }),
    };
  }
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
