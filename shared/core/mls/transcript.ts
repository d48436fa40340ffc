/**
 * Transcript hashes (RFC 9420 section 8.2): the chain over all commits of a group. Owns what is
 * hashed; the hashes themselves are kept in the GroupContext and by the group.
 */
import { concat } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import {
  type ContentWireFormat,
  type FramedContent,
  framedContent,
  WIRE_FORMAT,
} from '#core/mls/framing.ts'
import { encode, opaque, struct, u16 } from '#core/wire/codec.ts'

const confirmedInput = struct({
  wireFormat: u16,
  content: framedContent,
  signature: opaque(LIMITS.mlsKeySizeMax),
})
const interimInput = struct({ confirmationTag: opaque(255) })

/** The hash that goes into the GroupContext of the epoch that a commit starts. */
export function confirmedTranscriptHash(
  suite: CipherSuite,
  /** Empty before the first commit of a group. */
  interimBefore: Uint8Array,
  authenticated: {
    readonly wireFormat: ContentWireFormat
    readonly content: FramedContent
    readonly signature: Uint8Array
  },
): Uint8Array {
  const wireFormat = WIRE_FORMAT[authenticated.wireFormat]
  const input = encode(confirmedInput, { ...authenticated, wireFormat })
  return suite.hash(concat(interimBefore, input))
}

/** The hash from which the next commit goes on. */
export function interimTranscriptHash(
  suite: CipherSuite,
  confirmed: Uint8Array,
  confirmationTag: Uint8Array,
): Uint8Array {
  return suite.hash(concat(confirmed, encode(interimInput, { confirmationTag })))
}
