/** Tests of the codec: exact encodings, exactness of decoding, bounds, and hostile input. */
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import * as codec from '#core/wire/codec.ts'
import { type Codec, decode, encode, type Infer } from '#core/wire/codec.ts'
import { fromHex, toHex } from '#core/base/bytes.ts'
import { createPrng, type Prng } from './prng.ts'

const sample = codec.struct({
  version: codec.u16,
  flag: codec.bool,
  name: codec.utf8(64),
  position: codec.u64,
  id: codec.fixed(4),
  note: codec.optional(codec.opaque(300, 1)),
  items: codec.vector(
    codec.variant('kind', {
      text: [1, codec.struct({ text: codec.utf8(40) })],
      numbers: [7, codec.struct({ numbers: codec.vector(codec.u32, 5), length: codec.varint })],
      nothing: [9, codec.struct({})],
    }),
    20,
  ),
  level: codec.enumU8({ low: 1, high: 200 }),
  tail: codec.rest(16),
})
type Sample = Infer<typeof sample>

function randomSample(prng: Prng): Sample {
  const item = (): Sample['items'][number] => {
    switch (prng.integer(3)) {
      case 0:
        return { kind: 'text', text: 'ä'.repeat(prng.integer(20)) }
      case 1: {
        const numbers = Array.from({ length: prng.integer(6) }, () => prng.integer(2 ** 32))
        return { kind: 'numbers', numbers, length: prng.integer(2 ** prng.integer(31)) }
      }
      default:
        return { kind: 'nothing' }
    }
  }
  return {
    version: prng.integer(65_536),
    flag: prng.integer(2) === 1,
    name: 'n'.repeat(prng.integer(65)),
    position: BigInt(prng.integer(2 ** 32)) << BigInt(prng.integer(33)),
    id: prng.bytes(4),
    note: prng.integer(2) === 1 ? prng.bytes(1 + prng.integer(300)) : null,
    items: Array.from({ length: prng.integer(21) }, item),
    level: prng.pick(['low', 'high']),
    tail: prng.bytes(prng.integer(17)),
  }
}

function hex(text: string): Uint8Array {
  const bytes = fromHex(text)
  ok(bytes !== null)
  return bytes
}

function refused<T>(of: Codec<T>, text: string): string {
  const decoded = decode(of, hex(text))
  return decoded.kind === 'malformed' ? decoded.code : 'decoded'
}

Deno.test('integers are big-endian and keep their range', () => {
  strictEqual(toHex(encode(codec.u8, 0xfe)), 'fe')
  strictEqual(toHex(encode(codec.u16, 0x0102)), '0102')
  strictEqual(toHex(encode(codec.u32, 0xfffefdfc)), 'fffefdfc')
  for (
    const value of [0n, 1n, 0xffffffffn, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]
  ) {
    const bytes = encode(codec.u64, value)
    strictEqual(toHex(bytes), value.toString(16).padStart(16, '0'))
    deepStrictEqual(decode(codec.u64, bytes), { kind: 'decoded', value })
  }
  for (const value of [-1, 256, 0.5, NaN]) throws(() => encode(codec.u8, value))
  for (const value of [-1n, 2n ** 64n]) throws(() => encode(codec.u64, value))
  throws(() => encode(codec.u32, 2 ** 32))
})

// The examples of RFC 9420 section 2.1.2 and RFC 9000 appendix A.1.
Deno.test('varint has the shortest of three forms and no other is accepted', () => {
  const forms: [number, string][] = [
    [0, '00'],
    [37, '25'],
    [63, '3f'],
    [64, '4040'],
    [15_293, '7bbd'],
    [16_383, '7fff'],
    [16_384, '80004000'],
    [494_878_333, '9d7f3e7d'],
    [2 ** 30 - 1, 'bfffffff'],
  ]
  for (const [value, text] of forms) {
    strictEqual(toHex(encode(codec.varint, value)), text)
    deepStrictEqual(decode(codec.varint, hex(text)), { kind: 'decoded', value })
  }
  for (const text of ['4000', '403f', '80000000', '80003fff', 'c0', 'c2197c5eff14e88c', 'ff']) {
    strictEqual(refused(codec.varint, text), 'badValue', text)
  }
  for (const text of ['', '40', '800000', '9d7f3e']) {
    strictEqual(refused(codec.varint, text), 'truncated', text)
  }
  throws(() => encode(codec.varint, 2 ** 30))
})

Deno.test('bounds are kept in both directions', () => {
  const short = codec.opaque(3, 1)
  strictEqual(toHex(encode(short, hex('aabb'))), '02aabb')
  strictEqual(refused(short, '00'), 'badValue')
  strictEqual(refused(short, '04aabbccdd'), 'tooLong')
  strictEqual(refused(short, '02aa'), 'truncated')
  strictEqual(refused(short, '01aabb'), 'trailing')
  throws(() => encode(short, new Uint8Array(0)))
  throws(() => encode(short, new Uint8Array(4)))
  throws(() => encode(codec.fixed(2), new Uint8Array(3)))
  const two = codec.vector(codec.u16, 2)
  strictEqual(toHex(encode(two, [1, 2])), '0400010002')
  strictEqual(refused(two, '06000100020003'), 'tooLong')
  strictEqual(refused(two, '03000100'), 'truncated')
  throws(() => encode(two, [1, 2, 3]))
  strictEqual(refused(codec.rest(1), '0102'), 'tooLong')
  strictEqual(refused(codec.vector(codec.struct({}), 4), '0100'), 'tooLong')
})

