/**
 * Rows of the rooms that the writer wrote last, so that an append reads neither name nor row. There
 * is one writer, and it lets go of all of them when a transaction does not stand. Owns no
 * statement.
 */
import { LIMITS } from '#core/base/limits.ts'
import { findRoom, type RoomRow } from './sqlite-room.ts'
import type { Sql } from './sqlite-proof.ts'

export class RoomCache {
  readonly #rows = new Map<string, RoomRow>()

  /** Null where it is proven that there is no such room. What is changed in it must be stored. */
  find(sql: Sql, room: Uint8Array): RoomRow | null {
    const key = keyOf(room)
    const row = this.#rows.get(key) ?? findRoom(sql, room)
    if (row === null) return null
    this.keep(row, key)
    return row
  }

  /** Moves it to the end, away from eviction. */
  keep(row: RoomRow, key = keyOf(row.room)): void {
    this.#rows.delete(key)
    this.#rows.set(key, row)
    if (this.#rows.size <= LIMITS.roomsCachedMax) return
    const [oldest] = this.#rows.keys()
    if (oldest !== undefined) this.#rows.delete(oldest)
  }

  /** What they hold may never have been stored. */
  forget(): void {
    this.#rows.clear()
  }
}

const keyOf = (room: Uint8Array): string => String.fromCharCode(...room)
