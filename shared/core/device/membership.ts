/**
 * Changing who is in a room and who may come (ROOM-5, ROOM-8): adding people by name, and the
 * commit that does it together with new and revoked links. Owns jobs; the commit under way is
 * `submit.ts`, following the log is `follow.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { DEFAULT_SUITE } from '#core/device/account.ts'
import { topEpoch } from '#core/device/chain.ts'
import { isHeld } from '#core/device/hold.ts'
import { invitationJob, policyAfter, revocationJob } from '#core/device/invitations.ts'
import type { LinkLimits } from '#core/device/io.ts'
import { caughtUp } from '#core/device/room.ts'
import type { CommitJob, RoomState } from '#core/device/state.ts'
import { type MadeCommit, seenIn, setPending, submissionOf } from '#core/device/submit.ts'
import { submitPending } from '#core/device/submit.ts'
import { cipherSuiteOf, type Turn } from '#core/device/turn.ts'
import { voteToSpeak } from '#core/device/votes.ts'
import { parseAccountName } from '#core/identity/account-name.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { leafIsCertified } from '#core/identity/leaf-identity.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { verifyKeyPackageSignature } from '#core/mls/key-package.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { withPolicy } from '#core/policy/room-policy.ts'
import { identityOf, leafOfDevice, leavesOfAccount, rosterOf } from '#core/policy/roster.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { seenCodec } from '#core/wire/log-entry.ts'

type AddJob = Extract<CommitJob, { readonly kind: 'add' }>

// ---- Links --------------------------------------------------------------------------------

/** Gives the link of a room: the one that is still good, or a new one (ROOM-8). */
export async function invite(
  turn: Turn,
  command: number,
  wanted: { readonly room: string; readonly limits: LinkLimits | null },
): Promise<void> {
  const job = invitationJob(turn, command, wanted)
  if (job !== null) await takeJobs(turn, wanted.room, [job])
}

/** Takes a link back: nobody joins by it any more (POLICY-2). */
export async function revokeInvitation(
  turn: Turn,
  command: number,
  wanted: { readonly room: string; readonly invitation: string },
): Promise<void> {
  const job = revocationJob(turn, command, wanted)
  if (job !== null) await takeJobs(turn, wanted.room, [job])
}

async function takeJobs(turn: Turn, key: string, jobs: readonly CommitJob[]): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  turn.setRoom(key, { jobs: [...room.jobs, ...jobs] })
  await pumpCommits(turn, key)
}

// ---- Adding by name -----------------------------------------------------------------------

/** True when the certificate bears out the KeyPackage's leaf (ID-7). */
async function keyPackageProven(turn: Turn, room: RoomState, job: AddJob): Promise<boolean> {
  const { crypto } = turn.ports
  const suite = suiteById(room.record.suite)
  const engine = cipherSuiteOf(crypto, room.record.suite)
  const keyPackage = decodeMlsMessage('keyPackage', job.keyPackage)?.keyPackage ?? null
  if (keyPackage === null || suite === null || engine === null) return false
  const { leafNode } = keyPackage
  const { source } = leafNode
  const isFresh = source.kind === 'keyPackage' &&
    source.lifetime.notAfter * 1_000n > BigInt(turn.nowMs)
  if (keyPackage.cipherSuite !== suite.id || !isFresh) return false
  const hubKey = turn.state.hub?.key ?? null
  const certificate = await verifyCertificate(crypto, job.certificate, { hubKey })
  const identity = identityOf(leafNode)
  if (certificate.kind === 'refused' || identity === null) return false
  if (identity.account !== job.account || !equalBytes(identity.device, job.device)) return false
  if (!isKnownRoot(turn, room, job.account, certificate.rootHash)) return false
  const { signatureKey } = leafNode
  const claim = { identity, signatureKey, algorithm: suite.signature }
  return leafIsCertified(claim, certificate) &&
    await verifyKeyPackageSignature(engine, keyPackage)
}

/** One account has one root: its own, or that of its leaves in the room (ID-7). */
function isKnownRoot(
  turn: Turn,
  room: RoomState,
  account: AccountName,
  rootHash: Uint8Array,
): boolean {
  const own = turn.registered
  if (own !== null && own.name === account) return equalBytes(own.rootHash, rootHash)
  const top = topEpoch(room)
  if (top === null) return false
  return leavesOfAccount(rosterOf(top.public.tree), account)
    .every(({ identity }) => equalBytes(identity.rootHash, rootHash))
}

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
  const top = room === null ? null : topEpoch(room)
  if (room === null || top === null) return turn.fail(claim.command, 'roomNotLive')
  const { account } = claim
  const jobs: AddJob[] = []
  for (const { device, keyPackage, certificate } of body.claimed) {
    const job = { kind: 'add', keyPackage, certificate, account, device, command: null } as const
    if (!isThere(room, job) && await keyPackageProven(turn, room, job)) jobs.push(job)
  }
  const [first, ...others] = jobs
  if (first === undefined) {
    const isMember = leavesOfAccount(rosterOf(top.public.tree), account).length > 0
    return turn.fail(claim.command, isMember ? 'alreadyMember' : 'nobodyThere')
  }
  await takeJobs(turn, room.key, [{ ...first, command: claim.command }, ...others])
}

