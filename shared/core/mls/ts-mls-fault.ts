/**
 * How a bad input leaves the code around ts-mls: by a refusal with a code. Owns the bridge between
 * what the library throws and the port's unions; decides on no input.
 */
import { assert, AssertionFailure } from '#core/base/assert.ts'
import type { MlsRefusal } from '#core/mls/mls.ts'

type RefusalCode = MlsRefusal['code']

/** Carries a refusal out of nested calls. No `Error`, so it costs no stack trace. */
class Refused {
  readonly code: RefusalCode
  constructor(code: RefusalCode) {
    this.code = code
  }
}

/** Ends the processing of an input with a code unless `condition` holds. */
export function demand(condition: unknown, code: RefusalCode): asserts condition {
  if (!condition) throw new Refused(code)
}

/** `value`, or the end of the processing where there is none. */
export function demanded<T>(value: T | null | undefined, code: RefusalCode): T {
  demand(value !== null && value !== undefined, code)
  return value
}

/**
 * What `run` gives, or the refusal in which it ended. The library throws on inputs that it does not
 * like: that is `invalid`. An assertion of our own goes on as what it is.
 */
export async function refusing<T>(run: () => T | Promise<T>): Promise<T | MlsRefusal> {
  try {
    return await run()
  } catch (fault) {
    return refusalOf(fault)
  }
}

/** The same for what is computed at once. */
export function refusingNow<T>(run: () => T): T | MlsRefusal {
  try {
    return run()
  } catch (fault) {
    return refusalOf(fault)
  }
}

function refusalOf(fault: unknown): MlsRefusal {
  if (fault instanceof AssertionFailure) throw fault
  return { kind: 'refused', code: fault instanceof Refused ? fault.code : 'invalid' }
}

/** `value` of a place that our own code has filled. */
export function present<T>(value: T | null | undefined): T {
  assert(value !== null && value !== undefined, 'a place that was filled before')
  return value
}
