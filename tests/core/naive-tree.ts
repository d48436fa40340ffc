/**
 * A ratchet tree as a plain array of nodes, and RFC 9420 sections 4 and 7 over it word for word:
 * recursive, slow and with nothing kept. The model that the engine's tree is compared with; shares
 * with it only the encoding of single nodes.
 */
import { concat, equalBytes } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type LeafNode, leafNode } from '#core/mls/leaf-node.ts'
import type { ParentNode } from '#core/mls/ratchet-tree.ts'
import { parentNode } from '#core/mls/tree-node.ts'
import { encode, optional, type Writer } from '#core/wire/codec.ts'

/** At even indices leaves, at odd ones parents; null for a blank node. */
export type NaiveNode = LeafNode | ParentNode | null
export type NaiveTree = readonly NaiveNode[]

/** Indices of the first and the last node of a subtree; its top stands in the middle. */
export interface Span {
  readonly first: number
  readonly last: number
}

export function isParent(node: NaiveNode): node is ParentNode {
  return node !== null && 'unmergedLeaves' in node
}

export function whole(tree: NaiveTree): Span {
  return { first: 0, last: tree.length - 1 }
}

export function top({ first, last }: Span): number {
  return (first + last) / 2
}

export function halves(span: Span): readonly [Span, Span] {
  const middle = top(span)
  return [{ first: span.first, last: middle - 1 }, { first: middle + 1, last: span.last }]
}

/** From the whole tree down to the span of one node. */
export function spansTo(tree: NaiveTree, node: number): readonly Span[] {
  const spans = [whole(tree)]
  for (let span = whole(tree); top(span) !== node;) {
    const [left, right] = halves(span)
    span = node <= left.last ? left : right
    spans.push(span)
  }
  return spans
}

export function spanOf(tree: NaiveTree, node: number): Span {
  return spansTo(tree, node).at(-1) as Span
}

/** RFC 9420 section 4.1.1. */
export function naiveResolution(tree: NaiveTree, span: Span): number[] {
  const node = tree[top(span)] ?? null
  if (isParent(node)) return [top(span), ...node.unmergedLeaves.map((leaf) => 2 * leaf)]
  if (node !== null) return [top(span)]
  if (span.first === span.last) return []
  const [left, right] = halves(span)
  return [...naiveResolution(tree, left), ...naiveResolution(tree, right)]
}

/** From below; the top of each span and of the span beside the way (RFC 9420 section 4.1.2). */
export function naiveFilteredPath(
  tree: NaiveTree,
  leaf: number,
): { readonly node: number; readonly copath: number }[] {
  return spansTo(tree, 2 * leaf).slice(0, -1).map((span) => {
    const [left, right] = halves(span)
    return { span, beside: 2 * leaf <= left.last ? right : left }
  }).filter(({ beside }) => naiveResolution(tree, beside).length > 0)
    .map(({ span, beside }) => ({ node: top(span), copath: top(beside) })).reverse()
}

/** RFC 9420 section 7.8, as if some leaves were not there. */
export function naiveHash(
  suite: CipherSuite,
  tree: NaiveTree,
  span: Span,
  without: readonly number[] = [],
): Uint8Array {
  const node = tree[top(span)] ?? null
  const opaque = (w: Writer, bytes: Uint8Array) => {
    w.varint(bytes.length)
    w.raw(bytes)
  }
  return suite.hash(encode({
    encode(w) {
      if (span.first === span.last) {
        const leaf = span.first / 2
        w.u8(1)
        w.u32(leaf)
        optional(leafNode).encode(w, without.includes(leaf) ? null : node as LeafNode | null)
        return
      }
      const [left, right] = halves(span)
      const kept = isParent(node) &&
        {
          ...node,
          unmergedLeaves: node.unmergedLeaves.filter((leaf) => !without.includes(leaf)),
        }
      w.u8(2)
      optional(parentNode).encode(w, kept || null)
      opaque(w, naiveHash(suite, tree, left, without))
      opaque(w, naiveHash(suite, tree, right, without))
    },
    decode: () => {
      throw new Error('never read')
    },
  }, null))
}

/** RFC 9420 section 7.9. */
export function naiveParentHash(
  suite: CipherSuite,
  tree: NaiveTree,
  above: ParentNode,
  beside: Span,
): Uint8Array {
  const prefixed = (bytes: Uint8Array) => [encode(lengthOf, bytes), bytes]
  return suite.hash(concat(
    ...prefixed(above.encryptionKey),
    ...prefixed(above.parentHash),
    ...prefixed(naiveHash(suite, tree, beside, above.unmergedLeaves)),
  ))
}

const lengthOf = {
  encode: (w: Writer, bytes: Uint8Array) => w.varint(bytes.length),
  decode: () => {
    throw new Error('never read')
  },
}

