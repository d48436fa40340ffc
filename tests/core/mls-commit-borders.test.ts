/**
 * Commits whose path is made right for what is wrong in it: its maker has valid keys, counts every
 * hash and signs anew, so that one check alone stands between it and the group. And who may commit.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import type { Commit, UpdatePathNode } from '#core/mls/commit.ts'
import type { AuthenticatedContent, Sender } from '#core/mls/framing.ts'
import { externalPublicKey, type Group } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { filteredDirectPath, pathParentHashes, resolution } from '#core/mls/ratchet-tree.ts'
import { stageCommit } from '#core/mls/staged-commit.ts'
import { addOf, candidate, circle, codeOf, commit, commitOf, createStory } from './mls-parties.ts'
import { follow, look, noPsks, NOW, partyOf, publicMessageOf, rewritten } from './mls-parties.ts'
import { suite, threeMembers, withLeaf } from './mls-parties.ts'

type Nodes = readonly UpdatePathNode[]

const pathNodes = ({ path }: Commit): Nodes => {
  ok(path !== null)
  return path.nodes
}

const withNodes = (commit: Commit, nodes: Nodes): Commit => {
  ok(commit.path !== null)
  return { ...commit, path: { ...commit.path, nodes } }
}

const secretCounts = (message: Uint8Array) =>
  pathNodes(commitOf(message)).map(({ encryptedPathSecret }) => encryptedPathSecret.length)

Deno.test('RFC 9420 12.4: a commit is of a member or of who comes in by it', async () => {
  const story = createStory(440)
  const { alice, onlooker } = await threeMembers(story)
  const { template, signatureSecret } = partyOf(story, 'dave')
  const made = await joinByExternalCommit(onlooker, {
    ...{ template, signatureSecret, entropy: story.entropy, timeMs: NOW },
    ...{ removed: null, psks: noPsks, authenticatedData: EMPTY },
    externalPub: await externalPublicKey(alice),
  })
  ok(made.kind === 'committed', codeOf(made))
  const staged = async (message: Uint8Array, sender: Sender) => {
    const { content, auth } = publicMessageOf(message)
    const by = { ...content, sender }
    const authenticated: AuthenticatedContent = { wireFormat: 'publicMessage', content: by, auth }
    return codeOf(await stageCommit(onlooker, authenticated, { timeMs: NOW }))
  }
  const own = await commit(story, alice, {})
  strictEqual(await staged(own.message, { kind: 'member', leaf: 0 }), 'staged')
  strictEqual(await staged(made.message, { kind: 'newMemberCommit' }), 'staged')
  for (const message of [own.message, made.message]) {
    strictEqual(await staged(message, { kind: 'external', senderIndex: 0 }), 'wrongSender')
    strictEqual(await staged(message, { kind: 'newMemberProposal' }), 'wrongSender')
  }
})

/** The commit with other keys on its path; parent hash, signatures and tag follow them. */
async function rekeyed(
  group: Group,
  message: Uint8Array,
  keyOf: (commit: Commit, index: number) => Uint8Array,
): Promise<Uint8Array> {
  const { public: { tree }, ownLeaf } = group
  return await rewritten(group, message, async (commit) => {
    const keys = filteredDirectPath(tree, ownLeaf)
      .map(({ node }, index) => ({ node, encryptionKey: keyOf(commit, index) }))
    const { leafParentHash } = pathParentHashes(suite, tree, ownLeaf, keys)
    const source = { kind: 'commit', parentHash: leafParentHash } as const
    const nodes = pathNodes(commit)
      .map((node, index) => ({ ...node, encryptionKey: keyOf(commit, index) }))
    return await withLeaf(group, { source })(withNodes(commit, nodes))
  })
}

Deno.test('RFC 9420 12.4.2: a key stands once in a path, its leaf included', async () => {
  const story = createStory(441)
  const { alice, onlooker } = await threeMembers(story)
  const { message } = await commit(story, alice, {})
  const taken = async (keyOf: Parameters<typeof rekeyed>[2]) => {
    const changed = await rekeyed(alice, message, keyOf)
    return codeOf(await publicProcess(onlooker, changed, { timeMs: NOW }))
  }
  const own = (commit: Commit, index: number) =>
    (pathNodes(commit)[index] as UpdatePathNode).encryptionKey
  const ofLeaf = ({ path }: Commit) => path?.leafNode.encryptionKey ?? EMPTY
  strictEqual(secretCounts(message).length, 2)
  strictEqual(await taken(own), 'commit')
  strictEqual(await taken((commit) => own(commit, 0)), 'duplicateKey', 'of another node')
  for (const place of [0, 1]) {
    const keyOf = (commit: Commit, index: number) =>
      index === place ? ofLeaf(commit) : own(commit, index)
    strictEqual(await taken(keyOf), 'duplicateKey', `of its leaf, at ${place}`)
  }
})

Deno.test('RFC 9420 7.5: a path has no secret for who is added beside it', async () => {
  const story = createStory(442)
  const { alice, onlooker } = await threeMembers(story)
  const proposals = [addOf(await candidate(story, 'dave'))]
  const { message } = await commit(story, alice, { proposals, path: 'always' })
  deepStrictEqual(secretCounts(message), [1, 1])
  const taken = (bytes: Uint8Array) => publicProcess(onlooker, bytes, { timeMs: NOW })
  const whole = await taken(message)
  ok(whole.kind === 'commit', codeOf(whole))
  deepStrictEqual(whole.change.added.map(({ leaf }) => leaf), [3])
  const more = await rewritten(alice, message, (commit) =>
    withNodes(
      commit,
      pathNodes(commit).map((node) => ({
        ...node,
        encryptedPathSecret: [...node.encryptedPathSecret, ...node.encryptedPathSecret],
      })),
    ))
  strictEqual(codeOf(await taken(more)), 'badPath')
})

Deno.test('RFC 9420 7.5: a path has a secret for the parent above who is added', async () => {
  const story = createStory(443)
  const { members, onlooker } = await circle(story, ['a', 'b', 'c', 'd', 'e'])
  const [, , carol, , erin] = members
  ok(carol !== undefined && erin !== undefined)
  // Carol sets the parent of leaves 0 to 3, node 3; then leaf 1 is filled below it.
  const removal = { kind: 'remove', removed: 1 } as const
  const gone = await commit(story, carol, { proposals: [removal] })
  const [atErin, seen] = [await follow(erin, gone.message), await look(onlooker, gone.message)]
  deepStrictEqual(resolution(seen.tree, 3), [3])
  const proposals = [addOf(await candidate(story, 'dave'))]
  const { message, change } = await commit(story, atErin, { proposals, path: 'always' })
  deepStrictEqual(change.added.map(({ leaf }) => leaf), [1])
  deepStrictEqual(secretCounts(message), [1])
  const taken = async (bytes: Uint8Array) =>
    codeOf(await publicProcess(seen, bytes, { timeMs: NOW }))
  strictEqual(await taken(message), 'commit')
  const without = await rewritten(
    atErin,
    message,
    (commit) =>
      withNodes(commit, pathNodes(commit).map((node) => ({ ...node, encryptedPathSecret: [] }))),
  )
  strictEqual(await taken(without), 'badPath', 'nobody else could follow')
})
