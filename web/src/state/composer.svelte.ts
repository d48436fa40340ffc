/**
 * The draft of one room. Owns the text before it is sent and the pace of typing notices; after
 * `send` the engine's outbox owns the message.
 */
import { EngineError } from '../engine/client.ts'
import type { EngineClient } from '../engine/client.ts'

const typingIntervalMs = 3_000

/** Characters of one message. */
export const textMax = 16_000

export class ComposerState {
  draft = $state('')
  code = $state<string | null>(null)
  readonly tooLong: boolean = $derived(this.draft.length > textMax)
  readonly canSend: boolean = $derived(this.draft.trim() !== '' && !this.tooLong)
  readonly #client: EngineClient
  readonly #room: string
  #typingSaid = Number.NEGATIVE_INFINITY

  constructor(client: EngineClient, room: string) {
    this.#client = client
    this.#room = room
  }

  /**
   * Tells the room that somebody is typing, at most once in three seconds. `atMs` is the time stamp
   * of the key.
   */
  typed(atMs: number): void {
    if (this.draft.trim() === '') return
    if (atMs - this.#typingSaid < typingIntervalMs) return
    this.#typingSaid = atMs
    this.#client.call('setTyping', { room: this.#room }).catch(() => undefined)
  }

  /** Hands the draft to the outbox; a refused draft comes back into the field. */
  async send(): Promise<void> {
    if (!this.canSend) return
    const text = this.draft.trim()
    this.draft = ''
    this.code = null
    this.#typingSaid = Number.NEGATIVE_INFINITY
    const id = crypto.randomUUID()
    try {
      await this.#client.call('sendMessage', { room: this.#room, text, id })
    } catch (error) {
      this.code = error instanceof EngineError ? error.code : 'failed'
      if (this.draft === '') this.draft = text
    }
  }
}
