/**
 * The one error that the SDK throws. Owns the class; its codes are those of `core/device/io.ts`.
 */
import type { CommandError } from '#core/device/io.ts'

export type ErrorCode = CommandError | 'closed' | 'overloaded'

/** A command that was not done. The code is of a closed set; nothing secret is in it. */
export class KalandraError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode) {
    super(code)
    this.name = 'KalandraError'
    this.code = code
  }
}
