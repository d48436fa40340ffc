/**
 * Commits that a member signs properly and that are wrong all the same: everybody refuses them
 * alike, so that nobody can lead a part of the group into an epoch of its own.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { type Commit } from 'ts-mls/commit.js'
import { createContentCommitSignature } from 'ts-mls/framedContent.js'
import { decodeMlsMessage, encodeMlsMessage } from 'ts-mls/message.js'
import { protectPublicMessage } from 'ts-mls/messageProtectionPublic.js'
import type { UpdatePath } from 'ts-mls/updatePath.js'
import { leafIndex } from '#core/base/ids.ts'
import { SUITES } from '#core/crypto/suites.ts'
import type { MlsGroup } from '#core/mls/mls.ts'
import { stateOf } from '#core/mls/ts-mls-state.ts'
import { createTsMls } from '#core/mls/ts-mls.ts'
import { ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { codeOf, commit, createStory, crypto, follow, keyPackageOf, mls } from './mls-people.ts'
import { NOW, threeMembers } from './mls-people.ts'

const suite = SUITES.interoperation

interface Forgery {
  readonly commit?: (commit: Commit) => Commit
  readonly confirmationTag?: Uint8Array
  readonly epoch?: bigint
  readonly sender?: number
}

/** A commit of `group` changed by its maker, who signs it again and has the membership key. */
async function forged(group: MlsGroup, bytes: Uint8Array, forgery: Forgery): Promise<Uint8Array> {
  const state = stateOf(group)
  const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
  const message = decodeMlsMessage(bytes, 0)?.[0]
  ok(message?.wireformat === 'mls_public_message')
  const { content, auth } = message.publicMessage
  ok(content.contentType === 'commit' && auth.contentType === 'commit')
  const { framedContent, signature } = await createContentCommitSignature(
    state.context,
    'mls_public_message',
    (forgery.commit ?? ((commit) => commit))(content.commit),
    { senderType: 'member', leafIndex: forgery.sender ?? state.leaf },
    content.authenticatedData,
    state.signatureSecret,
    implementation.signature,
  )
  const publicMessage = await protectPublicMessage(
    state.secrets.membershipKey,
    state.context,
    {
      wireformat: 'mls_public_message',
      content: framedContent,
      auth: {
        contentType: 'commit',
        signature,
        confirmationTag: forgery.confirmationTag ?? auth.confirmationTag,
      },
    },
    implementation,
  )
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage })
}

type PathChange = (path: UpdatePath) => UpdatePath | undefined

const withPath = (change: PathChange): Forgery => ({
  commit(commit) {
    ok(commit.path !== undefined)
    return { ...commit, path: change(commit.path) }
  },
})

/** Changes the ciphertexts of the lowest node of a path. */
function withCiphertexts(
  change: (
    list: UpdatePath['nodes'][number]['encryptedPathSecret'],
  ) => UpdatePath['nodes'][number]['encryptedPathSecret'],
): Forgery {
  return withPath((path) => ({
    ...path,
    nodes: path.nodes.map((node, level) =>
      level > 0 ? node : { ...node, encryptedPathSecret: change(node.encryptedPathSecret) }
    ),
  }))
}

const flip = (bytes: Uint8Array): Uint8Array => bytes.with(0, (bytes[0] as number) ^ 1)

