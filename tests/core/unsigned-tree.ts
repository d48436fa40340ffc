/**
 * Ratchet trees of members whose signatures nobody looks at, for tests of the tree alone. Owns the
 * keys, which are short and tell where they come from.
 */
import { EMPTY } from '#core/base/bytes.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import {
  addLeaf,
  filteredDirectPath,
  mergePath,
  pathParentHashes,
  type RatchetTree,
  treeOfOne,
} from '#core/mls/ratchet-tree.ts'
import { noble } from '../vectors/implementations.ts'

export const suite = cipherSuite(noble, SUITES.interoperation)
const KEY_PACKAGE = { kind: 'keyPackage', lifetime: { notBefore: 0n, notAfter: 9n } } as const

/** Leaves with keys of their own and signatures that nobody looks at. */
export function unsignedLeaf(number: number, parentHash: Uint8Array | null): LeafNode {
  const key = Uint8Array.of(number >>> 8, number, parentHash === null ? 0 : 1)
  return {
    encryptionKey: key,
    signatureKey: key,
    credential: { kind: 'basic', identity: key },
    capabilities: {
      versions: [1],
      cipherSuites: [1],
      extensions: [],
      proposals: [],
      credentials: [1],
    },
    source: parentHash === null ? KEY_PACKAGE : { kind: 'commit', parentHash },
    extensions: [],
    signature: EMPTY,
  }
}

export function crowd(count: number): RatchetTree {
  let tree = treeOfOne(suite, unsignedLeaf(0, null))
  for (let leaf = 1; leaf < count; leaf++) tree = addLeaf(tree, unsignedLeaf(leaf, null)).tree
  return tree
}

/** A commit whose path has keys that begin with `mark`. */
export function withCommit(tree: RatchetTree, leaf: number, mark: number): RatchetTree {
  const keys = filteredDirectPath(tree, leaf)
    .map(({ node }) => ({ node, encryptionKey: Uint8Array.of(9, mark, node >>> 8, node) }))
  const { nodes, leafParentHash } = pathParentHashes(suite, tree, leaf, keys)
  return mergePath(tree, { leaf, leafNode: unsignedLeaf(leaf, leafParentHash), nodes })
}
