/** Padding of plaintext: exact sizes, one form, nothing lost. */
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import { pad, paddedLength, unpad } from '#core/sender-keys/padding.ts'
import { createPrng } from './prng.ts'

Deno.test('SEAL-5: padded text has the size of its bucket, above that of Padmé', () => {
  // Length of the text, length of the padded text: one or two or four bytes state the length.
  const cases = [
    [0, 256],
    [63, 256],
    [254, 256],
    [255, 512],
    [510, 512],
    [511, 1_024],
    [1_022, 1_024],
    [1_023, 2_048],
    [2_046, 2_048],
    [2_047, 4_096],
    [4_094, 4_096],
    // 4,097 = 2^12 + 1: exponent 12, four bits of mantissa, steps of 256.
    [4_095, 4_352],
    [4_350, 4_352],
    [4_351, 4_608],
    [8_190, 8_192],
    // Steps of 512 above 2^13.
    [8_191, 8_704],
    // Four bytes state the length; steps of 1,024 above 2^14.
    [16_384, 17_408],
    [40_000, 40_960],
    [LIMITS.plaintextSizeMax, 67_584],
  ] as const
  for (const [length, size] of cases) strictEqual(pad(new Uint8Array(length)).length, size)
})

Deno.test('SEAL-5: padding costs at most an eighth above the buckets', () => {
  for (let length = 4_097; length < 70_000; length += 7) {
    const size = paddedLength(length)
    ok(size >= length && size < length * 1.125, `${length}: ${size}`)
    strictEqual(paddedLength(size), size)
  }
})

Deno.test('SEAL-5: what was padded comes back', () => {
  const prng = createPrng(5)
  for (const length of [0, 1, 63, 64, 255, 256, 4_095, 4_096, 20_000, LIMITS.plaintextSizeMax]) {
    const text = prng.bytes(length)
    deepStrictEqual(unpad(pad(text)), text)
  }
  throws(() => pad(new Uint8Array(LIMITS.plaintextSizeMax + 1)))
})

Deno.test('SEAL-5: any other padding is refused', () => {
  const padded = pad(new Uint8Array(10).fill(1))
  strictEqual(unpad(padded.slice(0, -1)), null)
  strictEqual(unpad(new Uint8Array([...padded, 0])), null)
  strictEqual(unpad(new Uint8Array([...padded, ...new Uint8Array(256)])), null)
  for (let at = 11; at < padded.length; at++) strictEqual(unpad(padded.with(at, 1)), null)
  // A length beyond the end, and one in more bytes than it needs.
  strictEqual(unpad(padded.with(0, 0x7f)), null)
  strictEqual(unpad(padded.with(0, 0x40)), null)
  strictEqual(unpad(new Uint8Array(0)), null)
})
