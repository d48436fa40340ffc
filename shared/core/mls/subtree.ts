/**
 * Subtrees of a ratchet tree as immutable objects: an edit copies the path from a leaf to the top
 * and shares everything else. Owns the shape, the counts of members and walking down; what an edit
 * means is `ratchet-tree.ts`, the hash that a subtree keeps is made by `tree-hash.ts`.
 *
 * A subtree does not know where it stands, but its hash, in which leaf indices go, is kept on it:
 * so no subtree object is ever put in another place. A subtree without members is wholly blank, and
 * its children are made when somebody first walks into it.
 */
import { isLeaf, level } from '#core/mls/tree-math.ts'
import type { TreeNode } from '#core/mls/tree-node.ts'

export interface Subtree {
  /** 0 for a leaf. */
  readonly level: number
  /** Null for a blank node. */
  readonly node: TreeNode | null
  readonly memberCount: number
  /** Null in a leaf, and in a blank subtree into which nobody walked. */
  left: Subtree | null
  right: Subtree | null
  /** Null until `tree-hash.ts` has made it. */
  hash: Uint8Array | null
}

/** A subtree and its node index. */
export interface Placed {
  readonly subtree: Subtree
  readonly at: number
}

export function leafSubtree(node: TreeNode | null): Subtree {
  const memberCount = node === null ? 0 : 1
  return { level: 0, node, memberCount, left: null, right: null, hash: null }
}

export function innerSubtree(node: TreeNode | null, left: Subtree, right: Subtree): Subtree {
  const memberCount = left.memberCount + right.memberCount
  return { level: left.level + 1, node, memberCount, left, right, hash: null }
}

export function blankSubtree(height: number): Subtree {
  return { level: height, node: null, memberCount: 0, left: null, right: null, hash: null }
}

/** Left child of a subtree that is no leaf. */
export function leftOf(subtree: Subtree): Subtree {
  subtree.left ??= blankSubtree(subtree.level - 1)
  return subtree.left
}

/** Right child of a subtree that is no leaf. */
export function rightOf(subtree: Subtree): Subtree {
  subtree.right ??= blankSubtree(subtree.level - 1)
  return subtree.right
}

/** Both children of a subtree that is no leaf, with their places. */
export function childrenOf({ subtree, at }: Placed): readonly [Placed, Placed] {
  const half = 1 << (subtree.level - 1)
  return [
    { subtree: leftOf(subtree), at: at - half },
    { subtree: rightOf(subtree), at: at + half },
  ]
}

/** Count of leaves, blank ones included. */
export function leavesUnder(subtree: Subtree): number {
  return 2 ** subtree.level
}

/** The subtree at a node index; null outside of the tree. */
export function subtreeAt(top: Subtree, node: number): Subtree | null {
  const last = leavesUnder(top) * 2 - 2
  if (!Number.isInteger(node) || node < 0 || node > last) return null
  const height = level(node)
  let subtree = top
  let at = leavesUnder(top) - 1
  while (subtree.level > height) {
    const half = 1 << (subtree.level - 1)
    const goesLeft = node < at
    subtree = goesLeft ? leftOf(subtree) : rightOf(subtree)
    at += goesLeft ? -half : half
  }
  return subtree
}

/** The subtrees from the top down to a leaf, which is the last. */
export function descent(top: Subtree, leaf: number): Placed[] {
  const node = leaf * 2
  const path: Placed[] = [{ subtree: top, at: leavesUnder(top) - 1 }]
  for (let here = path[0] as Placed; !isLeaf(here.at);) {
    const [left, right] = childrenOf(here)
    here = node < here.at ? left : right
    path.push(here)
  }
  return path
}

/** New nodes of a leaf and of its direct path. */
export interface PathEdit {
  readonly leaf: TreeNode | null
  parent(at: number, before: TreeNode | null): TreeNode | null
}

/** The tree with new nodes at `path`, which is a `descent`. */
export function withPath(path: readonly Placed[], edit: PathEdit): Subtree {
  let below = leafSubtree(edit.leaf)
  let belowAt = (path[path.length - 1] as Placed).at
  for (let index = path.length - 2; index >= 0; index--) {
    const { subtree, at } = path[index] as Placed
    const node = edit.parent(at, subtree.node)
    below = belowAt < at
      ? innerSubtree(node, below, rightOf(subtree))
      : innerSubtree(node, leftOf(subtree), below)
    belowAt = at
  }
  return below
}

/** Index of the leftmost blank leaf; null in a full tree. */
export function leftmostBlankLeaf(top: Subtree): number | null {
  if (top.memberCount === leavesUnder(top)) return null
  let leaf = 0
  let subtree = top
  while (subtree.level > 0 && subtree.memberCount > 0) {
    const left = leftOf(subtree)
    if (left.memberCount < leavesUnder(left)) {
      subtree = left
    } else {
      leaf += leavesUnder(left)
      subtree = rightOf(subtree)
    }
  }
  return leaf
}

/** Subtrees with a node that is not blank, in the order of node indices. */
export function* occupied(top: Subtree): IterableIterator<Placed & { readonly node: TreeNode }> {
  const above: Placed[] = []
  let here: Placed | null = { subtree: top, at: leavesUnder(top) - 1 }
  while (here !== null || above.length > 0) {
    while (here !== null && here.subtree.memberCount > 0) {
      above.push(here)
      here = here.subtree.level === 0 ? null : childrenOf(here)[0]
    }
    const next = above.pop()
    if (next === undefined) return
    const { node, level: height } = next.subtree
    if (node !== null) yield { ...next, node }
    here = height === 0 ? null : childrenOf(next)[1]
  }
}
