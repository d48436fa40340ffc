/**
 * Tree hashes, resolutions and validity of received ratchet trees (RFC 9420 sections 4.1.1, 7.8,
 * 7.9 and 12.4.3.1) against published vectors, and that each kind of damage to them is refused.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import {
  changedNodes,
  leafAt,
  type ParentNode,
  type RatchetTree,
  resolution,
  subtreeHash,
  treeHash,
  treeOfNodes,
} from '#core/mls/ratchet-tree.ts'
import { decodeRatchetTree, encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { type TreeNode, treeNode } from '#core/mls/tree-node.ts'
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

/** A change of one node's encoding; null where it does not apply. */
type Damage = (node: TreeNode, at: number, tree: RatchetTree) => TreeNode | null

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  copy[0] = (copy[0] as number) ^ 1
  return copy
}

const parentDamage = (change: (parent: ParentNode, tree: RatchetTree) => ParentNode): Damage => {
  return (node, _, tree) =>
    node.kind === 'parent'
      ? { kind: 'parent', parentNode: change(node.parentNode, tree), bytes: null }
      : null
}
const leafDamage = (change: (leaf: LeafNode, tree: RatchetTree) => LeafNode): Damage => {
  return (node, at, tree) =>
    node.kind === 'leaf' && at > 0
      ? { kind: 'leaf', leafNode: change(node.leafNode, tree), bytes: null }
      : null
}

function firstLeaf(tree: RatchetTree): LeafNode {
  const leaf = leafAt(tree, 0)
  ok(leaf !== null)
  return leaf
}

/** The fault that the first node to which the damage applies must bring about. */
const damages: readonly (readonly [TreeFault, Damage])[] = [
  ['badParentHash', parentDamage((p) => ({ ...p, encryptionKey: flipped(p.encryptionKey) }))],
  ['badParentHash', parentDamage((p) => ({ ...p, parentHash: Uint8Array.of(...p.parentHash, 1) }))],
  [
    'badUnmergedLeaves',
    parentDamage((p, { leafWidth }) => ({ ...p, unmergedLeaves: [leafWidth] })),
  ],
  ['badUnmergedLeaves', parentDamage((p) => ({ ...p, unmergedLeaves: [1, 0] }))],
  ['badUnmergedLeaves', parentDamage((p) => ({ ...p, unmergedLeaves: [0, 0] }))],
  [
    'duplicateKey',
    parentDamage((p, tree) => {
      return { ...p, encryptionKey: firstLeaf(tree).encryptionKey }
    }),
  ],
  [
    'duplicateKey',
    leafDamage((leaf, tree) => {
      return { ...leaf, signatureKey: firstLeaf(tree).signatureKey }
    }),
  ],
  [
    'duplicateKey',
    leafDamage((leaf, tree) => {
      return { ...leaf, encryptionKey: firstLeaf(tree).encryptionKey }
    }),
  ],
]

/** The tree with the first node damaged to which the damage applies; null where none is. */
function damaged(suite: CipherSuite, tree: RatchetTree, damage: Damage): RatchetTree | null {
  let done = false
  const nodes = changedNodes(null, tree).nodes.map(({ node: at, bytes }) => {
    ok(bytes !== null)
    const decoded = decode(treeNode, bytes)
    ok(decoded.kind === 'decoded')
    const changed = done ? null : damage(decoded.value, at, tree)
    done ||= changed !== null
    return { node: at, bytes: changed === null ? bytes : encode(treeNode, changed) }
  })
  return done ? treeOfNodes(suite, tree.leafWidth, nodes) : null
}

familyTest<TreeValidation>('damaged trees', 'tree-validation*.json', async (vector, suite) => {
  const tree = treeFrom(suite, vector)
  const groupId = hex(vector.group_id)
  let applied = 0
  for (const [fault, damage] of damages) {
    const broken = damaged(suite, tree, damage)
    if (broken === null) continue
    applied++
    strictEqual(await verifyTree(suite, broken, groupId), fault)
  }
  ok(applied >= 2)
  const unsigned = leafDamage((leaf) => ({ ...leaf, signature: flipped(leaf.signature) }))
  const broken = damaged(suite, tree, unsigned)
  ok(broken !== null)
  const fault = await verifyTree(suite, broken, groupId)
  ok(fault === 'badLeafSignature' || fault === 'badParentHash')
})
