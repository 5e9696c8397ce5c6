/** For us, not for users: a state the code holds to be impossible. */
class InvariantError extends Error {
  override readonly name: string = 'InvariantError';
}

/** The end of an exhaustive `switch`. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}
