/**
 * LeafNode (RFC 9420 section 7.2): encoding, what its signature covers, making and verifying that
 * signature. Owns no rule about a leaf within a tree (see `leaf-validation.ts`).
 */
import { LIMITS } from '#core/base/limits.ts'
import { type CipherSuite } from '#core/mls/cipher-suite.ts'
import { type Credential, credential } from '#core/mls/credential.ts'
import { type Extension, extensions } from '#core/mls/extension.ts'
import { signWithLabel, verifyWithLabel } from '#core/mls/labelled.ts'
import {
  type Codec,
  decode,
  encode,
  opaque,
  struct,
  type StructOf,
  u16,
  u64,
  vector,
  type Writer,
} from '#core/wire/codec.ts'

const types = vector(u16, LIMITS.mlsCapabilitiesMax)
const capabilitiesFields = {
  versions: types,
  cipherSuites: types,
  extensions: types,
  proposals: types,
  credentials: types,
}
export const capabilities = struct(capabilitiesFields)
export type Capabilities = StructOf<typeof capabilitiesFields>

const lifetimeFields = { notBefore: u64, notAfter: u64 }
const lifetime = struct(lifetimeFields)
/** Seconds since 1970-01-01T00:00:00Z. */
export type Lifetime = StructOf<typeof lifetimeFields>

/** RFC 9420 section 7.2. */
export const LEAF_NODE_SOURCE = { keyPackage: 1, update: 2, commit: 3 } as const

export type LeafNodeSource =
  | { readonly kind: 'keyPackage'; readonly lifetime: Lifetime }
  | { readonly kind: 'update' }
  | { readonly kind: 'commit'; readonly parentHash: Uint8Array }

/** A leaf before it is signed. */
export interface LeafNodeContent {
  readonly encryptionKey: Uint8Array
  readonly signatureKey: Uint8Array
  readonly credential: Credential
  readonly capabilities: Capabilities
  readonly source: LeafNodeSource
  readonly extensions: readonly Extension[]
}

export interface LeafNode extends LeafNodeContent {
  readonly signature: Uint8Array
}

const key = opaque(LIMITS.mlsKeySizeMax)
const hash = opaque(255)

const source: Codec<LeafNodeSource> = {
  encode(w, value) {
    w.u8(LEAF_NODE_SOURCE[value.kind])
    if (value.kind === 'keyPackage') lifetime.encode(w, value.lifetime)
    if (value.kind === 'commit') hash.encode(w, value.parentHash)
  },
  decode(r) {
    const kind = r.u8()
    if (kind === LEAF_NODE_SOURCE.keyPackage) {
      return { kind: 'keyPackage', lifetime: lifetime.decode(r) }
    }
    if (kind === LEAF_NODE_SOURCE.update) return { kind: 'update' }
    if (kind !== LEAF_NODE_SOURCE.commit) r.refuse('badValue')
    return { kind: 'commit', parentHash: hash.decode(r) }
  },
}

const contentFields = {
  encryptionKey: key,
  signatureKey: key,
  credential,
  capabilities,
  source,
  extensions,
}
const content: Codec<LeafNodeContent> = struct(contentFields)
export const leafNode: Codec<LeafNode> = struct({ ...contentFields, signature: key })

/** Where a leaf stands; part of what is signed, but for a leaf in a KeyPackage. */
export interface LeafPlace {
  readonly groupId: Uint8Array
  readonly leaf: number
}

/** LeafNodeTBS. `place` is null for a leaf in a KeyPackage, whose place is not known. */
const leafNodeTbs = {
  encode(w: Writer, value: { readonly leaf: LeafNodeContent; readonly place: LeafPlace | null }) {
    content.encode(w, value.leaf)
    if (value.place === null) return
    hash.encode(w, value.place.groupId)
    w.u32(value.place.leaf)
  },
  decode: () => {
    throw new Error('a TBS structure is never read')
  },
}

function signedPart(leaf: LeafNodeContent, place: LeafPlace | null): Uint8Array {
  return encode(leafNodeTbs, { leaf, place: leaf.source.kind === 'keyPackage' ? null : place })
}

export async function signLeafNode(
  suite: CipherSuite,
  leaf: LeafNodeContent,
  signing: { readonly signatureSecret: Uint8Array; readonly place: LeafPlace | null },
): Promise<LeafNode> {
  const signed = { label: 'LeafNodeTBS', content: signedPart(leaf, signing.place) } as const
  const signature = await signWithLabel(suite, signing.signatureSecret, signed)
  return { ...leaf, signature }
}

/** Whether the leaf's own key signed it, at this place where the source binds it to one. */
export function verifyLeafNode(
  suite: CipherSuite,
  leaf: LeafNode,
  place: LeafPlace,
): Promise<boolean> {
  return verifyWithLabel(suite, {
    publicKey: leaf.signatureKey,
    label: 'LeafNodeTBS',
    content: signedPart(leaf, place),
    signature: leaf.signature,
  })
}

/** A leaf whose fields are views of one buffer of its own, so that it keeps no message alive. */
export function ownedLeafNode(leaf: LeafNode): LeafNode {
  const decoded = decode(leafNode, encode(leafNode, leaf))
  return decoded.kind === 'decoded' ? decoded.value : leaf
}
