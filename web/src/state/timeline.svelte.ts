/**
 * The window of one room's timeline. Owns its size, the watch on the engine and what was marked
 * read; owns no order and no grouping.
 */
import { createSubscriber } from 'svelte/reactivity'
import type { EngineClient } from '../engine/client.ts'
import type { RoomView } from '#sdk/views.ts'

const firstWindow = 60
const windowStep = 120
const windowMax = 500

export class TimelineState {
  #view = $state.raw<RoomView | null>(null)
  #limit = $state(firstWindow)
  readonly #client: EngineClient
  readonly #room: string
  readonly #subscribe: () => void
  #stopWatch: (() => void) | null = null
  #markedRead = -1

  constructor(client: EngineClient, room: string) {
    this.#client = client
    this.#room = room
    this.#subscribe = createSubscriber(() => {
      this.#watch()
      return () => {
        this.#stopWatch?.()
        this.#stopWatch = null
      }
    })
  }

  /** Null until the engine has answered. */
  get view(): RoomView | null {
    this.#subscribe()
    return this.#view
  }

  readonly canGrow: boolean = $derived((this.#view?.hasEarlier ?? false) && this.#limit < windowMax)

  /** The window is as large as it gets and there is still more before it. */
  readonly atWindowMax: boolean = $derived(
    (this.#view?.hasEarlier ?? false) && this.#limit >= windowMax,
  )

  /** Asks for earlier items; they arrive with the next view. */
  grow(): void {
    if (!this.canGrow) return
    this.#limit = Math.min(this.#limit + windowStep, windowMax)
    this.#watch()
  }

  /** What the person has in sight up to the newest position counts as read. */
  markRead(): void {
    const items = this.#view?.items ?? []
    let position = -1
    for (const item of items) {
      if (item.position !== null && item.position > position) position = item.position
    }
    if (position <= this.#markedRead) return
    this.#markedRead = position
    this.#client.call('markRead', { room: this.#room, position }).catch(() => {
      this.#markedRead = -1
    })
  }

  /** Watches with the present limit; the watch before it ends with the first new view. */
  #watch(): void {
    let before = this.#stopWatch
    const stop = this.#client.watchRoom(this.#room, { limit: this.#limit }, (view) => {
      before?.()
      before = null
      this.#view = view
    })
    this.#stopWatch = () => {
      before?.()
      stop()
    }
  }
}
