/**
 * The published examples of draft-ietf-mimi-content-08: decoded, compared field by field with their
 * diagnostic notation, encoded again byte for byte, and their message ids.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { asMap, type CborValue, decodeCbor, encodeCbor } from '#core/content/cbor.ts'
import {
  decodeContent,
  encodeContent,
  messageId,
  type MimiContent,
  namedUris,
  plainText,
} from '#core/content/mimi-content.ts'
import type { NestedPart } from '#core/content/mimi-structure.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { parseEdn } from '../support/edn.ts'
import { vectorFolder } from './published.ts'

const crypto = createNobleCrypto()
const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
const folder = vectorFolder('mimi-content')
const bounds = { depthMax: 8, itemsMax: 1_000 }

const EXAMPLES = [
  ...['attachment', 'conferencing', 'delete', 'edit', 'expiring', 'mention', 'mention-html'],
  ...['multipart-1', 'multipart-2', 'multipart-3', 'original', 'reaction', 'reply', 'unlike'],
]

function published(title: string, body: () => void): void {
  Deno.test({ name: title, ignore: folder === null, fn: body })
}

const bytesOf = (name: string) => Deno.readFileSync(`${folder}/${name}.cbor`)
const notationOf = (name: string) => Deno.readTextFileSync(`${folder}/${name}.edn`)

function contentOf(name: string): MimiContent {
  const decoded = decodeContent(bytesOf(name))
  ok(decoded.kind === 'decoded', name)
  return decoded.value
}

function arrayOf(value: CborValue | undefined): readonly CborValue[] {
  ok(Array.isArray(value))
  return value
}

/** Compares a part with its fields by position, without our encoder. */
function comparePart(part: NestedPart, noted: CborValue | undefined): void {
  const [disposition, language, cardinality, ...fields] = arrayOf(noted)
  deepStrictEqual([part.disposition, part.language], [disposition, language])
  switch (part.kind) {
    case 'nullPart':
      deepStrictEqual([cardinality, fields], [0, []])
      break
    case 'singlePart':
      deepStrictEqual([cardinality, fields], [1, [part.contentType, part.content]])
      break
    case 'externalPart': {
      strictEqual(cardinality, 2)
      const { contentType, url, expires, size, encAlg, key, nonce, aad } = part
      const { hashAlg, contentHash, description, filename } = part
      const protection = [encAlg, key, nonce, aad, hashAlg, contentHash]
      const read = [contentType, url, expires, Number(size), ...protection, description, filename]
      deepStrictEqual(read, fields)
      break
    }
    case 'multiPart': {
      const semantics = ['chooseOne', 'singleUnit', 'processAll']
      const parts = arrayOf(fields[1])
      deepStrictEqual([cardinality, fields[0]], [3, semantics.indexOf(part.partSemantics)])
      deepStrictEqual([part.parts.length, fields.length], [parts.length, 2])
      part.parts.forEach((each, index) => comparePart(each, parts[index]))
    }
  }
}

published('CONTENT-1: the folder holds the examples that are named here, and no others', () => {
  const files = [...Deno.readDirSync(folder as string)].map(({ name }) => name)
  const names = [...EXAMPLES, 'implied-original'].flatMap((name) => [`${name}.cbor`, `${name}.edn`])
  deepStrictEqual(files.sort(), names.sort())
})

for (const name of EXAMPLES) {
  published(`CONTENT-1: ${name} is read, says what its notation says, and is written alike`, () => {
    const bytes = bytesOf(name)
    const noted = parseEdn(notationOf(name))
    deepStrictEqual(decodeCbor(bytes, bounds), { kind: 'decoded', value: noted })
    strictEqual(toHex(encodeCbor(noted)), toHex(bytes))

    const content = contentOf(name)
    strictEqual(toHex(encodeContent(content)), toHex(bytes))
    const [salt, replaces, topicId, expires, inReplyTo, extensions, part] = arrayOf(noted)
    const { salt: readSalt, replaces: readReplaces, topicId: readTopic } = content
    deepStrictEqual([readSalt, readReplaces, readTopic], [salt, replaces, topicId])
    const time = content.expires === null ? null : [content.expires.relative, content.expires.time]
    deepStrictEqual([time, content.inReplyTo], [expires, inReplyTo])
    deepStrictEqual([...content.mimiExtensions], asMap(extensions ?? null)?.entries)
    comparePart(content.nestedPart, part)
  })

  published(`CONTENT-2: ${name} has the message id that the example names`, () => {
    const named = /message ID = h'([0-9a-f\s#]+)'/.exec(notationOf(name))?.[1]
    const uris = namedUris(contentOf(name))
    ok(named !== undefined && uris !== null)
    const id = messageId(sha256, { ...uris, content: bytesOf(name) })
    strictEqual(toHex(id), named.replace(/[\s#]/g, ''))
    strictEqual(id.length, 32)
  })
}

// The bytes of this example still hold the message id of an earlier revision of the draft.
published('CONTENT-2: implied-original derives the id of the original message', () => {
  const noted = arrayOf(parseEdn(notationOf('implied-original')))
  const bytes = bytesOf('implied-original')
  const decoded = decodeCbor(bytes, bounds)
  ok(decoded.kind === 'decoded')
  strictEqual(toHex(encodeCbor(decoded.value)), toHex(bytes))
  const derived = arrayOf(decoded.value)
  deepStrictEqual(derived.slice(1), noted.slice(1))
  notDeepStrictEqual(derived[0], noted[0])
  const uris = namedUris(contentOf('original'))
  ok(uris !== null)
  deepStrictEqual(messageId(sha256, { ...uris, content: bytesOf('original') }), noted[0])
  deepStrictEqual([uris.senderUri, uris.roomUri], noted.slice(5))
  deepStrictEqual(decodeContent(bytes), { kind: 'malformed', code: 'badSalt' })
})

published('CONTENT-1: the text of an example is what a person reads', () => {
  const text = (name: string) => plainText(contentOf(name))
  strictEqual(text('original'), 'Hi everyone, we just shipped release 2.0. __Good  work__!')
  strictEqual(text('edit'), "Right on! _Congratulations_ y'all!")
  strictEqual(text('multipart-1'), '# Welcome!')
  for (const name of ['attachment', 'conferencing', 'delete', 'mention-html', 'multipart-2']) {
    strictEqual(text(name), null, name)
  }
})
