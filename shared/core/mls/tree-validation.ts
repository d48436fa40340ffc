/**
 * Whether a received ratchet tree is one that its members made (RFC 9420 section 12.4.3.1): keys
 * that occur once, unmerged leaves, parent hashes and the signatures of the leaves. Owns none of
 * the rules about a leaf's content in its group (see `leaf-validation.ts`), and compares no tree
 * hash with a GroupContext.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import type { MlsFault } from '#core/mls/fault.ts'
import { verifyLeafNode } from '#core/mls/leaf-node.ts'
import { members, type RatchetTree, resolved } from '#core/mls/ratchet-tree.ts'
import { childrenOf, occupied, type Placed, subtreeAt } from '#core/mls/subtree.ts'
import { hashWithout, leavesWithin, parentHashOf, type ReducedHashes } from '#core/mls/tree-hash.ts'
import { isLeaf, leafToNode, nodeToLeaf } from '#core/mls/tree-math.ts'
import { insertionPoint, type ParentNode } from '#core/mls/tree-node.ts'

export type TreeFault = Extract<
  MlsFault,
  'duplicateKey' | 'badUnmergedLeaves' | 'badParentHash' | 'badLeafSignature'
>

/** Signatures that are verified at once. */
const SIGNATURES_AT_ONCE = 256

/** Null for a tree that may be trusted as far as it goes by itself; the cheap checks come first. */
export async function verifyTree(
  suite: CipherSuite,
  tree: RatchetTree,
  groupId: Uint8Array,
): Promise<TreeFault | null> {
  const parents = [...placedParents(tree)]
  const nodeCount = parents.length + tree.memberCount
  const isDistinct = tree.encryptionKeys.size === nodeCount &&
    tree.signatureKeys.size === tree.memberCount
  if (!isDistinct) return 'duplicateKey'
  if (!parents.every(hasSoundUnmergedLeaves)) return 'badUnmergedLeaves'
  const known: ReducedHashes = new Map()
  if (!parents.every((above) => isLinked(suite, tree, above, known))) return 'badParentHash'
  return await haveSigned(suite, tree, groupId) ? null : 'badLeafSignature'
}

interface PlacedParentNode extends Placed {
  readonly parentNode: ParentNode
}

function* placedParents(tree: RatchetTree): IterableIterator<PlacedParentNode> {
  for (const { subtree, at, node } of occupied(tree.root)) {
    if (node.kind === 'parent') yield { subtree, at, parentNode: node.parentNode }
  }
}

function hasSoundUnmergedLeaves(above: PlacedParentNode): boolean {
  const { unmergedLeaves } = above.parentNode
  const ascends = unmergedLeaves.every((leaf, index) =>
    index === 0 || (unmergedLeaves[index - 1] as number) < leaf
  )
  return ascends && leavesWithin(above, unmergedLeaves).length === unmergedLeaves.length &&
    unmergedLeaves.every((leaf) => isUnmergedBelow(above, leaf))
}

/**
 * Whether the first node that is not blank on the way down to a leaf is the leaf itself or has it
 * among its unmerged leaves. What is below that node is checked in its own turn, and nothing is
 * sought where no member is.
 */
function isUnmergedBelow(above: Placed, leaf: number): boolean {
  let here = above
  while (here.subtree.memberCount > 0) {
    const [left, right] = childrenOf(here)
    here = leafToNode(leaf) < here.at ? left : right
    const { node } = here.subtree
    if (node?.kind === 'leaf') return true
    if (node?.kind === 'parent') {
      const { unmergedLeaves } = node.parentNode
      return unmergedLeaves[insertionPoint(unmergedLeaves, leaf)] === leaf
    }
  }
  return false
}

/** Whether a parent is parent-hash valid (RFC 9420 section 7.9.2): by one of its two sides. */
function isLinked(
  suite: CipherSuite,
  tree: RatchetTree,
  above: PlacedParentNode,
  known: ReducedHashes,
): boolean {
  const { encryptionKey, parentHash, unmergedLeaves } = above.parentNode
  const [left, right] = childrenOf(above)
  return [[left, right] as const, [right, left] as const].some(([below, beside]) => {
    const linked = onlyMerged(below, leavesWithin(below, unmergedLeaves))
    const stated = linked === null ? null : statedParentHash(tree, linked)
    if (stated === null || stated.length !== suite.hashLength) return false
    const originalSiblingTreeHash = hashWithout(
      suite,
      { ...beside, without: unmergedLeaves },
      known,
    )
    const made = parentHashOf(suite, { encryptionKey, parentHash, originalSiblingTreeHash })
    return equalBytes(stated, made)
  })
}

/**
 * The one node of a resolution beside these unmerged leaves; null where there is none, where there
 * are more, or where one of the unmerged leaves is missing.
 */
function onlyMerged(below: Placed, unmerged: readonly number[]): number | null {
  let merged: number | null = null
  let count = 0
  for (const node of resolved(below)) {
    const leaf = nodeToLeaf(node)
    if (isLeaf(node) && unmerged[insertionPoint(unmerged, leaf)] === leaf) {
      count++
    } else {
      if (merged !== null) return null
      merged = node
    }
  }
  return count === unmerged.length ? merged : null
}

/** Null for a leaf that no commit has set. */
function statedParentHash(tree: RatchetTree, at: number): Uint8Array | null {
  const node = subtreeAt(tree.root, at)?.node
  if (node?.kind === 'parent') return node.parentNode.parentHash
  const source = node?.leafNode.source
  return source?.kind === 'commit' ? source.parentHash : null
}

async function haveSigned(
  suite: CipherSuite,
  tree: RatchetTree,
  groupId: Uint8Array,
): Promise<boolean> {
  let started: Promise<boolean>[] = []
  for (const { leaf, leafNode } of members(tree)) {
    started.push(verifyLeafNode(suite, leafNode, { groupId, leaf }))
    if (started.length < SIGNATURES_AT_ONCE) continue
    if ((await Promise.all(started)).includes(false)) return false
    started = []
  }
  return !(await Promise.all(started)).includes(false)
}
