/**
 * The secret tree of an epoch (RFC 9420 section 9): keys and nonces of private messages, for each
 * leaf a ratchet of its handshake and one of its application messages. Derived as far as it is
 * used. Trees are values: a step gives the next one, and tells which secrets that one no longer
 * holds. Owns derivation and bounds; owns no encryption (see `private-message.ts`).
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY, utf8Encode, wipe } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { expandWithLabel } from '#core/mls/labelled.ts'
import { encode, u32 } from '#core/wire/codec.ts'

export type RatchetKind = 'handshake' | 'application'

/** Of one message. */
export interface MessageKey {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
}

export interface Ratchet {
  /** Of the next key that was not derived yet. */
  readonly generation: number
  readonly secret: Uint8Array
  /** Keys that were passed over, ascending by generation. */
  readonly skipped: ReadonlyMap<number, MessageKey>
}

/** A node whose children are not derived yet. */
interface Sealed {
  readonly kind: 'sealed'
  readonly secret: Uint8Array
}
interface Opened {
  readonly kind: 'opened'
  readonly left: SecretSubtree
  readonly right: SecretSubtree
}
export type LeafRatchets = { readonly kind: 'leaf' } & Readonly<Record<RatchetKind, Ratchet>>
export type SecretSubtree = Sealed | Opened | LeafRatchets

/** All keys of an epoch that were not used. A secret as a whole. */
export interface SecretTree {
  /** Leaves of the ratchet tree, blank ones included: a power of two. */
  readonly leafWidth: number
  readonly root: SecretSubtree
}

/** The tree over an encryption_secret, which it then owns. */
export function secretTree(encryptionSecret: Uint8Array, leafWidth: number): SecretTree {
  assert(Number.isInteger(Math.log2(leafWidth)), 'a tree is as wide as a power of two')
  return { leafWidth, root: { kind: 'sealed', secret: encryptionSecret } }
}

/** Every secret that a tree holds, to be wiped when the epoch is over. */
export function secretsOfTree(tree: SecretTree): readonly Uint8Array[] {
  const secrets: Uint8Array[] = []
  const waiting: SecretSubtree[] = [tree.root]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (at.kind === 'sealed') secrets.push(at.secret)
    else if (at.kind === 'opened') waiting.push(at.left, at.right)
    else {
      for (const { secret, skipped } of [at.handshake, at.application]) {
        secrets.push(secret)
        for (const { key, nonce } of skipped.values()) secrets.push(key, nonce)
      }
    }
  }
  return secrets
}

/** A key that was taken. Exactly one of `consumed` and `derived` is wiped in the end. */
export interface TakenKey {
  readonly kind: 'taken'
  /** The tree without this key. */
  readonly tree: SecretTree
  readonly generation: number
  /** The caller wipes key and nonce after use, whatever becomes of the step. */
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  /** What the tree before holds and the next does not; wiped once only the next one is used. */
  readonly consumed: readonly Uint8Array[]
  /** What the next tree holds and the one before does not; wiped when the step is given up. */
  readonly derived: readonly Uint8Array[]
}

export type KeyRefusal =
  | 'unknownLeaf'
  /** Taken before, or passed over so long ago that it was forgotten. */
  | 'generationUsed'
  /** More than `mlsSkippedGenerationsMax` ahead. */
  | 'generationTooFar'

/**
 * Takes the key of a message that was received (RFC 9420 section 9.1). Those before it are kept,
 * the oldest forgotten beyond `mlsSkippedGenerationsMax` of a ratchet.
 */
export function messageKey(
  suite: CipherSuite,
  tree: SecretTree,
  place: {
    /** Leaf index. */
    readonly leaf: number
    readonly ratchet: RatchetKind
    readonly generation: number
  },
): TakenKey | { readonly kind: 'refused'; readonly code: KeyRefusal } {
  if (place.leaf >= tree.leafWidth) return { kind: 'refused', code: 'unknownLeaf' }
  const secrets = new StepSecrets()
  const descent = descend(suite, { tree, leaf: place.leaf, secrets })
  const ratchet = descent.leaf[place.ratchet]
  const code = refusalOf(ratchet, place.generation)
  if (code !== null) {
    for (const secret of secrets.derived) wipe(secret)
    return { kind: 'refused', code }
  }
  const taken = place.generation < ratchet.generation
    ? takeSkipped(ratchet, place.generation, secrets)
    : takeAhead(suite, ratchet, { generation: place.generation, secrets })
  return step({ tree, place, descent, secrets, taken })
}

/** Takes the next key of an own ratchet, for a message that is sent. */
export function nextMessageKey(
  suite: CipherSuite,
  tree: SecretTree,
  place: { readonly leaf: number; readonly ratchet: RatchetKind },
): TakenKey {
  assert(place.leaf < tree.leafWidth, 'an own leaf is in the tree')
  const secrets = new StepSecrets()
  const descent = descend(suite, { tree, leaf: place.leaf, secrets })
  const ratchet = descent.leaf[place.ratchet]
  const { generation } = ratchet
  const taken = takeAhead(suite, ratchet, { generation, secrets })
  return step({ tree, place: { ...place, generation }, descent, secrets, taken })
}

/** Which secrets a step takes from the tree before it, and which it adds. */
class StepSecrets {
  readonly consumed: Uint8Array[] = []
  readonly derived = new Set<Uint8Array>()

  derive(secret: Uint8Array): Uint8Array {
    this.derived.add(secret)
    return secret
  }

  /** What the step itself derived is in no tree, and is wiped at once. */
  spend(secret: Uint8Array): void {
    if (this.derived.delete(secret)) wipe(secret)
    else this.consumed.push(secret)
  }
}

