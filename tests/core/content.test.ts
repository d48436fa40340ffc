/** Tests of message content: what Kalandra writes, what it refuses, what it keeps, and noise. */
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { concat, toHex, utf8Encode } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type CborValue, encodeCbor } from '#core/content/cbor.ts'
import { EXTENSION_KEYS } from '#core/content/extension-keys.ts'
import {
  decodeContent,
  encodeContent,
  messageId,
  type MimiContent,
  namedUris,
  plainText,
  roomProfile,
  roomProfileContent,
  textContent,
} from '#core/content/mimi-content.ts'
import type { MultiPart, NestedPart } from '#core/content/mimi-structure.ts'
import { createPrng, type Prng } from './prng.ts'

const uris = { senderUri: 'mimi://hub.example/u/alice', roomUri: 'mimi://hub.example/r/larks' }
const salt = new Uint8Array(16).fill(7)
const id = (fill: number) => concat(Uint8Array.of(1), new Uint8Array(31).fill(fill))
const text = textContent({ ...uris, salt, text: 'Grüße, 世界 🐦' })
const profile = roomProfileContent({ ...uris, salt, title: 'Larks' })

function single(contentType: string, content: string, disposition = 1): NestedPart {
  const bytes = utf8Encode(content)
  return { kind: 'singlePart', disposition, language: '', contentType, content: bytes }
}

function multi(partSemantics: MultiPart['partSemantics'], ...parts: NestedPart[]): NestedPart {
  return { kind: 'multiPart', disposition: 1, language: '', partSemantics, parts }
}

const plain = (content: string) => single('text/plain;charset=utf-8', content)
const textOf = (nestedPart: NestedPart) => plainText({ ...text, nestedPart })

function roundTrip(content: MimiContent): MimiContent {
  const decoded = decodeContent(encodeContent(content))
  ok(decoded.kind === 'decoded')
  return decoded.value
}

Deno.test('CONTENT-1: a text that Alice writes is what Bob reads', () => {
  const read = roundTrip(text)
  deepStrictEqual(read, text)
  strictEqual(plainText(read), 'Grüße, 世界 🐦')
  strictEqual(roomProfile(read), null)
  strictEqual(plainText(roundTrip(textContent({ ...uris, salt, text: '' }))), '')
  const longest = '水'.repeat(LIMITS.textMax)
  strictEqual(plainText(roundTrip(textContent({ ...uris, salt, text: longest }))), longest)
})

Deno.test('CONTENT-1: an answer, an edit, a topic and an expiry keep their fields', () => {
  const options = { replyTo: id(2), replaces: id(3), topicId: Uint8Array.of(9) }
  const expires = { relative: true, time: 3_600 }
  const read = roundTrip(textContent({ ...uris, salt, text: 'yes', ...options, expires }))
  deepStrictEqual([read.inReplyTo, read.replaces, read.topicId], [id(2), id(3), Uint8Array.of(9)])
  deepStrictEqual(read.expires, expires)
})

Deno.test('ROOM-11: the title of a room is content that only members read', () => {
  const read = roundTrip(profile)
  deepStrictEqual(roomProfile(read), { title: 'Larks' })
  strictEqual(plainText(read), null)
  const profileOf = (value: CborValue) => {
    const nestedPart = { ...profile.nestedPart, content: encodeCbor(value) } as NestedPart
    return roomProfile({ ...profile, nestedPart })
  }
  const later: CborValue = { kind: 'map', entries: [[1, 'Owls'], [2, 'of a later version']] }
  deepStrictEqual(profileOf(later), { title: 'Owls' })
  strictEqual(profileOf({ kind: 'map', entries: [[1, 5]] }), null)
  strictEqual(profileOf({ kind: 'map', entries: [[2, 'Owls']] }), null)
  const long = 'x'.repeat(LIMITS.titleMax + 1)
  strictEqual(profileOf({ kind: 'map', entries: [[1, long]] }), null)
  strictEqual(profileOf(null), null)
  throws(() => roomProfileContent({ ...uris, salt, title: long }), { name: 'AssertionFailure' })
})

