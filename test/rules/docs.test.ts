/** The documents, held to the code: what they show runs, and what they list is neither more nor less than what there is. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { probeCommand } from '../../lib/cli/probe.js';
import { statusCommand } from '../../lib/cli/status.js';
import { type ClientOptions, parseOptions } from '../../lib/core/options.js';
import { type CallOutcome, EXIT, REASONS } from '../../lib/core/vocabulary.js';
import { createClient } from '../../lib/index.js';
import { systemRuntime } from '../../lib/io/runtime.js';
import { createTestGateway } from '../../lib/testing/index.js';
import { VERSION } from '../../lib/version.js';
import { scratch } from '../support/liveness-records.js';
import { Consumer } from './consumer.js';
import { anchorsOf, codeOf, linksOf, rowsOf, sectionOf, snippetsOf } from './markdown.js';
import { BUILT_LIB, filesBelow, nodes, parse, ROOT, read } from './repository.js';

const DOCUMENTS = ['README.md', 'BEHAVIOUR.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs/liveness.md'];

const README = read('README.md');

function first(section: string): string[] {
  return rowsOf(sectionOf(README, section)).map(([cell = '']) => codeOf(cell)[0] ?? cell);
}

/** The interface of this name. */
function interfaceOf(file: string, name: string): ts.InterfaceDeclaration {
  const found = parse(file).statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
  assert.ok(found !== undefined && ts.isInterfaceDeclaration(found), `${file} has no interface ${name}`);
  return found;
}

/** Paths of the options, as deep as they go: `reconnect.restart.window`. */
function optionPaths(members: readonly ts.TypeElement[], prefix = ''): string[] {
  return members.flatMap((member) => {
    assert.ok(ts.isPropertySignature(member) && member.type !== undefined);
    const path = prefix + member.name.getText();
    const groups = (ts.isUnionTypeNode(member.type) ? [...member.type.types] : [member.type]).flatMap((type) => {
      if (ts.isTypeLiteralNode(type)) return [...type.members];
      const name = ts.isTypeReferenceNode(type) ? type.typeName.getText() : '';
      return ['ReconnectOptions', 'CallDefaults', 'DeviceOptions'].includes(name)
        ? [...interfaceOf('lib/core/options.ts', name).members]
        : [];
    });
    return groups.length === 0 ? [path] : optionPaths(groups, `${path}.`);
  });
}

/** A literal of the documents. */
function parseLiteral(literal: string): unknown {
  return JSON.parse(literal.replaceAll("'", '"'));
}

