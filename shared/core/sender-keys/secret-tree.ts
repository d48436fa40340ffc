/**
 * Sender keys of one epoch (KEY-2, KEY-3): a secret tree of the shape of RFC 9420 section 9,
 * computed as far as it is needed, and a chain for each leaf and lane. Owns derivation, bounds and
 * what is to be wiped; owns no storage. States are values: a call returns the next one, and the
 * secrets that it no longer holds.
 */
import { assert } from '#core/base/assert.ts'
import type { LeafIndex } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { expandWithLabel, type KdfLabel, LABELS } from '#core/crypto/labels.ts'
import { type Suite, suiteById } from '#core/crypto/suites.ts'
import { type Chain, ChainTable } from '#core/sender-keys/chains.ts'
import { decode, encode, opaque, struct, u16, u32, u8, vector } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** All keys of one epoch that have not been used. A secret as a whole. */
export interface SenderKeys {
  readonly suite: Suite
  /** Leaves of the tree, a power of two. */
  readonly width: number
  /** Secrets of nodes whose children are not derived yet, by node index (RFC 9420 appendix C). */
  readonly nodes: ReadonlyMap<number, Uint8Array>
  readonly chains: ChainTable
}

/** Keys of an epoch from its data-plane root, which the state then owns. */
export function createSenderKeys(
  options: { readonly suite: Suite; readonly root: Uint8Array; readonly leafCount: number },
): SenderKeys {
  const { suite, root, leafCount } = options
  assert(leafCount > 0 && root.length === suite.hashLength, 'a tree has a leaf and a root')
  const width = 2 ** Math.ceil(Math.log2(leafCount))
  return { suite, width, nodes: new Map([[width - 1, root]]), chains: ChainTable.EMPTY }
}

/** What a call used up: `consumed` is the caller's to wipe, after the next state is stored. */
export interface Transition {
  readonly keys: SenderKeys
  readonly consumed: readonly Uint8Array[]
  /** Chains that differ from before. */
  readonly touched: readonly Chain[]
  readonly nodesChanged: boolean
}

export type Taken =
  | Transition & { readonly kind: 'taken'; readonly secret: Uint8Array }
  | {
    readonly kind: 'refused'
    readonly code: 'replayed' | 'generationTooFar' | 'unknownLeaf'
  }

export interface KeyPlace {
  readonly leaf: LeafIndex
  readonly lane: number
  readonly generation: number
}

/**
 * Takes the message secret of one generation; it cannot be taken again (KEY-3). Those before it are
 * kept, the oldest forgotten beyond `skippedKeysMax`; `replayed` is what was taken or forgotten.
 */
export function take(crypto: Crypto, keys: SenderKeys, place: KeyPlace): Taken {
  if (place.leaf >= keys.width || place.lane >= LIMITS.lanesMax) {
    return { kind: 'refused', code: 'unknownLeaf' }
  }
  const opened = openLeaf(crypto, keys, place.leaf)
  const chain = opened.keys.chains.get(place.leaf, place.lane) as Chain
  const { generation } = place
  if (generation < chain.generation) return takeSkipped(opened, chain, generation)
  const isLast = generation > LIMITS.generationMax
  if (isLast || generation - chain.generation > LIMITS.generationJumpMax) {
    return { kind: 'refused', code: 'generationTooFar' }
  }
  const consumed = [...opened.consumed]
  const skipped = new Map(chain.skipped)
  let { secret } = chain
  for (let skip = chain.generation; skip < generation; skip++) {
    const step = ratchet(crypto, keys.suite, secret, skip)
    skipped.set(skip, step.message)
    consumed.push(secret)
    secret = step.next
  }
  const last = ratchet(crypto, keys.suite, secret, generation)
  consumed.push(secret)
  // Ascending, since generations were skipped in their order.
  for (const [oldest, forgotten] of skipped) {
    if (skipped.size <= LIMITS.skippedKeysMax) break
    consumed.push(forgotten)
    skipped.delete(oldest)
  }
  const next = { ...chain, generation: generation + 1, secret: last.next, skipped }
  return {
    kind: 'taken',
    secret: last.message,
    ...withChain(opened, next),
    consumed,
  }
}

