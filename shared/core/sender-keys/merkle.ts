/**
 * Merkle trees over the frames of a burst (SEAL-6), of the shape of RFC 9162 section 2.1, with leaf
 * and node prefixes. Owns the tree; what a leaf is and who signs the root is the frame's.
 */
import { concat } from '#core/base/bytes.ts'
import type { Crypto } from '#core/crypto/crypto.ts'

const LEAF_PREFIX = Uint8Array.of(0)
const NODE_PREFIX = Uint8Array.of(1)

/** Hash of a leaf, 32 bytes. */
export function leafHash(crypto: Crypto, content: Uint8Array): Uint8Array {
  return crypto.hash('sha256', concat(LEAF_PREFIX, content))
}

/** Hash of an inner node, 32 bytes. */
export function nodeHash(crypto: Crypto, left: Uint8Array, right: Uint8Array): Uint8Array {
  return crypto.hash('sha256', concat(NODE_PREFIX, left, right))
}

/** Root and, for each leaf, the hashes beside its way up, from the bottom. */
export function merkleTree(
  crypto: Crypto,
  leaves: readonly Uint8Array[],
): { readonly root: Uint8Array; readonly paths: readonly (readonly Uint8Array[])[] } {
  const paths: Uint8Array[][] = leaves.map(() => [])
  let row = leaves.map((hash, index) => ({ hash, members: [index] }))
  while (row.length > 1) {
    const above: typeof row = []
    for (let index = 0; index < row.length; index += 2) {
      const left = row[index] as (typeof row)[number]
      const right = row[index + 1]
      if (right === undefined) {
        above.push(left)
        continue
      }
      for (const member of left.members) paths[member]?.push(right.hash)
      for (const member of right.members) paths[member]?.push(left.hash)
      above.push({
        hash: nodeHash(crypto, left.hash, right.hash),
        members: [...left.members, ...right.members],
      })
    }
    row = above
  }
  return { root: (row[0] as (typeof row)[number]).hash, paths }
}

export interface Inclusion {
  readonly leaf: Uint8Array
  readonly index: number
  readonly count: number
  readonly path: readonly Uint8Array[]
}

/** The root that an inclusion leads to; null when the path does not fit index and count. */
export function merkleRoot(crypto: Crypto, inclusion: Inclusion): Uint8Array | null {
  const { index, count, path } = inclusion
  if (index >= count) return null
  let hash = inclusion.leaf
  let position = index
  let last = count - 1
  let used = 0
  while (last > 0) {
    const hasSibling = position % 2 === 1 || position < last
    if (hasSibling) {
      const sibling = path[used++]
      if (sibling === undefined) return null
      hash = position % 2 === 1 ? nodeHash(crypto, sibling, hash) : nodeHash(crypto, hash, sibling)
    }
    position >>>= 1
    last >>>= 1
  }
  return used === path.length ? hash : null
}
