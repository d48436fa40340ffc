/**
 * Changing who is in a room (ROOM-5, ROOM-8, ROOM-9): invitations, requests to join, adding by
 * name, and the one commit that may be under way. Owns jobs and the pending commit; following the
 * log is `follow.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName, LeafIndex, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { DEFAULT_SUITE } from '#core/device/account.ts'
import { isSameDevice, knownRoot, memberOf } from '#core/device/members.ts'
import { holdRoom, isHeld } from '#core/device/hold.ts'
import { queueProfile } from '#core/device/outbox.ts'
import { pendingRecordCodec } from '#core/device/records.ts'
import { caughtUp, resubscribe } from '#core/device/room.ts'
import type { CommitJob, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { parseAccountName } from '#core/identity/account-name.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { decodeIdentity, leafIsCertified } from '#core/identity/leaf-identity.ts'
import { encodeInviteLink, invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { INVITATION_SECRET_LENGTH, joinRequestId } from '#core/identity/invitation.ts'
import { makeInvitation, readInvitation, readJoinRequest } from '#core/identity/invitation.ts'
import { verifyInvitation, verifyJoinRequest } from '#core/identity/invitation.ts'
import { BODIES, type Body, DECLINE_REASONS } from '#core/wire/bodies.ts'
import { decode, encode, fixed, struct, u64 } from '#core/wire/codec.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'
import { logPosition } from '#core/base/ids.ts'

/** The last entry that a sender had seen (LOG-5): authenticated_data of every commit. */
export const seenCodec = struct({ position: u64, hash: fixed(32) })

// ---- Invitations --------------------------------------------------------------------------

/** Gives the link of a room: the one that is still good, or a new one (ROOM-8). */
export async function invite(turn: Turn, command: number, key: string): Promise<void> {
  const room = turn.room(key)
  const account = turn.registered
  if (room === null || account === null || room.group === null || room.keys === null) {
    return turn.fail(command, 'roomNotLive')
  }
  const { ownLink, phase, suite } = room.record
  if (ownLink !== null && ownLink.expiresAt > turn.nowMs + LIMITS.invitationReusedMsMin) {
    return turn.done(command, ownLink.fragment)
  }
  if (phase !== 'live') return turn.fail(command, 'roomNotLive')
  if (!turn.ready || !caughtUp(room)) return turn.fail(command, 'offline')
  const { crypto, entropy, mls } = turn.ports
  const secret = entropy.randomBytes(INVITATION_SECRET_LENGTH)
  const expiresAt = turn.nowMs + LIMITS.invitationLifetimeMs as TimeMs
  const pair = invitationKeyPair(crypto, secret, room.id)
  const algorithm = mls.suite(room.group).signature
  const invitation = await makeInvitation(crypto, {
    room: room.id,
    epochId: room.keys.epochId,
    leaf: mls.ownLeaf(room.group),
    publicKey: pair.publicKey,
    expiresAt,
    usesMax: LIMITS.invitationUsesMax,
  }, {
    algorithm,
    secretKey: algorithm === 'p384' ? account.p384.secretKey : account.ed25519.secretKey,
  })
  const fragment = encodeInviteLink({
    room: room.id,
    secret,
    inviterRootHash: account.rootHash,
    hubDomain: account.hubDomain,
    inviter: account.name,
    title: room.record.title ?? '',
    suite,
  })
  const link = { fragment, expiresAt }
  const request = turn.request({ kind: 'invite', room: key, command, link })
  turn.send('submitInvitation', { request, invitation }, room.id)
  turn.effect({ kind: 'wipe', secrets: [secret, pair.secretKey] })
}

/** The hub has taken the invitation: the link may be given away. */
export function inviteAccepted(
  turn: Turn,
  pending: {
    readonly room: string
    readonly command: number
    readonly link: { readonly fragment: string; readonly expiresAt: number }
  },
): void {
  const { fragment, expiresAt } = pending.link
  turn.setRecord(pending.room, { ownLink: { fragment, expiresAt: expiresAt as TimeMs } })
  turn.done(pending.command, fragment)
}

