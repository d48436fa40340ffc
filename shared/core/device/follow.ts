/**
 * Following a room's log (LOG-1, ROOM-3 to ROOM-7): chaining each entry, adopting or processing
 * commits, opening frames. Owns the order in which an entry changes the room; a device takes an
 * entry whole or not at all, and every entry leaves a trace in the timeline or is control traffic.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type LogPosition, logPosition, type TimeMs } from '#core/base/ids.ts'
import { openFrame } from '#core/device/epoch-keys.ts'
import { enterEpoch } from '#core/device/epoch-keys.ts'
import { contradicts, remember, type SeenEntry } from '#core/device/heads.ts'
import { finishJoin, gatherCertificate } from '#core/device/joining.ts'
import { commitAdopted, commitLost, invitationListed } from '#core/device/membership.ts'
import { pumpCommits, seenCodec } from '#core/device/membership.ts'
import { verifiedMembers } from '#core/device/members.ts'
import {
  ownFrameSequenced,
  pumpOutbox,
  reconcileGenerations,
  requeueOutbox,
} from '#core/device/outbox.ts'
import { addItem, breakRoom, caughtUp, resubscribe } from '#core/device/room.ts'
import type { Member, PlacedEntry, RoomState } from '#core/device/state.ts'
import { contentReceived } from '#core/device/timeline.ts'
import type { Turn } from '#core/device/turn.ts'
import { roomIdOf, verifyGenesis } from '#core/identity/genesis.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import type { Body } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { commitEntryCodec, entryHash, genesisEntryCodec } from '#core/wire/log-entry.ts'
import type { LogEntry } from '#core/wire/log-entry.ts'

/** Takes a batch of entries in order; what was taken before is skipped, a gap asks again. */
export async function entriesReceived(
  turn: Turn,
  key: string,
  batch: Body<'entries'>,
): Promise<void> {
  for (const [index, entry] of batch.entries.entries()) {
    const room = turn.room(key)
    if (room === null) return
    const { phase, next } = room.record
    if (phase !== 'live' && phase !== 'creating') return
    const position = logPosition(batch.first + BigInt(index))
    if (position < next) continue
    if (position > next) {
      return resubscribe(turn, key)
    }
    await entryReceived(turn, room, position, entry)
  }
  const room = turn.room(key)
  if (room === null || room.record.phase !== 'live') return
  turn.send('acknowledge', { position: logPosition(room.record.next - 1n) }, room.id)
  if (caughtUp(room)) {
    await pumpCommits(turn, key)
    await pumpOutbox(turn, key)
  }
}

async function entryReceived(
  turn: Turn,
  room: RoomState,
  position: LogPosition,
  entry: LogEntry,
): Promise<void> {
  const { key } = room
  const sha256 = (bytes: Uint8Array) => turn.ports.crypto.hash('sha256', bytes)
  const place = { room: room.id, position, previous: room.record.headHash }
  const headHash = entryHash(sha256, place, entry)
  const placed = { position, time: Number(entry.header.time) as TimeMs, entry }
  const { joinedAt } = room.record
  if (!Number.isSafeInteger(placed.time)) return breakRoom(turn, key, 'malformed')
  turn.setRecord(key, { next: logPosition(position + 1n), headHash })
  remember(turn, key, { position, hash: headHash })
  if (joinedAt !== null && position <= joinedAt) await entryBeforeJoin(turn, key, placed)
  else await entryInRoom(turn, key, placed)
}

