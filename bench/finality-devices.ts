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
import { Chance } from '../tests/sim/chance.ts'
import { Chronicle } from '../tests/sim/chronicle.ts'
import { SimDevice } from '../tests/sim/device.ts'
import { DeviceDisk } from '../tests/sim/device-disk.ts'
import { FAULTS, planOf } from '../tests/sim/plan.ts'

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
  readonly faults: readonly unknown[]
  stop(): void
}

/** Nothing goes wrong in a benchmark. */
const CALM = planOf({ seed: 0, without: Object.keys(FAULTS) })

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
  const faults: unknown[] = []
  const device = await SimDevice.open(name, {
    ports: { crypto: native, entropy: systemEntropy, appVersion: 1 },
    home: hub.endpoint,
    clock: systemClock,
    dialer: watched(hub.dialer, to.room, seen),
    disk: new DeviceDisk({
      name,
      clock: systemClock,
      chance: new Chance(CALM, 0),
      chronicle: new Chronicle(false),
      tickMs: 0,
    }),
    sent: () => {},
    faulted: (_, error) => faults.push(error),
    answeredTwice: () => faults.push(new Error('a command is answered twice')),
  })
  const timer = setInterval(() => device.passTime(), TIMERS_MS)
  done(await device.command({ kind: 'signUp', name, deviceName: 'bench' }))
  const key = done(await device.command({ kind: 'joinByLink', link: to.link }))
  ok(key !== null)
  const stop = () => {
    clearInterval(timer)
    device.end()
  }
  const own: BenchDevice = { device, key, seen, faults, stop }
  await until(() => isSettled(own), `${name} in the room`)
  return own
}

export function isSettled({ device, key }: BenchDevice): boolean {
  const room = device.room(key)
  const { phase = '', code = '' } = room?.record ?? {}
  ok(phase !== 'broken' && phase !== 'joinRefused', `${phase} ${code}`)
  return phase === 'live' && room?.chain.length === 0 && room.final?.group != null
}

export function done(outcome: CommandOutcome | null): string | null {
  ok(outcome?.kind === 'done', outcome?.kind === 'failed' ? outcome.code : '')
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
