import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../../lib/core/durations.js';

describe('durations', () => {
  it('reads what people write', () => {
    const cases = {
      '0ms': 0,
      '0s': 0,
      '500ms': 500,
      '45s': 45_000,
      '10m': 600_000,
      '2h': 7_200_000,
      '1.5h': 5_400_000,
    };
    for (const [text, ms] of Object.entries(cases)) assert.deepEqual(parseDuration(text), { ok: true, ms }, text);
  });

  it('names the bad value in plain words', () => {
    for (const text of ['', '10', 's', '-1s', '1e3s', ' 1s', '1s ', '1d', '1 s', '1S', '1m30s', 'NaNs', '__proto__']) {
      const parsed = parseDuration(text);
      assert.ok(!parsed.ok, text);
      assert.ok(parsed.why.includes(JSON.stringify(text)), parsed.why);
      assert.match(parsed.why, /500ms, 45s, 10m or 2h/);
    }
  });

  it('refuses what no timer of Node can wait for', () => {
    assert.deepEqual(parseDuration('2147483647ms'), { ok: true, ms: 2_147_483_647 });
    assert.deepEqual(parseDuration('597h'), { ok: false, why: '"597h" is too long: at most 596h' });
  });

  it('does not echo a long value', () => {
    const parsed = parseDuration('x'.repeat(10_000));
    assert.ok(!parsed.ok && parsed.why.length < 120);
  });

  it('never throws, and yields milliseconds or a reason', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const parsed = parseDuration(text);
        assert.ok(parsed.ok ? Number.isSafeInteger(parsed.ms) && parsed.ms >= 0 : parsed.why.length > 0);
      }),
    );
  });

  it('tells people in two units, rounded down', () => {
    const cases: [number, string][] = [
      [0, '0ms'],
      [-5, '0ms'],
      [999.9, '999ms'],
      [1000, '1s'],
      [1690, '1.6s'],
      [59_999, '59s'],
      [60_000, '1m'],
      [125_000, '2m 5s'],
      [7_200_000, '2h'],
      [11_520_000, '3h 12m'],
      [187_200_000, '2d 4h'],
      [Number.POSITIVE_INFINITY, 'for ever'],
    ];
    for (const [ms, text] of cases) assert.equal(formatDuration(ms), text);
  });
});
