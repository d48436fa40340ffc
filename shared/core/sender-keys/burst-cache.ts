/**
 * Bursts whose root signature was found good (SEAL-6), so that a burst costs one check of a
 * signature, and each frame of it about one hash of its tree. Owns what is remembered and its
 * bound; says yes only to what a check from the bottom to the root would say yes to.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { type Inclusion, nodeHash } from '#core/sender-keys/merkle.ts'

const HASH_LENGTH = 32

/** What the signature over a root names, beside the root, and whose it is. */
export interface BurstOrigin {
  readonly signature: Uint8Array
  readonly publicKey: Uint8Array
  readonly suite: number
  readonly room: Uint8Array
  readonly epochId: Uint8Array
  readonly leaf: number
  readonly count: number
}

/** The bursts that were found good last. Its memory is bounded by `burstsRememberedMax` trees. */
export class BurstCache {
  #bursts: KnownBurst[] = []

  /** True when a frame of this origin was found good. */
  knows(origin: BurstOrigin): boolean {
    return this.#bursts.some((each) => each.isOf(origin))
  }

  /** True when the inclusion leads to the root that this origin has signed, as far as is known. */
  includes(crypto: Crypto, origin: BurstOrigin, inclusion: Inclusion): boolean {
    const at = this.#bursts.findIndex((each) => each.isOf(origin))
    const found = this.#bursts[at]
    if (found === undefined || !found.includes(crypto, inclusion)) return false
    if (at > 0) {
      this.#bursts.splice(at, 1)
      this.#bursts.unshift(found)
    }
    return true
  }

  /** Remembers an inclusion whose root the origin has signed. */
  add(crypto: Crypto, origin: BurstOrigin, inclusion: Inclusion): void {
    const known = this.#bursts.find((each) => each.isOf(origin))
    if (known !== undefined) return
    this.#bursts.unshift(new KnownBurst(crypto, origin, inclusion))
    this.#bursts.length = Math.min(this.#bursts.length, LIMITS.burstsRememberedMax)
  }
}

/**
 * The known nodes of one tree. With a node, its sibling and everything above it are known: they
 * were hashed together on the way to the root.
 */
class KnownBurst {
  readonly #origin: BurstOrigin
  /** First node of each level in `#nodes`; the last one is the root's. */
  readonly #levels: readonly number[]
  readonly #nodes: Uint8Array
  readonly #isKnown: Uint8Array

  constructor(crypto: Crypto, origin: BurstOrigin, inclusion: Inclusion) {
    const { signature, publicKey, room, epochId } = origin
    // Views would keep the buffers of whole reads alive.
    this.#origin = {
      ...origin,
      signature: signature.slice(),
      publicKey: publicKey.slice(),
      room: room.slice(),
      epochId: epochId.slice(),
    }
    const levels = [0]
    let nodeCount = 0
    for (let width = origin.count;; width = Math.ceil(width / 2)) {
      nodeCount += width
      if (width === 1) break
      levels.push(nodeCount)
    }
    this.#levels = levels
    this.#nodes = new Uint8Array(nodeCount * HASH_LENGTH)
    this.#isKnown = new Uint8Array(nodeCount)
    const climbed = this.#climb(crypto, inclusion)
    assert(climbed !== null, 'a good inclusion has its path')
    this.#learn(inclusion, climbed.hashes)
  }

  isOf(origin: BurstOrigin): boolean {
    const own = this.#origin
    return own.leaf === origin.leaf && own.count === origin.count && own.suite === origin.suite &&
      equalBytes(own.signature, origin.signature) && equalBytes(own.room, origin.room) &&
      equalBytes(own.epochId, origin.epochId) && equalBytes(own.publicKey, origin.publicKey)
  }

  /** Hashes up to the first known node; from there on the path must repeat what is known. */
  includes(crypto: Crypto, inclusion: Inclusion): boolean {
    const { path, index, count } = inclusion
    assert(count === this.#origin.count, 'an inclusion of this burst')
    if (index >= count) return false
    const climbed = this.#climb(crypto, inclusion)
    if (climbed === null) return false
    const { hashes } = climbed
    const anchor = hashes.length - 1
    const hash = hashes[anchor] as Uint8Array
    if (!equalBytes(this.#node(anchor, index >>> anchor), hash)) return false
    let { used } = climbed
    for (let level = anchor; level < this.#levels.length - 1; level++) {
      if (!this.#hasSibling(level, index)) continue
      const sibling = path[used++]
      const known = this.#node(level, (index >>> level) ^ 1)
      if (sibling === undefined || !equalBytes(known, sibling)) return false
    }
    if (used !== path.length) return false
    this.#learn(inclusion, hashes.slice(0, anchor))
    return true
  }

  /** Hashes of the nodes above a leaf, from itself to the first known one or the root. */
  #climb(
    crypto: Crypto,
    { leaf, index, path }: Inclusion,
  ): { readonly hashes: readonly Uint8Array[]; readonly used: number } | null {
    const hashes = [leaf]
    let hash = leaf
    let used = 0
    for (let level = 0; level < this.#levels.length - 1 && !this.#knows(level, index); level++) {
      if (this.#hasSibling(level, index)) {
        const sibling = path[used++]
        if (sibling === undefined) return null
        hash = (index >>> level) % 2 === 1
          ? nodeHash(crypto, sibling, hash)
          : nodeHash(crypto, hash, sibling)
      }
      hashes.push(hash)
    }
    return { hashes, used }
  }

  /** Keeps the lowest nodes of a good inclusion, and their siblings. */
  #learn({ index, path }: Inclusion, hashes: readonly Uint8Array[]): void {
    let used = 0
    for (const [level, hash] of hashes.entries()) {
      const position = index >>> level
      this.#keep(level, position, hash)
      const isRoot = level === this.#levels.length - 1
      if (isRoot || !this.#hasSibling(level, index)) continue
      this.#keep(level, position ^ 1, path[used++] as Uint8Array)
    }
  }

  #hasSibling(level: number, index: number): boolean {
    const position = index >>> level
    const last = (this.#origin.count - 1) >>> level
    return position % 2 === 1 || position < last
  }

  /** Whether the node above a leaf at a level is known. */
  #knows(level: number, index: number): boolean {
    return this.#isKnown[this.#at(level, index >>> level)] === 1
  }

  #at(level: number, position: number): number {
    return (this.#levels[level] as number) + position
  }

  #node(level: number, position: number): Uint8Array {
    const start = this.#at(level, position) * HASH_LENGTH
    return this.#nodes.subarray(start, start + HASH_LENGTH)
  }

  #keep(level: number, position: number, hash: Uint8Array): void {
    const at = this.#at(level, position)
    this.#nodes.set(hash, at * HASH_LENGTH)
    this.#isKnown[at] = 1
  }
}
