/**
 * Welcome and the secrets in it (RFC 9420 section 12.4.3.1): encodings alone.
 */
import { LIMITS } from '#core/base/limits.ts'
import { hpkeCiphertext } from '#core/mls/commit.ts'
import type { HpkeCiphertext } from '#core/mls/labelled.ts'
import { type PreSharedKeyId, preSharedKeyId } from '#core/mls/proposal.ts'
import { type Codec, opaque, optional, struct, u16, vector } from '#core/wire/codec.ts'

export interface GroupSecrets {
  readonly joinerSecret: Uint8Array
  /** Of the lowest common ancestor of committer and joiner; null for a commit without path. */
  readonly pathSecret: Uint8Array | null
  readonly psks: readonly PreSharedKeyId[]
}

const secret = opaque(255)
export const groupSecrets: Codec<GroupSecrets> = struct({
  joinerSecret: secret,
  pathSecret: optional(secret),
  psks: vector(preSharedKeyId, LIMITS.mlsProposalsMax),
})

export interface EncryptedGroupSecrets {
  /** KeyPackageRef. */
  readonly newMember: Uint8Array
  readonly encryptedGroupSecrets: HpkeCiphertext
}

export interface Welcome {
  readonly cipherSuite: number
  readonly secrets: readonly EncryptedGroupSecrets[]
  readonly encryptedGroupInfo: Uint8Array
}

export const welcome: Codec<Welcome> = struct({
  cipherSuite: u16,
  secrets: vector(
    struct({ newMember: opaque(255), encryptedGroupSecrets: hpkeCiphertext }),
    LIMITS.mlsProposalsMax,
  ),
  encryptedGroupInfo: opaque(LIMITS.mlsMessageSizeMax),
})
