/**
 * The only stateful loop: event queue → transition → effects. Events are never handled re-entrantly, and the world
 * hears of a state only after it is stored.
 */
import { abandon, isDialing, transition } from '../core/connection.js';
import type { Failure } from '../core/failure.js';
import type { At, Effect, Event, Gate, Notice, Slot, State, Step } from '../core/machine.js';
import { INITIAL } from '../core/machine.js';
import { LIMITS, type Policy } from '../core/policy.js';
import type { Runtime, Timer } from './runtime.js';

/** What the driver moves. One dial at a time; the link ends the one before when a new one begins. */
export interface LinkPort {
  dial(epoch: number): void;
  hangUp(how: 'terminate' | 'close'): void;
  ping(): void;
  watchReadiness(epoch: number): void;
  /** Monotonic ms at which the live link last heard anything. */
  heardAt(): number;
}

/** Who is told. Nothing here may throw; the driver guards against it even so. */
export interface Observer {
  notice(notice: Notice): void;
  gate(gate: Gate, cut: boolean, failure: Failure | null): void;
  record(): void;
  finish(end: Extract<Effect, { type: 'finish' }>): void;
  /** The self-check found a live state without a next action. */
  broken(what: string, times: number): void;
  /** Something that must not throw did. */
  fault(where: string, error: unknown): void;
}

/** One step of the machine, as it can be replayed. */
export interface TraceEntry {
  readonly event: Event;
  readonly now: number;
  readonly draw: number;
}

const TRACE_LENGTH = 256;
/** How much later than planned a pulse must come to count as sleep, in ms. */
const SLEPT_MS = 5000;

export class Driver {
  readonly #policy: Policy;
  readonly #runtime: Runtime;
  readonly #observer: Observer;
  readonly #pulseEvery: number;
  readonly #timers = new Map<Slot, Timer>();
  readonly #queue: Event[] = [];
  readonly #trace: TraceEntry[] = [];
  #link: LinkPort | null = null;
  #state: State = INITIAL;
  #busy = false;
  #pulse: Timer | null = null;
  #pulseDue = 0;
  #wallSkew = 0;
  #stuck = 0;
  #lagMax = 0;

  constructor(policy: Policy, runtime: Runtime, observer: Observer, pulseEvery: number) {
    this.#policy = policy;
    this.#runtime = runtime;
    this.#observer = observer;
    this.#pulseEvery = pulseEvery;
  }

  attach(link: LinkPort): void {
    this.#link = link;
  }

  get state(): State {
    return this.#state;
  }

  /** The last steps, oldest first. */
  get trace(): readonly TraceEntry[] {
    return this.#trace;
  }

  /** How late the loop was at most, in ms, since this was last read. */
  takeLag(): number {
    const lag = this.#lagMax;
    this.#lagMax = 0;
    return lag;
  }

