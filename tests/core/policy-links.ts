/**
 * Links into a room for tests of `policy/`: invitations in its policy, and who enters by them.
 */
import { ok, strictEqual } from 'node:assert/strict'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { Group } from '#core/mls/group.ts'
import { type AdmissionContent, makeAdmission } from '#core/policy/admission.ts'
import { findInvitation, type PolicyInvitation, policyOf } from '#core/policy/room-policy.ts'
import { withPolicy } from '#core/policy/room-policy.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import * as people from './policy-people.ts'
import { bytes, crypto, type Device, NOW, type Room } from './policy-people.ts'

const LINK_SECRET = bytes(16)

export function linkKey(room: Room) {
  return invitationKeyPair(crypto, LINK_SECRET, room.room)
}

export type InvitationLie = Partial<PolicyInvitation>

export function invitationOf(
  inviter: Device,
  publicKey: Uint8Array,
  lie: InvitationLie = {},
): PolicyInvitation {
  return {
    id: invitationId(crypto, publicKey),
    publicKey,
    inviter: inviter.account,
    inviterRootHash: inviter.verified.rootHash,
    createdAt: NOW,
    expiresAt: NOW + LIMITS.invitationLifetimeMs as TimeMs,
    usesMax: 2,
    ...lie,
  }
}

export function policyChange(room: Room, invitations: readonly PolicyInvitation[]) {
  const extensions = withPolicy(room.group.context.extensions, { invitations })
  return { kind: 'groupContextExtensions', extensions } as const
}

export async function inviting(
  room: Room,
  group: Group,
  invitations: readonly PolicyInvitation[],
): Promise<{ readonly room: Room; readonly group: Group }> {
  const made = await people.commitOf(room, group, { proposals: [policyChange(room, invitations)] })
  return { room: await people.advance(room, { made }), group: made.next }
}

export interface LinkEntry {
  readonly device: Device
  readonly host: Group
  /** What the admission says besides the truth. */
  readonly lie?: Partial<AdmissionContent>
  readonly secretKey?: Uint8Array
}

/** An external commit with an admission by the room's link. */
export function byLink(room: Room, entry: LinkEntry): Promise<CommitMade> {
  const { device, host, lie = {} } = entry
  const pair = linkKey(room)
  return people.enterOf(room, {
    device,
    host,
    extensionsFor: async (encryptionKey) => [
      await makeAdmission(crypto, {
        room: room.room,
        epochIdBefore: epochIdOf(room.group.suite, room.group.context),
        invitation: invitationId(crypto, pair.publicKey),
        account: device.account,
        device: device.device,
        rootHash: device.verified.rootHash,
        signatureKey: device.suiteKey.publicKey,
        encryptionKey,
        certificateHash: device.verified.hash,
        ...lie,
      }, entry.secretKey ?? pair.secretKey),
    ],
  })
}

/** Somebody enters by a link of `inviter`, which the room gets where it has none. */
export async function enterByLink(
  room: Room,
  entry: LinkEntry & { readonly inviter: Device; readonly invitation?: InvitationLie },
) {
  const { device, host, inviter } = entry
  const invitation = invitationOf(inviter, linkKey(room).publicKey, entry.invitation)
  const listed = policyOf(room.group.context.extensions)
  const there = listed !== null && findInvitation(listed, invitation.id) !== null
  const invited = there ? { room, group: host } : await inviting(room, host, [invitation])
  const made = await byLink(invited.room, { device, host: invited.group })
  const outcome = await people.submit(invited.room, { made, certificates: [device.certificate] })
  ok(outcome.kind === 'judged', `enters: ${'fault' in outcome && outcome.fault}`)
  strictEqual(outcome.judged.external, 'invitation')
  return { room: outcome.room, group: made.next, before: invited.room, made, invitation }
}
