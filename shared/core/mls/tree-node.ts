/**
 * The nodes of a ratchet tree (RFC 9420 sections 7.1 and 12.4.3.3): ParentNode, and the encoding of
 * a leaf or a parent as `Node`. Owns that a node's fields are views of one buffer of its own; owns
 * no place in a tree.
 */
import { LIMITS } from '#core/base/limits.ts'
import { type LeafNode, leafNode } from '#core/mls/leaf-node.ts'
import { type Codec, decode, encode, opaque, struct, u32, vector } from '#core/wire/codec.ts'

/** RFC 9420 section 7.8. */
export const NODE_TYPE = { leaf: 1, parent: 2 } as const

/** Leaves of the widest tree, for which `LIMITS.mlsTreeNodesMax` nodes suffice. */
export const LEAF_WIDTH_MAX = (LIMITS.mlsTreeNodesMax + 1) / 2

export interface ParentNode {
  readonly encryptionKey: Uint8Array
  /** Empty, or as long as the hash of the suite. */
  readonly parentHash: Uint8Array
  /** Indices of leaves that do not know the node's secret, ascending. */
  readonly unmergedLeaves: readonly number[]
}

export const parentNode: Codec<ParentNode> = struct({
  encryptionKey: opaque(LIMITS.mlsKeySizeMax),
  parentHash: opaque(255),
  unmergedLeaves: vector(u32, LEAF_WIDTH_MAX),
})

/** A node that is not blank. `bytes` is its encoding, null where that has to be made anew. */
export type TreeNode =
  | { readonly kind: 'leaf'; readonly leafNode: LeafNode; readonly bytes: Uint8Array | null }
  | { readonly kind: 'parent'; readonly parentNode: ParentNode; readonly bytes: Uint8Array | null }

export const treeNode: Codec<TreeNode> = {
  encode(w, node) {
    w.u8(NODE_TYPE[node.kind])
    if (node.kind === 'leaf') leafNode.encode(w, node.leafNode)
    else parentNode.encode(w, node.parentNode)
  },
  decode(r) {
    const type = r.u8()
    if (type === NODE_TYPE.leaf) {
      return { kind: 'leaf', leafNode: leafNode.decode(r), bytes: null }
    }
    if (type !== NODE_TYPE.parent) r.refuse('badValue')
    return { kind: 'parent', parentNode: parentNode.decode(r), bytes: null }
  },
}

/** The node of an encoding, in a buffer of its own; null for bytes that are none. */
export function readNode(bytes: Uint8Array): TreeNode | null {
  const own = bytes.slice()
  const decoded = decode(treeNode, own)
  return decoded.kind === 'decoded' ? { ...decoded.value, bytes: own } : null
}

/** A leaf whose fields keep no message alive. */
export function ownedLeaf(value: LeafNode): TreeNode {
  const node = { kind: 'leaf', leafNode: value, bytes: null } as const
  return readNode(encode(treeNode, node)) ?? node
}

/** A parent whose fields keep no message alive. */
export function ownedParent(value: ParentNode): TreeNode {
  const node = { kind: 'parent', parentNode: value, bytes: null } as const
  return readNode(encode(treeNode, node)) ?? node
}

/** Encoding as `Node`. */
export function nodeBytes(node: TreeNode): Uint8Array {
  return node.bytes ?? encode(treeNode, node)
}

export function encryptionKeyOf(node: TreeNode): Uint8Array {
  return node.kind === 'leaf' ? node.leafNode.encryptionKey : node.parentNode.encryptionKey
}

/** The node with a leaf among its unmerged leaves; its key stays in its old buffer. */
export function withUnmergedLeaf(node: TreeNode | null, leaf: number): TreeNode | null {
  if (node === null || node.kind === 'leaf') return node
  const { unmergedLeaves } = node.parentNode
  const at = insertionPoint(unmergedLeaves, leaf)
  if (unmergedLeaves[at] === leaf) return node
  const extended = unmergedLeaves.toSpliced(at, 0, leaf)
  return {
    kind: 'parent',
    parentNode: { ...node.parentNode, unmergedLeaves: extended },
    bytes: null,
  }
}

/** Where a number stands, or would stand, in an ascending list. */
export function insertionPoint(ascending: readonly number[], value: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}
