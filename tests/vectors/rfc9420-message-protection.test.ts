/**
 * Public and private messages (RFC 9420 sections 6.1 to 6.3) against published vectors: opening
 * what was published, then making the same with the product and opening that.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { commit } from '#core/mls/commit.ts'
import {
  type Content,
  type ContentAuthentication,
  type ContentWireFormat,
  decodeMlsMessage,
  encodeMlsMessage,
  type FramedContent,
  type PrivateMessage,
} from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { protect, unprotect } from '#core/mls/private-message.ts'
import { proposal } from '#core/mls/proposal.ts'
import {
  membershipTag,
  proposalReference,
  signContent,
  verifyContentSignature,
} from '#core/mls/public-message.ts'
import { secretTree } from '#core/mls/secret-tree.ts'
import { type Codec, decode, encode } from '#core/wire/codec.ts'
import { createPrng } from '../core/prng.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface MessageProtection {
  readonly cipher_suite: number
  readonly group_id: string
  readonly epoch: number
  readonly tree_hash: string
  readonly confirmed_transcript_hash: string
  readonly signature_priv: string
  readonly signature_pub: string
  readonly encryption_secret: string
  readonly sender_data_secret: string
  readonly membership_key: string
  readonly proposal: string
  readonly proposal_priv: string
  readonly proposal_pub: string
  readonly commit: string
  readonly commit_priv: string
  readonly commit_pub: string
  readonly application: string
  readonly application_priv: string
}

/** Messages of the vectors are those of the second of two members. */
const SENDER = 1
const MEMBERS = 2

familyTest<MessageProtection>(
  'message-protection',
  'message-protection*.json',
  async (vector, suite) => {
    const published = {
      proposal: { public: vector.proposal_pub, private: vector.proposal_priv },
      commit: { public: vector.commit_pub, private: vector.commit_priv },
      application: { public: null, private: vector.application_priv },
    }
    for (const body of bodiesOf(vector)) {
      const messages = published[body.kind]
      const check = { suite, vector, body, groupContext: contextOf(vector) }
      if (messages.public !== null) await checkPublic(check, hex(messages.public))
      await checkPrivate(check, hex(messages.private))
      await checkSenders(check)
    }
  },
)

interface Check {
  readonly suite: CipherSuite
  readonly vector: MessageProtection
  readonly body: Content
  readonly groupContext: Uint8Array
}

/** What the vectors have raw, which reads and writes alike. */
function bodiesOf(vector: MessageProtection): readonly Content[] {
  return [
    { kind: 'proposal', proposal: decoded(proposal, vector.proposal) },
    { kind: 'commit', commit: decoded(commit, vector.commit) },
    { kind: 'application', content: hex(vector.application) },
  ]
}

function decoded<T>(codec: Codec<T>, text: string): T {
  const read = decode(codec, hex(text))
  if (read.kind === 'malformed') throw new Error(`published content is ${read.code}`)
  strictEqual(toHex(encode(codec, read.value)), text)
  return read.value
}

function contextOf(vector: MessageProtection): Uint8Array {
  return encodeGroupContext({
    version: MLS_VERSION,
    cipherSuite: vector.cipher_suite,
    groupId: hex(vector.group_id),
    epoch: BigInt(vector.epoch),
    treeHash: hex(vector.tree_hash),
    confirmedTranscriptHash: hex(vector.confirmed_transcript_hash),
    extensions: [],
  })
}

/** Own content in the place of what was published; `authenticatedData` is a text of the test. */
function ownContent({ vector, body }: Check): FramedContent {
  return {
    groupId: hex(vector.group_id),
    epoch: BigInt(vector.epoch),
    sender: { kind: 'member', leaf: SENDER },
    authenticatedData: hex('a0a1a2'),
    body,
  }
}

async function signed(
  { suite, vector, body, groupContext }: Check,
  wireFormat: ContentWireFormat,
  content: FramedContent,
): Promise<ContentAuthentication> {
  const signatureSecret = hex(vector.signature_priv)
  return {
    signature: await signContent(suite, { wireFormat, content, groupContext, signatureSecret }),
    confirmationTag: body.kind === 'commit' ? suite.hash(groupContext) : null,
  }
}

function verifies(
  { suite, vector, groupContext }: Check,
  wireFormat: ContentWireFormat,
  { content, auth }: { content: FramedContent; auth: ContentAuthentication },
): Promise<boolean> {
  const publicKey = hex(vector.signature_pub)
  const { signature } = auth
  return verifyContentSignature(suite, { wireFormat, content, signature, groupContext, publicKey })
}

async function checkPublic(check: Check, published: Uint8Array): Promise<void> {
  const { suite, vector, body, groupContext } = check
  const membershipKey = hex(vector.membership_key)
  const message = decodeMlsMessage('publicMessage', published)?.publicMessage
  ok(message !== undefined)
  deepStrictEqual(message.content.body, body)
  deepStrictEqual(message.content.sender, { kind: 'member', leaf: SENDER })
  strictEqual(await verifies(check, 'publicMessage', message), true)
  strictEqual(await verifies(check, 'privateMessage', message), false)
  deepStrictEqual(
    membershipTag(suite, membershipKey, { ...message, groupContext }),
    message.membershipTag,
  )

  const content = ownContent(check)
  const auth = await signed(check, 'publicMessage', content)
  const tag = membershipTag(suite, membershipKey, { content, auth, groupContext })
  const publicMessage = { content, auth, membershipTag: tag }
  const bytes = encodeMlsMessage({ kind: 'publicMessage', publicMessage })
  const again = decodeMlsMessage('publicMessage', bytes)?.publicMessage
  deepStrictEqual(again, publicMessage)
  strictEqual(await verifies(check, 'publicMessage', publicMessage), true)
  const otherSender = { ...content, sender: { kind: 'member', leaf: 0 } } as const
  const forged = { content: otherSender, auth, groupContext }
  strictEqual(await verifies(check, 'publicMessage', forged), false)
  notDeepStrictEqual(membershipTag(suite, membershipKey, forged), tag)
  const inPublic = proposalReference(suite, { wireFormat: 'publicMessage', content, auth })
  const inPrivate = proposalReference(suite, { wireFormat: 'privateMessage', content, auth })
  notDeepStrictEqual(inPublic, inPrivate)
}

