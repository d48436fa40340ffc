/**
 * When `ts-mls` 1.6.4 refuses to join a group that is sound. Owns the prediction, so that a random
 * run demands the refusal where the library errs and success everywhere else.
 */
import type { RatchetTree } from 'ts-mls'
import type { MlsPeer } from './peer.ts'
import type { TsMlsPeer } from './ts-mls-peer.ts'

export const WRONG_UNMERGED = /non-blank intermediate node must list leaf node/

export function isTsMls(peer: MlsPeer): peer is TsMlsPeer {
  return peer.engine === 'ts-mls'
}

/**
 * True when the library refuses the tree for its unmerged leaves. RFC 9420 section 12.4.3.1 looks
 * at the nodes between such a leaf and the node that lists it, and demands that they list the leaf
 * too; the library looks at all nodes above the leaf, and demands equal lists.
 */
export function hasRefusedUnmerged(tree: RatchetTree): boolean {
  const lists = tree.map((node) => node?.nodeType === 'parent' ? node.parent.unmergedLeaves : null)
  return lists.some((list) =>
    list?.some((leaf) =>
      nodesAbove(leaf, tree.length).some((node) => {
        const other = lists[node]
        return other !== null && other !== undefined && other.join() !== list.join()
      })
    )
  )
}

/** Node indices of the direct path of a leaf in an array of `width` nodes. */
function nodesAbove(leaf: number, width: number): readonly number[] {
  const nodes: number[] = []
  let node = leaf * 2
  for (let level = 1; (1 << level) - 1 < width; level++) {
    node = (node | (1 << (level - 1))) & ~(1 << level)
    nodes.push(node)
  }
  return nodes
}