Deno.test('CONTENT-2: a content names its sender and room, and the id depends on both', () => {
  deepStrictEqual(namedUris(roundTrip(text)), uris)
  strictEqual(namedUris({ ...text, mimiExtensions: new Map() }), null)
  const onlySender = new Map([[EXTENSION_KEYS.senderUri, uris.senderUri]])
  strictEqual(namedUris({ ...text, mimiExtensions: onlySender }), null)
  const hashed: string[] = []
  const hash = (bytes: Uint8Array) => {
    hashed.push(toHex(bytes))
    return new Uint8Array(32).fill(hashed.length)
  }
  const content = encodeContent(text)
  deepStrictEqual(messageId(hash, { ...uris, content }), id(1))
  const [sender, room] = [uris.senderUri, uris.roomUri].map((uri) =>
    concat(Uint8Array.of(0, uri.length), utf8Encode(uri))
  ) as [Uint8Array, Uint8Array]
  strictEqual(hashed[0], toHex(concat(sender, room, content, salt)))
  messageId(hash, { senderUri: `${uris.senderUri}m`, roomUri: uris.roomUri.slice(1), content })
  ok(hashed[0] !== hashed[1], 'lengths keep the URIs apart')
  const noContent = { ...uris, content: new Uint8Array(40) }
  throws(() => messageId(hash, noContent), { name: 'AssertionFailure' })
})

Deno.test('CONTENT-3: private keys are ours alone, and unknown extensions are kept', () => {
  const keys = Object.values(EXTENSION_KEYS)
  strictEqual(new Set(keys).size, keys.length)
  for (const [name, key] of Object.entries(EXTENSION_KEYS)) {
    ok(name === 'senderUri' || name === 'roomUri' ? key > 0 : key < 0, name)
  }
  const extensions: readonly (readonly [number | string, CborValue])[] = [
    ['z', { kind: 'float', value: 1.5 }],
    ['', null],
    [77_777, [{ kind: 'tag', tag: 32, value: 'https://example.com' }, 2n ** 60n]],
    [EXTENSION_KEYS.references, ['a@example', 'b@example']],
    [0, { kind: 'map', entries: [['k', { kind: 'simple', value: 23 }]] }],
  ]
  const known = extensions.filter(([key]) => key !== '')
  const bytes = encodeContent(textContent({ ...uris, salt, text: 'a', extensions: known }))
  const read = decodeContent(bytes)
  ok(read.kind === 'decoded')
  for (const [key, value] of known) deepStrictEqual(read.value.mimiExtensions.get(key), value)
  strictEqual(read.value.mimiExtensions.size, known.length + 2)
  strictEqual(toHex(encodeContent(read.value)), toHex(bytes))
  const empty = textContent({ ...uris, salt, text: 'a', extensions })
  throws(() => encodeContent(empty), { name: 'AssertionFailure' })
  const own = [[EXTENSION_KEYS.senderUri, 'mimi://hub.example/u/mallory']] as const
  deepStrictEqual(namedUris(textContent({ ...uris, salt, text: 'a', extensions: own })), uris)
})

Deno.test('CONTENT-1: the text of several parts follows how they belong together', () => {
  const image = single('image/png', 'png')
  strictEqual(textOf(multi('chooseOne', image, plain('a'), plain('b'))), 'a')
  strictEqual(textOf(multi('chooseOne', image, image)), null)
  strictEqual(textOf(multi('processAll', plain('a'), image, plain('b'))), 'a\nb')
  strictEqual(textOf(multi('processAll', image, image)), null)
  strictEqual(textOf(multi('singleUnit', plain('a'), plain('b'))), 'a\nb')
  strictEqual(textOf(multi('singleUnit', plain('a'), image)), null)
  strictEqual(textOf(multi('chooseOne', multi('singleUnit', plain('a'), image), plain('b'))), 'b')
})

