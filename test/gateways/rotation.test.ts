// The rotation of the original report on the real 2026.9.6: gateway stopped, token rotated, gateway started, token file
// rewritten later. Its lockout holds for loopback too.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNodeHost } from '../../lib/index.js';
import { eventually, Journal } from '../support/collect.js';
import { installGateway } from './install.js';
import { type RealGateway, startGateway } from './launcher.js';

const PACE = { initialDelay: 3000, maxDelay: 6000 };
/** Ten wrong tokens in 60 s lock an address out for five minutes. */
const LOCKOUT = 10;

describe('a token that is rotated, on openclaw@2026.9.6', () => {
  let gateway: RealGateway | undefined;
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-rotation-'));

  before('starts it', async function () {
    this.timeout(20 * 60_000);
    await installGateway('2026.9.6');
    const auth = { mode: 'token', token: 'before-the-rotation', rateLimit: { exemptLoopback: false } };
    gateway = await startGateway({ version: '2026.9.6', token: auth.token, config: { auth } });
  });

  after('ends it', async () => {
    await gateway?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach('shows what it logged', function () {
    const { currentTest } = this;
    if (currentTest?.state !== 'failed' || currentTest.err === undefined || gateway === undefined) return;
    currentTest.err.message += `\n${gateway.logTail()}`;
  });

  it('heals the host within its pace, every attempt logged, without a lockout and without a respawn', async function () {
    this.timeout(120_000);
    assert.ok(gateway !== undefined);
    const file = join(folder, 'token');
    writeFileSync(file, gateway.token, { mode: 0o600 });
    const journal = new Journal();
    await using host = createNodeHost({
      url: gateway.url,
      token: { file },
      device: { stateDir: join(folder, 'state') },
      blocked: PACE,
      logger: journal.logger,
    });
    host.start();
    await host.ready({ timeout: 30_000 });

    // A device token from before would open the link again; the report is about the shared one alone.
    const tokens = join(folder, 'state', 'device-tokens');
    const written = (): boolean => existsSync(tokens) && readdirSync(tokens).some((name) => name.endsWith('.json'));
    await eventually(written, 'the device token is kept');
    rmSync(tokens, { recursive: true });

    await gateway.stopTerm();
    gateway.setToken('after-the-rotation');
    await gateway.start();
    const refused = await journal.untilCount(
      3,
      (line) => line.event === 'attempt' && line.reason === 'unauthorized',
      'three refusals',
      60_000,
    );
    assert.ok(refused.every(({ code }) => code === 'AUTH_TOKEN_MISMATCH'));
    assert.equal(host.health().state, 'blocked');

    writeFileSync(file, gateway.token);
    const rewritten = performance.now();
    await host.ready({ timeout: 30_000 });
    const took = performance.now() - rewritten;
    assert.ok(took < PACE.maxDelay + 2000, `${took} ms`);
    assert.ok(!journal.text.includes('AUTH_RATE_LIMITED'), journal.text);
    const wrong = journal.failures.filter(({ reason }) => reason === 'unauthorized');
    assert.ok(wrong.length < LOCKOUT, `${wrong.length} wrong tokens`);
    const attempts = journal.of('attempt').map(({ attempt }) => attempt);
    const last = attempts.lastIndexOf(1);
    // Numbered without a gap since the link was lost: none went unlogged.
    assert.deepEqual(
      attempts.slice(last),
      attempts.slice(last).map((_each, index) => index + 1),
    );
    await eventually(() => host.health().node?.registration !== undefined, 'it is a node again');
  });
});
