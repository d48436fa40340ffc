/**
 * Both ends of a room that seal and open with the product's sender keys. Owns their state: what a
 * frame takes from a chain is taken here, and what it used up is wiped here. Stores nothing.
 */
import { assert } from '#core/base/assert.ts'
import { wipe } from '#core/base/bytes.ts'
import { type Epoch, epoch, type EpochId, leafIndex, type RoomId } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type Crypto, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import { exportSecret } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { open, type OpenContext, seal, sealBurst } from '#core/sender-keys/seal.ts'
import type { SealContext, SealItem } from '#core/sender-keys/seal.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import { createMemberStates } from './private-message-pair.ts'

/** What an engine gives: its primitives and its clock, in milliseconds. */
export interface Host {
  readonly crypto: Crypto
  readonly entropy: Entropy
  readonly nowMs: () => number
}

/** Sealing speaks for leaf 0 unless told otherwise. */
export interface Ends {
  seal(plaintext: Uint8Array, leaf?: number): Promise<Uint8Array>
  open(bytes: Uint8Array): Promise<Uint8Array>
  sealBurst(plaintexts: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
}

/** The signature key pair of a leaf. */
interface Signer {
  readonly signatureKey: Uint8Array
  readonly signatureSecret: Uint8Array
}

/** What both ends share in one epoch. */
interface EpochShared {
  readonly epoch: Epoch
  readonly epochId: EpochId
  readonly room: RoomId
  /** By leaf. */
  readonly signers: readonly Signer[]
  /** The data-plane root, for each end a copy of its own. */
  readonly roots: readonly [Uint8Array, Uint8Array]
}

/** Alice and Bob, with the exports of the MLS group that Bob joined by Alice's Welcome. */
export async function createPair(host: Host, suite: Suite): Promise<Ends> {
  const { crypto, entropy } = host
  const room = entropy.randomBytes(32) as RoomId
  const { alice, bob } = await createMemberStates({ crypto, entropy, suite })
  const { context, tree } = alice.public
  const epochId = epochIdOf(alice.public.suite, context)
  const exporting = {
    label: EPOCH_EXPORTS.dataPlane,
    context: exportContext(suite, room, epochId),
    length: exportLength(suite),
  }
  const signers = [alice, bob].map(({ ownLeaf, signatureSecret }): Signer => {
    const leaf = leafAt(tree, ownLeaf)
    assert(leaf !== null, 'a member has a leaf')
    return { signatureKey: leaf.signatureKey, signatureSecret }
  })
  const roots = [exportSecret(alice, exporting), exportSecret(bob, exporting)] as const
  return createEnds(host, suite, { epoch: epoch(context.epoch), epochId, room, signers, roots })
}

/** A room of so many people, none of them heard yet: no chain, no imported key, no table. */
export function createCrowd(host: Host, suite: Suite, count: number): Ends {
  const { entropy } = host
  const root = entropy.randomBytes(suite.hashLength)
  return createEnds(host, suite, {
    epoch: 0n as Epoch,
    epochId: entropy.randomBytes(suite.hashLength) as EpochId,
    room: entropy.randomBytes(32) as RoomId,
    signers: Array.from({ length: count }, () => createSigner(host, suite)),
    roots: [root, root.slice()],
  })
}

function createSigner({ crypto, entropy }: Host, suite: Suite): Signer {
  const seed = entropy.randomBytes(SIGNATURE_SEED_LENGTH[suite.signature])
  const { secretKey, publicKey } = crypto.signatureKeyPair(suite.signature, seed)
  return { signatureKey: publicKey, signatureSecret: secretKey }
}

function createEnds({ crypto, entropy }: Host, suite: Suite, shared: EpochShared): Ends {
  const { epoch, epochId, room, signers, roots } = shared
  const leafCount = signers.length
  let sending: SenderKeys = createSenderKeys({ suite, root: roots[0], leafCount })
  let receiving: SenderKeys = createSenderKeys({ suite, root: roots[1], leafCount })
  const seen = { position: 7n, hash: entropy.randomBytes(32) }
  const sealingBy = (leaf: number): SealContext => {
    const signer = signers[leaf]
    assert(signer !== undefined, 'a leaf has a signer')
    const { signatureSecret } = signer
    return { suite, room, epoch, epochId, leaf: leafIndex(leaf), lane: 0, seen, signatureSecret }
  }
  const opening: OpenContext = {
    suite,
    room,
    epochId,
    signatureKeyOf: (leaf) => signers[leaf]?.signatureKey ?? null,
    bursts: new BurstCache(),
  }
  const itemsOf = (plaintexts: readonly Uint8Array[], leaf: number): readonly SealItem[] => {
    const place = { leaf: leafIndex(leaf), lane: 0, count: plaintexts.length }
    const { reserved, keys, consumed } = reserve(crypto, sending, place)
    sending = keys
    wipe(...consumed)
    return reserved.map(({ generation, secret }, index) => ({
      generation,
      messageSecret: secret,
      nonce: entropy.randomBytes(suite.frameNonceLength),
      plaintext: plaintexts[index] as Uint8Array,
    }))
  }
  return {
    async seal(plaintext, leaf = 0) {
      const [item] = itemsOf([plaintext], leaf)
      assert(item !== undefined, 'one key was reserved')
      const bytes = await seal(crypto, sealingBy(leaf), item)
      wipe(item.messageSecret)
      return bytes
    },
    async open(bytes) {
      const opened = await open(crypto, receiving, opening, bytes)
      assert(opened.kind === 'opened', 'a frame opens')
      receiving = opened.keys
      wipe(...opened.consumed)
      return opened.plaintext
    },
    async sealBurst(plaintexts) {
      const items = itemsOf(plaintexts, 0)
      const frames = await sealBurst(crypto, sealingBy(0), items)
      for (const item of items) wipe(item.messageSecret)
      return frames
    },
  }
}
