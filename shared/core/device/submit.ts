/**
 * The one commit of a room that may be under way (ROOM-4): kept, given to the hub, adopted when it
 * stands in the log, or made anew when another came first. Owns the pending commit; what it is for
 * is `membership.ts` and `external.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { idOfEpoch, topEpoch } from '#core/device/chain.ts'
import { holdRoom } from '#core/device/hold.ts'
import { linkListed } from '#core/device/invitations.ts'
import { pendingKey, pendingRecordCodec } from '#core/device/records.ts'
import { isStored, resubscribe, wipeGroups } from '#core/device/room.ts'
import type { CommitJob, PendingCommit, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { type Group, makeGroupInfo } from '#core/mls/group.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { changedNodes } from '#core/mls/ratchet-tree.ts'
import { encodeGroupHead } from '#core/mls/state-codec.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { logPosition } from '#core/base/ids.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

export interface MadeCommit {
  /** MLSMessage. */
  readonly commit: Uint8Array
  readonly welcome: Uint8Array | null
  readonly next: Group
  readonly certificates: readonly Uint8Array[]
  readonly jobs: readonly CommitJob[]
}

/** The last entry of the log that this device has taken (LOG-5). */
export function seenIn(room: RoomState) {
  return { position: logPosition(room.record.next - 1n), hash: room.record.headHash }
}

/** Room for everything of a `submitCommit` that is neither commit, Welcome nor certificate. */
const AROUND_COMMIT_MAX = 2_048

/** The body that submits a commit; null for one that is above a limit. */
export async function submissionOf(
  room: RoomState,
  made: MadeCommit,
): Promise<Uint8Array | null> {
  const top = topEpoch(room)
  if (top === null) return null
  const info = await makeGroupInfo(made.next, { ratchetTree: false, externalPub: true })
  const groupInfo = encodeMlsMessage({ kind: 'groupInfo', groupInfo: info })
  const { commit, certificates } = made
  const welcome = made.welcome ?? new Uint8Array(0)
  const proofs = certificates.reduce((sum, certificate) => sum + certificate.length, 0)
  const size = commit.length + welcome.length + proofs + groupInfo.length + AROUND_COMMIT_MAX
  const fits = commit.length <= LIMITS.commitSizeMax && welcome.length <= LIMITS.welcomeSizeMax &&
    groupInfo.length <= LIMITS.groupInfoSizeMax && proofs <= LIMITS.certificatesSizeMax &&
    size <= LIMITS.frameSizeMax
  if (!fits) return null
  return encode(BODIES.submitCommit[1], {
    request: 0 as Body<'submitCommit'>['request'],
    epoch: top.public.context.epoch as Body<'submitCommit'>['epoch'],
    epochId: idOfEpoch(top),
    seen: seenIn(room),
    commit,
    groupInfo,
    certificates,
    welcome,
  })
}

/** Keeps a commit and gives it to the hub. */
export function setPending(
  turn: Turn,
  key: string,
  made: MadeCommit,
  submission: Uint8Array,
): void {
  const room = turn.room(key)
  const top = room === null ? null : topEpoch(room)
  if (room === null || top === null) return
  const { commit, next, jobs } = made
  const before = idOfEpoch(top)
  if (isStored(room)) {
    const { leafWidth, nodes } = changedNodes(top.public.tree, next.public.tree)
    const head = encodeGroupHead(next)
    const record = { format: STRUCTURE_VERSION, commit, submission, before, head, leafWidth }
    // A commit that the hub has and the device forgot could not be followed by it.
    const bytes = encode(pendingRecordCodec, { ...record, changed: nodes })
    turn.put('groups', pendingKey(key), bytes, 'strict')
  }
  const pending: PendingCommit = {
    commit,
    submission,
    before,
    next,
    jobs,
    sent: false,
    isRepeat: false,
  }
  submitPending(turn, turn.setRoom(key, { pending }))
}