Deno.test('ROOM-4: a path that is not whole is refused, however it is signed', async () => {
  const { alice, bob, carol } = await threeMembers(createStory(suite, 70))
  const story = createStory(suite, 71)
  const made = await commit(story, alice, {})
  const other = await commit(story, alice, {})
  const view = decodeMlsMessage(other.commit, 0)?.[0]
  ok(
    view?.wireformat === 'mls_public_message' &&
      view.publicMessage.content.contentType === 'commit',
  )
  const otherPath = view.publicMessage.content.commit.path
  ok(otherPath !== undefined)
  const forgeries: Readonly<Record<string, Forgery>> = {
    'without path': withPath(() => undefined),
    'a node less': withPath((path) => ({ ...path, nodes: path.nodes.slice(1) })),
    'a node more': withPath((path) => ({ ...path, nodes: [...path.nodes, ...path.nodes] })),
    'the leaf of another commit': withPath((path) => ({ ...path, leafNode: otherPath.leafNode })),
    'the nodes of another commit': withPath((path) => ({ ...path, nodes: otherPath.nodes })),
    'another key in the leaf': withPath((path) => ({
      ...path,
      leafNode: { ...path.leafNode, hpkePublicKey: flip(path.leafNode.hpkePublicKey) },
    })),
    'a secret less': withCiphertexts((list) => list.slice(1)),
    'a secret more': withCiphertexts((list) => [...list, ...list]),
    'a secret that does not open': withCiphertexts((list) =>
      list.map((each) => ({ ...each, ciphertext: flip(each.ciphertext) }))
    ),
    'a secret too short': withCiphertexts((list) =>
      list.map((each) => ({ ...each, ciphertext: each.ciphertext.slice(1) }))
    ),
    'another confirmation tag': { confirmationTag: new Uint8Array(suite.hashLength) },
    'the name of another member': { sender: 1 },
  }
  for (const [what, forgery] of Object.entries(forgeries)) {
    const bytes = await forged(alice, made.commit, forgery)
    for (const group of [bob, carol]) {
      const code = codeOf(await mls.processCommit(group, bytes, NOW))
      ok(code === 'invalid', `${what}: ${code}`)
    }
  }
  // The tool itself makes no commit wrong.
  await follow(bob, await forged(alice, made.commit, {}))
})

Deno.test('ROOM-4: proposals that contradict the tree are refused by whoever follows', async () => {
  const story = createStory(suite, 72)
  const { alice, bob } = await threeMembers(story)
  const daves = await keyPackageOf(story, 'dave')
  const made = await commit(story, alice, { adds: [daves], removes: [leafIndex(2)] })
  const proposals = (change: (list: Commit['proposals']) => Commit['proposals']): Forgery => ({
    commit: (commit) => ({ ...commit, proposals: change(commit.proposals) }),
  })
  const removal = (removed: number): Commit['proposals'][number] => ({
    proposalOrRefType: 'proposal',
    proposal: { proposalType: 'remove', remove: { removed } },
  })
  const forgeries: readonly Forgery[] = [
    proposals(() => []),
    proposals((list) => list.slice(1)),
    proposals((list) => [...list, ...list]),
    proposals((list) => [...list, removal(0)]),
    proposals((list) => [...list, removal(7)]),
    proposals((list) => [...list, removal(0xffffffff)]),
    proposals((list) => [
      ...list,
      { proposalOrRefType: 'reference', reference: new Uint8Array(suite.hashLength) },
    ]),
  ]
  for (const [index, forgery] of forgeries.entries()) {
    const bytes = await forged(alice, made.commit, forgery)
    strictEqual(codeOf(await mls.processCommit(bob, bytes, NOW)), 'invalid', `forgery ${index}`)
  }
})

Deno.test('ROOM-4: secrets that do not lead to the keys of a path are refused', async () => {
  const story = createStory(suite, 73)
  const { alice, bob } = await threeMembers(story)
  // A committer whose HPKE seals something else than the secrets of the path.
  const lying = createTsMls({
    ...crypto,
    aeadSeal: (aead, keyed, plaintext) =>
      crypto.aeadSeal(aead, keyed, plaintext.length === 32 ? flip(plaintext) : plaintext),
  })
  const options = { adds: [], removes: [], authenticated: new Uint8Array(0) }
  const made = await lying.commit(alice, { ...options, nowMs: NOW, entropy: story.entropy })
  ok(made.kind === 'committed')
  strictEqual(codeOf(await mls.processCommit(bob, made.commit, NOW)), 'invalid')
})
