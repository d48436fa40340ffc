/**
 * Single algorithms on an engine's WebCrypto, each in the form that the `Crypto` port and the KEMs
 * take. Owns the mapping of raw keys to what engines import; owns no choice of when an engine is to
 * be trusted with one (see `webcrypto.ts`), so everything here may reject.
 *
 * Private keys are imported for each use: that costs some 40 µs, and no engine keeps a key behind
 * bytes that were wiped. Imported public keys are kept, since verifying is frequent.
 */
import { assert } from '#core/base/assert.ts'
import { concat, fromHex, toHex, wipe } from '#core/base/bytes.ts'
import type { SignedBytes } from '#core/crypto/crypto.ts'
import { ecdsaFromDer } from '#core/crypto/ecdsa-der.ts'
import { ed25519Canonical } from '#core/crypto/ed25519-encoding.ts'
import type { DiffieHellman, MlKem } from '#core/crypto/kem.ts'

/** A key that the engine holds. */
type Key = { readonly type: string }
type Algorithm = string | Readonly<Record<string, unknown>>

/**
 * The part of `SubtleCrypto` that is used, with the formats that type libraries do not know yet.
 */
export interface Engine {
  importKey(
    format: string,
    key: Uint8Array,
    algorithm: Algorithm,
    extractable: boolean,
    usages: readonly string[],
  ): Promise<Key>
  exportKey(format: string, key: Key): Promise<ArrayBuffer>
  getPublicKey(key: Key, usages: readonly string[]): Promise<Key>
  sign(algorithm: Algorithm, key: Key, content: Uint8Array): Promise<ArrayBuffer>
  verify(
    algorithm: Algorithm,
    key: Key,
    signature: Uint8Array,
    content: Uint8Array,
  ): Promise<boolean>
  deriveBits(algorithm: Algorithm, key: Key, length: number): Promise<ArrayBuffer>
  decapsulateBits(algorithm: Algorithm, key: Key, ciphertext: Uint8Array): Promise<ArrayBuffer>
}

/** Signing and verifying; rejects where the engine does. */
export interface EngineSignature {
  sign(secretKey: Uint8Array, content: Uint8Array): Promise<Uint8Array>
  verify(signed: SignedBytes): Promise<boolean>
}

/** ML-KEM without encapsulation: engines take no randomness, and ours is always an argument. */
export type EngineMlKem = Omit<MlKem, 'encapsulate'>

/** PKCS #8 around a raw private key: RFC 8410 for Curve25519, RFC 5915 without public key. */
const PKCS8_ED25519 = prefix('302e020100300506032b657004220420')
const PKCS8_X25519 = prefix('302e020100300506032b656e04220420')
const PKCS8_P384 = prefix(
  '304e020100301006072a8648ce3d020106052b81040022043730350201010430',
)
const ECDSA_SHA384 = { name: 'ECDSA', hash: 'SHA-384' }
const ECDSA_P384 = { name: 'ECDSA', namedCurve: 'P-384' }
const ECDH_P384 = { name: 'ECDH', namedCurve: 'P-384' }

const UNCOMPRESSED = 0x04
/** Imported public keys that one algorithm keeps; the oldest goes first. */
const CACHED_KEYS_MAX = 1_024

/** RFC 8032. Canonical input is checked here, since engines differ on it. */
export function engineEd25519(engine: Engine): EngineSignature {
  const publicKeys = createKeyCache((publicKey) =>
    engine.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
  )
  return {
    async sign(secretKey, content) {
      const key = await importPkcs8(engine, {
        prefix: PKCS8_ED25519,
        secretKey,
        algorithm: 'Ed25519',
        usage: 'sign',
      })
      return new Uint8Array(await engine.sign('Ed25519', key, content))
    },
    async verify({ publicKey, content, signature }) {
      if (!ed25519Canonical(publicKey, signature)) return false
      return await engine.verify('Ed25519', await publicKeys(publicKey), signature, content)
    },
  }
}

/** ECDSA with P-384 and SHA-384; signatures in DER outside, r || s inside. */
export function engineP384(engine: Engine): Pick<EngineSignature, 'verify'> {
  const publicKeys = createKeyCache((publicKey) =>
    engine.importKey('raw', publicKey, ECDSA_P384, false, ['verify'])
  )
  return {
    async verify({ publicKey, content, signature }) {
      const raw = ecdsaFromDer(signature)
      if (raw === null || publicKey[0] !== UNCOMPRESSED) return false
      return await engine.verify(ECDSA_SHA384, await publicKeys(publicKey), raw, content)
    },
  }
}

