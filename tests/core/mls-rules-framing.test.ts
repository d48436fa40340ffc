/**
 * RFC 9420 sections 6, 6.1 to 6.3, 9 and 14 as rules about single messages: who may send what, what
 * is signed, tagged and encrypted, and which keys are used once.
 */
import { notStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, toHex } from '#core/base/bytes.ts'
import { encodeMlsMessage, type Sender } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { expandWithLabel } from '#core/mls/labelled.ts'
import { propose, protectApplication } from '#core/mls/messages.ts'
import { protect } from '#core/mls/private-message.ts'
import { signContent } from '#core/mls/public-message.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { encodeGroupHead } from '#core/mls/state-codec.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { addOf, assertAgreement, assertRefused, candidate, codeOf, commit } from './mls-parties.ts'
import { createStory, flipped, follow, forged, forgedList, noPsks } from './mls-parties.ts'
import { publicMessageOf, type Story, suite, take, threeMembers } from './mls-parties.ts'

const removal = (removed: number): Proposal => ({ kind: 'remove', removed })
const proposing = (proposal: Proposal) => ({ kind: 'proposal', proposal } as const)

function application(content: Uint8Array) {
  return { kind: 'application', content } as const
}

async function sent(story: Story, group: Group, content = EMPTY) {
  const { entropy } = story
  const made = await protectApplication(group, content, { authenticatedData: EMPTY, entropy })
  ok(made.kind === 'sent', codeOf(made))
  return made
}

Deno.test('6: application messages are never taken as PublicMessage', async () => {
  const { alice, bob, onlooker } = await threeMembers(createStory(1))
  const message = await forged(alice, { body: application(EMPTY) })
  await assertRefused(message, { member: bob, onlooker }, { member: 'wrongKind' })
})

Deno.test('6: a Welcome, GroupInfo or KeyPackage is no message of a group', async () => {
  const story = createStory(2)
  const { alice, bob, onlooker } = await threeMembers(story)
  const comer = await candidate(story, 'dave')
  const { welcome } = await commit(story, alice, { proposals: [addOf(comer)] })
  ok(welcome !== null)
  const keyPackage = encodeMlsMessage({ kind: 'keyPackage', keyPackage: comer.keyPackage })
  for (const message of [welcome, keyPackage]) {
    const codes = { member: 'wrongKind', onlooker: 'malformed' }
    await assertRefused(message, { member: bob, onlooker }, codes)
  }
})

Deno.test('6.1: content of another group or epoch is refused', async () => {
  const { alice, bob, onlooker } = await threeMembers(createStory(3))
  const body = proposing(removal(2))
  const by = { member: bob, onlooker }
  await assertRefused(await forged(alice, { body, groupId: EMPTY }), by, { member: 'wrongGroup' })
  for (const epoch of [0n, 2n, (1n << 64n) - 1n]) {
    await assertRefused(await forged(alice, { body, epoch }), by, { member: 'wrongEpoch' })
    const wireFormat = 'privateMessage'
    const hidden = await forged(alice, { body, epoch, wireFormat })
    await assertRefused(hidden, { member: bob }, { member: 'wrongEpoch' })
  }
  const elsewhere = await forged(alice, { body, groupId: EMPTY, wireFormat: 'privateMessage' })
  await assertRefused(elsewhere, { member: bob }, { member: 'wrongGroup' })
})

Deno.test('6.1: a signature is of the member that the sender names', async () => {
  const { alice, bob, onlooker } = await threeMembers(createStory(4))
  const by = { member: bob, onlooker }
  const body = proposing(removal(2))
  const named = await forged(alice, { body, sender: { kind: 'member', leaf: 2 } })
  await assertRefused(named, by, { member: 'badSignature' })
  for (const leaf of [3, 4, 0x7fffffff, 0xffffffff]) {
    const nobody = await forged(alice, { body, sender: { kind: 'member', leaf } })
    await assertRefused(nobody, by, { member: 'wrongSender' })
  }
  const private_ = await forged(alice, {
    body,
    wireFormat: 'privateMessage',
    signatureSecret: bob.signatureSecret,
  })
  await assertRefused(private_, { member: bob }, { member: 'badSignature' })
})

