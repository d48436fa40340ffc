/**
 * Following a room's log (LOG-1, ROOM-3 to ROOM-7): chaining each entry and giving it to the part
 * that owns its kind. Owns the order in which an entry changes the room, and what goes on once the
 * end of the log is reached; a device takes an entry whole or not at all.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { type LogPosition, logPosition, type TimeMs } from '#core/base/ids.ts'
import { idOfEpoch } from '#core/device/chain.ts'
import { commitReceived, proposalReceived } from '#core/device/commits.ts'
import { breakRoom } from '#core/device/ends.ts'
import { openFrame } from '#core/device/epoch-keys.ts'
import { beginEpochs, placeGenesis } from '#core/device/epochs.ts'
import { pumpEntry } from '#core/device/external.ts'
import { contradicts, remember } from '#core/device/heads.ts'
import { pumpAnchors } from '#core/device/invitations.ts'
import { keepCertificates } from '#core/device/members.ts'
import { pumpCommits } from '#core/device/membership.ts'
import { ownFrameSequenced, ownFrameWalked, pumpOutbox } from '#core/device/outbox.ts'
import { reconcileGenerations } from '#core/device/outbox.ts'
import { addItem, caughtUp, isFollowed, isStateLost } from '#core/device/room.ts'
import { resubscribe } from '#core/device/room.ts'
import type { PlacedEntry, RoomState } from '#core/device/state.ts'
import { contentReceived } from '#core/device/timeline.ts'
import type { Turn } from '#core/device/turn.ts'
import { verdictReceived } from '#core/device/verdicts.ts'
import { pumpVotes, setFinality, voteReceived } from '#core/device/votes.ts'
import { hasSeenVoids, openFinality } from '#core/policy/finality.ts'
import { judgeGenesis } from '#core/policy/genesis-rules.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { entryHash, type GenesisEntry, genesisEntryCodec } from '#core/wire/log-entry.ts'
import type { LogEntry } from '#core/wire/log-entry.ts'

/** Takes a batch of entries in order; what was taken before is skipped, a gap asks again. */
export async function entriesReceived(
  turn: Turn,
  key: string,
  batch: Body<'entries'>,
): Promise<void> {
  for (const [index, entry] of batch.entries.entries()) {
    const room = turn.room(key)
    if (room === null || !isFollowed(room)) return
    const { next } = room.record
    const position = logPosition(batch.first + BigInt(index))
    if (position < next) continue
    if (position > next) {
      return resubscribe(turn, key)
    }
    await entryReceived(turn, room, position, entry)
  }
  const room = turn.room(key)
  if (room === null || !isFollowed(room)) return
  const { next } = room.record
  if (next > 0n) turn.send('acknowledge', { position: logPosition(next - 1n) }, room.id)
  await goOn(turn, key)
}

/** All that waits for the end of the log, in the order in which one needs the other. */
export async function goOn(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || !caughtUp(room)) return
  reconcileGenerations(turn, key)
  await pumpVotes(turn, key)
  await pumpEntry(turn, key)
  // A commit holds up what is said: the hub may put it off for long.
  await pumpOutbox(turn, key)
  await pumpCommits(turn, key)
  await pumpAnchors(turn, key)
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
  if (!Number.isSafeInteger(placed.time)) return breakRoom(turn, key, 'malformed')
  // *A hub that turns its clock back lets people in by links that have ended.*
  if (placed.time < room.record.headTime) return breakRoom(turn, key, 'brokenLog')
  const { recovery } = room.record
  const isKnown = recovery?.position === position
  // What is known stays so: nothing of another log is.
  if (isKnown && !equalBytes(recovery.hash, headHash)) return breakRoom(turn, key, 'fork')
  const headTime = placed.time
  turn.setRecord(key, { next: logPosition(position + 1n), headHash, headTime })
  remember(turn, key, { position, hash: headHash })
  await takeEntry(turn, key, placed)
}

