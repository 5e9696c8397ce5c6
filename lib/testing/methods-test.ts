import { invalid, RpcError } from './errors.js';
import type { MethodTable } from './methods.js';
import { isRecord, numberAt, stringAt } from './validate.js';

/** Methods that no real gateway has, for tests. Any role, no scope, any params. */
export const TEST_METHODS: MethodTable = {
  /** Answers with its params. */
  'test.echo': { role: 'any', run: (_call, params) => params },
  /** Answers `ms` later; counts as work. */
  'test.sleep': {
    role: 'any',
    run: async ({ boot }, params) => {
      const ms = numberAt(params, 'ms') ?? 0;
      await boot.busy(boot.timers.sleep(ms));
      return { slept: ms };
    },
  },
  /** Answers with the error it is given; `executed: true` says in the ledger that it ran. */
  'test.fail': {
    role: 'any',
    run: (_call, params) => {
      const error = isRecord(params['error']) ? params['error'] : {};
      const shape = invalid(stringAt(error, 'message') ?? 'failed as asked');
      throw new RpcError({ ...shape, ...error }, params['executed'] === true);
    },
  },
  /** Counts its executions by `key`, over restarts. `ms` delays the answer, not the effect. */
  'test.count': {
    role: 'any',
    run: async ({ host, boot }, params) => {
      const key = stringAt(params, 'key') ?? '';
      const count = (host.counts.get(key) ?? 0) + 1;
      host.counts.set(key, count);
      const ms = numberAt(params, 'ms') ?? 0;
      if (ms > 0) await boot.busy(boot.timers.sleep(ms));
      return { key, count };
    },
  },
};
