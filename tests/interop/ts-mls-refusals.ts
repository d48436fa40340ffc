/**
 * When `ts-mls` 1.6.4 refuses to join a group that is sound. Owns the prediction, so that a random
 * run demands the refusal where the library errs and success everywhere else.
 */
import { parentAt, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import { directPath, leafToNode } from '#core/mls/tree-math.ts'
import type { MlsPeer } from './peer.ts'

export const WRONG_UNMERGED = /non-blank intermediate node must list leaf node/

/** The refusal that the library owes to its fault; null for every other engine and tree. */
export function refusalOf(comer: MlsPeer, tree: RatchetTree | null): RegExp | null {
  const refused = comer.engine === 'ts-mls' && tree !== null && hasRefusedUnmerged(tree)
  return refused ? WRONG_UNMERGED : null
}

/**
 * True when the library refuses the tree for its unmerged leaves. RFC 9420 section 12.4.3.1 looks
 * at the nodes between such a leaf and the node that lists it, and demands that they list the leaf
 * too; the library looks at all nodes above the leaf, and demands equal lists.
 */
function hasRefusedUnmerged(tree: RatchetTree): boolean {
  const width = tree.leafWidth * 2 - 1
  const lists = Array.from({ length: width }, (_, node) => parentAt(tree, node)?.unmergedLeaves)
  return lists.some((list) =>
    list?.some((leaf) =>
      directPath(leafToNode(leaf), tree.leafWidth).some((node) => {
        const other = lists[node]
        return other !== undefined && other.join() !== list.join()
      })
    )
  )
}
