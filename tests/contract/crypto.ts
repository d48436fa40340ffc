/**
 * The contract of the `Crypto` port, as cases that run on any implementation and in any host: they
 * use nothing of Deno. Every result is compared with a reference implementation, so two
 * implementations that pass agree with one another, on hostile input above all.
 */
import { assert } from '#core/base/assert.ts'
import { concat, equalBytes, fromHex, utf8Encode } from '#core/base/bytes.ts'
import type { AeadName, Crypto, HashName, KemName, SignatureName } from '#core/crypto/crypto.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { ecdsaFromDer, ecdsaToDer } from '#core/crypto/ecdsa-der.ts'
import { AEAD_LENGTHS, HASH_LENGTHS, KEM_LENGTHS } from '#core/crypto/suites.ts'
import { SIGNATURE_LENGTHS } from '#core/crypto/suites.ts'

export interface CryptoCase {
  readonly name: string
  run(): Promise<void>
}

const hashes = Object.keys(HASH_LENGTHS) as HashName[]
const aeads = Object.keys(AEAD_LENGTHS) as AeadName[]
const kems = Object.keys(KEM_LENGTHS) as KemName[]
const signatures = Object.keys(SIGNATURE_LENGTHS) as SignatureName[]
const content = utf8Encode('Kalandra')

/** All cases for one implementation. */
export function cryptoContract(crypto: Crypto, reference: Crypto): readonly CryptoCase[] {
  const cases: CryptoCase[] = [
    { name: 'hash, HMAC and HKDF', run: () => checkHashes(crypto, reference) },
    { name: 'Ed25519: hostile keys and signatures', run: () => checkEd25519(crypto) },
    {
      // The second time the key has been seen often, which may take another way.
      name: 'P-384: hostile keys and signatures, twice',
      run: async () => {
        await checkP384(crypto, reference)
        await checkP384(crypto, reference)
      },
    },
    { name: 'ML-DSA-65: hostile signatures', run: () => checkMlDsa(crypto, reference) },
    { name: 'X25519: points of small order', run: () => checkSmallOrderX25519(crypto) },
    { name: 'hybrids: hostile keys', run: () => checkHybrids(crypto, reference) },
  ]
  for (const aead of aeads) {
    cases.push({ name: `AEAD ${aead}`, run: () => checkAead(crypto, reference, aead) })
  }
  for (const name of signatures) {
    cases.push({ name: `signature ${name}`, run: () => checkSignature(crypto, reference, name) })
  }
  for (const kem of kems) {
    cases.push({ name: `KEM ${kem}`, run: () => checkKem(crypto, reference, kem) })
  }
  return cases
}

function filled(length: number, byte: number): Uint8Array {
  return new Uint8Array(length).fill(byte)
}

function hex(...parts: string[]): Uint8Array {
  const bytes = fromHex(parts.join(''))
  assert(bytes !== null, 'a constant is hex')
  return bytes
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7))
  return copy
}

function same(actual: Uint8Array | null, expected: Uint8Array | null, what: string): void {
  const equal = actual === null || expected === null
    ? actual === expected
    : equalBytes(actual, expected)
  assert(equal, what)
}

async function rejects(operation: () => Promise<unknown>, what: string): Promise<void> {
  let rejected = false
  try {
    await operation()
  } catch {
    rejected = true
  }
  assert(rejected, what)
}

function checkHashes(crypto: Crypto, reference: Crypto): Promise<void> {
  for (const hash of hashes) {
    for (const length of [0, 1, 63, 64, 65, 127, 128, 129, 1_000]) {
      const input = filled(length, length & 255)
      const digest = crypto.hash(hash, input)
      assert(digest.length === HASH_LENGTHS[hash], 'a digest has its length')
      same(digest, reference.hash(hash, input), hash)
      same(crypto.hmac(hash, input, content), reference.hmac(hash, input, content), 'HMAC')
      const prk = crypto.hkdfExtract(hash, input, content)
      same(prk, reference.hkdfExtract(hash, input, content), 'HKDF-Extract')
      const expanded = crypto.hkdfExpand(hash, prk, input, 100)
      same(expanded, reference.hkdfExpand(hash, prk, input, 100), 'HKDF-Expand')
    }
  }
  return Promise.resolve()
}

