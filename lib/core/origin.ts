/**
 * Who asked, and where the answer goes. An address whose shape belongs to another channel is refused before anything is
 * sent: the gateway would hand it to the wrong channel, which refuses it again at every retry.
 */
import { isRecord, printable } from './failure.js';

/** The requester, as the channel names him. It stays the same over all attempts of a call. */
export interface DeliveryOrigin {
  readonly channel: string;
  readonly to: string;
  readonly accountId?: string;
}

/** Where the params of the call say it goes; what they leave open is the origin's. */
export interface DeliveryTarget {
  readonly channel?: string;
  readonly to?: string;
  readonly accountId?: string;
}

export type OriginCheck =
  | { readonly ok: true; readonly warning?: string }
  | { readonly ok: false; readonly path: string; readonly message: string; readonly remedy: string };

export interface Channel {
  readonly aliases?: readonly string[];
  /** Addresses that are this channel's and no other's: elsewhere they are refused, whatever the other accepts. */
  readonly sure: readonly RegExp[];
  /** Addresses that a channel which does not take them refuses, because they are this one's. */
  readonly typical?: readonly RegExp[];
  /** Further addresses it takes. They say nothing about other channels. */
  readonly loose?: readonly RegExp[];
  readonly example: string;
}

const PHONE = /^\+[1-9]\d{6,14}$/;
const DIGITS = /^[1-9]\d{6,14}$/;
const EMAIL = /^[^\s@:]{1,64}@[^\s@:]{1,255}\.[A-Za-z]{2,}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const AT_NAME = /^@[A-Za-z][\w.-]{1,63}$/;
const HASH_NAME = /^#[^\s#:]{1,100}$/;

/**
 * Forms that the channel plugins take. Source: documents of OpenClaw 2026.9.6 (target formats) and the plugins shipped
 * with 2026.4.26 (code); the WeChat plugin is not shipped, its forms are those of the service.
 */
