/**
 * A hub that lies to one session: what it says is changed on its way to a device, and what it does
 * stays right. Owns the lies; honest loss and delay are `network.ts`.
 */
import { NO_ROOM, type RequestId } from '#core/base/ids.ts'
import type { Dialer } from '#core/device/transport.ts'
import { BODIES, bodyKind, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { Chance } from './chance.ts'
import type { Chronicle } from './chronicle.ts'

export interface LiarParts {
  /** To whom. */
  readonly name: string
  readonly chance: Chance
  readonly chronicle: Chronicle
  /** Whether a request of the device gave a frame to the hub. */
  isFrame(request: RequestId): boolean
}

/** After each of them an honest hub would not have the frame. */
const REFUSALS: readonly Refusal[] = [
  { kind: 'unknownEntry' },
  { kind: 'replayed', generation: 0 },
  { kind: 'generationTooFar', generation: 0 },
]

/** A dialer through which frames that the hub has taken are refused. */
export function liedTo(dialer: Dialer, parts: LiarParts): Dialer {
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened: (transport) => listener.opened(transport),
        closed: () => listener.closed(),
        framesReceived: (frames) =>
          listener.framesReceived(frames.map((frame) => refusalOf(frame, parts) ?? frame)),
      }),
  }
}

/** What the device gets instead of an answer; null: the answer. */
function refusalOf(
  bytes: Uint8Array,
  { name, chance, chronicle, isFrame }: LiarParts,
): Uint8Array | null {
  if (bodyKind(bytes[1] ?? 0) !== 'accepted') return null
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message' || decoded.message.kind !== 'accepted') return null
  const { request } = decoded.message.body
  if (!isFrame(request) || !chance.comes('false refusal')) return null
  const refusal = chance.prng.pick(REFUSALS)
  chronicle.fault('false refusal', `${name} ${refusal.kind}`)
  const [opcode] = BODIES.submitFrame
  return encodeMessage('refused', NO_ROOM, { request, opcode, refusal })
}