function checkAead(crypto: Crypto, reference: Crypto, aead: AeadName): Promise<void> {
  const lengths = AEAD_LENGTHS[aead]
  const keyed = { key: filled(lengths.key, 1), nonce: filled(lengths.nonce, 2), aad: content }
  for (const length of [0, 1, 15, 16, 17, 300, 4_096]) {
    const plaintext = filled(length, 3)
    const sealed = crypto.aeadSeal(aead, keyed, plaintext)
    assert(sealed.length === length + 16, 'the tag has 16 bytes')
    same(sealed, reference.aeadSeal(aead, keyed, plaintext), 'ciphertexts agree')
    same(crypto.aeadOpen(aead, keyed, sealed), plaintext, 'opens what it sealed')
    same(plaintext, filled(length, 3), 'the plaintext is untouched')
  }
  const sealed = crypto.aeadSeal(aead, keyed, content)
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    same(crypto.aeadOpen(aead, keyed, flipped(sealed, bit)), null, 'a changed bit')
  }
  for (let length = 0; length < sealed.length; length++) {
    same(crypto.aeadOpen(aead, keyed, sealed.subarray(0, length)), null, 'a cut ciphertext')
  }
  for (const field of ['key', 'nonce', 'aad'] as const) {
    const changed = { ...keyed, [field]: flipped(keyed[field], 0) }
    same(crypto.aeadOpen(aead, changed, sealed), null, `another ${field}`)
  }
  return Promise.resolve()
}

async function checkSignature(
  crypto: Crypto,
  reference: Crypto,
  name: SignatureName,
): Promise<void> {
  const seed = filled(SIGNATURE_SEED_LENGTH[name], 7)
  const { secretKey, publicKey } = crypto.signatureKeyPair(name, seed)
  const expected = reference.signatureKeyPair(name, seed)
  same(secretKey, expected.secretKey, 'secret keys agree')
  same(publicKey, expected.publicKey, 'public keys agree')
  const lengths = SIGNATURE_LENGTHS[name]
  assert(secretKey.length === lengths.secretKey, 'a secret key has its length')
  assert(publicKey.length === lengths.publicKey, 'a public key has its length')

  const kept = secretKey.slice()
  const signature = await crypto.sign(name, secretKey, content)
  same(secretKey, kept, 'the secret key is untouched')
  const signed = { publicKey, content, signature }
  for (const verifier of [crypto, reference]) {
    assert(await verifier.verify(name, signed), 'a signature verifies, here and there')
    assert(await verifier.verify(name, signed), 'and again')
  }
  const theirs = await reference.sign(name, secretKey, content)
  assert(await crypto.verify(name, { ...signed, signature: theirs }), 'and theirs here')
  await rejects(() => crypto.sign(name, secretKey.subarray(1), content), 'a short secret key')

  const stride = name === 'mldsa65' ? 401 : 5
  for (let bit = 0; bit < signature.length * 8; bit += stride) {
    const changed = { ...signed, signature: flipped(signature, bit) }
    assert(!await crypto.verify(name, changed), 'a changed bit of the signature')
  }
  for (let bit = 0; bit < publicKey.length * 8; bit += stride * 3) {
    const changed = { ...signed, publicKey: flipped(publicKey, bit) }
    assert(!await crypto.verify(name, changed), 'a changed bit of the key')
  }
  assert(!await crypto.verify(name, { ...signed, content: content.subarray(1) }), 'other content')
  for (const other of [new Uint8Array(0), signature.subarray(1), concat(signature, filled(1, 0))]) {
    assert(!await crypto.verify(name, { ...signed, signature: other }), 'another length')
  }
  for (const other of [new Uint8Array(0), publicKey.subarray(1), concat(publicKey, filled(1, 0))]) {
    assert(!await crypto.verify(name, { ...signed, publicKey: other }), 'another key length')
  }
}

const ORDER_25519 = 2n ** 252n + 27742317777372353535851937790883648493n

function fromLittleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

function toLittleEndian(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))
}

/** y coordinates of points whose order divides 8, canonical and not. */
const SMALL_ORDER_25519 = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]

