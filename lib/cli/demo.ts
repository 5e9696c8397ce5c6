/** What `npm start` runs: a client rides through a restart that its gateway does to itself, and the timeline is printed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, type GatewayClient } from '../api/client.js';
import { probe } from '../api/probe.js';
import { provisionAgent } from '../api/provision.js';
import { isGatewayError } from '../core/errors.js';
import { EXIT } from '../core/vocabulary.js';
import { createTestGateway } from '../testing/index.js';
import { type Flags, parseFlags, UsageError } from './args.js';
import type { CliIo } from './io.js';
import { elapsedStamp, prettyLogger } from './pretty.js';

const HELP = `holdfast demo [--url U (--token-file F | --token-env V)] [--emulate 2026.9.6|2026.4.26]

Connects a client, makes the gateway restart itself, and prints what the client sees: every attempt with its reason and
delay, the restart begun and ended, the liveness file judged throughout. Against the embedded gateway, or with --url
against a real one, which it restarts.
`;

const SPEC = {
  url: { type: 'string' },
  'token-file': { type: 'string' },
  'token-env': { type: 'string' },
  emulate: { type: 'string' },
} as const;

/** The whole demonstration must be over by then, in ms. */
const LIMIT_MS = 60_000;
const PROBE_EVERY_MS = 250;

interface Target {
  readonly url: string;
  readonly token: { readonly file: string } | { readonly env: string } | string;
  readonly name: string;
  /** It is ours alone: a tenant may be made on it. */
  readonly provisions: boolean;
  close(): Promise<void>;
}

