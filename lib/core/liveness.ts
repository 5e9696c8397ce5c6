/** The liveness record and its judge. `docs/liveness.md` describes the format. */
export { judge, type Limits, type Observation, relation, type Verdict } from './liveness/judge.js';
export { encodeRecord, parseRecord, READ_LIMIT, RECORD_LENGTH } from './liveness/record.js';
export type * from './liveness/types.js';
