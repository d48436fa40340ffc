/**
 * Ratchet trees that no member made, one by one: encodings and lists of nodes that are refused
 * outright, and trees whose parent hashes all agree and which are refused all the same.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, toHex } from '#core/base/bytes.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import {
  addLeaf,
  encryptionKeyOwner,
  filteredDirectPath,
  leafAt,
  mergePath,
  parentAt,
  type ParentNode,
  removeLeaf,
  replaceLeaf,
  resolution,
  signatureKeyOwner,
  treeOfNodes,
} from '#core/mls/ratchet-tree.ts'
import { decodeRatchetTree, encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { LEAF_WIDTH_MAX, type TreeNode, treeNode } from '#core/mls/tree-node.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'
import { encode, opaque, VARINT_MAX } from '#core/wire/codec.ts'
import { naiveParentHash, type NaiveTree } from './naive-tree.ts'
import { crowd, suite, unsignedLeaf, withCommit } from './unsigned-tree.ts'

const groupId = Uint8Array.of(1, 2, 3)
const unsigned = { ...suite, verify: () => Promise.resolve(true) }

function leafBytes(leafNode: LeafNode): Uint8Array {
  return encode(treeNode, { kind: 'leaf', leafNode, bytes: null })
}

function parentBytes(mark: number, unmergedLeaves: readonly number[] = []): Uint8Array {
  const parentNode = { encryptionKey: Uint8Array.of(8, mark), parentHash: EMPTY, unmergedLeaves }
  return encode(treeNode, { kind: 'parent', parentNode, bytes: null })
}

const [a, b, c] = [0, 1, 2].map((number) => leafBytes(unsignedLeaf(number, null))) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const p = parentBytes(1)

/** The body of a `ratchet_tree` extension of these nodes. */
function bodyOf(...nodes: readonly (Uint8Array | null)[]): Uint8Array {
  const parts = nodes.flatMap((node) =>
    node === null ? [Uint8Array.of(0)] : [Uint8Array.of(1), node]
  )
  return encode(opaque(VARINT_MAX), concat(...parts))
}

Deno.test('a body of a ratchet tree has one form', () => {
  for (const body of [bodyOf(a), bodyOf(a, p, b), bodyOf(a, null, null, p, c)]) {
    const tree = decodeRatchetTree(suite, body)
    ok(tree !== null)
    deepStrictEqual(encodeRatchetTree(tree), body)
  }
  ok(bodyOf(a).length < 0x40)
  const refused: Readonly<Record<string, Uint8Array>> = {
    'no bytes': EMPTY,
    'no nodes': bodyOf(),
    'one blank leaf': bodyOf(null),
    'a blank leaf at the end': bodyOf(a, null, null),
    'a blank leaf beside the last member': bodyOf(a, null, b, null, c, null, null),
    'a blank parent at the end': bodyOf(a, null),
    'a parent at the end': bodyOf(a, null, b, p, c, parentBytes(2)),
    'a parent in place of a leaf': bodyOf(p),
    'a leaf in place of a parent': bodyOf(a, b, c),
    'a parent over no member': bodyOf(a, null, null, null, null, p, null, null, b),
    'a byte more': concat(bodyOf(a), Uint8Array.of(0)),
    'a byte less': bodyOf(a, p, b).subarray(0, -1),
    'a presence of 2': encode(opaque(VARINT_MAX), concat(Uint8Array.of(2), a)),
    'a node of type 3': bodyOf(concat(Uint8Array.of(3), a.subarray(1))),
    'a longer length than needed': concat(Uint8Array.of(0x40), bodyOf(a)),
    'more nodes than a tree may have': encode(
      opaque(VARINT_MAX),
      concat(new Uint8Array(LEAF_WIDTH_MAX * 2), Uint8Array.of(1), a),
    ),
  }
  for (const [name, body] of Object.entries(refused)) {
    strictEqual(decodeRatchetTree(suite, body), null, name)
  }
})

Deno.test('stored nodes make a tree only of their width', () => {
  const nodes = [{ node: 0, bytes: a }, { node: 1, bytes: p }, { node: 2, bytes: b }]
  ok(treeOfNodes(suite, 2, nodes) !== null)
  for (const width of [0, -2, 1, 1.5, 3, 4, NaN, 2 ** 31, LEAF_WIDTH_MAX * 2]) {
    strictEqual(treeOfNodes(suite, width, nodes), null, `${width}`)
  }
  for (const node of [0, 1, 3, -1, 0.5]) {
    strictEqual(treeOfNodes(suite, 2, [...nodes, { node, bytes: a }]), null, `${node}`)
  }
  strictEqual(treeOfNodes(suite, 1, []), null)
  strictEqual(treeOfNodes(suite, 2, [{ node: 0, bytes: a }, { node: 2, bytes: p }]), null)
  strictEqual(treeOfNodes(suite, 1, [{ node: 0, bytes: a.subarray(1) }]), null)
})