Deno.test('6.1: a signature covers content, GroupContext and wire format', async () => {
  const { alice, bob, onlooker } = await threeMembers(createStory(5))
  const { content, auth } = publicMessageOf(
    await forged(alice, { body: proposing(removal(2)), authenticatedData: Uint8Array.of(1) }),
  )
  const other = [
    { ...content, authenticatedData: EMPTY },
    { ...content, body: proposing(removal(1)) },
  ]
  for (const each of other) {
    const message = encodeMlsMessage({
      kind: 'publicMessage',
      publicMessage: { content: each, auth, membershipTag: new Uint8Array(32) },
    })
    await assertRefused(message, { member: bob, onlooker }, { member: 'badSignature' })
  }
  // Signed under another GroupContext, as after a fork, and for the other wire format.
  const context = { ...alice.public.context, confirmedTranscriptHash: new Uint8Array(32) }
  const { signatureSecret } = alice
  for (
    const signing of [
      { wireFormat: 'publicMessage', groupContext: encodeGroupContext(context) } as const,
      {
        wireFormat: 'privateMessage',
        groupContext: encodeGroupContext(alice.public.context),
      } as const,
    ]
  ) {
    const signature = await signContent(suite, { ...signing, content, signatureSecret })
    const publicMessage = {
      content,
      auth: { signature, confirmationTag: null },
      membershipTag: new Uint8Array(32),
    }
    const message = encodeMlsMessage({ kind: 'publicMessage', publicMessage })
    await assertRefused(message, { member: bob, onlooker }, { member: 'badSignature' })
  }
})

Deno.test('6.1: each kind of sender has its kinds of content', async () => {
  const story = createStory(6)
  const { alice, bob, onlooker } = await threeMembers(story)
  const by = { member: bob, onlooker }
  const list = { kind: 'commit', commit: { proposals: [], path: null } } as const
  const outside: readonly (readonly [Sender, Parameters<typeof forged>[1]['body']])[] = [
    [{ kind: 'external', senderIndex: 0 }, list],
    [{ kind: 'external', senderIndex: 0 }, proposing(removal(1))],
    [{ kind: 'newMemberProposal' }, list],
    [{ kind: 'newMemberProposal' }, proposing(removal(1))],
    [{ kind: 'newMemberCommit' }, list],
    [{ kind: 'newMemberCommit' }, proposing(removal(1))],
  ]
  for (const [sender, body] of outside) {
    await assertRefused(await forged(alice, { sender, body }), by, { member: 'wrongSender' })
  }
})

Deno.test('6.1: a commit has a confirmation tag, and nothing else has one', async () => {
  const story = createStory(7)
  const { alice, bob, onlooker } = await threeMembers(story)
  const { content, auth, membershipTag } = publicMessageOf((await commit(story, alice, {})).message)
  const plain = publicMessageOf(await forged(alice, { body: proposing(removal(2)) }))
  const tagged = { ...plain.auth, confirmationTag: new Uint8Array(32) }
  const messages = [
    { content, auth: { ...auth, confirmationTag: null }, membershipTag },
    { ...plain, auth: tagged },
  ]
  for (const publicMessage of messages) {
    const message = encodeMlsMessage({ kind: 'publicMessage', publicMessage })
    await assertRefused(message, { member: bob, onlooker }, { member: 'malformed' })
  }
})

Deno.test('6.1: a wrong confirmation tag is refused by every member', async () => {
  const story = createStory(8)
  const { alice, bob, carol } = await threeMembers(story)
  const made = await commit(story, alice, {})
  const { content, auth } = publicMessageOf(made.message)
  ok(auth.confirmationTag !== null)
  const right = auth.confirmationTag
  for (const confirmationTag of [flipped(right), right.slice(1), EMPTY, concat(right, right)]) {
    const message = await forged(alice, { body: content.body, confirmationTag })
    await assertRefused(message, { member: bob }, { member: 'badConfirmationTag' })
    await assertRefused(message, { member: carol }, { member: 'badConfirmationTag' })
  }
  const again = await forged(alice, { body: content.body, confirmationTag: right })
  assertAgreement([made.next, await follow(bob, again)])
})

