/**
 * GroupContext (RFC 9420 section 8.1): what all members agree on in an epoch. Owns its encoding and
 * the epochId, which is its hash.
 */
import type { EpochId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type Extension, extensions } from '#core/mls/extension.ts'
import { type Codec, encode, opaque, struct, u16, u64 } from '#core/wire/codec.ts'

export interface GroupContext {
  readonly version: number
  readonly cipherSuite: number
  readonly groupId: Uint8Array
  readonly epoch: bigint
  readonly treeHash: Uint8Array
  readonly confirmedTranscriptHash: Uint8Array
  readonly extensions: readonly Extension[]
}

export const groupContext: Codec<GroupContext> = struct({
  version: u16,
  cipherSuite: u16,
  groupId: opaque(LIMITS.mlsGroupIdMax),
  epoch: u64,
  treeHash: opaque(255),
  confirmedTranscriptHash: opaque(255),
  extensions,
})

export function encodeGroupContext(context: GroupContext): Uint8Array {
  return encode(groupContext, context)
}

/** Hash(GroupContext) (ROOM-3): unlike the epoch's number it is unique. */
export function epochIdOf(suite: CipherSuite, context: GroupContext): EpochId {
  return suite.hash(encodeGroupContext(context)) as EpochId
}
