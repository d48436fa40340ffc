/**
 * RFC 9420 sections 7.3 to 7.6, 7.9 and 12.4.2 as rules about paths and about leaves that take the
 * place of others: commits and Updates whose maker has valid keys and signs something wrong.
 */
import { notStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY, toHex, utf8Encode } from '#core/base/bytes.ts'
import { credential as credentialCodec } from '#core/mls/credential.ts'
import type { Commit, UpdatePath, UpdatePathNode } from '#core/mls/commit.ts'
import { type Extension, EXTENSION_TYPE, makeExtension } from '#core/mls/extension.ts'
import { requiredCapabilities } from '#core/mls/extension.ts'
import { enterEpoch, type Group, nextJoinerSecret } from '#core/mls/group.ts'
import type { LeafNodeContent } from '#core/mls/leaf-node.ts'
import type { HpkeCiphertext } from '#core/mls/labelled.ts'
import { ownTemplate } from '#core/mls/commit-make.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { parentAt } from '#core/mls/ratchet-tree.ts'
import { encode } from '#core/wire/codec.ts'
import { addOf, assertAgreement, assertRefused, candidate, circle } from './mls-parties.ts'
import { codeOf, commit, commitOf, createStory, flipped, follow, forged } from './mls-parties.ts'
import { join, leafOf, look, proposed, resigned, rewritten, suite } from './mls-parties.ts'
import { forgedReferences, take, threeMembers, type Traits, tryCommit } from './mls-parties.ts'
import { withLeaf } from './mls-parties.ts'

const removal = (removed: number): Proposal => ({ kind: 'remove', removed })
const unknown: Extension = { type: 0xf0f0, body: EMPTY }

type Codes = Parameters<typeof assertRefused>[2]
type Change = (commit: Commit) => Commit | Promise<Commit>

const onPath = (change: (path: UpdatePath) => UpdatePath | null): Change => (commit) => {
  ok(commit.path !== null)
  return { ...commit, path: change(commit.path) }
}
const onNodes = (change: (nodes: readonly UpdatePathNode[]) => readonly UpdatePathNode[]) =>
  onPath((path) => ({ ...path, nodes: change(path.nodes) }))
const onLowest = (change: (node: UpdatePathNode) => UpdatePathNode) =>
  onNodes(([lowest, ...others]) => [change(lowest as UpdatePathNode), ...others])
const onSecrets = (change: (list: readonly HpkeCiphertext[]) => readonly HpkeCiphertext[]) =>
  onLowest((node) => ({ ...node, encryptedPathSecret: change(node.encryptedPathSecret) }))

/** Alice's commit with each of the changes, signed and tagged by her. */
async function assertWrongPaths(
  seed: number,
  broken: (alice: Group, bob: Group) => readonly (readonly [string, Codes, Change])[],
  traits: Parameters<typeof threeMembers>[1] = {},
): Promise<void> {
  const story = createStory(seed)
  const { alice, bob, onlooker } = await threeMembers(story, traits)
  const made = await commit(story, alice, {})
  for (const [what, codes, change] of broken(alice, bob)) {
    const message = await rewritten(alice, made.message, change)
    try {
      await assertRefused(message, { member: bob, onlooker }, codes)
    } catch (fault) {
      throw new Error(what, { cause: fault })
    }
  }
  // The tool itself makes no commit wrong.
  const same = await rewritten(alice, made.message, (commit) => commit)
  assertAgreement([made.next, await follow(bob, same)], await look(onlooker, same))
}

const hidden = (member: string): Codes => ({ member, onlooker: 'commit' })
const open = (member: string): Codes => ({ member })

Deno.test('7.6: a path has each node of the filtered path, with all secrets', async () => {
  await assertWrongPaths(110, () => [
    ['no path', open('missingPath'), onPath(() => null)],
    ['no node', open('badPath'), onNodes(() => [])],
    ['a node less', open('badPath'), onNodes((nodes) => nodes.slice(1))],
    ['a node more', open('badPath'), onNodes((nodes) => [...nodes, ...nodes])],
    ['a secret less', open('badPath'), onSecrets((list) => list.slice(1))],
    ['a secret more', open('badPath'), onSecrets((list) => [...list, ...list])],
  ])
})

