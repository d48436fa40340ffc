/**
 * Who is in a room (ID-5 to ID-7), read from the tree: that a certificate bears out each leaf is a
 * rule of the room's commits; here it is told apart whom the own hub attests. Owns the certificates
 * that were checked; owns no log and no group.
 */
import { EMPTY, equalBytes, toHex } from '#core/base/bytes.ts'
import { type AccountName, DEVICE_ID_LENGTH, type DeviceId, leafIndex } from '#core/base/ids.ts'
import type { LeafIndex } from '#core/base/ids.ts'
import type { CertificateRecord } from '#core/device/records.ts'
import { certificateRecordCodec } from '#core/device/records.ts'
import { isStored } from '#core/device/room.ts'
import type { Member, RoomEpoch, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { isAttested, type VerifiedCertificate } from '#core/identity/certificate.ts'
import type { LeafIdentity } from '#core/identity/leaf-identity.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import { leafAt, members, type NodeChanges, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import { identityOf } from '#core/policy/roster.ts'
import { encode } from '#core/wire/codec.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** A leaf that says nothing readable of its member. */
export const NOBODY: Member = {
  leaf: leafIndex(0),
  account: '' as AccountName,
  device: new Uint8Array(DEVICE_ID_LENGTH) as DeviceId,
  deviceName: '',
  rootHash: new Uint8Array(32),
  verified: false,
  signatureKey: EMPTY,
}

const identities = new WeakMap<LeafNode, LeafIdentity | null>()

/** What a leaf says of its member, read once; null for a leaf of no account. */
function identity(leaf: LeafNode): LeafIdentity | null {
  const known = identities.get(leaf)
  if (known !== undefined) return known
  const read = identityOf(leaf)
  identities.set(leaf, read)
  return read
}

type Certificates = ReadonlyMap<string, CertificateRecord>

function member(leaf: LeafIndex, leafNode: LeafNode, certificates: Certificates): Member {
  const said = identity(leafNode)
  const { signatureKey } = leafNode
  if (said === null) return { ...NOBODY, leaf, signatureKey }
  const { account, device, rootHash, certificateHash } = said
  const certificate = certificates.get(toHex(certificateHash))
  const named = certificate?.devices.find((each) => equalBytes(each.device, device))
  return {
    leaf,
    account,
    device,
    deviceName: named?.name ?? '',
    rootHash,
    verified: certificate?.attested === true,
    signatureKey,
  }
}

/** The member at a leaf of an epoch; null for a blank one. */
export function memberAt(room: RoomState, epoch: RoomEpoch, leaf: LeafIndex): Member | null {
  const leafNode = leafAt(epoch.public.tree, leaf)
  return leafNode === null ? null : member(leaf, leafNode, room.certificates)
}

interface Listed {
  readonly certificates: Certificates
  readonly members: readonly Member[]
}
const rosters = new WeakMap<RatchetTree, Listed>()

/** All members of the room's newest epoch; none while nothing is known. */
export function membersOf(room: RoomState): readonly Member[] {
  const tree = (room.chain.at(-1) ?? room.final)?.public.tree
  if (tree === undefined) return []
  const { certificates } = room
  const known = rosters.get(tree)
  if (known?.certificates === certificates) return known.members
  const listed: Member[] = []
  for (const { leaf, leafNode } of members(tree)) {
    listed.push(member(leafIndex(leaf), leafNode, certificates))
  }
  rosters.set(tree, { certificates, members: listed })
  return listed
}

// ---- Certificates -------------------------------------------------------------------------

/** A certificate as it came, and what was verified of it but for the attestation. */
export interface CheckedCertificate {
  readonly bytes: Uint8Array
  readonly certificate: VerifiedCertificate
}

/** Certificates that were checked, with what this device's own hub says of them (ID-7). */
export async function keepCertificates(
  turn: Turn,
  key: string,
  checked: readonly CheckedCertificate[],
): Promise<void> {
  const room = turn.room(key)
  if (room === null || checked.length === 0) return
  const hubKey = turn.state.hub?.key ?? null
  const known = new Map(room.certificates)
  for (const { bytes, certificate } of checked) {
    const hash = toHex(certificate.hash)
    if (known.has(hash)) continue
    const attested = hubKey !== null && await isAttested(turn.ports.crypto, bytes, hubKey)
    const devices = certificate.devices.map(({ device, name }) => ({ device, name }))
    const record: CertificateRecord = { format: STRUCTURE_VERSION, attested, devices }
    known.set(hash, record)
    if (isStored(room)) storeCertificate(turn, key, hash, record)
  }
  turn.setRoom(key, { certificates: known })
}

function storeCertificate(
  turn: Turn,
  key: string,
  hash: string,
  record: CertificateRecord,
): void {
  turn.put('certificates', `${key}:${hash}`, encode(certificateRecordCodec, record))
}

/** Stores what was gathered on the way into a room. */
export function storeCertificates(turn: Turn, key: string): void {
  for (const [hash, record] of turn.room(key)?.certificates ?? []) {
    storeCertificate(turn, key, hash, record)
  }
}

/** Forgets the certificates of leaves that are over, where no epoch of the room names them. */
export function dropCertificates(turn: Turn, key: string, over: readonly LeafNode[]): void {
  const room = turn.room(key)
  const hashes = new Set(over.map((leaf) => hashOf(leaf)))
  if (room === null || room.final === null || hashes.size === 0) return
  for (const { leafNode } of members(room.final.public.tree)) hashes.delete(hashOf(leafNode))
  // What an epoch of the chain did not change stands in the tree below.
  for (const epoch of room.chain) {
    for (const leaf of leavesAt(epoch.changed, epoch.public.tree)) hashes.delete(hashOf(leaf))
  }
  const certificates = new Map(room.certificates)
  for (const hash of hashes) {
    if (certificates.delete(hash)) turn.delete('certificates', `${key}:${hash}`)
  }
  turn.setRoom(key, { certificates })
}

/** The leaves of a tree at the nodes that a commit changed. */
export function leavesAt(changed: NodeChanges, tree: RatchetTree): readonly LeafNode[] {
  const leaves: LeafNode[] = []
  for (const { node } of changed.nodes) {
    const leaf = node % 2 === 0 ? leafAt(tree, node / 2) : null
    if (leaf !== null) leaves.push(leaf)
  }
  return leaves
}

function hashOf(leaf: LeafNode): string {
  const said = identity(leaf)
  return said === null ? '' : toHex(said.certificateHash)
}
