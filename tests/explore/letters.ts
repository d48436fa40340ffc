/** Frames on their way in a device world. Owns their names: equal frames are one letter. */
import { toHex } from '#core/base/bytes.ts'
import { decodeMessage, type Message } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { digestOf } from './digest.ts'
import { Broken } from './search.ts'

export interface Letter {
  readonly id: number
  readonly message: Message
  readonly bytes: Uint8Array
}

/** Nothing in these worlds depends on them. */
const UNHEARD: ReadonlySet<Message['kind']> = new Set(['acknowledge', 'heartbeat', 'head'])

const letters = new Map<string, Letter>()

/** The letter of a frame; null for one that nothing depends on. */
export function letterOf(bytes: Uint8Array): Letter | null {
  const key = digestOf(bytes)
  const before = letters.get(key)
  if (before !== undefined) return before
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message') {
    throw new Broken('frames can be read', toHex(bytes.subarray(0, 40)))
  }
  const { message } = decoded
  if (UNHEARD.has(message.kind)) return null
  const letter = { id: letters.size, message, bytes }
  letters.set(key, letter)
  return letter
}