Deno.test('CONTENT-1: text is known by its type, charset and disposition', () => {
  strictEqual(textOf(single('Text/Plain; Charset="UTF-8"', 'a')), 'a')
  strictEqual(textOf(single('text/plain', 'a')), 'a')
  strictEqual(textOf(single('text/markdown;variant=GFM-MIMI', '*a*')), '*a*')
  for (
    const type of ['text/plain;charset=utf-16', 'text/plainer', 'text/html', '', 'a/text/plain']
  ) {
    strictEqual(textOf(single(type, 'a')), null, type)
  }
  for (const disposition of [0, 1, 4, 9, 255]) {
    strictEqual(textOf(single('text/plain', 'a', disposition)), 'a', `${disposition}`)
  }
  for (const disposition of [2, 3, 5, 6, 7, 8]) {
    strictEqual(textOf(single('text/plain', 'a', disposition)), null, `${disposition}`)
  }
  const broken = { ...plain(''), content: Uint8Array.of(0xff) } as NestedPart
  strictEqual(textOf(broken), null)
})

/** The fields of a content as CBOR, with some of them replaced. */
function codeWith(changes: Readonly<Record<number, CborValue>>, more: CborValue[] = []): string {
  const extensions: CborValue = { kind: 'map', entries: [] }
  const fields: CborValue[] = [salt, null, new Uint8Array(0), null, null, extensions, [1, '', 0]]
  const changed = fields.map((field, index) => {
    const change = changes[index]
    return change === undefined ? field : change
  })
  const decoded = decodeContent(encodeCbor([...changed, ...more]))
  return decoded.kind === 'malformed' ? decoded.code : 'decoded'
}

Deno.test('CONTENT-1: each field is held to the draft', () => {
  strictEqual(codeWith({}), 'decoded')
  strictEqual(codeWith({}, [null]), 'badStructure')
  deepStrictEqual(decodeContent(encodeCbor(7)), { kind: 'malformed', code: 'badStructure' })
  strictEqual(codeWith({ 0: salt.subarray(1) }), 'badSalt')
  strictEqual(codeWith({ 0: 'sixteen letters!' }), 'badSalt')
  const otherHash = concat(Uint8Array.of(2), new Uint8Array(31))
  for (const bad of [id(1).subarray(1), otherHash, 0, '']) {
    strictEqual(codeWith({ 1: bad }), 'badMessageId')
    strictEqual(codeWith({ 4: bad }), 'badMessageId')
  }
  strictEqual(codeWith({ 2: new Uint8Array(LIMITS.topicIdMax) }), 'decoded')
  strictEqual(codeWith({ 2: new Uint8Array(LIMITS.topicIdMax + 1) }), 'badTopicId')
  strictEqual(codeWith({ 2: null }), 'badTopicId')
  strictEqual(codeWith({ 3: [false, 0xffffffff] }), 'decoded')
  for (const bad of [[true], [1, 1], [true, -1], [true, 2 ** 32], [true, 1, 1], 5]) {
    strictEqual(codeWith({ 3: bad }), 'badExpiration')
  }
})

Deno.test('CONTENT-1: extensions are held to the draft', () => {
  const codeOf = (key: number | string | Uint8Array, value: CborValue) =>
    codeWith({ 5: { kind: 'map', entries: [[key, value]] } })
  strictEqual(codeOf('x'.repeat(255), 0), 'decoded')
  strictEqual(codeOf('ü'.repeat(128), 0), 'badExtensions')
  strictEqual(codeOf('', 0), 'badExtensions')
  strictEqual(codeOf(salt, 0), 'badExtensions')
  strictEqual(codeOf(1, 'mimi://a'), 'decoded')
  strictEqual(codeOf(1, 5), 'badExtensions')
  strictEqual(codeOf(2, null), 'badExtensions')
  strictEqual(codeOf(256, [[{ kind: 'tag', tag: 32, value: '' }]]), 'decoded')
  strictEqual(codeOf(256, [[[{ kind: 'tag', tag: 32, value: '' }]]]), 'tooDeep')
  strictEqual(codeWith({ 5: [] }), 'badExtensions')
})