Deno.test('each value has one encoding: odd presence, booleans, tags and text are refused', () => {
  strictEqual(refused(codec.bool, '02'), 'badValue')
  strictEqual(refused(codec.optional(codec.u8), '0200'), 'badValue')
  strictEqual(refused(codec.optional(codec.u8), '0000'), 'trailing')
  strictEqual(refused(codec.enumU8({ a: 1 }), '02'), 'badValue')
  strictEqual(refused(codec.variant('kind', { a: [1, codec.struct({})] }), '00'), 'badValue')
  strictEqual(refused(codec.utf8(9), '02c080'), 'badValue')
  strictEqual(refused(codec.utf8(9), '03eda080'), 'badValue')
  const even = codec.mapped(codec.u8, {
    to: (half: number) => half * 2,
    from: (wire) => wire % 2 === 0 ? wire / 2 : null,
  })
  deepStrictEqual(decode(even, hex('00')), { kind: 'decoded', value: 0 })
  strictEqual(refused(even, '03'), 'badValue')
  strictEqual(refused(codec.constant(hex('6b31')), '026b32'), 'badValue')
})

Deno.test('a variant is told by its discriminant and cannot be built with shared tags', () => {
  const shape = codec.variant('kind', {
    dot: [0, codec.struct({})],
    line: [1, codec.struct({ length: codec.u8 })],
  })
  const decoded = decode(shape, hex('0105'))
  deepStrictEqual(decoded, { kind: 'decoded', value: { kind: 'line', length: 5 } })
  throws(() => codec.enumU8({ a: 1, b: 1 }))
  throws(() => codec.enumU8({ a: 256 }))
  throws(() => codec.struct({ 0: codec.u8 }))
})

Deno.test('long vectors get their longer prefix and keep their content', () => {
  const bytes = codec.vector(codec.u8, 70_000)
  for (const count of [63, 64, 16_383, 16_384, 70_000]) {
    const values = Array.from({ length: count }, (_, i) => i & 255)
    const encoded = encode(bytes, values)
    strictEqual(encoded.length, count + (count < 64 ? 1 : count < 16_384 ? 2 : 4))
    deepStrictEqual(decode(bytes, encoded), { kind: 'decoded', value: values })
  }
})

Deno.test('decoding what was encoded gives the same value, and the same bytes again', () => {
  const prng = createPrng(11)
  for (let run = 0; run < 2_000; run++) {
    const value = randomSample(prng)
    const bytes = encode(sample, value)
    const decoded = decode(sample, bytes)
    ok(decoded.kind === 'decoded')
    deepStrictEqual(decoded.value, value)
    deepStrictEqual(encode(sample, decoded.value), bytes)
  }
})

Deno.test('every truncation and every extension of an encoding is refused', () => {
  const prng = createPrng(12)
  const closed = codec.struct({
    sample: codec.vector(codec.struct({ a: codec.utf8(9), b: codec.u64 }), 9),
    end: codec.u8,
  })
  for (let run = 0; run < 200; run++) {
    const elements = Array.from(
      { length: prng.integer(10) },
      () => ({ a: 'é'.repeat(prng.integer(5)), b: 5n }),
    )
    const bytes = encode(closed, { sample: elements, end: 1 })
    for (let length = 0; length < bytes.length; length++) {
      strictEqual(decode(closed, bytes.subarray(0, length)).kind, 'malformed')
    }
    strictEqual(refused(closed, toHex(bytes) + '00'), 'trailing')
  }
})

Deno.test('hostile input never throws, and what is accepted encodes to the same bytes', () => {
  const prng = createPrng(13)
  let accepted = 0
  for (let run = 0; run < 40_000; run++) {
    const bytes = run % 2 === 0 ? prng.bytes(prng.integer(80)) : encode(sample, randomSample(prng))
    for (let flips = prng.integer(3); flips > 0 && bytes.length > 0; flips--) {
      bytes[prng.integer(bytes.length)] = prng.integer(256)
    }
    const decoded = decode(sample, bytes)
    if (decoded.kind === 'malformed') continue
    accepted++
    deepStrictEqual(encode(sample, decoded.value), bytes)
  }
  ok(accepted > 1_000, 'the generator reaches accepted inputs')
})

Deno.test('a claimed length costs nothing before it is refused', () => {
  const wide = codec.struct({ list: codec.vector(codec.opaque(2 ** 30 - 1), 2 ** 30 - 1) })
  const claims = ['bfffffff', 'bfffffff00', '04bfffffff', '05bfffffff00'].map(hex)
  const before = Deno.memoryUsage()
  for (let run = 0; run < 10_000; run++) {
    for (const claim of claims) strictEqual(decode(wide, claim).kind, 'malformed')
  }
  const after = Deno.memoryUsage()
  const grown = after.external + after.heapTotal - before.external - before.heapTotal
  ok(grown < 200_000_000, `10 TB were claimed, ${grown} bytes were taken`)
})

Deno.test('decoded byte strings are views, encoded ones own their buffer', () => {
  const pair = codec.struct({ a: codec.fixed(2), b: codec.opaque(9) })
  const bytes = encode(pair, { a: hex('0102'), b: hex('0304') })
  strictEqual(bytes.buffer.byteLength, bytes.length)
  const decoded = decode(pair, bytes)
  ok(decoded.kind === 'decoded')
  strictEqual(decoded.value.a.buffer, bytes.buffer)
  strictEqual(decoded.value.b.buffer, bytes.buffer)
})

Deno.test('a programmer error inside a codec is not taken for bad input', () => {
  const broken: Codec<number> = {
    encode() {},
    decode() {
      throw new TypeError('a bug')
    },
  }
  throws(() => decode(broken, new Uint8Array(1)), TypeError)
})
