/**
 * The port beside the library's own sequences, over the library's own primitives, as an independent
 * member of the same group; and trees and commits that only a member or an inviter could forge.
 */
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { type CiphersuiteImpl, type ClientState, createCommit, emptyPskIndex } from 'ts-mls'
import {
  decodeMlsMessage,
  encodeMlsMessage,
  generateKeyPackage,
  getCiphersuiteFromName,
} from 'ts-mls'
import {
  getCiphersuiteImpl,
  joinGroup,
  mlsExporter,
  processPublicMessage,
  type Proposal,
} from 'ts-mls'
import type { Node, RatchetTree } from 'ts-mls/ratchetTree.js'
import { rootFromNodeWidth } from 'ts-mls/treemath.js'
import { toHex, utf8Encode } from '#core/base/bytes.ts'
import { leafIndex } from '#core/base/ids.ts'
import { SUITES } from '#core/crypto/suites.ts'
import type { CommitMade, MlsGroup } from '#core/mls/mls.ts'
import { stateOf } from '#core/mls/ts-mls-state.ts'
import { demandSoundTree, treeHashes } from '#core/mls/ts-mls-tree.ts'
import { codeOf, commit, createGroup, createStory, crypto, follow, join } from './mls-people.ts'
import { keyPackageOf, mls, NOW, type Story } from './mls-people.ts'

const suite = SUITES.interoperation

interface Peer {
  readonly state: ClientState
  readonly primitives: CiphersuiteImpl
}

function libraryPackage(primitives: CiphersuiteImpl, name: string) {
  return generateKeyPackage(
    { credentialType: 'basic', identity: utf8Encode(name) },
    {
      versions: ['mls10' as const],
      ciphersuites: [primitives.name],
      extensions: [],
      proposals: [],
      credentials: ['basic' as const],
    },
    // The library reads the wall clock here, so the lifetime has no end.
    { notBefore: 0n, notAfter: 9_999_999_999n },
    [],
    primitives,
  )
}

/** Alice's group of the port with the library as Bob, and Carol of the port. */
async function withPeer(story: Story): Promise<{
  readonly alice: MlsGroup
  readonly carol: MlsGroup
  readonly peer: Peer
}> {
  const primitives = await getCiphersuiteImpl(
    getCiphersuiteFromName('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'),
  )
  const bobs = await libraryPackage(primitives, 'bob')
  const keyPackage = encodeMlsMessage({
    version: 'mls10',
    wireformat: 'mls_key_package',
    keyPackage: bobs.publicPackage,
  })
  const carols = await keyPackageOf(story, 'carol')
  const none = new Uint8Array(0)
  const adds = [{ keyPackage, reference: none, secrets: none }, carols]
  const made = await commit(story, await createGroup(story, 'alice'), { adds })
  const welcome = decodeMlsMessage(made.welcome as Uint8Array, 0)?.[0]
  ok(welcome?.wireformat === 'mls_welcome')
  const state = await joinGroup(
    welcome.welcome,
    bobs.publicPackage,
    bobs.privatePackage,
    emptyPskIndex,
    primitives,
  )
  return { alice: made.next, carol: await join(carols, made.welcome), peer: { state, primitives } }
}

async function peerFollows(peer: Peer, made: CommitMade): Promise<Peer> {
  const message = decodeMlsMessage(made.commit, 0)?.[0]
  ok(message?.wireformat === 'mls_public_message')
  const { publicMessage } = message
  const { state, primitives } = peer
  const next = await processPublicMessage(state, publicMessage, emptyPskIndex, primitives)
  return { primitives, state: next.newState }
}

async function peerCommits(peer: Peer, extraProposals: Proposal[], asPublic = true) {
  const made = await createCommit({ state: peer.state, cipherSuite: peer.primitives }, {
    wireAsPublicMessage: asPublic,
    extraProposals,
    ratchetTreeExtension: true,
    authenticatedData: utf8Encode('seen'),
  })
  return { bytes: encodeMlsMessage(made.commit), peer: { ...peer, state: made.newState } }
}

async function assertSame(group: MlsGroup, { state, primitives }: Peer): Promise<void> {
  const { exporterSecret, epochAuthenticator } = state.keySchedule
  strictEqual(toHex(mls.epochAuthenticator(group)), toHex(epochAuthenticator))
  const context = utf8Encode('x')
  const theirs = await mlsExporter(exporterSecret, 'label', context, 40, primitives)
  const ours = await mls.exportSecret(group, { label: 'label', context, length: 40 })
  deepStrictEqual(ours, theirs)
}

Deno.test('the library joins, follows and exports what the port does', async () => {
  const story = createStory(suite, 50)
  const { alice, carol, peer } = await withPeer(story)
  await assertSame(alice, peer)
  const removal = await commit(story, alice, {
    adds: [await keyPackageOf(story, 'dave'), await keyPackageOf(story, 'erin')],
  })
  const followed = await peerFollows(peer, removal)
  await assertSame(removal.next, followed)
  const atCarol = await follow(carol, removal.commit)
  const byCarol = await commit(story, atCarol.next, { removes: [leafIndex(0)] })
  await assertSame(byCarol.next, await peerFollows(followed, byCarol))
})

