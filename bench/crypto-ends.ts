/**
 * Both ends of a room that seal and open with the product's sender keys. Owns their state: what a
 * frame takes from a chain is taken here, and what it used up is wiped here. Stores nothing.
 */
import { assert } from '#core/base/assert.ts'
import { utf8Encode, wipe } from '#core/base/bytes.ts'
import { type Epoch, type EpochId, leafIndex, type RoomId, type TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type Crypto, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import type { MlsGroup, MlsSigner } from '#core/mls/mls.ts'
import { createTsMls } from '#core/mls/ts-mls.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { open, type OpenContext, seal, sealBurst } from '#core/sender-keys/seal.ts'
import type { SealContext, SealItem } from '#core/sender-keys/seal.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'

/** What an engine gives: its primitives and its clock, in milliseconds. */
export interface Host {
  readonly crypto: Crypto
  readonly entropy: Entropy
  readonly nowMs: () => number
  /** Wall clock: leaves have a lifetime. */
  readonly wallMs: number
}

/** Sealing speaks for leaf 0 unless told otherwise. */
export interface Ends {
  seal(plaintext: Uint8Array, leaf?: number): Promise<Uint8Array>
  open(bytes: Uint8Array): Promise<Uint8Array>
  sealBurst(plaintexts: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
}

/** What both ends share in one epoch. */
interface EpochShared {
  readonly epoch: Epoch
  readonly epochId: EpochId
  readonly room: RoomId
  /** By leaf. */
  readonly signers: readonly MlsSigner[]
  /** The data-plane root, for each end a copy of its own. */
  readonly roots: readonly [Uint8Array, Uint8Array]
}

/** Alice and Bob, with the exports of the MLS group that Bob joined by Alice's Welcome. */
export async function createPair(host: Host, suite: Suite): Promise<Ends> {
  const { crypto, entropy } = host
  const mls = createTsMls(crypto)
  const room = entropy.randomBytes(32) as RoomId
  const signers = [createSigner(host, suite, 'alice'), createSigner(host, suite, 'bob')] as const
  const { alice, bob } = await createGroups(host, suite, signers)
  const epochId: EpochId = mls.epochId(alice)
  const rootOf = (group: MlsGroup): Promise<Uint8Array> =>
    mls.exportSecret(group, {
      label: EPOCH_EXPORTS.dataPlane,
      context: exportContext(suite, room, epochId),
      length: exportLength(suite),
    })
  const roots = [await rootOf(alice), await rootOf(bob)] as const
  return createEnds(host, suite, { epoch: mls.epoch(alice), epochId, room, signers, roots })
}

/** A room of so many people, none of them heard yet: no chain, no imported key, no table. */
export function createCrowd(host: Host, suite: Suite, count: number): Ends {
  const { entropy } = host
  const root = entropy.randomBytes(suite.hashLength)
  return createEnds(host, suite, {
    epoch: 0n as Epoch,
    epochId: entropy.randomBytes(suite.hashLength) as EpochId,
    room: entropy.randomBytes(32) as RoomId,
    signers: Array.from({ length: count }, (_, leaf) => createSigner(host, suite, `${leaf}`)),
    roots: [root, root.slice()],
  })
}

function createSigner({ crypto, entropy }: Host, suite: Suite, name: string): MlsSigner {
  const seed = entropy.randomBytes(SIGNATURE_SEED_LENGTH[suite.signature])
  const { secretKey, publicKey } = crypto.signatureKeyPair(suite.signature, seed)
  return { identity: utf8Encode(name), signatureKey: publicKey, signatureSecret: secretKey }
}

async function createGroups(
  { crypto, entropy, wallMs }: Host,
  suite: Suite,
  [alice, bob]: readonly [MlsSigner, MlsSigner],
): Promise<{ readonly alice: MlsGroup; readonly bob: MlsGroup }> {
  const mls = createTsMls(crypto)
  const nowMs = wallMs as TimeMs
  const bobs = await mls.makeKeyPackage({
    suite,
    signer: bob,
    notBefore: wallMs - 3_600_000 as TimeMs,
    notAfter: wallMs + 3_600_000 as TimeMs,
    entropy,
  })
  const groupId = entropy.randomBytes(36)
  const group = await mls.createGroup({ suite, groupId, signer: alice, nowMs, entropy })
  const made = await mls.commit(group, {
    adds: [bobs.keyPackage],
    removes: [],
    authenticated: new Uint8Array(0),
    nowMs,
    entropy,
  })
  assert(made.kind === 'committed' && made.welcome !== null, 'Alice adds Bob')
  const joined = await mls.join({ ...bobs, welcome: made.welcome, nowMs })
  assert(joined.kind === 'joined', 'Bob joins')
  return { alice: made.next, bob: joined.group }
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
