/**
 * The words of holdfast. Code, log lines, the liveness file and the documents use these and no synonyms.
 */

/** Where the connection stands. `blocked`: a human is needed, slow retries go on. */
export type Status = 'idle' | 'connecting' | 'handshaking' | 'online' | 'waiting' | 'blocked' | 'closing' | 'stopped';

/** How a client ended. */
export type StopOutcome = 'closed' | 'gave-up' | 'fatal';

export const REASONS = [
  'gateway-restart',
  'gateway-stopped',
  'gateway-starting',
  'gateway-draining',
  'outage',
  'unresponsive',
  'unauthorized',
  'pairing-required',
  'rate-limited',
  'protocol',
  'rejected',
  'timeout',
  'local',
] as const;

/** Why something failed or waits. */
export type Reason = (typeof REASONS)[number];

/** What became of a call. `not-sent` and `not-executed` are claimed only on proof; without proof it is `unknown`. */
export type CallOutcome = 'executed' | 'not-sent' | 'not-executed' | 'unknown';

/** How far a dial came. */
export type Phase = 'provider' | 'dns' | 'tcp' | 'tls' | 'upgrade' | 'challenge' | 'hello' | 'online';

/** May a call be repeated? `repeatable`: same effect again; `keyed`: under its key while the same gateway lives. */
export type Safety = 'read' | 'repeatable' | 'keyed' | 'once';

/** As what we connect. */
export type Role = 'operator' | 'node';

/**
 * What may be done about a failure.
 *
 * - `soon`: the normal back-off, or the server's hint.
 * - `fresh`: slowly, with credentials read again; a wrong one counts towards the gateway's lockout.
 * - `human`: nothing the client can change; it looks again slowly, so that the cure is noticed.
 */
export type Action = 'soon' | 'fresh' | 'human';

/** Process exit codes; the names in brackets are those of sysexits.h. */
export const EXIT = {
  /** Stopped by its owner. */
  closed: 0,
  /** A broken invariant or a dry event loop (SOFTWARE): respawn. */
  broken: 70,
  /** Gave up on a temporary outage (TEMPFAIL): respawn. */
  gaveUp: 75,
  /** Protocol mismatch (PROTOCOL): a human. */
  protocol: 76,
  /** Credentials refused (NOPERM): a human. */
  unauthorized: 77,
  /** Bad configuration, or another live instance holds the lock (CONFIG): a human. */
  config: 78,
} as const;