export async function demoCommand(argv: readonly string[], io: CliIo): Promise<number> {
  const flags = parseFlags(argv, SPEC);
  if (flags.has('help')) {
    io.stdout.write(HELP);
    return EXIT.closed;
  }
  const target = await targetOf(flags);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-demo-'));
  try {
    return await show(target, join(folder, 'liveness.json'), io);
  } catch (error) {
    if (!isGatewayError(error)) throw error;
    io.stderr.write(`holdfast demo: ${error.message}. ${error.remedy}\n`);
    return EXIT.gaveUp;
  } finally {
    await target.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function targetOf(flags: Flags): Promise<Target> {
  const url = flags.text('url');
  if (url !== undefined) {
    const file = flags.text('token-file');
    const env = flags.text('token-env');
    if (file === undefined && env === undefined) throw new UsageError('--url needs --token-file or --token-env');
    return {
      url,
      token: file === undefined ? { env: env ?? '' } : { file },
      name: 'the gateway',
      provisions: false,
      close: async () => {},
    };
  }
  const emulate = flags.choice('emulate', ['2026.9.6', '2026.4.26']) ?? '2026.9.6';
  // As long as a quick real restart: long enough to see the back-off.
  const gateway = await createTestGateway({ emulate, timings: { portShutMs: 1600, startingMs: 300 } });
  return {
    url: gateway.url,
    token: gateway.token,
    name: `the embedded gateway (${emulate})`,
    provisions: true,
    close: () => gateway.close(),
  };
}

async function show(target: Target, file: string, io: CliIo): Promise<number> {
  const stamp = elapsedStamp(() => performance.now());
  const say = (text: string): void => void io.stdout.write(`${stamp()}         ${text}\n`);
  const client = createClient({
    url: target.url,
    token: target.token,
    liveness: { file, interval: 1000 },
    logger: prettyLogger(io.stdout, stamp),
  });
  const watch = watchLiveness(file);
  const seen = { attempts: 0, failed: 0, restarts: 0, downMs: 0 };
  client.on('attempt', ({ reason }) => {
    seen.attempts += 1;
    if (reason !== undefined) seen.failed += 1;
  });
  client.on('restart', ({ phase, downMs }) => {
    if (phase !== 'ended') return;
    seen.restarts += 1;
    seen.downMs = downMs ?? 0;
  });
  try {
    const hello = await client.start().ready({ timeout: LIMIT_MS });
    say(`connected to ${target.name}, version ${hello.server.version ?? 'unknown'}, protocol ${hello.protocol}`);
    watch.begin();
    const meanwhile = workDuringRestart(client, target.provisions, say);
    await restartIt(client, say);
    await meanwhile;
  } finally {
    watch.end();
    await client.close();
  }
  const { looks, notFresh } = watch.result();
  say(
    `restarts ridden out: ${seen.restarts}, the last without a link for ${(seen.downMs / 1000).toFixed(2)} s, ${seen.attempts} attempts of which ${seen.failed} failed`,
  );
  say(`liveness file: judged ${looks} times, ${notFresh === 0 ? 'fresh each time' : `NOT fresh ${notFresh} times`}`);
  return seen.restarts > 0 && notFresh === 0 ? EXIT.closed : EXIT.broken;
}

/** What a backend does while the gateway is away: it calls and provisions as ever, without any code for restarts. */
async function workDuringRestart(
  client: GatewayClient,
  provisions: boolean,
  say: (text: string) => void,
): Promise<void> {
  await new Promise<void>((resolve) => {
    client.on('restart', ({ phase }) => {
      if (phase === 'began') resolve();
    });
  });
  const call = client.callDetailed('health', {}, { deadline: LIMIT_MS }).then(({ waited, restarts }) => {
    say(
      `a call made while the gateway was away was answered after ${(waited / 1000).toFixed(2)} s (${restarts.join() || 'held, never refused'})`,
    );
  });
  await Promise.all([call, provisions ? provisionTenant(client, say) : undefined]);
}

async function provisionTenant(client: GatewayClient, say: (text: string) => void): Promise<void> {
  const files = { 'SOUL.md': '# Soul', 'USER.md': '# User', 'IDENTITY.md': '# Identity', 'MEMORY.md': '# Memory' };
  const { agentId, files: written } = await provisionAgent(client, {
    name: 'tenant-1',
    workspace: '/demo/tenant-1',
    files,
  });
  say(`a tenant provisioned meanwhile: agent ${agentId}, ${written.length} files, each once`);
}

/** Has the gateway restart itself and waits until the client is back. 2026.4.26 restarts when an agent is created. */
async function restartIt(client: GatewayClient, say: (text: string) => void): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    client.on('restart', ({ phase }) => {
      if (phase === 'ended') resolve();
    });
  });
  try {
    say('asking the gateway to restart itself');
    await client.call('gateway.restart.request', { reason: 'holdfast demo' });
  } catch (error) {
    if (!isGatewayError(error, 'rejected')) throw error;
    say('this version knows no such request; it restarts itself when an agent is created');
    await client.call('agents.create', {
      name: `holdfast-demo-${Date.now().toString(36)}`,
      workspace: join(tmpdir(), 'holdfast-demo-agent'),
    });
  }
  const limit = AbortSignal.timeout(LIMIT_MS);
  await Promise.race([
    ended,
    new Promise<never>((_resolve, reject) => {
      limit.addEventListener(
        'abort',
        () => reject(new UsageError(`the gateway did not restart within ${LIMIT_MS / 1000} s`)),
        { once: true },
      );
    }),
  ]);
  await client.ready({ timeout: LIMIT_MS });
}

/** Judges the liveness file over and over, as a probe would. */
function watchLiveness(file: string): { begin(): void; end(): void; result(): { looks: number; notFresh: number } } {
  let looks = 0;
  let notFresh = 0;
  let timer: NodeJS.Timeout | null = null;
  const look = async (): Promise<void> => {
    const { ok } = await probe({ file });
    looks += 1;
    if (!ok) notFresh += 1;
  };
  return {
    begin: () => {
      timer = setInterval(() => void look(), PROBE_EVERY_MS);
    },
    end: () => {
      if (timer !== null) clearInterval(timer);
    },
    result: () => ({ looks, notFresh }),
  };
}
