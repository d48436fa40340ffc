/**
 * Rules of RFC 9420 about leaves at their borders, asked of the functions themselves: counts of
 * credential types, lifetimes to the second, required capabilities one by one, keys by length,
 * KeyPackages and Updates that are signed and wrong.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { type Extension, EXTENSION_TYPE, makeExtension } from '#core/mls/extension.ts'
import { requiredCapabilities } from '#core/mls/extension.ts'
import { censusOf, countLeaf, credentialsAgree } from '#core/mls/leaf-census.ts'
import { signKeyPackage } from '#core/mls/key-package.ts'
import type { Capabilities, LeafNode, LeafNodeContent } from '#core/mls/leaf-node.ts'
import { judgeLeaf, supportsParameters, validateKeyPackage } from '#core/mls/leaf-validation.ts'
import { proposeUpdate } from '#core/mls/messages.ts'
import type { CachedProposal } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { type Candidate, candidate, codeOf, createStory, forged, leafOf } from './mls-parties.ts'
import { NOW, repackaged, resigned, suite, threeMembers } from './mls-parties.ts'

type Credential = LeafNode['credential']

const X509 = { kind: 'x509', certificates: [Uint8Array.of(1)] } as unknown as Credential
const SECOND = 1_000

async function leafWith(
  capabilities: Partial<Capabilities> = {},
  over: Partial<LeafNode> = {},
): Promise<LeafNode> {
  const { keyPackage: { leafNode } } = await candidate(createStory(400), 'dave')
  return { ...leafNode, ...over, capabilities: { ...leafNode.capabilities, ...capabilities } }
}

Deno.test('RFC 9420 7.3: a census counts leaves in and out, also all at once', async () => {
  const basic = await leafWith({ credentials: [1] })
  const both = await leafWith({ credentials: [1, 2] })
  const certified = await leafWith({ credentials: [1, 2] }, { credential: X509 })
  const nobody = censusOf([])
  deepStrictEqual(nobody, { 1: { used: 0, unsupported: 0 }, 2: { used: 0, unsupported: 0 } })
  const leaves = [basic, both, certified, certified]
  const counted = leaves.reduce((census, leaf) => countLeaf(census, leaf, 1), nobody)
  deepStrictEqual(counted, censusOf(leaves.map((leafNode) => ({ leafNode }))))
  deepStrictEqual(counted, { 1: { used: 2, unsupported: 0 }, 2: { used: 2, unsupported: 1 } })
  strictEqual(credentialsAgree(counted), false, 'one does not know what two are')
  const without = countLeaf(counted, basic, -1)
  deepStrictEqual(without, { 1: { used: 1, unsupported: 0 }, 2: { used: 2, unsupported: 0 } })
  strictEqual(credentialsAgree(without), true)
  const alone = countLeaf(nobody, basic, 1)
  strictEqual(credentialsAgree(alone), true, 'what nobody is need not be known')
  strictEqual(credentialsAgree(nobody), true)
})

Deno.test('RFC 9420 7.3: a KeyPackage lives to the end of its last second', async () => {
  const seconds = BigInt(NOW) / 1_000n
  const lifetime = { notBefore: seconds, notAfter: seconds + 2n }
  const { keyPackage } = await candidate(createStory(401), 'dave', { lifetime })
  const group = { cipherSuite: suite.id, extensions: [] }
  const at = (offsetMs: number | null) =>
    validateKeyPackage(suite, keyPackage, {
      group,
      timeMs: offsetMs === null ? null : NOW + offsetMs as TimeMs,
    })
  const ends = [null, -1, 0, 2 * SECOND, 3 * SECOND - 1, 3 * SECOND]
  deepStrictEqual(await Promise.all(ends.map(at)), [
    ...[null, 'expired', null, null, null, 'expired'],
  ])
})

Deno.test('RFC 9420 10.1: a KeyPackage and the leaf in it are signed, each by itself', async () => {
  const { keyPackage, party } = await candidate(createStory(403), 'dave')
  const group = { cipherSuite: suite.id, extensions: [] }
  const judged = (value: typeof keyPackage) =>
    validateKeyPackage(suite, value, { group, timeMs: null })
  const flipped = (bytes: Uint8Array) => bytes.with(0, (bytes[0] as number) ^ 1)
  strictEqual(await judged(keyPackage), null)
  const { leafNode, signature } = keyPackage
  strictEqual(await judged({ ...keyPackage, signature: flipped(signature) }), 'badSignature')
  const forged = {
    ...keyPackage,
    leafNode: { ...leafNode, signature: flipped(leafNode.signature) },
  }
  const signed = await signKeyPackage(suite, forged, party.signatureSecret)
  strictEqual(await judged(signed), 'badLeafSignature')
})

/** What is said of a KeyPackage with other content, all of it signed by its owner. */
async function judgedWith(comer: Candidate, change: Parameters<typeof repackaged>[1]) {
  const { keyPackage } = await repackaged(comer, change)
  const group = { cipherSuite: suite.id, extensions: [] }
  return await validateKeyPackage(suite, keyPackage, { group, timeMs: null })
}

