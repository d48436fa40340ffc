/** Tests of byte strings and their text forms. The engine's own encoders are the oracle. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import * as bytes from '#core/base/bytes.ts'
import { assert } from '#core/base/assert.ts'
import { throws } from 'node:assert/strict'
import { createPrng } from './prng.ts'

const lengths = [0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 20_000]

Deno.test('assert throws its fixed text and narrows nothing else', () => {
  assert(1, 'never seen')
  throws(() => assert(0, 'it holds'), { name: 'AssertionFailure', message: 'it holds' })
})

Deno.test('concat joins into a buffer of its own', () => {
  const a = Uint8Array.of(1, 2)
  const joined = bytes.concat(a, bytes.EMPTY, Uint8Array.of(3))
  a.fill(9)
  deepStrictEqual(joined, Uint8Array.of(1, 2, 3))
  strictEqual(joined.buffer.byteLength, 3)
})

Deno.test('equalBytes sees each changed bit and each changed length', () => {
  const a = createPrng(1).bytes(40)
  strictEqual(bytes.equalBytes(a, a.slice()), true)
  strictEqual(bytes.equalBytes(a, a.subarray(1)), false)
  strictEqual(bytes.equalBytes(bytes.EMPTY, new Uint8Array(0)), true)
  for (let bit = 0; bit < a.length * 8; bit++) {
    const b = a.slice()
    b[bit >> 3] = (b[bit >> 3] as number) ^ (1 << (bit & 7))
    strictEqual(bytes.equalBytes(a, b), false)
  }
})

Deno.test('wipe leaves zeros in every argument', () => {
  const a = Uint8Array.of(1, 2)
  const b = Uint8Array.of(3)
  bytes.wipe(a, b)
  deepStrictEqual([...a, ...b], [0, 0, 0])
})

Deno.test('hex and base64url agree with the engine for every byte and length', () => {
  const prng = createPrng(2)
  const samples = [
    ...lengths.map((n) => prng.bytes(n)),
    Uint8Array.from({ length: 256 }, (_, i) => i),
  ]
  for (const sample of samples) {
    const buffer = Buffer.from(sample)
    strictEqual(bytes.toHex(sample), buffer.toString('hex'))
    strictEqual(bytes.toBase64Url(sample), buffer.toString('base64url'))
    deepStrictEqual(bytes.fromHex(bytes.toHex(sample)), sample)
    deepStrictEqual(bytes.fromHex(bytes.toHex(sample).toUpperCase()), sample)
    deepStrictEqual(bytes.fromBase64Url(bytes.toBase64Url(sample)), sample)
  }
})

Deno.test('hex and base64url refuse every character outside of their alphabets', () => {
  for (let unit = 0; unit < 70_000; unit += unit < 300 ? 1 : 97) {
    const character = String.fromCharCode(unit & 0xffff)
    const isHex = /^[0-9a-fA-F]$/.test(character)
    const isDigit = /^[0-9a-zA-Z_-]$/.test(character)
    strictEqual(bytes.fromHex(character + '0') !== null, isHex, `hex ${unit}`)
    strictEqual(bytes.fromHex('0' + character) !== null, isHex, `hex ${unit}`)
    strictEqual(bytes.fromBase64Url(character + 'AAA') !== null, isDigit, `base64url ${unit}`)
  }
  strictEqual(bytes.fromHex('abc'), null)
})

Deno.test('base64url refuses padding, impossible lengths and unused bits', () => {
  for (const text of ['A', 'AAAAA', 'AA==', 'AAA=', 'AB', 'AAB', ' AAA', 'AA+A', 'AA/A']) {
    strictEqual(bytes.fromBase64Url(text), null, text)
  }
  deepStrictEqual(bytes.fromBase64Url('AQ'), Uint8Array.of(1))
})

Deno.test('utf8Encode agrees with TextEncoder, lone surrogates included', () => {
  const encoder = new TextEncoder()
  const texts = [
    '',
    'plain',
    'Grüße',
    'привет',
    '漢字',
    '🜁🜂🜃🜄',
    '\ufeffx',
    '\u0000\u007f\u0080\u07ff\u0800\uffff',
  ]
  texts.push('\ud800', '\udc00', 'a\ud83d', '\ud83dx', '\udc00\ud800', '\ud800\ud800\udc00')
  for (const text of texts) {
    deepStrictEqual(bytes.utf8Encode(text), encoder.encode(text), JSON.stringify(text))
  }
})

Deno.test('utf8Decode agrees with the fatal TextDecoder on every short input', () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const expected = (input: Uint8Array) => {
    try {
      return decoder.decode(input)
    } catch {
      return null
    }
  }
  const edges = [0, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff]
  for (let first = 0; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      const two = Uint8Array.of(first, second)
      strictEqual(bytes.utf8Decode(two), expected(two))
    }
    if (first < 0xc0) continue
    for (const second of edges) {
      for (const third of edges) {
        for (const fourth of edges) {
          const four = Uint8Array.of(first, second, third, fourth)
          strictEqual(bytes.utf8Decode(four), expected(four))
          const three = four.subarray(0, 3)
          strictEqual(bytes.utf8Decode(three), expected(three))
        }
      }
    }
  }
})

Deno.test('utf8 carries long texts of all planes', () => {
  const prng = createPrng(3)
  for (let run = 0; run < 50; run++) {
    const points = Array.from({ length: 9_000 }, () => prng.integer(0xd800))
    const text = String.fromCodePoint(...points) +
      String.fromCodePoint(0x10000 + prng.integer(0xfffff))
    strictEqual(bytes.utf8Decode(bytes.utf8Encode(text)), text)
  }
})
