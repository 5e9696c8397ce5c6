import type { Fault, FaultName, FaultOf } from './faults.js';

interface Active {
  readonly fault: Fault;
  left: number;
}

/** The faults that are active now. The newest of a name wins. */
export class FaultSet {
  readonly #active: Set<Active> = new Set();
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Returns what ends it again. */
  add(fault: Fault): () => void {
    const active: Active = { fault, left: ('times' in fault ? fault.times : undefined) ?? Number.POSITIVE_INFINITY };
    this.#active.add(active);
    this.#changed();
    return () => this.#end(active);
  }

  clear(): void {
    this.#active.clear();
    this.#changed();
  }

  get all(): readonly Fault[] {
    return [...this.#active].map((active) => active.fault);
  }

  /** The fault of this name, if it is active; does not count as a use. */
  get<N extends FaultName>(name: N, fits?: (fault: FaultOf<N>) => boolean): FaultOf<N> | undefined {
    return this.#find(name, fits)?.fault;
  }

  /** Like `get`, and counts as one of its `times`. */
  take<N extends FaultName>(name: N, fits?: (fault: FaultOf<N>) => boolean): FaultOf<N> | undefined {
    const found = this.#find(name, fits);
    if (found === undefined) return undefined;
    found.active.left -= 1;
    if (found.active.left <= 0) this.#end(found.active);
    return found.fault;
  }

  #find<N extends FaultName>(
    name: N,
    fits: ((fault: FaultOf<N>) => boolean) | undefined,
  ): { active: Active; fault: FaultOf<N> } | undefined {
    for (const active of [...this.#active].reverse()) {
      const { fault } = active;
      if (isNamed(fault, name) && active.left > 0 && (fits?.(fault) ?? true)) return { active, fault };
    }
    return undefined;
  }

  #end(active: Active): void {
    if (this.#active.delete(active)) this.#changed();
  }
}

function isNamed<N extends FaultName>(fault: Fault, name: N): fault is FaultOf<N> {
  return fault.name === name;
}

/** True when a fault that may name methods applies to this one. */
export function hitsMethod(fault: { methods?: readonly string[] }, method: string): boolean {
  return fault.methods?.includes(method) ?? true;
}
