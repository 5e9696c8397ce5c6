// Runs a real OpenClaw gateway on loopback with throw-away state, for one test.
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { type GatewayVersion, type Installed, installGateway } from './install.js';
import {
  alive,
  freeBasePort,
  killNow,
  type Ownership,
  own,
  release,
  signalGroup,
  spawnOwned,
  until,
} from './processes.js';
import { dialUntilHello, isReady, isRecord, type RawOperator } from './wire.js';

export interface StartGatewayOptions {
  readonly version: GatewayVersion;
  readonly token?: string;
  readonly port?: number;
  /** Lets 4.26 restart by its own default: a detached successor with a new pid, and about 6 s without a listener. */
  readonly respawn?: boolean;
  /** Milliseconds until hello-ok. A first start on a slow machine takes up to a minute. */
  readonly startTimeout?: number;
  /** Merged over the `gateway` section of the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}

export interface RealGateway {
  readonly version: GatewayVersion;
  readonly url: string;
  readonly httpUrl: string;
  readonly port: number;
  /** The shared token now in force; see `setToken`. */
  readonly token: string;
  /** Of the process that serves now: with `respawn` it changes at every restart of 4.26. */
  readonly pid: number;
  readonly stateDir: string;
  /** An empty folder for the workspaces of agents. */
  readonly workspaceDir: string;
  readonly running: boolean;
  log(): string;
  logTail(lines?: number): string;
  /** A raw operator connection; the caller closes it. */
  operator(timeout?: number): Promise<RawOperator>;
  /** Starts again on the same port and state, and waits for hello-ok and /readyz. */
  start(): Promise<void>;
  /** Asks for a restart and returns once it is accepted: an RPC on 9.6, SIGUSR1 on 4.26. Coming back is not awaited. */
  restartRequest(): Promise<unknown>;
  /** A crash. Returns when the process is gone. */
  kill9(): Promise<void>;
  /** A terminal stop. Returns when the process is gone. */
  stopTerm(timeout?: number): Promise<void>;
  sigstop(): void;
  sigcont(): void;
  /** The next `start()` uses this token. */
  setToken(token: string): void;
  /** Ends every process, removes every folder. Idempotent. */
  dispose(): Promise<void>;
}

const START_TIMEOUT = 120_000;
const STOP_TIMEOUT = 60_000;

export async function startGateway(options: StartGatewayOptions): Promise<RealGateway> {
  const installed = await installGateway(options.version);
  // A port that was free may be taken before the gateway listens; only a fixed one is final.
  for (let attempt = 1; ; attempt++) {
    const gateway = new Launched(installed, options, options.port ?? (await freeBasePort()));
    try {
      await gateway.start();
      return gateway;
    } catch (error) {
      const taken = /EADDRINUSE|already in use/i.test(gateway.log());
      await gateway.dispose();
      if (!taken || options.port !== undefined || attempt === 3) throw error;
    }
  }
}

class Launched implements RealGateway {
  readonly version: GatewayVersion;
  readonly port: number;
  readonly url: string;
  readonly httpUrl: string;
  readonly stateDir: string;
  readonly workspaceDir: string;
  private readonly installed: Installed;
  private readonly options: StartGatewayOptions;
  private readonly owner: Ownership;
  private readonly root: string;
  private readonly logFile: string;
  private readonly configFile: string;
  private child: ChildProcess | undefined;
  private logOffset = 0;
  private currentToken: string;

  constructor(installed: Installed, options: StartGatewayOptions, port: number) {
    this.installed = installed;
    this.options = options;
    this.version = options.version;
    this.port = port;
    this.url = `ws://127.0.0.1:${port}`;
    this.httpUrl = `http://127.0.0.1:${port}`;
    this.currentToken = options.token ?? randomUUID();
    this.owner = own(randomUUID());
    this.root = mkdtempSync(join(tmpdir(), 'holdfast-gw-'));
    this.owner.folders.add(this.root);
    this.stateDir = join(this.root, 'state');
    this.workspaceDir = join(this.root, 'workspace');
    this.logFile = join(this.root, 'gateway.log');
    this.configFile = join(this.root, 'openclaw.json');
    for (const folder of [this.stateDir, this.workspaceDir, join(this.root, 'home'), join(this.root, 'tmp')]) {
      mkdirSync(folder, { recursive: true });
    }
    writeFileSync(this.logFile, '');
    this.writeConfig();
  }

  get token(): string {
    return this.currentToken;
  }

  get pid(): number {
    const first = this.child?.pid;
    if (first === undefined) throw new Error('the gateway was never started');
    // A successor says its pid only here; it inherits the log file.
    const spawned = [
      ...this.log()
        .slice(this.logOffset)
        .matchAll(/\(spawned pid (\d+)\)/g),
    ].at(-1)?.[1];
    return spawned === undefined ? first : Number(spawned);
  }

