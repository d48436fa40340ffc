/**
 * The bytes of what members sign about a room, made by hand: votes and their MACs, anchors,
 * admissions. And their borders: sizes, lengths of keys, counts.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { concat } from '#core/base/bytes.ts'
import { type EpochId, logPosition, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { type AdmissionContent, decodeAdmission, makeAdmission } from '#core/policy/admission.ts'
import { verifyAdmission } from '#core/policy/admission.ts'
import { makeAnchor, readAnchor } from '#core/policy/anchor.ts'
import { finalityCodec, finalityRecord, openFinality } from '#core/policy/finality.ts'
import { makeVote, NO_MAC, readVote, voteMac } from '#core/policy/vote.ts'
import { encode } from '#core/wire/codec.ts'
import { ascii, big, expand, named, opaque, signContent } from './by-hand.ts'
import * as people from './policy-people.ts'
import { bytes, crypto, NOW } from './policy-people.ts'

const ann = await people.deviceOf('ann')
const ben = await people.deviceOf('ben')
const signer = { algorithm: 'ed25519', secretKey: ann.suiteKey.secretKey } as const

const isSigned = (label: string, content: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  crypto.verify('ed25519', {
    publicKey: ann.suiteKey.publicKey,
    content: signContent(label, content),
    signature,
  })

const sha256 = (content: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(content).digest())

/** What follows a content is one signature of 64 bytes, then the rest. */
function splitAfter(made: Uint8Array, content: Uint8Array) {
  deepStrictEqual(made.slice(0, content.length), content)
  deepStrictEqual(made.slice(content.length, content.length + 2), Uint8Array.of(0x40, 64))
  const signature = made.slice(content.length + 2, content.length + 66)
  return { signature, rest: made.slice(content.length + 66) }
}

Deno.test('VOTE-1, WIRE-6: a vote and its MAC, made by hand', async () => {
  const room = bytes(32) as RoomId
  const [epochIdBefore, epochId] = [bytes(32) as EpochId, bytes(32) as EpochId]
  const mac = bytes(32)
  const place = { room, epochIdBefore, epochId, position: logPosition(77n), leaf: 6 }
  for (const [choice, said] of [['agree', mac], ['cannot', NO_MAC]] as const) {
    const made = await makeVote(crypto, { ...place, choice, mac: said }, signer)
    const content = concat(
      ...[named('vote'), room, opaque(epochIdBefore), opaque(epochId), big(77, 8), big(6, 4)],
      ...[Uint8Array.of(choice === 'agree' ? 1 : 2), opaque(said), Uint8Array.of(0)],
    )
    const { signature, rest } = splitAfter(made, content)
    strictEqual(rest.length, 0)
    ok(await isSigned('vote', content, signature))
    strictEqual(readVote(made)?.choice, choice)
  }
  const seen: Uint8Array[] = []
  const watching: Crypto = {
    ...crypto,
    hmac(hash, key, content) {
      seen.push(key)
      return crypto.hmac(hash, key, content)
    },
  }
  const groupInfo = bytes(90)
  const authenticator = bytes(32)
  const made = voteMac(watching, {
    hash: 'sha256',
    epochAuthenticator: authenticator,
    epochId,
    leaf: 6,
    groupInfo,
  })
  const key = expand({
    hash: 'sha256',
    secret: authenticator,
    label: 'voteKey',
    context: epochId,
    length: 32,
  })
  const over = concat(big(6, 4), opaque(epochId), sha256(groupInfo))
  deepStrictEqual(made, new Uint8Array(createHmac('sha256', key).update(over).digest()))
  ok(seen.length === 1 && seen.every((each) => each.every((byte) => byte === 0)), 'wiped')
})

Deno.test('JOIN-3, WIRE-6: an anchor, made by hand', async () => {
  const anchor = {
    ...{ room: bytes(32) as RoomId, epochId: bytes(32) as EpochId, position: logPosition(9n) },
    ...{ entryHash: bytes(32), invitation: bytes(32), device: ann.device, time: NOW },
  }
  const certificate = bytes(200)
  const made = await makeAnchor(crypto, anchor, { ...signer, certificate })
  const content = concat(
    ...[named('anchor'), anchor.room, opaque(anchor.epochId), big(9, 8), anchor.entryHash],
    ...[anchor.invitation, anchor.device, big(NOW, 8), Uint8Array.of(0)],
  )
  const { signature, rest } = splitAfter(made, content)
  deepStrictEqual(rest, opaque(certificate))
  ok(await isSigned('anchor', content, signature))
  strictEqual(readAnchor(made)?.position, 9n)
  // Extensions that say nothing make it as long as wanted.
  const grown = (length: number): Uint8Array => {
    const lengths = [...Array<number>(7).fill(1_000), length]
    const list = concat(
      ...lengths.map((each) => concat(Uint8Array.of(0, 1, 0), opaque(new Uint8Array(each)))),
    )
    const certified = opaque(new Uint8Array(LIMITS.certificateSizeMax))
    return concat(content.slice(0, -1), opaque(list), opaque(signature), certified)
  }
  const most = LIMITS.anchorSizeMax - (grown(500).length - 500)
  strictEqual(grown(most).length, LIMITS.anchorSizeMax)
  strictEqual(readAnchor(grown(most))?.position, 9n)
  strictEqual(readAnchor(grown(most + 1)), null)
})

