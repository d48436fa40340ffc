/**
 * The `Crypto` port. Hashes, HMAC, HKDF and AEADs are synchronous, since they run on small inputs;
 * signatures and KEMs are awaited, since engines offer them asynchronously. Randomness is always
 * an argument. Implementations: `crypto/noble.ts` everywhere, `native/webcrypto.ts` over it.
 */

export type HashName = 'sha256' | 'sha384' | 'sha512'
export type AeadName = 'aes128gcm' | 'aes256gcm' | 'chacha20poly1305' | 'xchacha20poly1305'
export type SignatureName = 'ed25519' | 'p384' | 'mldsa65'
/** `x25519` is DHKEM(X25519, HKDF-SHA256); the hybrids are X-Wing and MLKEM1024-P384. */
export type KemName = 'x25519' | 'xwing' | 'mlkem1024p384'

/** Secret and public half, raw encodings; `secretKey` is the caller's to wipe. */
export interface KeyPair {
  readonly secretKey: Uint8Array
  readonly publicKey: Uint8Array
}

export interface AeadKeyed {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
}

export interface Encapsulation {
  readonly enc: Uint8Array
  readonly sharedSecret: Uint8Array
}

/**
 * Lengths in bytes are those of the registries; wrong lengths of own keys are assertion failures.
 */
export interface Crypto {
  hash(hash: HashName, content: Uint8Array): Uint8Array
  hmac(hash: HashName, key: Uint8Array, content: Uint8Array): Uint8Array
  hkdfExtract(hash: HashName, salt: Uint8Array, ikm: Uint8Array): Uint8Array
  hkdfExpand(hash: HashName, prk: Uint8Array, info: Uint8Array, length: number): Uint8Array
  /** Returns ciphertext with the tag (16 bytes) at its end. */
  aeadSeal(aead: AeadName, keyed: AeadKeyed, plaintext: Uint8Array): Uint8Array
  /** Null when the tag does not verify or the input is too short. */
  aeadOpen(aead: AeadName, keyed: AeadKeyed, ciphertext: Uint8Array): Uint8Array | null

  /** Derives a signature key pair from a seed (ed25519 32, p384 72, mldsa65 32 bytes). */
  signatureKeyPair(signature: SignatureName, seed: Uint8Array): KeyPair
  sign(signature: SignatureName, secretKey: Uint8Array, content: Uint8Array): Promise<Uint8Array>
  /** False for any malformed key or signature; never rejects for outside input. */
  verify(signature: SignatureName, signed: SignedBytes): Promise<boolean>

  /** RFC 9180 DeriveKeyPair / draft-ietf-hpke-pq, from input keying material. */
  kemKeyPair(kem: KemName, ikm: Uint8Array): Promise<KeyPair>
  /** Null for a malformed public key. `randomness` has `kemRandomnessLength(kem)` bytes. */
  encapsulate(
    kem: KemName,
    publicKey: Uint8Array,
    randomness: Uint8Array,
  ): Promise<Encapsulation | null>
  /** Null for a malformed encapsulation. */
  decapsulate(kem: KemName, secretKey: Uint8Array, enc: Uint8Array): Promise<Uint8Array | null>
}

export interface SignedBytes {
  readonly publicKey: Uint8Array
  readonly content: Uint8Array
  readonly signature: Uint8Array
}

export const SIGNATURE_SEED_LENGTH: Readonly<Record<SignatureName, number>> = {
  ed25519: 32,
  p384: 72,
  mldsa65: 32,
}
