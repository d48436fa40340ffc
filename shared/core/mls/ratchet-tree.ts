/**
 * The ratchet tree of a group (RFC 9420 sections 4 and 7) as a value: lookups, the edits that
 * proposals and commits make, paths and resolutions, and an index of the keys in it. An edit costs
 * O(log n) and leaves the tree that it was given as it was. Owns no rule about who may edit, no
 * signature and no encoding of whole trees (see `tree-codec.ts`).
 *
 * Keys are indexed in ordered maps that compare the keys themselves. Peers choose keys; a hash of a
 * part of them could be aimed at, and hashing all of them would double the work of taking in a
 * large tree.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY, equalBytes } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import { PersistentMap } from '#core/mls/persistent-map.ts'
import {
  blankSubtree,
  childrenOf,
  descent,
  innerSubtree,
  leafSubtree,
  leavesUnder,
  leftmostBlankLeaf,
  leftOf,
  occupied,
  type PathEdit,
  type Placed,
  rightOf,
  type Subtree,
  subtreeAt,
  withPath,
} from '#core/mls/subtree.ts'
import { hashOf, parentHashOf } from '#core/mls/tree-hash.ts'
import { directPath as directPathOf, isLeaf, leafToNode, nodeToLeaf } from '#core/mls/tree-math.ts'
import {
  encryptionKeyOf,
  LEAF_WIDTH_MAX,
  nodeBytes,
  ownedLeaf,
  ownedParent,
  type ParentNode,
  readNode,
  type TreeNode,
  withUnmergedLeaf,
} from '#core/mls/tree-node.ts'

export type { ParentNode } from '#core/mls/tree-node.ts'

export interface RatchetTree {
  /** The suite that its hashes are made with. */
  readonly suiteId: number
  /** Count of leaves, blank ones included: a power of two. */
  readonly leafWidth: number
  readonly memberCount: number
  readonly root: Subtree
  /** Node index of each encryption key. */
  readonly encryptionKeys: PersistentMap<number>
  /** Leaf index of each signature key. */
  readonly signatureKeys: PersistentMap<number>
}

/** A parent and its node index. */
export interface PlacedParent {
  readonly node: number
  readonly parentNode: ParentNode
}

type Indexes = Pick<RatchetTree, 'encryptionKeys' | 'signatureKeys'>

function treeOf(suiteId: number, root: Subtree, indexes: Indexes): RatchetTree {
  const { encryptionKeys, signatureKeys } = indexes
  const leafWidth = leavesUnder(root)
  return {
    suiteId,
    leafWidth,
    memberCount: root.memberCount,
    root,
    encryptionKeys,
    signatureKeys,
  }
}

/** The tree of a new group. */
export function treeOfOne(suite: CipherSuite, leafNode: LeafNode): RatchetTree {
  const root = leafSubtree(ownedLeaf(leafNode))
  return treeOf(suite.id, root, indexesOf(root))
}

function indexesOf(root: Subtree): Indexes {
  const encryption: { readonly key: Uint8Array; readonly value: number }[] = []
  const signature: typeof encryption = []
  for (const { at, node } of occupied(root)) {
    encryption.push({ key: encryptionKeyOf(node), value: at })
    if (node.kind === 'leaf') {
      signature.push({ key: node.leafNode.signatureKey, value: nodeToLeaf(at) })
    }
  }
  return {
    encryptionKeys: PersistentMap.of(encryption),
    signatureKeys: PersistentMap.of(signature),
  }
}

/** Null for a blank leaf and for an index outside of the tree. */
export function leafAt(tree: RatchetTree, leaf: number): LeafNode | null {
  const node = subtreeAt(tree.root, leafToNode(leaf))?.node ?? null
  return node?.kind === 'leaf' ? node.leafNode : null
}

/** Null for a blank parent, for a leaf and for a node index outside of the tree. */
export function parentAt(tree: RatchetTree, node: number): ParentNode | null {
  const found = subtreeAt(tree.root, node)?.node ?? null
  return found?.kind === 'parent' ? found.parentNode : null
}

/** Leaves that are not blank, from left to right. */
export function* members(
  tree: RatchetTree,
): IterableIterator<{ readonly leaf: number; readonly leafNode: LeafNode }> {
  for (const { at, node } of occupied(tree.root)) {
    if (node.kind === 'leaf') yield { leaf: nodeToLeaf(at), leafNode: node.leafNode }
  }
}