Deno.test('RFC 9420 10.1: a KeyPackage has version and suite of the group', async () => {
  const comer = await candidate(createStory(405), 'dave')
  strictEqual(await judgedWith(comer, {}), null)
  strictEqual(await judgedWith(comer, { whole: { version: 2 } }), 'wrongVersion')
  strictEqual(await judgedWith(comer, { whole: { cipherSuite: 2 } }), 'wrongSuite')
})

Deno.test('RFC 9420 10: keys of a KeyPackage are two, as long as the suite has them', async () => {
  const comer = await candidate(createStory(404), 'dave')
  for (const length of [0, 31, 32, 33]) {
    const key = new Uint8Array(length).fill(3)
    const isRight = length === 32
    const init = await judgedWith(comer, { whole: { initKey: key } })
    strictEqual(init, isRight ? null : 'badKeyPackage')
    const encryption = await judgedWith(comer, { leaf: { encryptionKey: key } })
    strictEqual(encryption, isRight ? null : 'badLeaf')
  }
  const { encryptionKey } = comer.keyPackage.leafNode
  strictEqual(await judgedWith(comer, { whole: { initKey: encryptionKey } }), 'badKeyPackage')
})

Deno.test('RFC 9420 7.3: a KeyPackage holds no leaf of a commit or an Update', async () => {
  const comer = await candidate(createStory(406), 'dave')
  const { party: { signatureSecret }, keyPackage } = comer
  // Its owner signs it for the group without a name and the first leaf.
  const place = { groupId: EMPTY, leaf: 0 }
  const judged = async (source: LeafNode['source']) => {
    const leafNode = await resigned(keyPackage.leafNode, { source }, { signatureSecret, place })
    return await judgedWith(comer, { whole: { leafNode } })
  }
  strictEqual(await judged({ kind: 'commit', parentHash: EMPTY }), 'badKeyPackage')
  strictEqual(await judged({ kind: 'update' }), 'badKeyPackage')
  strictEqual(await judged(keyPackage.leafNode.source), null)
})

const required = (
  extensions: readonly number[],
  proposals: readonly number[],
  credentials: readonly number[],
): readonly Extension[] => [
  makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
    extensions: [...extensions],
    proposals: [...proposals],
    credentials: [...credentials],
  }),
]

Deno.test('RFC 9420 11.1: what is required is had, each kind by itself; defaults are', async () => {
  const leaf = await leafWith({ extensions: [0xf001], proposals: [0xf002], credentials: [1, 2] })
  const wanted: readonly (readonly [readonly Extension[], string | null])[] = [
    [required([], [], []), null],
    [required([0xf001], [0xf002], [1, 2]), null],
    [required([0xf009], [], []), 'unsupportedCapability'],
    [required([], [0xf009], []), 'unsupportedCapability'],
    [required([], [], [3]), 'unsupportedCapability'],
    [required([0xf001, 0xf009], [], []), 'unsupportedCapability'],
    [required([], [0xf002, 0xf009], []), 'unsupportedCapability'],
    [required([], [], [1, 3]), 'unsupportedCapability'],
    // Types of RFC 9420 itself need not be listed.
    [required([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], [1]), null],
    [[{ type: 0xf001, body: EMPTY }], null],
    [[{ type: 0xf009, body: EMPTY }], 'unsupportedCapability'],
    [[{ type: EXTENSION_TYPE.requiredCapabilities, body: Uint8Array.of(9) }], 'malformed'],
    [[], null],
  ]
  for (const [extensions, fault] of wanted) {
    strictEqual(supportsParameters(leaf, extensions), fault)
    strictEqual(judgeLeaf(leaf, { cipherSuite: suite.id, extensions }), fault)
  }
})

