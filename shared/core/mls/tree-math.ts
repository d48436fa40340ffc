/**
 * Arithmetic of node indices in a complete binary tree kept in an array (RFC 9420 appendix C):
 * leaves at even indices, `leafWidth` of them, a power of two. Owns numbers alone, no tree.
 * Node indices are below 2^31.
 */

export function isLeaf(node: number): boolean {
  return (node & 1) === 0
}

/** Node index of a leaf index. */
export function leafToNode(leaf: number): number {
  return leaf * 2
}

/** Leaf index of an even node index. */
export function nodeToLeaf(node: number): number {
  return node >>> 1
}

/** Height above the leaves: the count of ones at the low end of the index. */
export function level(node: number): number {
  return 31 - Math.clz32(~node & (node + 1))
}

/** Index of the root. */
export function root(leafWidth: number): number {
  return leafWidth - 1
}

/** Left child; null for a leaf. */
export function left(node: number): number | null {
  const height = level(node)
  return height === 0 ? null : node ^ (1 << (height - 1))
}

/** Right child; null for a leaf. */
export function right(node: number): number | null {
  const height = level(node)
  return height === 0 ? null : node ^ (3 << (height - 1))
}

/** Parent; null for the root. */
export function parent(node: number, leafWidth: number): number | null {
  if (node === root(leafWidth)) return null
  const height = level(node)
  return (node | (1 << height)) & ~(1 << (height + 1))
}

/** The other child of the parent; null for the root. */
export function sibling(node: number, leafWidth: number): number | null {
  return node === root(leafWidth) ? null : node ^ (1 << (level(node) + 1))
}

/** From the parent of a node up to the root (RFC 9420 section 4.1). */
export function directPath(node: number, leafWidth: number): readonly number[] {
  const path: number[] = []
  for (let at = parent(node, leafWidth); at !== null; at = parent(at, leafWidth)) path.push(at)
  return path
}

/** The siblings of a node and of its direct path, without the root (RFC 9420 section 4.1). */
export function copath(node: number, leafWidth: number): readonly number[] {
  const siblings: number[] = []
  for (let at: number | null = node; at !== null; at = parent(at, leafWidth)) {
    const beside = sibling(at, leafWidth)
    if (beside !== null) siblings.push(beside)
  }
  return siblings
}

/** The lowest node that is an ancestor of both or one of them. */
export function commonAncestor(a: number, b: number): number {
  if (isWithin(a, b)) return b
  if (isWithin(b, a)) return a
  const height = 32 - Math.clz32(a ^ b)
  return ((a >>> height) << height) | ((1 << (height - 1)) - 1)
}

/** Whether a node stands in the subtree under another, or is it. */
export function isWithin(node: number, ancestor: number): boolean {
  const height = level(ancestor) + 1
  return level(node) < height && node >>> height === ancestor >>> height
}