/** FIPS 204, empty context. The secret key is the seed. */
export function engineMlDsa65(engine: Engine): EngineSignature {
  return {
    async sign(secretKey, content) {
      const key = await engine.importKey('raw-seed', secretKey, 'ML-DSA-65', false, ['sign'])
      return new Uint8Array(await engine.sign('ML-DSA-65', key, content))
    },
    async verify({ publicKey, content, signature }) {
      const key = await engine.importKey('raw-public', publicKey, 'ML-DSA-65', false, ['verify'])
      return await engine.verify('ML-DSA-65', key, signature, content)
    },
  }
}

/** RFC 7748. */
export function engineX25519(engine: Engine): DiffieHellman {
  return engineGroup(engine, {
    prefix: PKCS8_X25519,
    importAs: 'X25519',
    deriveAs: 'X25519',
    secretBits: 256,
  })
}

/** ECDH with P-384; the secret is the x coordinate. */
export function engineEcdhP384(engine: Engine): DiffieHellman {
  const group = engineGroup(engine, {
    prefix: PKCS8_P384,
    importAs: ECDH_P384,
    deriveAs: 'ECDH',
    secretBits: 384,
  })
  return {
    publicKey: group.publicKey,
    async sharedSecret(secretKey, publicKey) {
      if (publicKey[0] !== UNCOMPRESSED) return null
      return await group.sharedSecret(secretKey, publicKey)
    },
  }
}

interface GroupOptions {
  readonly prefix: Uint8Array
  readonly importAs: Algorithm
  readonly deriveAs: string
  readonly secretBits: number
}

function engineGroup(engine: Engine, options: GroupOptions): DiffieHellman {
  const { importAs, deriveAs, secretBits } = options
  const importSecret = (secretKey: Uint8Array) =>
    importPkcs8(engine, {
      prefix: options.prefix,
      secretKey,
      algorithm: importAs,
      usage: 'deriveBits',
    })
  return {
    async publicKey(secretKey) {
      const key = await engine.getPublicKey(await importSecret(secretKey), [])
      return new Uint8Array(await engine.exportKey('raw', key))
    },
    async sharedSecret(secretKey, publicKey) {
      const peer = await engine.importKey('raw', publicKey, importAs, false, [])
      const key = await importSecret(secretKey)
      const bits = await engine.deriveBits({ name: deriveAs, public: peer }, key, secretBits)
      return new Uint8Array(bits)
    },
  }
}

/** FIPS 203 with the 64-byte seed. */
export function engineMlKem(engine: Engine, name: 'ML-KEM-768' | 'ML-KEM-1024'): EngineMlKem {
  const importSeed = (seed: Uint8Array) =>
    engine.importKey('raw-seed', seed, name, false, ['decapsulateBits'])
  return {
    async publicKey(seed) {
      const key = await engine.getPublicKey(await importSeed(seed), ['encapsulateBits'])
      return new Uint8Array(await engine.exportKey('raw-public', key))
    },
    async decapsulate(seed, ciphertext) {
      return new Uint8Array(
        await engine.decapsulateBits(name, await importSeed(seed), ciphertext),
      )
    },
  }
}

interface Pkcs8Options {
  readonly prefix: Uint8Array
  readonly secretKey: Uint8Array
  readonly algorithm: Algorithm
  readonly usage: string
}

async function importPkcs8(engine: Engine, options: Pkcs8Options): Promise<Key> {
  const { prefix, secretKey, algorithm, usage } = options
  const pkcs8 = concat(prefix, secretKey)
  try {
    return await engine.importKey('pkcs8', pkcs8, algorithm, false, [usage])
  } finally {
    wipe(pkcs8)
  }
}

/** Imported public keys by their bytes; a key that does not import is not remembered. */
function createKeyCache(
  importKey: (publicKey: Uint8Array) => Promise<Key>,
): (publicKey: Uint8Array) => Promise<Key> {
  const keys = new Map<string, Key>()
  return async (publicKey) => {
    const name = toHex(publicKey)
    const cached = keys.get(name)
    if (cached !== undefined) return cached
    const key = await importKey(publicKey)
    for (const oldest of keys.keys()) {
      if (keys.size < CACHED_KEYS_MAX) break
      keys.delete(oldest)
    }
    keys.set(name, key)
    return key
  }
}

function prefix(hex: string): Uint8Array {
  const bytes = fromHex(hex)
  assert(bytes !== null, 'a constant is hex')
  return bytes
}
