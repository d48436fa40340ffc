/**
 * What a hub, or somebody on the way, can change: messages of the hub before a device takes them,
 * entries of a log by their kind, and what a device asks for. Owns no case.
 */
import { createDialer } from '#browser/webtransport-dialer.ts'
import type { Dialer, SessionListener } from '#core/device/transport.ts'
import { NO_ROOM, type RequestId } from '#core/base/ids.ts'
import { BODIES, type Body, type BodyKind } from '#core/wire/bodies.ts'
import { decodeMessage, encodeMessage, type Message } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import type { EntryKind, LogEntry } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { sentBy } from '../support/sent-by.ts'

/** What becomes of a message of the hub; null drops it. */
export type Change = (message: Message) => Message | null

export interface TamperingDialer extends Dialer {
  /** To the device of the last session, as if the hub said it. */
  say(message: Message): void
}

/** A dialer through which a test changes what the hub says. */
export function tamperingDialer(change: Change): TamperingDialer {
  const dialer = createDialer()
  let hearing: SessionListener | null = null
  return {
    say: ({ kind, room, body }) =>
      hearing?.framesReceived([encodeMessage(kind, room, body as never)]),
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened(transport) {
          hearing = listener
          listener.opened(transport)
        },
        closed: () => listener.closed(),
        framesReceived(frames) {
          const changed = frames.map((bytes) => tampered(bytes, change))
          listener.framesReceived(changed.filter((frame) => frame !== null))
        },
      }),
  }
}

function tampered(bytes: Uint8Array, change: Change): Uint8Array | null {
  const frame = parseFrame(bytes)
  if (frame.kind === 'malformed') return bytes
  const decoded = decodeMessage(frame)
  if (decoded.kind === 'refused') return bytes
  const changed = change(decoded.message)
  if (changed === null) return null
  return encodeMessage(changed.kind, changed.room, changed.body as never)
}

/** Changes the bodies of entries of a kind; null leaves the entry out. */
export function onEntries(
  message: Message,
  kind: EntryKind,
  change: (bytes: Uint8Array, position: bigint) => LogEntry['body'] | null,
): Message {
  if (message.kind !== 'entries') return message
  const entries: Body<'entries'>['entries'][number][] = []
  message.body.entries.forEach((entry, index) => {
    const { body, header } = entry
    if (header.entry !== kind || body.kind !== 'whole') return entries.push(entry)
    const changed = change(body.bytes, message.body.first + BigInt(index))
    if (changed !== null) entries.push({ header, body: changed })
  })
  return { ...message, body: { first: message.body.first, entries } }
}

/**
 * A dialer that refuses requests of a kind in the hub's place: `given` counts them, and where
 * `refusal` answers null they go to the hub.
 */
export function refusingDialer({ kind, refusal, given, isTaken = false, way }: {
  readonly kind: BodyKind
  readonly refusal: () => Refusal | null
  readonly given: { count: number }
  /** The hub has it all the same. */
  readonly isTaken?: boolean
  /** To a hub that is no process of its own. */
  readonly way?: Dialer
}): Dialer {
  const dialer = way ?? createDialer()
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        framesReceived: (frames) => listener.framesReceived(frames),
        closed: () => listener.closed(),
        opened: (transport) =>
          listener.opened(sentBy(transport, (bytes) => {
            const request = requestIn(bytes, kind)
            if (request !== null) given.count++
            const said = request === null ? null : refusal()
            if (request === null || said === null) return transport.send(bytes)
            if (isTaken) transport.send(bytes)
            refuseTo(listener, { kind, request, refusal: said })
          })),
      }),
  }
}

/** The device hears a refusal of its request, as if the hub said it. */
export function refuseTo(
  listener: SessionListener,
  { kind, request, refusal }: {
    readonly kind: BodyKind
    readonly request: RequestId
    readonly refusal: Refusal
  },
): void {
  const body = { request, opcode: BODIES[kind][0], refusal }
  Promise.resolve().then(() => listener.framesReceived([encodeMessage('refused', NO_ROOM, body)]))
}

/** Number of the request in a frame, if it is of the kind. */
export function requestIn(bytes: Uint8Array, kind: BodyKind): RequestId | null {
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message' || decoded.message.kind !== kind) return null
  return 'request' in decoded.message.body ? decoded.message.body.request : null
}