describe('README', () => {
  let consumer: Consumer;

  before('compiles every example of every document', async function () {
    this.timeout(60_000);
    consumer = new Consumer();
    for (const file of DOCUMENTS) {
      snippetsOf(read(file)).forEach(({ run, code }, index) => {
        consumer.add(run ?? `${file.replaceAll(/\W/g, '-')}-${index + 1}`, code);
      });
    }
    assert.equal(await consumer.compile(), '');
  });

  after('removes them', () => consumer[Symbol.dispose]());

  it('shows a host that rides through a restart and stops when it is asked', async () => {
    await using gateway = await createTestGateway({ timings: { startingMs: 0 } });
    using host = await consumer.start('host', gateway);
    await host.said(/handshaking → online/);
    await gateway.restart();
    await host.said(/online → waiting gateway-restart\s[\s\S]*handshaking → online/);
    host.process.kill('SIGTERM');
    const { code, stdout } = await host.finished;
    assert.equal(code, 0);
    assert.match(stdout, /→ stopped/);
  });

  it('shows a probe that finds that host stopped, and a file that is not there missing', async () => {
    const { finished } = await consumer.start('probe');
    const { code, stdout } = await finished;
    assert.equal(code, 0);
    assert.match(stdout, /^false (dead-writer closed by its owner|missing no such file)/);
  });

  it('shows a backend that makes a call', async () => {
    await using gateway = await createTestGateway();
    const { finished } = await consumer.start('backend', gateway);
    const { code, stdout, stderr } = await finished;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /agents: \[/);
    assert.deepEqual(
      gateway.ledger.map(({ method, executed }) => ({ method, executed })).filter(({ method }) => method !== 'connect'),
      [{ method: 'agents.list', executed: true }],
    );
  });

  it('shows a test with the embedded gateway', async () => {
    const { finished } = await consumer.start('testing');
    const { code, stdout, stderr } = await finished;
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'the restart ended and the client is online\n');
  });

  it('is between 150 and 330 lines', () => {
    const lines = README.trimEnd().split('\n').length;
    assert.ok(lines >= 150 && lines <= 330, `${lines} lines`);
  });

  it('lists every option, and no other', () => {
    const documented = first('options');
    assert.deepEqual(documented, optionPaths([...interfaceOf('lib/core/options.ts', 'ClientOptions').members]));
  });

  it('lists options that are accepted', async () => {
    using dir = scratch();
    const samples: ClientOptions = {
      url: 'ws://127.0.0.1:1',
      token: 'secret',
      password: 'secret',
      client: { displayName: 'name' },
      device: { stateDir: dir.at('state') },
      tls: { fingerprint: 'aa', ca: 'pem' },
      reconnect: { fleet: { size: 1, acceptRate: 1 } },
      giveUp: { after: 1, maxAttempts: 1 },
      heartbeat: { timeout: 1, ping: 1 },
      call: { maxAttempts: 1, safety: 'read' },
      liveness: { file: dir.at('live.json') },
      logger: false,
      runtime: systemRuntime,
    };
    const options: Record<string, unknown> = {};
    for (const [cell = '', fallback = ''] of rowsOf(sectionOf(README, 'options'))) {
      const [path = ''] = codeOf(cell);
      const keys = path.split('.');
      const literal = codeOf(fallback)[0];
      const sample = keys.reduce<unknown>(
        (value, key) => (value as Record<string, unknown> | undefined)?.[key],
        samples,
      );
      const value = sample ?? (path === 'client.version' ? '1' : parseLiteral(literal ?? 'null'));
      assert.notEqual(value, null, `no sample for ${path}`);
      const last = keys.pop() ?? '';
      const group = keys.reduce<Record<string, unknown>>((at, key) => {
        at[key] ??= {};
        return at[key] as Record<string, unknown>;
      }, options);
      group[last] = value;
    }
    await createClient(options as unknown as ClientOptions).close();
  });

  it('says the defaults that hold', () => {
    const { policy, call, liveness, ...settings } = parseOptions({ url: 'ws://127.0.0.1:1' }, 'label', VERSION);
    const { outage, restart, blocked } = policy;
    const real: Record<string, unknown> = {
      role: settings.role,
      scopes: settings.scopes,
      'client.id': settings.client.id,
      'client.mode': settings.client.mode,
      allowPlaintext: settings.allowPlaintext,
      'reconnect.initialDelay': outage.initialDelay,
      'reconnect.maxDelay': outage.maxDelay,
      'reconnect.factor': outage.factor,
      'reconnect.jitter': outage.jitter,
      'reconnect.restart.initialDelay': restart.loopback.initialDelay,
      'reconnect.restart.maxDelay': restart.loopback.maxDelay,
      'reconnect.restart.factor': restart.loopback.factor,
      'reconnect.restart.window': restart.window,
      'reconnect.minUptime': policy.minUptime,
      'reconnect.connectTimeout': policy.connectTimeout,
      'blocked.initialDelay': blocked.initialDelay,
      'blocked.maxDelay': blocked.maxDelay,
      onPermanent: policy.onPermanent,
      'call.timeout': call.timeout,
      'call.deadline': call.deadline,
      'call.retry': call.retry,
      'liveness.interval': liveness.interval,
    };
    const rows = rowsOf(sectionOf(README, 'options'));
    const said = Object.fromEntries(
      rows.flatMap(([cell = '', fallback = '']) => {
        const [literal] = codeOf(fallback);
        return literal === undefined ? [] : [[codeOf(cell)[0], parseLiteral(literal)]];
      }),
    );
    assert.deepEqual(said, real);
    for (const key of ['initialDelay', 'maxDelay', 'factor'] as const) {
      const [, , why = ''] = rows.find(([cell = '']) => cell.includes(`reconnect.restart.${key}`)) ?? [];
      assert.ok(why.includes(`rom afar \`${restart.remote[key]}\``), `${key} from afar is ${restart.remote[key]}`);
    }
  });

  it('lists every reason, every outcome and every exit code, and no other', () => {
    const outcomes: Readonly<Record<CallOutcome, true>> = {
      executed: true,
      'not-sent': true,
      'not-executed': true,
      unknown: true,
    };
    assert.deepEqual(first('reasons'), [...REASONS]);
    assert.deepEqual(first('outcomes'), Object.keys(outcomes));
    assert.deepEqual(
      first('exit codes').map(Number),
      Object.values(EXIT).sort((a, b) => a - b),
    );
  });

  it('lists every event with every field', () => {
    const events = interfaceOf('lib/api/events.ts', 'ClientEvents').members;
    assert.deepEqual(
      first('events'),
      events.map((member) => member.name?.getText()),
    );
    for (const [cell = '', fields = ''] of rowsOf(sectionOf(README, 'events'))) {
      const member = events.find(({ name }) => name?.getText() === codeOf(cell)[0]);
      assert.ok(member !== undefined && ts.isPropertySignature(member) && member.type !== undefined);
      const names = interfaceOf('lib/api/events.ts', member.type.getText()).members.map(
        ({ name }) => name?.getText() ?? '',
      );
      const missing = names.filter((name) => !codeOf(fields).includes(name));
      assert.deepEqual(missing, [], `fields of ${cell}`);
    }
  });

  it('lists every flag of every command, and no other', async () => {
    const documented = Object.fromEntries(
      rowsOf(sectionOf(README, 'commands')).map(([command = '', flags = '']) => [
        codeOf(command)[0]?.replace('holdfast ', ''),
        codeOf(flags).sort(),
      ]),
    );
    const inHelp: Record<string, string[]> = {};
    using commands = new Consumer();
    for (const command of Object.keys(documented)) {
      const { code, stdout } = await commands.spawn([join(BUILT_LIB, 'cli/main.js'), command, '--help']).finished;
      assert.equal(code, 0, command);
      inHelp[command] = [...new Set(stdout.match(/--[a-z][a-z-]*/g))].filter((flag) => flag !== '--help').sort();
    }
    const general = await commands.spawn([join(BUILT_LIB, 'cli/main.js'), '--help']).finished;
    const named = [...general.stdout.matchAll(/^ {2}holdfast (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual(Object.keys(documented), named);
    assert.deepEqual(documented, inHelp);

    // The help, in turn, is held to what is parsed.
    for (const command of ['host', 'gateway', 'demo']) {
      const source = parse(`lib/cli/${command}.ts`);
      const spec = [...nodes(source)].find((node) => ts.isVariableDeclaration(node) && node.name.getText() === 'SPEC');
      const keys = [...nodes(spec ?? source)].filter(
        (node) => ts.isPropertyAssignment(node) && ts.isObjectLiteralExpression(node.initializer),
      );
      assert.deepEqual(
        keys.map((node) => `--${node.getFirstToken()?.getText().replaceAll("'", '')}`).sort(),
        inHelp[command],
        command,
      );
    }
    for (const [command, call] of Object.entries({ probe: probeCommand, status: statusCommand })) {
      for (const flag of [...(inHelp[command] ?? []), '--no-such-flag']) {
        let said = '';
        const output = { write: (text: string) => (said += text) };
        // Asked wrongly for another reason, a flag twice at the end, so that nothing is looked at.
        assert.equal(await call([flag, '--help-me'], { stdout: output, stderr: output }), 2);
        assert.equal(said.includes(`unknown flag ${flag}`), flag === '--no-such-flag', said);
      }
    }
  });
});

describe('documents', () => {
  it('link to files and headings that exist', () => {
    const broken = DOCUMENTS.flatMap((file) =>
      linksOf(read(file)).flatMap((link) => {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? file : join(dirname(file), path);
        const there =
          existsSync(join(ROOT, target)) && (anchor === undefined || anchorsOf(read(target)).includes(anchor));
        return there ? [] : [`${file}: ${link}`];
      }),
    );
    assert.deepEqual(broken, []);
  });

  it('name no machine, no registry and no address but loopback', () => {
    const files = [...DOCUMENTS, '.ci/run', ...filesBelow('examples', '.ts')];
    for (const file of files) {
      const text = read(file);
      assert.doesNotMatch(text, /(^|[\s"'`(])\/(home|root|work|Users)\//m, file);
      assert.doesNotMatch(text, /registry\.|npmjs|artifactory|verdaccio/i, file);
      const hosts = [...text.matchAll(/(?:wss?|https?):\/\/([\w.-]+)/g)].map(([, host]) => host);
      assert.deepEqual(
        hosts.filter((host) => host !== '127.0.0.1' && host !== 'keepachangelog.com' && host !== 'semver.org'),
        [],
        file,
      );
    }
  });
});

/** `### R12 Title`, its text, and a last paragraph that begins with `Held by:`. */
interface BehaviourRule {
  readonly number: number;
  readonly text: string;
  /** What holds it: files, each with titles of tests in it. */
  readonly held: readonly { readonly file: string; readonly titles: readonly string[] }[];
}

function behaviourRules(): BehaviourRule[] {
  return read('BEHAVIOUR.md')
    .split(/^### R/m)
    .slice(1)
    .map((part) => {
      const [text = '', held = ''] = part.split('Held by:');
      const entries = [...(held.split(/^## /m)[0] ?? '').matchAll(/`(test\/[^`]+)`((?:[^`]|`(?!test\/))*)/g)];
      return {
        number: Number(/^\d+/.exec(part)?.[0]),
        text,
        held: entries.map(([, file = '', rest = '']) => ({
          file,
          titles: [...rest.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title),
        })),
      };
    });
}

describe('BEHAVIOUR', () => {
  const rules = behaviourRules();

  it('numbers its rules from 1 without a gap', () => {
    assert.ok(rules.length > 0);
    assert.deepEqual(
      rules.map(({ number }) => number),
      rules.map((_rule, index) => index + 1),
    );
  });

  it('gives a reason for every rule', () => {
    const without = rules.filter(({ text }) => !text.includes('*Why:*')).map(({ number }) => `R${number}`);
    assert.deepEqual(without, []);
  });

  it('names tests that exist, at least one for each rule', () => {
    const moved = (title: string): string => {
      const now = filesBelow('test', '.ts').find((file) => read(file).includes(title));
      return now === undefined ? '' : `: it is in ${now}`;
    };
    const missing = rules.flatMap(({ number, held }) => {
      if (!held.some(({ titles }) => titles.length > 0)) return [`R${number} is held by no test`];
      return held.flatMap(({ file, titles }) => {
        if (!existsSync(join(ROOT, file))) return [`R${number}: no file ${file}`];
        const source = read(file).replaceAll("\\'", "'");
        return titles
          .filter((title) => !source.includes(title))
          .map((title) => `R${number}: ${file} has no test “${title}”${moved(title)}`);
      });
    });
    assert.deepEqual(missing, []);
  });

  it('is known to the tests that name a rule by its number', () => {
    const named = [...read('test/rules/behaviour.test.ts').matchAll(/\bit\('R(\d+) /g)].map(([, number]) =>
      Number(number),
    );
    assert.ok(named.length > 0);
    for (const number of named) {
      const held = rules.find((rule) => rule.number === number)?.held ?? [];
      assert.ok(
        held.some(({ titles }) => titles.some((title) => title.startsWith(`R${number} `))),
        `R${number} is not held by it`,
      );
    }
  });

  it('has every reason in it or in the README', () => {
    const text = README + read('BEHAVIOUR.md');
    assert.deepEqual(
      REASONS.filter((reason) => !text.includes(`\`${reason}\``)),
      [],
    );
  });
});
