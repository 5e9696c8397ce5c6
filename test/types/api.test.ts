/** The public types: what the compiler must accept and refuse. Compiling this file is most of the test. */
import assert from 'node:assert/strict';
import { expectTypeOf } from 'expect-type';
import {
  type AttemptEvent,
  type CallAttempt,
  type CallOptions,
  type CallOutcome,
  type ClientEvent,
  type ClientEvents,
  type ClientOptions,
  createClient,
  type GatewayClient,
  type GatewayError,
  type Health,
  type Hello,
  isGatewayError,
  type Outcome,
  type Reason,
  type RestartEvent,
  type Safety,
  type Secret,
  type StateEvent,
  type Status,
  type StopOutcome,
} from '../../lib/index.js';
import { type ProbeOptions, type ProbeResult, probe, type Verdict } from '../../lib/probe.js';
import { createTestGateway, type Fault, type TestGateway } from '../../lib/testing/index.js';

describe('public types', () => {
  it('of the words are closed unions', () => {
    expectTypeOf<Status>().toEqualTypeOf<
      'idle' | 'connecting' | 'handshaking' | 'online' | 'waiting' | 'blocked' | 'closing' | 'stopped'
    >();
    expectTypeOf<CallOutcome>().toEqualTypeOf<'executed' | 'not-sent' | 'not-executed' | 'unknown'>();
    expectTypeOf<Safety>().toEqualTypeOf<'read' | 'repeatable' | 'keyed' | 'once'>();
    expectTypeOf<StopOutcome>().toEqualTypeOf<'closed' | 'gave-up' | 'fatal'>();
    expectTypeOf<'gateway-restart' | 'outage' | 'local'>().toExtend<Reason>();
    expectTypeOf<string>().not.toExtend<Reason>();
  });

  it('of the options need an address and take no unknown key', () => {
    expectTypeOf<{ url: string }>().toExtend<ClientOptions>();
    expectTypeOf<{ token: string }>().not.toExtend<ClientOptions>();
    expectTypeOf<ClientOptions['url']>().toEqualTypeOf<string | (() => string | Promise<string>)>();
    expectTypeOf<{ file: string }>().toExtend<Secret>();
    expectTypeOf<() => Promise<string>>().toExtend<Secret>();
    // @ts-expect-error: a misspelt option
    const misspelt: ClientOptions = { url: 'ws://127.0.0.1:1', reconect: {} };
    assert.throws(() => createClient(misspelt), /unknown "reconect"/);
    // @ts-expect-error: no address
    assert.throws(() => createClient({}), /url/);
    // @ts-expect-error: with exactOptionalPropertyTypes an option is given or left out
    const open: ClientOptions = { url: 'ws://127.0.0.1:1', role: undefined };
    expectTypeOf(open).toEqualTypeOf<ClientOptions>();
  });

  it('of a client', () => {
    expectTypeOf(createClient).parameters.toEqualTypeOf<[ClientOptions]>();
    expectTypeOf(createClient).returns.toEqualTypeOf<GatewayClient>();
    expectTypeOf<GatewayClient>().toExtend<AsyncDisposable>();
    expectTypeOf<GatewayClient['ready']>().returns.resolves.toEqualTypeOf<Hello>();
    expectTypeOf<GatewayClient['done']>().resolves.toEqualTypeOf<Outcome>();
    expectTypeOf<GatewayClient['health']>().returns.toEqualTypeOf<Health>();
    expectTypeOf<GatewayClient['close']>().returns.resolves.toBeVoid();
    expectTypeOf<GatewayClient['events']>().returns.toEqualTypeOf<AsyncIterable<ClientEvent>>();
    expectTypeOf<Outcome>().toExtend<{ readonly exitCode: number; readonly outcome: StopOutcome }>();
    expectTypeOf<CallOptions>().toExtend<{ signal?: AbortSignal; timeout?: number; deadline?: number }>();
  });

  it('of a call: its result is what the caller says, or unknown', () => {
    const client: GatewayClient = createClient({ url: 'ws://127.0.0.1:1', logger: false });
    const call = (): Promise<{ n: number }> => client.call<{ n: number }>('my.method', { a: 1 }, { timeout: 5 });
    expectTypeOf(call).returns.resolves.toEqualTypeOf<{ n: number }>();
    const bare = () => client.call('my.method');
    expectTypeOf(bare).returns.resolves.toBeUnknown();
    // @ts-expect-error: a retry that does not exist
    const wrong: CallOptions = { retry: 'sometimes' };
    expectTypeOf(wrong).toEqualTypeOf<CallOptions>();
    return client.close();
  });

  it('of the events: each listener gets its own record', () => {
    const client = createClient({ url: 'ws://127.0.0.1:1', logger: false });
    const off = client.on('state', (event) => expectTypeOf(event).toEqualTypeOf<StateEvent>());
    client.on('attempt', (event) => expectTypeOf(event).toEqualTypeOf<AttemptEvent>());
    client.on('restart', ({ phase }) => expectTypeOf(phase).toEqualTypeOf<RestartEvent['phase']>());
    expectTypeOf(off).toEqualTypeOf<() => void>();
    expectTypeOf<keyof ClientEvents>().toEqualTypeOf<
      'state' | 'attempt' | 'restart' | 'retry' | 'event' | 'gap' | 'giveup'
    >();
    expectTypeOf<ClientEvent['type']>().toEqualTypeOf<keyof ClientEvents>();
    expectTypeOf<Extract<ClientEvent, { type: 'gap' }>['expected']>().toBeNumber();
    // @ts-expect-error: there is no `error` event
    client.on('error', () => {});
    return client.close();
  });

  it('of an error: narrowed by isGatewayError', () => {
    const seen: unknown = new Error('other');
    if (isGatewayError(seen, 'outage')) {
      expectTypeOf(seen).toEqualTypeOf<GatewayError>();
      expectTypeOf(seen.reason).toEqualTypeOf<Reason>();
      expectTypeOf(seen.attempts).toEqualTypeOf<readonly CallAttempt[]>();
    } else {
      expectTypeOf(seen).toBeUnknown();
    }
    assert.equal(isGatewayError(seen), false);
    // @ts-expect-error: no such reason
    isGatewayError(seen, 'tired');
  });

  it('of the probe and of the embedded gateway', () => {
    expectTypeOf(probe).parameters.toEqualTypeOf<[ProbeOptions]>();
    expectTypeOf(probe).returns.resolves.toEqualTypeOf<ProbeResult>();
    expectTypeOf<ProbeResult['verdict']>().toEqualTypeOf<Verdict>();
    expectTypeOf(createTestGateway).returns.resolves.toEqualTypeOf<TestGateway>();
    expectTypeOf<{ name: 'silent' }>().toExtend<Fault>();
    expectTypeOf<{ name: 'no such fault' }>().not.toExtend<Fault>();
  });
});
