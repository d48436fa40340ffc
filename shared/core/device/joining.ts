/**
 * Joining a room (ROOM-7 to ROOM-9): the request that a link's secret signs, the Welcome that
 * answers it, and the walk through the log up to the entry that added this device. Owns no
 * committing.
 */
import { equalBytes, toHex, wipe } from '#core/base/bytes.ts'
import type { HubDomain, RoomId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { enterEpoch } from '#core/device/epoch-keys.ts'
import { dropKeyPackage, makeKeyPackage } from '#core/device/account.ts'
import { verifiedMembers } from '#core/device/members.ts'
import { addItem, breakRoom, newRoom, openRoom, roomKey, subscribe } from '#core/device/room.ts'
import type { PlacedEntry, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { certificateHash } from '#core/identity/certificate.ts'
import { roomOfGroupId } from '#core/identity/genesis.ts'
import { decodeInviteLink, invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { makeJoinRequest } from '#core/identity/invitation.ts'
import type { MlsGroup } from '#core/mls/mls.ts'
import type { Body } from '#core/wire/bodies.ts'
import type { CommitEntry } from '#core/wire/log-entry.ts'
import { FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { logPosition } from '#core/base/ids.ts'

/** Asks to be let in by a link; the secret is wiped as soon as it has signed (ROOM-9). */
export async function joinByLink(turn: Turn, command: number, fragment: string): Promise<void> {
  const account = turn.registered
  if (account === null) return turn.fail(command, 'notRegistered')
  const link = decodeInviteLink(fragment)
  if (link === null) return turn.fail(command, 'badLink')
  if (link.hubDomain !== account.hubDomain) return turn.fail(command, 'otherHub')
  const id = link.room as RoomId
  const existing = turn.room(roomKey(id))
  const again = existing === null || existing.record.phase === 'joinRefused' ||
    existing.record.phase === 'removed'
  if (!again) return turn.done(command, roomKey(id))
  const keyPackage = await makeKeyPackage(turn, link.suite, false)
  if (keyPackage === null) return turn.fail(command, 'unknownSuite')
  const { crypto } = turn.ports
  const pair = invitationKeyPair(crypto, link.secret, id)
  const opening = await makeJoinRequest(crypto, {
    room: id,
    invitation: invitationId(crypto, pair.publicKey),
    account: account.name,
    device: account.device,
    suite: link.suite,
    keyPackage,
    certificate: account.certificate,
    time: turn.nowMs,
  }, pair.secretKey)
  wipe(link.secret, pair.secretKey)
  const room = newRoom({
    id,
    phase: 'joining',
    suite: link.suite,
    domain: link.hubDomain,
    title: link.title === '' ? null : link.title,
    opening,
    inviterRootHash: link.inviterRootHash,
    createdAt: turn.nowMs,
  })
  turn.addRoom(room)
  openRoom(turn, room.key)
  turn.done(command, room.key)
}

/** Nobody let the device in: the hub or a member said why (ROOM-9). */
export function joinRefused(turn: Turn, key: string, code: string): void {
  const room = turn.room(key)
  if (room === null || room.record.phase !== 'joining') return
  turn.setRecord(key, { phase: 'joinRefused', code })
  turn.effect({ kind: 'showAccount' })
}

/** A Welcome (ROOM-7): the group is taken at once, the log is walked up to it afterwards. */
export async function welcomeReceived(turn: Turn, body: Body<'welcome'>): Promise<void> {
  const id = body.room as RoomId
  const key = roomKey(id)
  const existing = turn.room(key)
  const bounded = body.position <= BigInt(Number.MAX_SAFE_INTEGER) &&
    (existing !== null || turn.state.rooms.size < LIMITS.roomsMax)
  const open = existing === null || existing.record.phase === 'joining' ||
    existing.record.phase === 'joinRefused' || existing.record.phase === 'removed'
  const joined = bounded && open ? await openWelcome(turn, body.welcome) : null
  const room = joined === null ? null : roomOfGroupId(turn.ports.mls.groupId(joined.group))
  if (joined !== null && room !== null && equalBytes(room, id)) {
    const suite = turn.ports.mls.suite(joined.group).id
    const base = existing ?? newRoom({
      id,
      phase: 'joining',
      suite,
      domain: turn.state.hub?.domain ?? '' as HubDomain,
      title: null,
      opening: new Uint8Array(0),
      inviterRootHash: new Uint8Array(0),
      createdAt: turn.nowMs,
    })
    await enterRoom(turn, base, joined, body)
  }
  turn.send('welcomeReceived', { id: body.id })
}

interface Joined {
  readonly group: MlsGroup
  readonly reference: string
}

async function openWelcome(turn: Turn, welcome: Uint8Array): Promise<Joined | null> {
  const { mls } = turn.ports
  for (const bytes of mls.welcomeRecipients(welcome) ?? []) {
    const reference = toHex(bytes)
    const record = turn.state.keyPackages.get(reference)
    if (record === undefined) continue
    const { keyPackage, secrets } = record
    const outcome = await mls.join({ welcome, keyPackage, secrets, nowMs: turn.nowMs })
    if (outcome.kind === 'joined') return { group: outcome.group, reference }
  }
  return null
}

async function enterRoom(
  turn: Turn,
  base: RoomState,
  joined: Joined,
  body: Body<'welcome'>,
): Promise<void> {
  const record = {
    ...base.record,
    phase: 'live' as const,
    code: '',
    opening: new Uint8Array(0),
    suite: turn.ports.mls.suite(joined.group).id,
    next: logPosition(0n),
    headHash: FIRST_PREVIOUS_HASH,
    joinedAt: body.position,
    readUpTo: body.position,
  }
  turn.addRoom({ ...base, record, subscription: { kind: 'none' }, gathered: new Map() })
  turn.setRecord(base.key, {})
  await enterEpoch(turn, base.key, { group: joined.group, members: [] })
  dropKeyPackage(turn, joined.reference)
  subscribe(turn, base.key)
}

/** Keeps a certificate from the log until the tree says whose it is (ID-6). */
export function gatherCertificate(turn: Turn, key: string, certificate: Uint8Array): void {
  const room = turn.room(key)
  if (room === null) return
  const hash = toHex(certificateHash(turn.ports.crypto, certificate))
  turn.setRoom(key, { gathered: new Map(room.gathered).set(hash, certificate) })
}

/**
 * The entry that added this device was reached: its epoch must be the Welcome's, the link's inviter
 * must be in the room, and now every member gets a name (ROOM-7, ROOM-10).
 */
export async function finishJoin(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  commit: CommitEntry,
): Promise<void> {
  const room = turn.room(key)
  if (room === null || room.group === null) return
  const { mls } = turn.ports
  if (!equalBytes(mls.epochId(room.group), commit.newEpochId)) {
    return breakRoom(turn, key, 'wrongWelcome')
  }
  const members = await verifiedMembers(turn, room.group, {
    known: [],
    certificates: room.gathered.values(),
  })
  const { inviterRootHash } = room.record
  const vouched = inviterRootHash.length === 0 ||
    members.some((member) => member.verified && equalBytes(member.rootHash, inviterRootHash))
  if (!vouched) return breakRoom(turn, key, 'inviterNotThere')
  turn.setRoom(key, { gathered: new Map() })
  await enterEpoch(turn, key, { group: room.group, members })
  const sender = mls.readCommit(commit.commit)
  const actor = sender.kind === 'commit'
    ? members.find((member) => member.leaf === sender.sender && member.verified)
    : undefined
  addItem(turn, key, {
    position: placed.position,
    index: 0,
    time: placed.time as TimeMs,
    item: {
      kind: 'event',
      event: 'joined',
      actor: actor?.account ?? null,
      subject: turn.registered?.name ?? '',
    },
  })
  turn.effect({ kind: 'showAccount' })
}
