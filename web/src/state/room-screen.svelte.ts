/**
 * One room's screen: its timeline, its draft and the two calls that bring people in. Owns the state
 * of those calls; owns no words.
 */
import { EngineError } from '../engine/client.ts'
import type { EngineClient, LinkLimits } from '../engine/client.ts'
import { ComposerState } from './composer.svelte.ts'
import { TimelineState } from './timeline.svelte.ts'

export type InviteState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'making' }
  | { readonly kind: 'made'; readonly link: string }
  /** The link that was shown is taken back. */
  | { readonly kind: 'revoked' }
  | { readonly kind: 'failed'; readonly code: string }

export type AddState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'adding' }
  | { readonly kind: 'added'; readonly account: string }
  | { readonly kind: 'failed'; readonly code: string }

/** The link of a fragment, at this app's own address. */
export const linkOf = (fragment: string): string => `${location.origin}/join#${fragment}`

const codeOf = (error: unknown): string => error instanceof EngineError ? error.code : 'failed'

export class RoomScreenState {
  readonly room: string
  readonly timeline: TimelineState
  readonly composer: ComposerState
  invite = $state.raw<InviteState>({ kind: 'idle' })
  /** Id of the invitation that is being taken back. */
  revoking = $state.raw<string | null>(null)
  add = $state.raw<AddState>({ kind: 'idle' })
  readonly #client: EngineClient

  constructor(client: EngineClient, room: string) {
    this.room = room
    this.timeline = new TimelineState(client, room)
    this.composer = new ComposerState(client, room)
    this.#client = client
  }

  /** Gives the link that is still good, or makes one; its secret stands in the fragment only. */
  async makeInvite(limits?: LinkLimits): Promise<void> {
    this.invite = { kind: 'making' }
    const options = limits === undefined ? {} : { limits }
    try {
      const fragment = await this.#client.call('invite', { room: this.room, ...options })
      this.invite = { kind: 'made', link: linkOf(fragment) }
    } catch (error) {
      this.invite = { kind: 'failed', code: codeOf(error) }
    }
  }

  /** Takes a link back, by the id of its invitation. */
  async revokeInvite(id: string): Promise<void> {
    const { invitations = [] } = this.timeline.view ?? {}
    const fragment = invitations.find((each) => each.id === id)?.fragment ?? null
    const isShown = this.invite.kind === 'made' && fragment !== null &&
      this.invite.link === linkOf(fragment)
    this.revoking = id
    try {
      await this.#client.call('revokeInvitation', { room: this.room, id })
      if (isShown) this.invite = { kind: 'revoked' }
    } catch (error) {
      this.invite = { kind: 'failed', code: codeOf(error) }
    } finally {
      this.revoking = null
    }
  }

  forgetInvite(): void {
    this.invite = { kind: 'idle' }
  }

  /** True when the person's devices are on their way into the room. */
  async addMember(account: string): Promise<boolean> {
    this.add = { kind: 'adding' }
    try {
      await this.#client.call('addMember', { room: this.room, account })
      this.add = { kind: 'added', account }
      return true
    } catch (error) {
      this.add = { kind: 'failed', code: codeOf(error) }
      return false
    }
  }
}