Deno.test('CONTENT-1: parts are held to the draft, in depth and count', () => {
  const codeOf = (part: CborValue) => codeWith({ 6: part })
  const none: CborValue = [1, '', 0]
  const nested = (depth: number): CborValue =>
    depth === 1 ? none : [1, '', 3, 0, [nested(depth - 1), none]]
  strictEqual(codeOf(nested(4)), 'decoded')
  strictEqual(codeOf(nested(5)), 'tooDeep')
  strictEqual(codeOf([255, 'de,en', 1, 'a/b', salt]), 'decoded')
  const lengths: CborValue[] = [[1, ''], [1, '', 0, 0], [1, '', 1, ''], [1, '', 3, 0], []]
  const types: CborValue[] = [[256, '', 0], [-1, '', 0], [1, 0, 0], [1, '', 4], [
    1,
    '',
    1,
    salt,
    '',
  ]]
  const multis: CborValue[] = [[1, '', 3, 3, [none, none]], [1, '', 3, 0, [none]], [1, '', 3, 0, 0]]
  for (const bad of [...lengths, ...types, ...multis, null, 'part']) {
    strictEqual(codeOf(bad), 'badPart')
  }
  const many = (count: number) => [1, '', 3, 2, Array.from({ length: count - 1 }, () => none)]
  strictEqual(codeOf(many(LIMITS.contentPartsMax)), 'decoded')
  strictEqual(codeOf(many(LIMITS.contentPartsMax + 1)), 'tooManyParts')
  const big = new Uint8Array(LIMITS.plaintextSizeMax)
  deepStrictEqual(decodeContent(concat(encodeContent(text), big)), {
    kind: 'malformed',
    code: 'tooLong',
  })
})

Deno.test('CONTENT-1: an external part keeps numbers of all widths', () => {
  const external = (size: CborValue, expires: CborValue = 0, encAlg: CborValue = 0): CborValue => {
    const none = new Uint8Array(0)
    return [6, '', 2, 'a/b', 'https://a', expires, size, encAlg, none, none, none, 1, none, '', '']
  }
  const codeOf = (part: CborValue) => codeWith({ 6: part })
  for (const size of [0, 2 ** 53 - 1, 2n ** 53n, 2n ** 64n - 1n]) {
    strictEqual(codeOf(external(size)), 'decoded')
  }
  strictEqual(codeOf(external(-1)), 'badPart')
  strictEqual(codeOf(external(-(2n ** 60n))), 'badPart')
  strictEqual(codeOf(external(0, 2 ** 32)), 'badPart')
  strictEqual(codeOf(external(0, 0, 65_536)), 'badPart')
})

Deno.test('CONTENT-1: a content that the draft does not allow is a programmer error', () => {
  const faults: readonly MimiContent[] = [
    { ...text, salt: salt.subarray(1) },
    { ...text, replaces: salt },
    { ...text, expires: { relative: true, time: 2 ** 32 } },
    { ...text, nestedPart: multi('chooseOne', plain('alone')) },
    { ...text, nestedPart: single('a/b', 'x'.repeat(LIMITS.plaintextSizeMax)) },
  ]
  for (const content of faults) throws(() => encodeContent(content), { name: 'AssertionFailure' })
})