Deno.test('the port follows what the library commits with a path', async () => {
  const story = createStory(suite, 51)
  const { alice, carol, peer } = await withPeer(story)
  const remove: Proposal = { proposalType: 'remove', remove: { removed: 2 } }
  for (const proposals of [[], [remove]]) {
    const { bytes, peer: next } = await peerCommits(peer, proposals)
    const seen = await follow(alice, bytes)
    strictEqual(seen.committer, 1)
    deepStrictEqual(seen.authenticated, utf8Encode('seen'))
    await assertSame(seen.next, next)
  }
  const { bytes } = await peerCommits(peer, [remove])
  strictEqual(codeOf(await mls.processCommit(carol, bytes, NOW)), 'removedFromGroup')
})

Deno.test('ROOM-4: what is no commit of adds and removes with a path is refused', async () => {
  const story = createStory(suite, 52)
  const { alice, peer } = await withPeer(story)
  const { publicPackage: keyPackage } = await libraryPackage(peer.primitives, 'dave')
  const refused: readonly Proposal[][] = [
    // An add alone goes without a path there.
    [{ proposalType: 'add', add: { keyPackage } }],
    [{ proposalType: 'group_context_extensions', groupContextExtensions: { extensions: [] } }],
    [{ proposalType: 0xf777, proposalData: new Uint8Array(3) }],
  ]
  for (const proposals of refused) {
    const { bytes } = await peerCommits(peer, proposals)
    strictEqual(mls.readCommit(bytes).kind, 'commit')
    strictEqual(codeOf(await mls.processCommit(alice, bytes, NOW)), 'invalid')
  }
  const { bytes } = await peerCommits(peer, [], false)
  strictEqual(codeOf(await mls.processCommit(alice, bytes, NOW)), 'malformed')
  strictEqual(codeOf(mls.readCommit(bytes)), 'malformed')
})

/**
 * A tree with an unmerged leaf: Alice's commit blanks leaf 3 and sets the node above leaves 0 to 3;
 * then the member at leaf 4, whose path does not touch that node, lets somebody in at leaf 3.
 */
async function treeWithUnmerged(story: Story): Promise<RatchetTree> {
  const packages = await Promise.all([1, 2, 3, 4].map((n) => keyPackageOf(story, `member ${n}`)))
  const made = await commit(story, await createGroup(story, 'alice'), { adds: packages })
  const fourth = await join(packages[3] as typeof packages[0], made.welcome)
  const removal = await commit(story, made.next, { removes: [leafIndex(3)] })
  const late = await keyPackageOf(story, 'late')
  const { next, welcome } = await commit(story, (await follow(fourth, removal.commit)).next, {
    adds: [late],
  })
  strictEqual(mls.ownLeaf(await join(late, welcome)), 3)
  return stateOf(next).tree
}

function isSound(tree: RatchetTree): boolean {
  demandSoundTree(crypto, suite, tree, treeHashes(crypto, suite, tree))
  return true
}

function changedParent(tree: RatchetTree, change: (unmerged: number[]) => number[]): RatchetTree {
  const at = tree.findIndex((node) =>
    node?.nodeType === 'parent' && node.parent.unmergedLeaves.length > 0
  )
  const node = tree[at]
  ok(node?.nodeType === 'parent')
  const { parent } = node
  const unmergedLeaves = change(parent.unmergedLeaves)
  return tree.with(at, { nodeType: 'parent', parent: { ...parent, unmergedLeaves } })
}

Deno.test('ROOM-7: a joiner takes a tree with unmerged leaves, and no forged one', async () => {
  const tree = await treeWithUnmerged(createStory(suite, 53))
  ok(isSound(tree))
  const forged: readonly RatchetTree[] = [
    changedParent(tree, () => []),
    changedParent(tree, (unmerged) => [...unmerged, ...unmerged]),
    changedParent(tree, (unmerged) => [0, ...unmerged]),
    changedParent(tree, (unmerged) => [...unmerged, 0xffffffff]),
    ...swaps(tree),
    ...tree.flatMap((node, at) => keyChanges(node).map((changed) => tree.with(at, changed))),
    ...blanked(tree),
  ]
  ok(forged.length > 10)
  forged.forEach((each, index) => throws(() => isSound(each), () => true, `forgery ${index}`))
})

/** Trees in which two parents changed places. */
function swaps(tree: RatchetTree): RatchetTree[] {
  const parents = tree.flatMap((node, at) => node?.nodeType === 'parent' ? [at] : [])
  return parents.slice(1).map((at, index) => {
    const before = parents[index] as number
    return tree.with(at, tree[before]).with(before, tree[at])
  })
}

/** Trees without one of their parents below the root; a blank root is what a removal leaves. */
function blanked(tree: RatchetTree): RatchetTree[] {
  const root = rootFromNodeWidth(tree.length)
  return tree.flatMap((node, at) =>
    node?.nodeType === 'parent' && at !== root ? [tree.with(at, undefined)] : []
  )
}

/** A parent with another key, or with another parent hash. */
function keyChanges(node: Node | undefined): Node[] {
  if (node?.nodeType !== 'parent') return []
  const { parent } = node
  const other = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
  return [
    { nodeType: 'parent', parent: { ...parent, hpkePublicKey: other(parent.hpkePublicKey) } },
    { nodeType: 'parent', parent: { ...parent, parentHash: other(parent.parentHash) } },
  ]
}
