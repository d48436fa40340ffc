/**
 * Commits of the log (ROOM-4, GROUP-1 to GROUP-5): each is judged as everybody judges it, then
 * followed as a member where this device is one. Owns what a commit makes of a room; whether its
 * epoch stays is `verdicts.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { idOfEpoch, ownLeafIn, topEpoch } from '#core/device/chain.ts'
import { breakRoom } from '#core/device/ends.ts'
import { exportKeys } from '#core/device/epoch-keys.ts'
import { pushEpoch, updateEpoch } from '#core/device/epochs.ts'
import { externalPubOf } from '#core/device/external.ts'
import { contradicts } from '#core/device/heads.ts'
import { dropWelcome, enterRoom } from '#core/device/joining.ts'
import { keepCertificates } from '#core/device/members.ts'
import { noteMembership } from '#core/device/membership-events.ts'
import { queueProfile, requeueOutbox } from '#core/device/outbox.ts'
import type { PlacedEntry, ProvisionalEpoch, RoomEpoch, RoomState } from '#core/device/state.ts'
import { commitAdopted, dropPassedPending } from '#core/device/submit.ts'
import type { Turn } from '#core/device/turn.ts'
import { setFinality } from '#core/device/votes.ts'
import { externalPublicKey, type Group } from '#core/mls/group.ts'
import { processMessage } from '#core/mls/messages.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { changedNodes } from '#core/mls/ratchet-tree.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import { judgeCommit, judgeProposal } from '#core/policy/commit-rules.ts'
import { appendCommit, type VoteChoice } from '#core/policy/finality.ts'
import { decode } from '#core/wire/codec.ts'
import { type CommitEntry, commitEntryCodec, proposalEntryCodec } from '#core/wire/log-entry.ts'

/** A commit as far as this device follows it. */
interface Followed {
  readonly kind: 'followed'
  readonly after: PublicGroup
  readonly change: CommitChange
  /** Null where it holds no secret of the epoch that the commit makes. */
  readonly group: Group | null
  readonly isOwn: boolean
}

type NotFollowed = { readonly kind: 'refused'; readonly code: string }

/** Takes a commit of the log. */
export async function commitReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const room = turn.room(key)
  const decoded = decode(commitEntryCodec, bytes)
  const top = room === null ? null : topEpoch(room)
  if (room === null || top === null || room.finality === null) return
  if (decoded.kind === 'malformed') return breakRoom(turn, key, 'malformed')
  const entry = decoded.value
  if (contradicts(turn, key, entry.seen)) return breakRoom(turn, key, 'fork')
  const followed = await follow(room, top, { entry, placed })
  if (followed.kind === 'refused') return breakRoom(turn, key, `commit:${followed.code}`)
  const judged = await judgeCommit(turn.ports.crypto, {
    room: room.id,
    before: top.public,
    after: followed.after,
    change: followed.change,
    entry,
    timeMs: placed.time,
    finality: room.finality,
  })
  if (judged.kind === 'refused') return breakRoom(turn, key, `commit:${judged.fault}`)
  const checked = judged.certificates.flatMap((certificate, index) => {
    const given = entry.certificates[index]
    return given === undefined ? [] : [{ bytes: given, certificate }]
  })
  await keepCertificates(turn, key, checked)
  const { position } = placed
  const finality = appendCommit(room.finality, { ...judged.facts, position })
  await enterEpoch(turn, key, { followed, entry, placed, top })
  setFinality(turn, key, finality)
  // On the way in it may still be found below.
  if (room.joining === null) requeueOutbox(turn, key)
  noteMembership(turn, key, {
    placed,
    before: top,
    change: followed.change,
    external: judged.external,
  })
  const isPutOut = ownLeafIn(turn, top) !== null &&
    ownLeafIn(turn, { public: followed.after }) === null
  await afterCommit(turn, key, { followed, placed, isPutOut })
}

/** The welcomed group where the walk has come to its commit; else what the log itself gives. */
async function follow(
  room: RoomState,
  top: RoomEpoch,
  { entry, placed }: { readonly entry: CommitEntry; readonly placed: PlacedEntry },
): Promise<Followed | NotFollowed> {
  const { commit } = entry
  const { pending, joining } = room
  const processing = { timeMs: placed.time }
  const isOwn = pending !== null && equalBytes(pending.commit, commit)
  if (top.group !== null && !isOwn) {
    const taken = await processMessage(top.group, commit, { ...processing, psks: () => null })
    if (taken.kind === 'commit') {
      const { group, change } = taken
      const after = group.public
      return { kind: 'followed', after, change, group, isOwn }
    }
  }
  // What this device cannot follow, or is not in, everybody can still judge.
  const seen = await publicProcess(top.public, commit, processing)
  if (seen.kind === 'refused') return { kind: 'refused', code: seen.code }
  if (seen.kind === 'proposal') return { kind: 'refused', code: 'wrongKind' }
  const { change, group: after } = seen
  const held = isOwn ? pending.next : heldAt(joining, placed)
  // A Welcome to another epoch than the commit makes is none.
  if (held === null || !isSameEpoch(after, held.public)) {
    return { kind: 'followed', after, change, group: null, isOwn }
  }
  return { kind: 'followed', after: held.public, change, group: held, isOwn }
}

