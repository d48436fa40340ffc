/**
 * What edits and checks of a ratchet tree cost, in hashes and stored nodes rather than in time: the
 * changed path for an edit, a constant for each node for the check of a whole tree.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import {
  addLeaf,
  changedNodes,
  parentAt,
  removeLeaf,
  replaceLeaf,
  treeHash,
} from '#core/mls/ratchet-tree.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'
import { crowd, suite, unsignedLeaf, withCommit } from './unsigned-tree.ts'

const groupId = Uint8Array.of(1, 2, 3)

/** The count of hashes that some work takes. */
async function hashesOf(work: (counting: typeof suite) => unknown): Promise<number> {
  let count = 0
  await work({
    ...suite,
    verify: () => Promise.resolve(true),
    hash(content) {
      count++
      return suite.hash(content)
    },
  })
  return count
}

Deno.test('after an edit only the changed path is hashed and stored', async () => {
  let tree = crowd(1_023)
  for (let leaf = 0; leaf < 1_023; leaf += 2) tree = withCommit(tree, leaf, 0)
  treeHash(suite, tree)
  const path = 11
  const edits = [
    { edit: withCommit(tree, 511, 1), stored: path },
    { edit: replaceLeaf(tree, 511, unsignedLeaf(1_024, null)), stored: path },
    { edit: removeLeaf(tree, 0), stored: path },
    // The parent of the last two leaves is blank before and after.
    { edit: addLeaf(tree, unsignedLeaf(1_023, null)).tree, stored: path - 1 },
  ]
  for (const { edit, stored } of edits) {
    strictEqual(await hashesOf((counting) => treeHash(counting, edit)), path)
    strictEqual(changedNodes(tree, edit).nodes.length, stored)
  }
})

Deno.test('the blank half of a doubled tree is hashed once', async () => {
  const full = crowd(1_024)
  treeHash(suite, full)
  let tree = addLeaf(full, unsignedLeaf(1_024, null)).tree
  treeHash(suite, tree)
  for (let leaf = 1_025; leaf < 1_100; leaf++) {
    tree = addLeaf(tree, unsignedLeaf(leaf, null)).tree
    strictEqual(await hashesOf((counting) => treeHash(counting, tree)), 12)
  }
  while (tree.leafWidth > 1_024) tree = removeLeaf(tree, tree.memberCount - 1)
  strictEqual(await hashesOf((counting) => treeHash(counting, tree)), 0)
  strictEqual(toHex(treeHash(suite, tree)), toHex(treeHash(suite, full)))
})

Deno.test('many unmerged leaves do not make the check of a tree quadratic', async () => {
  let tree = crowd(1_024)
  for (let leaf = 0; leaf < 1_024; leaf += 2) tree = withCommit(tree, leaf, 0)
  const kept = 256
  let emptied = tree
  for (let leaf = 0; leaf < 1_024; leaf++) {
    if (leaf % (1_024 / kept) !== 0) emptied = removeLeaf(emptied, leaf)
  }
  for (let leaf = 0; leaf < 1_024; leaf += 1_024 / kept) emptied = withCommit(emptied, leaf, 1)
  for (let leaf = 2_000; emptied.memberCount < 1_024; leaf++) {
    emptied = addLeaf(emptied, unsignedLeaf(leaf, null)).tree
  }
  strictEqual(parentAt(emptied, 1_023)?.unmergedLeaves.length, 1_024 - kept)
  treeHash(suite, emptied)
  const nodes = emptied.leafWidth * 2 - 1
  const count = await hashesOf(async (counting) => {
    strictEqual(await verifyTree(counting, emptied, groupId), null)
  })
  ok(count <= 2 * nodes, `${count} hashes for ${nodes} nodes`)
})
