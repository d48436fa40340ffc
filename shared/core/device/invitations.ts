/**
 * Invitations of this device's account (ROOM-8, POLICY-2, JOIN-3): making a link, taking it back,
 * and the anchors that let others join while nobody is there. Owns links and anchors; the commit
 * that lists an invitation is `membership.ts`.
 */
import { equalBytes, fromBase64Url, toBase64Url, toHex } from '#core/base/bytes.ts'
import type { AccountName, RequestId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { idOfEpoch, topEpoch } from '#core/device/chain.ts'
import { roomSuite } from '#core/device/epoch-keys.ts'
import { isHeld } from '#core/device/hold.ts'
import type { CommandError, LinkLimits } from '#core/device/io.ts'
import type { AccountRecord, Anchored } from '#core/device/records.ts'
import { caughtUp } from '#core/device/room.ts'
import type { CommitJob, RoomEpoch, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { encodeInviteLink, INVITATION_SECRET_LENGTH } from '#core/identity/invitation.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { makeAnchor } from '#core/policy/anchor.ts'
import { findInvitation, isInviter, type PolicyInvitation } from '#core/policy/room-policy.ts'
import { policyOf } from '#core/policy/room-policy.ts'
import { rosterOf, usesOf } from '#core/policy/roster.ts'

const DEFAULT_LIMITS: LinkLimits = {
  usesMax: LIMITS.invitationUsesMax,
  lifetimeMs: LIMITS.invitationLifetimeMs,
}

/** The invitations that the newest epoch of a room lists. */
export function listedInvitations(room: RoomState): readonly PolicyInvitation[] {
  const top = topEpoch(room)
  return top === null ? [] : policyOf(top.public.context.extensions)?.invitations ?? []
}

function listedOwn(room: RoomState, account: AccountName): readonly PolicyInvitation[] {
  return listedInvitations(room).filter(({ inviter }) => inviter === account)
}

/** What a person sees of an own link. */
export interface OwnInvitation {
  readonly id: string
  readonly fragment: string | null
  readonly createdAt: number
  readonly expiresAt: number
  readonly usesMax: number
  readonly uses: number
}

/** The account's own links that the room lists, the newest first (ROOM-8). */
export function ownInvitations(room: RoomState, account: AccountName): readonly OwnInvitation[] {
  const top = topEpoch(room)
  if (top === null) return []
  const roster = rosterOf(top.public.tree)
  return listedOwn(room, account)
    .toSorted((a, b) => b.createdAt - a.createdAt)
    .map(({ id, createdAt, expiresAt, usesMax }) => ({
      id: toBase64Url(id),
      fragment: fragmentOf(room, id),
      createdAt,
      expiresAt,
      usesMax,
      uses: usesOf(roster, id),
    }))
}

function fragmentOf(room: RoomState, id: Uint8Array): string | null {
  return room.record.links.find((link) => equalBytes(link.id, id))?.fragment ?? null
}

/** An own link that can be given once more: it has an anchor, is good for a day, not used up. */
function goodLink(turn: Turn, room: RoomState, account: AccountName): string | null {
  for (const link of ownInvitations(room, account)) {
    const isAnchored = room.record.anchors.some(({ id }) => toBase64Url(id) === link.id)
    const isGood = isAnchored && link.expiresAt > turn.nowMs + LIMITS.invitationReusedMsMin &&
      link.uses < link.usesMax
    if (isGood && link.fragment !== null) return link.fragment
  }
  return null
}

/** The job of a new link, or null where the command is answered already (ROOM-8). */
export function invitationJob(
  turn: Turn,
  command: number,
  wanted: { readonly room: string; readonly limits: LinkLimits | null },
): CommitJob | null {
  const fail = (code: 'roomNotLive' | 'badLimits' | 'offline' | 'tooMany'): null => {
    turn.fail(command, code)
    return null
  }
  const room = turn.room(wanted.room)
  const account = turn.registered
  if (room === null || account === null || topEpoch(room) === null) return fail('roomNotLive')
  const good = wanted.limits === null ? goodLink(turn, room, account.name) : null
  if (good !== null) {
    turn.done(command, good)
    return null
  }
  const limits = wanted.limits ?? DEFAULT_LIMITS
  if (room.record.phase !== 'live') return fail('roomNotLive')
  if (!areLimits(limits)) return fail('badLimits')
  if (!turn.ready || !caughtUp(room)) return fail('offline')
  const waiting = [...room.pending?.jobs ?? [], ...room.jobs].flatMap((job) =>
    job.kind === 'invite' ? [job.invitation] : []
  )
  const listed = [...withoutOver(turn, room, account), ...waiting]
  const own = listed.filter(({ inviter }) => inviter === account.name)
  const isFull = listed.length >= LIMITS.invitationsPerRoomMax ||
    own.length >= LIMITS.invitationsPerAccountMax
  if (isFull) return fail('tooMany')
  return newInvitation(turn, room, { account, limits, command })
}

function areLimits({ usesMax, lifetimeMs }: LinkLimits): boolean {
  return Number.isSafeInteger(usesMax) && usesMax > 0 && usesMax <= LIMITS.invitationUsesMax &&
    Number.isSafeInteger(lifetimeMs) && lifetimeMs > 0 &&
    lifetimeMs <= LIMITS.invitationLifetimeMs
}

function newInvitation(
  turn: Turn,
  room: RoomState,
  made: {
    readonly account: AccountRecord
    readonly limits: LinkLimits
    readonly command: number
  },
): CommitJob {
  const { account, limits, command } = made
  const { crypto, entropy } = turn.ports
  const secret = entropy.randomBytes(INVITATION_SECRET_LENGTH)
  const { publicKey, secretKey } = invitationKeyPair(crypto, secret, room.id)
  const fragment = encodeInviteLink({
    room: room.id,
    secret,
    inviterRootHash: account.rootHash,
    hubDomain: account.hubDomain,
    inviter: account.name,
    title: room.record.title ?? '',
    suite: room.record.suite,
  })
  turn.effect({ kind: 'wipe', secrets: [secret, secretKey] })
  const invitation = {
    id: invitationId(crypto, publicKey),
    publicKey,
    inviter: account.name,
    inviterRootHash: account.rootHash,
    createdAt: turn.nowMs,
    expiresAt: turn.nowMs + limits.lifetimeMs as TimeMs,
    usesMax: limits.usesMax,
  }
  return { kind: 'invite', invitation, fragment, command }
}

/** The job that takes a link back, or null where the command is answered already (POLICY-2). */
export function revocationJob(
  turn: Turn,
  command: number,
  wanted: { readonly room: string; readonly invitation: string },
): CommitJob | null {
  const room = turn.room(wanted.room)
  const account = turn.registered
  const id = fromBase64Url(wanted.invitation)
  const isLive = room !== null && account !== null && room.record.phase === 'live'
  if (!isLive) {
    turn.fail(command, 'roomNotLive')
    return null
  }
  const own = listedOwn(room, account.name).some((each) => id !== null && equalBytes(each.id, id))
  if (id === null || !own) {
    turn.fail(command, 'unknownInvitation')
    return null
  }
  return { kind: 'revoke', id, command }
}

/**
 * Listed invitations but those whose time is over: own ones by the own clock, those of others only
 * where the hub's clock says so, too, since nobody may delete them before (POLICY-2).
 */
function withoutOver(
  turn: Turn,
  room: RoomState,
  { name: account, rootHash }: AccountRecord,
): readonly PolicyInvitation[] {
  const nowOf = (each: PolicyInvitation) =>
    isInviter({ account, rootHash }, each) ? turn.nowMs : room.record.headTime
  return listedInvitations(room).filter((each) => each.expiresAt > nowOf(each))
}

/**
 * The policy after these jobs: with what they bring, without what they take. What is over stays for
 * a day, where there is room for it. `full`: it would be too large (POLICY-2).
 */
export function policyAfter(
  turn: Turn,
  room: RoomState,
  jobs: readonly CommitJob[],
): readonly PolicyInvitation[] | null | 'full' {
  const added = jobs.flatMap((job) => job.kind === 'invite' ? [job.invitation] : [])
  const gone = jobs.flatMap((job) => job.kind === 'revoke' ? [job.id] : [])
  const account = turn.registered
  if (account === null || added.length === 0 && gone.length === 0) return null
  const replaced = [...gone, ...added.map(({ id }) => id)]
  const after = (before: readonly PolicyInvitation[]) => [
    ...before.filter(({ id }) => !replaced.some((each) => equalBytes(each, id))),
    ...added,
  ]
  const isRecent = ({ expiresAt }: PolicyInvitation) =>
    expiresAt + LIMITS.invitationReusedMsMin > turn.nowMs
  const fits = (all: readonly PolicyInvitation[]) =>
    all.length <= LIMITS.invitationsPerRoomMax &&
    all.filter(({ inviter }) => inviter === account.name).length <= LIMITS.invitationsPerAccountMax
  const kept = after(listedInvitations(room).filter(isRecent))
  if (fits(kept) || added.length === 0) return kept
  const least = after(withoutOver(turn, room, account))
  return fits(least) ? least : 'full'
}

/** The commit of a link stands in the log: it is kept, and given once it has an anchor. */
export function linkListed(
  turn: Turn,
  key: string,
  job: Extract<CommitJob, { readonly kind: 'invite' }>,
): void {
  const room = turn.room(key)
  if (room === null) return
  const { id } = job.invitation
  // Those that came by the same commit are not listed in the epoch before.
  const after = room.pending?.next.public ?? topEpoch(room)?.public
  const listed = policyOf(after?.context.extensions ?? [])
  const kept = room.record.links.filter((link) =>
    listed !== null && findInvitation(listed, link.id) !== null && !equalBytes(link.id, id)
  )
  turn.setRecord(key, {
    links: [...kept, { id, fragment: job.fragment }].slice(-LIMITS.invitationsPerRoomMax),
  })
  if (job.command === null) return
  turn.setRoom(key, { inviting: new Map(room.inviting).set(toHex(id), job.command) })
}

// ---- Anchors ------------------------------------------------------------------------------

/** Leaves the anchors that are due: for new links, new epochs, and those that grew old (JOIN-3). */
export async function pumpAnchors(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  const account = turn.registered
  if (room !== null && room.joining === null) endInviting(turn, room)
  if (room === null || account === null || room.final === null || room.final.group === null) return
  if (!turn.ready || !caughtUp(room) || room.record.phase !== 'live' || isHeld(turn, room)) return
  for (const invitation of listedOwn(room, account.name)) {
    if (invitation.expiresAt <= turn.nowMs || isUnderWay(turn, key, invitation.id)) continue
    const dueMs = anchorDueMs(room, room.final, invitation.id)
    if (dueMs > turn.nowMs) turn.wakeAt(dueMs)
    else await leaveAnchor(turn, key, { epoch: room.final, account, invitation: invitation.id })
  }
}

/** A link that was taken back, or whose time is over, before it had its anchor is never given. */
function endInviting(turn: Turn, room: RoomState): void {
  const underWay = [...room.jobs, ...room.pending?.jobs ?? []]
    .flatMap((job) => job.kind === 'invite' ? [job.invitation] : [])
  const known = [...listedInvitations(room), ...underWay]
  const inviting = new Map(room.inviting)
  for (const [name, command] of room.inviting) {
    const expiresAt = known.find(({ id }) => toHex(id) === name)?.expiresAt ?? 0
    if (expiresAt > turn.nowMs) {
      turn.wakeAt(expiresAt)
      continue
    }
    inviting.delete(name)
    turn.fail(command, 'unknownInvitation')
  }
  if (inviting.size < room.inviting.size) turn.setRoom(room.key, { inviting })
}

function isUnderWay(turn: Turn, key: string, id: Uint8Array): boolean {
  for (const request of turn.state.requests.values()) {
    if (request.kind !== 'anchor' || request.room !== key) continue
    if (equalBytes(request.anchor.id, id)) return true
  }
  return false
}

function anchorDueMs(room: RoomState, final: RoomEpoch, id: Uint8Array): number {
  const last = room.record.anchors.find((anchor) => equalBytes(anchor.id, id))
  if (last === undefined) return 0
  const isOfEpoch = last.position === final.position
  return last.time + (isOfEpoch ? LIMITS.anchorRenewedMs : LIMITS.anchorIntervalMsMin)
}

async function leaveAnchor(
  turn: Turn,
  key: string,
  left: {
    readonly epoch: RoomEpoch
    readonly account: AccountRecord
    readonly invitation: Uint8Array
  },
): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  const { epoch, account, invitation } = left
  const suite = roomSuite(epoch.public)
  const { secretKey } = suite.signature === 'p384' ? account.p384 : account.ed25519
  const anchor = await makeAnchor(turn.ports.crypto, {
    room: room.id,
    epochId: idOfEpoch(epoch),
    position: epoch.position,
    entryHash: epoch.entryHash,
    invitation,
    device: account.device,
    time: turn.nowMs,
  }, { algorithm: suite.signature, secretKey, certificate: account.certificate })
  const anchored = { id: invitation, position: epoch.position, time: turn.nowMs }
  const request = turn.request({ kind: 'anchor', room: key, anchor: anchored })
  turn.send('leaveAnchor', { request: request as RequestId, anchor }, room.id)
}

/**
 * The hub would not have the anchor: another epoch has become final there, or a void took the
 * invitation away. It is left again when the log has told so, and the link is not given before.
 */
export async function anchorOutdated(turn: Turn, key: string, anchor: Anchored): Promise<void> {
  const final = turn.room(key)?.final ?? null
  if (final !== null && final.position !== anchor.position) await pumpAnchors(turn, key)
}

/** The hub keeps no anchor for now; whoever made the link is told. */
export function anchorRefused(
  turn: Turn,
  key: string,
  { anchor, code }: { readonly anchor: Anchored; readonly code: CommandError },
): void {
  const room = turn.room(key)
  if (room !== null) turn.fail(takeInviting(turn, room, anchor), code)
}

/** The command that waits for a link to have its anchor. */
function takeInviting(turn: Turn, room: RoomState, { id }: Anchored): number | null {
  const inviting = new Map(room.inviting)
  const command = inviting.get(toHex(id)) ?? null
  inviting.delete(toHex(id))
  turn.setRoom(room.key, { inviting })
  return command
}

/** The hub has the anchor: the link may be given away. */
export function anchorAnswered(turn: Turn, key: string, anchor: Anchored): void {
  const room = turn.room(key)
  if (room === null) return
  const name = toHex(anchor.id)
  turn.done(takeInviting(turn, room, anchor), fragmentOf(room, anchor.id))
  const listed = new Set(listedInvitations(room).map(({ id }) => toHex(id)))
  const others = room.record.anchors.filter(({ id }) => listed.has(toHex(id)) && toHex(id) !== name)
  turn.setRecord(key, { anchors: [...others, anchor] })
}
