/** The published examples of draft-ietf-mimi-content: decoded, read, and encoded byte for byte. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { toHex } from '#core/base/bytes.ts'
import { decodeCbor, encodeCbor } from '#core/content/cbor.ts'
import { decodeContent, encodeContent, messageId, namedUris } from '#core/content/mimi-content.ts'
import { plainText, roomProfile, roomProfileContent } from '#core/content/mimi-content.ts'
import { textContent } from '#core/content/mimi-content.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createPrng } from '../core/prng.ts'
import { vectorFolder } from './published.ts'

const crypto = createNobleCrypto()
const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
const folder = vectorFolder('mimi-content')
const bounds = { depthMax: 8, itemsMax: 1_000 }

Deno.test({
  name: 'CONTENT-1: every published example reads and writes byte for byte',
  ignore: folder === null,
  fn: async () => {
    const names = (await readdir(folder as string)).filter((name) => name.endsWith('.cbor'))
    ok(names.length >= 13)
    let contents = 0
    for (const name of names) {
      const bytes = new Uint8Array(await readFile(path.join(folder as string, name)))
      const value = decodeCbor(bytes, bounds)
      ok(value.kind === 'decoded', name)
      strictEqual(toHex(encodeCbor(value.value)), toHex(bytes), name)
      // The implied headers of a message are no content; everything else is.
      if (name === 'implied-original.cbor') continue
      const content = decodeContent(bytes)
      ok(content.kind === 'decoded', name)
      strictEqual(toHex(encodeContent(content.value)), toHex(bytes), name)
      contents++
    }
    console.log(`mimi-content: ${contents} contents of ${names.length} files`)
  },
})

Deno.test({
  name: 'CONTENT-2: message ids are those that the examples name',
  ignore: folder === null,
  fn: async () => {
    const names = (await readdir(folder as string)).filter((name) => name.endsWith('.edn'))
    let compared = 0
    for (const name of names) {
      const text = await readFile(path.join(folder as string, name), 'utf8')
      const named = /message ID = h'([0-9a-f\s#]+)'/.exec(text)?.[1]?.replace(/[\s#]/g, '')
      const cbor = path.join(folder as string, name.replace('.edn', '.cbor'))
      const bytes = new Uint8Array(await readFile(cbor))
      const content = decodeContent(bytes)
      const uris = content.kind === 'decoded' ? namedUris(content.value) : null
      if (named === undefined || uris === null) continue
      strictEqual(toHex(messageId(sha256, { ...uris, content: bytes })), named, name)
      compared++
    }
    ok(compared >= 10, `${compared} compared`)
    console.log(`mimi-content: ${compared} message ids`)
  },
})

Deno.test({
  name: 'CONTENT-1: the examples say what their notation says',
  ignore: folder === null,
  fn: async () => {
    const read = async (name: string) => {
      const bytes = new Uint8Array(await readFile(path.join(folder as string, `${name}.cbor`)))
      const content = decodeContent(bytes)
      ok(content.kind === 'decoded')
      return content.value
    }
    const original = await read('original')
    strictEqual(plainText(original), 'Hi everyone, we just shipped release 2.0. __Good  work__!')
    strictEqual(original.replaces, null)
    const edit = await read('edit')
    strictEqual(plainText(edit), "Right on! _Congratulations_ y'all!")
    strictEqual(toHex(edit.replaces as Uint8Array).slice(0, 8), '01535497')
    deepStrictEqual((await read('expiring')).expires, { relative: false, time: 1_644_390_004 })
    strictEqual((await read('delete')).nestedPart.kind, 'nullPart')
    const attachment = await read('attachment')
    ok(attachment.nestedPart.kind === 'externalPart' && attachment.nestedPart.size === 708_234_961n)
    const reactions = await read('multipart-2')
    ok(reactions.nestedPart.kind === 'multiPart' && reactions.nestedPart.parts.length === 3)
  },
})

const uris = { senderUri: 'mimi://hub/u/a', roomUri: 'mimi://hub/r/b' }
const salt = new Uint8Array(16).fill(7)
const samples = [
  encodeContent(textContent({ ...uris, salt, text: 'Grüße, 世界 🐦' })),
  encodeContent(roomProfileContent({ ...uris, salt, title: 'Larks' })),
]

Deno.test('CONTENT-1: what Kalandra writes reads back', () => {
  const [text, profile] = samples.map((bytes) => decodeContent(bytes))
  ok(text?.kind === 'decoded' && profile?.kind === 'decoded')
  strictEqual(plainText(text.value), 'Grüße, 世界 🐦')
  deepStrictEqual(namedUris(text.value), uris)
  deepStrictEqual(roomProfile(profile.value), { title: 'Larks' })
  strictEqual(roomProfile(text.value), null)
  strictEqual(plainText(profile.value), null)
})

Deno.test('CONTENT-1: truncated, changed and random bytes never throw, and are read exactly', () => {
  const prng = createPrng(11)
  const judge = (bytes: Uint8Array) => {
    const decoded = decodeContent(bytes)
    if (decoded.kind === 'decoded') strictEqual(toHex(encodeContent(decoded.value)), toHex(bytes))
    return decoded.kind
  }
  for (const sample of samples) {
    for (let length = 0; length < sample.length; length++) {
      strictEqual(judge(sample.subarray(0, length)), 'malformed')
    }
    for (let bit = 0; bit < sample.length * 8; bit++) {
      const changed = sample.slice()
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      judge(changed)
    }
  }
  for (let run = 0; run < 3_000; run++) judge(prng.bytes(prng.integer(120)))
  const deep = new Uint8Array(5_000).fill(0x81)
  strictEqual(decodeCbor(deep, bounds).kind, 'malformed')
})