/** Node index of the leaf or parent that has an encryption key. */
export function encryptionKeyOwner(tree: RatchetTree, key: Uint8Array): number | null {
  return tree.encryptionKeys.get(key) ?? null
}

/** Leaf index of the member that has a signature key. */
export function signatureKeyOwner(tree: RatchetTree, key: Uint8Array): number | null {
  return tree.signatureKeys.get(key) ?? null
}

/**
 * Puts a leaf at the leftmost blank place, doubling a full tree, and among the unmerged leaves of
 * the parents above (RFC 9420 section 7.7, 12.1.1).
 */
export function addLeaf(
  tree: RatchetTree,
  leafNode: LeafNode,
): { readonly tree: RatchetTree; readonly leaf: number } {
  const blank = leftmostBlankLeaf(tree.root)
  const leaf = blank ?? tree.leafWidth
  const root = blank === null
    ? innerSubtree(null, tree.root, blankSubtree(tree.root.level))
    : tree.root
  const added = edited({ ...tree, root }, leaf, {
    leaf: ownedLeaf(leafNode),
    parent: (_, before) => withUnmergedLeaf(before, leaf),
  })
  return { tree: added, leaf }
}

/** An Update: sets a leaf and blanks its direct path (RFC 9420 section 12.1.2). */
export function replaceLeaf(tree: RatchetTree, leaf: number, leafNode: LeafNode): RatchetTree {
  assert(leafAt(tree, leaf) !== null, 'an updated leaf is a member')
  return edited(tree, leaf, { leaf: ownedLeaf(leafNode), parent: () => null })
}

/**
 * Blanks a leaf and its direct path, and halves the tree while no member stands in its right half
 * (RFC 9420 sections 7.7 and 12.1.3). An unmerged leaf is named by its ancestors alone, which are
 * blank then.
 */
export function removeLeaf(tree: RatchetTree, leaf: number): RatchetTree {
  assert(leafAt(tree, leaf) !== null, 'a removed leaf is a member')
  const blanked = edited(tree, leaf, { leaf: null, parent: () => null })
  let { root } = blanked
  while (root.level > 0 && rightOf(root).memberCount === 0) root = leftOf(root)
  return treeOf(tree.suiteId, root, blanked)
}

/**
 * Sets the committer's leaf and the parents of its filtered direct path, and blanks the others
 * above it (RFC 9420 section 7.5). `nodes` elsewhere in the tree are without effect.
 */
export function mergePath(
  tree: RatchetTree,
  path: {
    readonly leaf: number
    readonly leafNode: LeafNode
    readonly nodes: readonly PlacedParent[]
  },
): RatchetTree {
  const { leaf, leafNode, nodes } = path
  assert(leafAt(tree, leaf) !== null, 'a committer is a member')
  const parents = new Map(nodes.map(({ node, parentNode }) => [node, parentNode]))
  return edited(tree, leaf, {
    leaf: ownedLeaf(leafNode),
    parent(at) {
      const parentNode = parents.get(at)
      return parentNode === undefined ? null : ownedParent({ ...parentNode, unmergedLeaves: [] })
    },
  })
}

/** The tree and its indexes after an edit of one leaf and its direct path. */
function edited(
  tree: Indexes & { readonly suiteId: number; readonly root: Subtree },
  leaf: number,
  edit: PathEdit,
): RatchetTree {
  const before = descent(tree.root, leaf)
  const root = withPath(before, edit)
  const after = descent(root, leaf)
  let { encryptionKeys, signatureKeys } = tree
  for (const [index, { subtree: { node }, at }] of before.entries()) {
    if (node === null || keepsKeys(node, (after[index] as Placed).subtree.node)) continue
    encryptionKeys = without(encryptionKeys, encryptionKeyOf(node), at)
    if (node.kind === 'leaf') {
      signatureKeys = without(signatureKeys, node.leafNode.signatureKey, nodeToLeaf(at))
    }
  }
  for (const [index, { subtree: { node }, at }] of after.entries()) {
    if (node === null || keepsKeys(node, (before[index] as Placed).subtree.node)) continue
    encryptionKeys = encryptionKeys.set(encryptionKeyOf(node), at)
    if (node.kind === 'leaf') {
      signatureKeys = signatureKeys.set(node.leafNode.signatureKey, nodeToLeaf(at))
    }
  }
  return treeOf(tree.suiteId, root, { encryptionKeys, signatureKeys })
}

