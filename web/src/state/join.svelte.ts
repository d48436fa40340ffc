/**
 * Joining by a link. Owns the preview and the state of the call. The fragment is a secret: it stays
 * in this object and in the engine.
 */
import { EngineError } from '../engine/client.ts'
import type { EngineClient, InvitePreview } from '../engine/client.ts'

export type JoinPreview =
  | { readonly kind: 'reading' }
  | { readonly kind: 'unreadable' }
  | { readonly kind: 'read'; readonly invite: InvitePreview }

export class JoinState {
  preview = $state.raw<JoinPreview>({ kind: 'reading' })
  busy = $state(false)
  code = $state<string | null>(null)
  readonly #client: EngineClient
  readonly #fragment: string

  constructor(client: EngineClient, fragment: string) {
    this.#client = client
    this.#fragment = fragment
    void this.#read()
  }

  /** The room, or null when the call was refused. */
  async join(): Promise<string | null> {
    if (this.busy) return null
    this.busy = true
    this.code = null
    try {
      return await this.#client.call('joinByLink', { fragment: this.#fragment })
    } catch (error) {
      this.code = error instanceof EngineError ? error.code : 'failed'
      return null
    } finally {
      this.busy = false
    }
  }

  async #read(): Promise<void> {
    if (this.#fragment === '') {
      this.preview = { kind: 'unreadable' }
      return
    }
    try {
      const invite = await this.#client.call('readInvite', { fragment: this.#fragment })
      this.preview = invite === null ? { kind: 'unreadable' } : { kind: 'read', invite }
    } catch {
      this.preview = { kind: 'unreadable' }
    }
  }
}