export function submitPending(turn: Turn, room: RoomState): void {
  const { pending } = room
  if (pending === null) return
  const body = decode(BODIES.submitCommit[1], pending.submission)
  if (body.kind === 'malformed') return
  const request = turn.request({ kind: 'commit', room: room.key, commit: pending.commit })
  turn.send('submitCommit', { ...body.value, request }, room.id)
  turn.setRoom(room.key, { pending: { ...pending, sent: true } })
}

/** The session has ended without an answer: the next one may see it given a second time. */
export function asRepeat(pending: PendingCommit): PendingCommit {
  return { ...pending, isRepeat: pending.isRepeat || pending.sent, sent: false }
}

/** The own commit stands in the log: what it was for is done; its jobs are kept until final. */
export function commitAdopted(turn: Turn, key: string): readonly CommitJob[] {
  const room = turn.room(key)
  const jobs = room?.pending?.jobs ?? []
  if (room === null) return []
  for (const job of jobs) {
    if (job.kind === 'invite') linkListed(turn, key, job)
    else turn.done(job.command)
  }
  turn.setRoom(key, { racesLost: 0 })
  dropPending(turn, key)
  return jobs.map((job) => ({ ...job, command: null }))
}

/** Another commit came first: the jobs wait for the epoch that it made (ROOM-4). */
export function commitLost(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || room.pending === null) return
  const { jobs, next } = room.pending
  dropPending(turn, key)
  wipeGroups(turn, key, [next])
  turn.setRoom(key, { jobs: [...jobs, ...room.jobs] })
}

/** A pending commit that was made in an epoch which is no longer the newest. */
export function dropStalePending(turn: Turn, key: string): void {
  const room = turn.room(key)
  const top = room === null ? null : topEpoch(room)
  if (room === null || room.pending === null || top === null) return
  if (!equalBytes(room.pending.before, idOfEpoch(top))) commitLost(turn, key)
}

/**
 * The same on the way up the log: a walk may not have come to the epoch of a commit of an earlier
 * session yet, its end shows. One that was given in this session was given at an end of the walk.
 */
export function dropPassedPending(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room?.joining === null || room?.pending?.sent === true) dropStalePending(turn, key)
}

function dropPending(turn: Turn, key: string): void {
  turn.delete('groups', pendingKey(key))
  turn.setRoom(key, { pending: null })
}

type Refusal = Body<'refused'>['refusal']

const RACE_LOST: ReadonlySet<Refusal['kind']> = new Set([
  'staleEpoch',
  // The epoch that it was made in became void on the way.
  'futureEpoch',
  'unknownEntry',
  'wrongEpochId',
  'provisional',
])

/** The hub refused the commit: made again after catching up, or given up; false: for good. */
export function commitRefused(turn: Turn, key: string, refusal: Refusal): boolean {
  const room = turn.room(key)
  if (room === null || room.pending === null) return true
  if (holdRoom(turn, key, refusal)) {
    // Of a repeated one the first copy may stand yet: what it makes is kept until the log shows.
    if (!room.pending.isRepeat) commitLost(turn, key)
    else turn.setRoom(key, { pending: { ...room.pending, sent: false } })
    return true
  }
  const isStale = refusal.kind === 'badCommit' && refusal.fault === 'staleSeen'
  const isRace = isStale || RACE_LOST.has(refusal.kind)
  const { jobs, next } = room.pending
  if (isRace) {
    // An earlier copy of it may be what went before: the log says so, or drops it.
    if (refusal.kind === 'staleEpoch') dropStalePending(turn, key)
    else commitLost(turn, key)
    const racesLost = room.racesLost + 1
    turn.setRoom(key, { racesLost })
    const retryAfterMs = LIMITS.redialDelayMsMin * 2 ** Math.min(racesLost, 16)
    if (racesLost > LIMITS.racesLostMax) holdRoom(turn, key, { kind: 'tooMany', retryAfterMs })
  } else {
    for (const job of jobs) turn.fail(job.command, refusal.kind)
    dropPending(turn, key)
    wipeGroups(turn, key, [next])
  }
  resubscribe(turn, key)
  return isRace
}