/** Remembers an invitation from the log if its leaf signed it; the leaf, or null (ROOM-8). */
export async function invitationListed(
  turn: Turn,
  key: string,
  bytes: Uint8Array,
): Promise<LeafIndex | null> {
  const room = turn.room(key)
  const invitation = readInvitation(bytes)
  if (room === null || room.group === null || invitation === null) return null
  if (!equalBytes(invitation.room, room.id)) return null
  // Whoever joins later cannot know the epochs before; whoever was there does.
  const { joinedAt, next } = room.record
  const wasThere = joinedAt === null || next > joinedAt + 1n
  const current = room.keys?.epochId ?? new Uint8Array(0)
  if (wasThere && !equalBytes(invitation.epochId, current)) return null
  const { crypto, mls } = turn.ports
  const leaf = mls.leaves(room.group).find((each) => each.leaf === invitation.leaf)
  const algorithm = mls.suite(room.group).signature
  if (leaf === undefined) return null
  if (!await verifyInvitation(crypto, bytes, { algorithm, publicKey: leaf.signatureKey })) {
    return null
  }
  const { publicKey, expiresAt } = invitation
  const others = room.record.invitations.filter((each) =>
    each.expiresAt > turn.nowMs && !equalBytes(each.publicKey, publicKey)
  )
  const listed = { id: invitationId(crypto, publicKey), publicKey, expiresAt }
  turn.setRecord(key, {
    invitations: [...others, listed].slice(-LIMITS.invitationsPerRoomMax),
  })
  return leaf.leaf
}

// ---- Requests to join ---------------------------------------------------------------------

/** A request to join: answered with Add and Welcome, or declined with a reason (ROOM-9). */
export async function joinRequested(turn: Turn, key: string, bytes: Uint8Array): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  const id = joinRequestId(turn.ports.crypto, bytes)
  const verdict = await judgeJoinRequest(turn, room, bytes)
  if (verdict.kind === 'declined') {
    turn.send('declineJoin', { id, reason: DECLINE_REASONS[verdict.reason] }, room.id)
    return
  }
  if (memberOf(room.members, verdict.job) !== null) return
  const queued = room.jobs.some((job) => isSameDevice(job, verdict.job))
  const full = room.jobs.length >= LIMITS.membersPerCommitMax
  if (queued || full) return
  turn.setRoom(key, { jobs: [...room.jobs, { ...verdict.job, joinRequest: id }] })
  await pumpCommits(turn, key)
}

type Verdict =
  | { readonly kind: 'declined'; readonly reason: keyof typeof DECLINE_REASONS }
  | { readonly kind: 'job'; readonly job: CommitJob }

async function judgeJoinRequest(
  turn: Turn,
  room: RoomState,
  bytes: Uint8Array,
): Promise<Verdict> {
  const declined = (reason: keyof typeof DECLINE_REASONS): Verdict => ({ kind: 'declined', reason })
  const request = readJoinRequest(bytes)
  if (room.record.phase !== 'live' || room.group === null) return declined('notNow')
  if (request === null || !equalBytes(request.room, room.id)) return declined('invalid')
  const invitation = room.record.invitations.find((each) =>
    equalBytes(each.id, request.invitation) && each.expiresAt > turn.nowMs
  )
  if (invitation === undefined) return declined('unknownInvitation')
  if (!await verifyJoinRequest(turn.ports.crypto, bytes, invitation.publicKey)) {
    return declined('invalid')
  }
  const { keyPackage, certificate, account, device } = request
  const job = { keyPackage, certificate, account, device, joinRequest: null, command: null }
  return await keyPackageProven(turn, room, job) ? { kind: 'job', job } : declined('invalid')
}

/** True when the certificate bears out the KeyPackage's leaf (ID-7). */
async function keyPackageProven(turn: Turn, room: RoomState, job: CommitJob): Promise<boolean> {
  const { crypto, mls } = turn.ports
  const view = await mls.readKeyPackage(job.keyPackage)
  const hubKey = turn.state.hub?.key ?? null
  const certificate = await verifyCertificate(crypto, job.certificate, { hubKey })
  const suite = suiteById(room.record.suite)
  if (view.kind === 'refused' || certificate.kind === 'refused' || suite === null) return false
  if (view.suite !== suite.id || view.notAfter <= turn.nowMs) return false
  const identity = decodeIdentity(view.identity)
  if (identity === null || identity.account !== job.account) return false
  if (!equalBytes(identity.device, job.device)) return false
  const root = knownRoot(turn, room.members, job.account)
  if (root !== null && !equalBytes(root, certificate.rootHash)) return false
  const claim = { identity, signatureKey: view.signatureKey, algorithm: suite.signature }
  return leafIsCertified(claim, certificate)
}

