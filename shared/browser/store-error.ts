/**
 * Why the storage of an account cannot be used. Owns the codes and the mapping from what browsers
 * throw; decides nothing about what a screen then offers.
 */

/**
 * - `evicted`: the browser removed one or both of the databases of an account that was in use.
 * - `unsealable`: a record does not open under the vault key: it was changed, moved or copied.
 * - `blocked`: another tab holds an older version open and does not let go of it.
 * - `newerVersion`: a newer app has been here; this page must reload.
 * - `closed`: the connection was closed, by its owner, by the browser or for a newer app.
 * - `full`: no space is left for this origin.
 * - `unavailable`: the browser refuses storage here, for any other reason.
 */
export type StoreErrorCode =
  | 'evicted'
  | 'unsealable'
  | 'blocked'
  | 'newerVersion'
  | 'closed'
  | 'full'
  | 'unavailable'

/** The only error that the store and the vault reject with. Its message is its code. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode) {
    super(code)
    this.code = code
  }
}

const CODES: Readonly<Record<string, StoreErrorCode>> = {
  QuotaExceededError: 'full',
  VersionError: 'newerVersion',
  InvalidStateError: 'closed',
}

/** Gives what IndexedDB threw a code. A `StoreError` stays as it is. */
export function asStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const name = error instanceof Error || error instanceof DOMException ? error.name : ''
  return new StoreError(CODES[name] ?? 'unavailable')
}
