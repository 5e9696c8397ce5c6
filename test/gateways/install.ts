// Installs real OpenClaw gateways, and the Node.js they need, outside this package's own dependencies.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { alive, freeBasePort, own, release, spawnOwned, until } from './processes.js';

export type GatewayVersion = '2026.9.6' | '2026.4.26';

export const GATEWAY_VERSIONS: readonly GatewayVersion[] = ['2026.9.6', '2026.4.26'];

export interface Installed {
  readonly version: GatewayVersion;
  /** The Node.js binary that runs this gateway. */
  readonly node: string;
  /** The gateway's entry point. */
  readonly entry: string;
  /** Plugin dependencies of 4.26, which it otherwise installs from the registry into every new state folder. */
  readonly stageDir?: string;
  /** Shared over runs, so that only the first start is cold. */
  readonly compileCache: string;
}

const NODE_MAJOR = 24;
const NPM_TIMEOUT = 10 * 60_000;
const STAGE_TIMEOUT = 3 * 60_000;

const run = promisify(execFile);
const running = new Map<string, Promise<Installed>>();

/** Idempotent, and safe for several processes at once. Throws `could not install openclaw@X: …`. */
export function installGateway(version: GatewayVersion): Promise<Installed> {
  const known = running.get(version);
  if (known) return known;
  const started = install(version).catch((error: unknown) => {
    running.delete(version);
    throw new Error(`could not install openclaw@${version}: ${textOf(error)}`, { cause: error });
  });
  running.set(version, started);
  return started;
}

/** The folder that holds the installations; delete it to start over. */
function gatewaysDir(): string {
  const chosen = process.env['HOLDFAST_GATEWAYS_DIR'];
  if (chosen) return chosen;
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'holdfast', 'gateways');
}

async function install(version: GatewayVersion): Promise<Installed> {
  const root = gatewaysDir();
  mkdirSync(root, { recursive: true });
  const nodeDir = await ensurePackage(root, 'node', String(NODE_MAJOR), process.execPath);
  const node = join(nodeDir, 'node_modules', 'node', 'bin', 'node');
  const actual = (await run(node, ['--version'])).stdout.trim();
  if (!nodeServes(version, actual)) throw new Error(`Node.js ${actual} cannot run it`);

  // The package refuses to install under an older Node.js, so npm itself runs under the new one.
  const dir = await ensurePackage(root, 'openclaw', version, node);
  const installed: Installed = {
    version,
    node,
    entry: join(dir, 'node_modules', 'openclaw', 'openclaw.mjs'),
    compileCache: join(dir, 'compile-cache'),
    ...(version === '2026.4.26' ? { stageDir: join(dir, 'stage') } : {}),
  };
  if (!existsSync(installed.entry)) throw new Error('the package has no openclaw.mjs');
  if (installed.stageDir !== undefined) await stagePlugins(installed, installed.stageDir, dir);
  return installed;
}

/** `engines.node` of the two packages, as their package.json states it. */
function nodeServes(version: GatewayVersion, nodeVersion: string): boolean {
  const [major = 0, minor = 0] = nodeVersion.replace(/^v/, '').split('.').map(Number);
  if (version === '2026.4.26') return major > 22 || (major === 22 && minor >= 14);
  return (major === 24 && minor >= 16) || major > 26 || (major === 26 && minor >= 1);
}