Deno.test('a tree is refused when a node between does not name an unmerged leaf', async () => {
  const parent = (mark: number, unmergedLeaves: readonly number[]): ParentNode => ({
    encryptionKey: Uint8Array.of(8, mark),
    parentHash: EMPTY,
    unmergedLeaves,
  })
  // Leaf 1 is unmerged at the root, and merged at node 1 between them: all parent hashes agree.
  const root = parent(3, [1])
  const left = parent(1, [])
  const joined = unsignedLeaf(1, null)
  const halfway: NaiveTree = [null, left, joined, root, null, null, unsignedLeaf(3, null)]
  const right = {
    ...parent(5, []),
    parentHash: naiveParentHash(
      suite,
      [
        unsignedLeaf(0, naiveParentHash(suite, halfway, left, { first: 2, last: 2 })),
        ...halfway.slice(1),
      ],
      root,
      { first: 0, last: 2 },
    ),
  }
  const model: NaiveTree = [
    unsignedLeaf(0, naiveParentHash(suite, halfway, left, { first: 2, last: 2 })),
    left,
    joined,
    root,
    unsignedLeaf(2, naiveParentHash(suite, halfway, right, { first: 6, last: 6 })),
    right,
    unsignedLeaf(3, null),
  ]
  const treeWith = (lefts: readonly number[]) =>
    treeOfNodes(
      suite,
      4,
      model.map((node, at) => {
        const value = (at % 2 === 0
          ? { kind: 'leaf', leafNode: node, bytes: null }
          : { kind: 'parent', parentNode: node, bytes: null }) as TreeNode
        const named = at === 1 && value.kind === 'parent'
          ? { ...value, parentNode: { ...value.parentNode, unmergedLeaves: lefts } }
          : value
        return { node: at, bytes: encode(treeNode, named) }
      }),
    )
  const tree = treeWith([])
  ok(tree !== null)
  strictEqual(await verifyTree(unsigned, tree, groupId), 'badUnmergedLeaves')
  const other = treeWith([1])
  ok(other !== null)
  strictEqual(await verifyTree(unsigned, other, groupId), 'badParentHash')
})

Deno.test('the hash of a sibling is made anew for other unmerged leaves', async () => {
  let tree = crowd(16)
  for (let leaf = 0; leaf < 16; leaf++) tree = withCommit(tree, leaf, 0)
  tree = withCommit(removeLeaf(removeLeaf(tree, 0), 1), 4, 1)
  tree = withCommit(addLeaf(tree, unsignedLeaf(100, null)).tree, 8, 2)
  tree = addLeaf(tree, unsignedLeaf(101, null)).tree
  // Both name leaves under node 3, which stands beside the path of both of their makers.
  deepStrictEqual(parentAt(tree, 7)?.unmergedLeaves, [0, 1])
  deepStrictEqual(parentAt(tree, 15)?.unmergedLeaves, [1])
  strictEqual(await verifyTree(unsigned, tree, groupId), null)
})

Deno.test('a merged path has no unmerged leaves, and none but its own nodes', () => {
  const tree = crowd(4)
  const leafNode = unsignedLeaf(0, EMPTY)
  const placed = (node: number) => ({
    node,
    parentNode: {
      encryptionKey: Uint8Array.of(7, node),
      parentHash: EMPTY,
      unmergedLeaves: [1],
    },
  })
  const merged = mergePath(tree, { leaf: 0, leafNode, nodes: [1, 3, 5, 99].map(placed) })
  deepStrictEqual(filteredDirectPath(merged, 0).map(({ node }) => node), [1, 3])
  for (const node of [1, 3]) deepStrictEqual(parentAt(merged, node)?.unmergedLeaves, [])
  strictEqual(parentAt(merged, 5), null)
  deepStrictEqual(resolution(merged, 5), [4, 6])
})

Deno.test('a key that moves to another place is found there', async () => {
  const tree = crowd(3)
  const leafNode = unsignedLeaf(0, null)
  const twice = addLeaf(tree, leafNode)
  strictEqual(await verifyTree(unsigned, twice.tree, groupId), 'duplicateKey')
  const moved = removeLeaf(twice.tree, 0)
  strictEqual(signatureKeyOwner(moved, leafNode.signatureKey), twice.leaf)
  strictEqual(encryptionKeyOwner(moved, leafNode.encryptionKey), twice.leaf * 2)
  const again = replaceLeaf(moved, twice.leaf, unsignedLeaf(9, null))
  strictEqual(signatureKeyOwner(again, leafNode.signatureKey), null)
  strictEqual(encryptionKeyOwner(again, leafNode.encryptionKey), null)
})

Deno.test('a tree keeps no message alive and is changed by none', () => {
  const leafNode = unsignedLeaf(5, null)
  const encoded = leafBytes(leafNode)
  const { tree, leaf } = addLeaf(crowd(2), leafNode)
  leafNode.encryptionKey.fill(0)
  leafNode.signatureKey.fill(0)
  const kept = leafAt(tree, leaf)
  ok(kept !== null)
  strictEqual(toHex(leafBytes(kept)), toHex(encoded))
  strictEqual(kept.encryptionKey.buffer, kept.signatureKey.buffer)
  strictEqual(kept.encryptionKey.buffer.byteLength, encoded.length)
})
