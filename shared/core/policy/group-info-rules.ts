/**
 * What a published GroupInfo must be (GROUP-2): the next joiner builds on it alone. Owns that
 * check; `external_pub` itself can be checked only by who holds the epoch's secrets, before it
 * agrees.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { EXTENSION_TYPE, externalPub, readExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { type GroupInfo, verifyGroupInfo } from '#core/mls/group-info.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'

/** Extensions of a GroupInfo in the log: with a commit, and with a genesis. */
const WITH_COMMIT: readonly number[] = [EXTENSION_TYPE.externalPub]
const WITH_GENESIS: readonly number[] = [EXTENSION_TYPE.ratchetTree, EXTENSION_TYPE.externalPub]

/**
 * The GroupInfo in an MLSMessage, with exactly the extensions that belong to a genesis or to a
 * commit, and an `external_pub` of the suite's length; null for anything else.
 */
export function readGroupInfo(
  bytes: Uint8Array,
  expected: { readonly kemPublicKeyLength: number; readonly withTree: boolean },
): GroupInfo | null {
  const groupInfo = decodeMlsMessage('groupInfo', bytes)?.groupInfo ?? null
  if (groupInfo === null) return null
  const types = expected.withTree ? WITH_GENESIS : WITH_COMMIT
  const { extensions } = groupInfo
  const exact = extensions.length === types.length &&
    types.every((type) => extensions.some((each) => each.type === type))
  const key = readExtension(extensions, EXTENSION_TYPE.externalPub, externalPub)
  if (!exact || key === null || key === 'malformed') return null
  return key.length === expected.kemPublicKeyLength ? groupInfo : null
}

/** Whether the committer signed this GroupInfo for exactly this epoch (GROUP-2). */
export async function isGroupInfoOf(
  group: PublicGroup,
  committer: number,
  bytes: Uint8Array,
): Promise<boolean> {
  const { suite, context, tree, confirmationTag } = group
  const { kemPublicKeyLength } = suite
  const groupInfo = readGroupInfo(bytes, { kemPublicKeyLength, withTree: false })
  const signer = leafAt(tree, committer)
  if (groupInfo === null || signer === null || groupInfo.signer !== committer) return false
  if (!equalBytes(groupInfo.confirmationTag, confirmationTag)) return false
  const said = encodeGroupContext(groupInfo.groupContext)
  if (!equalBytes(said, encodeGroupContext(context))) return false
  return await verifyGroupInfo(suite, groupInfo, signer.signatureKey)
}