function isThere(room: RoomState, job: CommitJob): boolean {
  const top = topEpoch(room)
  if (job.kind !== 'add' || top === null) return false
  return leafOfDevice(rosterOf(top.public.tree), job.account, job.device) !== null
}

// ---- The commit ---------------------------------------------------------------------------

/** Commits all waiting jobs together, if nothing is under way and nothing is missing (ROOM-4). */
export async function pumpCommits(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || !turn.ready || !caughtUp(room) || isHeld(turn, room)) return
  if (room.record.phase !== 'live') return
  if (room.pending !== null) {
    if (!room.pending.sent) submitPending(turn, room)
    return
  }
  const jobs = room.jobs.filter((job) => !isThere(room, job))
  for (const job of room.jobs) if (!jobs.includes(job)) turn.done(job.command)
  turn.setRoom(key, { jobs })
  if (jobs.length === 0 || !await voteToSpeak(turn, key)) return
  const now = turn.room(key)
  const group = now === null ? null : topEpoch(now)?.group ?? null
  if (now !== null && group !== null) await commitJobs(turn, now, { group, jobs })
}

interface Committing {
  readonly group: Group
  readonly jobs: readonly CommitJob[]
}

/** Commits the first `countMax` jobs at most; fewer where they do not go together. */
async function commitJobs(
  turn: Turn,
  room: RoomState,
  { group, jobs }: Committing,
  countMax: number = LIMITS.membersPerCommitMax,
): Promise<void> {
  const batch = jobs.slice(0, countMax)
  const proposals = proposalsOf(turn, room, { group, jobs: batch })
  const kept = proposals && await commitOf(turn, room, { group, jobs: batch, proposals })
  const submission = kept === null ? null : await submissionOf(room, kept)
  if (kept !== null && submission !== null) {
    turn.setRoom(room.key, { jobs: jobs.slice(batch.length) })
    return setPending(turn, room.key, kept, submission)
  }
  // One bad job must not take the others with it.
  if (batch.length > 1) {
    return await commitJobs(turn, room, { group, jobs }, Math.floor(batch.length / 2))
  }
  const rest = jobs.slice(1)
  const code = proposals === null ? 'tooMany' : kept === null ? 'malformed' : 'oversized'
  for (const job of batch) turn.fail(job.command, code)
  const left = turn.setRoom(room.key, { jobs: rest })
  if (rest.length > 0) await commitJobs(turn, left, { group, jobs: rest })
}

/** Null where the group refuses it. */
async function commitOf(
  turn: Turn,
  room: RoomState,
  { group, jobs, proposals }: Committing & { readonly proposals: readonly Proposal[] },
): Promise<MadeCommit | null> {
  const making = {
    proposals,
    path: 'always',
    authenticatedData: encode(seenCodec, seenIn(room)),
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: () => null,
    timeMs: turn.nowMs,
    entropy: turn.ports.entropy,
  } as const
  const references = updatesOfOthers(group)
  const whole = await makeCommit(group, { ...making, references })
  // Somebody's Update that does not go with it, such as one with the key of who is added.
  const made = whole.kind === 'refused' && references.length > 0
    ? await makeCommit(group, making)
    : whole
  if (made.kind === 'refused') return null
  const certificates = jobs.flatMap((job) => job.kind === 'add' ? [job.certificate] : [])
  return {
    commit: made.message,
    welcome: made.welcome,
    next: made.next,
    certificates: unique(certificates),
    jobs,
  }
}

/** Null where the policy has no room for them. */
function proposalsOf(
  turn: Turn,
  room: RoomState,
  { group, jobs }: Committing,
): readonly Proposal[] | null {
  const proposals: Proposal[] = []
  for (const job of jobs) {
    if (job.kind !== 'add') continue
    const keyPackage = decodeMlsMessage('keyPackage', job.keyPackage)?.keyPackage
    if (keyPackage !== undefined) proposals.push({ kind: 'add', keyPackage })
  }
  const invitations = policyAfter(turn, room, jobs)
  if (invitations === 'full') return null
  if (invitations !== null) {
    const extensions = withPolicy(group.public.context.extensions, { invitations })
    proposals.push({ kind: 'groupContextExtensions', extensions })
  }
  return proposals
}

/** Updates of other members that wait for a commit. */
function updatesOfOthers(group: Group): readonly Uint8Array[] {
  return [...group.public.proposals.values()]
    .filter(({ proposal, sender }) =>
      proposal.kind === 'update' && sender.kind === 'member' && sender.leaf !== group.ownLeaf
    )
    .map(({ reference }) => reference)
}

/** Two devices of one account come with one certificate. */
function unique(certificates: readonly Uint8Array[]): readonly Uint8Array[] {
  return certificates.filter((bytes, index) =>
    certificates.findIndex((other) => equalBytes(other, bytes)) === index
  )
}