/** Entries up to the one that added the device: only control traffic counts (ROOM-7). */
async function entryBeforeJoin(turn: Turn, key: string, placed: PlacedEntry): Promise<void> {
  const { entry, position } = placed
  const isAdding = position === turn.room(key)?.record.joinedAt
  const isControl = entry.header.entry !== 'frame'
  // Frames come as holes, control traffic whole: what proves the room cannot be left out.
  if (isControl && entry.body.kind === 'hole') return breakRoom(turn, key, 'erased')
  if (isAdding && entry.header.entry !== 'commit') return breakRoom(turn, key, 'wrongWelcome')
  if ((position === 0n) !== (entry.header.entry === 'genesis')) {
    return breakRoom(turn, key, 'badGenesis')
  }
  if (entry.body.kind === 'whole') {
    const { bytes } = entry.body
    if (entry.header.entry === 'genesis') {
      const genesis = decode(genesisEntryCodec, bytes)
      const room = turn.room(key)
      if (genesis.kind === 'malformed' || room === null) return breakRoom(turn, key, 'badGenesis')
      if (!equalBytes(roomIdOf(turn.ports.crypto, genesis.value.genesis), room.id)) {
        return breakRoom(turn, key, 'badGenesis')
      }
      gatherCertificate(turn, key, genesis.value.certificate)
    } else if (entry.header.entry === 'commit') {
      const commit = decode(commitEntryCodec, bytes)
      if (commit.kind === 'malformed') return breakRoom(turn, key, 'malformed')
      for (const certificate of commit.value.certificates) {
        gatherCertificate(turn, key, certificate)
      }
      if (isAdding) await finishJoin(turn, key, placed, commit.value)
    } else if (entry.header.entry === 'invitation') {
      invitationListed(turn, key, bytes)
    }
  }
}

async function entryInRoom(turn: Turn, key: string, placed: PlacedEntry): Promise<void> {
  const { entry } = placed
  if (entry.body.kind === 'hole') {
    note(turn, key, placed, 'erased')
    return
  }
  const { bytes } = entry.body
  switch (entry.header.entry) {
    case 'genesis':
      return await genesisReceived(turn, key, placed, bytes)
    case 'commit':
      return await commitReceived(turn, key, placed, bytes)
    case 'frame':
      return await frameReceived(turn, key, placed, bytes)
    case 'invitation':
      return await invitationReceived(turn, key, placed, bytes)
  }
}

async function genesisReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const room = turn.room(key)
  const decoded = decode(genesisEntryCodec, bytes)
  const { crypto, mls } = turn.ports
  if (room === null || room.group === null) return
  const known = decoded.kind === 'decoded' && placed.position === 0n &&
    equalBytes(roomIdOf(crypto, decoded.value.genesis), room.id) &&
    equalBytes(decoded.value.epochId, mls.epochId(room.group))
  const hubKey = turn.state.hub?.key ?? null
  const certificate = decoded.kind === 'decoded' && known
    ? await verifyCertificate(crypto, decoded.value.certificate, { hubKey })
    : null
  const genesis = decoded.kind === 'decoded' && certificate?.kind === 'verified'
    ? await verifyGenesis(crypto, decoded.value.genesis, certificate)
    : null
  if (genesis === null) return breakRoom(turn, key, 'badGenesis')
  turn.setRecord(key, { phase: 'live', opening: new Uint8Array(0) })
  addItem(turn, key, {
    position: placed.position,
    index: 0,
    time: placed.time,
    item: {
      kind: 'event',
      event: 'created',
      actor: genesis.creator,
      subject: room.record.title ?? '',
    },
  })
  turn.effect({ kind: 'showAccount' })
}

/** Adopts the own pending commit or follows another member's (ROOM-4). */
async function commitReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const room = turn.room(key)
  if (room === null || room.group === null) return
  const decoded = decode(commitEntryCodec, bytes)
  if (decoded.kind === 'malformed') return breakRoom(turn, key, 'malformed')
  const { commit, newEpochId, certificates } = decoded.value
  const { mls } = turn.ports
  const seen = seenByCommitter(turn, commit)
  if (seen !== null && contradicts(turn, key, seen)) return breakRoom(turn, key, 'fork')
  const before = room.members
  const own = room.pending !== null && equalBytes(room.pending.commit, commit)
  let group = room.pending?.next ?? null
  if (!own || group === null) {
    const processed = await mls.processCommit(room.group, commit, turn.nowMs)
    if (processed.kind === 'refused') return breakRoom(turn, key, `commit:${processed.code}`)
    if (processed.kind === 'removedFromGroup') return removedFromRoom(turn, key, placed)
    group = processed.next
  }
  if (!equalBytes(mls.epochId(group), newEpochId)) return breakRoom(turn, key, 'wrongEpochId')
  const members = await verifiedMembers(turn, group, { known: before, certificates })
  await enterEpoch(turn, key, { group, members })
  requeueOutbox(turn, key)
  noteMembership(turn, key, placed, {
    before,
    after: members,
    actor: actorOf(turn, commit, before),
  })
  if (own) await commitAdopted(turn, key)
  else commitLost(turn, key)
  turn.effect({ kind: 'showAccount' })
}

