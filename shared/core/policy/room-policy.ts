/**
 * The policy of a room (POLICY-1, POLICY-2): GroupContext extension 0xF010, which lists the keys of
 * invitations, and the judgement of a change of it. Owns its encoding and that judgement; owns no
 * proposal and no commit (see `commit-rules.ts`).
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { invitationId } from '#core/identity/invitation.ts'
import type { LeafIdentity } from '#core/identity/leaf-identity.ts'
import { CREDENTIAL_TYPE } from '#core/mls/credential.ts'
import {
  type Extension,
  EXTENSION_TYPE,
  findExtension,
  makeExtension,
  requiredCapabilities,
} from '#core/mls/extension.ts'
import { accountNameCodec, timeCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, struct, u32, vector } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** Extension types of ours, private use (RFC 9420 section 17.3). */
export const ROOM_EXTENSION_TYPE = { policy: 0xf010, admission: 0xf011 } as const

/** Extension types that every leaf of a room lists in its capabilities. */
export const ROOM_EXTENSION_TYPES: readonly number[] = Object.values(ROOM_EXTENSION_TYPE)

const invitationCodec = struct({
  /** SHA-256 of the public key. */
  id: fixed(32),
  /** Ed25519. */
  publicKey: fixed(32),
  inviter: accountNameCodec,
  inviterRootHash: fixed(32),
  createdAt: timeCodec,
  /** Hub time from which on nobody joins by it. */
  expiresAt: timeCodec,
  /** Accounts that may be in the tree by it. */
  usesMax: u32,
})
export type PolicyInvitation = Infer<typeof invitationCodec>

const policyCodec = struct({
  format: format('room policy'),
  /** In the order of their ids, each once. */
  invitations: vector(invitationCodec, LIMITS.invitationsPerRoomMax),
  extensions,
})
/** What a room's members agreed on. */
export interface RoomPolicy {
  readonly invitations: readonly PolicyInvitation[]
}

export const NO_POLICY: RoomPolicy = { invitations: [] }

/** Body of the extension. Invitations are put in their order; no two may have one id. */
export function encodePolicy(policy: RoomPolicy): Uint8Array {
  const invitations = policy.invitations.toSorted((a, b) => compareIds(a.id, b.id))
  return encode(policyCodec, {
    format: STRUCTURE_VERSION,
    invitations,
    extensions: NO_EXTENSIONS,
  })
}

/** Null for anything but a policy in its one encoding. */
export function decodePolicy(bytes: Uint8Array): RoomPolicy | null {
  if (bytes.length > LIMITS.policySizeMax) return null
  const decoded = decode(policyCodec, bytes)
  if (decoded.kind === 'malformed') return null
  const { invitations } = decoded.value
  const isOrdered = invitations.every((invitation, index) => {
    const before = invitations[index - 1]
    return before === undefined || compareIds(before.id, invitation.id) < 0
  })
  return isOrdered ? { invitations } : null
}

function compareIds(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/** The policy among the extensions of a GroupContext; null where it has none that can be read. */
export function policyOf(list: readonly Extension[]): RoomPolicy | null {
  const body = findExtension(list, ROOM_EXTENSION_TYPE.policy)
  return body === null ? null : decodePolicy(body)
}

/** The invitation of an id, if the policy lists it. */
export function findInvitation(policy: RoomPolicy, id: Uint8Array): PolicyInvitation | null {
  return policy.invitations.find((invitation) => equalBytes(invitation.id, id)) ?? null
}

/** The extensions of a new room: what each leaf must support, and an empty policy (POLICY-1). */
export function roomExtensions(): readonly Extension[] {
  return [
    makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
      extensions: ROOM_EXTENSION_TYPES,
      proposals: [],
      credentials: [CREDENTIAL_TYPE.basic],
    }),
    { type: ROOM_EXTENSION_TYPE.policy, body: encodePolicy(NO_POLICY) },
  ]
}

/** Extensions with another policy in place of theirs: the body of a proposal (POLICY-2). */
export function withPolicy(
  list: readonly Extension[],
  policy: RoomPolicy,
): readonly Extension[] {
  const body = encodePolicy(policy)
  return list.map((each) => each.type === ROOM_EXTENSION_TYPE.policy ? { ...each, body } : each)
}

export interface PolicyChange {
  readonly before: RoomPolicy
  readonly after: RoomPolicy
  readonly committer: LeafIdentity
  /** Of the entry. */
  readonly timeMs: TimeMs
  /** Whether an account of this root has a leaf after the commit. */
  hasMember(account: AccountName, rootHash: Uint8Array): boolean
}

/**
 * Whether this member may change the policy so (POLICY-2): it adds invitations in its own name, and
 * deletes its account's own, expired ones, and those of accounts that are gone. Nothing that stays
 * is changed.
 */
export function isPolicyChangeAllowed(crypto: Crypto, change: PolicyChange): boolean {
  const { before, after } = change
  const kept = after.invitations.filter(({ id }) => findInvitation(before, id) !== null)
  const added = after.invitations.filter((each) => !kept.includes(each))
  const gone = before.invitations.filter(({ id }) => findInvitation(after, id) === null)
  const own = after.invitations.filter((each) => isInviter(change.committer, each))
  // One member's invitations must leave room for those of the others.
  const isFlood = added.length > 0 && own.length > LIMITS.invitationsPerAccountMax
  return kept.every((each) => isSame(each, findInvitation(before, each.id))) && !isFlood &&
    added.every((each) => isAddAllowed(crypto, change, each)) &&
    gone.every((each) => isDeleteAllowed(change, each))
}

function isSame(a: PolicyInvitation, b: PolicyInvitation | null): boolean {
  return b !== null && equalBytes(encode(invitationCodec, a), encode(invitationCodec, b))
}

/** *An invitation in another's name would pass for that person's word.* */
function isAddAllowed(crypto: Crypto, change: PolicyChange, added: PolicyInvitation): boolean {
  const { committer, timeMs } = change
  return isInviter(committer, added) &&
    equalBytes(added.id, invitationId(crypto, added.publicKey)) &&
    added.expiresAt > timeMs && added.expiresAt <= timeMs + LIMITS.invitationAheadMsMax &&
    added.createdAt < added.expiresAt &&
    added.usesMax > 0 && added.usesMax <= LIMITS.invitationUsesMax
}

function isDeleteAllowed(change: PolicyChange, gone: PolicyInvitation): boolean {
  return isInviter(change.committer, gone) || gone.expiresAt <= change.timeMs ||
    !change.hasMember(gone.inviter, gone.inviterRootHash)
}

/** Whether an account of this root made the invitation. */
export function isInviter(
  { account, rootHash }: Pick<LeafIdentity, 'account' | 'rootHash'>,
  invitation: PolicyInvitation,
): boolean {
  return invitation.inviter === account && equalBytes(invitation.inviterRootHash, rootHash)
}