async function takeEntry(turn: Turn, key: string, placed: PlacedEntry): Promise<void> {
  const { header, body } = placed.entry
  const room = turn.room(key)
  const isJoining = room !== null && room.joining !== null
  const isHidden = header.entry === 'frame' && (isJoining || body.kind === 'hole')
  if (isHidden && ownFrameWalked(turn, key, placed)) return
  if (body.kind === 'hole') {
    // Only what was said may be left out: the rest is what makes the room.
    if (header.entry !== 'frame') return breakRoom(turn, key, 'brokenLog')
    if (!isJoining) note(turn, key, placed, 'erased')
    return
  }
  const { bytes } = body
  switch (header.entry) {
    case 'genesis':
      return await genesisReceived(turn, key, placed, bytes)
    case 'commit':
      return await commitReceived(turn, key, placed, bytes)
    case 'frame':
      if (!isJoining) return await frameReceived(turn, key, placed, bytes)
      // What was said before a newcomer was in is not its loss.
      if (isStateLost(room)) note(turn, key, placed, 'noKeys')
      return
    case 'vote':
      return await voteReceived(turn, key, placed, bytes)
    case 'verdict':
      return await verdictReceived(turn, key, placed, bytes)
    case 'proposal':
      return await proposalReceived(turn, key, placed, bytes)
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
  if (room === null || decoded.kind === 'malformed' || placed.position !== 0n) {
    return breakRoom(turn, key, 'badGenesis')
  }
  if (room.record.phase === 'creating') ownGenesis(turn, room, placed, decoded.value)
  else if (isWalked(room)) await firstEpoch(turn, room, decoded.value)
  else breakRoom(turn, key, 'badGenesis')
}

function isWalked({ joining }: RoomState): boolean {
  return joining?.kind === 'welcome' || joining?.kind === 'recovery'
}

/** The room that this device made is the one that stands in the log. */
function ownGenesis(
  turn: Turn,
  room: RoomState,
  placed: PlacedEntry,
  entry: GenesisEntry,
): void {
  const { key } = room
  const made = decode(BODIES.createRoom[1], room.record.opening)
  const isOwn = made.kind === 'decoded' && equalBytes(made.value.genesis, entry.genesis) &&
    equalBytes(made.value.groupInfo, entry.groupInfo)
  if (!isOwn) return breakRoom(turn, key, 'badGenesis')
  turn.setRecord(key, { phase: 'live', opening: new Uint8Array(0) })
  placeGenesis(turn, key, room.record.headHash)
  const actor = turn.registered?.name ?? null
  const subject = room.record.title ?? ''
  const item = { kind: 'event', event: 'created', actor, subject } as const
  addItem(turn, key, { position: placed.position, index: 0, time: placed.time, item })
  turn.effect({ kind: 'showAccount' })
}

/** A walk from the beginning starts with the first epoch, as its creator published it. */
async function firstEpoch(turn: Turn, room: RoomState, entry: GenesisEntry): Promise<void> {
  const { key } = room
  const judged = await judgeGenesis(turn.ports.crypto, room.id, entry)
  if (judged.kind === 'refused') return breakRoom(turn, key, 'badGenesis')
  const position = logPosition(0n)
  const { headHash: entryHash } = room.record
  const { group } = judged
  const groupInfo = entry.groupInfo.slice()
  const epoch = { position, entryHash, public: group, group: null, keys: null, groupInfo }
  turn.setRecord(key, { domain: judged.genesis.domain, suite: judged.genesis.suite })
  beginEpochs(turn, key, epoch)
  setFinality(turn, key, openFinality({ position, epochId: idOfEpoch(epoch) }))
  const { certificate } = judged
  await keepCertificates(turn, key, [{ bytes: entry.certificate, certificate }])
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
  const { finality } = turn.room(key) as RoomState
  if (finality !== null && !hasSeenVoids(finality, opened.seen.position)) {
    // Its sender has sealed it again, and a message stands once (VOTE-6).
    turn.effect({ kind: 'wipe', secrets: [opened.messageSecret] })
    return note(turn, key, placed, 'staleSeen')
  }
  contentReceived(turn, key, placed, opened)
}

/** An entry that could not be opened is shown as such, with its reason (DEV-9). */
function note(turn: Turn, key: string, placed: PlacedEntry, code: string): void {
  const known = turn.room(key)?.record.recovery?.position ?? -1n
  // What was known before is shown as it was then.
  if (placed.position <= known) return
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
  const { next: until, epochId, lastGenerations } = body
  const isCut = room.subscription.kind === 'asked' && room.subscription.isCut
  turn.setRoom(key, { subscription: { kind: 'following', until, epochId, lastGenerations } })
  const { next, recovery } = room.record
  const isShorter = until < next || recovery !== null && until <= recovery.position
  if (isShorter) return breakRoom(turn, key, 'historyLost')
  if (isCut) return resubscribe(turn, key)
  await goOn(turn, key)
}