/** Signatures over `content` whose points have a part of small order. */
const MIXED_ORDER = [
  {
    name: 'R of mixed order: valid only when multiplied by the cofactor',
    verifies: false,
    publicKey: hex('62244e218f4deae680de9a6832ab808cbda6da6451c5caae6be7eca4d466b5d9'),
    signature: hex(
      '055d3067657e15526df39cd85ea81d5469b34db9d1cff8ee5a1bb6710b7cecbd',
      '362772ce72a84f2d57b107ed18598410f5c29e50f76f3bbc98c10df460e1950b',
    ),
  },
  {
    name: 'key of mixed order that the challenge does not cancel',
    verifies: false,
    publicKey: hex('fb32078356948e3b66edd9628204b68175b9ee95717e3066ebea0c6ed0d33982'),
    signature: hex(
      '90fd82620079591503dac1a64af2233f4da513e13246ef93d146ba4b53b25c2d',
      'e72bc0acf19fceac69a610ec42ea84021d1e32cbdab4f0ca7121539c33811a03',
    ),
  },
  {
    name: 'key of mixed order that the challenge cancels',
    verifies: true,
    publicKey: hex('fb32078356948e3b66edd9628204b68175b9ee95717e3066ebea0c6ed0d33982'),
    signature: hex(
      'a6c0381cc655b64838b4b8b4f60b6f074a0ab8ffc7721699704bfd077262d1f3',
      '28b522065b83ec074f995c007245dbb38e724a5fa10aac8f922523222304b005',
    ),
  },
]

async function checkEd25519(crypto: Crypto): Promise<void> {
  const seed = filled(32, 9)
  const { secretKey, publicKey } = crypto.signatureKeyPair('ed25519', seed)
  const signature = await crypto.sign('ed25519', secretKey, content)
  const verify = (key: Uint8Array, signed: Uint8Array) =>
    crypto.verify('ed25519', { publicKey: key, content, signature: signed })
  const r = signature.subarray(0, 32)
  const s = fromLittleEndian(signature.subarray(32))
  for (let unreduced = s + ORDER_25519; unreduced < 2n ** 256n; unreduced += ORDER_25519) {
    assert(!await verify(publicKey, concat(r, toLittleEndian(unreduced))), 'a scalar above L')
  }
  for (const { name, verifies, publicKey: key, signature: mixed } of MIXED_ORDER) {
    assert(await verify(key, mixed) === verifies, name)
  }

  // With the scalar known, equations can be made to hold for points of small order.
  const clamped = crypto.hash('sha512', seed).subarray(0, 32)
  clamped[0] = (clamped[0] as number) & 248
  clamped[31] = ((clamped[31] as number) & 127) | 64
  const scalar = fromLittleEndian(clamped) % ORDER_25519
  for (const text of SMALL_ORDER_25519) {
    for (const sign of [0, 0x80]) {
      const small = hex(text)
      small[31] = (small[31] as number) | sign
      const asKey = concat(publicKey, toLittleEndian(scalar))
      assert(!await verify(small, asKey), 'a key of small order')
      const hash = crypto.hash('sha512', concat(small, publicKey, content))
      const challenge = fromLittleEndian(hash) % ORDER_25519
      const asR = concat(small, toLittleEndian((challenge * scalar) % ORDER_25519))
      assert(!await verify(publicKey, asR), 'an R of small order')
      assert(!await verify(small, concat(small, filled(32, 0))), 'all of small order')
    }
  }
  assert(await verify(publicKey, signature), 'and the honest one still verifies')
}

const ORDER_P384 = BigInt(
  '0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
)