function contentOf(over: Partial<AdmissionContent> = {}): AdmissionContent {
  return {
    room: bytes(32) as RoomId,
    epochIdBefore: bytes(32) as EpochId,
    invitation: bytes(32),
    account: ann.account,
    device: ann.device,
    rootHash: bytes(32),
    signatureKey: bytes(32),
    encryptionKey: bytes(32),
    certificateHash: bytes(32),
    ...over,
  }
}

Deno.test('JOIN-4, WIRE-6: an admission, made by hand', async () => {
  const said = contentOf()
  const { type, body } = await makeAdmission(crypto, said, ann.suiteKey.secretKey)
  strictEqual(type, 0xf011)
  const head = concat(named('admission'), said.invitation)
  deepStrictEqual(body.slice(0, head.length), head)
  const signature = body.slice(head.length)
  const content = concat(
    ...[named('admission content'), said.room, opaque(said.epochIdBefore), said.invitation],
    ...[opaque(ascii(said.account)), said.device, said.rootHash, opaque(said.signatureKey)],
    ...[opaque(said.encryptionKey), said.certificateHash],
  )
  ok(await isSigned('admission', content, signature))
  deepStrictEqual(decodeAdmission(body), { invitation: said.invitation, signature })
  strictEqual(decodeAdmission(body.slice(1)), null)
})

Deno.test('JOIN-4: keys of lengths that no suite has are let in by nobody', async () => {
  const { publicKey, secretKey } = ann.suiteKey
  const judge = async (over: Partial<AdmissionContent>, good = contentOf()) => {
    const said = contentOf(over)
    const fits = await makeAdmission(crypto, good, secretKey)
    const signature = decodeAdmission(fits.body)?.signature as Uint8Array
    return await verifyAdmission(crypto, said, { publicKey, signature })
  }
  const made = async (over: Partial<AdmissionContent>) => {
    const said = contentOf(over)
    const { body } = await makeAdmission(crypto, said, secretKey)
    const signature = decodeAdmission(body)?.signature as Uint8Array
    return await verifyAdmission(crypto, said, { publicKey, signature })
  }
  for (const length of [31, 134]) strictEqual(await judge({ signatureKey: bytes(length) }), false)
  for (const length of [31, 2_049]) {
    strictEqual(await judge({ encryptionKey: bytes(length) }), false)
  }
  for (const length of [32, 133]) strictEqual(await made({ signatureKey: bytes(length) }), true)
  for (const length of [32, 2_048]) strictEqual(await made({ encryptionKey: bytes(length) }), true)
})

Deno.test('DEV-3: a stored machine bears its name', () => {
  const finality = openFinality({ position: logPosition(3n), epochId: bytes(32) as EpochId })
  const record = encode(finalityCodec, finalityRecord(finality))
  const head = concat(named('finality'), big(3, 8), big(3, 8), opaque(finality.final.epochId))
  deepStrictEqual(record, concat(head, Uint8Array.of(0, 0)))
})

Deno.test('GROUP-4, GROUP-1: 64 members at once, and a full room, are fine', async () => {
  const { room, founder } = await people.found(ann)
  const { room: both, group } = await people.adding(room, founder, [ben])
  const made = await people.commitOf(both, group, {})
  const taken = await publicProcess(both.group, made.message, { timeMs: NOW })
  ok(taken.kind === 'commit')
  const leafNode = leafAt(taken.group.tree, 1)
  ok(leafNode !== null)
  const many = (count: number) => Array.from({ length: count }, () => ({ leaf: 1, leafNode }))
  const judge = (count: number, memberCount = 2) => {
    const tree = Object.assign(Object.create(Object.getPrototypeOf(taken.group.tree)), {
      ...taken.group.tree,
      memberCount,
    })
    return people.judged(both, made, { ...taken.change, added: many(count) }, {
      ...taken.group,
      tree,
    })
  }
  strictEqual(await judge(0), null)
  ok(await judge(LIMITS.membersPerCommitMax) !== 'tooMany')
  strictEqual(await judge(LIMITS.membersPerCommitMax + 1), 'tooMany')
  strictEqual(await judge(0, LIMITS.membersMax), null)
  strictEqual(await judge(0, LIMITS.membersMax + 1), 'tooMany')
})