/** Who comes into the group signs its GroupContext; who stands outside of it does not. */
async function checkSenders(check: Check): Promise<void> {
  const { suite, vector, groupContext } = check
  const publicKey = hex(vector.signature_pub)
  const senders = [
    { sender: { kind: 'newMemberCommit' }, bound: true },
    { sender: { kind: 'newMemberProposal' }, bound: false },
    { sender: { kind: 'external', senderIndex: 0 }, bound: false },
  ] as const
  for (const { sender, bound } of senders) {
    const content = { ...ownContent(check), sender }
    const { signature } = await signed(check, 'publicMessage', content)
    const signing = { wireFormat: 'publicMessage', content, signature, publicKey } as const
    const other = groupContext.slice(1)
    strictEqual(await verifyContentSignature(suite, { ...signing, groupContext }), true)
    strictEqual(await verifyContentSignature(suite, { ...signing, groupContext: other }), !bound)
    const verifying = () => verifyContentSignature(suite, { ...signing, groupContext: null })
    if (bound) throws(() => void verifying())
    else strictEqual(await verifying(), true)
    const membershipKey = hex(vector.membership_key)
    const auth = { signature, confirmationTag: null }
    throws(() => membershipTag(suite, membershipKey, { content, auth, groupContext }))
  }
}

async function checkPrivate(check: Check, published: Uint8Array): Promise<void> {
  const { suite, vector, body } = check
  const message = decodeMlsMessage('privateMessage', published)?.privateMessage
  ok(message !== undefined)
  const opened = unprotected(check, message)
  deepStrictEqual(opened.content.body, body)
  deepStrictEqual(opened.content.sender, { kind: 'member', leaf: SENDER })
  strictEqual(await verifies(check, 'privateMessage', opened), true)
  strictEqual(await verifies(check, 'publicMessage', opened), false)
  const replayed = unprotect(
    suite,
    { ...secretsOf(vector), secretTree: opened.secretTree },
    message,
  )
  deepStrictEqual(replayed, { kind: 'refused', code: 'generationUsed' })
  checkForgeries(check, message)

  const prng = createPrng(suite.id)
  const content = ownContent(check)
  const auth = await signed(check, 'privateMessage', content)
  for (const paddingLength of [0, 1, 300]) {
    const made = protect(suite, secretsOf(vector), {
      content,
      auth,
      ownLeaf: SENDER,
      paddingLength,
      entropy: { randomBytes: (length) => prng.bytes(length) },
    })
    const bytes = encodeMlsMessage({ kind: 'privateMessage', privateMessage: made.message })
    const read = decodeMlsMessage('privateMessage', bytes)?.privateMessage
    ok(read !== undefined)
    const again = unprotected(check, read)
    deepStrictEqual(again.content, content)
    deepStrictEqual(again.auth, auth)
    deepStrictEqual(again.secretTree, made.secretTree)
  }
}

/** What is changed on the way is refused, and what the tree held before is whole. */
function checkForgeries(check: Check, message: PrivateMessage): void {
  const { suite, vector } = check
  const state = secretsOf(vector)
  const flipped = (bytes: Uint8Array, at: number) =>
    bytes.map((byte, index) => index === at ? byte ^ 1 : byte)
  const last = message.ciphertext.length - 1
  const forgeries: readonly PrivateMessage[] = [
    { ...message, encryptedSenderData: flipped(message.encryptedSenderData, 0) },
    { ...message, encryptedSenderData: message.encryptedSenderData.subarray(1) },
    { ...message, ciphertext: flipped(message.ciphertext, 0) },
    { ...message, ciphertext: message.ciphertext.subarray(0, last) },
    { ...message, ciphertext: new Uint8Array(0) },
    { ...message, authenticatedData: hex('00') },
    { ...message, epoch: message.epoch + 1n },
    { ...message, groupId: flipped(message.groupId, 0) },
    { ...message, contentType: message.contentType === 'commit' ? 'proposal' : 'commit' },
  ]
  for (const forgery of forgeries) {
    deepStrictEqual(unprotect(suite, state, forgery), { kind: 'refused', code: 'notDecryptable' })
  }
  strictEqual(unprotect(suite, state, message).kind, 'unprotected')
}

function secretsOf(vector: MessageProtection) {
  return {
    senderDataSecret: hex(vector.sender_data_secret),
    secretTree: secretTree(hex(vector.encryption_secret), MEMBERS),
  }
}

function unprotected({ suite, vector }: Check, message: PrivateMessage) {
  const opened = unprotect(suite, secretsOf(vector), message)
  if (opened.kind === 'refused') throw new Error(`a message is refused: ${opened.code}`)
  return opened
}
