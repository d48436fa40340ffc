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
import { assert } from '#core/base/assert.ts'
import { EMPTY, equalBytes, wipe } from '#core/base/bytes.ts'
import type { Suite, SuiteName } from '#core/crypto/suites.ts'
import { processMessage, protectApplication } from '#core/mls/messages.ts'
import { createCrowd, createPair, type Ends, type Host } from './crypto-ends.ts'
import { createMemberStates } from './private-message-pair.ts'

/** The suites that have a data plane. */
export type BenchSuite = Suite & { readonly name: Exclude<SuiteName, 'interoperation'> }

export const PLAINTEXT_LENGTH = 300
export const BURST_FRAMES = 64

/**
 * What is measured, each in microseconds for one frame. Of a burst, and of as many PrivateMessages
 * one after the other, all is one sample: the longer a sample, the more it meets what else runs.
 * The first frame of a sender takes the way down the tree and the check of a signature under a key
 * that was never seen.
 */
export const MEASURES = [
  'seal',
  'open',
  'burstSeal',
  'burstOpen',
  'privateMessageSeal',
  'privateMessageOpen',
  'privateMessageSeriesSeal',
  'privateMessageSeriesOpen',
  'firstOpen',
] as const
export type Measure = typeof MEASURES[number]
/** Medians of one round. */
export type Round = Readonly<Record<Measure, number>>

export interface Effort {
  readonly rounds: number
  /** Bursts in a round. */
  readonly bursts: number
  /** Samples of each single measure before each burst. */
  readonly samplesPerBurst: number
  /** People of whom the first frame is opened in a round. */
  readonly newSenders: number
}

/** Bytes on the wire of one sealed plaintext. */
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
  const room = { ...await createPair(host, suite), ...await createPrivateMessages(host, suite) }
  const plaintext = host.entropy.randomBytes(PLAINTEXT_LENGTH)
  const burst = Array.from({ length: BURST_FRAMES }, () => plaintext)
  const work: RoundWork = { ...effort, suite, plaintext, burst }
  await measureRound(host, room, work)
  const rounds: Round[] = []
  for (let round = 0; round < effort.rounds; round++) {
    rounds.push(await measureRound(host, room, work))
  }
  const [ofBurst] = await room.sealBurst(burst)
  return {
    rounds,
    sizes: {
      sealed: (await room.seal(plaintext)).length,
      burst: (ofBurst as Uint8Array).length,
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

interface RoundWork extends Effort {
  readonly suite: Suite
  readonly plaintext: Uint8Array
  readonly burst: readonly Uint8Array[]
}

/** Every kind of sample in turn, so that what else the machine does meets all of them alike. */
async function measureRound(
  host: Host,
  room: Ends & PrivateMessages,
  work: RoundWork,
): Promise<Round> {
  const { plaintext, burst } = work
  const taken = Object.fromEntries(MEASURES.map((name) => [name, []])) as unknown as Readonly<
    Record<Measure, number[]>
  >
  const timed = async <T>(name: Measure, frames: number, sample: () => Promise<T>): Promise<T> => {
    const began = host.nowMs()
    const result = await sample()
    taken[name].push((host.nowMs() - began) * 1_000 / frames)
    return result
  }
  const series = <From, To>(
    name: Measure,
    each: readonly From[],
    one: (each: From) => Promise<To>,
  ): Promise<readonly To[]> => timed(name, each.length, () => inTurn(each, one))
  const expect = (opened: Uint8Array) => assert(equalBytes(opened, plaintext), 'a text comes back')
  for (let turn = 0; turn < work.bursts; turn++) {
    for (let sample = 0; sample < work.samplesPerBurst; sample++) {
      const sealed = await timed('seal', 1, () => room.seal(plaintext))
      expect(await timed('open', 1, () => room.open(sealed)))
      const message = await timed('privateMessageSeal', 1, () => room.privateMessageSeal(plaintext))
      expect(await timed('privateMessageOpen', 1, () => room.privateMessageOpen(message)))
    }
    const frames = await timed('burstSeal', burst.length, () => room.sealBurst(burst))
    const opened = await series('burstOpen', frames, room.open)
    opened.forEach(expect)
    const messages = await series('privateMessageSeriesSeal', burst, room.privateMessageSeal)
    const read = await series('privateMessageSeriesOpen', messages, room.privateMessageOpen)
    read.forEach(expect)
  }
  const crowd = createCrowd(host, work.suite, work.newSenders)
  for (let leaf = 0; leaf < work.newSenders; leaf++) {
    const sealed = await crowd.seal(plaintext, leaf)
    expect(await timed('firstOpen', 1, () => crowd.open(sealed)))
  }
  const medians = MEASURES.map((name) => [name, median(taken[name])])
  return Object.fromEntries(medians) as unknown as Round
}

async function inTurn<From, To>(
  each: readonly From[],
  one: (each: From) => Promise<To>,
): Promise<readonly To[]> {
  const results: To[] = []
  for (const item of each) results.push(await one(item))
  return results
}

interface PrivateMessages {
  privateMessageSeal(plaintext: Uint8Array): Promise<Uint8Array>
  privateMessageOpen(bytes: Uint8Array): Promise<Uint8Array>
}

async function createPrivateMessages(host: Host, suite: Suite): Promise<PrivateMessages> {
  const { crypto, entropy } = host
  const states = await createMemberStates({ crypto, entropy, suite })
  let { alice: sending, bob: receiving } = states
  return {
    async privateMessageSeal(plaintext) {
      const made = await protectApplication(sending, plaintext, {
        authenticatedData: EMPTY,
        entropy,
      })
      assert(made.kind === 'sent', 'a PrivateMessage is made')
      sending = made.group
      wipe(...made.consumed)
      return made.message
    },
    async privateMessageOpen(bytes) {
      const read = await processMessage(receiving, bytes, { timeMs: null, psks: () => null })
      assert(read.kind === 'application', 'a PrivateMessage opens')
      receiving = read.group
      wipe(...read.consumed)
      return read.content
    },
  }
}