export const CHANNELS: ReadonlyMap<string, Channel> = new Map<string, Channel>([
  [
    'feishu',
    {
      aliases: ['lark'],
      // chat_id, open_id, union_id. A user_id is any text of these characters (code), also one that looks like "wxid_…".
      sure: [/^(oc|ou|on)_[A-Za-z0-9]+$/],
      loose: [/^[\w-]{1,64}$/, EMAIL],
      example: 'ou_…, oc_… or a user_id',
    },
  ],
  [
    'openclaw-weixin',
    {
      aliases: ['weixin', 'wechat', '微信'],
      sure: [/@im\.(wechat|bot)$/, /^wxid_[\w-]+$/, /^\d+@chatroom$/],
      loose: [/^[A-Za-z][\w-]{5,63}$/],
      example: '…@im.wechat or wxid_…',
    },
  ],
  [
    'slack',
    {
      sure: [/^<@[UW][A-Z0-9]+>$/],
      typical: [/^[CDGUW][A-Z0-9]{7,}$/],
      loose: [/^[CDGUW][A-Z0-9]{2,}$/i, HASH_NAME, AT_NAME],
      example: 'C…, U…, D… or #name',
    },
  ],
  [
    'discord',
    {
      sure: [/^<@!?\d{6,20}>$/],
      typical: [/^\d{17,20}$/],
      loose: [/^\d{6,}$/, HASH_NAME],
      example: 'channel:<id> or user:<id>',
    },
  ],
  [
    'telegram',
    {
      aliases: ['tg'],
      sure: [/^-100\d{6,}(:topic:\d+)?$/, /^-?\d{4,}:topic:\d+$/, /^(https?:\/\/)?t\.me\//i],
      loose: [/^-?\d{4,16}$/, AT_NAME],
      example: 'a numeric chat id or @name',
    },
  ],
  [
    'whatsapp',
    {
      sure: [/@(s\.whatsapp\.net|g\.us|newsletter|lid)$/],
      typical: [PHONE],
      loose: [DIGITS],
      example: '+15551234567 or …@g.us',
    },
  ],
  [
    'signal',
    {
      sure: [/^(uuid|username|u):\S+$/i],
      typical: [PHONE],
      // Group ids are base64 of 32 bytes.
      loose: [DIGITS, UUID, /^[A-Za-z0-9+/_-]{43}=?$/],
      example: '+15551234567, uuid:<id> or group:<id>',
    },
  ],
  [
    'imessage',
    {
      aliases: ['imsg', 'bluebubbles'],
      sure: [/^(chat_?guid|chat_?identifier):\S+$/i, /^chat_?id:\d+$/i, /^(iMessage|SMS|any);[+-];/i],
      typical: [PHONE],
      loose: [DIGITS, EMAIL, /^(auto|imessage|sms):\S/i],
      example: 'a phone number, an address or chat_id:<id>',
    },
  ],
  ['sms', { sure: [], typical: [PHONE], loose: [DIGITS], example: '+15551234567' }],
  [
    'matrix',
    {
      sure: [/^[@!#][^\s:]+:[^\s:/]+\.[^\s:/]+(:\d+)?$/],
      loose: [/^[@!#][^\s:]+:[^\s:/]+(:\d+)?$/, /^![\w-]{20,}$/],
      example: '@user:server, !room:server or #alias:server',
    },
  ],
  [
    'msteams',
    {
      aliases: ['teams'],
      sure: [/@(thread\.(tacv2|skype|v2)|unq\.gbl\.spaces)/i, /^8:orgid:/i, /^29:[\w-]+$/, /^a:1[\w-]+$/],
      loose: [UUID, EMAIL],
      example: 'conversation:19:…@thread.tacv2 or user:<id>',
    },
  ],
  [
    'googlechat',
    {
      aliases: ['gchat', 'google-chat'],
      sure: [/^spaces\/[\w-]+/, /^users\/\S+$/],
      loose: [EMAIL],
      example: 'spaces/<id> or users/<id>',
    },
  ],
  [
    'mattermost',
    {
      sure: [/^[a-z0-9]{26}__[a-z0-9]{26}$/],
      loose: [/^[a-z0-9]{26}$/, AT_NAME],
      example: 'channel:<id>, user:<id> or @name',
    },
  ],
  ['line', { sure: [/^[UCR][0-9a-f]{32}$/], example: 'U…, C… or R… with 32 hex digits' }],
  ['qqbot', { sure: [/^c2c:\S+$/i], loose: [/^[0-9a-f]{32}$/i, UUID, /^\d{5,20}$/], example: 'qqbot:c2c:<openid>' }],
  ['nostr', { sure: [/^npub1[02-9ac-hj-np-z]{58}$/], loose: [/^[0-9a-f]{64}$/i], example: 'npub1…' }],
  [
    'irc',
    {
      sure: [],
      loose: [/^[#&][^\s,]{1,63}$/, /^[A-Za-z[\]\\^{}|`_][\w[\]\\^{}|`-]{0,30}$/],
      example: '#channel or a nick',
    },
  ],
]);

/** Prefixes that select a provider (docs, "Outbound target prefixes"). `imessage:` and `sms:` do not: they name a service. */
const PROVIDERS: ReadonlyMap<string, string> = new Map(
  [...CHANNELS].flatMap(([id, { aliases = [] }]) => [id, ...aliases].map((name) => [name, id] as const)),
);
const SERVICES: ReadonlySet<string> = new Set(['imessage', 'sms']);
/** Kinds stay inside the grammar of the channel. */
const KIND = /^(user|channel|group|chat|room|dm|thread|conversation|open_id|user_id|chat_id):/i;
const MAX_LENGTH = 512;

/**
 * Is the address one of its channel? Unknown channels and unfamiliar forms pass with a warning: only a form that is
 * clearly another channel's is refused.
 */
export function checkOrigin(origin: DeliveryOrigin, target: DeliveryTarget = {}): OriginCheck {
  const bad = malformed(origin, 'origin') ?? malformed(target, 'params', true);
  if (bad !== undefined) return bad;
  const channel = idOf(target.channel ?? origin.channel);
  const to = (target.to ?? origin.to).trim();
  // A channel filled in by default beside the requester's address is how answers reach the wrong one.
  if (
    target.channel !== undefined &&
    channel !== idOf(origin.channel) &&
    (target.to === undefined || to === origin.to.trim())
  ) {
    return refuse(
      'params.channel',
      `the requester is on ${show(origin.channel)}, the call goes to ${show(target.channel)} with his address`,
      {
        remedy: 'Leave the channel out of the params, or give the channel and the address of the other recipient.',
      },
    );
  }
  const path = target.to === undefined ? 'origin.to' : 'params.to';
  const checked = checkAddress(channel, to, path);
  if (!checked.ok || checked.warning !== undefined) return checked;
  const elsewhere =
    channel !== idOf(origin.channel) ||
    to !== origin.to.trim() ||
    (target.accountId ?? origin.accountId) !== origin.accountId;
  return elsewhere ? { ok: true, warning: 'the call names another recipient or account than its origin' } : checked;
}

function checkAddress(channel: string, address: string, path: string): OriginCheck {
  const known = CHANNELS.get(channel);
  if (known === undefined)
    return { ok: true, warning: `channel ${show(channel)} is not known here: the address is not checked` };
  const prefix = /^([^\s:]{1,32}):/.exec(address)?.[1]?.toLowerCase();
  const provider = prefix === undefined || SERVICES.has(prefix) ? undefined : PROVIDERS.get(prefix);
  if (provider !== undefined && provider !== channel) return wrongChannel(channel, [provider], known, path);
  const rest = provider === undefined ? address : address.slice(address.indexOf(':') + 1).trim();
  const forms = [rest, rest.replace(KIND, '')];
  if (matches(known.sure, forms)) return { ok: true };
  const sure = others(channel, (other) => matches(other.sure, forms));
  if (sure.length > 0) return wrongChannel(channel, sure, known, path);
  if (matches(known.typical, forms) || matches(known.loose, forms)) return { ok: true };
  const typical = others(channel, (other) => matches(other.typical, forms));
  if (typical.length > 0) return wrongChannel(channel, typical, known, path);
  return { ok: true, warning: `the address is of no form that ${channel} is known to take (${known.example})` };
}

/** The address is not repeated: it may be a phone number. */
function wrongChannel(channel: string, owners: readonly string[], known: Channel, path: string): OriginCheck {
  return refuse(path, `the address looks like one of ${owners.slice(0, 3).join(' or ')}, not of ${channel}`, {
    remedy: `Give an address of ${channel} (${known.example}), or the channel that the address belongs to.`,
  });
}

function others(channel: string, test: (other: Channel) => boolean): string[] {
  return [...CHANNELS].filter(([id, other]) => id !== channel && test(other)).map(([id]) => id);
}

function matches(patterns: readonly RegExp[] | undefined, forms: readonly string[]): boolean {
  return (patterns ?? []).some((pattern) => forms.some((form) => pattern.test(form)));
}

const FIELDS = ['channel', 'to', 'accountId'] as const;

/** Callers in JavaScript may pass anything. Of a target only the three fields count, since params hold more. */
function malformed(value: unknown, name: string, partial = false): OriginCheck | undefined {
  if (!isRecord(value)) return refuse(name, `${name}: expected { channel, to, accountId? }`);
  const extra = partial ? undefined : Object.keys(value).find((key) => !FIELDS.some((field) => field === key));
  if (extra !== undefined) return refuse(`${name}.${printable(extra, 40)}`, `${name}: unknown ${show(extra)}`);
  for (const field of FIELDS) {
    const entry = value[field];
    const path = `${name}.${field}`;
    if (entry === undefined) {
      if (partial || field === 'accountId') continue;
      return refuse(path, `${path} is missing`);
    }
    if (typeof entry !== 'string' || entry.trim() === '')
      return refuse(path, `${path}: expected a text that is not empty`);
    if (entry.length > MAX_LENGTH || /\p{Cc}/u.test(entry))
      return refuse(path, `${path}: longer than ${MAX_LENGTH}, or with control characters`);
    // The gateway reads it as "where the agent spoke last", which is not who asked.
    if (field === 'channel' && entry.trim().toLowerCase() === 'last')
      return refuse(path, `${path}: "last" names no channel`);
  }
  return undefined;
}

function refuse(path: string, message: string, extra: { readonly remedy?: string } = {}): OriginCheck {
  return {
    ok: false,
    path,
    message,
    remedy:
      extra.remedy ?? 'Pass the channel, the address and the account of the requester as the gateway reported them.',
  };
}

function idOf(channel: string): string {
  const name = channel.trim().toLowerCase();
  return PROVIDERS.get(name) ?? name;
}

function show(text: string): string {
  return JSON.stringify(printable(text, 64));
}
