/**
 * One stream of a session as bytes, on the product's own framing: writes are joined, arrive in
 * chunks that end at any byte, and are split again. Owns where chunks end; when a write arrives is
 * `network.ts`.
 */
import { concat } from '#core/base/bytes.ts'
import { type FrameFault, FrameSplitter, joinFrames } from '#core/wire/frame.ts'
import { STREAM_PREFIX_LENGTH } from '#core/wire/frame.ts'
import type { Prng } from '../core/prng.ts'

/** A cut is as often in these first bytes, where the length of a frame stands, as anywhere. */
const HEAD_LENGTH = 8

/** Frames that one side gives to a stream together. */
export interface Write {
  readonly bytes: Uint8Array
  /** So many of the bytes hold no whole frame yet. */
  readonly partialMax: number
}

/** What a reader has of some bytes. */
export interface Arrival {
  readonly frames: readonly Uint8Array[]
  /** Not null: the stream lost its place behind the frames, and gives no more. */
  readonly lost: FrameFault['code'] | null
}

export function writeOf(frames: readonly Uint8Array[]): Write {
  const [first] = frames
  const partialMax = first === undefined ? 0 : STREAM_PREFIX_LENGTH + first.length - 1
  return { bytes: joinFrames(frames), partialMax }
}

export class Stream {
  readonly #prng: Prng
  readonly #splitter = new FrameSplitter()
  /** Bytes of the next write that came before it. */
  #early = 0
  #isLost = false

  constructor(prng: Prng) {
    this.#prng = prng
  }

  /** True when a frame has begun to arrive and has not ended. */
  get isInside(): boolean {
    return !this.#isLost && !this.#splitter.empty
  }

  /**
   * A write arrives. Its last chunk may run on into the `next` one, though not to the end of a
   * frame there: so no frame comes earlier or later than its write.
   */
  arrive(write: Write, next: Write | null): Arrival {
    const rest = write.bytes.subarray(this.#early)
    if (next === null) {
      this.#early = 0
      return this.#push(rest)
    }
    this.#early = this.#cut(next.partialMax + 1)
    return this.#push(concat(rest, next.bytes.subarray(0, this.#early)))
  }

  /** The stream ends before the last byte of a write. */
  breakOff({ bytes }: Write): Arrival {
    const end = this.#early + this.#cut(bytes.length - this.#early)
    return this.#push(bytes.subarray(this.#early, end))
  }

  #push(bytes: Uint8Array): Arrival {
    const frames: Uint8Array[] = []
    for (let offset = 0; offset < bytes.length && !this.#isLost;) {
      const left = bytes.length - offset
      const length = this.#prng.integer(2) === 0 ? left : 1 + this.#cut(left)
      const split = this.#splitter.push(bytes.subarray(offset, offset + length))
      if (split.kind === 'malformed') {
        this.#isLost = true
        return { frames, lost: split.code }
      }
      frames.push(...split.frames)
      offset += length
    }
    return { frames, lost: null }
  }

  /** From 0 to `below` - 1. */
  #cut(below: number): number {
    const isNear = this.#prng.integer(2) === 0
    return this.#prng.integer(isNear ? Math.min(below, HEAD_LENGTH) : below)
  }
}