async function checkP384(crypto: Crypto, reference: Crypto): Promise<void> {
  const { secretKey, publicKey } = crypto.signatureKeyPair('p384', filled(72, 9))
  const der = await crypto.sign('p384', secretKey, content)
  const raw = ecdsaFromDer(der)
  assert(raw !== null, 'a signature is canonical DER')
  const verify = (signature: Uint8Array, key = publicKey) =>
    crypto.verify('p384', { publicKey: key, content, signature })
  const scalar = (value: bigint) => hex(value.toString(16).padStart(96, '0'))
  const r = raw.subarray(0, 48)
  const s = BigInt(
    '0x' + Array.from(raw.subarray(48), (b) => b.toString(16).padStart(2, '0')).join(''),
  )
  assert(await verify(ecdsaToDer(concat(r, scalar(ORDER_P384 - s)))), 'the other s verifies')
  for (const [first, second] of [[scalar(0n), scalar(s)], [r, scalar(0n)]] as const) {
    assert(!await verify(ecdsaToDer(concat(first, second))), 'a scalar of zero')
  }
  assert(!await verify(ecdsaToDer(concat(r, scalar(ORDER_P384)))), 'a scalar of n')
  assert(!await verify(ecdsaToDer(filled(96, 0xff))), 'scalars above n')
  assert(!await verify(raw), 'r || s is not DER')

  const second = 4 + (der[3] as number)
  const [low, high] = s < ORDER_P384 - s ? [s, ORDER_P384 - s] : [ORDER_P384 - s, s]
  const withS = (...integer: Uint8Array[]) =>
    concat(
      hex('30'),
      filled(1, concat(...integer).length + second - 2),
      der.subarray(2, second),
      ...integer,
    )
  assert(await verify(withS(hex('0230'), scalar(low))), 'the frame of what follows is sound')
  const malformed = [
    withS(hex('023100'), scalar(low)),
    withS(hex('0230'), scalar(high)),
    withS(hex('02320000'), scalar(high)),
    withS(hex('028130'), scalar(low)),
    concat(hex('3081'), der.subarray(1)),
    concat(der, filled(1, 0)),
    concat(hex('31'), der.subarray(1)),
    concat(der.subarray(0, 2), hex('03'), der.subarray(3)),
    concat(hex('30'), filled(1, (der[1] as number) + 1), der.subarray(2, second), hex('00')),
    withS(hex('02810102')),
    withS(hex('0200')),
    withS(),
  ]
  for (const signature of malformed) assert(!await verify(signature), 'malformed DER')
  for (let length = 0; length < der.length; length++) {
    assert(!await verify(der.subarray(0, length)), 'truncated DER')
  }
  const x = publicKey.subarray(1, 49)
  const keys = [
    filled(97, 0),
    concat(hex('04'), filled(96, 0)),
    concat(hex('04'), filled(96, 0xff)),
    concat(hex('06'), publicKey.subarray(1)),
    concat(hex('07'), publicKey.subarray(1)),
    concat(hex('02'), publicKey.subarray(1)),
    concat(hex('04'), x, x),
    flipped(publicKey, 96 * 8),
  ]
  for (const key of keys) {
    for (const verifier of [crypto, reference]) {
      const signed = { publicKey: key, content, signature: der }
      assert(!await verifier.verify('p384', signed), 'a key that is no point')
    }
  }
}

async function checkMlDsa(crypto: Crypto, reference: Crypto): Promise<void> {
  const { secretKey, publicKey } = crypto.signatureKeyPair('mldsa65', filled(32, 9))
  const signature = await crypto.sign('mldsa65', secretKey, content)
  // The last 61 bytes are the hint (FIPS 204 algorithm 20), which has non-canonical forms.
  const hint = signature.length - 61
  const hostile = [
    concat(signature.subarray(0, hint), filled(61, 0xff)),
    concat(signature.subarray(0, hint), filled(61, 0)),
    concat(signature.subarray(0, signature.length - 1), filled(1, 55)),
    concat(signature.subarray(0, hint + 54), filled(1, 1), signature.subarray(hint + 55)),
    concat(
      signature.subarray(0, hint),
      signature.slice(hint, hint + 2).reverse(),
      signature.subarray(hint + 2),
    ),
    concat(signature.subarray(0, 48), filled(signature.length - 48, 0)),
    filled(signature.length, 0xff),
    filled(signature.length, 0),
  ]
  for (const changed of hostile) {
    if (equalBytes(changed, signature)) continue
    for (const verifier of [crypto, reference]) {
      const signed = { publicKey, content, signature: changed }
      assert(!await verifier.verify('mldsa65', signed), 'a hostile signature')
    }
  }
  for (const key of [filled(1_952, 0), filled(1_952, 0xff)]) {
    assert(!await crypto.verify('mldsa65', { publicKey: key, content, signature }), 'another key')
  }
}