  get running(): boolean {
    return this.child?.pid !== undefined && alive(this.pid);
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  logTail(lines = 40): string {
    return this.log().trimEnd().split('\n').slice(-lines).join('\n');
  }

  operator(timeout = 20_000): Promise<RawOperator> {
    return dialUntilHello(this.url, this.currentToken, timeout);
  }

  async start(): Promise<void> {
    if (this.running) throw new Error('the gateway is running already');
    const timeout = this.options.startTimeout ?? START_TIMEOUT;
    const end = performance.now() + timeout;
    this.logOffset = this.log().length;
    this.child = spawnOwned({
      owner: this.owner,
      command: this.installed.node,
      args: [
        this.installed.entry,
        ...['gateway', 'run', '--port', String(this.port), '--auth', 'token', '--token', this.currentToken],
        ...['--bind', 'loopback'],
      ],
      cwd: this.root,
      env: this.environment(),
      logFile: this.logFile,
    });
    let failure: string | undefined;
    this.child.once('error', (error) => {
      failure = error.message;
    });
    const verdict = (): string | undefined => failure ?? (this.running ? undefined : 'the process has ended');
    try {
      const probe = await dialUntilHello(this.url, this.currentToken, timeout, verdict);
      probe.close();
      // 4.26 says hello while its sidecars still start.
      const ready = await until(() => isReady(this.httpUrl), Math.max(1000, end - performance.now()), 100);
      if (!ready) throw new Error('/readyz never said ready');
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`openclaw@${this.version} did not start: ${why}\n${this.logTail()}`, { cause: error });
    }
  }

  async restartRequest(): Promise<unknown> {
    if (this.version === '2026.4.26') {
      process.kill(this.pid, 'SIGUSR1');
      return undefined;
    }
    const operator = await this.operator();
    try {
      return await operator.call('gateway.restart.request', { reason: 'operator asked' });
    } finally {
      operator.close();
    }
  }

  async kill9(): Promise<void> {
    const pid = this.pid;
    killNow(this.owner);
    if (!(await until(() => !alive(pid), 10_000, 10))) throw new Error(`process ${pid} survived SIGKILL`);
  }

  async stopTerm(timeout = STOP_TIMEOUT): Promise<void> {
    const pid = this.pid;
    process.kill(pid, 'SIGTERM');
    if (!(await until(() => !alive(pid), timeout, 20))) {
      throw new Error(`openclaw@${this.version} did not stop within ${timeout} ms\n${this.logTail()}`);
    }
  }

  sigstop(): void {
    signalGroup(this.pid, 'SIGSTOP');
  }

  sigcont(): void {
    signalGroup(this.pid, 'SIGCONT');
  }

  setToken(token: string): void {
    this.currentToken = token;
    // Only this value changes: a config that lost what the gateway added is replaced from its backup.
    const config: unknown = JSON.parse(readFileSync(this.configFile, 'utf8'));
    if (!isRecord(config) || !isRecord(config['gateway'])) throw new Error('the gateway has no usable configuration');
    config['gateway'] = { ...config['gateway'], auth: { mode: 'token', token } };
    writeFileSync(this.configFile, JSON.stringify(config));
  }

  async dispose(): Promise<void> {
    await release(this.owner, 10_000);
  }

  private writeConfig(): void {
    const quiet = {
      update: { checkOnStart: false },
      // Background traffic that 9.6 would send beyond loopback.
      ...(this.version === '2026.9.6' ? { models: { catalogRefresh: { enabled: false } } } : {}),
    };
    const config = {
      gateway: {
        mode: 'local',
        port: this.port,
        auth: { mode: 'token', token: this.currentToken },
        http: { endpoints: { chatCompletions: { enabled: true } } },
        ...this.options.config,
      },
      logging: { file: join(this.root, 'file.log') },
      ...quiet,
    };
    writeFileSync(this.configFile, JSON.stringify(config), { mode: 0o600 });
  }

  private environment(): NodeJS.ProcessEnv {
    return {
      // Nothing of the caller's: no credentials, no proxy, no debugger.
      PATH: [dirname(this.installed.node), '/usr/local/bin', '/usr/bin', '/bin'].join(delimiter),
      LANG: 'C.UTF-8',
      TZ: 'UTC',
      NO_COLOR: '1',
      HOME: join(this.root, 'home'),
      TMPDIR: join(this.root, 'tmp'),
      NODE_COMPILE_CACHE: this.installed.compileCache,
      // Otherwise 9.6 starts itself once more below the first process, to use a cache folder per version.
      OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED: '1',
      OPENCLAW_STATE_DIR: this.stateDir,
      OPENCLAW_CONFIG_PATH: this.configFile,
      OPENCLAW_SKIP_CHANNELS: '1',
      OPENCLAW_DISABLE_BONJOUR: '1',
      OPENCLAW_NO_AUTO_UPDATE: '1',
      ...(this.options.respawn === true ? {} : { OPENCLAW_NO_RESPAWN: '1' }),
      ...(this.installed.stageDir === undefined ? {} : { OPENCLAW_PLUGIN_STAGE_DIR: this.installed.stageDir }),
      ...this.options.env,
    };
  }
}