/** Whether two nodes of a place share their key: a parent with one more unmerged leaf. */
function keepsKeys(a: TreeNode, b: TreeNode | null): boolean {
  return b !== null && encryptionKeyOf(a) === encryptionKeyOf(b)
}

/** An index without a key, unless the key belongs to another place by now. */
function without(index: PersistentMap<number>, key: Uint8Array, place: number) {
  return index.get(key) === place ? index.delete(key) : index
}

/** From the parent of a leaf up to the root (RFC 9420 section 4.1). */
export function directPath(tree: RatchetTree, leaf: number): readonly number[] {
  return directPathOf(leafToNode(leaf), tree.leafWidth)
}

/**
 * The direct path of a leaf, from below, without the nodes over an empty copath resolution, each
 * with its copath node (RFC 9420 section 4.1.2). Empty for a leaf outside of the tree.
 */
export function filteredDirectPath(
  tree: RatchetTree,
  leaf: number,
): readonly { readonly node: number; readonly copath: number }[] {
  return placedPath(tree, leaf).map(({ above, beside }) => ({ node: above.at, copath: beside.at }))
}

function placedPath(tree: RatchetTree, leaf: number) {
  const path: { readonly above: Placed; readonly beside: Placed }[] = []
  if (subtreeAt(tree.root, leafToNode(leaf)) === null) return path
  const down = descent(tree.root, leaf)
  for (let index = down.length - 2; index >= 0; index--) {
    const above = down[index] as Placed
    const [left, right] = childrenOf(above)
    const beside = leafToNode(leaf) < above.at ? right : left
    if (beside.subtree.memberCount > 0) path.push({ above, beside })
  }
  return path
}

/** The nodes that cover a subtree's members (RFC 9420 section 4.1.1); empty outside of the tree. */
export function resolution(tree: RatchetTree, node: number): readonly number[] {
  const subtree = subtreeAt(tree.root, node)
  return subtree === null ? [] : [...resolved({ subtree, at: node })]
}

/** A resolution, node by node. */
export function* resolved(top: Placed): IterableIterator<number> {
  const waiting: Placed[] = [top]
  for (let here = waiting.pop(); here !== undefined; here = waiting.pop()) {
    const { subtree: { node, memberCount }, at } = here
    if (memberCount === 0) continue
    if (node === null) {
      const [left, right] = childrenOf(here)
      waiting.push(right, left)
      continue
    }
    yield at
    if (node.kind === 'parent') yield* node.parentNode.unmergedLeaves.map(leafToNode)
  }
}

/** Tree hash of the whole tree (RFC 9420 section 7.8). */
export function treeHash(suite: CipherSuite, tree: RatchetTree): Uint8Array {
  assert(suite.id === tree.suiteId, 'a tree is hashed in its own suite')
  return hashOf(suite, { subtree: tree.root, at: tree.leafWidth - 1 })
}

/** Tree hash of the subtree under a node of the tree (RFC 9420 section 7.8). */
export function subtreeHash(suite: CipherSuite, tree: RatchetTree, node: number): Uint8Array {
  assert(suite.id === tree.suiteId, 'a tree is hashed in its own suite')
  const subtree = subtreeAt(tree.root, node)
  assert(subtree !== null, 'a hashed node is in the tree')
  return hashOf(suite, { subtree, at: node })
}

/**
 * The parents that a path of fresh keys makes, with their parent hashes, and the parent hash of the
 * leaf below (RFC 9420 section 7.9). `keys` are of the leaf's filtered direct path, from below, in
 * the tree after the proposals of the commit.
 */
export function pathParentHashes(
  suite: CipherSuite,
  tree: RatchetTree,
  leaf: number,
  keys: readonly { readonly node: number; readonly encryptionKey: Uint8Array }[],
): { readonly nodes: readonly PlacedParent[]; readonly leafParentHash: Uint8Array } {
  assert(suite.id === tree.suiteId, 'a tree is hashed in its own suite')
  const beside = new Map(placedPath(tree, leaf).map((step) => [step.above.at, step.beside]))
  let parentHash = EMPTY
  const nodes = keys.toReversed().map(({ node, encryptionKey }): PlacedParent => {
    const parentNode = { encryptionKey, parentHash, unmergedLeaves: [] }
    const copath = beside.get(node)
    assert(copath !== undefined, 'a key belongs to the filtered direct path')
    const originalSiblingTreeHash = hashOf(suite, copath)
    parentHash = parentHashOf(suite, { encryptionKey, parentHash, originalSiblingTreeHash })
    return { node, parentNode }
  })
  return { nodes: nodes.reverse(), leafParentHash: parentHash }
}

