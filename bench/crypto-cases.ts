/**
 * Seal and open of room messages beside MLS PrivateMessage, for every engine alike. Owns what one
 * sample is and how samples become figures; owns no output and no choice of engine.
 *
 * A sample of sealing begins with the plaintext and ends with the bytes of a frame: ratchet, nonce,
 * encryption, signature, encoding, and wiping of what was used up. A sample of opening begins with
 * bytes and ends with the plaintext: decoding, signature, ratchet, decryption, wiping. The samples
 * of MLS begin and end alike, in a group of as many, with the same primitives. No state is stored
 * in either.
 */
import { createApplicationMessage, decodeMlsMessage, emptyPskIndex } from 'ts-mls'
import { encodeMlsMessage, processPrivateMessage } from 'ts-mls'
import { assert } from '#core/base/assert.ts'
import { equalBytes, utf8Encode, wipe } from '#core/base/bytes.ts'
import { type Epoch, type EpochId, leafIndex, type RoomId, type TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type Crypto, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import type { Suite, SuiteName } from '#core/crypto/suites.ts'
import type { MlsGroup, MlsSigner } from '#core/mls/mls.ts'
import { createTsMls } from '#core/mls/ts-mls.ts'
import { ciphersuiteOf } from '#core/mls/ts-mls-suite.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import {
  open,
  type OpenContext,
  seal,
  sealBurst,
  type SealContext,
} from '#core/sender-keys/seal.ts'
import { BurstCache } from '#core/sender-keys/sealed-frame.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import { createMemberStates } from './private-message-pair.ts'

/** The suites that have a data plane. */
export type BenchSuite = Suite & { readonly name: Exclude<SuiteName, 'interoperation'> }

export const PLAINTEXT_LENGTH = 300
export const BURST_FRAMES = 64

/** What is measured, each in microseconds for one frame. */
export const MEASURES = [
  'seal',
  'open',
  'burstSeal',
  'burstOpen',
  'privateMessageSeal',
  'privateMessageOpen',
] as const
export type Measure = typeof MEASURES[number]
/** Medians of one round. */
export type Round = Readonly<Record<Measure, number>>

export interface Effort {
  readonly rounds: number
  /** Samples of each single measure in a round. */
  readonly samples: number
  readonly bursts: number
}

/** What an engine gives: its primitives and its clock, in milliseconds. */
export interface Host {
  readonly crypto: Crypto
  readonly entropy: Entropy
  readonly nowMs: () => number
  /** Wall clock: leaves have a lifetime. */
  readonly wallMs: number
}

/** Sizes on the wire, in bytes, of one sealed plaintext. */
export interface Sizes {
  readonly sealed: number
  readonly burst: number
  readonly privateMessage: number
}

export interface SuiteRounds {
  readonly rounds: readonly Round[]
  readonly sizes: Sizes
}

