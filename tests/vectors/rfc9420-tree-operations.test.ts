/** Add, Update and Remove on a ratchet tree (RFC 9420 section 12.1) against published vectors. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { proposal } from '#core/mls/proposal.ts'
import {
  addLeaf,
  changedNodes,
  type RatchetTree,
  removeLeaf,
  replaceLeaf,
  treeHash,
  treeOfNodes,
} from '#core/mls/ratchet-tree.ts'
import { decodeRatchetTree, encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { decode } from '#core/wire/codec.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface TreeOperation {
  readonly cipher_suite: number
  readonly proposal: string
  readonly proposal_sender: number
  readonly tree_before: string
  readonly tree_hash_before: string
  readonly tree_after: string
  readonly tree_hash_after: string
}

function applied(tree: RatchetTree, vector: TreeOperation): RatchetTree {
  const decoded = decode(proposal, hex(vector.proposal))
  ok(decoded.kind === 'decoded')
  const { value } = decoded
  if (value.kind === 'add') return addLeaf(tree, value.keyPackage.leafNode).tree
  if (value.kind === 'update') return replaceLeaf(tree, vector.proposal_sender, value.leafNode)
  ok(value.kind === 'remove')
  return removeLeaf(tree, value.removed)
}

function checkIs(suite: CipherSuite, tree: RatchetTree, bytes: string, hash: string): void {
  strictEqual(toHex(encodeRatchetTree(tree)), bytes)
  strictEqual(toHex(treeHash(suite, tree)), hash)
}

familyTest<TreeOperation>('tree-operations', 'tree-operations*.json', (vector, suite) => {
  const before = decodeRatchetTree(suite, hex(vector.tree_before))
  ok(before !== null)
  checkIs(suite, before, vector.tree_before, vector.tree_hash_before)
  const after = applied(before, vector)
  checkIs(suite, after, vector.tree_after, vector.tree_hash_after)
  checkIs(suite, before, vector.tree_before, vector.tree_hash_before)

  const stored = new Map(changedNodes(null, before).nodes.map(({ node, bytes }) => [node, bytes]))
  const { leafWidth, nodes } = changedNodes(before, after)
  for (const { node, bytes } of nodes) stored.set(node, bytes)
  const kept = [...stored].flatMap(([node, bytes]) => bytes === null ? [] : [{ node, bytes }])
  const restored = treeOfNodes(suite, leafWidth, kept)
  ok(restored !== null)
  checkIs(suite, restored, vector.tree_after, vector.tree_hash_after)
  deepStrictEqual(changedNodes(after, restored).nodes, [])
})
