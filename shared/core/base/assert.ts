/**
 * Assertions for programmer errors. They stay on in production. Owns no handling of outside input:
 * bytes from a peer are refused with a code and never reach an assertion.
 */

/** A rule of our own code was broken. Carries fixed text only, never a value. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure'
}

/** Throws `AssertionFailure` unless `condition` is truthy. `message` states what should hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message)
}

/** Ends an exhaustive switch: does not compile while a case is missing. */
export function unreachable(value: never): never {
  void value
  throw new AssertionFailure('a case that the types exclude was reached')
}
