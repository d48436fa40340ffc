/**
 * What an engine's WebCrypto can do, found out by trying: each operation has to give a known answer
 * before it is used. Owns the known answers; owns no mapping of keys (see
 * `webcrypto-algorithms.ts`). Engines reject what they do not know with errors of every kind, so
 * whatever is thrown means no.
 */
import { assert } from '#core/base/assert.ts'
import { concat, equalBytes, fromHex, toHex, utf8Encode } from '#core/base/bytes.ts'
import type { Crypto, SignedBytes } from '#core/crypto/crypto.ts'
import { ecdsaToDer } from '#core/crypto/ecdsa-der.ts'
import type { DiffieHellman, MlKem } from '#core/crypto/kem.ts'
import * as algorithms from '#native/webcrypto-algorithms.ts'

export const ENGINE_OPERATIONS = [
  'ed25519.sign',
  'ed25519.verify',
  'p384.verify',
  'mldsa65.sign',
  'mldsa65.verify',
  'x25519',
  'ecdhP384',
  'mlkem768',
  'mlkem1024',
] as const
export type EngineOperation = (typeof ENGINE_OPERATIONS)[number]

/** What the answers are compared with. */
export interface Reference {
  readonly crypto: Crypto
  readonly mlkem768: MlKem
  readonly mlkem1024: MlKem
}

/** Whether an operation may be used. The first question tries it, the others remember. */
export type Detection = (operation: EngineOperation) => Promise<boolean>

/** Creates the detection; nothing is tried before it is asked for. Answers never reject. */
export function createDetection(engine: algorithms.Engine, reference: Reference): Detection {
  const probes = createProbes(engine, reference)
  const answers = new Map<EngineOperation, Promise<boolean>>()
  return (operation) => {
    const known = answers.get(operation)
    if (known !== undefined) return known
    // Whatever is thrown means that the engine does not have it.
    const answer = probes[operation]().catch(() => false)
    answers.set(operation, answer)
    return answer
  }
}

function createProbes(
  engine: algorithms.Engine,
  reference: Reference,
): Readonly<Record<EngineOperation, () => Promise<boolean>>> {
  const { crypto } = reference
  const ed25519 = algorithms.engineEd25519(engine)
  const p384 = algorithms.engineP384(engine)
  const mldsa65 = algorithms.engineMlDsa65(engine)
  const mlkem768 = algorithms.engineMlKem(engine, 'ML-KEM-768')
  const mlkem1024 = algorithms.engineMlKem(engine, 'ML-KEM-1024')
  return {
    'ed25519.sign': async () =>
      toHex(await ed25519.sign(filled(32, 7), CONTENT)) === toHex(ED25519.signature),
    'ed25519.verify': async () =>
      await tellsApart(ed25519, { ...ED25519, content: CONTENT }) &&
      !await ed25519.verify({ ...ED25519_WITH_COFACTOR, content: CONTENT }),
    'p384.verify': async () => await tellsApart(p384, { ...P384, content: CONTENT }),
    'mldsa65.sign': async () => await signsMlDsa(engine, reference),
    'mldsa65.verify': async () => {
      const { publicKey, secretKey } = crypto.signatureKeyPair('mldsa65', filled(32, 7))
      const signature = await crypto.sign('mldsa65', secretKey, CONTENT)
      return tellsApart(mldsa65, { publicKey, content: CONTENT, signature })
    },
    x25519: async () => await agrees(algorithms.engineX25519(engine), X25519),
    ecdhP384: async () => await agrees(algorithms.engineEcdhP384(engine), ECDH_P384),
    mlkem768: async () =>
      await decapsulates({ own: mlkem768, other: reference.mlkem768, ciphertext: 1_088 }),
    mlkem1024: async () =>
      await decapsulates({ own: mlkem1024, other: reference.mlkem1024, ciphertext: 1_568 }),
  }
}

/** Accepts the signature, and not for other content. */
async function tellsApart(
  signature: Pick<algorithms.EngineSignature, 'verify'>,
  signed: SignedBytes,
): Promise<boolean> {
  const other = concat(signed.content, Uint8Array.of(0))
  return await signature.verify(signed) && !await signature.verify({ ...signed, content: other })
}

/** The engine may sign with randomness of its own, so its signature is checked by the reference. */
async function signsMlDsa(engine: algorithms.Engine, { crypto }: Reference): Promise<boolean> {
  const { publicKey, secretKey } = crypto.signatureKeyPair('mldsa65', filled(32, 7))
  const signature = await algorithms.engineMlDsa65(engine).sign(secretKey, CONTENT)
  return crypto.verify('mldsa65', { publicKey, content: CONTENT, signature })
}