Deno.test('RFC 9420 7.2, 7.3: each thing that a leaf must say of itself', async () => {
  const group = { cipherSuite: suite.id, extensions: [] }
  const judged = async (capabilities: Partial<Capabilities>, over: Partial<LeafNode> = {}) =>
    judgeLeaf(await leafWith(capabilities, over), group)
  strictEqual(await judged({}), null)
  strictEqual(await judged({ credentials: [2] }), 'badLeaf')
  strictEqual(await judged({ versions: [2] }), 'unsupportedCapability')
  strictEqual(await judged({ versions: [2, 1] }), null)
  strictEqual(await judged({ cipherSuites: [0x7777] }), 'unsupportedCapability')
  strictEqual(await judged({}, { extensions: [{ type: 0xf001, body: EMPTY }] }), 'badLeaf')
  const named = { extensions: [{ type: 0xf001, body: EMPTY }] }
  strictEqual(await judged({ extensions: [0xf001] }, named), null)
})

Deno.test('RFC 9420 12.1.2: an Update that stands alone brings a leaf that is valid', async () => {
  const story = createStory(407)
  const { bob, onlooker } = await threeMembers(story)
  const { groupId } = onlooker.context
  const { encryptionKey } = (await candidate(story, 'spare')).keyPackage.leafNode
  const { signatureSecret } = bob
  const taken = async (change: Partial<LeafNodeContent>, leaf = 1) => {
    const update = { source: { kind: 'update' }, encryptionKey, ...change } as const
    const place = { groupId, leaf }
    const leafNode = await resigned(leafOf(bob, 1), update, { signatureSecret, place })
    const proposal = { kind: 'update', leafNode } as const
    const message = await forged(bob, { body: { kind: 'proposal', proposal } })
    return codeOf(await publicProcess(onlooker, message, { timeMs: NOW }))
  }
  strictEqual(await taken({}), 'proposal')
  strictEqual(await taken({}, 2), 'badLeafSignature', 'signed for the place of another')
  strictEqual(await taken({ source: { kind: 'commit', parentHash: EMPTY } }), 'badLeaf')
  strictEqual(await taken({ source: leafOf(bob, 1).source }), 'badLeaf', 'of a KeyPackage')
  strictEqual(await taken({ encryptionKey: new Uint8Array(31).fill(3) }), 'badLeaf')
  strictEqual(await taken({ extensions: [{ type: 0xf001, body: EMPTY }] }), 'badLeaf')
})

Deno.test('RFC 9420 12.1: an epoch keeps proposals up to a bound', async () => {
  const story = createStory(402)
  const { bob, onlooker } = await threeMembers(story)
  const sent = await proposeUpdate(bob, {
    wireFormat: 'publicMessage',
    authenticatedData: EMPTY,
    entropy: story.entropy,
  })
  strictEqual(sent.kind, 'sent')
  if (sent.kind !== 'sent') return
  const cached = {} as CachedProposal
  const takenBeside = async (count: number) => {
    const proposals = new Map(Array.from({ length: count }, (_, at) => [String(at), cached]))
    return codeOf(await publicProcess({ ...onlooker, proposals }, sent.message, { timeMs: NOW }))
  }
  strictEqual(await takenBeside(LIMITS.mlsProposalsMax - 1), 'proposal')
  strictEqual(await takenBeside(LIMITS.mlsProposalsMax), 'tooLarge')
})