async function checkKem(crypto: Crypto, reference: Crypto, kem: KemName): Promise<void> {
  const lengths = KEM_LENGTHS[kem]
  const pair = await crypto.kemKeyPair(kem, filled(32, 1))
  const expected = await reference.kemKeyPair(kem, filled(32, 1))
  same(pair.secretKey, expected.secretKey, 'secret keys agree')
  same(pair.publicKey, expected.publicKey, 'public keys agree')
  assert(pair.secretKey.length === lengths.secretKey, 'a secret key has its length')
  assert(pair.publicKey.length === lengths.publicKey, 'a public key has its length')

  const randomness = filled(lengths.randomness, 2)
  const sent = await crypto.encapsulate(kem, pair.publicKey, randomness)
  const theirs = await reference.encapsulate(kem, pair.publicKey, randomness)
  assert(sent !== null && theirs !== null, 'an encapsulation succeeds')
  same(sent.enc, theirs.enc, 'encapsulations agree')
  same(sent.sharedSecret, theirs.sharedSecret, 'shared secrets agree')
  same(randomness, filled(lengths.randomness, 2), 'the randomness is untouched')
  assert(sent.enc.length === lengths.enc, 'an encapsulation has its length')
  assert(sent.sharedSecret.length === lengths.sharedSecret, 'a shared secret has its length')

  const kept = pair.secretKey.slice()
  same(await crypto.decapsulate(kem, pair.secretKey, sent.enc), sent.sharedSecret, 'decapsulates')
  same(pair.secretKey, kept, 'the secret key is untouched')
  for (let bit = 0; bit < sent.enc.length * 8; bit += 1_009) {
    const changed = flipped(sent.enc, bit)
    const secret = await crypto.decapsulate(kem, pair.secretKey, changed)
    same(secret, await reference.decapsulate(kem, pair.secretKey, changed), 'a changed bit')
    assert(secret === null || !equalBytes(secret, sent.sharedSecret), 'gives another secret')
  }
  for (const other of [new Uint8Array(0), sent.enc.subarray(1), concat(sent.enc, filled(1, 0))]) {
    same(await crypto.decapsulate(kem, pair.secretKey, other), null, 'another length')
  }
  for (const other of [new Uint8Array(0), pair.publicKey.subarray(1)]) {
    assert(await crypto.encapsulate(kem, other, randomness) === null, 'another key length')
  }
  const short = pair.secretKey.subarray(1)
  await rejects(() => crypto.decapsulate(kem, short, sent.enc), 'a short secret key')
  const little = randomness.subarray(1)
  await rejects(() => crypto.encapsulate(kem, pair.publicKey, little), 'too little randomness')
}

/** u coordinates of the points whose order divides 8 (RFC 7748 section 6.1), unreduced ones too. */
const SMALL_ORDER_X25519 = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]

async function checkSmallOrderX25519(crypto: Crypto): Promise<void> {
  const { secretKey } = await crypto.kemKeyPair('x25519', filled(32, 1))
  const hybrid = await crypto.kemKeyPair('xwing', filled(32, 1))
  const sent = await crypto.encapsulate('xwing', hybrid.publicKey, filled(64, 2))
  assert(sent !== null, 'an encapsulation succeeds')
  for (const text of SMALL_ORDER_X25519) {
    for (const sign of [0, 0x80]) {
      const u = hex(text)
      u[31] = (u[31] as number) | sign
      same(await crypto.decapsulate('x25519', secretKey, u), null, 'as encapsulation')
      assert(await crypto.encapsulate('x25519', u, filled(32, 2)) === null, 'as key')
      const enc = concat(sent.enc.subarray(0, 1_088), u)
      same(await crypto.decapsulate('xwing', hybrid.secretKey, enc), null, 'inside of X-Wing')
      const key = concat(hybrid.publicKey.subarray(0, 1_184), u)
      assert(await crypto.encapsulate('xwing', key, filled(64, 2)) === null, 'in its key')
    }
  }
}

async function checkHybrids(crypto: Crypto, reference: Crypto): Promise<void> {
  for (const kem of ['xwing', 'mlkem1024p384'] as const) {
    const { publicKey, secretKey } = await crypto.kemKeyPair(kem, filled(32, 1))
    const randomness = filled(KEM_LENGTHS[kem].randomness, 2)
    // Coefficients of ML-KEM keys are below q (FIPS 203 section 7.2).
    const unreduced = concat(filled(3, 0xff), publicKey.subarray(3))
    for (const implementation of [crypto, reference]) {
      assert(await implementation.encapsulate(kem, unreduced, randomness) === null, 'modulus')
    }
    if (kem === 'xwing') continue
    const sent = await crypto.encapsulate(kem, publicKey, randomness)
    assert(sent !== null, 'an encapsulation succeeds')
    for (
      const point of [
        filled(97, 0),
        concat(hex('04'), filled(96, 1)),
        concat(hex('02'), filled(96, 0)),
      ]
    ) {
      const key = concat(publicKey.subarray(0, 1_568), point)
      assert(await crypto.encapsulate(kem, key, randomness) === null, 'no point of P-384')
      const enc = concat(sent.enc.subarray(0, 1_568), point)
      same(await crypto.decapsulate(kem, secretKey, enc), null, 'no point of P-384')
    }
  }
}