/** Measures one suite: a round that warms up and is forgotten, then the rounds. */
export async function measureSuite(
  host: Host,
  suite: BenchSuite,
  effort: Effort,
): Promise<SuiteRounds> {
  const room = await createRoom(host, suite)
  const plaintext = host.entropy.randomBytes(PLAINTEXT_LENGTH)
  await measureRound(host, room, { ...effort, plaintext })
  const rounds: Round[] = []
  for (let round = 0; round < effort.rounds; round++) {
    rounds.push(await measureRound(host, room, { ...effort, plaintext }))
  }
  const [burst] = await room.sealBurst([plaintext])
  return {
    rounds,
    sizes: {
      sealed: (await room.seal(plaintext)).length,
      burst: (burst as Uint8Array).length,
      privateMessage: (await room.privateMessageSeal(plaintext)).length,
    },
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2
}

/** Every kind of sample in turn, so that what else the machine does meets all of them alike. */
async function measureRound(
  { nowMs }: Host,
  room: Room,
  work: Effort & { readonly plaintext: Uint8Array },
): Promise<Round> {
  const { plaintext } = work
  const taken = Object.fromEntries(MEASURES.map((name) => [name, []])) as unknown as Readonly<
    Record<Measure, number[]>
  >
  const timed = async <T>(name: Measure, frames: number, sample: () => Promise<T>): Promise<T> => {
    const began = nowMs()
    const result = await sample()
    taken[name].push((nowMs() - began) * 1_000 / frames)
    return result
  }
  const expect = (opened: Uint8Array) => assert(equalBytes(opened, plaintext), 'a text comes back')
  for (let sample = 0; sample < work.samples; sample++) {
    const sealed = await timed('seal', 1, () => room.seal(plaintext))
    expect(await timed('open', 1, () => room.open(sealed)))
    const message = await timed('privateMessageSeal', 1, () => room.privateMessageSeal(plaintext))
    expect(await timed('privateMessageOpen', 1, () => room.privateMessageOpen(message)))
  }
  const burst = Array.from({ length: BURST_FRAMES }, () => plaintext)
  for (let sample = 0; sample < work.bursts; sample++) {
    const frames = await timed('burstSeal', BURST_FRAMES, () => room.sealBurst(burst))
    const opened = await timed('burstOpen', BURST_FRAMES, () => room.openAll(frames))
    opened.forEach(expect)
  }
  const medians = MEASURES.map((name) => [name, median(taken[name])])
  return Object.fromEntries(medians) as unknown as Round
}

/** Both ends of one sender's messages, with all the state that moves on. */
interface Room {
  seal(plaintext: Uint8Array): Promise<Uint8Array>
  open(bytes: Uint8Array): Promise<Uint8Array>
  sealBurst(plaintexts: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
  openAll(frames: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
  privateMessageSeal(plaintext: Uint8Array): Promise<Uint8Array>
  privateMessageOpen(bytes: Uint8Array): Promise<Uint8Array>
}

async function createRoom(host: Host, suite: BenchSuite): Promise<Room> {
  const pair = await createPair(host, suite)
  return { ...await createSealed(host, suite, pair), ...await createPrivateMessages(host, suite) }
}

interface Pair {
  readonly alice: MlsGroup
  readonly bob: MlsGroup
  readonly signer: MlsSigner
}

/** A group of two: Alice, who sends, and Bob, who joined by her Welcome. */
async function createPair({ crypto, entropy, wallMs }: Host, suite: BenchSuite): Promise<Pair> {
  const mls = createTsMls(crypto)
  const signerOf = (name: string): MlsSigner => {
    const seed = entropy.randomBytes(SIGNATURE_SEED_LENGTH[suite.signature])
    const { secretKey, publicKey } = crypto.signatureKeyPair(suite.signature, seed)
    return { identity: utf8Encode(name), signatureKey: publicKey, signatureSecret: secretKey }
  }
  const nowMs = wallMs as TimeMs
  const signer = signerOf('alice')
  const bob = await mls.makeKeyPackage({
    suite,
    signer: signerOf('bob'),
    notBefore: wallMs - 3_600_000 as TimeMs,
    notAfter: wallMs + 3_600_000 as TimeMs,
    entropy,
  })
  const group = await mls.createGroup({
    suite,
    groupId: entropy.randomBytes(36),
    signer,
    nowMs,
    entropy,
  })
  const made = await mls.commit(group, {
    adds: [bob.keyPackage],
    removes: [],
    authenticated: new Uint8Array(0),
    nowMs,
    entropy,
  })
  assert(made.kind === 'committed' && made.welcome !== null, 'Alice adds Bob')
  const joined = await mls.join({ ...bob, welcome: made.welcome, nowMs })
  assert(joined.kind === 'joined', 'Bob joins')
  return { alice: made.next, bob: joined.group, signer }
}

type Sealed = Pick<Room, 'seal' | 'open' | 'sealBurst' | 'openAll'>

async function createSealed({ crypto, entropy }: Host, suite: Suite, pair: Pair): Promise<Sealed> {
  const mls = createTsMls(crypto)
  const room = entropy.randomBytes(32) as RoomId
  const leaf = leafIndex(0)
  const epochId: EpochId = mls.epochId(pair.alice)
  const keysOf = async (group: MlsGroup): Promise<SenderKeys> => {
    const root = await mls.exportSecret(group, {
      label: EPOCH_EXPORTS.dataPlane,
      context: exportContext(suite, room, epochId),
      length: exportLength(suite),
    })
    return createSenderKeys({ suite, root, leafCount: mls.leafCount(group) })
  }
  let sending = await keysOf(pair.alice)
  let receiving = await keysOf(pair.bob)
  const epoch: Epoch = mls.epoch(pair.alice)
  const { signatureSecret, signatureKey } = pair.signer
  const seen = { position: 7n, hash: entropy.randomBytes(32) }
  const sealing: SealContext = { suite, room, epoch, epochId, leaf, lane: 0, seen, signatureSecret }
  const bursts = new BurstCache()
  const opening: OpenContext = { suite, room, epochId, signatureKeyOf: () => signatureKey, bursts }
  const itemsOf = (plaintexts: readonly Uint8Array[]) => {
    const { reserved, keys, consumed } = reserve(crypto, sending, {
      leaf,
      lane: 0,
      count: plaintexts.length,
    })
    sending = keys
    wipe(...consumed)
    return reserved.map(({ generation, secret }, index) => ({
      generation,
      messageSecret: secret,
      nonce: entropy.randomBytes(suite.frameNonceLength),
      plaintext: plaintexts[index] as Uint8Array,
    }))
  }
  const openOne = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const opened = await open(crypto, receiving, opening, bytes)
    assert(opened.kind === 'opened', 'a frame opens')
    receiving = opened.keys
    wipe(...opened.consumed)
    return opened.plaintext
  }
  return {
    async seal(plaintext) {
      const [item] = itemsOf([plaintext])
      assert(item !== undefined, 'one key was reserved')
      const bytes = await seal(crypto, sealing, item)
      wipe(item.messageSecret)
      return bytes
    },
    open: openOne,
    async sealBurst(plaintexts) {
      const items = itemsOf(plaintexts)
      const frames = await sealBurst(crypto, sealing, items)
      for (const item of items) wipe(item.messageSecret)
      return frames
    },
    async openAll(frames) {
      const opened: Uint8Array[] = []
      for (const frame of frames) opened.push(await openOne(frame))
      return opened
    },
  }
}

type PrivateMessages = Pick<Room, 'privateMessageSeal' | 'privateMessageOpen'>

async function createPrivateMessages(host: Host, suite: Suite): Promise<PrivateMessages> {
  const { crypto, entropy } = host
  const implementation = ciphersuiteOf(crypto, suite, entropy)
  const states = await createMemberStates({ crypto, entropy, suite, implementation })
  let { alice: sending, bob: receiving } = states
  return {
    async privateMessageSeal(plaintext) {
      const made = await createApplicationMessage(sending, plaintext, implementation)
      sending = made.newState
      const { privateMessage } = made
      const wireformat = 'mls_private_message'
      const bytes = encodeMlsMessage({ version: 'mls10', wireformat, privateMessage })
      wipe(...made.consumed)
      return bytes
    },
    async privateMessageOpen(bytes) {
      const message = decodeMlsMessage(bytes, 0)?.[0]
      assert(message?.wireformat === 'mls_private_message', 'a PrivateMessage reads back')
      const { privateMessage } = message
      const read = await processPrivateMessage(
        receiving,
        privateMessage,
        emptyPskIndex,
        implementation,
      )
      assert(read.kind === 'applicationMessage', 'a PrivateMessage opens')
      receiving = read.newState
      wipe(...read.consumed)
      return read.message
    },
  }
}
