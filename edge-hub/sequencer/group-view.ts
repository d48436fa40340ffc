/**
 * What the hub knows of a room's group: suite, epoch, roster and invitations, read from the genesis
 * and from commits (ROOM-3, ROOM-4). Owns the rules of the roster and its stored form. It holds no
 * secret and validates no MLS structure: members do that for themselves.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type AccountName, type DeviceId, type Epoch, epoch, leafIndex } from '#core/base/ids.ts'
import type { EpochId, LeafIndex, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { decodeIdentity } from '#core/identity/leaf-identity.ts'
import { accountNameCodec, deviceIdCodec, epochCodec, epochIdCodec } from '#core/wire/bodies.ts'
import { timeCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, opaque, struct, u16, u32, vector } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** A leaf whose identity a certificate has borne out (ID-7). */
export interface CertifiedLeaf {
  readonly account: AccountName
  readonly device: DeviceId
  readonly manifestVersion: number
  readonly rootHash: Uint8Array
  /** Identity of the basic credential, encoded (ID-5). */
  readonly identity: Uint8Array
  readonly signatureKey: Uint8Array
}

export interface MemberLeaf extends CertifiedLeaf {
  readonly leaf: LeafIndex
}

/** An invitation that stands in the room's log (ROOM-8). `uses` is the hub's own count. */
export interface InvitationView {
  readonly id: Uint8Array
  readonly publicKey: Uint8Array
  readonly expiresAt: TimeMs
  readonly usesMax: number
  readonly uses: number
  readonly inviter: AccountName
  readonly inviterDevice: DeviceId
}

/** Immutable; a commit or an invitation gives a new one. */
export interface GroupView {
  readonly suite: number
  readonly epoch: Epoch
  readonly epochId: EpochId
  readonly leaves: ReadonlyMap<number, MemberLeaf>
  /** By `deviceKey`. */
  readonly byDevice: ReadonlyMap<string, MemberLeaf>
  /** By the id in hex. */
  readonly invitations: ReadonlyMap<string, InvitationView>
}

/** One key for an account's device. An account name holds no slash, so it is unambiguous. */
export function deviceKey(account: AccountName, device: DeviceId): string {
  return `${account}/${toHex(device)}`
}

export interface GroupOpening {
  readonly suite: number
  readonly epochId: EpochId
  readonly creator: CertifiedLeaf
}

/** The group of a new room: its creator in leaf 0, epoch 0 (RFC 9420 section 11). */
export function openGroup(opening: GroupOpening): GroupView {
  const { suite, epochId, creator } = opening
  return viewOf({
    suite,
    epoch: epoch(0n),
    epochId,
    leaves: [{ ...creator, leaf: leafIndex(0) }],
    invitations: [],
  })
}

/** What a commit does to the roster; every leaf in it is certified. */
export interface RosterChange {
  readonly sender: LeafIndex
  /** Leaf in the path; null where it says the same as the leaf before. */
  readonly senderLeaf: CertifiedLeaf | null
  readonly adds: readonly CertifiedLeaf[]
  readonly removes: readonly LeafIndex[]
  readonly newEpochId: EpochId
}

export type RosterRefusal = 'wrongLeaf' | 'alreadyMember' | 'badCertificate' | 'notAllowed'

export type RosterOutcome =
  | {
    readonly kind: 'changed'
    readonly next: GroupView
    readonly added: readonly MemberLeaf[]
    readonly removed: readonly MemberLeaf[]
  }
  | { readonly kind: 'refused'; readonly code: RosterRefusal }

/**
 * The view after a commit: removes blank leaves, then each add takes the leftmost blank leaf
 * (RFC 9420 sections 12.4.2 and 7.7). Invitations of an account go with its last leaf.
 */
export function changeRoster(view: GroupView, change: RosterChange): RosterOutcome {
  const refused = (code: RosterRefusal): RosterOutcome => ({ kind: 'refused', code })
  const before = view.leaves.get(change.sender)
  if (before === undefined) return refused('wrongLeaf')
  const leaves = new Map(view.leaves)
  if (change.senderLeaf !== null) {
    if (!isSameDevice(before, change.senderLeaf)) return refused('wrongLeaf')
    if (!isConsistent(leaves, change.senderLeaf)) return refused('badCertificate')
    leaves.set(change.sender, { ...change.senderLeaf, leaf: change.sender })
  }
  const removed: MemberLeaf[] = []
  for (const leaf of change.removes) {
    if (leaf === change.sender) return refused('notAllowed')
    const member = leaves.get(leaf)
    if (member === undefined) return refused('wrongLeaf')
    leaves.delete(leaf)
    removed.push(member)
  }
  const present = new Set([...leaves.values()].map((m) => deviceKey(m.account, m.device)))
  const added: MemberLeaf[] = []
  let blank = 0
  for (const add of change.adds) {
    const key = deviceKey(add.account, add.device)
    if (present.has(key)) return refused('alreadyMember')
    if (!isConsistent(leaves, add)) return refused('badCertificate')
    while (leaves.has(blank)) blank++
    const member = { ...add, leaf: leafIndex(blank) }
    present.add(key)
    leaves.set(blank, member)
    added.push(member)
  }
  const accounts = new Set([...leaves.values()].map((member) => member.account))
  const next = viewOf({
    suite: view.suite,
    epoch: epoch(view.epoch + 1n),
    epochId: change.newEpochId,
    leaves: [...leaves.values()],
    invitations: [...view.invitations.values()].filter(({ inviter }) => accounts.has(inviter)),
  })
  return { kind: 'changed', next, added, removed }
}

