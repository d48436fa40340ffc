/**
 * The stored form of a secret tree: what is derived and not used, from the root down, left before
 * right. Owns no derivation. All of it is secret; whoever stores it seals it.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { Ratchet, SecretSubtree, SecretTree } from '#core/mls/secret-tree.ts'
import { LEAF_WIDTH_MAX } from '#core/mls/tree-node.ts'
import {
  type Codec,
  opaque,
  type Reader,
  struct,
  u32,
  vector,
  type Writer,
} from '#core/wire/codec.ts'

const SUBTREE = { sealed: 0, opened: 1, leaf: 2 } as const

const secret = opaque(64)
const skippedKey = struct({ generation: u32, key: secret, nonce: secret })
const storedRatchet = struct({
  generation: u32,
  secret,
  skipped: vector(skippedKey, LIMITS.mlsSkippedGenerationsMax),
})

const ratchet: Codec<Ratchet> = {
  encode(w, value) {
    const skipped = [...value.skipped].map(([generation, keys]) => ({ generation, ...keys }))
    storedRatchet.encode(w, { ...value, skipped })
  },
  decode(r) {
    const { generation, secret, skipped } = storedRatchet.decode(r)
    const byGeneration = new Map<number, { key: Uint8Array; nonce: Uint8Array }>()
    for (const { generation: of, key, nonce } of skipped) {
      byGeneration.set(of, { key: key.slice(), nonce: nonce.slice() })
    }
    return { generation, secret: secret.slice(), skipped: byGeneration }
  },
}

function encodeSubtrees(w: Writer, root: SecretSubtree): void {
  const waiting: SecretSubtree[] = [root]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    w.u8(SUBTREE[at.kind])
    if (at.kind === 'sealed') secret.encode(w, at.secret)
    else if (at.kind === 'opened') waiting.push(at.right, at.left)
    else {
      ratchet.encode(w, at.handshake)
      ratchet.encode(w, at.application)
    }
  }
}

/** A node whose left child has been read, or not yet. */
interface Unfinished {
  readonly width: number
  left: SecretSubtree | null
}

function decodeSubtrees(r: Reader, leafWidth: number): SecretSubtree {
  const open: Unfinished[] = []
  let width = leafWidth
  for (;;) {
    const kind = r.u8()
    if (kind === SUBTREE.opened) {
      if (width === 1) r.refuse('badValue')
      width /= 2
      open.push({ width, left: null })
      continue
    }
    let done = readLeafOrSealed(r, kind, width)
    for (let above = open.at(-1); above?.left !== null; above = open.at(-1)) {
      if (above === undefined) return done
      done = { kind: 'opened', left: above.left, right: done }
      open.pop()
    }
    const above = open.at(-1) as Unfinished
    above.left = done
    width = above.width
  }
}

function readLeafOrSealed(r: Reader, kind: number, width: number): SecretSubtree {
  if (kind === SUBTREE.sealed) return { kind: 'sealed', secret: secret.decode(r).slice() }
  if (kind !== SUBTREE.leaf || width !== 1) r.refuse('badValue')
  return { kind: 'leaf', handshake: ratchet.decode(r), application: ratchet.decode(r) }
}

export const secretTreeCodec: Codec<SecretTree> = {
  encode(w, value) {
    w.u32(value.leafWidth)
    encodeSubtrees(w, value.root)
  },
  decode(r) {
    const leafWidth = r.u32()
    const isWidth = leafWidth >= 1 && leafWidth <= LEAF_WIDTH_MAX &&
      (leafWidth & (leafWidth - 1)) === 0
    if (!isWidth) r.refuse('badValue')
    return { leafWidth, root: decodeSubtrees(r, leafWidth) }
  },
}