Deno.test('6.2: a membership tag of who is no member is refused', async () => {
  const { alice, bob } = await threeMembers(createStory(9))
  const body = proposing(removal(2))
  const strangers = await forged(alice, { body, membershipKey: new Uint8Array(32) })
  await assertRefused(strangers, { member: bob }, { member: 'badMembershipTag' })
  const whole = publicMessageOf(await forged(alice, { body }))
  for (const membershipTag of [EMPTY, flipped(whole.membershipTag ?? EMPTY)]) {
    const message = encodeMlsMessage({
      kind: 'publicMessage',
      publicMessage: { ...whole, membershipTag },
    })
    await assertRefused(message, { member: bob }, { member: 'badMembershipTag' })
  }
  const without = { ...whole, membershipTag: null }
  const message = encodeMlsMessage({ kind: 'publicMessage', publicMessage: without })
  await assertRefused(message, { member: bob }, { member: 'malformed' })
})

/** A PrivateMessage of Alice about whom nothing is honest but the keys. */
async function liar(
  alice: Group,
  leaf: number,
  change: (plaintext: Uint8Array) => Uint8Array = (plaintext) => plaintext,
): Promise<Uint8Array> {
  const { secretTree, secrets, signatureSecret } = alice
  ok(secretTree !== null)
  const { groupId, epoch } = alice.public.context
  const sender = { kind: 'member', leaf } as const
  const body = application(Uint8Array.of(1))
  const content = { groupId, epoch, sender, authenticatedData: EMPTY, body }
  const signature = await signContent(suite, {
    wireFormat: 'privateMessage',
    content,
    groupContext: encodeGroupContext(alice.public.context),
    signatureSecret,
  })
  const lying = {
    ...suite,
    seal: (keyed: Parameters<typeof suite.seal>[0], plaintext: Uint8Array) =>
      suite.seal(keyed, plaintext.length > 60 ? change(plaintext) : plaintext),
  }
  const { message } = protect(
    lying,
    { senderDataSecret: secrets.senderDataSecret, secretTree },
    {
      content,
      auth: { signature, confirmationTag: null },
      ownLeaf: leaf,
      paddingLength: 4,
      entropy: createStory(1).entropy,
    },
  )
  return encodeMlsMessage({ kind: 'privateMessage', privateMessage: message })
}

Deno.test('6.3.1: padding of a PrivateMessage is zeros', async () => {
  const { alice, bob } = await threeMembers(createStory(10))
  strictEqual(codeOf(await take(bob, await liar(alice, 0))), 'application')
  for (const at of [1, 4]) {
    const padded = await liar(alice, 0, (plaintext) => flipped(plaintext, plaintext.length - at))
    await assertRefused(padded, { member: bob }, { member: 'malformed' })
  }
})

Deno.test('6.3.2: sender data names a leaf that is not blank', async () => {
  const { alice, bob } = await threeMembers(createStory(11))
  await assertRefused(await liar(alice, 3), { member: bob }, { member: 'wrongSender' })
  // A member has the secrets of all leaves, but not the signature keys of others.
  await assertRefused(await liar(alice, 2), { member: bob }, { member: 'badSignature' })
})

Deno.test('9.1: a key opens one message, and generations come in any order', async () => {
  const story = createStory(12)
  const { alice, bob } = await threeMembers(story)
  const first = await sent(story, alice, Uint8Array.of(1))
  const second = await sent(story, first.group, Uint8Array.of(2))
  notStrictEqual(toHex(first.message), toHex(second.message))
  const late = await take(bob, second.message)
  ok(late.kind === 'application')
  const early = await take(late.group, first.message)
  ok(early.kind === 'application')
  for (const message of [first.message, second.message]) {
    strictEqual(codeOf(await take(early.group, message)), 'generationUsed')
  }
  // Who sent a message does not take it back either.
  strictEqual(codeOf(await take(second.group, first.message)), 'generationUsed')
})