/** Installs into a temporary folder and renames it, so that a folder with the final name is always complete. */
async function ensurePackage(root: string, name: string, version: string, node: string): Promise<string> {
  const dir = join(root, `${name}-${version}`);
  const marker = join(dir, 'complete.json');
  if (existsSync(marker)) return dir;
  sweep(root);
  const temporary = mkdtempSync(join(root, `.${name}-${version}-`));
  try {
    writeFileSync(join(temporary, 'package.json'), '{"private":true}\n');
    await npmInstall(temporary, `${name}@${version}`, node);
    const manifest: unknown = JSON.parse(readFileSync(join(temporary, 'node_modules', name, 'package.json'), 'utf8'));
    writeFileSync(join(temporary, 'complete.json'), `${JSON.stringify({ name, version: versionOf(manifest) })}\n`);
    try {
      renameSync(temporary, dir);
    } catch (error) {
      // Another run was faster, unless the folder is a leftover without the marker.
      if (existsSync(marker)) return dir;
      if (!existsSync(dir)) throw error;
      rmSync(dir, { recursive: true, force: true });
      renameSync(temporary, dir);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return dir;
}

/** Removes what killed runs left behind. */
function sweep(root: string): void {
  for (const name of readdirSync(root)) {
    const path = join(root, name);
    if (!name.startsWith('.')) continue;
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > 6 * NPM_TIMEOUT) rmSync(path, { recursive: true, force: true });
  }
}

async function npmInstall(prefix: string, spec: string, node: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-npm-'));
  try {
    await run(
      process.platform === 'win32' ? 'npm.cmd' : 'npm',
      [
        'install',
        ...['--prefix', prefix],
        ...['--no-audit', '--no-fund', '--no-package-lock', '--omit=dev', '--prefer-offline', '--loglevel=error'],
        // The node package fetches its binary in an install script.
        '--ignore-scripts=false',
        spec,
      ],
      {
        cwd: prefix,
        // Its install script writes into the state folder, which must not be the user's own.
        env: { ...ownEnvironment(node), OPENCLAW_STATE_DIR: scratch },
        timeout: NPM_TIMEOUT,
        maxBuffer: 16 * 1024 * 1024,
      },
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * One start with the registry at hand fills the stage folder; afterwards the gateway starts without any network.
 * The gateway locks the folder itself, so two runs may do this at once.
 */
async function stagePlugins(installed: Installed, stageDir: string, dir: string): Promise<void> {
  const marker = join(dir, 'staged.json');
  if (existsSync(marker)) return;
  const owner = own(randomUUID());
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-stage-'));
  owner.folders.add(scratch);
  const logFile = join(scratch, 'gateway.log');
  const config = join(scratch, 'openclaw.json');
  const port = await freeBasePort();
  writeFileSync(
    config,
    JSON.stringify({
      gateway: { mode: 'local', port, auth: { mode: 'token', token: 'stage' } },
      logging: { file: join(scratch, 'file.log') },
    }),
  );
  try {
    const child = spawnOwned({
      owner,
      command: installed.node,
      args: [
        installed.entry,
        ...['gateway', 'run', '--port', String(port), '--auth', 'token', '--token', 'stage', '--bind', 'loopback'],
      ],
      cwd: scratch,
      env: {
        ...ownEnvironment(installed.node),
        NO_COLOR: '1',
        TMPDIR: scratch,
        NODE_COMPILE_CACHE: installed.compileCache,
        OPENCLAW_STATE_DIR: join(scratch, 'state'),
        OPENCLAW_HOME: scratch,
        OPENCLAW_CONFIG_PATH: config,
        OPENCLAW_PLUGIN_STAGE_DIR: stageDir,
        OPENCLAW_SKIP_CHANNELS: '1',
        OPENCLAW_NO_RESPAWN: '1',
        OPENCLAW_DISABLE_BONJOUR: '1',
      },
      logFile,
    });
    const log = (): string => readFileSync(logFile, 'utf8');
    const settled = await until(
      () => log().includes('[gateway] ready') || child.pid === undefined || !alive(child.pid),
      STAGE_TIMEOUT,
      250,
    );
    if (!settled || !log().includes('[gateway] ready') || log().includes('failed to stage')) {
      throw new Error(`staging its plugins failed:\n${log().slice(-2000)}`);
    }
    writeFileSync(marker, '{}\n');
  } finally {
    await release(owner, 5000);
  }
}

/** The caller's environment (it may hold proxy and registry settings) without what `npm run` and `c8` added. */
function ownEnvironment(node: string): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [key, value] of Object.entries(process.env)) {
    if (
      /^(npm_(package|lifecycle|command|node_execpath|execpath)|npm_config_(local_prefix|global)|INIT_CWD|NODE_OPTIONS|NODE_V8_COVERAGE|OPENCLAW_)/i.test(
        key,
      )
    ) {
      continue;
    }
    env[key] = value;
  }
  env['PATH'] = [dirname(node), process.env['PATH'] ?? ''].join(delimiter);
  return env;
}

function versionOf(manifest: unknown): string {
  if (
    typeof manifest === 'object' &&
    manifest !== null &&
    'version' in manifest &&
    typeof manifest.version === 'string'
  ) {
    return manifest.version;
  }
  throw new Error('the installed package has no version');
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const stderr = 'stderr' in error && typeof error.stderr === 'string' ? error.stderr.trim() : '';
  return stderr === '' ? error.message : `${error.message.split('\n')[0] ?? ''}\n${stderr.slice(-2000)}`;
}