function refusalOf(ratchet: Ratchet, generation: number): KeyRefusal | null {
  if (generation < ratchet.generation) {
    return ratchet.skipped.has(generation) ? null : 'generationUsed'
  }
  const ahead = generation - ratchet.generation
  return ahead > LIMITS.mlsSkippedGenerationsMax ? 'generationTooFar' : null
}

// ---- Ratchets -----------------------------------------------------------------------------

interface TakenOfRatchet extends MessageKey {
  readonly ratchet: Ratchet
}

function takeSkipped(
  ratchet: Ratchet,
  generation: number,
  secrets: StepSecrets,
): TakenOfRatchet {
  const { key, nonce } = ratchet.skipped.get(generation) as MessageKey
  const skipped = new Map(ratchet.skipped)
  skipped.delete(generation)
  const copy = { key: key.slice(), nonce: nonce.slice() }
  secrets.spend(key)
  secrets.spend(nonce)
  return { ...copy, ratchet: { ...ratchet, skipped } }
}

function takeAhead(
  suite: CipherSuite,
  ratchet: Ratchet,
  to: { readonly generation: number; readonly secrets: StepSecrets },
): TakenOfRatchet {
  const { generation, secrets } = to
  const skipped = new Map(ratchet.skipped)
  let { secret } = ratchet
  const advance = (at: number): MessageKey => {
    const derived = (label: string, length: number) =>
      expandWithLabel(suite, secret, { label, context: encode(u32, at), length })
    const key = derived('key', suite.aeadKeyLength)
    const nonce = derived('nonce', suite.aeadNonceLength)
    const next = derived('secret', suite.hashLength)
    secrets.spend(secret)
    secret = secrets.derive(next)
    return { key, nonce }
  }
  for (let skip = ratchet.generation; skip < generation; skip++) {
    const { key, nonce } = advance(skip)
    skipped.set(skip, { key: secrets.derive(key), nonce: secrets.derive(nonce) })
  }
  const taken = advance(generation)
  for (const [oldest, { key, nonce }] of skipped) {
    if (skipped.size <= LIMITS.mlsSkippedGenerationsMax) break
    skipped.delete(oldest)
    secrets.spend(key)
    secrets.spend(nonce)
  }
  return { ...taken, ratchet: { generation: generation + 1, secret, skipped } }
}

// ---- The tree -----------------------------------------------------------------------------

const LEFT = utf8Encode('left')
const RIGHT = utf8Encode('right')

/** The way from the root to a leaf. */
interface Descent {
  readonly leaf: LeafRatchets
  /** The children not taken, from the root down. */
  readonly siblings: readonly SecretSubtree[]
}

/** Goes down to a leaf, deriving what is not derived yet. */
function descend(
  suite: CipherSuite,
  to: { readonly tree: SecretTree; readonly leaf: number; readonly secrets: StepSecrets },
): Descent {
  const { tree, secrets } = to
  const siblings: SecretSubtree[] = []
  let at = tree.root
  for (let width = tree.leafWidth; width > 1; width /= 2) {
    const { left, right } = openedNode(suite, at, secrets)
    const rightward = isRightward(to.leaf, width)
    siblings.push(rightward ? left : right)
    at = rightward ? right : left
  }
  return { leaf: openedLeaf(suite, at, secrets), siblings }
}

/** Whether the way to a leaf goes to the right in a subtree that is so many leaves wide. */
function isRightward(leaf: number, width: number): boolean {
  return leaf % width >= width / 2
}

function openedNode(suite: CipherSuite, at: SecretSubtree, secrets: StepSecrets): Opened {
  assert(at.kind !== 'leaf', 'a leaf is one leaf wide')
  if (at.kind === 'opened') return at
  const child = (context: Uint8Array): Sealed => {
    const expansion = { label: 'tree', context, length: suite.hashLength }
    const secret = secrets.derive(expandWithLabel(suite, at.secret, expansion))
    return { kind: 'sealed', secret }
  }
  const opened = { kind: 'opened', left: child(LEFT), right: child(RIGHT) } as const
  secrets.spend(at.secret)
  return opened
}

function openedLeaf(suite: CipherSuite, at: SecretSubtree, secrets: StepSecrets): LeafRatchets {
  assert(at.kind !== 'opened', 'a node has two leaves at least')
  if (at.kind === 'leaf') return at
  const first = (label: RatchetKind): Ratchet => {
    const expansion = { label, context: EMPTY, length: suite.hashLength }
    const secret = secrets.derive(expandWithLabel(suite, at.secret, expansion))
    return { generation: 0, secret, skipped: new Map() }
  }
  const leaf: LeafRatchets = {
    kind: 'leaf',
    handshake: first('handshake'),
    application: first('application'),
  }
  secrets.spend(at.secret)
  return leaf
}

/** The tree with the ratchet as it is after the step. */
function step(
  made: {
    readonly tree: SecretTree
    readonly place: {
      readonly leaf: number
      readonly ratchet: RatchetKind
      readonly generation: number
    }
    readonly descent: Descent
    readonly secrets: StepSecrets
    readonly taken: TakenOfRatchet
  },
): TakenKey {
  const { place, descent, secrets, taken } = made
  const { leafWidth } = made.tree
  let root: SecretSubtree = { ...descent.leaf, [place.ratchet]: taken.ratchet }
  let width = 2
  for (const sibling of descent.siblings.toReversed()) {
    root = isRightward(place.leaf, width)
      ? { kind: 'opened', left: sibling, right: root }
      : { kind: 'opened', left: root, right: sibling }
    width *= 2
  }
  return {
    kind: 'taken',
    tree: { leafWidth, root },
    generation: place.generation,
    key: taken.key,
    nonce: taken.nonce,
    consumed: secrets.consumed,
    derived: [...secrets.derived],
  }
}
