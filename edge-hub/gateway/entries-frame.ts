/**
 * The frames that a hub writes by the thousand, built by hand: `entries`, made once for each flush
 * and shared by all subscribers, and `accepted`. Owns bytes that equal those of the codecs in
 * `wire/`, which a test compares; owns no second format.
 */
import { NO_ROOM, type RequestId, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { BODIES } from '#core/wire/bodies.ts'
import { FRAME_HEADER_LENGTH, PROTOCOL_VERSION } from '#core/wire/frame.ts'
import { ENTRY_KINDS, type LogEntry } from '#core/wire/log-entry.ts'

const ACCEPTED = BODIES.accepted[0]
const ENTRIES = BODIES.entries[0]
const POSITION_LENGTH = 8
/** kind 1 + time 8 + form of the body 1 byte. */
const ENTRY_HEAD_LENGTH = 10
const HASH_LENGTH = 32

/** `accepted`: request and position (HUB-3). */
export function acceptedFrame(request: RequestId, position: bigint | null): Uint8Array {
  const present = position !== null
  const frame = new Uint8Array(FRAME_HEADER_LENGTH + 5 + (present ? POSITION_LENGTH : 0))
  writeHeader(frame, ACCEPTED, NO_ROOM)
  const view = new DataView(frame.buffer)
  view.setUint32(FRAME_HEADER_LENGTH, request)
  view.setUint8(FRAME_HEADER_LENGTH + 4, present ? 1 : 0)
  if (present) view.setBigUint64(FRAME_HEADER_LENGTH + 5, position)
  return frame
}

/** One entry as it stands in `entries`: its body whole. */
export function encodeEntry(entry: LogEntry): Uint8Array {
  const { header, body } = entry
  if (body.kind === 'hole') return encodeHole(entry, body.hash)
  const { bytes } = body
  const prefix = varintLength(bytes.length)
  const out = new Uint8Array(ENTRY_HEAD_LENGTH + prefix + bytes.length)
  const view = new DataView(out.buffer)
  view.setUint8(0, ENTRY_KINDS[header.entry])
  view.setBigUint64(1, header.time)
  view.setUint8(9, 0)
  writeVarint(view, ENTRY_HEAD_LENGTH, bytes.length)
  out.set(bytes, ENTRY_HEAD_LENGTH + prefix)
  return out
}

/** The entry with a hash in place of its body; it verifies alike (LOG-2). */
export function encodeHole(entry: LogEntry, bodyHash: Uint8Array): Uint8Array {
  const out = new Uint8Array(ENTRY_HEAD_LENGTH + HASH_LENGTH)
  const view = new DataView(out.buffer)
  view.setUint8(0, ENTRY_KINDS[entry.header.entry])
  view.setBigUint64(1, entry.header.time)
  view.setUint8(9, 1)
  out.set(bodyHash, ENTRY_HEAD_LENGTH)
  return out
}

/** Frames for one flush. `first` is the position of the first entry in them. */
export interface EntriesFrames {
  readonly first: bigint
  readonly count: number
  readonly frames: readonly Uint8Array[]
  readonly bytes: number
}

/** As few frames as their limits allow; an entry is never cut. */
export function entriesFrames(
  room: RoomId,
  first: bigint,
  encoded: readonly Uint8Array[],
): EntriesFrames {
  const frames: Uint8Array[] = []
  let bytes = 0
  let from = 0
  let size = 0
  const finish = (to: number) => {
    const part = encoded.slice(from, to)
    const frame = entriesFrame(room, { first: first + BigInt(from), encoded: part, size })
    frames.push(frame)
    bytes += frame.length
    from = to
    size = 0
  }
  for (const [index, entry] of encoded.entries()) {
    const full = index - from >= LIMITS.entriesPerFrameMax ||
      size + entry.length > LIMITS.entriesFrameSizeMax
    if (full && index > from) finish(index)
    size += entry.length
  }
  if (encoded.length > from) finish(encoded.length)
  return { first, count: encoded.length, frames, bytes }
}

interface FrameContent {
  readonly first: bigint
  readonly encoded: readonly Uint8Array[]
  /** Bytes of all entries. */
  readonly size: number
}

function entriesFrame(room: RoomId, { first, encoded, size }: FrameContent): Uint8Array {
  const prefix = varintLength(size)
  const start = FRAME_HEADER_LENGTH + POSITION_LENGTH
  const frame = new Uint8Array(start + prefix + size)
  writeHeader(frame, ENTRIES, room)
  const view = new DataView(frame.buffer)
  view.setBigUint64(FRAME_HEADER_LENGTH, first)
  writeVarint(view, start, size)
  let offset = start + prefix
  for (const entry of encoded) {
    frame.set(entry, offset)
    offset += entry.length
  }
  return frame
}

function writeHeader(frame: Uint8Array, opcode: number, room: RoomId): void {
  frame[0] = PROTOCOL_VERSION
  frame[1] = opcode
  frame.set(room, 2)
}

/** Length prefix of RFC 9420 section 2.1.2. */
function varintLength(value: number): 1 | 2 | 4 {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : 4
}

function writeVarint(view: DataView, at: number, value: number): void {
  const length = varintLength(value)
  if (length === 1) view.setUint8(at, value)
  else if (length === 2) view.setUint16(at, value | 0x4000)
  else view.setUint32(at, (value | 0x80000000) >>> 0)
}