/** Who made a commit, as far as its members were known before it. */
function actorOf(turn: Turn, commit: Uint8Array, before: readonly Member[]): Member | null {
  const view = turn.ports.mls.readCommit(commit)
  if (view.kind === 'refused') return null
  return before.find((member) => member.leaf === view.sender && member.verified) ?? null
}

/** What the committer signed as its last entry (LOG-5); null when it says nothing readable. */
function seenByCommitter(turn: Turn, commit: Uint8Array): SeenEntry | null {
  const view = turn.ports.mls.readCommit(commit)
  if (view.kind === 'refused') return null
  const decoded = decode(seenCodec, view.authenticated)
  return decoded.kind === 'decoded' ? decoded.value : null
}

function noteMembership(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  change: {
    readonly before: readonly Member[]
    readonly after: readonly Member[]
    readonly actor: Member | null
  },
): void {
  const keyOf = (member: Member) => `${member.leaf}:${toHex(member.device)}`
  const before = new Set(change.before.map(keyOf))
  const after = new Set(change.after.map(keyOf))
  const joined = change.after.filter((member) => !before.has(keyOf(member)))
  const removed = change.before.filter((member) => !after.has(keyOf(member)))
  const actor = change.actor?.account ?? null
  let index = 0
  for (const [event, members] of [['joined', joined], ['removed', removed]] as const) {
    for (const member of members) {
      addItem(turn, key, {
        position: placed.position,
        index: index++,
        time: placed.time,
        item: { kind: 'event', event, actor, subject: member.verified ? member.account : '' },
      })
    }
  }
}

function removedFromRoom(turn: Turn, key: string, placed: PlacedEntry): void {
  const account = turn.registered
  addItem(turn, key, {
    position: placed.position,
    index: 0,
    time: placed.time,
    item: { kind: 'event', event: 'removed', actor: null, subject: account?.name ?? '' },
  })
  turn.setRecord(key, { phase: 'removed' })
  turn.setRoom(key, { jobs: [], pending: null, subscription: { kind: 'none' } })
  turn.effect({ kind: 'showAccount' })
}

async function frameReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  if (ownFrameSequenced(turn, key, placed, bytes)) return
  const opened = await openFrame(turn, key, bytes)
  if (opened.kind === 'refused') return note(turn, key, placed, opened.code)
  if (contradicts(turn, key, opened.seen)) return breakRoom(turn, key, 'fork')
  contentReceived(turn, key, placed, opened)
}

async function invitationReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const leaf = await invitationListed(turn, key, bytes)
  if (leaf === null) return
  const actor = turn.room(key)?.members.find((member) => member.leaf === leaf && member.verified)
  addItem(turn, key, {
    position: placed.position,
    index: 0,
    time: placed.time,
    item: { kind: 'event', event: 'invitationMade', actor: actor?.account ?? null, subject: '' },
  })
}

/** An entry that could not be opened is shown as such, with its reason (DEV-9). */
function note(turn: Turn, key: string, placed: PlacedEntry, code: string): void {
  addItem(turn, key, {
    position: placed.position,
    index: 0,
    time: placed.time,
    item: { kind: 'unreadable', code },
  })
}

/** The hub's answer to `subscribe` (ROOM-6). */
export async function subscribed(turn: Turn, key: string, body: Body<'subscribed'>): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  turn.setRoom(key, { subscription: { kind: 'following', until: body.next } })
  const behind = body.next < room.record.next
  if (behind) return breakRoom(turn, key, 'historyLost')
  reconcileGenerations(turn, key, body.lastGenerations)
  if (caughtUp(turn.room(key) as RoomState)) {
    await pumpCommits(turn, key)
    await pumpOutbox(turn, key)
  }
}