// ---- Adding by name -----------------------------------------------------------------------

/** Claims KeyPackages of an account, to add each of its devices (DIR-2, ROOM-5). */
export function addMember(
  turn: Turn,
  command: number,
  wanted: { readonly room: string; readonly account: string },
): void {
  const room = turn.room(wanted.room)
  const account = wanted.account.trim().toLowerCase()
  const parts = parseAccountName(account)
  if (room === null || room.record.phase !== 'live') return turn.fail(command, 'roomNotLive')
  if (parts === null) return turn.fail(command, 'badName')
  if (parts.domain !== turn.registered?.hubDomain) return turn.fail(command, 'otherHub')
  if (!turn.ready) return turn.fail(command, 'offline')
  const name = account as AccountName
  const request = turn.request({ kind: 'claim', command, room: wanted.room, account: name })
  turn.send('claimKeyPackages', { request, token: null, account: name, suite: DEFAULT_SUITE })
}

/** The hub's KeyPackages for a claim; each must be proven before it is added. */
export async function keyPackagesReceived(
  turn: Turn,
  claim: { readonly room: string; readonly command: number; readonly account: AccountName },
  body: Body<'keyPackages'>,
): Promise<void> {
  const room = turn.room(claim.room)
  if (room === null) return turn.fail(claim.command, 'roomNotLive')
  const jobs: CommitJob[] = []
  for (const { device, keyPackage, certificate } of body.claimed) {
    const job = {
      keyPackage,
      certificate,
      account: claim.account,
      device,
      joinRequest: null,
      command: null,
    }
    const there = memberOf(room.members, job) !== null
    if (!there && await keyPackageProven(turn, room, job)) jobs.push(job)
  }
  const member = room.members.some((each) => each.account === claim.account)
  const first = jobs[0]
  if (first === undefined) {
    return turn.fail(claim.command, member ? 'alreadyMember' : 'nobodyThere')
  }
  const answered = [{ ...first, command: claim.command }, ...jobs.slice(1)]
  turn.setRoom(room.key, { jobs: [...room.jobs, ...answered] })
  await pumpCommits(turn, room.key)
}

// ---- The commit under way -----------------------------------------------------------------

/** Commits all waiting jobs together, if nothing is under way and nothing is missing (ROOM-4). */
export async function pumpCommits(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || room.group === null || !turn.ready || !caughtUp(room)) return
  if (isHeld(turn, room)) return
  if (room.record.phase !== 'live') return
  if (room.pending !== null) {
    if (!room.pending.sent) submitPending(turn, room)
    return
  }
  const jobs = room.jobs.filter((job) => memberOf(room.members, job) === null)
  for (const job of room.jobs) if (!jobs.includes(job)) turn.done(job.command)
  turn.setRoom(key, { jobs })
  if (jobs.length === 0) return
  await commitJobs(turn, room, jobs)
}

/** Commits the first `countMax` jobs at most; fewer where they do not go together. */
async function commitJobs(
  turn: Turn,
  room: RoomState,
  jobs: readonly CommitJob[],
  countMax: number = LIMITS.membersPerCommitMax,
): Promise<void> {
  const { mls, entropy } = turn.ports
  if (room.group === null || turn.registered === null) return
  const batch = jobs.slice(0, countMax)
  const seen = { position: logPosition(room.record.next - 1n), hash: room.record.headHash }
  const made = await mls.commit(room.group, {
    adds: batch.map((job) => job.keyPackage),
    removes: [],
    authenticated: encode(seenCodec, seen),
    nowMs: turn.nowMs,
    entropy,
  })
  if (made.kind === 'refused' || !isSubmittable(made, batch)) {
    // One bad job must not take the others with it.
    if (batch.length > 1) return await commitJobs(turn, room, jobs, Math.floor(batch.length / 2))
    const rest = jobs.slice(1)
    for (const job of batch) {
      giveUpJob(turn, room, job, made.kind === 'refused' ? 'malformed' : 'oversized')
    }
    const left = turn.setRoom(room.key, { jobs: rest })
    return rest.length > 0 ? await commitJobs(turn, left, rest) : undefined
  }
  const submission = encode(BODIES.submitCommit[1], {
    request: 0 as Body<'submitCommit'>['request'],
    epoch: mls.epoch(room.group),
    seen,
    commit: made.commit,
    newEpochId: mls.epochId(made.next),
    certificates: batch.map((job) => job.certificate),
    welcome: made.welcome ?? new Uint8Array(0),
    joinRequest: batch.find((job) => job.joinRequest !== null)?.joinRequest ?? null,
  })
  const { commit, next } = made
  const pending = { format: STRUCTURE_VERSION, commit, submission, next: mls.serialise(next) }
  // A commit that the hub has and the device forgot could not be followed by it.
  turn.put('groups', `${room.key}:pending`, encode(pendingRecordCodec, pending), 'strict')
  const changed = turn.setRoom(room.key, {
    pending: { commit, submission, next, jobs: batch, sent: false },
    jobs: jobs.slice(batch.length),
  })
  submitPending(turn, changed)
}

