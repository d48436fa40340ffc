/**
 * Signed heads (LOG-3): the hub's word, once and for all, on what stands at a position. Owns what
 * is signed and its check; when a head is due is the gateway's.
 */
import type { HubDomain, RoomId } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { BODIES, type Body, hubDomainCodec } from '#core/wire/bodies.ts'
import { encode, fixed, struct } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

export type Head = Body<'head'>

const headContent = struct({
  format: format('head'),
  hubDomain: hubDomainCodec,
  room: fixed(32),
  head: BODIES.head[1],
})
const UNSIGNED = new Uint8Array(64)

export interface HeadPlace {
  readonly hubDomain: HubDomain
  readonly room: RoomId
}

function headBytes(place: HeadPlace, head: Omit<Head, 'signature'>): Uint8Array {
  return encode(headContent, {
    format: STRUCTURE_VERSION,
    ...place,
    head: { ...head, signature: UNSIGNED },
  })
}

/** Signs a head with the hub's Ed25519 key (LOG-3). */
export async function signHead(
  crypto: Crypto,
  said: HeadPlace & { readonly head: Omit<Head, 'signature'> },
  hubSecret: Uint8Array,
): Promise<Head> {
  const { head, hubDomain, room } = said
  const signature = await signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: hubSecret,
    label: LABELS.head,
    content: headBytes({ hubDomain, room }, head),
  })
  return { ...head, signature }
}

/** True when the head is signed by this hub key for this hub and room (LOG-3). */
export function verifyHead(
  crypto: Crypto,
  said: HeadPlace & { readonly head: Head },
  hubKey: Uint8Array,
): Promise<boolean> {
  const { head, hubDomain, room } = said
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey: hubKey,
    label: LABELS.head,
    content: headBytes({ hubDomain, room }, head),
    signature: head.signature,
  })
}