/** Encodings of nodes by node index, as they are stored one by one. */
export interface NodeChanges {
  readonly leafWidth: number
  /** `bytes` is null for a node that is blank or gone. Each node stands once. */
  readonly nodes: readonly { readonly node: number; readonly bytes: Uint8Array | null }[]
}

/** What to store to come from one tree to another; walks only what they do not share. */
export function changedNodes(before: RatchetTree | null, after: RatchetTree): NodeChanges {
  const nodes: { readonly node: number; readonly bytes: Uint8Array | null }[] = []
  const waiting: { readonly at: number; readonly old: Subtree | null; readonly now: Subtree }[] = []
  const width = Math.max(before?.leafWidth ?? 1, after.leafWidth)
  const [old, now] = [before && widened(before.root, width), widened(after.root, width)]
  waiting.push({ at: width - 1, old, now })
  for (let pair = waiting.pop(); pair !== undefined; pair = waiting.pop()) {
    const { at, old, now } = pair
    if (old === now || (now.memberCount === 0 && (old?.memberCount ?? 0) === 0)) continue
    const was = old?.node ?? null
    if (now.node !== was && !(now.node !== null && was !== null && sameNode(now.node, was))) {
      nodes.push({ node: at, bytes: now.node && nodeBytes(now.node) })
    }
    if (now.level === 0) continue
    const half = 1 << (now.level - 1)
    waiting.push({ at: at + half, old: old && rightOf(old), now: rightOf(now) })
    waiting.push({ at: at - half, old: old && leftOf(old), now: leftOf(now) })
  }
  return { leafWidth: after.leafWidth, nodes }
}

function sameNode(a: TreeNode, b: TreeNode): boolean {
  return equalBytes(nodeBytes(a), nodeBytes(b))
}

/** A root with blank parents and blank right halves above it, up to a width. */
function widened(root: Subtree, leafWidth: number): Subtree {
  let wide = root
  while (leavesUnder(wide) < leafWidth) wide = innerSubtree(null, wide, blankSubtree(wide.level))
  return wide
}

/**
 * The tree of stored or received nodes. Null when one is malformed, is of the other kind than its
 * index, stands twice, outside of the tree, or as a parent over no member; when the tree or its
 * right half is blank; and for a width that is no power of two or over the limit.
 */
export function treeOfNodes(
  suite: CipherSuite,
  leafWidth: number,
  nodes: Iterable<{ readonly node: number; readonly bytes: Uint8Array }>,
): RatchetTree | null {
  const isWidth = Number.isInteger(leafWidth) && leafWidth >= 1 && leafWidth <= LEAF_WIDTH_MAX &&
    (leafWidth & (leafWidth - 1)) === 0
  if (!isWidth) return null
  const read: (TreeNode | null)[] = new Array(leafWidth * 2 - 1).fill(null)
  for (const { node, bytes } of nodes) {
    if (read[node] !== null) return null
    const value = readNode(bytes)
    if (value === null || (value.kind === 'leaf') !== isLeaf(node)) return null
    read[node] = value
  }
  const root = grown(read)
  if (root === null || root.memberCount === 0) return null
  if (root.level > 0 && rightOf(root).memberCount === 0) return null
  return treeOf(suite.id, root, indexesOf(root))
}

/** Subtrees joined row by row from the leaves up; null for a parent over no member. */
function grown(nodes: readonly (TreeNode | null)[]): Subtree | null {
  let row: Subtree[] = []
  for (let at = 0; at < nodes.length; at += 2) row.push(leafSubtree(nodes[at] ?? null))
  for (let step = 2; row.length > 1; step *= 2) {
    const above: Subtree[] = []
    for (let index = 0; index < row.length; index += 2) {
      const [left, right] = [row[index] as Subtree, row[index + 1] as Subtree]
      const node = nodes[step * (index + 1) - 1] ?? null
      const isBlank = left.memberCount + right.memberCount === 0
      if (isBlank && node !== null) return null
      above.push(isBlank ? blankSubtree(left.level + 1) : innerSubtree(node, left, right))
    }
    row = above
  }
  return row[0] ?? null
}
