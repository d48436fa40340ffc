/**
 * GroupInfo (RFC 9420 section 12.4.3): encoding, signature. Owns no decision on whether a group is
 * one to join (see `join-welcome.ts` and `join-external.ts`).
 */
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type Extension, extensions } from '#core/mls/extension.ts'
import { type GroupContext, groupContext } from '#core/mls/group-context.ts'
import { signWithLabel, verifyWithLabel } from '#core/mls/labelled.ts'
import { type Codec, encode, opaque, struct, u32 } from '#core/wire/codec.ts'

export interface GroupInfoContent {
  readonly groupContext: GroupContext
  readonly extensions: readonly Extension[]
  readonly confirmationTag: Uint8Array
  /** Leaf index. */
  readonly signer: number
}

export interface GroupInfo extends GroupInfoContent {
  readonly signature: Uint8Array
}

const contentFields = { groupContext, extensions, confirmationTag: opaque(255), signer: u32 }
const content: Codec<GroupInfoContent> = struct(contentFields)
export const groupInfo: Codec<GroupInfo> = struct({
  ...contentFields,
  signature: opaque(LIMITS.mlsKeySizeMax),
})

export async function signGroupInfo(
  suite: CipherSuite,
  value: GroupInfoContent,
  signatureSecret: Uint8Array,
): Promise<GroupInfo> {
  const signed = { label: 'GroupInfoTBS', content: encode(content, value) } as const
  return { ...value, signature: await signWithLabel(suite, signatureSecret, signed) }
}

/** `publicKey` is the signature key of the leaf that `signer` names. */
export function verifyGroupInfo(
  suite: CipherSuite,
  value: GroupInfo,
  publicKey: Uint8Array,
): Promise<boolean> {
  return verifyWithLabel(suite, {
    publicKey,
    label: 'GroupInfoTBS',
    content: encode(content, value),
    signature: value.signature,
  })
}
