/** Tests of deterministic CBOR: RFC 8949's own examples, one form for each value, bounds, noise. */
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { cborDepth, type CborValue, decodeCbor, encodeCbor } from '#core/content/cbor.ts'
import { hex } from '../vectors/published.ts'
import { createPrng } from './prng.ts'

const bounds = { depthMax: 8, itemsMax: 100 }
const float = (value: number): CborValue => ({ kind: 'float', value })
const simple = (value: number): CborValue => ({ kind: 'simple', value })
const tag = (number: number, value: CborValue): CborValue => ({ kind: 'tag', tag: number, value })

/** RFC 8949 appendix A, those that are deterministic, and the edges between the forms. */
const EXAMPLES: readonly (readonly [string, CborValue])[] = [
  ['00', 0],
  ['17', 23],
  ['1818', 24],
  ['18ff', 255],
  ['190100', 256],
  ['1903e8', 1000],
  ['19ffff', 65_535],
  ['1a00010000', 65_536],
  ['1affffffff', 4_294_967_295],
  ['1b0000000100000000', 4_294_967_296],
  ['1b000000e8d4a51000', 1_000_000_000_000],
  ['1b001fffffffffffff', Number.MAX_SAFE_INTEGER],
  ['1b0020000000000000', 9_007_199_254_740_992n],
  ['1bffffffffffffffff', 18_446_744_073_709_551_615n],
  ['c249010000000000000000', tag(2, hex('010000000000000000'))],
  ['c349010000000000000000', tag(3, hex('010000000000000000'))],
  ['20', -1],
  ['3863', -100],
  ['3903e7', -1000],
  ['3b001ffffffffffffe', Number.MIN_SAFE_INTEGER],
  ['3b001fffffffffffff', -9_007_199_254_740_992n],
  ['3bffffffffffffffff', -18_446_744_073_709_551_616n],
  ['f90000', float(0)],
  ['f98000', float(-0)],
  ['f93c00', float(1)],
  ['fb3ff199999999999a', float(1.1)],
  ['f93e00', float(1.5)],
  ['f97bff', float(65_504)],
  ['fa477ff000', float(65_520)],
  ['fa47c35000', float(100_000)],
  ['fa7f7fffff', float(3.4028234663852886e+38)],
  ['fb7e37e43c8800759c', float(1.0e+300)],
  ['f90001', float(5.960464477539063e-8)],
  ['f90400', float(0.00006103515625)],
  ['f903ff', float(1023 * 2 ** -24)],
  ['fa33000000', float(2 ** -25)],
  ['fa00000001', float(2 ** -149)],
  ['f9c400', float(-4)],
  ['fbc010666666666666', float(-4.1)],
  ['f97c00', float(Infinity)],
  ['f97e00', float(NaN)],
  ['f9fc00', float(-Infinity)],
  ['f4', false],
  ['f5', true],
  ['f6', null],
  ['f7', simple(23)],
  ['f0', simple(16)],
  ['f8ff', simple(255)],
  ['c11a514b67b0', tag(1, 1_363_896_240)],
  [
    'd82076687474703a2f2f7777772e6578616d706c652e636f6d',
    tag(32, 'http://www.example.com'),
  ],
  ['40', hex('')],
  ['4401020304', hex('01020304')],
  ['60', ''],
  ['6449455446', 'IETF'],
  ['62c3bc', 'ü'],
  ['63e6b0b4', '水'],
  ['64f0908591', '𐅑'],
  ['80', []],
  ['8301820203820405', [1, [2, 3], [4, 5]]],
  ['a0', { kind: 'map', entries: [] }],
  ['a201020304', { kind: 'map', entries: [[1, 2], [3, 4]] }],
  ['a26161016162820203', { kind: 'map', entries: [['a', 1], ['b', [2, 3]]] }],
  ['a3012041ff006161f4', { kind: 'map', entries: [[1, -1], [hex('ff'), 0], ['a', false]] }],
]

const codeOf = (text: string, limits = bounds) => {
  const decoded = decodeCbor(hex(text), limits)
  return decoded.kind === 'malformed' ? decoded.code : 'decoded'
}

Deno.test('CONTENT-1: the examples of RFC 8949 appendix A, both ways', () => {
  for (const [text, value] of EXAMPLES) {
    deepStrictEqual(decodeCbor(hex(text), bounds), { kind: 'decoded', value }, text)
    strictEqual(toHex(encodeCbor(value)), text)
  }
})

Deno.test('CONTENT-1: every half-precision float is read and written alike, but for NaNs', () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const bytes = Uint8Array.of(0xf9, bits >> 8, bits & 0xff)
    const isNaN = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0
    const decoded = decodeCbor(bytes, bounds)
    strictEqual(decoded.kind, isNaN && bits !== 0x7e00 ? 'malformed' : 'decoded')
    if (decoded.kind === 'decoded') deepStrictEqual(encodeCbor(decoded.value), bytes)
  }
})

