/**
 * What a hub can change on the way to one device, so that something fails there. Owns the lies; who
 * is lied to is the test's.
 */
import type { Dialer } from '#core/device/transport.ts'
import type { Body, Message } from '#core/wire/bodies.ts'
import { decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { commitEntryCodec, type LogEntry, verdictEntryCodec } from '#core/wire/log-entry.ts'

type Entries = Body<'entries'>
/** What becomes of a batch of entries. */
type Lie = (batch: Entries) => Entries

const onKind =
  (kind: LogEntry['header']['entry'], change: (bytes: Uint8Array) => Uint8Array): Lie =>
  (
    batch,
  ) => ({
    ...batch,
    entries: batch.entries.map((entry) => {
      const { header, body } = entry
      if (header.entry !== kind || body.kind !== 'whole') return entry
      return { header, body: { kind: 'whole', bytes: change(body.bytes) } }
    }),
  })

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const changed = bytes.slice()
  changed[at] = (changed[at] as number) ^ 1
  return changed
}

function read<T>(codec: Parameters<typeof decode<T>>[0], bytes: Uint8Array): T {
  const decoded = decode(codec, bytes)
  if (decoded.kind === 'malformed') throw new Error('the hub stores what can be read')
  return decoded.value
}

/** Each by the failure that it causes at the device. */
export const LIES = {
  /** A verdict that the votes do not bear out. */
  wrongVerdict: onKind('verdict', (bytes) => {
    const verdict = read(verdictEntryCodec, bytes)
    return encode(verdictEntryCodec, { ...verdict, verdict: 'void' })
  }),
  /** The clock of the hub runs back. */
  brokenLog: (batch) => ({
    ...batch,
    entries: batch.entries.map((entry) => {
      const { header } = entry
      return { ...entry, header: { ...header, time: header.time - 3_600_000n } }
    }),
  }),
  /** A sealed frame is changed; who wrote it sees another log than the device from then on. */
  fork: onKind('frame', (bytes) => flipped(bytes, bytes.length - 1)),
  /** A commit whose signature is wrong. */
  'commit:badSignature': onKind('commit', (bytes) => {
    const entry = read(commitEntryCodec, bytes)
    return encode(commitEntryCodec, {
      ...entry,
      commit: flipped(entry.commit, entry.commit.length - 76),
    })
  }),
  /** A commit with a certificate that nobody asked for. */
  'commit:certificate': onKind('commit', (bytes) => {
    const entry = read(commitEntryCodec, bytes)
    return encode(commitEntryCodec, {
      ...entry,
      certificates: [...entry.certificates, Uint8Array.of(0)],
    })
  }),
} as const satisfies Readonly<Record<string, Lie>>

/** A way to the hub on which a lie is told while `lies.now` names one. */
export function lyingWay(lies: { now: keyof typeof LIES | null }): (dialer: Dialer) => Dialer {
  const told = (bytes: Uint8Array): Uint8Array => {
    const frame = parseFrame(bytes)
    const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
    if (lies.now === null || decoded?.kind !== 'message') return bytes
    const { kind, room, body }: Message = decoded.message
    return kind === 'entries' ? encodeMessage(kind, room, LIES[lies.now](body)) : bytes
  }
  return (dialer) => ({
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened: (transport) => listener.opened(transport),
        closed: () => listener.closed(),
        framesReceived: (frames) => listener.framesReceived(frames.map(told)),
      }),
  })
}
