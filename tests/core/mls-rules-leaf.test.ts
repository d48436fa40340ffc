/**
 * RFC 9420 sections 7.2, 7.3, 10, 10.1, 11.1 and 13 as rules about KeyPackages and leaves that come
 * into a group: each is signed by its owner and added by a member who does not judge it.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import {
  type Extension,
  EXTENSION_TYPE,
  externalSenders,
  makeExtension,
  requiredCapabilities,
} from '#core/mls/extension.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import type { LeafNodeContent } from '#core/mls/leaf-node.ts'
import { propose } from '#core/mls/messages.ts'
import { parentAt } from '#core/mls/ratchet-tree.ts'
import { encode } from '#core/wire/codec.ts'
import { addOf, assertAgreement, assertRefused, type Candidate, candidate } from './mls-parties.ts'
import { codeOf, commit, createStory, flipped, follow, forged, forgedList } from './mls-parties.ts'
import { join, leafOf, look, NOW, repackaged, type Story, suite } from './mls-parties.ts'
import { threeMembers, type Traits, tryCommit } from './mls-parties.ts'

const GREASE = [0x0a0a, 0x1a1a, 0xeaea]
const UNKNOWN = 0xf0f0

const unknown: Extension = { type: UNKNOWN, body: Uint8Array.of(1, 2, 3) }
const SECONDS = BigInt(NOW) / 1000n
const leafOnly = (leaf: Partial<LeafNodeContent>) => (comer: Candidate) =>
  repackaged(comer, { leaf })
const capable = (of: Traits['capabilities']) => (comer: Candidate) => {
  const { capabilities } = comer.keyPackage.leafNode
  return repackaged(comer, { leaf: { capabilities: { ...capabilities, ...of } } })
}
const living = (notBefore: bigint, notAfter: bigint) =>
  leafOnly({ source: { kind: 'keyPackage', lifetime: { notBefore, notAfter } } })

type Break = (comer: Candidate) => Promise<Candidate>
type Broken = readonly (readonly [string, string, Break])[]

/** Added by force: members and the onlooker refuse it, and nobody honest commits or proposes it. */
async function assertNobodyAdds(
  parts: {
    readonly story: Story
    readonly traits?: Parameters<typeof threeMembers>[1]
    /** Of the newcomers before they are broken. */
    readonly comers?: Traits
    /** False where only the whole tree shows that the leaf does not fit. */
    readonly alone: boolean
  },
  broken: Broken,
): Promise<void> {
  const { story, alone } = parts
  const { alice, bob, onlooker } = await threeMembers(story, parts.traits)
  for (const [what, code, change] of broken) {
    const comer = await change(await candidate(story, what, parts.comers))
    const add = addOf(comer)
    const by = { member: bob, onlooker }
    try {
      await assertRefused(await forgedList(alice, [add]), by, { member: code })
      strictEqual(codeOf(await tryCommit(story, alice, { proposals: [add] })), code)
      const body = { kind: 'proposal', proposal: add } as const
      const proposal = await forged(alice, { body })
      if (alone) await assertRefused(proposal, by, { member: code })
      else await follow(bob, proposal)
    } catch (fault) {
      throw new Error(what, { cause: fault })
    }
  }
}

Deno.test('10.1: version and suite of a KeyPackage are those of the group', async () => {
  await assertNobodyAdds({ story: createStory(30), alone: true }, [
    ['version', 'wrongVersion', (comer) => repackaged(comer, { whole: { version: 2 } })],
    ['suite', 'wrongSuite', (comer) => repackaged(comer, { whole: { cipherSuite: 2 } })],
    [
      'unknown suite',
      'wrongSuite',
      (comer) => repackaged(comer, { whole: { cipherSuite: 0xf0f0 } }),
    ],
  ])
})

