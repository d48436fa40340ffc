/**
 * One room's screen: its timeline, its draft and the two calls that bring people in. Owns the state
 * of those calls; owns no words.
 */
import { EngineError } from '../engine/client.ts'
import type { EngineClient } from '../engine/client.ts'
import { ComposerState } from './composer.svelte.ts'
import { TimelineState } from './timeline.svelte.ts'

export type InviteState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'making' }
  | { readonly kind: 'made'; readonly link: string }
  | { readonly kind: 'failed'; readonly code: string }

export type AddState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'adding' }
  | { readonly kind: 'added'; readonly account: string }
  | { readonly kind: 'failed'; readonly code: string }

const codeOf = (error: unknown): string => error instanceof EngineError ? error.code : 'failed'

export class RoomScreenState {
  readonly room: string
  readonly timeline: TimelineState
  readonly composer: ComposerState
  invite = $state.raw<InviteState>({ kind: 'idle' })
  add = $state.raw<AddState>({ kind: 'idle' })
  readonly #client: EngineClient

  constructor(client: EngineClient, room: string) {
    this.room = room
    this.timeline = new TimelineState(client, room)
    this.composer = new ComposerState(client, room)
    this.#client = client
  }

  /** Makes an invitation; its secret stands in the fragment only. */
  async makeInvite(): Promise<void> {
    this.invite = { kind: 'making' }
    try {
      const fragment = await this.#client.call('invite', { room: this.room })
      this.invite = { kind: 'made', link: `${location.origin}/join#${fragment}` }
    } catch (error) {
      this.invite = { kind: 'failed', code: codeOf(error) }
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
