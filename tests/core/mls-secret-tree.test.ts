/**
 * Properties of the secret tree (RFC 9420 section 9) as a value: what a step holds, gives up and
 * derives, in trees of any width, and the bounds of its ratchets. And what private messages refuse
 * that is properly encrypted.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { concat, toHex } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { AEAD_TAG_LENGTH, SUITES } from '#core/crypto/suites.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import { protect, senderDataKeyNonce, unprotect } from '#core/mls/private-message.ts'
import {
  messageKey,
  nextMessageKey,
  type RatchetKind,
  type SecretTree,
  secretTree,
  type TakenKey,
} from '#core/mls/secret-tree.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const suite = cipherSuite(crypto, SUITES.interoperation)
const RATCHETS = ['handshake', 'application'] as const

function rootOf(seed: number): Uint8Array {
  return createPrng(seed).bytes(suite.hashLength)
}

interface Place {
  readonly leaf: number
  readonly ratchet: RatchetKind
  readonly generation: number
}

function taken(tree: SecretTree, place: Place, of: CipherSuite = suite): TakenKey {
  const result = messageKey(of, tree, place)
  if (result.kind === 'refused') throw new Error(`a key is refused: ${result.code}`)
  return result
}

/** All secrets that a tree holds, by walking whatever it is made of. */
function secretsIn(tree: SecretTree): ReadonlySet<Uint8Array> {
  const found = new Set<Uint8Array>()
  const waiting: unknown[] = [tree.root]
  while (waiting.length > 0) {
    const value = waiting.pop()
    if (value instanceof Uint8Array) found.add(value)
    else if (value instanceof Map) { for (const each of value.values()) waiting.push(each) }
    else if (typeof value === 'object' && value !== null) {
      for (const each of Object.values(value)) waiting.push(each)
    }
  }
  return found
}

function copied(secrets: Iterable<Uint8Array>): readonly string[] {
  return [...secrets].map(toHex).sort()
}

/** The same objects, each once. */
function checkAll(listed: readonly Uint8Array[], expected: ReadonlySet<Uint8Array>): void {
  strictEqual(listed.length, expected.size)
  ok(new Set(listed).isSubsetOf(expected) && new Set(listed).size === listed.length)
}

Deno.test('a step of the secret tree tells exactly what it gave up and what it derived', () => {
  const prng = createPrng(7)
  for (const leafWidth of [1, 2, 8, 64]) {
    let tree = secretTree(rootOf(leafWidth), leafWidth)
    const used = new Set<string>()
    const keys = new Set<string>()
    for (let round = 0; round < 300; round++) {
      const place = {
        leaf: prng.integer(leafWidth),
        ratchet: prng.pick(RATCHETS),
        generation: prng.integer(12),
      }
      const before = secretsIn(tree)
      const bytesBefore = copied(before)
      const result = messageKey(suite, tree, place)
      deepStrictEqual(copied(before), bytesBefore)
      const name = JSON.stringify(place)
      if (used.has(name)) {
        deepStrictEqual(result, { kind: 'refused', code: 'generationUsed' })
        continue
      }
      ok(result.kind === 'taken')
      used.add(name)
      const after = secretsIn(result.tree)
      checkAll(result.consumed, before.difference(after))
      checkAll(result.derived, after.difference(before))
      ok(![...before, ...after].some((secret) => secret === result.key || secret === result.nonce))
      for (const secret of result.consumed) secret.fill(0)
      ok([...after].every((secret) => secret.some((byte) => byte !== 0)))
      keys.add(toHex(concat(result.key, result.nonce)))
      tree = result.tree
    }
    strictEqual(keys.size, used.size)
  }
})

Deno.test('keys do not depend on the order in which they are taken', () => {
  const prng = createPrng(11)
  const places: Place[] = []
  for (let leaf = 0; leaf < 16; leaf++) {
    for (const ratchet of RATCHETS) {
      for (let generation = 0; generation < 4; generation++) {
        places.push({ leaf, ratchet, generation })
      }
    }
  }
  const takenIn = (order: readonly Place[]) => {
    let tree = secretTree(rootOf(3), 16)
    const found = new Map<string, string>()
    for (const place of order) {
      const { key, nonce, tree: next } = taken(tree, place)
      found.set(JSON.stringify(place), toHex(concat(key, nonce)))
      tree = next
    }
    return found
  }
  const inOrder = takenIn(places)
  strictEqual(new Set(inOrder.values()).size, places.length)
  for (let round = 0; round < 5; round++) {
    const shuffled = places.map((place) => ({ place, at: prng.integer(1_000_000) }))
      .sort((a, b) => a.at - b.at).map(({ place }) => place)
    const found = takenIn(shuffled)
    for (const [name, key] of inOrder) strictEqual(found.get(name), key)
  }
})