/** Whether a parent is parent-hash valid (RFC 9420 section 7.9.2). */
function isParentHashValid(suite: CipherSuite, tree: NaiveTree, span: Span): boolean {
  const above = tree[top(span)] as ParentNode
  const [left, right] = halves(span)
  return [[left, right] as const, [right, left] as const].some(([below, beside]) => {
    const parentHash = naiveParentHash(suite, tree, above, beside)
    const covering = naiveResolution(tree, below)
    const unmerged = above.unmergedLeaves.map((leaf) => 2 * leaf)
      .filter((node) => node >= below.first && node <= below.last)
    return covering.some((at) => {
      const rest = covering.filter((other) => other !== at)
      const sameSet = rest.length === unmerged.length &&
        rest.every((node) => unmerged.includes(node))
      const stated = statedHash(tree[at] ?? null)
      return sameSet && stated !== null && equalBytes(stated, parentHash)
    })
  })
}

function statedHash(node: NaiveNode): Uint8Array | null {
  if (isParent(node)) return node.parentHash
  return node?.source.kind === 'commit' ? node.source.parentHash : null
}

/** The unmerged leaves of a parent (RFC 9420 section 12.4.3.1). */
function areUnmergedLeavesSound(tree: NaiveTree, span: Span): boolean {
  const { unmergedLeaves } = tree[top(span)] as ParentNode
  return unmergedLeaves.every((leaf, index) => {
    const ascends = index === 0 || (unmergedLeaves[index - 1] as number) < leaf
    const below = 2 * leaf >= span.first && 2 * leaf <= span.last
    if (!ascends || !below || tree[2 * leaf] === null) return false
    return spansTo(tree, 2 * leaf).every((between) => {
      const node = tree[top(between)] ?? null
      const within = between.first >= span.first && between.last <= span.last
      return !within || !isParent(node) || node.unmergedLeaves.includes(leaf)
    })
  })
}

/** Whether all parents of a tree are as its members would have made them. */
export function areParentsSound(suite: CipherSuite, tree: NaiveTree): boolean {
  return tree.every((node, at) =>
    !isParent(node) ||
    areUnmergedLeavesSound(tree, spanOf(tree, at)) &&
      isParentHashValid(suite, tree, spanOf(tree, at))
  )
}

/** The tree with other nodes at one leaf and at the parents above it. */
function changed(
  tree: NaiveTree,
  leaf: number,
  to: {
    readonly leaf: LeafNode | null
    readonly parent: (node: NaiveNode, at: number) => NaiveNode
  },
): NaiveTree {
  const path = spansTo(tree, 2 * leaf).map(top)
  return tree.map((node, at) => {
    if (at === 2 * leaf) return to.leaf
    return path.includes(at) ? to.parent(node, at) : node
  })
}

/** RFC 9420 sections 7.7 and 12.1.1. */
export function naiveAdd(tree: NaiveTree, added: LeafNode): { tree: NaiveTree; leaf: number } {
  const blank = tree.findIndex((node, at) => at % 2 === 0 && node === null)
  const wide = blank >= 0 ? tree : [...tree, ...tree.map(() => null), null]
  const leaf = (blank >= 0 ? blank : tree.length + 1) / 2
  const parent = (node: NaiveNode): NaiveNode =>
    isParent(node)
      ? { ...node, unmergedLeaves: [...node.unmergedLeaves, leaf].sort((a, b) => a - b) }
      : node
  return { tree: changed(wide, leaf, { leaf: added, parent }), leaf }
}

/** RFC 9420 section 12.1.2. */
export function naiveReplace(tree: NaiveTree, leaf: number, to: LeafNode): NaiveTree {
  return changed(tree, leaf, { leaf: to, parent: () => null })
}

/** RFC 9420 sections 7.7 and 12.1.3. */
export function naiveRemove(tree: NaiveTree, leaf: number): NaiveTree {
  let left = changed(tree, leaf, { leaf: null, parent: () => null })
  const isRightBlank = () =>
    left.length > 1 &&
    left.slice((left.length + 1) / 2).every((node, at) => at % 2 === 1 || node === null)
  while (isRightBlank()) left = left.slice(0, (left.length - 1) / 2)
  return left
}

/** RFC 9420 section 7.5. */
export function naiveMerge(
  tree: NaiveTree,
  path: {
    readonly leaf: number
    readonly leafNode: LeafNode
    readonly nodes: ReadonlyMap<number, ParentNode>
  },
): NaiveTree {
  const { leaf, leafNode: to, nodes } = path
  return changed(tree, leaf, { leaf: to, parent: (_, at) => nodes.get(at) ?? null })
}