Deno.test('7.5: a path secret opens, and is as long as the hash', async () => {
  const each = (change: (ciphertext: Uint8Array) => Uint8Array) =>
    onSecrets((list) => list.map((one) => ({ ...one, ciphertext: change(one.ciphertext) })))
  const kem = (kemOutput: Uint8Array) =>
    onSecrets((list) => list.map((one) => ({ ...one, kemOutput })))
  await assertWrongPaths(111, () => [
    ['changed', hidden('notDecryptable'), each((ciphertext) => flipped(ciphertext))],
    ['short', hidden('notDecryptable'), each((ciphertext) => ciphertext.slice(1))],
    ['empty', hidden('notDecryptable'), each(() => EMPTY)],
    ['no KEM output', hidden('notDecryptable'), kem(EMPTY)],
    ['a neutral KEM output', hidden('notDecryptable'), kem(new Uint8Array(32))],
  ])
})

Deno.test('7.5: secrets lead to the keys of the path, for everybody', async () => {
  const story = createStory(112)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  // A committer whose HPKE seals something else than the secrets of the path.
  const lying = {
    ...suite,
    hpkeSeal: (...[sending, plaintext]: Parameters<typeof suite.hpkeSeal>) =>
      suite.hpkeSeal(sending, flipped(plaintext)),
  }
  const liar = { ...alice, public: { ...alice.public, suite: lying } }
  const made = await commit(story, liar, {})
  await assertRefused(made.message, { member: bob, onlooker }, hidden('badPath'))
  await assertRefused(made.message, { member: carol }, open('badPath'))
  const longer = {
    ...suite,
    hpkeSeal: (...[sending, plaintext]: Parameters<typeof suite.hpkeSeal>) =>
      suite.hpkeSeal(sending, Uint8Array.of(...plaintext, 0)),
  }
  const other = { ...alice, public: { ...alice.public, suite: longer } }
  const long = await commit(story, other, {})
  await assertRefused(long.message, { member: bob, onlooker }, hidden('notDecryptable'))
})

Deno.test('12.4.2: keys of a path are new, distinct and of the suite', async () => {
  await assertWrongPaths(113, (alice) => {
    const { tree } = alice.public
    const root = parentAt(tree, 3)
    const lower = parentAt(tree, 1)
    ok(root !== null && lower !== null)
    const keyed = (encryptionKey: Uint8Array) => onLowest((node) => ({ ...node, encryptionKey }))
    return [
      ['of a leaf', open('duplicateKey'), keyed(leafOf(alice, 2).encryptionKey)],
      ['of the own leaf before', open('duplicateKey'), keyed(leafOf(alice, 0).encryptionKey)],
      ['of the same node before', open('duplicateKey'), keyed(lower.encryptionKey)],
      ['of the root before', open('duplicateKey'), keyed(root.encryptionKey)],
      [
        'of the new leaf',
        open('duplicateKey'),
        onPath((path) => ({
          ...path,
          nodes: path.nodes.map((node) => ({
            ...node,
            encryptionKey: path.leafNode.encryptionKey,
          })),
        })),
      ],
      [
        'twice in the path',
        open('duplicateKey'),
        onNodes(([lowest, ...others]) => [
          lowest as UpdatePathNode,
          ...others.map((node) => ({
            ...node,
            encryptionKey: (lowest as UpdatePathNode).encryptionKey,
          })),
        ]),
      ],
      ['empty', open('badPath'), keyed(EMPTY)],
      ['longer', open('badPath'), keyed(new Uint8Array(33))],
    ]
  })
})

Deno.test('12.4.2: keys of a path are not those of who is added beside it', async () => {
  const story = createStory(114)
  const { alice, bob, onlooker } = await threeMembers(story)
  const dave = await candidate(story, 'dave')
  const { encryptionKey } = dave.keyPackage.leafNode
  const made = await commit(story, alice, { proposals: [addOf(dave)], path: 'always' })
  const changes: readonly Change[] = [
    onLowest((node) => ({ ...node, encryptionKey })),
    withLeaf(alice, { encryptionKey }),
  ]
  for (const change of changes) {
    const message = await rewritten(alice, made.message, change)
    await assertRefused(message, { member: bob, onlooker }, open('duplicateKey'))
  }
})

Deno.test('7.9.2: the leaf of a path has the parent hash of the path', async () => {
  await assertWrongPaths(115, (alice) => {
    const stated = (parentHash: Uint8Array) =>
      withLeaf(alice, { source: { kind: 'commit', parentHash } })
    return [
      ['none', open('badParentHash'), stated(EMPTY)],
      ['another', open('badParentHash'), stated(new Uint8Array(32))],
      [
        'of other keys',
        open('badParentHash'),
        onLowest((node) => ({ ...node, encryptionKey: flipped(node.encryptionKey, 5) })),
      ],
    ]
  })
})

