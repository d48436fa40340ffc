/**
 * Who is in a tree (ID-5, ID-7): leaves by account and device, the root and the highest manifest of
 * each account, and how many leaves came by which invitation. Owns that index and the way it
 * follows a commit; it is a reading of the tree and decides nothing.
 */
import { equalBytes, toHex, utf8Encode } from '#core/base/bytes.ts'
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import { decodeIdentity, type LeafIdentity } from '#core/identity/leaf-identity.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import { type MapEntry, PersistentMap } from '#core/mls/persistent-map.ts'
import { leafAt, members, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import { admissionBody, decodeAdmission } from '#core/policy/admission.ts'

export interface RosterMember {
  readonly leaf: number
  readonly identity: LeafIdentity
  /** Id of the invitation by which the leaf came; null where it came otherwise. */
  readonly invitation: Uint8Array | null
}

export interface Roster {
  /** By the account's name in UTF-8; no account without a leaf. */
  readonly accounts: PersistentMap<readonly RosterMember[]>
  /** Count of leaves by the id of their invitation. */
  readonly uses: PersistentMap<number>
}

/** Rosters that were read already; a tree never changes, so neither does its roster. */
const known = new WeakMap<RatchetTree, Roster>()

/** The roster of a tree: read once, O(n), and from then on followed by `rosterAfter`. */
export function rosterOf(tree: RatchetTree): Roster {
  const before = known.get(tree)
  if (before !== undefined) return before
  const byAccount = new Map<AccountName, RosterMember[]>()
  const uses = new Map<string, { readonly key: Uint8Array; value: number }>()
  for (const { leaf, leafNode } of members(tree)) {
    const member = memberOf(leaf, leafNode)
    if (member === null) continue
    const { account } = member.identity
    const same = byAccount.get(account)
    if (same === undefined) byAccount.set(account, [member])
    else same.push(member)
    if (member.invitation === null) continue
    const used = uses.get(toHex(member.invitation))
    if (used === undefined) uses.set(toHex(member.invitation), { key: member.invitation, value: 1 })
    else used.value++
  }
  const accounts = [...byAccount].map(([account, value]): MapEntry<readonly RosterMember[]> => ({
    key: utf8Encode(account),
    value,
  }))
  const roster = {
    accounts: PersistentMap.of(accounts),
    uses: PersistentMap.of([...uses.values()]),
  }
  known.set(tree, roster)
  return roster
}

/** Leaves that may differ between two trees. */
export interface TouchedLeaves {
  readonly before: RatchetTree
  readonly after: RatchetTree
  readonly leaves: Iterable<number>
}

/** The roster of the tree after, from that of the tree before, by the leaves that changed. */
export function rosterAfter({ before, after, leaves }: TouchedLeaves): Roster {
  const found = known.get(after)
  if (found !== undefined) return found
  let roster = rosterOf(before)
  const touched = [...new Set(leaves)]
  for (const leaf of touched) roster = withoutMember(roster, memberAt(before, leaf))
  for (const leaf of touched) roster = withMember(roster, memberAt(after, leaf))
  known.set(after, roster)
  return roster
}

function withMember(roster: Roster, member: RosterMember | null): Roster {
  if (member === null) return roster
  const key = utf8Encode(member.identity.account)
  const same = roster.accounts.get(key) ?? []
  return {
    accounts: roster.accounts.set(key, [...same, member]),
    uses: counted(roster.uses, member.invitation, 1),
  }
}

function withoutMember(roster: Roster, member: RosterMember | null): Roster {
  if (member === null) return roster
  const key = utf8Encode(member.identity.account)
  const rest = (roster.accounts.get(key) ?? []).filter(({ leaf }) => leaf !== member.leaf)
  return {
    accounts: rest.length === 0 ? roster.accounts.delete(key) : roster.accounts.set(key, rest),
    uses: counted(roster.uses, member.invitation, -1),
  }
}

function counted(
  uses: PersistentMap<number>,
  invitation: Uint8Array | null,
  step: number,
): PersistentMap<number> {
  if (invitation === null) return uses
  const count = (uses.get(invitation) ?? 0) + step
  return count === 0 ? uses.delete(invitation) : uses.set(invitation, count)
}

function memberOf(leaf: number, leafNode: LeafNode): RosterMember | null {
  const identity = identityOf(leafNode)
  if (identity === null) return null
  const body = admissionBody(leafNode.extensions)
  return { leaf, identity, invitation: body && (decodeAdmission(body)?.invitation ?? null) }
}

/** What a leaf says of its member; null where it is no identity of ours. */
export function identityOf(leafNode: LeafNode): LeafIdentity | null {
  const { credential } = leafNode
  return credential.kind === 'basic' ? decodeIdentity(credential.identity) : null
}

/** The member in a leaf; null for a blank one. */
export function memberAt(tree: RatchetTree, leaf: number): RosterMember | null {
  const leafNode = leafAt(tree, leaf)
  return leafNode === null ? null : memberOf(leaf, leafNode)
}

/** The leaves of an account; empty where it has none. */
export function leavesOfAccount(roster: Roster, account: AccountName): readonly RosterMember[] {
  return roster.accounts.get(utf8Encode(account)) ?? []
}

/** The leaf of an account's device. */
export function leafOfDevice(
  roster: Roster,
  account: AccountName,
  device: DeviceId,
): RosterMember | null {
  return leavesOfAccount(roster, account)
    .find(({ identity }) => equalBytes(identity.device, device)) ?? null
}

/** Whether an account of this root has a leaf. */
export function hasAccount(roster: Roster, account: AccountName, rootHash: Uint8Array): boolean {
  return leavesOfAccount(roster, account)
    .some(({ identity }) => equalBytes(identity.rootHash, rootHash))
}

/** How many leaves came by an invitation. No account has two such leaves (JOIN-4). */
export function usesOf(roster: Roster, invitation: Uint8Array): number {
  return roster.uses.get(invitation) ?? 0
}