Deno.test('10: keys of a KeyPackage have the length of the suite', async () => {
  await assertNobodyAdds({ story: createStory(31), alone: true }, [
    ['no init key', 'badKeyPackage', (comer) => repackaged(comer, { whole: { initKey: EMPTY } })],
    [
      'longer',
      'badKeyPackage',
      (comer) => repackaged(comer, { whole: { initKey: new Uint8Array(33) } }),
    ],
    ['no encryption key', 'badLeaf', leafOnly({ encryptionKey: EMPTY })],
    ['shorter', 'badLeaf', leafOnly({ encryptionKey: new Uint8Array(31) })],
    ['no signature key', 'badLeafSignature', leafOnly({ signatureKey: EMPTY })],
  ])
})

Deno.test('10.1: a KeyPackage and its leaf are signed by the key of the leaf', async () => {
  const { leafNode: strange } = (await candidate(createStory(1), 'eve')).keyPackage
  await assertNobodyAdds({ story: createStory(32), alone: true }, [
    ['package', 'badSignature', (comer) => {
      const { keyPackage } = comer
      const signature = flipped(keyPackage.signature)
      return Promise.resolve({ ...comer, keyPackage: { ...keyPackage, signature } })
    }],
    ['leaf', 'badLeafSignature', (comer) => {
      const { leafNode } = comer.keyPackage
      const forgedLeaf = { ...leafNode, signature: flipped(leafNode.signature) }
      return repackaged(comer, { whole: { leafNode: forgedLeaf } })
    }],
    ['key of another', 'badLeafSignature', leafOnly({ signatureKey: strange.signatureKey })],
    [
      'leaf of another',
      'badSignature',
      (comer) => repackaged(comer, { whole: { leafNode: strange } }),
    ],
  ])
})

Deno.test('10.1: the init key is not the encryption key', async () => {
  await assertNobodyAdds({ story: createStory(33), alone: true }, [
    [
      'same',
      'badKeyPackage',
      (comer) => repackaged(comer, { whole: { initKey: comer.keyPackage.leafNode.encryptionKey } }),
    ],
  ])
})

Deno.test('7.3: the leaf of a KeyPackage says that it is one', async () => {
  await assertNobodyAdds({ story: createStory(34), alone: true }, [
    ['update', 'badKeyPackage', leafOnly({ source: { kind: 'update' } })],
    [
      'commit',
      'badKeyPackage',
      leafOnly({
        source: { kind: 'commit', parentHash: new Uint8Array(32) },
      }),
    ],
  ])
})

Deno.test('7.3: a KeyPackage is added within its lifetime', async () => {
  await assertNobodyAdds({ story: createStory(35), alone: true }, [
    ['over', 'expired', living(0n, SECONDS - 1n)],
    ['to come', 'expired', living(SECONDS + 1n, SECONDS + 9n)],
    ['never', 'expired', living(SECONDS + 1n, SECONDS - 1n)],
  ])
  const story = createStory(36)
  const { alice, bob, onlooker } = await threeMembers(story)
  const comer = await living(SECONDS, SECONDS)(await candidate(story, 'dave'))
  const made = await commit(story, alice, { proposals: [addOf(comer)] })
  const everybody = [made.next, await follow(bob, made.message), await join(comer, made)]
  assertAgreement(everybody, await look(onlooker, made.message))
})

Deno.test('7.2: a leaf supports version and suite, and its own credential', async () => {
  await assertNobodyAdds({ story: createStory(37), alone: true }, [
    ['no version', 'unsupportedCapability', capable({ versions: [] })],
    ['another version', 'unsupportedCapability', capable({ versions: [2] })],
    ['no suite', 'unsupportedCapability', capable({ cipherSuites: [] })],
    ['another suite', 'unsupportedCapability', capable({ cipherSuites: [2, 3] })],
    ['no credential', 'badLeaf', capable({ credentials: [] })],
    ['another credential', 'badLeaf', capable({ credentials: [2] })],
  ])
})

Deno.test('7.3: extensions of a leaf stand among its capabilities', async () => {
  await assertNobodyAdds({ story: createStory(38), alone: true }, [
    ['unknown', 'badLeaf', leafOnly({ extensions: [unknown] })],
    ['GREASE', 'badLeaf', leafOnly({ extensions: [{ type: 0x0a0a, body: EMPTY }] })],
  ])
})