Deno.test('7.3: the leaf of a path is signed for its group and place', async () => {
  await assertWrongPaths(116, (alice) => {
    const { groupId } = alice.public.context
    const signedAt =
      (place: { readonly groupId: Uint8Array; readonly leaf: number }): Change =>
      async (commit) => {
        ok(commit.path !== null)
        const { signatureSecret } = alice
        const leafNode = await resigned(commit.path.leafNode, {}, { signatureSecret, place })
        return { ...commit, path: { ...commit.path, leafNode } }
      }
    const lifetime = { notBefore: 0n, notAfter: (1n << 64n) - 1n }
    return [
      ['another group', open('badLeafSignature'), signedAt({ groupId: EMPTY, leaf: 0 })],
      ['another place', open('badLeafSignature'), signedAt({ groupId, leaf: 1 })],
      [
        'changed',
        open('badLeafSignature'),
        onPath((path) => ({
          ...path,
          leafNode: { ...path.leafNode, credential: { kind: 'basic', identity: EMPTY } },
        })),
      ],
      ['update', open('badLeaf'), withLeaf(alice, { source: { kind: 'update' } })],
      [
        'KeyPackage',
        open('badLeaf'),
        withLeaf(alice, { source: { kind: 'keyPackage', lifetime } }),
      ],
    ]
  })
})

const required = makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
  extensions: [0xf0f0],
  proposals: [0xf00d],
  credentials: [1],
})
const able: Traits & { readonly groupExtensions: readonly Extension[] } = {
  capabilities: { extensions: [0xf0f0], proposals: [0xf00d] },
  groupExtensions: [unknown, required],
}

/** What is wrong with a leaf that takes the place of Alice's, and the code of it. */
function wrongLeaves(alice: Group): readonly (readonly [string, Partial<LeafNodeContent>])[] {
  const { capabilities, encryptionKey } = leafOf(alice, 0)
  const capable = (of: Partial<typeof capabilities>) => ({
    capabilities: { ...capabilities, ...of },
  })
  const x509 = { kind: 'x509', certificates: [] } as const
  return [
    ['unsupportedCapability', capable({ versions: [2] })],
    ['unsupportedCapability', capable({ cipherSuites: [2] })],
    ['unsupportedCapability', capable({ extensions: [] })],
    ['unsupportedCapability', capable({ proposals: [] })],
    ['badLeaf', capable({ credentials: [2] })],
    ['badLeaf', { credential: x509 }],
    ['unsupportedCapability', { credential: x509, ...capable({ credentials: [1, 2] }) }],
    ['badLeaf', { extensions: [{ type: 0xf0f1, body: EMPTY }] }],
    ['badLeaf', { encryptionKey: EMPTY }],
    ['duplicateKey', { encryptionKey }],
    ['duplicateKey', { encryptionKey: leafOf(alice, 1).encryptionKey }],
  ]
}

Deno.test('7.3: the leaf of a path fits the group and brings a key of its own', async () => {
  await assertWrongPaths(117, (alice, bob) => {
    const { signatureKey } = leafOf(alice, 1)
    // Two members share a signature key: it signs, and stands in the tree already.
    const shared = withLeaf({ ...alice, signatureSecret: bob.signatureSecret }, { signatureKey })
    return [
      ...wrongLeaves(alice).map(([code, leaf]) =>
        [code, open(code), withLeaf(alice, leaf)] as const
      ),
      ['shared', open('duplicateKey'), shared],
    ]
  }, able)
})

Deno.test('7.3: the leaf of an Update fits the group and brings a key of its own', async () => {
  const story = createStory(118)
  const { alice, bob, onlooker } = await threeMembers(story, able)
  const { groupId } = alice.public.context
  const fresh = {
    source: { kind: 'update' },
    encryptionKey: (await candidate(story, 'spare')).keyPackage.leafNode.encryptionKey,
  } as const
  const { signatureKey } = leafOf(bob, 1)
  const cases: readonly (readonly [string, Partial<LeafNodeContent>, number, Group])[] = [
    ...wrongLeaves(alice).map(([code, leaf]) => [code, leaf, 0, alice] as const),
    ['badLeaf', { source: { kind: 'commit', parentHash: EMPTY } }, 0, alice],
    ['badLeafSignature', {}, 1, alice],
    ['badLeafSignature', { signatureKey }, 0, alice],
    ['duplicateKey', { signatureKey }, 0, bob],
  ]
  for (const [code, change, leaf, { signatureSecret }] of cases) {
    const place = { groupId, leaf }
    const leafNode = await resigned(
      leafOf(alice, 0),
      { ...fresh, ...change },
      { signatureSecret, place },
    )
    const proposal: Proposal = { kind: 'update', leafNode }
    const message = await forged(alice, { body: { kind: 'proposal', proposal } })
    const atOnce = codeOf(await take(bob, message))
    if (atOnce !== 'proposal') {
      strictEqual(atOnce, code)
      await assertRefused(message, { member: bob, onlooker }, open(code))
      continue
    }
    // What only the whole tree shows is refused once it is committed.
    const [atBob, seen] = [await follow(bob, message), await look(onlooker, message)]
    const [cached] = [...atBob.public.proposals.values()]
    ok(cached !== undefined)
    const references = [cached.reference]
    strictEqual(codeOf(await tryCommit(story, atBob, { references })), code)
    // Credential types are counted once the path is in the tree, which this commit has not.
    if (code === 'unsupportedCapability') continue
    const committed = await forgedReferences(atBob, references)
    const by = { member: await follow(alice, message), onlooker: seen }
    await assertRefused(committed, by, { member: code })
  }
})

