/**
 * Tree hashes and parent hashes (RFC 9420 sections 7.8 and 7.9) of subtrees. A subtree keeps its
 * hash, so that after an edit only the copied path is hashed. Owns the inputs of both hashes; what
 * they are compared with is `tree-validation.ts` and the processing of a commit.
 */
import { concat } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { childrenOf, leavesUnder, type Placed, type Subtree } from '#core/mls/subtree.ts'
import { nodeToLeaf } from '#core/mls/tree-math.ts'
import { insertionPoint, NODE_TYPE, nodeBytes, type TreeNode } from '#core/mls/tree-node.ts'
import { encode, type Infer, opaque, struct, varint } from '#core/wire/codec.ts'

const ABSENT = Uint8Array.of(0)
const PRESENT = Uint8Array.of(1)

/** Hash of a subtree where it stands. Hashes each subtree under it that was not hashed yet. */
export function hashOf(suite: CipherSuite, top: Placed): Uint8Array {
  const waiting: Placed[] = [top]
  while (waiting.length > 0) {
    const here = waiting[waiting.length - 1] as Placed
    const { subtree, at } = here
    if (subtree.hash === null) {
      if (subtree.level === 0) {
        subtree.hash = leafHash(suite, at, subtree.node)
      } else {
        const [left, right] = childrenOf(here)
        if (left.subtree.hash === null) waiting.push(left)
        if (right.subtree.hash === null) waiting.push(right)
        if (left.subtree.hash === null || right.subtree.hash === null) continue
        subtree.hash = innerHash(suite, subtree.node, [left.subtree.hash, right.subtree.hash])
      }
    }
    waiting.pop()
  }
  return top.subtree.hash as Uint8Array
}

/** TreeHashInput of a leaf (RFC 9420 section 7.8). */
function leafHash(suite: CipherSuite, at: number, node: TreeNode | null): Uint8Array {
  const leaf = nodeToLeaf(at)
  const head = Uint8Array.of(NODE_TYPE.leaf, leaf >>> 24, leaf >>> 16, leaf >>> 8, leaf)
  return suite.hash(concat(head, ...optionalNode(node)))
}

/** TreeHashInput of a parent (RFC 9420 section 7.8). */
function innerHash(
  suite: CipherSuite,
  node: TreeNode | null,
  [left, right]: readonly [Uint8Array, Uint8Array],
): Uint8Array {
  const head = Uint8Array.of(NODE_TYPE.parent)
  const length = encode(varint, suite.hashLength)
  return suite.hash(concat(head, ...optionalNode(node), length, left, length, right))
}

/** LeafNode or ParentNode behind its presence byte: the encoding of a Node without its type. */
function optionalNode(node: TreeNode | null): readonly Uint8Array[] {
  return node === null ? [ABSENT] : [PRESENT, nodeBytes(node).subarray(1)]
}

const parentHashInput = struct({
  encryptionKey: opaque(LIMITS.mlsKeySizeMax),
  parentHash: opaque(255),
  originalSiblingTreeHash: opaque(255),
})

/**
 * Parent hash of a node (RFC 9420 section 7.9): its key, its own parent hash, and the tree hash of
 * the child beside the path, without the node's unmerged leaves.
 */
export function parentHashOf(suite: CipherSuite, input: Infer<typeof parentHashInput>): Uint8Array {
  return suite.hash(encode(parentHashInput, input))
}

/** The last hash of each subtree that was made without some of its leaves. */
export type ReducedHashes = Map<
  Subtree,
  { readonly without: readonly number[]; readonly hash: Uint8Array }
>

interface Reduced extends Placed {
  /** Ascending indices of leaves in this subtree, at least one. */
  readonly without: readonly number[]
}

/**
 * Hash of a subtree as it would be without some leaves (ascending): they are blank, and in no list
 * of unmerged leaves. `known` saves work between nodes of one path, whose unmerged leaves are
 * mostly the same.
 */
export function hashWithout(
  suite: CipherSuite,
  top: Placed & { readonly without: readonly number[] },
  known: ReducedHashes,
): Uint8Array {
  const waiting: Reduced[] = []
  /** The hash where it is at hand; otherwise it comes to wait. */
  const ready = (placed: Placed, among: readonly number[]): Uint8Array | null => {
    const without = leavesWithin(placed, among)
    if (without.length === 0) return hashOf(suite, placed)
    const before = known.get(placed.subtree)
    if (before !== undefined && sameNumbers(before.without, without)) return before.hash
    waiting.push({ ...placed, without })
    return null
  }
  let hash = ready(top, top.without)
  while (waiting.length > 0) {
    const here = waiting[waiting.length - 1] as Reduced
    const count = waiting.length
    const { subtree, at, without } = here
    if (subtree.level === 0) {
      hash = leafHash(suite, at, null)
    } else {
      const [left, right] = childrenOf(here)
      const leftHash = ready(left, without)
      const rightHash = ready(right, without)
      if (leftHash === null || rightHash === null) continue
      hash = innerHash(suite, withoutUnmerged(subtree.node, without), [leftHash, rightHash])
    }
    known.set(subtree, { without, hash })
    waiting.length = count - 1
  }
  return hash as Uint8Array
}

/** The leaves of an ascending list that stand in a subtree. */
export function leavesWithin({ subtree, at }: Placed, leaves: readonly number[]) {
  const count = leavesUnder(subtree)
  const first = nodeToLeaf(at - count + 1)
  const start = insertionPoint(leaves, first)
  const end = insertionPoint(leaves, first + count)
  return start === 0 && end === leaves.length ? leaves : leaves.slice(start, end)
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index])
}

function withoutUnmerged(node: TreeNode | null, without: readonly number[]): TreeNode | null {
  if (node === null || node.kind === 'leaf') return node
  const kept = node.parentNode.unmergedLeaves.filter(
    (leaf) => without[insertionPoint(without, leaf)] !== leaf,
  )
  return { kind: 'parent', parentNode: { ...node.parentNode, unmergedLeaves: kept }, bytes: null }
}