Deno.test('CONTENT-1: no other form of a value is read', () => {
  const longer = ['1817', '190017', '1900ff', '1a0000ffff', '1b00000000ffffffff', '3817', '5800']
  const floats = ['fa3f800000', 'fa00000000', 'fb3ff0000000000000', 'fb40f86a0000000000']
  const notNumbers = ['f97e01', 'f9fe00', 'fa7fc00000', 'fb7ff8000000000000']
  const bignums = ['c24101', 'c2480100000000000000', 'c24900ffffffffffffffff', 'c201', 'c360']
  for (const text of [...longer, ...floats, ...notNumbers, ...bignums]) {
    strictEqual(codeOf(text), 'notShortest', text)
  }
  for (const text of ['5f42010243030405ff', '7f657374726561ff', '9fff', 'bfff', 'ff', '1f', 'df']) {
    strictEqual(codeOf(text), 'indefinite', text)
  }
  for (const text of ['1c', '5d', 'fc', 'fe', 'f800', 'f814', 'f81f']) {
    strictEqual(codeOf(text), 'badValue', text)
  }
})

Deno.test('CONTENT-1: maps have each key once, in the order of the encodings', () => {
  strictEqual(codeOf('a201000100'), 'duplicateKey')
  strictEqual(codeOf('a202000100'), 'unsortedKeys')
  strictEqual(codeOf('a220000100'), 'unsortedKeys')
  strictEqual(codeOf('a2616200616100'), 'unsortedKeys')
  strictEqual(codeOf('a2626161006162f6'), 'unsortedKeys')
  for (const key of ['f4', 'f6', '80', 'a0', 'c100', 'f93c00', '1b0020000000000000']) {
    ok(['badKey', 'tooDeep'].includes(codeOf(`a1${key}00`)), key)
  }
  const sorted = encodeCbor({ kind: 'map', entries: [['b', 1], [-1, 2], [24, 3], [2, 4]] })
  strictEqual(toHex(sorted), 'a402041818032002616201')
})

Deno.test('CONTENT-1: exact consumption, text of well-formed UTF-8', () => {
  strictEqual(codeOf(''), 'truncated')
  strictEqual(codeOf('0000'), 'trailing')
  for (const text of ['18', '1901', '41', '6261', '81', '8201', 'a101', 'c1', 'f9', 'f8', 'fb00']) {
    strictEqual(codeOf(text), 'truncated', text)
  }
  for (const text of ['61ff', '62c080', '63eda080', '64f4908080', '61c3']) {
    strictEqual(codeOf(text), 'badText', text)
  }
})

Deno.test('CONTENT-1: depth and count are bounded, and no claimed length is believed', () => {
  strictEqual(codeOf('818100', { depthMax: 2, itemsMax: 9 }), 'decoded')
  strictEqual(codeOf('81818100', { depthMax: 2, itemsMax: 9 }), 'tooDeep')
  strictEqual(codeOf('a100c100', { depthMax: 1, itemsMax: 9 }), 'tooDeep')
  strictEqual(codeOf('83000000', { depthMax: 1, itemsMax: 4 }), 'decoded')
  strictEqual(codeOf('83000000', { depthMax: 1, itemsMax: 3 }), 'tooMany')
  strictEqual(codeOf('a10000', { depthMax: 1, itemsMax: 2 }), 'tooMany')
  const claims = [
    '9affffffff',
    '9bffffffffffffffff',
    'baffffffff',
    '5b001fffffffffffff',
    '7affffffff',
  ]
  for (const text of claims) strictEqual(codeOf(text), 'truncated', text)
  strictEqual(codeOf('81'.repeat(60_000)), 'tooDeep')
  strictEqual(cborDepth([1, { kind: 'map', entries: [[1, tag(1, [])]] }]), 4)
  strictEqual(cborDepth(float(1)), 0)
})

Deno.test('CONTENT-1: a value outside of the data model is a programmer error', () => {
  const faults: readonly CborValue[] = [
    1.5,
    2 ** 53,
    2n ** 64n,
    -(2n ** 64n) - 1n,
    simple(20),
    simple(24),
    simple(256),
    tag(2, 0),
    tag(2, hex('01')),
    { kind: 'map', entries: [[1, 0], [1, 1]] },
  ]
  for (const value of faults) throws(() => encodeCbor(value), { name: 'AssertionFailure' })
})

Deno.test('CONTENT-1: noise never throws, and what decodes encodes to the same bytes', () => {
  const prng = createPrng(8949)
  let decodedCount = 0
  for (let run = 0; run < 20_000; run++) {
    const bytes = prng.bytes(prng.integer(24))
    const before = toHex(bytes)
    const decoded = decodeCbor(bytes, bounds)
    if (decoded.kind === 'decoded') {
      decodedCount++
      strictEqual(toHex(encodeCbor(decoded.value)), before)
    }
    strictEqual(toHex(bytes), before)
  }
  ok(decodedCount > 300, `${decodedCount} decoded`)
})