Deno.test('5.3: a new credential is for the application to judge', async () => {
  const story = createStory(119)
  const { alice, bob, onlooker } = await threeMembers(story)
  const credential = { kind: 'basic', identity: utf8Encode('another name') } as const
  const made = await commit(story, alice, { template: { ...ownTemplate(alice), credential } })
  const taken = await take(bob, made.message)
  ok(taken.kind === 'commit')
  const [changed] = taken.change.updated
  strictEqual(changed?.leaf, 0)
  strictEqual(
    toHex(encode(credentialCodec, changed.leafNode.credential)),
    toHex(
      encode(credentialCodec, credential),
    ),
  )
  assertAgreement([made.next, taken.group], await look(onlooker, made.message))
})

Deno.test('7.5: who is added beside a path is not among its receivers', async () => {
  const story = createStory(120)
  const { members, onlooker } = await circle(story, ['a', 'b', 'c', 'd', 'e'])
  const [alice, bob] = members
  ok(alice !== undefined && bob !== undefined)
  const comers = await Promise.all(['x', 'y'].map((name) => candidate(story, name)))
  const proposals = [...comers.map(addOf), removal(2)]
  const made = await commit(story, bob, { proposals })
  const joined = await Promise.all(comers.map((comer) => join(comer, made)))
  const followed = await follow(alice, made.message)
  assertAgreement([made.next, followed, ...joined], await look(onlooker, made.message))
  const secrets = commitOf(made.message).path?.nodes.map((node) => node.encryptedPathSecret.length)
  strictEqual(secrets?.join(), '1,1,1')
})

Deno.test('7.4: whoever was removed last cannot derive the epoch of who is left', async () => {
  const story = createStory(121)
  const { members: [alice, bob] } = await circle(story, ['alice', 'bob'])
  ok(alice !== undefined && bob !== undefined)
  const made = await commit(story, alice, { proposals: [removal(1)] })
  strictEqual(commitOf(made.message).path?.nodes.length, 0)
  // Bob has the init secret and reads the commit; a path without nodes must not leave it at that.
  const { context } = made.next.public
  const { initSecret } = bob.secrets
  const joinerSecret = nextJoinerSecret(suite, { initSecret, commitSecret: null, context })
  const guess = enterEpoch(suite, { joinerSecret, psks: [], context })
  notStrictEqual(toHex(guess.secrets.initSecret), toHex(made.next.secrets.initSecret))
})

Deno.test('7.6: a key that is no key of the KEM shuts out its member alone', async () => {
  const story = createStory(122)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  // A point of low order: the length is right, and nothing can be encrypted to it.
  const { signatureSecret } = carol
  const place = { groupId: carol.public.context.groupId, leaf: 2 }
  const neutral = { source: { kind: 'update' }, encryptionKey: new Uint8Array(32) } as const
  const leafNode = await resigned(leafOf(carol, 2), neutral, { signatureSecret, place })
  const proposal: Proposal = { kind: 'update', leafNode }
  const update = await proposed(story, carol, proposal)
  const { references, atAlice, atBob, seen } = {
    references: [update.reference],
    atAlice: await follow(alice, update.message),
    atBob: await follow(bob, update.message),
    seen: await look(onlooker, update.message),
  }
  const made = await commit(story, atAlice, { references })
  const next = await follow(atBob, made.message)
  assertAgreement([made.next, next], await look(seen, made.message))
  // And the group goes on, with her and without her.
  const later = await commit(story, next, {})
  const after = await follow(made.next, later.message)
  const without = await commit(story, after, { proposals: [removal(2)] })
  assertAgreement([without.next, await follow(later.next, without.message)])
})