Deno.test('the tree before a step goes on as it was, and a step can be given up', () => {
  const tree = secretTree(rootOf(5), 8)
  const place = { leaf: 6, ratchet: 'application', generation: 3 } as const
  const first = taken(tree, place)
  const key = toHex(first.key)
  for (const secret of [...first.derived, first.key, first.nonce]) secret.fill(0)
  strictEqual(toHex(taken(tree, place).key), key)
  // A key that was passed over is a copy: wiping it is no matter of the tree.
  const { tree: next } = taken(tree, place)
  const skipped = { ...place, generation: 1 }
  const once = taken(next, skipped)
  const skippedKey = toHex(once.key)
  once.key.fill(0)
  once.nonce.fill(0)
  strictEqual(toHex(taken(next, skipped).key), skippedKey)
  deepStrictEqual(messageKey(suite, once.tree, skipped), {
    kind: 'refused',
    code: 'generationUsed',
  })
})

/** The suite, with all that it expanded. */
function recorded(): { readonly suite: CipherSuite; readonly expanded: Uint8Array[] } {
  const expanded: Uint8Array[] = []
  return {
    expanded,
    suite: {
      ...suite,
      expand(prk, info, length) {
        const secret = suite.expand(prk, info, length)
        expanded.push(secret)
        return secret
      },
    },
  }
}

function isWiped(secret: Uint8Array): boolean {
  return secret.every((byte) => byte === 0)
}

Deno.test('what a step derives on its way and keeps nowhere is wiped', () => {
  const { suite: recording, expanded } = recorded()
  const tree = secretTree(rootOf(2), 16)
  const place = { leaf: 5, ratchet: 'application', generation: 3 } as const
  const first = taken(tree, place, recording)
  const kept = new Set([...secretsIn(first.tree), first.key, first.nonce])
  strictEqual(expanded.filter((secret) => kept.has(secret)).length, kept.size)
  // Three inner nodes on the way, the leaf, and the secrets of four generations.
  strictEqual(expanded.filter(isWiped).length, 3 + 1 + 4)
  ok(expanded.every((secret) => isWiped(secret) !== kept.has(secret)))
  for (const generation of [3_000, 0xffffffff]) {
    expanded.length = 0
    strictEqual(messageKey(recording, tree, { ...place, generation }).kind, 'refused')
    ok(expanded.length > 0 && expanded.every(isWiped))
  }
  ok([...secretsIn(tree)].every((secret) => !isWiped(secret)))
})

Deno.test('a tree of 65,536 leaves derives the way to one leaf, once', () => {
  const counting = recorded()
  const levels = Math.log2(LIMITS.membersMax)
  const tree = secretTree(rootOf(1), LIMITS.membersMax)
  const leaf = LIMITS.membersMax - 2
  const first = taken(tree, { leaf, ratchet: 'application', generation: 0 }, counting.suite)
  // Two children at each level, the first secrets of two ratchets, and one step of one.
  strictEqual(counting.expanded.length, 2 * levels + 2 + 3)
  strictEqual(secretsIn(first.tree).size, levels + 2)
  deepStrictEqual(first.consumed.length, 1)
  counting.expanded.length = 0
  const second = taken(first.tree, { leaf, ratchet: 'handshake', generation: 0 }, counting.suite)
  strictEqual(counting.expanded.length, 3)
  const beside = { leaf: leaf + 1, ratchet: 'handshake', generation: 0 } as const
  counting.expanded.length = 0
  const third = taken(second.tree, beside, counting.suite)
  strictEqual(counting.expanded.length, 2 + 3)
  strictEqual(new Set([first, second, third].map(({ key }) => toHex(key))).size, 3)
  deepStrictEqual(messageKey(suite, tree, { ...beside, leaf: LIMITS.membersMax }), {
    kind: 'refused',
    code: 'unknownLeaf',
  })
})