function isSameEpoch(a: PublicGroup, b: PublicGroup): boolean {
  return equalBytes(idOfEpoch({ public: a }), idOfEpoch({ public: b })) &&
    equalBytes(a.confirmationTag, b.confirmationTag)
}

function heldAt(joining: RoomState['joining'], { position }: PlacedEntry): Group | null {
  return joining?.kind === 'welcome' && joining.position === position ? joining.group : null
}

interface Entering {
  readonly followed: Followed
  readonly entry: CommitEntry
  readonly placed: PlacedEntry
  readonly top: RoomEpoch
}

async function enterEpoch(turn: Turn, key: string, entering: Entering): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  const { followed, entry, placed, top } = entering
  const { isOwn } = followed
  const choice = await choiceOn(followed, entry)
  const exported = followed.group === null ? null : exportKeys(room.id, followed.group)
  if (exported !== null) turn.effect({ kind: 'wipe', secrets: exported.consumed })
  const { unread, last, title, joinedAt } = room.record
  const epoch: ProvisionalEpoch = {
    position: placed.position,
    entryHash: room.record.headHash,
    public: exported?.group.public ?? followed.after,
    group: exported?.group ?? null,
    keys: exported?.keys ?? null,
    groupInfo: entry.groupInfo.slice(),
    time: placed.time,
    changed: changedNodes(top.public.tree, followed.after.tree),
    isOwn,
    jobs: isOwn ? commitAdopted(turn, key) : [],
    undo: { unread, last, title, joinedAt },
    choice,
    isVoteSent: false,
  }
  pushEpoch(turn, key, epoch)
}

/** Agreed is to a commit that can be followed and whose `external_pub` is the epoch's (VOTE-1). */
async function choiceOn({ group }: Followed, { groupInfo }: CommitEntry): Promise<VoteChoice> {
  if (group === null) return 'cannot'
  const published = externalPubOf(groupInfo)
  const isRight = published !== null && equalBytes(published, await externalPublicKey(group))
  return isRight ? 'agree' : 'cannot'
}

async function afterCommit(
  turn: Turn,
  key: string,
  { followed, placed, isPutOut }: {
    readonly followed: Followed
    readonly placed: PlacedEntry
    /** The commit takes the seat that this device had. */
    readonly isPutOut: boolean
  },
): Promise<void> {
  dropPassedPending(turn, key)
  const room = turn.room(key)
  if (room === null) return
  const { joining } = room
  const isWelcomed = joining?.kind === 'welcome' && placed.position === joining.position
  const isByOwn = (joining?.kind === 'link' || joining?.kind === 'recovery') && followed.isOwn
  if (isWelcomed && followed.group === null) dropWelcome(turn, key)
  else if (isWelcomed || isByOwn) enterRoom(turn, key, placed)
  if (isPutOut) {
    for (const job of room.jobs) turn.fail(job.command, 'roomNotLive')
    turn.setRoom(key, { jobs: [] })
  }
  turn.effect({ kind: 'showAccount' })
  // Whom this device let in learns from it what the room is called.
  if (followed.isOwn && followed.change.added.length > 0) await queueProfile(turn, key)
}

/** A proposal of the log waits for the commit that takes it up (GROUP-4). */
export async function proposalReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const room = turn.room(key)
  const top = room === null ? null : topEpoch(room)
  const decoded = decode(proposalEntryCodec, bytes)
  if (room === null || top === null) return
  if (decoded.kind === 'malformed') return breakRoom(turn, key, 'malformed')
  const { proposal } = decoded.value
  const seen = await publicProcess(top.public, proposal, { timeMs: placed.time })
  if (seen.kind !== 'proposal' || !judgeProposal(top.public, seen.cached)) {
    return breakRoom(turn, key, 'proposal')
  }
  const group = top.group === null ? null : { ...top.group, public: seen.group }
  updateEpoch(turn, key, top.position, { public: seen.group, group })
}
