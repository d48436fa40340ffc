/**
 * Coming into a room by a commit of one's own, by hand: asking for the public group, replaying the
 * log above it, committing. Owns no check of what the hub says; a test changes what it wants to.
 */
import { ok } from 'node:assert/strict'
import { concat, toHex } from '#core/base/bytes.ts'
import { type Epoch, logPosition, type RequestId, type RoomId } from '#core/base/ids.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { certificateHash } from '#core/identity/certificate.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { sessionHash } from '#core/identity/session-proof.ts'
import { EXTENSION_TYPE, externalPub, readExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { makeAdmission } from '#core/policy/admission.ts'
import { decodeGroupAnswer, type GroupAnswer } from '#core/policy/group-request.ts'
import { signGroupRequest } from '#core/policy/group-request.ts'
import { leafOfDevice, rosterOf } from '#core/policy/roster.ts'
import type { Body, GroupPurpose } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { commitEntryCodec, seenCodec } from '#core/wire/log-entry.ts'
import type { HandDevice, HandLog, HandRoom } from './hand-device.ts'

/** The proof of a link for the device's session. */
export async function linkPurpose(
  device: HandDevice,
  id: RoomId,
  secret: Uint8Array,
): Promise<GroupPurpose> {
  const { crypto } = device.parts
  const { greeted, self } = device
  ok(greeted !== null, 'a session is open')
  const pair = invitationKeyPair(crypto, secret, id)
  const invitation = invitationId(crypto, pair.publicKey)
  const signature = await signGroupRequest(crypto, {
    session: sessionHash(crypto, greeted),
    room: id,
    invitation,
    account: self.account,
    device: self.device,
  }, pair.secretKey)
  return { kind: 'invitation', id: invitation, signature }
}

/** Asks for the group; a refusal comes with `device.answer`. */
export function askGroup(device: HandDevice, id: RoomId, purpose: GroupPurpose): RequestId {
  const request = device.nextRequest()
  device.say('requestGroup', { request, token: null, purpose }, id)
  return request
}

/** All parts of the answer to a request. */
export async function groupAnswer(device: HandDevice, request: RequestId): Promise<GroupAnswer> {
  const parts: Uint8Array[] = []
  for (;;) {
    const { body } = await device.hear('group', (message) => message.body.request === request)
    ok(body.sequence === parts.length, 'parts come in their order')
    parts.push(body.bytes)
    if (!body.last) continue
    const answer = decodeGroupAnswer(concat(...parts))
    ok(answer !== null, 'the answer is whole')
    return answer
  }
}

/** A group that is replayed, and the GroupInfo of its newest epoch. */
export interface HandReplay {
  readonly log: HandLog
  group: PublicGroup
  groupInfo: Uint8Array
}

/** Opens an answer and replays the log above it up to its end. */
export async function replay(
  device: HandDevice,
  id: RoomId,
  answer: GroupAnswer,
): Promise<HandReplay> {
  const info = decodeMlsMessage('groupInfo', answer.groupInfo)
  ok(info !== null)
  const { ratchetTree } = answer
  const opened = await openPublicGroup(device.engine, { groupInfo: info.groupInfo, ratchetTree })
  ok(opened.kind === 'opened', `opened: ${opened.kind === 'refused' ? opened.code : ''}`)
  const next = answer.position + 1n
  const log: HandLog = { id, next, headHash: answer.entryHash, entries: [] }
  device.rooms.set(toHex(id), log)
  const subscribed = await device.subscribe(log)
  await device.follow(log, subscribed.next)
  const replayed = { log, group: opened.group, groupInfo: answer.groupInfo }
  await catchUp(replayed, 0)
  return replayed
}

/** Takes the commits from an index of the log's entries on. */
export async function catchUp(replayed: HandReplay, from: number): Promise<void> {
  for (const { entry } of replayed.log.entries.slice(from)) {
    if (entry.header.entry !== 'commit' || entry.body.kind !== 'whole') continue
    const decoded = decode(commitEntryCodec, entry.body.bytes)
    ok(decoded.kind === 'decoded')
    const timeMs = Number(entry.header.time) as TimeMs
    const seen = await publicProcess(replayed.group, decoded.value.commit, { timeMs })
    ok(seen.kind === 'commit', 'the log holds good commits')
    replayed.group = seen.group
    replayed.groupInfo = decoded.value.groupInfo
  }
}

/** The external commit above a replayed group, and the request that submits it. */
export async function externalCommit(
  device: HandDevice,
  replayed: HandReplay,
  secret: Uint8Array | null,
): Promise<{ next: Group; body: Body<'submitCommit'> }> {
  const { crypto, entropy } = device.parts
  const { log, group, groupInfo } = replayed
  const { account, device: own, rootHash, certificate, key } = device.self
  const info = decodeMlsMessage('groupInfo', groupInfo)
  const { externalPub: type } = EXTENSION_TYPE
  const published = readExtension(info?.groupInfo.extensions ?? [], type, externalPub)
  ok(published !== null && published !== 'malformed')
  const old = leafOfDevice(rosterOf(group.tree), account, own)
  const epochId = epochIdOf(device.engine, group.context)
  const admit = async (encryptionKey: Uint8Array) => {
    if (secret === null) return []
    const pair = invitationKeyPair(crypto, secret, log.id)
    return [
      await makeAdmission(crypto, {
        room: log.id,
        epochIdBefore: epochId,
        invitation: invitationId(crypto, pair.publicKey),
        account,
        device: own,
        rootHash,
        signatureKey: key.publicKey,
        encryptionKey,
        certificateHash: certificateHash(crypto, certificate),
      }, pair.secretKey),
    ]
  }
  const seen = { position: logPosition(log.next - 1n), hash: log.headHash }
  const kept = old === null ? null : leafAt(group.tree, old.leaf)
  const made = await joinByExternalCommit(group, {
    externalPub: published,
    template: { ...device.template, extensions: kept?.extensions ?? [] },
    ...(old === null ? { extensionsFor: admit } : {}),
    signatureSecret: key.secretKey,
    removed: old?.leaf ?? null,
    psks: () => null,
    authenticatedData: encode(seenCodec, seen),
    timeMs: null,
    entropy,
  })
  ok(made.kind === 'committed', `made: ${made.kind === 'refused' ? made.code : ''}`)
  const body = {
    request: device.nextRequest(),
    epoch: group.context.epoch as Epoch,
    epochId,
    seen,
    commit: made.message,
    groupInfo: await device.groupInfo(made.next),
    certificates: old === null ? [certificate] : [],
    welcome: new Uint8Array(0),
  }
  return { next: made.next, body }
}

/** Joins by the secret of a link, and follows the log up to the own commit. */
export async function joinByLink(
  device: HandDevice,
  id: RoomId,
  secret: Uint8Array,
): Promise<HandRoom> {
  const request = askGroup(device, id, await linkPurpose(device, id, secret))
  const replayed = await replay(device, id, await groupAnswer(device, request))
  const { next, body } = await externalCommit(device, replayed, secret)
  device.say('submitCommit', body, id)
  const position = await device.position(body.request)
  await device.follow(replayed.log, position + 1n)
  const { log } = replayed
  const room: HandRoom = { ...device.enter(id, next), ...log }
  device.rooms.set(toHex(id), room)
  return room
}
