/**
 * The `Crypto` port on an engine's WebCrypto, operation by operation where the engine has it, and
 * on another implementation where it has not. For engine worker, service worker and hub. Owns the
 * choice; the mapping of keys is in `webcrypto-algorithms.ts`, the trials in
 * `webcrypto-detection.ts`.
 *
 * Results are those of the other implementation, except that engines sign ML-DSA with randomness of
 * their own. Two rules keep it so: an operation is used only after a known answer,
 * and what an engine throws is never a verdict: then the other implementation decides.
 *
 * Hash, HMAC, HKDF and AEAD are synchronous in the port and stay where they are. So does
 * encapsulation in ML-KEM, since engines take no randomness as an argument, and signing with P-384,
 * in which engines are slower. Keys of P-384 that come often are verified under with tables.
 */
import { assert } from '#core/base/assert.ts'
import type { Crypto, SignatureName, SignedBytes } from '#core/crypto/crypto.ts'
import { createKems, type DiffieHellman, type MlKem } from '#core/crypto/kem.ts'
import { createPreparedP384, noblePrimitives } from '#core/crypto/noble.ts'
import { SIGNATURE_LENGTHS } from '#core/crypto/suites.ts'
import * as algorithms from '#native/webcrypto-algorithms.ts'
import { createDetection, type Detection } from '#native/webcrypto-detection.ts'
import { ENGINE_OPERATIONS, type EngineOperation } from '#native/webcrypto-detection.ts'

export { ENGINE_OPERATIONS, type EngineOperation } from '#native/webcrypto-detection.ts'

/** Tries everything and says which operations the engine gets right. Never rejects. */
export async function detectEngine(
  subtle: SubtleCrypto,
  fallback: Crypto,
): Promise<ReadonlySet<EngineOperation>> {
  const detected = detection(subtle as unknown as algorithms.Engine, fallback)
  const verdicts = await Promise.all(ENGINE_OPERATIONS.map(detected))
  return new Set(ENGINE_OPERATIONS.filter((_, index) => verdicts[index]))
}

/**
 * Creates the implementation. An operation is tried when it is first used, since the trials of all
 * cost some 80 ms; Ed25519, which every host needs at once, is tried here. Never rejects.
 */
export async function createWebCrypto(subtle: SubtleCrypto, fallback: Crypto): Promise<Crypto> {
  const engine = subtle as unknown as algorithms.Engine
  const choice = { detected: detection(engine, fallback), fallback }
  await Promise.all([choice.detected('ed25519.sign'), choice.detected('ed25519.verify')])
  return {
    hash: (hash, content) => fallback.hash(hash, content),
    hmac: (hash, key, content) => fallback.hmac(hash, key, content),
    hkdfExtract: (hash, salt, ikm) => fallback.hkdfExtract(hash, salt, ikm),
    hkdfExpand: (hash, prk, info, length) => fallback.hkdfExpand(hash, prk, info, length),
    aeadSeal: (aead, keyed, plaintext) => fallback.aeadSeal(aead, keyed, plaintext),
    aeadOpen: (aead, keyed, ciphertext) => fallback.aeadOpen(aead, keyed, ciphertext),
    signatureKeyPair: (signature, seed) => fallback.signatureKeyPair(signature, seed),
    ...engineSignatures(engine, choice),
    ...engineKems(engine, choice),
  }
}

interface Choice {
  readonly detected: Detection
  readonly fallback: Crypto
}

function detection(engine: algorithms.Engine, fallback: Crypto): Detection {
  const { mlkem768, mlkem1024 } = noblePrimitives
  return createDetection(engine, { crypto: fallback, mlkem768, mlkem1024 })
}

/** What the engine gives, or what `decide` says when it throws. */
async function settle<T>(attempt: () => Promise<T>, decide: () => Promise<T>): Promise<T> {
  try {
    return await attempt()
  } catch {
    return await decide()
  }
}

function engineSignatures(
  engine: algorithms.Engine,
  { detected, fallback }: Choice,
): Pick<Crypto, 'sign' | 'verify'> {
  const prepared = createPreparedP384()
  const p384 = algorithms.engineP384(engine)
  const ed25519 = algorithms.engineEd25519(engine)
  const mldsa65 = algorithms.engineMlDsa65(engine)
  const verifiers = { ed25519, p384, mldsa65 }
  return {
    async sign(name, secretKey, content) {
      const { secretKey: length } = SIGNATURE_LENGTHS[name]
      assert(secretKey.length === length, 'a secret key has its length')
      const byFallback = () => fallback.sign(name, secretKey, content)
      if (name === 'p384' || !await detected(`${name}.sign`)) return byFallback()
      const signer = name === 'ed25519' ? ed25519 : mldsa65
      return settle(() => signer.sign(secretKey, content), byFallback)
    },
    async verify(name, signed) {
      if (!plausible(name, signed)) return false
      const byFallback = () => fallback.verify(name, signed)
      if (!await detected(`${name}.verify`)) return byFallback()
      const verified = name === 'p384' ? prepared(signed) : null
      return verified ?? settle(() => verifiers[name].verify(signed), byFallback)
    },
  }
}

function plausible(name: SignatureName, { publicKey, signature }: SignedBytes): boolean {
  const lengths = SIGNATURE_LENGTHS[name]
  return publicKey.length === lengths.publicKey && signature.length >= lengths.signatureMin &&
    signature.length <= lengths.signatureMax
}

function engineKems(engine: algorithms.Engine, { detected, fallback }: Choice) {
  const { x25519, p384, mlkem768, mlkem1024 } = noblePrimitives
  /** The engine's answer where it has the operation, and `decide`'s otherwise. */
  const use =
    (operation: EngineOperation) =>
    async <T>(attempt: () => Promise<T>, decide: () => Promise<T>): Promise<T> =>
      await detected(operation) ? settle(attempt, decide) : decide()
  const kem768 = algorithms.engineMlKem(engine, 'ML-KEM-768')
  const kem1024 = algorithms.engineMlKem(engine, 'ML-KEM-1024')
  return createKems({
    ...noblePrimitives,
    hkdf: fallback,
    x25519: eitherGroup(use('x25519'), algorithms.engineX25519(engine), x25519),
    p384: eitherGroup(use('ecdhP384'), algorithms.engineEcdhP384(engine), p384),
    mlkem768: eitherMlKem(use('mlkem768'), kem768, mlkem768),
    mlkem1024: eitherMlKem(use('mlkem1024'), kem1024, mlkem1024),
  })
}

type Use = <T>(attempt: () => Promise<T>, decide: () => Promise<T>) => Promise<T>

function eitherGroup(use: Use, own: DiffieHellman, other: DiffieHellman): DiffieHellman {
  return {
    publicKey: (secretKey) => use(() => own.publicKey(secretKey), () => other.publicKey(secretKey)),
    sharedSecret: (secretKey, publicKey) =>
      use(
        () => own.sharedSecret(secretKey, publicKey),
        () => other.sharedSecret(secretKey, publicKey),
      ),
  }
}

function eitherMlKem(use: Use, own: algorithms.EngineMlKem, other: MlKem): MlKem {
  return {
    publicKey: (seed) => use(() => own.publicKey(seed), () => other.publicKey(seed)),
    encapsulate: (publicKey, randomness) => other.encapsulate(publicKey, randomness),
    decapsulate: (seed, ciphertext) =>
      use(() => own.decapsulate(seed, ciphertext), () => other.decapsulate(seed, ciphertext)),
  }
}
