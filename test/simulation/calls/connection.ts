/** One link between the simulated client and the scripted gateway, with the time that frames take. */
import { type Line, markerOf, type Request, type ScriptedGateway } from '../../support/scripted-gateway.js';

/** The client's end. */
export interface Peer {
  text(frame: string): void;
  shutdown(restartExpectedMs: number | null): void;
  closed(code: number, reason: string): void;
}

/** Each direction keeps its order; a cut loses what is under way to the client, and maybe what is to the gateway. */
export class Connection implements Line {
  readonly peer: Peer;
  readonly bootId: string;
  readonly #gateway: ScriptedGateway;
  readonly #upwards: number;
  #open = true;
  #arrives = 0;
  #returns = 0;
  #lossy = false;

  constructor(gateway: ScriptedGateway, peer: Peer) {
    this.#gateway = gateway;
    this.peer = peer;
    this.bootId = gateway.bootId;
    this.#upwards = gateway.chance.span(1, 20);
  }

  get open(): boolean {
    return this.#open;
  }

  /** The client hands one frame over. */
  send(request: Request): void {
    const { runtime } = this.#gateway;
    const entry = this.#gateway.entry(markerOf(request.params));
    entry.pending += 1;
    this.#arrives = Math.max(this.#arrives, runtime.now() + this.#upwards * this.#gateway.chance.draw());
    runtime.setTimer(() => {
      if (this.#lossy) entry.pending -= 1;
      else this.#gateway.receive(this, request, entry);
    }, this.#arrives - runtime.now());
  }

  reply(id: string, body: Readonly<Record<string, unknown>>): void {
    this.#downwards(() => this.peer.text(JSON.stringify({ type: 'res', id, ...body })));
  }

  shutdown(restartExpectedMs: number | null): void {
    this.#downwards(() => this.peer.shutdown(restartExpectedMs));
  }

  close(code: number, reason = ''): void {
    this.#downwards(() => {
      this.#open = false;
      this.peer.closed(code, reason);
    });
  }

  /** Gone in both directions, here and now. Who tells the client, and when, is not its matter. */
  sever(): void {
    this.#open = false;
    this.#lossy = this.#gateway.chance.draw() < 0.5;
  }

  #downwards(act: () => void): void {
    const { runtime, chance } = this.#gateway;
    this.#returns = Math.max(this.#returns, runtime.now() + this.#upwards * chance.draw());
    runtime.setTimer(() => {
      if (this.#open) act();
    }, this.#returns - runtime.now());
  }
}