function takeSkipped(opened: Transition, chain: Chain, generation: number): Taken {
  const secret = chain.skipped.get(generation)
  if (secret === undefined) return { kind: 'refused', code: 'replayed' }
  const skipped = new Map(chain.skipped)
  skipped.delete(generation)
  return { kind: 'taken', secret, ...withChain(opened, { ...chain, skipped }) }
}

function withChain(before: Transition, chain: Chain): Transition {
  const others = before.touched.filter((each) =>
    each.leaf !== chain.leaf || each.lane !== chain.lane
  )
  return {
    ...before,
    keys: { ...before.keys, chains: before.keys.chains.with(chain) },
    touched: [...others, chain],
  }
}

export interface ReservedKey {
  readonly generation: number
  readonly secret: Uint8Array
}

/**
 * Takes the next `count` message secrets of an own chain at once (KEY-4). The state returned stands
 * beyond them: once it is stored, no restart can bring one of them back.
 */
export function reserve(
  crypto: Crypto,
  keys: SenderKeys,
  place: { readonly leaf: LeafIndex; readonly lane: number; readonly count: number },
): Transition & { readonly reserved: readonly ReservedKey[] } {
  assert(place.leaf < keys.width && place.lane < LIMITS.lanesMax, 'an own leaf is in the tree')
  const opened = openLeaf(crypto, keys, place.leaf)
  const chain = opened.keys.chains.get(place.leaf, place.lane) as Chain
  const consumed = [...opened.consumed]
  const reserved: ReservedKey[] = []
  let { generation, secret } = chain
  for (let index = 0; index < place.count; index++, generation++) {
    const step = ratchet(crypto, keys.suite, secret, generation)
    reserved.push({ generation, secret: step.message })
    consumed.push(secret)
    secret = step.next
  }
  return { reserved, ...withChain(opened, { ...chain, generation, secret }), consumed }
}

// ---- Derivation ---------------------------------------------------------------------------

interface Expansion {
  readonly secret: Uint8Array
  readonly label: KdfLabel
  readonly context: Uint8Array
}

function expand(crypto: Crypto, suite: Suite, from: Expansion): Uint8Array {
  return expandWithLabel(crypto, suite.hash, { ...from, length: suite.hashLength })
}

const numberCodec = u32

function ratchet(crypto: Crypto, suite: Suite, secret: Uint8Array, generation: number) {
  const context = encode(numberCodec, generation)
  return {
    message: expand(crypto, suite, { secret, label: LABELS.senderKeyMessage, context }),
    next: expand(crypto, suite, { secret, label: LABELS.senderKeyChain, context }),
  }
}

/** Level of a node: the number of trailing one bits of its index (RFC 9420 appendix C). */
function level(node: number): number {
  let result = 0
  while (((node >>> result) & 1) === 1) result++
  return result
}

/**
 * Derives the way down to a leaf and its chains, if they are not derived yet (RFC 9420 section 9).
 */
