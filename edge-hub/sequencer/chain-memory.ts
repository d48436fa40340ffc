/**
 * The hashes of a room's newest entries, to check what senders have seen (LOG-5) without reading
 * the log. Owns 32 bytes for each of at most `hashesRememberedMax` entries, in chunks, so that a
 * quiet room costs next to nothing. What it forgot stands in the log.
 */
import { assert } from '#core/base/assert.ts'
import { ENTRY_HASH_LENGTH } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'

const CHUNK_ENTRIES = 64
const CHUNKS_MAX = LIMITS.hashesRememberedMax / CHUNK_ENTRIES

export interface ChainMemory {
  /** Remembers the hash of the next entry. Positions come in order, without gap. */
  remember(position: bigint, hash: Uint8Array): void
  /** A view of the hash at a position; null where it is not remembered. */
  recall(position: bigint): Uint8Array | null
}

/** Starts at `first`: nothing below it is remembered. */
export function createChainMemory(first: bigint): ChainMemory {
  const chunks = new Map<number, Uint8Array>()
  const start = Number(first)
  let next = start
  return {
    remember(position, hash) {
      const at = Number(position)
      assert(at === next, 'entries are remembered in order')
      const chunk = Math.floor(at / CHUNK_ENTRIES)
      let hashes = chunks.get(chunk)
      if (hashes === undefined) {
        hashes = new Uint8Array(CHUNK_ENTRIES * ENTRY_HASH_LENGTH)
        chunks.set(chunk, hashes)
        chunks.delete(chunk - CHUNKS_MAX)
      }
      hashes.set(hash, (at % CHUNK_ENTRIES) * ENTRY_HASH_LENGTH)
      next++
    },
    recall(position) {
      const at = Number(position)
      if (at < start || at >= next) return null
      const hashes = chunks.get(Math.floor(at / CHUNK_ENTRIES))
      if (hashes === undefined) return null
      const offset = (at % CHUNK_ENTRIES) * ENTRY_HASH_LENGTH
      return hashes.subarray(offset, offset + ENTRY_HASH_LENGTH)
    },
  }
}
