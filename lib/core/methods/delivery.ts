/** Where the methods that deliver hold their recipient. The gateway's own default fills what is left out. */
import { isRecord } from '../failure.js';
import type { DeliveryOrigin, DeliveryTarget } from '../origin.js';

type Field = keyof DeliveryOrigin;

/** Names of the param for each field; the first that is given counts, and the last is where an origin is filled in. */
type Names = Readonly<Record<Field, readonly [string, ...string[]]>>;

const PLAIN: Names = { channel: ['channel'], to: ['to'], accountId: ['accountId'] };

const ADDRESSED: ReadonlyMap<string, Names> = new Map<string, Names>([
  ['send', PLAIN],
  ['poll', PLAIN],
  // `reply*` wins over the plain ones (code).
  [
    'agent',
    { channel: ['replyChannel', 'channel'], to: ['replyTo', 'to'], accountId: ['replyAccountId', 'accountId'] },
  ],
  ['chat.send', { channel: ['originatingChannel'], to: ['originatingTo'], accountId: ['originatingAccountId'] }],
]);

const FIELDS: readonly Field[] = ['channel', 'to', 'accountId'];

/** The recipient that the params of a method name, for `checkOrigin`; undefined for a method that delivers nothing. */
export function targetOf(method: string, params: unknown): DeliveryTarget | undefined {
  const names = ADDRESSED.get(method);
  if (names === undefined) return undefined;
  const record = isRecord(params) ? params : {};
  const found = FIELDS.map((field) => [field, given(record, names[field])] as const);
  // Cast: whatever stands there is checked by `checkOrigin`, which takes nothing for granted.
  return Object.fromEntries(found.filter(([, value]) => value !== undefined)) as DeliveryTarget;
}

/** The params, with what they leave open filled in from the origin. To be checked first. */
export function withOrigin(
  method: string,
  params: Readonly<Record<string, unknown>>,
  origin: DeliveryOrigin,
): Record<string, unknown> {
  const names = ADDRESSED.get(method);
  const filled: Record<string, unknown> = { ...params };
  if (names === undefined) return filled;
  const channel = given(params, names.channel);
  for (const field of FIELDS) {
    // An account belongs to its channel: it does not follow to another one.
    if (field === 'accountId' && channel !== undefined && channel !== origin.channel) continue;
    if (origin[field] === undefined || given(params, names[field]) !== undefined) continue;
    filled[names[field].at(-1) ?? field] = origin[field];
  }
  return filled;
}

function given(record: Readonly<Record<string, unknown>>, names: readonly string[]): unknown {
  const name = names.find((candidate) => Object.hasOwn(record, candidate) && record[candidate] !== undefined);
  return name === undefined ? undefined : record[name];
}