Deno.test('13: no list of extensions has a type twice', async () => {
  const story = createStory(39)
  const { alice, bob, onlooker } = await threeMembers(story)
  const twice = [unknown, unknown]
  const comers = [
    await candidate(story, 'leaf', { extensions: twice, capabilities: { extensions: [UNKNOWN] } }),
    await candidate(story, 'package', { packageExtensions: twice }),
  ]
  const lists = [
    ...comers.map(addOf),
    { kind: 'groupContextExtensions', extensions: twice } as const,
    {
      kind: 'reInit',
      groupId: EMPTY,
      version: 1,
      cipherSuite: suite.id,
      extensions: twice,
    } as const,
  ]
  for (const proposal of lists) {
    const message = await forgedList(alice, [proposal])
    await assertRefused(message, { member: bob, onlooker }, { member: 'malformed' })
  }
})

Deno.test('7.3: keys of a new leaf stand nowhere in the tree', async () => {
  const story = createStory(40)
  const { alice, bob, onlooker } = await threeMembers(story)
  const { tree } = bob.public
  const root = parentAt(tree, 3)
  ok(root !== null)
  const taken = [leafOf(bob, 2).encryptionKey, leafOf(bob, 0).encryptionKey, root.encryptionKey]
  for (const encryptionKey of taken) {
    const comer = await leafOnly({ encryptionKey })(await candidate(story, 'dave'))
    const message = await forgedList(alice, [addOf(comer)])
    await assertRefused(message, { member: bob, onlooker }, { member: 'duplicateKey' })
    const honest = await tryCommit(story, alice, { proposals: [addOf(comer)] })
    strictEqual(codeOf(honest), 'duplicateKey')
  }
  const { signatureSecret } = bob
  const { signatureKey } = leafOf(bob, 1)
  const own = await candidate(story, 'bob')
  const again = await repackaged({ ...own, party: { ...own.party, signatureSecret } }, {
    leaf: { signatureKey },
  })
  const message = await forgedList(alice, [addOf(again)])
  await assertRefused(message, { member: bob, onlooker }, { member: 'duplicateKey' })
})

Deno.test('7.3: every credential type in use is supported by every leaf', async () => {
  const x509 = { kind: 'x509', certificates: [Uint8Array.of(1)] } as const
  // The members read basic credentials alone, the newcomer brings another kind.
  await assertNobodyAdds({
    story: createStory(41),
    comers: { credential: x509, capabilities: { credentials: [1, 2] } },
    alone: false,
  }, [['x509', 'unsupportedCapability', (comer) => Promise.resolve(comer)]])
  // A member uses another kind, which the newcomer cannot read.
  await assertNobodyAdds({
    story: createStory(42),
    traits: { credential: x509, capabilities: { credentials: [1, 2] } },
    alone: false,
  }, [['basic', 'unsupportedCapability', (comer) => Promise.resolve(comer)]])
  const story = createStory(43)
  const both = { capabilities: { credentials: [1, 2] } }
  const { alice, bob, onlooker } = await threeMembers(story, both)
  const comer = await candidate(story, 'dave', { ...both, credential: x509 })
  const made = await commit(story, alice, { proposals: [addOf(comer)] })
  const everybody = [made.next, await follow(bob, made.message), await join(comer, made)]
  assertAgreement(everybody, await look(onlooker, made.message))
})

const required = makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
  extensions: [UNKNOWN, EXTENSION_TYPE.applicationId],
  proposals: [0xf00d, 1],
  credentials: [1],
})

Deno.test('11.1: a new leaf has the required capabilities; defaults go unlisted', async () => {
  const able = { extensions: [UNKNOWN], proposals: [0xf00d], credentials: [1] }
  const traits = { capabilities: able, groupExtensions: [required] }
  await assertNobodyAdds({
    story: createStory(44),
    traits,
    comers: { capabilities: able },
    alone: true,
  }, [
    ['extension', 'unsupportedCapability', capable({ extensions: [] })],
    ['proposal', 'unsupportedCapability', capable({ proposals: [] })],
  ])
  const story = createStory(45)
  const { alice, bob } = await threeMembers(story, traits)
  const comer = await candidate(story, 'dave', { capabilities: able })
  const made = await commit(story, alice, { proposals: [addOf(comer)] })
  assertAgreement([made.next, await follow(bob, made.message), await join(comer, made)])
})

