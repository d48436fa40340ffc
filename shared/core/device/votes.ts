/**
 * Votes and verdicts on a device (VOTE-1 to VOTE-5): its own vote, given when the hub asks, before
 * it speaks, or at once where it cannot follow; and what the log makes of an epoch. Owns when a
 * vote is given; how votes count is `policy/finality.ts`.
 */
import { LIMITS } from '#core/base/limits.ts'
import { leafIndex, type LogPosition } from '#core/base/ids.ts'
import { idOfEpoch, ownLeafIn, replaceEpoch, topEpoch } from '#core/device/chain.ts'
import { roomSuite } from '#core/device/epoch-keys.ts'
import { isHeld } from '#core/device/hold.ts'
import { finalityKey } from '#core/device/records.ts'
import { memberAt } from '#core/device/members.ts'
import { addItem, caughtUp, isIn, isStored } from '#core/device/room.ts'
import type { PlacedEntry, ProvisionalEpoch, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { castVote, type Finality, finalityCodec, finalityRecord } from '#core/policy/finality.ts'
import { isElector, maySpeak } from '#core/policy/finality.ts'
import { isVoteProven, judgeVote, makeVote, NO_MAC, type Vote, voteMac } from '#core/policy/vote.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { voteEntryCodec } from '#core/wire/log-entry.ts'

/** Replaces what the log says of the room's epochs, in memory and in the store. */
export function setFinality(turn: Turn, key: string, finality: Finality): void {
  const room = turn.setRoom(key, { finality })
  if (isStored(room)) storeFinality(turn, key, finality)
}

export function storeFinality(turn: Turn, key: string, finality: Finality): void {
  turn.put('groups', finalityKey(key), encode(finalityCodec, finalityRecord(finality)))
}

/** A vote in the log; one that is not good says nothing (VOTE-2). */
export async function voteReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const room = turn.room(key)
  const decoded = decode(voteEntryCodec, bytes)
  if (room === null || room.finality === null || decoded.kind === 'malformed') return
  const groupAt = (position: LogPosition) =>
    room.chain.find((each) => each.position === position)?.public ?? null
  const place = { room: room.id, finality: room.finality, groupAt }
  const judged = await judgeVote(turn.ports.crypto, place, decoded.value.vote)
  if (judged.kind === 'refused') return
  const cast = castVote(room.finality, judged.vote)
  if (cast.kind !== 'taken') return
  setFinality(turn, key, cast.finality)
  checkProof(turn, room, { placed, said: judged.said })
}

/** Who says that it follows and does not is shown to all who do; it decides nothing (VOTE-1). */
function checkProof(
  turn: Turn,
  room: RoomState,
  { placed, said }: { readonly placed: PlacedEntry; readonly said: Vote },
): void {
  const epoch = room.chain.find(({ position }) => position === said.position)
  if (said.choice !== 'agree' || epoch === undefined || epoch.group === null) return
  const proven = isVoteProven(turn.ports.crypto, said, {
    hash: roomSuite(epoch.public).hash,
    epochAuthenticator: epoch.group.secrets.epochAuthenticator,
    epochId: idOfEpoch(epoch),
    groupInfo: epoch.groupInfo,
  })
  if (proven || room.joining !== null) return
  const liar = memberAt(room, epoch, leafIndex(said.leaf))
  const subject = liar?.verified === true ? liar.account : ''
  const item = { kind: 'event', event: 'falseVote', actor: null, subject } as const
  addItem(turn, room.key, { position: placed.position, index: 0, time: placed.time, item })
}

/** The hub wants to know whether this device follows a commit (VOTE-2). */
export async function voteAsked(turn: Turn, key: string, position: LogPosition): Promise<void> {
  const room = turn.room(key)
  if (room === null || room.asked.includes(position)) return
  turn.setRoom(key, { asked: [...room.asked, position].slice(-LIMITS.provisionalEpochsMax) })
  await pumpVotes(turn, key)
}

/** Gives the votes that are due: those that were asked for, and complaints. */
export async function pumpVotes(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || !mayVote(turn, room)) return
  for (const epoch of room.chain) {
    if (epoch.choice === 'cannot' || room.asked.includes(epoch.position)) {
      await giveVote(turn, key, epoch)
    }
  }
}

function mayVote(turn: Turn, room: RoomState): boolean {
  return turn.ready && isIn(room) && caughtUp(room) && !isHeld(turn, room)
}

/** Votes that are not in the log are due again: the hub may have taken none of them. */
export function takeVotesBack(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null) return
  turn.setRoom(key, { chain: room.chain.map((epoch) => ({ ...epoch, isVoteSent: false })) })
}

/**
 * True when this device may speak in the newest epoch: where its vote is all that is missing, that
 * is given first and rides in front (VOTE-5).
 */
export async function voteToSpeak(turn: Turn, key: string): Promise<boolean> {
  const room = turn.room(key)
  const top = room === null ? null : topEpoch(room)
  if (room === null || room.finality === null || top === null || top.group === null) return false
  if (maySpeak(room.finality, top.group.ownLeaf)) return true
  const head = room.chain.at(-1)
  if (head === undefined || head.choice === 'cannot' || !mayVote(turn, room)) return false
  await giveVote(turn, key, head)
  return true
}

async function giveVote(turn: Turn, key: string, epoch: ProvisionalEpoch): Promise<void> {
  const room = turn.room(key)
  const account = turn.registered
  if (room === null || room.finality === null || account === null) return
  const index = room.chain.findIndex(({ position }) => position === epoch.position)
  const facts = room.finality.open.find(({ position }) => position === epoch.position)
  const leaf = ownLeafIn(turn, epoch)
  const before = index === 0 ? room.final : room.chain[index - 1]
  if (facts === undefined || leaf === null || before === undefined || before === null) return
  const isOver = epoch.isVoteSent || facts.committer === leaf ||
    facts.votes.some((vote) => vote.leaf === leaf)
  if (isOver) return
  const { choice } = epoch
  // Who has no secrets of the epoch below could follow nothing: that says nothing of the commit.
  const knows = before.group !== null && isElector(facts, { leaf, account: account.name })
  if (choice === 'cannot' && !knows) return
  const suite = roomSuite(epoch.public)
  const epochId = idOfEpoch(epoch)
  const { crypto } = turn.ports
  const mac = choice === 'cannot' || epoch.group === null ? NO_MAC : voteMac(crypto, {
    hash: suite.hash,
    epochAuthenticator: epoch.group.secrets.epochAuthenticator,
    epochId,
    leaf,
    groupInfo: epoch.groupInfo,
  })
  const said = {
    room: room.id,
    epochIdBefore: idOfEpoch(before),
    epochId,
    position: epoch.position,
    leaf,
    choice,
    mac,
  }
  const { secretKey } = suite.signature === 'p384' ? account.p384 : account.ed25519
  const vote = await makeVote(crypto, said, { algorithm: suite.signature, secretKey })
  replaceEpoch(turn, key, epoch.position, { isVoteSent: true })
  const request = turn.request({ kind: 'vote', room: key })
  turn.send('submitVote', { request, vote }, room.id)
}
