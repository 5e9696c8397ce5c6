import { count, name, names, object, oneOf, open, positive, type Rule, text } from './validate.js';

const CLIENT_IDS: readonly string[] = [
  'webchat-ui',
  'openclaw-control-ui',
  'openclaw-tui',
  'webchat',
  'cli',
  'gateway-client',
  'openclaw-macos',
  'openclaw-ios',
  'openclaw-android',
  'node-host',
  'test',
  'fingerprint',
  'openclaw-probe',
];
const NEWER_CLIENT_IDS: readonly string[] = [
  'openclaw-browser-copilot',
  'openclaw-linux',
  'openclaw-watchos',
  'openclaw-worker',
];
const MODES: readonly string[] = ['webchat', 'cli', 'ui', 'backend', 'node', 'probe', 'test'];

const CLIENT_KEYS: Readonly<Record<string, Rule>> = {
  displayName: name,
  version: name,
  platform: name,
  deviceFamily: name,
  modelIdentifier: name,
  instanceId: name,
  buildId: name,
  timeZone: name,
};

const DEVICE = object(
  { id: name, publicKey: name, signature: name, signedAt: count, nonce: name },
  'id',
  'publicKey',
  'signature',
  'signedAt',
  'nonce',
);

const KEYS: Readonly<Record<string, Rule>> = {
  minProtocol: positive,
  maxProtocol: positive,
  caps: names,
  commands: names,
  permissions: open,
  pathEnv: text,
  role: name,
  scopes: names,
  device: DEVICE,
  auth: object({ token: text, bootstrapToken: text, deviceToken: text, password: text }),
  locale: text,
  userAgent: text,
  computerUse: open,
  workerRuns: open,
  modelCatalog: open,
};

/** `connect.params`: a closed schema, a little wider on newer versions. */
export function connectParams(protocol: 3 | 4): Rule {
  const newer = protocol === 4;
  const id = oneOf(...CLIENT_IDS, ...(newer ? NEWER_CLIENT_IDS : []));
  const mode = oneOf(...MODES, ...(newer ? ['worker'] : []));
  const client = object({ ...CLIENT_KEYS, id, mode }, 'id', 'version', 'platform', 'mode');
  return object({ ...KEYS, client }, 'minProtocol', 'maxProtocol', 'client');
}