interface KnownAgreement {
  readonly secretKey: Uint8Array
  readonly publicKey: Uint8Array
  readonly peer: Uint8Array
  readonly sharedSecret: Uint8Array
}

async function agrees(group: DiffieHellman, known: KnownAgreement): Promise<boolean> {
  const publicKey = await group.publicKey(known.secretKey)
  const sharedSecret = await group.sharedSecret(known.secretKey, known.peer)
  return equalBytes(publicKey, known.publicKey) && sharedSecret !== null &&
    equalBytes(sharedSecret, known.sharedSecret)
}

/** Gives the reference's answers, for its own encapsulation and for one that is to be rejected. */
async function decapsulates(
  kems: {
    readonly own: algorithms.EngineMlKem
    readonly other: MlKem
    /** Bytes of a ciphertext. */
    readonly ciphertext: number
  },
): Promise<boolean> {
  const { own, other } = kems
  const seed = filled(64, 3)
  const publicKey = await own.publicKey(seed)
  const encapsulation = await other.encapsulate(publicKey, filled(32, 4))
  if (encapsulation === null || !equalBytes(publicKey, await other.publicKey(seed))) return false
  const rejected = filled(kems.ciphertext, 0x5a)
  return equalBytes(await own.decapsulate(seed, encapsulation.enc), encapsulation.sharedSecret) &&
    equalBytes(await own.decapsulate(seed, rejected), await other.decapsulate(seed, rejected))
}

function filled(length: number, byte: number): Uint8Array {
  return new Uint8Array(length).fill(byte)
}

function constant(...parts: string[]): Uint8Array {
  const bytes = fromHex(parts.join(''))
  assert(bytes !== null, 'a constant is hex')
  return bytes
}

const CONTENT = utf8Encode('Kalandra')

/** Key and signature of the seed 07..07 over `CONTENT`. */
const ED25519 = {
  publicKey: constant('ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c'),
  signature: constant(
    '386c96769c7ad22db5fd1c86277a4593041679ff734bed462ec1cb1197e3d8fb',
    'de45f11fd6982f8b60658f89dc9f6485ecc64bd612c2b7496f4585701d45af0e',
  ),
}

/**
 * R has a part of order 8: valid where the equation is multiplied by the cofactor, nowhere else.
 */
const ED25519_WITH_COFACTOR = {
  publicKey: constant('62244e218f4deae680de9a6832ab808cbda6da6451c5caae6be7eca4d466b5d9'),
  signature: constant(
    '055d3067657e15526df39cd85ea81d5469b34db9d1cff8ee5a1bb6710b7cecbd',
    '362772ce72a84f2d57b107ed18598410f5c29e50f76f3bbc98c10df460e1950b',
  ),
}

const P384 = {
  publicKey: constant(
    '04c2cb82eb707582b9fcf6a9ec27ff2a57d2759d643f6f6f84adb48aeca2363a25',
    '0213b934b84f341f82e1d5746f4b1fe9f72b75d4296fff883413d9dcd5955b7c',
    '2109ccb92b521da3818a6dc888a773e8e9699a08328cfab91bfd55ac870c54df',
  ),
  signature: ecdsaToDer(constant(
    '3ae330629854a8cc163fb72b405a7b78b32cc0c304fad6ab',
    '90068f5bdf3595791729b3b7d3beea224d672c55d8ba26e7',
    '4a1b3f04ebff8ca776154e62503844c1844d846d440c2dab',
    '8ed54e8a22acf413e832cadd0c0089d9baad09cd130bc5cf',
  )),
}

const X25519: KnownAgreement = {
  secretKey: filled(32, 7),
  publicKey: constant('13be4feaeaf204c7fd3358fc9c00721881d174278128227ec674f37f7fe97b6d'),
  peer: constant('57db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d421'),
  sharedSecret: constant('2ffe325b2a26611bf1911325d4a62b33749b8f350d0e88ba91e316acaae66554'),
}

const ECDH_P384: KnownAgreement = {
  secretKey: filled(48, 5),
  publicKey: constant(
    '04f141908679f1e0c1e995e18ca55a353aef6489db7939b15895b4af0744a34060',
    'd266a2f9621a734956e7a126f4626b3b5965c0f6dcf1ffe68ff947604c0e8292',
    '1bb3b4e4b99b580a4500c78844d43837bf3d2bd993bbd1510114c220e810d693',
  ),
  peer: P384.publicKey,
  sharedSecret: constant(
    '986ca1c12b3c495d0b6d572e4ff400bb37ff02fd29df36142b',
    'd092b2ef8e20efaeea6d2fc11d263e1b490ede1badc206',
  ),
}