function randomPart(prng: Prng, depth: number): NestedPart {
  const head = { disposition: prng.integer(256), language: prng.pick(['', 'de', 'en,fr']) }
  switch (prng.integer(depth < 4 ? 4 : 3)) {
    case 0:
      return { kind: 'nullPart', ...head }
    case 1: {
      const content = prng.bytes(prng.integer(40))
      return { kind: 'singlePart', ...head, contentType: prng.pick(['text/plain', '']), content }
    }
    case 2: {
      const place = { contentType: 'image/png', url: 'https://hub.example/1', expires: 5, size: 9n }
      const keys = { encAlg: 1, key: prng.bytes(16), nonce: prng.bytes(12), aad: prng.bytes(2) }
      const hash = { hashAlg: 1, contentHash: prng.bytes(32) }
      const names = { description: 'a lark', filename: 'lark.png' }
      return { kind: 'externalPart', ...head, ...place, ...keys, ...hash, ...names }
    }
    default: {
      const parts = Array.from({ length: 2 + prng.integer(2) }, () => randomPart(prng, depth + 1))
      const partSemantics = prng.pick(['chooseOne', 'singleUnit', 'processAll'] as const)
      return { kind: 'multiPart', ...head, partSemantics, parts }
    }
  }
}

function randomContent(prng: Prng): MimiContent {
  const extensions: readonly (readonly [number | string, CborValue])[] = [
    [prng.integer(2 ** 40), prng.bytes(prng.integer(9))],
    [-1 - prng.integer(300), prng.pick<CborValue>([true, null, 5, [1, [2]]])],
    [`x-${prng.integer(9)}`, { kind: 'float', value: (prng.integer(2_000) - 1_000) / 8 }],
  ]
  const composed = textContent({
    ...uris,
    salt: prng.bytes(16),
    text: '',
    extensions: extensions.slice(prng.integer(4)),
    replyTo: id(prng.integer(256)),
    expires: { relative: prng.integer(2) === 1, time: prng.integer(2 ** 32) },
  })
  return { ...composed, nestedPart: randomPart(prng, 1) }
}

/** Decodes without throwing, changes nothing, and if it decodes, encodes to the same bytes. */
function judge(bytes: Uint8Array): 'decoded' | 'malformed' {
  const before = toHex(bytes)
  const decoded = decodeContent(bytes)
  if (decoded.kind === 'decoded') {
    plainText(decoded.value)
    roomProfile(decoded.value)
    namedUris(decoded.value)
    strictEqual(toHex(encodeContent(decoded.value)), before)
  }
  strictEqual(toHex(bytes), before)
  return decoded.kind
}

Deno.test('CONTENT-1: every content reads back as it was', () => {
  const prng = createPrng(1)
  for (let run = 0; run < 300; run++) {
    const content = randomContent(prng)
    const read = roundTrip(content)
    deepStrictEqual({ ...read, mimiExtensions: null }, { ...content, mimiExtensions: null })
    deepStrictEqual(read.mimiExtensions, content.mimiExtensions)
  }
})

Deno.test('CONTENT-1: every truncation and every changed bit is refused or read exactly', () => {
  const prng = createPrng(2)
  const samples = [text, profile, ...Array.from({ length: 6 }, () => randomContent(prng))]
  let decodedCount = 0
  for (const sample of samples.map(encodeContent)) {
    for (let length = 0; length < sample.length; length++) {
      strictEqual(judge(sample.subarray(0, length)), 'malformed')
    }
    strictEqual(judge(concat(sample, Uint8Array.of(0))), 'malformed')
    for (let bit = 0; bit < sample.length * 8; bit++) {
      const changed = sample.slice()
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      if (judge(changed) === 'decoded') decodedCount++
    }
  }
  ok(decodedCount > 1_000, `${decodedCount} decoded`)
})

Deno.test('CONTENT-1: noise and spliced contents never throw', () => {
  const prng = createPrng(3)
  for (let run = 0; run < 3_000; run++) judge(prng.bytes(prng.integer(120)))
  for (let run = 0; run < 1_500; run++) {
    const [a, b] = [encodeContent(randomContent(prng)), encodeContent(randomContent(prng))]
    judge(concat(a.subarray(0, prng.integer(a.length)), b.subarray(prng.integer(b.length))))
  }
})