Deno.test('13: a new leaf supports every extension of the GroupContext', async () => {
  const traits = { capabilities: { extensions: [UNKNOWN] }, groupExtensions: [unknown] }
  await assertNobodyAdds({ story: createStory(46), traits, alone: true }, [
    ['no support', 'unsupportedCapability', (comer) => Promise.resolve(comer)],
    ['other support', 'unsupportedCapability', capable({ extensions: [UNKNOWN + 1] })],
  ])
})

Deno.test('13.5: GREASE and unknown values are ignored wherever they may stand', async () => {
  const story = createStory(47)
  const grease: Traits = {
    capabilities: {
      versions: [0x0a0a, 1],
      cipherSuites: [...GREASE, suite.id],
      extensions: [...GREASE, UNKNOWN],
      proposals: [...GREASE, 0xf00d],
      credentials: [...GREASE, 1],
    },
    extensions: [{ type: 0x1a1a, body: story.prng.bytes(50) }, unknown],
  }
  const { alice, bob, onlooker } = await threeMembers(story, grease)
  // What stands in KeyPackage.extensions is ignored, listed as a capability or not.
  const comer = await candidate(story, 'dave', {
    ...grease,
    packageExtensions: [{ type: 0xcaca, body: story.prng.bytes(20) }, unknown],
  })
  const made = await commit(story, alice, { proposals: [addOf(comer)], path: 'always' })
  const everybody = [made.next, await follow(bob, made.message), await join(comer, made)]
  assertAgreement(everybody, await look(onlooker, made.message))
})

Deno.test('7.2: default extensions stand in a leaf without being listed', async () => {
  const story = createStory(48)
  const { alice, bob } = await threeMembers(story)
  const applicationId = { type: EXTENSION_TYPE.applicationId, body: Uint8Array.of(1, 7) }
  const comer = await candidate(story, 'dave', { extensions: [applicationId] })
  const made = await commit(story, alice, { proposals: [addOf(comer)] })
  assertAgreement([made.next, await follow(bob, made.message), await join(comer, made)])
})

Deno.test('10: a KeyPackage has the version of the MLSMessage around it', async () => {
  const story = createStory(49)
  const { alice } = await threeMembers(story)
  const comer = await repackaged(await candidate(story, 'dave'), { whole: { version: 2 } })
  const message = encodeMlsMessage({ kind: 'keyPackage', keyPackage: comer.keyPackage })
  strictEqual((message[0] as number) * 256 + (message[1] as number), 1)
  const made = await tryCommit(story, alice, { proposals: [addOf(comer)] })
  strictEqual(codeOf(made), 'wrongVersion')
})

Deno.test('7.3: who proposes an Add judges its lifetime', async () => {
  const story = createStory(50)
  const { alice } = await threeMembers(story)
  const comer = await living(0n, SECONDS - 1n)(await candidate(story, 'dave'))
  const { entropy } = story
  const sending = { authenticatedData: EMPTY, wireFormat: 'publicMessage', entropy } as const
  const proposed = await propose(alice, addOf(comer), { ...sending, timeMs: NOW })
  strictEqual(codeOf(proposed), 'expired')
})

Deno.test('12.1.8.1: external_senders that do not decode are no extension', async () => {
  const story = createStory(51)
  const { alice, bob, onlooker } = await threeMembers(story)
  const { signatureKey } = leafOf(alice, 0)
  const credential = { kind: 'basic', identity: EMPTY } as const
  const type = EXTENSION_TYPE.externalSenders
  const whole = encode(externalSenders, [{ signatureKey, credential }])
  for (const body of [EMPTY, whole.slice(1), whole.slice(0, -1)]) {
    const extensions = [{ type, body }]
    const message = await forgedList(alice, [{ kind: 'groupContextExtensions', extensions }])
    await assertRefused(message, { member: bob, onlooker }, { member: 'malformed' })
  }
})