Deno.test('9.1: a generation too far ahead costs nobody its derivations', async () => {
  const { alice, bob } = await threeMembers(createStory(13))
  let derivations = 0
  const counting = {
    ...suite,
    expand: (...parts: Parameters<typeof suite.expand>) => {
      derivations++
      return suite.expand(...parts)
    },
  }
  const { senderDataSecret } = alice.secrets
  const whole = publicMessageOf(await forged(alice, { body: proposing(removal(2)) }))
  const { groupId, epoch } = whole.content
  const ciphertext = new Uint8Array(64)
  const keyOf = (label: string, length: number) =>
    expandWithLabel(suite, senderDataSecret, { label, context: ciphertext.slice(0, 32), length })
  const far = Uint8Array.of(0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
  const aad = concat(
    Uint8Array.of(groupId.length),
    groupId,
    Uint8Array.of(0, 0, 0, 0, 0, 0, 0, Number(epoch), 1),
  )
  const key = keyOf('key', suite.aeadKeyLength)
  const nonce = keyOf('nonce', suite.aeadNonceLength)
  const encryptedSenderData = suite.seal({ key, nonce, aad }, far)
  const privateMessage = {
    groupId,
    epoch,
    contentType: 'application',
    authenticatedData: EMPTY,
    encryptedSenderData,
    ciphertext,
  } as const
  const message = encodeMlsMessage({ kind: 'privateMessage', privateMessage })
  const watched = { ...bob, public: { ...bob.public, suite: counting } }
  await assertRefused(message, { member: watched }, { member: 'generationTooFar' })
  ok(derivations < 40, `${derivations} derivations`)
})

Deno.test('9.2: what a message and an epoch consume is named, to be deleted', async () => {
  const story = createStory(14)
  const { alice, bob } = await threeMembers(story)
  const { message, consumed } = await sent(story, alice)
  ok(consumed.length > 0)
  const taken = await take(bob, message)
  ok(taken.kind === 'application' && taken.consumed.length > 0)
  const made = await commit(story, alice, {})
  const followed = await take(bob, made.message)
  ok(followed.kind === 'commit')
  const named = new Set(followed.consumed.map(toHex))
  const { initSecret, encryptionSecret, exporterSecret, membershipKey } = bob.secrets
  for (const secret of [initSecret, encryptionSecret, exporterSecret, membershipKey]) {
    ok(named.has(toHex(secret)))
  }
  const stored = toHex(encodeGroupHead(followed.group))
  for (const secret of [initSecret, encryptionSecret, exporterSecret, membershipKey]) {
    ok(!stored.includes(toHex(secret)))
  }
})

Deno.test('14: two commits of one epoch: the second is of a past one', async () => {
  const story = createStory(15)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const won = await commit(story, alice, {})
  const lost = await commit(story, bob, {})
  const by = { member: await follow(carol, won.message) }
  await assertRefused(lost.message, by, { member: 'wrongEpoch' })
  await assertRefused(won.message, by, { member: 'wrongEpoch' })
  const later = await commit(story, won.next, {})
  await assertRefused(later.message, { member: carol, onlooker }, { member: 'wrongEpoch' })
})

Deno.test('14: making and refusing leave a state as it was', async () => {
  const story = createStory(16)
  const { alice, bob } = await threeMembers(story)
  const before = [alice, bob].map((group) => toHex(encodeGroupHead(group)))
  const made = await commit(story, alice, { proposals: [removal(2)] })
  await take(bob, made.message)
  await take(bob, made.message)
  await take(bob, await forgedList(alice, [removal(0)]))
  await take(bob, await liar(alice, 3))
  const proposed = await propose(alice, removal(1), {
    authenticatedData: EMPTY,
    wireFormat: 'privateMessage',
    entropy: story.entropy,
  })
  strictEqual(proposed.kind, 'sent')
  const after = [alice, bob].map((group) => toHex(encodeGroupHead(group)))
  strictEqual(after.join(), before.join())
  assertAgreement([made.next, await follow(bob, made.message, noPsks)])
})

Deno.test('12.4.2: an own commit is adopted where it was made, not followed', async () => {
  const story = createStory(17)
  const { alice } = await threeMembers(story)
  const made = await commit(story, alice, {})
  await assertRefused(made.message, { member: alice }, { member: 'wrongSender' })
})