/**
 * The view with one more invitation; expired ones go. One that is listed again keeps its count of
 * uses. Null when there is no place for it.
 */
export function addInvitation(
  view: GroupView,
  invitation: InvitationView,
  nowMs: TimeMs,
): GroupView | null {
  const key = toHex(invitation.id)
  const uses = view.invitations.get(key)?.uses ?? invitation.uses
  const held = [...view.invitations.values()]
    .filter(({ id, expiresAt }) => expiresAt > nowMs && !equalBytes(id, invitation.id))
  if (held.length >= LIMITS.invitationsPerRoomMax) return null
  return { ...view, invitations: invitationMap([...held, { ...invitation, uses }]) }
}

/** Counts one use of an invitation; an unknown one changes nothing. */
export function countUse(view: GroupView, id: Uint8Array): GroupView {
  const held = view.invitations.get(toHex(id))
  if (held === undefined) return view
  const invitations = new Map(view.invitations)
  invitations.set(toHex(id), { ...held, uses: held.uses + 1 })
  return { ...view, invitations }
}

function isSameDevice(a: CertifiedLeaf, b: CertifiedLeaf): boolean {
  return a.account === b.account && equalBytes(a.device, b.device)
}

/**
 * One account has one root in a tree, and no leaf falls behind a manifest that the tree has seen.
 */
function isConsistent(leaves: ReadonlyMap<number, MemberLeaf>, leaf: CertifiedLeaf): boolean {
  for (const member of leaves.values()) {
    if (member.account !== leaf.account) continue
    if (!equalBytes(member.rootHash, leaf.rootHash)) return false
    if (member.manifestVersion > leaf.manifestVersion) return false
  }
  return true
}

interface ViewParts {
  readonly suite: number
  readonly epoch: Epoch
  readonly epochId: EpochId
  readonly leaves: readonly MemberLeaf[]
  readonly invitations: readonly InvitationView[]
}

function viewOf({ suite, epoch, epochId, leaves, invitations }: ViewParts): GroupView {
  return {
    suite,
    epoch,
    epochId,
    leaves: new Map(leaves.map((member) => [member.leaf, member])),
    byDevice: new Map(leaves.map((m) => [deviceKey(m.account, m.device), m])),
    invitations: invitationMap(invitations),
  }
}

function invitationMap(list: readonly InvitationView[]): ReadonlyMap<string, InvitationView> {
  return new Map(list.map((invitation) => [toHex(invitation.id), invitation]))
}

// ---- Stored form --------------------------------------------------------------------------

const storedLeaf = struct({
  leaf: u32,
  identity: opaque(LIMITS.leafIdentitySizeMax, 1),
  rootHash: fixed(32),
  signatureKey: opaque(133, 32),
})

const storedInvitation = struct({
  id: fixed(32),
  publicKey: fixed(32),
  expiresAt: timeCodec,
  usesMax: u32,
  uses: u32,
  inviter: accountNameCodec,
  inviterDevice: deviceIdCodec,
})

const storedView = struct({
  format: format('group view'),
  suite: u16,
  epoch: epochCodec,
  epochId: epochIdCodec,
  leaves: vector(storedLeaf, LIMITS.membersMax),
  invitations: vector(storedInvitation, LIMITS.invitationsPerRoomMax),
})

/** The view as the log stores it beside the room. */
export function encodeView(view: GroupView): Uint8Array {
  return encode(storedView, {
    format: STRUCTURE_VERSION,
    suite: view.suite,
    epoch: view.epoch,
    epochId: view.epochId,
    leaves: [...view.leaves.values()],
    invitations: [...view.invitations.values()],
  })
}

/** Reads what `encodeView` wrote; null when it is something else. */
export function decodeView(bytes: Uint8Array): GroupView | null {
  const decoded = decode(storedView, bytes.slice())
  if (decoded.kind === 'malformed') return null
  const leaves: MemberLeaf[] = []
  for (const { leaf, identity, rootHash, signatureKey } of decoded.value.leaves) {
    const claimed = decodeIdentity(identity)
    if (claimed === null) return null
    const { account, device, manifestVersion } = claimed
    leaves.push({
      leaf: leafIndex(leaf),
      account,
      device,
      manifestVersion,
      rootHash,
      identity,
      signatureKey,
    })
  }
  const { suite, epoch, epochId, invitations } = decoded.value
  const view = viewOf({ suite, epoch, epochId, leaves, invitations })
  assert(view.leaves.size === leaves.length, 'a stored roster has each leaf once')
  return view
}