Deno.test('a ratchet goes so far ahead at once, and keeps so many keys that it passed over', () => {
  const max = LIMITS.mlsSkippedGenerationsMax
  const at = (generation: number): Place => ({ leaf: 1, ratchet: 'handshake', generation })
  const tree = secretTree(rootOf(9), 2)
  deepStrictEqual(messageKey(suite, tree, at(max + 1)), {
    kind: 'refused',
    code: 'generationTooFar',
  })
  deepStrictEqual(messageKey(suite, tree, at(0xffffffff)), {
    kind: 'refused',
    code: 'generationTooFar',
  })
  const farthest = taken(tree, at(max))
  const oldest = taken(farthest.tree, at(0))
  ok(oldest.consumed.length === 2)
  // One more passed over, and the oldest is forgotten, here as there.
  const onward = taken(farthest.tree, at(max + 2))
  deepStrictEqual(messageKey(suite, onward.tree, at(0)), {
    kind: 'refused',
    code: 'generationUsed',
  })
  const forgotten = copied(secretsIn(farthest.tree).difference(secretsIn(onward.tree)))
  deepStrictEqual(copied(onward.consumed), forgotten)
  ok(forgotten.includes(toHex(oldest.key)))
  strictEqual(taken(onward.tree, at(1)).kind, 'taken')
  const room = taken(oldest.tree, at(max + 2))
  strictEqual(taken(room.tree, at(1)).kind, 'taken')
})

Deno.test('an own ratchet gives each generation once, the same that others take', () => {
  const root = rootOf(13)
  let own = secretTree(root.slice(), 4)
  for (let generation = 0; generation < 5; generation++) {
    const sent = nextMessageKey(suite, own, { leaf: 2, ratchet: 'application' })
    strictEqual(sent.generation, generation)
    const place = { leaf: 2, ratchet: 'application', generation } as const
    const received = taken(secretTree(root.slice(), 4), place)
    deepStrictEqual([received.key, received.nonce], [sent.key, sent.nonce])
    notDeepStrictEqual(taken(secretTree(root, 4), { ...place, ratchet: 'handshake' }).key, sent.key)
    own = sent.tree
    strictEqual(messageKey(suite, own, place).kind, 'refused')
  }
  throws(() => nextMessageKey(suite, own, { leaf: 4, ratchet: 'application' }))
  throws(() => secretTree(root, 3))
})

// ---- Private messages ---------------------------------------------------------------------

const LEAF = 1

function secrets() {
  return { senderDataSecret: rootOf(17), secretTree: secretTree(rootOf(19), 2) }
}

/** Always the same content; the seed is of the randomness that encrypts it. */
function messageOf(seed: number) {
  const prng = createPrng(23)
  const random = createPrng(seed)
  return protect(suite, secrets(), {
    content: {
      groupId: prng.bytes(16),
      epoch: 3n,
      sender: { kind: 'member', leaf: LEAF },
      authenticatedData: prng.bytes(5),
      body: { kind: 'application', content: prng.bytes(20) },
    },
    auth: { signature: prng.bytes(64), confirmationTag: null },
    ownLeaf: LEAF,
    paddingLength: 8,
    entropy: { randomBytes: (length) => random.bytes(length) },
  }).message
}

/** PrivateContentAAD and SenderDataAAD, written down by hand. */
function associated(message: ReturnType<typeof messageOf>) {
  const { groupId, authenticatedData } = message
  const header = concat(
    Uint8Array.of(groupId.length),
    groupId,
    Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 3, 1),
  )
  const content = concat(header, Uint8Array.of(authenticatedData.length), authenticatedData)
  return { header, content }
}

/** The message with another plaintext and other sender data, made by who has all secrets. */
function remade(plaintext: Uint8Array, senderData: Uint8Array) {
  const message = messageOf(1)
  const aad = associated(message)
  const { key, nonce } = taken(secrets().secretTree, {
    leaf: LEAF,
    ratchet: 'application',
    generation: 0,
  })
  const ciphertext = suite.seal({ key, nonce, aad: aad.content }, plaintext)
  const keyed = senderDataKeyNonce(suite, secrets().senderDataSecret, ciphertext)
  const encryptedSenderData = suite.seal({ ...keyed, aad: aad.header }, senderData)
  return unprotect(suite, secrets(), { ...message, ciphertext, encryptedSenderData })
}

