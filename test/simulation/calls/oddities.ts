/** How a gateway that is up may serve a request, other than by answering it. */
import type { Serving } from '../../support/scripted-gateway.js';

type Oddity = (serving: Serving) => void;

const UNAVAILABLE = 'UNAVAILABLE';
const INVALID = 'INVALID_REQUEST';
const NOTHING = (): void => {};

/** Does the work or does not, and then says `what` of it. */
function perhaps(serving: Serving, what: () => void): void {
  serving.work(serving.chance.draw() < 0.5, what);
}

const ODDITIES: Readonly<Record<string, Oddity>> = {
  'executed, silent': ({ work }) => work(true, NOTHING),
  'dropped, silent': NOTHING,
  'executed, then cut': ({ work, link }) => work(true, () => link.close(1006)),
  'cut, then nothing': ({ link }) => link.close(1006),
  'answered late': ({ answer, chance }) => answer(chance.span(1000, 90_000)),
  'answered twice': ({ answer }) => answer(0, 2),
  'foreign answers': ({ answer, request, link }) => {
    for (const id of ['__proto__', `${request.id}0000`, 'connect']) link.reply(id, { ok: true, payload: { id } });
    answer(0);
  },
  'queue full': ({ refuse }) =>
    refuse(UNAVAILABLE, 'The server is busy. Please try again in a moment.', { retryable: true }),
  'rate limited': ({ refuse, chance, request: { method } }) => {
    const retryAfterMs = chance.pick([500, 3000, 20_000, 60_000, 3_600_000]);
    refuse(UNAVAILABLE, 'rate limit', { retryable: true, retryAfterMs, details: { method, limit: '30 per 60s' } });
  },
  'not started': ({ refuse, chance }) =>
    refuse(UNAVAILABLE, 'not started', { retryable: chance.draw() < 0.7, details: { execution: 'not_started' } }),
  'not started, for good': ({ refuse }) => refuse(INVALID, 'not started', { details: { execution: 'not_started' } }),
  'may have executed': (serving) => {
    const code = serving.chance.pick([INVALID, UNAVAILABLE]);
    const details = { execution: 'may_have_executed' };
    perhaps(serving, () => serving.refuse(code, 'who knows', { retryable: true, details }));
  },
  'without a proof': (serving) => {
    const retryable = serving.chance.draw() < 0.5;
    perhaps(serving, () => serving.refuse(UNAVAILABLE, 'Error: ENOSPC', retryable ? { retryable } : {}));
  },
  malformed: (serving) => perhaps(serving, () => serving.link.reply(serving.request.id, {})),
  invalid: ({ refuse }) => refuse(INVALID, 'no such thing'),
  'entry closed': ({ refuse }) => refuse(UNAVAILABLE, 'Error: Gateway request entry is closed'),
  'method not ready': ({ refuse, request: { method } }) =>
    refuse(UNAVAILABLE, 'starting', {
      retryable: true,
      retryAfterMs: 500,
      details: { method, reason: 'startup-sidecars' },
    }),
};

export const ODDITY_NAMES: [string, ...string[]] = Object.keys(ODDITIES) as [string, ...string[]];

/** A gateway that serves this share of its requests oddly. */
export function tempered(share: number, names: readonly [string, ...string[]]): Oddity {
  return (serving) => {
    if (serving.chance.draw() < share) ODDITIES[serving.chance.pick(names)]?.(serving);
    else serving.answer(0);
  };
}
