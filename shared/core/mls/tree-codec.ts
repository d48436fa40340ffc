/**
 * The body of the `ratchet_tree` extension (RFC 9420 section 12.4.3.3): all nodes of a tree in the
 * order of their indices, without the blank ones at the end. Owns that encoding; whether a received
 * tree is one that members can trust is `tree-validation.ts`.
 */
import { assert } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type RatchetTree, treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { occupied } from '#core/mls/subtree.ts'
import { nodeBytes, treeNode } from '#core/mls/tree-node.ts'
import { bool, type Codec, decode, encode, Reader, varint, VARINT_MAX } from '#core/wire/codec.ts'

/** `optional<Node> ratchet_tree<V>`. */
export function encodeRatchetTree(tree: RatchetTree): Uint8Array {
  const nodes: { readonly at: number; readonly bytes: Uint8Array }[] = []
  let length = 0
  let width = 0
  for (const { at, node } of occupied(tree.root)) {
    const bytes = nodeBytes(node)
    nodes.push({ at, bytes })
    length += at + 1 - width + bytes.length
    width = at + 1
  }
  assert(length <= VARINT_MAX, 'a tree has an encodable length')
  const prefix = encode(varint, length)
  const out = new Uint8Array(prefix.length + length)
  out.set(prefix)
  let offset = prefix.length
  let next = 0
  for (const { at, bytes } of nodes) {
    offset += at - next
    out[offset++] = 1
    out.set(bytes, offset)
    offset += bytes.length
    next = at + 1
  }
  return out
}

interface EncodedNodes {
  readonly count: number
  /** Those that are not blank, as views of the input. */
  readonly nodes: readonly { readonly node: number; readonly bytes: Uint8Array }[]
}

/** Only read: what is written comes from the tree itself. */
const encodedNodes: Codec<EncodedNodes> = {
  encode: () => assert(false, 'a received tree is not written again'),
  decode(r) {
    const body = r.take(r.varint())
    const elements = new Reader(body)
    const nodes: { readonly node: number; readonly bytes: Uint8Array }[] = []
    let count = 0
    for (; elements.remaining > 0; count++) {
      if (count === LIMITS.mlsTreeNodesMax) r.refuse('tooLong')
      if (!bool.decode(elements)) continue
      const start = body.length - elements.remaining
      treeNode.decode(elements)
      nodes.push({ node: count, bytes: body.subarray(start, body.length - elements.remaining) })
    }
    return { count, nodes }
  },
}

/**
 * The tree of a `ratchet_tree` body; null for a malformed one, one that ends in a blank node or in
 * a parent, and whatever `treeOfNodes` refuses. Its keys and hashes are not checked.
 */
export function decodeRatchetTree(suite: CipherSuite, bytes: Uint8Array): RatchetTree | null {
  const decoded = decode(encodedNodes, bytes)
  if (decoded.kind === 'malformed') return null
  const { count, nodes } = decoded.value
  if (count % 2 === 0 || nodes[nodes.length - 1]?.node !== count - 1) return null
  let leafWidth = 1
  while (leafWidth * 2 - 1 < count) leafWidth *= 2
  return treeOfNodes(suite, leafWidth, nodes)
}
