/**
 * The fixed list of what is exported from an epoch (KEY-1). Owns labels and context; the exporter
 * itself is MLS's. Each use has a root of its own.
 */
import type { EpochId, RoomId } from '#core/base/ids.ts'
import type { Suite } from '#core/crypto/suites.ts'
import { encode, fixed, opaque, struct, u16 } from '#core/wire/codec.ts'

export const EPOCH_EXPORTS = {
  dataPlane: 'kalandraSenderKeyV1',
  ephemeral: 'kalandraEphemeralV1',
} as const

const contextCodec = struct({ suite: u16, room: fixed(32), epochId: opaque(48, 32) })

/** Context of every export: suite, room and epochId (KEY-1). */
export function exportContext(suite: Suite, room: RoomId, epochId: EpochId): Uint8Array {
  return encode(contextCodec, { suite: suite.id, room, epochId })
}

/** Bytes of an exported root: the output length of the suite's KDF. */
export function exportLength(suite: Suite): number {
  return suite.hashLength
}
