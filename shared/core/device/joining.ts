/**
 * The ways into a room (ROOM-7, JOIN-1 to JOIN-4): by link, from the public group that the
 * inviter's anchor names and the log above it; by Welcome, from the genesis on. Owns what is asked
 * and checked before the log is replayed; the replay is `follow.ts`, the own commit `external.ts`.
 */
import { concat, EMPTY, equalBytes, toHex, wipe } from '#core/base/bytes.ts'
import type { HubDomain, LogPosition, RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import { logPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { DEFAULT_SUITE, dropKeyPackage } from '#core/device/account.ts'
import { idOfEpoch } from '#core/device/chain.ts'
import { leaveRoom, refuseJoin } from '#core/device/ends.ts'
import { beginEpochs, forgetEpochs, forgetRoom, storeEpochs } from '#core/device/epochs.ts'
import { type CheckedCertificate, keepCertificates } from '#core/device/members.ts'
import { landOutbox } from '#core/device/outbox.ts'
import { withOutboxOf } from '#core/device/outbox-items.ts'
import type { RoomRecord } from '#core/device/records.ts'
import { checkedTitle, hasLink, newRoom, roomKey, subscribe, unfollow } from '#core/device/room.ts'
import { atBeginning, isStateLost, roomIdOfKey, wipeGroups, withHeadOf } from '#core/device/room.ts'
import type { HeldWelcome, PlacedEntry, RoomState } from '#core/device/state.ts'
import { commitLost } from '#core/device/submit.ts'
import { cipherSuiteOf, type Turn } from '#core/device/turn.ts'
import { setFinality, storeFinality } from '#core/device/votes.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { groupIdOf, roomOfGroupId } from '#core/identity/genesis.ts'
import { decodeInviteLink, invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { leafIsCertified } from '#core/identity/leaf-identity.ts'
import { sessionHash } from '#core/identity/session-proof.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { members } from '#core/mls/ratchet-tree.ts'
import { verifyAnchor } from '#core/policy/anchor.ts'
import { openFinality } from '#core/policy/finality.ts'
import { decodeGroupAnswer, type GroupAnswer } from '#core/policy/group-request.ts'
import { signGroupRequest } from '#core/policy/group-request.ts'
import { identityOf } from '#core/policy/roster.ts'
import type { Body } from '#core/wire/bodies.ts'
import { signatureKeyOf } from '#core/device/leaf.ts'

// ---- By link ------------------------------------------------------------------------------

/** Begins to join by a link; its secret is kept until the device is in the room for good. */
export async function joinByLink(turn: Turn, command: number, fragment: string): Promise<void> {
  const account = turn.registered
  if (account === null) return turn.fail(command, 'notRegistered')
  const link = decodeInviteLink(fragment)
  if (link === null) return turn.fail(command, 'badLink')
  const { hubDomain, suite, secret } = link
  const code = hubDomain !== account.hubDomain
    ? 'otherHub'
    : suiteById(suite)?.frameAead == null
    ? 'unknownSuite'
    : null
  if (code !== null) {
    wipe(secret)
    return turn.fail(command, code)
  }
  const id = link.room as RoomId
  const existing = turn.room(roomKey(id))
  const again = existing === null || existing.record.phase === 'joinRefused' ||
    existing.record.phase === 'removed' || existing.record.phase === 'broken'
  if (!again) {
    wipe(secret)
    return turn.done(command, roomKey(id))
  }
  if (existing !== null) forgetRoom(turn, existing.key)
  const room = newRoom({
    id,
    phase: 'joining',
    suite,
    domain: hubDomain,
    // Nobody has signed it.
    title: checkedTitle(link.title),
    opening: secret,
    inviterRootHash: link.inviterRootHash,
    createdAt: turn.nowMs,
  })
  const left = turn.room(room.key)
  turn.addRoom(withOutboxOf(left, withHeadOf(left, room)))
  // Its commit may stand in the log before the device knows.
  turn.strictly()
  await requestGroup(turn, room.key)
  turn.done(command, room.key)
}

/**
 * Asks for the public group, with a proof of the link for this very session (JOIN-1). Once at a
 * time: *the hub lets a newcomer follow from behind the group that it gave last.*
 */
export async function requestGroup(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  const account = turn.registered
  const { session, requests } = turn.state
  if (room === null || account === null || session.kind !== 'ready') return
  for (const asked of requests.values()) if (asked.kind === 'group' && asked.room === key) return
  const { crypto } = turn.ports
  const pair = invitationKeyPair(crypto, room.record.opening, room.id)
  const id = invitationId(crypto, pair.publicKey)
  const signature = await signGroupRequest(crypto, {
    session: sessionHash(crypto, session),
    room: room.id,
    invitation: id,
    account: account.name,
    device: account.device,
  }, pair.secretKey)
  turn.effect({ kind: 'wipe', secrets: [pair.secretKey] })
  turn.setRoom(key, { joining: { kind: 'asked', parts: [], size: 0 } })
  const request = turn.request({ kind: 'group', room: key })
  const purpose = { kind: 'invitation', id, signature } as const
  turn.send('requestGroup', { request, token: null, purpose }, room.id)
}

/**
 * The link opens the room no more. The commit of this device may stand in the log all the same, its
 * answer lost: a member may walk the log from its beginning, and come back by that (JOIN-5). Who is
 * none is told so, and learns why the link was refused.
 */
export function groupRefused(turn: Turn, key: string, code: string): void {
  const room = turn.room(key)
  if (room === null || room.joining?.kind !== 'asked') return
  walkAsMember(turn, key, { code, joinedAt: null })
}

/** Walks the log from its beginning, to come back by a resync at its end (JOIN-5). */
function walkAsMember(
  turn: Turn,
  key: string,
  from: Pick<RoomRecord, 'code' | 'joinedAt'>,
): void {
  const room = turn.room(key)
  if (room === null) return
  forgetEpochs(turn, key)
  unfollow(turn, key)
  turn.setRecord(key, {
    ...from,
    phase: 'joining',
    ...atBeginning(room.record),
  })
  turn.setRoom(key, { joining: { kind: 'recovery' }, recent: [] })
  subscribe(turn, key)
}

/** A part of the public group; with the last one it is whole (JOIN-2). */
export async function groupPartReceived(
  turn: Turn,
  key: string,
  body: Body<'group'>,
): Promise<void> {
  const id = body.request as RequestId
  const pending = turn.state.requests.get(id)
  const room = turn.room(key)
  if (pending?.kind !== 'group' || pending.room !== key || room?.joining?.kind !== 'asked') return
  const { parts } = room.joining
  const size = room.joining.size + body.bytes.length
  // A part without bytes is no progress, and could come without end.
  const isEmpty = body.bytes.length === 0 && !body.last
  if (body.sequence !== parts.length || size > LIMITS.groupAnswerSizeMax || isEmpty) {
    turn.takeRequest(id)
    return refuseJoin(turn, key, 'brokenLog')
  }
  turn.heardOf(id)
  const all = [...parts, body.bytes]
  if (!body.last) {
    turn.setRoom(key, { joining: { kind: 'asked', parts: all, size } })
    return
  }
  turn.takeRequest(id)
  const answer = decodeGroupAnswer(concat(...all))
  if (answer === null) return refuseJoin(turn, key, 'brokenLog')
  await groupReceived(turn, room, answer)
}

async function groupReceived(turn: Turn, room: RoomState, answer: GroupAnswer): Promise<void> {
  const { key } = room
  const { crypto } = turn.ports
  const group = await openAnswer(turn, room, answer)
  if (group === null) return refuseJoin(turn, key, 'badAnchor')
  if (answer.anchor === null) return refuseJoin(turn, key, 'noAnchor')
  const { publicKey, secretKey } = invitationKeyPair(crypto, room.record.opening, room.id)
  wipe(secretKey)
  const anchor = await verifyAnchor(crypto, answer.anchor, {
    room: room.id,
    invitation: invitationId(crypto, publicKey),
    inviterRootHash: room.record.inviterRootHash,
    group,
  })
  if (anchor === null) return refuseJoin(turn, key, 'badAnchor')
  const checked = await checkCertificates(turn, group, answer.certificates)
  if (checked === null) return refuseJoin(turn, key, 'badCertificate')
  const { position, entryHash } = anchor
  if (position > BigInt(Number.MAX_SAFE_INTEGER)) return refuseJoin(turn, key, 'badAnchor')
  const { recovery } = room.record
  const isFork = recovery?.position === position && !equalBytes(recovery.hash, entryHash)
  if (isFork) return refuseJoin(turn, key, 'fork')
  turn.setRoom(key, { joining: { kind: 'link' }, recent: [] })
  // An earlier walk of the same log may have come further.
  const headTime = 0 as TimeMs
  turn.setRecord(key, { next: logPosition(position + 1n), headHash: entryHash, headTime })
  const { groupInfo } = answer
  const final = { position, entryHash, public: group, group: null, keys: null, groupInfo }
  beginEpochs(turn, key, final)
  setFinality(turn, key, openFinality({ position, epochId: idOfEpoch(final) }))
  await keepCertificates(turn, key, checked)
  subscribe(turn, key)
}

/** The group of an answer, verified whole; null where anything is wrong with it. */
async function openAnswer(
  turn: Turn,
  room: RoomState,
  answer: GroupAnswer,
): Promise<PublicGroup | null> {
  const suite = cipherSuiteOf(turn.ports.crypto, room.record.suite)
  const decoded = decodeMlsMessage('groupInfo', answer.groupInfo)
  if (suite === null || decoded === null) return null
  const { groupInfo } = decoded
  if (!equalBytes(groupInfo.groupContext.groupId, groupIdOf(room.id))) return null
  const { ratchetTree } = answer
  const opened = await openPublicGroup(suite, { groupInfo, ratchetTree })
  return opened.kind === 'opened' ? opened.group : null
}

/** The certificates, if each leaf is borne out by one of them (ID-7); else null. */
async function checkCertificates(
  turn: Turn,
  group: PublicGroup,
  certificates: readonly Uint8Array[],
): Promise<readonly CheckedCertificate[] | null> {
  const { crypto } = turn.ports
  const suite = suiteById(group.suite.id)
  const byHash = new Map<string, CheckedCertificate>()
  for (const bytes of certificates) {
    const verified = await verifyCertificate(crypto, bytes, { hubKey: null })
    if (verified.kind === 'refused') return null
    byHash.set(toHex(verified.hash), { bytes, certificate: verified })
  }
  if (suite === null) return null
  for (const { leafNode } of members(group.tree)) {
    const identity = identityOf(leafNode)
    const checked = identity && byHash.get(toHex(identity.certificateHash))
    if (identity === null || checked == null) return null
    const { signatureKey } = leafNode
    const claim = { identity, signatureKey, algorithm: suite.signature }
    if (!leafIsCertified(claim, checked.certificate)) return null
  }
  return [...byHash.values()]
}

// ---- By Welcome ---------------------------------------------------------------------------

/**
 * Opens a Welcome (ROOM-7): the group is kept, and the log is walked from its beginning up to it.
 * False where it opens nothing, or another room.
 */
export async function enterByWelcome(
  turn: Turn,
  key: string,
  { id, position, welcome }: HeldWelcome,
): Promise<boolean> {
  const joined = await openWelcome(turn, welcome)
  const room = joined === null ? null : roomOfGroupId(joined.group.public.context.groupId)
  if (joined === null || room === null || roomKey(room) !== key) return false
  const existing = turn.room(key)
  if (existing !== null) forgetRoom(turn, key)
  const fresh = addedRoom(turn, room, {
    suite: joined.group.public.suite.id,
    title: existing?.record.title ?? null,
  })
  const joining = { kind: 'welcome', id, position, ...joined } as const
  const left = turn.room(key)
  turn.addRoom({ ...withOutboxOf(left, withHeadOf(left, fresh)), joining })
  subscribe(turn, key)
  return true
}

/**
 * A commit has added the device, at this position where it is known, with a Welcome that opens
 * nothing or that did not come: it comes in as a member who lost the state of the group. *The
 * others would see a member who hears nothing, and could not add it again.* A log that it knew it
 * must find again.
 */
export function enterByWalk(turn: Turn, key: string, position: LogPosition | null): void {
  const id = roomIdOfKey(key)
  if (id === null) return
  const existing = turn.room(key)
  if (existing === null) turn.addRoom(addedRoom(turn, id, { suite: DEFAULT_SUITE, title: null }))
  landOutbox(turn, key)
  walkAsMember(turn, key, { code: '', joinedAt: position })
}

/** The Welcome is to another epoch than its commit makes: the walk goes on without it. */
export function dropWelcome(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room?.joining?.kind !== 'welcome') return
  const { group, keyPackage } = room.joining
  dropKeyPackage(turn, keyPackage)
  turn.setRoom(key, { joining: { kind: 'recovery' } })
  wipeGroups(turn, key, [group])
}

function addedRoom(
  turn: Turn,
  id: RoomId,
  { suite, title }: { readonly suite: number; readonly title: string | null },
): RoomState {
  return newRoom({
    id,
    phase: 'joining',
    suite,
    domain: turn.state.hub?.domain ?? '' as HubDomain,
    title,
    opening: EMPTY,
    inviterRootHash: EMPTY,
    createdAt: turn.nowMs,
  })
}

interface Joined {
  readonly group: Group
  /** Reference of the KeyPackage, hex. */
  readonly keyPackage: string
}

async function openWelcome(turn: Turn, bytes: Uint8Array): Promise<Joined | null> {
  const account = turn.registered
  const message = decodeMlsMessage('welcome', bytes)
  if (account === null || message === null) return null
  for (const { newMember } of message.welcome.secrets) {
    const reference = toHex(newMember)
    const record = turn.state.keyPackages.get(reference)
    const suite = suiteById(record?.suite ?? 0)
    const engine = cipherSuiteOf(turn.ports.crypto, record?.suite ?? 0)
    const decoded = record && decodeMlsMessage('keyPackage', record.keyPackage)
    if (record === undefined || suite === null || engine === null || decoded == null) continue
    // A last resort package is used again, and the group wipes what it holds.
    const initSecret = record.initSecret.slice()
    const encryptionSecret = record.encryptionSecret.slice()
    const outcome = await joinByWelcome(engine, {
      welcome: bytes,
      keyPackage: decoded.keyPackage,
      secrets: { initSecret, encryptionSecret },
      signatureSecret: signatureKeyOf(account, suite).secretKey,
      ratchetTree: null,
      psks: () => null,
    })
    wipe(initSecret)
    if (outcome.kind === 'joined') return { group: outcome.group, keyPackage: reference }
    wipe(encryptionSecret)
  }
  return null
}

/** A Welcome will not be used: neither are the KeyPackages that it was made for. */
export function dropKeyPackagesOf(turn: Turn, welcome: Uint8Array): void {
  const message = decodeMlsMessage('welcome', welcome)
  for (const { newMember } of message?.welcome.secrets ?? []) {
    dropKeyPackage(turn, toHex(newMember))
  }
}

// ---- In ------------------------------------------------------------------------------------

/** The commit that brings this device in stands in the log: all that was gathered is stored. */
export function enterRoom(turn: Turn, key: string, placed: PlacedEntry): void {
  const room = turn.room(key)
  if (room === null || room.joining === null) return
  const { joining } = room
  const { position } = placed
  const readUpTo = isStateLost(room) ? room.record.readUpTo : position
  turn.setRecord(key, { phase: 'live', code: '', joinedAt: position, readUpTo })
  turn.setRoom(key, { joining: null })
  storeEpochs(turn, key)
  if (room.finality !== null) storeFinality(turn, key, room.finality)
  if (joining.kind === 'welcome') dropKeyPackage(turn, joining.keyPackage)
  turn.effect({ kind: 'showAccount' })
}

/** The commit that brought this device in is void: it begins anew by its link, or is out. */
export async function rejoin(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  if (!hasLink(room.record)) return leaveRoom(turn, key)
  // What was asked of the room waits for the way in.
  commitLost(turn, key)
  forgetEpochs(turn, key)
  turn.setRoom(key, { asked: [] })
  unfollow(turn, key)
  turn.setRecord(key, { phase: 'joining', joinedAt: null, ...atBeginning(room.record) })
  turn.effect({ kind: 'showAccount' })
  await requestGroup(turn, key)
}