/** Room for everything of a `submitCommit` that is neither commit, Welcome nor certificate. */
const AROUND_COMMIT_MAX = 2_048

/** True when commit, Welcome and certificates keep to their limits, alone and together. */
function isSubmittable(
  made: { readonly commit: Uint8Array; readonly welcome: Uint8Array | null },
  batch: readonly CommitJob[],
): boolean {
  const certificates = batch.reduce((sum, job) => sum + job.certificate.length, 0)
  const welcome = made.welcome?.length ?? 0
  return made.commit.length <= LIMITS.commitSizeMax && welcome <= LIMITS.welcomeSizeMax &&
    certificates <= LIMITS.certificatesSizeMax &&
    made.commit.length + welcome + certificates + AROUND_COMMIT_MAX <= LIMITS.frameSizeMax
}

function giveUpJob(
  turn: Turn,
  room: RoomState,
  job: CommitJob,
  code: 'malformed' | 'oversized',
): void {
  turn.fail(job.command, code)
  if (job.joinRequest === null) return
  turn.send('declineJoin', { id: job.joinRequest, reason: DECLINE_REASONS.invalid }, room.id)
}

function submitPending(turn: Turn, room: RoomState): void {
  const { pending } = room
  if (pending === null) return
  const body = decode(BODIES.submitCommit[1], pending.submission)
  if (body.kind === 'malformed') return
  const request = turn.request({ kind: 'commit', room: room.key })
  turn.send('submitCommit', { ...body.value, request }, room.id)
  turn.setRoom(room.key, { pending: { ...pending, sent: true } })
}

/** The own commit stands in the log: its people are in, and learn the room's title. */
export async function commitAdopted(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  for (const job of room.pending?.jobs ?? []) turn.done(job.command)
  turn.setRoom(key, { racesLost: 0 })
  dropPending(turn, key)
  await queueProfile(turn, key)
}

/** Another commit came first: the jobs wait for the epoch that it made (ROOM-4). */
export function commitLost(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || room.pending === null) return
  const { jobs } = room.pending
  dropPending(turn, key)
  const now = turn.room(key)
  if (now !== null) turn.setRoom(key, { jobs: [...jobs, ...now.jobs] })
}

function dropPending(turn: Turn, key: string): void {
  turn.delete('groups', `${key}:pending`)
  turn.setRoom(key, { pending: null })
}

const RACE_LOST: ReadonlySet<string> = new Set(['staleEpoch', 'unknownEntry', 'wrongEpochId'])

/** The hub refused the commit: made again after catching up, or given up with its reason. */
export function commitRefused(turn: Turn, key: string, code: Body<'refused'>['refusal']): void {
  const room = turn.room(key)
  if (room === null || room.pending === null) return
  if (holdRoom(turn, key, code)) return commitLost(turn, key)
  if (RACE_LOST.has(code.kind)) {
    commitLost(turn, key)
    const racesLost = room.racesLost + 1
    turn.setRoom(key, { racesLost })
    const retryAfterMs = LIMITS.redialDelayMsMin * 2 ** Math.min(racesLost, 16)
    if (racesLost > LIMITS.racesLostMax) holdRoom(turn, key, { kind: 'tooMany', retryAfterMs })
  } else {
    for (const job of room.pending.jobs) turn.fail(job.command, code.kind)
    dropPending(turn, key)
  }
  resubscribe(turn, key)
}
