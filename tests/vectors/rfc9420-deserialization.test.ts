/** Lengths of variable-size vectors (RFC 9420 section 2.1.2) against the published headers. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { decode, encode, varint } from '#core/wire/codec.ts'
import { plainFamilyTest } from './families.ts'
import { hex } from './published.ts'

interface Header {
  readonly vlbytes_header: string
  readonly length: number
}

plainFamilyTest<Header>('deserialization', 'deserialization*.json', (vector) => {
  const header = hex(vector.vlbytes_header)
  deepStrictEqual(decode(varint, header), { kind: 'decoded', value: vector.length })
  strictEqual(toHex(encode(varint, vector.length)), vector.vlbytes_header)
  const shortened = decode(varint, header.subarray(0, -1))
  deepStrictEqual(shortened, { kind: 'malformed', code: 'truncated' })
})