/** No reuse guard, which leaves the nonce as it is. */
const FROM_LEAF = Uint8Array.of(0, 0, 0, LEAF, 0, 0, 0, 0, 0, 0, 0, 0)
const CONTENT = Uint8Array.of(2, 0xaa, 0xbb, 3, 1, 2, 3)

Deno.test('a private message opens with any padding of zeros, and with no other', () => {
  for (const padding of [0, 1, 100]) {
    const opened = remade(concat(CONTENT, new Uint8Array(padding)), FROM_LEAF)
    ok(opened.kind === 'unprotected')
    deepStrictEqual(opened.content.body, {
      kind: 'application',
      content: Uint8Array.of(0xaa, 0xbb),
    })
    deepStrictEqual(opened.auth, { signature: Uint8Array.of(1, 2, 3), confirmationTag: null })
  }
  const malformed = { kind: 'refused', code: 'malformed' }
  deepStrictEqual(remade(concat(CONTENT, Uint8Array.of(0, 1)), FROM_LEAF), malformed)
  deepStrictEqual(remade(CONTENT.subarray(0, 5), FROM_LEAF), malformed)
  deepStrictEqual(remade(new Uint8Array(0), FROM_LEAF), malformed)
})

Deno.test('sender data that names no leaf, a far generation or too much is refused', () => {
  const other = (at: number, byte: number) => FROM_LEAF.with(at, byte)
  deepStrictEqual(remade(CONTENT, other(3, 2)), { kind: 'refused', code: 'malformed' })
  deepStrictEqual(remade(CONTENT, other(0, 255)), { kind: 'refused', code: 'malformed' })
  deepStrictEqual(remade(CONTENT, concat(FROM_LEAF, Uint8Array.of(0))), {
    kind: 'refused',
    code: 'malformed',
  })
  deepStrictEqual(remade(CONTENT, FROM_LEAF.subarray(1)), { kind: 'refused', code: 'malformed' })
  deepStrictEqual(remade(CONTENT, other(4, 1)), { kind: 'refused', code: 'generationTooFar' })
  deepStrictEqual(remade(CONTENT, other(7, 1)), { kind: 'refused', code: 'notDecryptable' })
  deepStrictEqual(remade(CONTENT, other(11, 1)), { kind: 'refused', code: 'notDecryptable' })
})

Deno.test('a private message that is refused leaves no secret behind but those before it', () => {
  const { suite: recording, expanded } = recorded()
  const { ciphertext, ...message } = messageOf(1)
  const state = secrets()
  // The sender data depends on the first bytes of the ciphertext alone, and opens.
  const forged = ciphertext.with(-1, (ciphertext.at(-1) as number) ^ 1)
  deepStrictEqual(unprotect(recording, state, { ...message, ciphertext: forged }), {
    kind: 'refused',
    code: 'notDecryptable',
  })
  ok(expanded.length > 4 && expanded.every(isWiped))
  expanded.length = 0
  const opened = unprotect(recording, state, { ...message, ciphertext })
  ok(opened.kind === 'unprotected')
  const kept = secretsIn(opened.secretTree)
  ok(expanded.every((secret) => isWiped(secret) !== kept.has(secret)))
  checkAll(opened.derived, kept.difference(secretsIn(state.secretTree)))
  checkAll(opened.consumed, secretsIn(state.secretTree).difference(kept))
})

Deno.test('two private messages of one generation share no nonce, and hide their sender', () => {
  const [first, second] = [messageOf(1), messageOf(2)]
  deepStrictEqual(messageOf(1), first)
  strictEqual(first.ciphertext.length, second.ciphertext.length)
  // Under one nonce a stream cipher gives the same first bytes for the same plaintext.
  notDeepStrictEqual(first.ciphertext.subarray(0, 20), second.ciphertext.subarray(0, 20))
  notDeepStrictEqual(first.encryptedSenderData, second.encryptedSenderData)
  strictEqual(first.encryptedSenderData.length, FROM_LEAF.length + AEAD_TAG_LENGTH)
  for (const message of [first, second]) {
    const opened = unprotect(suite, secrets(), message)
    ok(opened.kind === 'unprotected')
    deepStrictEqual(opened.content.sender, { kind: 'member', leaf: LEAF })
    deepStrictEqual(opened.content.body, {
      kind: 'application',
      content: createPrng(23).bytes(41).subarray(21),
    })
  }
})
