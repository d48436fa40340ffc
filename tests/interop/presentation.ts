/**
 * The few structures that a test writes by itself, because a peer cannot or does it wrongly: the
 * presentation language of RFC 9420 section 2.1. Owns no cryptography and reads nothing.
 */
import type { OutsideSender } from './peer.ts'

const joined = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]))

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff)

/** `opaque value<V>` with the shortest length prefix (section 2.1.2), below 16 KiB. */
export function opaque(value: Uint8Array): Uint8Array {
  const { length } = value
  if (length >= 0x4000) throw new RangeError('longer than a test needs')
  return joined(length < 0x40 ? Uint8Array.of(length) : u16(0x4000 | length), value)
}

/** Wire formats of an MLSMessage (section 17.2) that a test opens. */
export const WIRE_FORMATS = { publicMessage: 1, welcome: 3, groupInfo: 4, keyPackage: 5 } as const

type WireFormat = (typeof WIRE_FORMATS)[keyof typeof WIRE_FORMATS]

/** A structure as an MLSMessage of version mls10 (section 6). */
export function asMessage(format: WireFormat, structure: Uint8Array): Uint8Array {
  return joined(u16(1), u16(format), structure)
}

/** The structure within an MLSMessage. */
export function within(format: WireFormat, message: Uint8Array): Uint8Array {
  const [high, low, formatHigh, formatLow] = message
  if (high !== 0 || low !== 1 || formatHigh !== 0 || formatLow !== format) {
    throw new TypeError(`not of wire format ${format}`)
  }
  return message.slice(4)
}

/** `struct { SignaturePublicKey; Credential } ExternalSender` (section 12.1.8.1). */
export function externalSender({ signatureKey, identity }: OutsideSender): Uint8Array {
  return joined(opaque(signatureKey), u16(1), opaque(identity))
}

/** The content of `external_senders`: `ExternalSender external_senders<V>`. */
export function externalSenders(senders: readonly OutsideSender[]): Uint8Array {
  return opaque(joined(...senders.map(externalSender)))
}
