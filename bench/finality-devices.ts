/**
 * The devices of the finality bench: the product's device machine over WebTransport to a hub
 * process, on the clock of this machine, and what its log shows of each entry and when. Owns no
 * figure.
 */
import { ok } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import type { CommandOutcome } from '#core/device/io.ts'
import type { Dialer } from '#core/device/transport.ts'
import { systemClock, systemEntropy } from '#hub/adapters/system-clock.ts'
import { decodeMessage } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { type EntryKind, verdictEntryCodec } from '#core/wire/log-entry.ts'
import { native } from '../tests/support/protocol-parts.ts'
import { SimDevice } from '../tests/support/sim-device.ts'

/** Milliseconds with a fraction, one clock for everything in this process. */
export const clockMs = (): number => performance.now()

/** An entry as it came to one device. */
export interface SeenEntry {
  readonly kind: EntryKind
  /** Of the hub. */
  readonly timeMs: number
  /** When it came, before the device has looked at it. */
  readonly atMs: number
  /** Of the commit that a verdict is about, and which. */
  readonly about: { readonly position: number; readonly isFinal: boolean } | null
}

export interface BenchDevice {
  readonly device: SimDevice
  readonly key: string
  /** By position. */
  readonly seen: Map<number, SeenEntry>
  stop(): void
}

const TIMERS_MS = 20
const DEADLINE_MS = 300_000
const POLL_MS = 5

/** Waits; fails where it takes longer than anything in a bench may. */
export async function until(wanted: () => boolean, what: string): Promise<void> {
  const deadline = clockMs() + DEADLINE_MS
  while (!wanted()) {
    ok(clockMs() < deadline, `${what} came`)
    await pause(POLL_MS)
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

/** Signs up and joins by a link; resolves once its own commit is final. */
export async function openDevice(
  hub: { readonly dialer: Dialer; readonly endpoint: string },
  name: string,
  to: { readonly link: string; readonly room: RoomId },
): Promise<BenchDevice> {
  const seen = new Map<number, SeenEntry>()
  const device = await SimDevice.open(name, {
    crypto: native,
    entropy: systemEntropy,
    appVersion: 1,
    clock: systemClock,
    dialer: watched(hub.dialer, to.room, seen),
  }, hub.endpoint)
  const timer = setInterval(() => device.passTime(), TIMERS_MS)
  done(await device.command({ kind: 'signUp', name, deviceName: 'bench' }))
  const key = done(await device.command({ kind: 'joinByLink', link: to.link }))
  ok(key !== null)
  const stop = () => {
    clearInterval(timer)
    device.close()
  }
  const own: BenchDevice = { device, key, seen, stop }
  await until(() => isSettled(own), `${name} in the room`)
  return own
}

export function isSettled({ device, key }: BenchDevice): boolean {
  const room = device.room(key)
  const { phase = '', code = '' } = room?.record ?? {}
  ok(phase !== 'broken' && phase !== 'joinRefused', `${phase} ${code}`)
  return phase === 'live' && room?.chain.length === 0 && room.final?.group != null
}

export function done(outcome: CommandOutcome): string | null {
  ok(outcome.kind === 'done', outcome.kind === 'failed' ? outcome.code : '')
  return outcome.value
}

/** A dialer that notes the entries of one room as they come. */
function watched(dialer: Dialer, id: RoomId, seen: Map<number, SeenEntry>): Dialer {
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened: (transport) => listener.opened(transport),
        closed: () => listener.closed(),
        framesReceived(frames) {
          const atMs = clockMs()
          for (const frame of frames) note(frame, id, { seen, atMs })
          listener.framesReceived(frames)
        },
      }),
  }
}

function note(
  bytes: Uint8Array,
  id: RoomId,
  { seen, atMs }: { readonly seen: Map<number, SeenEntry>; readonly atMs: number },
): void {
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message' || decoded.message.kind !== 'entries') return
  const { room, body } = decoded.message
  if (!equalBytes(room, id)) return
  for (const [index, { header, body: content }] of body.entries.entries()) {
    const position = Number(body.first) + index
    if (seen.has(position)) continue
    const verdict = header.entry === 'verdict' && content.kind === 'whole'
      ? decode(verdictEntryCodec, content.bytes)
      : null
    const about = verdict?.kind === 'decoded'
      ? { position: Number(verdict.value.position), isFinal: verdict.value.verdict === 'final' }
      : null
    seen.set(position, { kind: header.entry, timeMs: Number(header.time), atMs, about })
  }
}