  push(event: Event): void {
    this.#queue.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#step(next);
    } finally {
      this.#busy = false;
    }
  }

  #step(event: Event): void {
    const at = { now: this.#runtime.now(), draw: this.#runtime.draw() };
    this.#trace.push({ event, ...at });
    if (this.#trace.length > TRACE_LENGTH) this.#trace.shift();
    const step = this.#decide(event, at);
    if (step === null) return;
    this.#state = step.state;
    for (const effect of step.effects) this.#guarded(effect.type, () => this.#perform(effect));
    this.#keepPulse();
  }

  /** A step that throws is a bug of ours: what the event told is lost, so the dial is begun anew. */
  #decide(event: Event, at: At): Step | null {
    try {
      return transition(this.#policy, this.#state, event, at);
    } catch (error) {
      this.#guarded('transition', () => {
        throw error;
      });
      // Not even that step can be made: nothing is left but a fresh process.
      if (event.type === 'stuck') return abandon(this.#state, at);
      this.#broken(`event ${event.type} in state ${this.#state.status} threw`);
      return null;
    }
  }

  #broken(what: string): void {
    this.#stuck += 1;
    this.#guarded('broken', () => this.#observer.broken(what, this.#stuck));
    this.push({ type: 'stuck', times: this.#stuck });
  }

  /** Whatever throws out there, the machine goes on. */
  #guarded(where: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      try {
        this.#observer.fault(where, error);
      } catch {
        // The one who is told of faults is at fault: nobody is left to tell.
      }
    }
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'dial':
        this.#link?.dial(effect.epoch);
        break;
      case 'hangUp':
        this.#link?.hangUp(effect.how);
        break;
      case 'ping':
        this.#link?.ping();
        break;
      case 'watchReadiness':
        this.#link?.watchReadiness(effect.epoch);
        break;
      case 'setTimer':
        this.#setTimer(effect.slot, effect.delay);
        break;
      case 'clearTimer':
        this.#clearTimer(effect.slot);
        break;
      case 'gate':
        this.#observer.gate(effect.gate, effect.cut, effect.failure);
        break;
      case 'notify':
        this.#observer.notice(effect.notice);
        break;
      case 'record':
        this.#observer.record();
        break;
      case 'finish':
        this.#observer.finish(effect);
        break;
    }
  }

  #setTimer(slot: Slot, delay: number): void {
    this.#clearTimer(slot);
    const due = this.#runtime.now() + delay;
    const fire = (): void => {
      this.#timers.delete(slot);
      const late = this.#runtime.now() - due;
      this.#lagMax = Math.max(this.#lagMax, late);
      this.push({ type: 'timer', slot, late, heardAt: this.#link?.heardAt() ?? 0 });
    };
    this.#timers.set(slot, this.#runtime.setTimer(fire, delay));
  }

  #clearTimer(slot: Slot): void {
    this.#timers.get(slot)?.clear();
    this.#timers.delete(slot);
  }

  /** In every live state one more timer ticks: it keeps the process alive, sees sleep, checks the machine, writes liveness. */
  #keepPulse(): void {
    const live = this.#state.status !== 'idle' && this.#state.status !== 'stopped';
    if (!live) {
      this.#pulse?.clear();
      this.#pulse = null;
    } else if (this.#pulse === null) {
      this.#wallSkew = this.#runtime.wall() - this.#runtime.now();
      this.#armPulse();
    }
  }

  #armPulse(): void {
    this.#pulseDue = this.#runtime.now() + this.#pulseEvery;
    this.#pulse = this.#runtime.setTimer(() => this.#beat(), this.#pulseEvery);
  }

  #beat(): void {
    const now = this.#runtime.now();
    const late = now - this.#pulseDue;
    this.#lagMax = Math.max(this.#lagMax, late);
    // A suspended Linux host stops the monotonic clock: its sleep shows in the wall clock alone, as a jump forward.
    const skew = this.#runtime.wall() - now;
    const jumped = skew - this.#wallSkew;
    this.#wallSkew = skew;
    this.#armPulse();
    if (late > SLEPT_MS) this.push({ type: 'woke', slept: late });
    else if (jumped > SLEPT_MS) this.push({ type: 'woke', slept: 0 });
    this.#check();
    this.#guarded('record', () => this.#observer.record());
  }

  /** A live state whose timer is gone would be the zombie this library exists to prevent. */
  #check(): void {
    const slot = nextAction(this.#state, this.#policy);
    if (slot === null || this.#timers.has(slot)) return;
    this.#broken(`state ${this.#state.status} without its timer ${slot}`);
  }

  /** Whether the machine has what it needs to go on: asked before liveness is written. */
  get sound(): boolean {
    const slot = nextAction(this.#state, this.#policy);
    return slot === null || this.#timers.has(slot) || this.#busy;
  }

  /** Ends every timer. Only for a driver that is thrown away. */
  dispose(): void {
    for (const timer of this.#timers.values()) timer.clear();
    this.#timers.clear();
    this.#pulse?.clear();
    this.#pulse = null;
  }
}

/** The timer that leaves each live state; null where none is needed. */
export function nextAction(state: State, policy: Policy): Slot | null {
  if (isDialing(state)) return 'connect';
  switch (state.status) {
    case 'waiting':
    case 'blocked':
      return 'retry';
    case 'closing':
      return 'close';
    case 'online':
      return policy.heartbeat === null ? null : 'beat';
    default:
      return null;
  }
}

export const PULSE_MS: number = LIMITS.silence.min;
