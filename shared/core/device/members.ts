/**
 * Who is in a room, as far as it is proven (ID-5 to ID-7): each leaf of the tree against the
 * certificate that came with it. Owns no log and no group; a leaf without proof has no name.
 */
import { EMPTY, equalBytes, toHex } from '#core/base/bytes.ts'
import { type AccountName, DEVICE_ID_LENGTH, type DeviceId, leafIndex } from '#core/base/ids.ts'
import type { SignatureName } from '#core/crypto/crypto.ts'
import type { Member } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { certificateHash, verifyCertificate } from '#core/identity/certificate.ts'
import type { VerifiedCertificate } from '#core/identity/certificate.ts'
import { decodeIdentity, leafIsCertified } from '#core/identity/leaf-identity.ts'
import type { MlsGroup, MlsLeaf } from '#core/mls/mls.ts'

/** A leaf that says nothing readable of its member. */
export const NOBODY: Member = {
  leaf: leafIndex(0),
  account: '' as AccountName,
  device: new Uint8Array(DEVICE_ID_LENGTH) as DeviceId,
  deviceName: '',
  rootHash: new Uint8Array(32),
  verified: false,
  signatureKey: EMPTY,
  identity: EMPTY,
}

export interface MemberSources {
  /** Members that were verified before; an unchanged leaf is not verified again. */
  readonly known: readonly Member[]
  readonly certificates: Iterable<Uint8Array>
}

/** Every leaf of the group as a member; those without a valid certificate are not `verified`. */
export async function verifiedMembers(
  turn: Turn,
  group: MlsGroup,
  sources: MemberSources,
): Promise<readonly Member[]> {
  const { crypto, mls } = turn.ports
  const byHash = new Map<string, Uint8Array>()
  for (const certificate of sources.certificates) {
    byHash.set(toHex(certificateHash(crypto, certificate)), certificate)
  }
  const known = new Map(sources.known.map((member) => [member.leaf, member]))
  const verified = new Map<string, VerifiedCertificate | null>()
  const members: Member[] = []
  for (const leaf of mls.leaves(group)) {
    const before = known.get(leaf.leaf)
    if (before !== undefined && sameLeaf(before, leaf)) members.push(before)
    else {
      members.push(
        await verifiedMember(turn, leaf, {
          byHash,
          verified,
          algorithm: mls.suite(group).signature,
        }),
      )
    }
  }
  return members.map((member) =>
    contested(turn, member, { known: sources.known, members })
      ? { ...member, verified: false }
      : member
  )
}

/** The root of an account as this device knows it: its own, or that of a proven member. */
export function knownRoot(
  turn: Turn,
  known: readonly Member[],
  account: AccountName,
): Uint8Array | null {
  const own = turn.registered
  if (own !== null && own.name === account) return own.rootHash
  return known.find((each) => each.verified && each.account === account)?.rootHash ?? null
}

/**
 * One account has one root in a room, whatever a hub attests. Where two come at once and neither
 * was known before, neither is believed.
 */
function contested(
  turn: Turn,
  member: Member,
  { known, members }: { readonly known: readonly Member[]; readonly members: readonly Member[] },
): boolean {
  if (!member.verified) return false
  const root = knownRoot(turn, known, member.account)
  if (root !== null) return !equalBytes(root, member.rootHash)
  return members.some((other) =>
    other.verified && other.account === member.account &&
    !equalBytes(other.rootHash, member.rootHash)
  )
}

function sameLeaf(member: Member, leaf: MlsLeaf): boolean {
  return equalBytes(member.identity, leaf.identity) &&
    equalBytes(member.signatureKey, leaf.signatureKey)
}

interface Proofs {
  readonly byHash: ReadonlyMap<string, Uint8Array>
  readonly verified: Map<string, VerifiedCertificate | null>
  readonly algorithm: SignatureName
}

async function verifiedMember(turn: Turn, leaf: MlsLeaf, proofs: Proofs): Promise<Member> {
  const identity = decodeIdentity(leaf.identity)
  const { signatureKey } = leaf
  const nobody = { ...NOBODY, leaf: leaf.leaf, signatureKey, identity: leaf.identity }
  if (identity === null) return nobody
  const claimed = { ...nobody, account: identity.account, device: identity.device }
  const hash = toHex(identity.certificateHash)
  let certificate = proofs.verified.get(hash)
  if (certificate === undefined) {
    const bytes = proofs.byHash.get(hash)
    const hubKey = turn.state.hub?.key ?? null
    const outcome = bytes === undefined
      ? null
      : await verifyCertificate(turn.ports.crypto, bytes, { hubKey })
    certificate = outcome?.kind === 'verified' ? outcome : null
    proofs.verified.set(hash, certificate)
  }
  const claim = { identity, signatureKey: leaf.signatureKey, algorithm: proofs.algorithm }
  if (certificate === null || !leafIsCertified(claim, certificate)) return claimed
  const device = certificate.devices.find((each) => equalBytes(each.device, identity.device))
  return {
    ...claimed,
    deviceName: device?.name ?? '',
    rootHash: certificate.rootHash,
    verified: true,
  }
}

interface AccountDevice {
  readonly account: AccountName
  readonly device: DeviceId
}

/** True for the same device of the same account. */
export function isSameDevice(a: AccountDevice, b: AccountDevice): boolean {
  return a.account === b.account && equalBytes(a.device, b.device)
}

/** The member that holds this device of this account, or null. */
export function memberOf(members: readonly Member[], who: AccountDevice): Member | null {
  return members.find((member) => isSameDevice(member, who)) ?? null
}
