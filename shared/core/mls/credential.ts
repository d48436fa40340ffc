/**
 * Credentials (RFC 9420 section 5.3). Owns their encoding; what an identity means is decided by the
 * authentication service, which for us is `identity/`.
 */
import { LIMITS } from '#core/base/limits.ts'
import { type Codec, opaque, vector } from '#core/wire/codec.ts'

/** RFC 9420 section 17.5. */
export const CREDENTIAL_TYPE = { basic: 1, x509: 2 } as const
export type CredentialType = typeof CREDENTIAL_TYPE[keyof typeof CREDENTIAL_TYPE]

export type Credential =
  | { readonly kind: 'basic'; readonly identity: Uint8Array }
  /** Certificates in DER, the leaf's first. Carried, never interpreted. */
  | { readonly kind: 'x509'; readonly certificates: readonly Uint8Array[] }

const identity = opaque(LIMITS.mlsIdentitySizeMax)
const certificates = vector(opaque(LIMITS.mlsIdentitySizeMax), 64)

export const credential: Codec<Credential> = {
  encode(w, value) {
    w.u16(CREDENTIAL_TYPE[value.kind])
    if (value.kind === 'basic') identity.encode(w, value.identity)
    else certificates.encode(w, value.certificates)
  },
  decode(r) {
    const type = r.u16()
    if (type === CREDENTIAL_TYPE.basic) return { kind: 'basic', identity: identity.decode(r) }
    if (type !== CREDENTIAL_TYPE.x509) r.refuse('badValue')
    return { kind: 'x509', certificates: certificates.decode(r) }
  },
}

export function credentialType(value: Credential): CredentialType {
  return CREDENTIAL_TYPE[value.kind]
}