function openLeaf(crypto: Crypto, keys: SenderKeys, leaf: LeafIndex): Transition {
  const unchanged = { keys, consumed: [], touched: [], nodesChanged: false }
  if (keys.chains.get(leaf, 0) !== undefined) return unchanged
  const target = 2 * leaf
  const nodes = new Map(keys.nodes)
  const consumed: Uint8Array[] = []
  let node = keys.width - 1
  while (!nodes.has(node)) {
    assert(level(node) > 0, 'every leaf has a derived ancestor or chains')
    node = child(node, target)
  }
  while (level(node) > 0) {
    const secret = nodes.get(node) as Uint8Array
    const half = 2 ** (level(node) - 1)
    for (const each of [node - half, node + half]) {
      const context = encode(numberCodec, each)
      nodes.set(each, expand(crypto, keys.suite, { secret, label: LABELS.senderKeyNode, context }))
    }
    nodes.delete(node)
    consumed.push(secret)
    node = child(node, target)
  }
  const nodeSecret = nodes.get(target) as Uint8Array
  nodes.delete(target)
  const leafSecret = expand(crypto, keys.suite, {
    secret: nodeSecret,
    label: LABELS.senderKeyLeaf,
    context: encode(numberCodec, leaf),
  })
  consumed.push(nodeSecret, leafSecret)
  const opened: Chain[] = []
  for (let lane = 0; lane < LIMITS.lanesMax; lane++) {
    const context = encode(u8, lane)
    const secret = expand(crypto, keys.suite, {
      secret: leafSecret,
      label: LABELS.senderKeyLane,
      context,
    })
    opened.push({ leaf, lane, generation: 0, secret, skipped: new Map() })
  }
  const chains = keys.chains.with(...opened)
  return { keys: { ...keys, nodes, chains }, consumed, touched: opened, nodesChanged: true }
}

function child(node: number, target: number): number {
  const half = 2 ** (level(node) - 1)
  return target < node ? node - half : node + half
}

// ---- Records ------------------------------------------------------------------------------

const secretCodec = opaque(64, 32)
const nodesCodec = struct({
  format: format('sender key nodes'),
  suite: u16,
  width: u32,
  nodes: vector(struct({ node: u32, secret: secretCodec }), LIMITS.membersMax),
  extensions,
})
const chainCodec = struct({
  format: format('sender key chain'),
  leaf: u32,
  lane: u8,
  generation: u32,
  secret: secretCodec,
  skipped: vector(struct({ generation: u32, secret: secretCodec }), LIMITS.skippedKeysMax),
  extensions,
})

/** The tree without its chains, as a record; a secret. */
export function encodeNodes(keys: SenderKeys): Uint8Array {
  return encode(nodesCodec, {
    format: STRUCTURE_VERSION,
    suite: keys.suite.id,
    width: keys.width,
    nodes: [...keys.nodes].map(([node, secret]) => ({ node, secret })),
    extensions: NO_EXTENSIONS,
  })
}

/** One chain as a record; a secret. */
export function encodeChain(chain: Chain): Uint8Array {
  const skipped = [...chain.skipped].map(([generation, secret]) => ({ generation, secret }))
  return encode(chainCodec, {
    ...chain,
    format: STRUCTURE_VERSION,
    skipped,
    extensions: NO_EXTENSIONS,
  })
}

/** The keys again from their records; null when one is missing or not of this version. */
export function decodeSenderKeys(
  nodes: Uint8Array,
  chains: readonly Uint8Array[],
): SenderKeys | null {
  const tree = decode(nodesCodec, nodes.slice())
  const suite = tree.kind === 'decoded' ? suiteById(tree.value.suite) : null
  if (tree.kind === 'malformed' || suite === null) return null
  const found: Chain[] = []
  for (const bytes of chains) {
    const decoded = decode(chainCodec, bytes.slice())
    if (decoded.kind === 'malformed') return null
    const { leaf, lane, generation, secret, skipped } = decoded.value
    found.push({
      leaf: leaf as LeafIndex,
      lane,
      generation,
      secret,
      skipped: new Map(skipped.map((each) => [each.generation, each.secret])),
    })
  }
  const keys = {
    suite,
    width: tree.value.width,
    nodes: new Map(tree.value.nodes.map(({ node, secret }) => [node, secret])),
    chains: ChainTable.EMPTY.with(...found),
  }
  return isComplete(keys, found.length) ? keys : null
}

/** True when each leaf has its chains, or a node from which they can still be derived. */
function isComplete(keys: SenderKeys, chainCount: number): boolean {
  let ahead = 0
  for (const node of keys.nodes.keys()) ahead += 2 ** level(node)
  return ahead + chainCount / LIMITS.lanesMax === keys.width
}
