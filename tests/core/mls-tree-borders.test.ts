/**
 * What a commit leaves of trees, counts and keys: a tree that is wrong in its links alone, a census
 * that follows the leaves, and no key of a node that is blank.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import { censusOf } from '#core/mls/leaf-census.ts'
import { proposeUpdate } from '#core/mls/messages.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { addLeaf, leafAt, members, parentAt, removeLeaf } from '#core/mls/ratchet-tree.ts'
import { leafToNode } from '#core/mls/tree-math.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'
import { edited, parent } from './mls-inviter.ts'
import { circle, commit, createStory, follow, look, NOW, threeMembers } from './mls-parties.ts'
import { crowd, suite, unsignedLeaf, withCommit } from './unsigned-tree.ts'

Deno.test('RFC 9420 7.9.2: who came below a parent later is unmerged there', async () => {
  // One leaf commits beside a blank one, so that it is linked to the root; then that one is filled.
  for (const [committer, blank] of [[1, 0], [0, 1]] as const) {
    const committed = withCommit(removeLeaf(crowd(4), blank), committer, 1)
    strictEqual(parentAt(committed, 1), null)
    const { tree, leaf } = addLeaf(committed, unsignedLeaf(9, null))
    strictEqual(leaf, blank)
    deepStrictEqual(parentAt(tree, 3)?.unmergedLeaves, [blank])
    strictEqual(await verifyTree(suite, tree, EMPTY), 'badLeafSignature', 'all else is right')
    const merged = edited(tree, [parent(tree, 3, { unmergedLeaves: [] })])
    strictEqual(await verifyTree(suite, merged, EMPTY), 'badParentHash')
  }
})

Deno.test('RFC 9420 7.3: a census follows each commit, with paths and without', async () => {
  const story = createStory(420)
  const { members: people, onlooker } = await circle(story, ['alice', 'bob', 'carol', 'dave'])
  const [alice, bob] = people
  ok(alice !== undefined && bob !== undefined)
  const first = await commit(story, alice, { path: 'always' })
  const one = await look(onlooker, first.message)
  deepStrictEqual(one.census, censusOf(members(one.tree)))
  const followed = await follow(bob, first.message)
  const removal = { kind: 'remove', removed: 3 } as const
  const second = await commit(story, followed, { proposals: [removal] })
  const two = await look(one, second.message)
  strictEqual(leafAt(two.tree, 3), null)
  deepStrictEqual(two.census, censusOf(members(two.tree)))
})

Deno.test('RFC 9420 12.1.2: an Update that is taken up is told, and counted', async () => {
  const story = createStory(422)
  const { alice, bob, onlooker } = await threeMembers(story)
  const sent = await proposeUpdate(bob, {
    wireFormat: 'publicMessage',
    authenticatedData: EMPTY,
    entropy: story.entropy,
  })
  ok(sent.kind === 'sent')
  const seen = await look(onlooker, sent.message)
  const references = [...seen.proposals.values()].map(({ reference }) => reference)
  const made = await commit(story, await follow(alice, sent.message), { references })
  const taken = await publicProcess(seen, made.message, { timeMs: NOW })
  ok(taken.kind === 'commit')
  deepStrictEqual(taken.change.updated.map(({ leaf }) => leaf), [1, 0])
  deepStrictEqual(taken.change.updated[0]?.leafNode, leafAt(taken.group.tree, 1))
  deepStrictEqual(taken.group.census, censusOf(members(taken.group.tree)))
})

Deno.test('RFC 9420 7.5: a member holds its own key, and no key of a blank node', async () => {
  const story = createStory(421)
  const { members: people } = await circle(story, ['alice', 'bob', 'carol', 'dave'])
  const [alice, bob, carol] = people
  ok(alice !== undefined && bob !== undefined && carol !== undefined)
  const first = await commit(story, alice, { path: 'always' })
  const before = await follow(bob, first.message)
  ok(before.privateKeys.has(1), 'the node above Alice and Bob')
  const removal = { kind: 'remove', removed: 0 } as const
  const second = await commit(story, await follow(carol, first.message), { proposals: [removal] })
  const after = await follow(before, second.message)
  strictEqual(parentAt(after.public.tree, 1), null)
  for (const node of after.privateKeys.keys()) {
    ok(node === leafToNode(after.ownLeaf) || parentAt(after.public.tree, node) !== null, `${node}`)
  }
})
