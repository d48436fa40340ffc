/**
 * Frames: version, opcode, room, body (WIRE-1), and their length prefix on byte streams (WIRE-2).
 * Owns the header and the splitter; what a body means is in `wire/bodies.ts`. Nothing is copied
 * but what a chunk boundary cuts in two.
 */
import { assert } from '#core/base/assert.ts'
import { concat, EMPTY } from '#core/base/bytes.ts'
import { ROOM_ID_LENGTH, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'

export const PROTOCOL_VERSION = 1
/** version 1 + opcode 1 + room 32 bytes. */
export const FRAME_HEADER_LENGTH = 2 + ROOM_ID_LENGTH

/** A parsed frame; `room`, `body` and `bytes` are views into the input. */
export interface Frame {
  readonly kind: 'frame'
  readonly version: number
  readonly opcode: number
  readonly room: RoomId
  readonly body: Uint8Array
  readonly bytes: Uint8Array
}

export type FrameFault = { readonly kind: 'malformed'; readonly code: 'truncated' | 'oversized' }

/** Reads the header of one whole frame (WIRE-1). The version is not judged here (WIRE-3). */
export function parseFrame(bytes: Uint8Array): Frame | FrameFault {
  if (bytes.length > LIMITS.frameSizeMax) return { kind: 'malformed', code: 'oversized' }
  if (bytes.length < FRAME_HEADER_LENGTH) return { kind: 'malformed', code: 'truncated' }
  return {
    kind: 'frame',
    version: bytes[0] as number,
    opcode: bytes[1] as number,
    room: bytes.subarray(2, FRAME_HEADER_LENGTH) as RoomId,
    body: bytes.subarray(FRAME_HEADER_LENGTH),
    bytes,
  }
}

/** Builds one frame (WIRE-1). */
export function buildFrame(opcode: number, room: RoomId, body: Uint8Array): Uint8Array {
  assert(room.length === ROOM_ID_LENGTH, 'a room id has 32 bytes')
  const bytes = new Uint8Array(FRAME_HEADER_LENGTH + body.length)
  assert(bytes.length <= LIMITS.frameSizeMax, 'a frame stays below its limit')
  bytes[0] = PROTOCOL_VERSION
  bytes[1] = opcode
  bytes.set(room, 2)
  bytes.set(body, FRAME_HEADER_LENGTH)
  return bytes
}

/** Number of bytes of the stream prefix of a frame: a big-endian uint32 (WIRE-2). */
export const STREAM_PREFIX_LENGTH = 4

/** Joins frames for one write on a stream, each behind its length (WIRE-2). */
export function joinFrames(frames: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const frame of frames) length += STREAM_PREFIX_LENGTH + frame.length
  const out = new Uint8Array(length)
  const view = new DataView(out.buffer)
  let offset = 0
  for (const frame of frames) {
    view.setUint32(offset, frame.length)
    out.set(frame, offset + STREAM_PREFIX_LENGTH)
    offset += STREAM_PREFIX_LENGTH + frame.length
  }
  return out
}

export type Split =
  | { readonly kind: 'frames'; readonly frames: readonly Uint8Array[] }
  | FrameFault

/**
 * Cuts a byte stream into frames, whatever the chunks are (WIRE-2). After a fault the stream has
 * lost its place and must be closed.
 */
export class FrameSplitter {
  #pending: Uint8Array[] = []
  #pendingLength = 0

  /** Takes a chunk, returns the frames that are complete with it. */
  push(chunk: Uint8Array): Split {
    this.#pending.push(chunk)
    this.#pendingLength += chunk.length
    const frames: Uint8Array[] = []
    for (;;) {
      const length = this.#nextLength()
      if (length === null) break
      if (length > LIMITS.frameSizeMax) return { kind: 'malformed', code: 'oversized' }
      if (length < FRAME_HEADER_LENGTH) return { kind: 'malformed', code: 'truncated' }
      if (this.#pendingLength < STREAM_PREFIX_LENGTH + length) break
      frames.push(this.#take(STREAM_PREFIX_LENGTH + length).subarray(STREAM_PREFIX_LENGTH))
    }
    return { kind: 'frames', frames }
  }

  /** True when the stream may end here: no frame has been begun. */
  get empty(): boolean {
    return this.#pendingLength === 0
  }

  #nextLength(): number | null {
    if (this.#pendingLength < STREAM_PREFIX_LENGTH) return null
    const first = this.#pending[0] ?? EMPTY
    if (first.length < STREAM_PREFIX_LENGTH) this.#pending = [concat(...this.#pending)]
    const head = this.#pending[0] ?? EMPTY
    return new DataView(head.buffer, head.byteOffset).getUint32(0)
  }

  #take(length: number): Uint8Array {
    let first = this.#pending[0] ?? EMPTY
    if (first.length < length) {
      first = concat(...this.#pending)
      this.#pending = [first]
    }
    const taken = first.subarray(0, length)
    const left = first.subarray(length)
    if (left.length > 0) this.#pending[0] = left
    else this.#pending.shift()
    this.#pendingLength -= length
    return taken
  }
}
