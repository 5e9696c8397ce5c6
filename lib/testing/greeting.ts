import { randomUUID } from 'node:crypto';
import { type Connection, parseJson } from './connection.js';
import { invalid, type Refusal } from './errors.js';
import { injectedRefusal, judgeConnect } from './handshake.js';
import { helloOk, type Identity, spoiled } from './hello.js';
import type { Host } from './host.js';
import type { Entry } from './ledger.js';
import { spoiledChallenge, strayFrame } from './odd-frames.js';
import { isRecord, stringAt } from './validate.js';

/** Frames that may wait behind a `connect` that is being judged. */
const WAITING_FRAMES = 15;

/** A connection from its 101 to its hello: challenge, `connect`, verdict. */
export class Greeting {
  readonly #host: Host;
  readonly #connection: Connection;
  readonly #nonce: string = randomUUID();
  #stage: 'waiting' | 'judging' | 'over' = 'waiting';
  #behind: string[] = [];

  constructor(host: Host, connection: Connection) {
    this.#host = host;
    this.#connection = connection;
  }

  begin(): void {
    const { faults, timings } = this.#host;
    if (faults.get('echo') !== undefined) return;
    if (faults.get('foreign') !== undefined) {
      this.#connection.raw('{"jsonrpc":"2.0","method":"welcome","params":[]}');
      return;
    }
    // The timer of a real gateway starts when TCP is accepted.
    const left = timings.handshakeTimeoutMs - (Date.now() - this.#connection.wire.acceptedAt);
    this.#connection.after(Math.max(0, left), () => this.#late());
    if (faults.take('no-challenge') === undefined) this.#challenge();
    if (faults.take('early-events') !== undefined) this.#early();
  }

  end(): void {
    this.#stage = 'over';
    this.#behind = [];
  }

  message(text: string): void {
    if (this.#stage === 'waiting') this.#first(text);
    else if (this.#stage === 'judging') this.#queue(text);
  }

  #challenge(): void {
    const payload = {
      nonce: this.#nonce,
      ts: Date.now(),
      ...(this.#host.profile.verbose ? { capabilities: ['model-catalog-snapshot'] } : {}),
    };
    const bad = this.#host.faults.take('bad-challenge');
    const variant = bad === undefined ? undefined : (bad.variant ?? 'missing');
    this.#connection.targeted(
      'connect.challenge',
      variant === undefined ? payload : spoiledChallenge(payload, variant),
    );
    if (variant === 'twice') this.#connection.targeted('connect.challenge', { ...payload, nonce: randomUUID() });
  }

  #early(): void {
    const ts = Date.now();
    this.#connection.send({ type: 'event', event: 'tick', payload: { ts }, seq: 1 });
    this.#connection.send({ type: 'event', event: 'presence', payload: {}, seq: 2 });
    this.#connection.targeted('connect.challenge', { nonce: randomUUID(), ts });
  }

  #late(): void {
    this.#host.log(`conn ${this.#connection.record.conn}: handshake timeout`);
    this.#connection.close(1000, '');
  }

  /** The first frame must be `connect`. */
  #first(text: string): void {
    this.#stage = 'judging';
    const frame = parseJson(text);
    if (Buffer.byteLength(text) > this.#host.limits.preauthPayload) this.#connection.close(1009, '');
    else if (frame === undefined) this.#connection.close(1000, '');
    else if (this.#connection.objection(frame) !== undefined || !isRecord(frame)) {
      this.#connection.close(1008, 'invalid request frame');
    } else this.#judge(this.#connection.enter(frame));
  }

  #queue(text: string): void {
    this.#behind.push(text);
    if (this.#behind.length > WAITING_FRAMES && this.#host.profile.drainGate) {
      this.#connection.close(1008, 'too many pending handshake frames');
    }
  }

  #judge(entry: Entry): void {
    if (entry.method !== 'connect') {
      const message = 'invalid handshake: first request must be connect';
      this.#refuse(entry, { error: invalid(message), closeCode: 1008, closeReason: message });
      return;
    }
    const { faults } = this.#host;
    if (faults.take('no-hello') !== undefined) return;
    const role = stringAt(entry.params, 'role') ?? 'operator';
    const injected = faults.take('reject-connect', (fault) => (fault.role ?? role) === role);
    if (injected !== undefined) {
      this.#refuse(entry, injectedRefusal(injected));
      return;
    }
    const verdict = judgeConnect(this.#host, entry.params, this.#nonce, this.#connection.wire.remoteAddress);
    if (verdict.ok) this.#accept(entry, verdict.identity);
    else if (verdict.delayMs === 0) this.#refuse(entry, verdict.refusal);
    else this.#connection.after(verdict.delayMs, () => this.#refuse(entry, verdict.refusal));
  }

  #refuse(entry: Entry, refusal: Refusal): void {
    const { error, closeCode, closeReason } = refusal;
    if (error !== undefined) this.#connection.respond(entry, { error }, true);
    this.#host.log(`conn ${this.#connection.record.conn}: connect refused: ${closeReason}`);
    if (closeCode !== null) this.#connection.close(closeCode, closeReason);
  }

  #accept(entry: Entry, identity: Identity): void {
    const connection = this.#connection;
    const { clientId, deviceId, role } = identity;
    const connId = randomUUID();
    const hello = helloOk(this.#host, identity, connId);
    const bad = this.#host.faults.take('bad-hello');
    entry.executed = true;
    connection.respond(entry, { payload: bad === undefined ? hello : spoiled(hello, bad) }, true);
    connection.identity = identity;
    Object.assign(connection.record, { hello: true, role, clientId, connId });
    if (deviceId !== undefined) connection.record.deviceId = deviceId;
    this.#host.log(`conn ${connection.record.conn}: hello to ${clientId} (${role})`);
    connection.begin();
    this.#register(identity);
    this.#disturb();
    this.#host.changed();
    for (const text of this.#behind.splice(0)) connection.frame(text);
  }

  #register({ role, deviceId, commands }: Identity): void {
    if (role !== 'node' || deviceId === undefined) return;
    const auto = this.#host.nodeCommandsMode === 'auto';
    const request = this.#host.nodes.register(deviceId, this.#connection, commands, auto);
    if (request !== undefined) this.#host.broadcast('node.pair.requested', request);
  }

  /** Faults that wait for a hello. */
  #disturb(): void {
    const { faults } = this.#host;
    const wrong = faults.get('wrong-frames');
    const stray = wrong === undefined ? undefined : strayFrame(wrong.variant ?? 'broken-json');
    if (stray !== undefined && faults.take('wrong-frames') !== undefined) this.#connection.raw(stray);
    const drop = faults.take('drop-after-hello');
    if (drop === undefined) return;
    this.#connection.after(drop.ms ?? 20, () => {
      if (drop.cut === undefined) this.#connection.close(drop.code ?? 1011, drop.reason ?? '');
      else this.#connection.cut(drop.cut);
    });
  }
}
