/**
 * When faults are over, somebody in each room makes a link, whoever is not in the room comes in by
 * it, and everybody says something. Owns that nobody stays locked out or silent by what happened
 * before; that all is heard is held in `ending-messages.ts`.
 */
import type { Command, CommandOutcome } from '#core/device/io.ts'
import type { SimDevice } from './device.ts'
import { STEP_MS } from './ending-hub.ts'
import { must } from './invariants.ts'
import type { LogReader } from './oracle.ts'
import { topOf } from './watch.ts'
import type { Workload } from './workload.ts'
import type { World } from './world.ts'

const LIFETIME_MS = 6 * 3_600_000
const USES = 100
/** A walk that has to begin again may wait for ten minutes. */
const PATIENCE_MS = 12 * 60_000

/** Everybody who is not in a room comes in, where somebody is there to let them. */
export async function letEverybodyIn(world: World, workload: Workload): Promise<void> {
  for (const [key, reader] of world.watch.readers) {
    const inviter = world.devices.find((device) => canInvite(device, key, reader))
    if (inviter === undefined) continue
    await passBars(world, reader)
    const limits = { usesMax: USES, lifetimeMs: LIFETIME_MS }
    const made = await answered(world, inviter, { kind: 'invite', room: key, limits })
    const link = made?.kind === 'done' ? made.value ?? '' : ''
    must('LetsIn', link !== '', () => `${inviter.name} makes no link of ${key}: ${said(made)}`)
    workload.links.push({ room: key, link })
    const out = world.devices.filter((device) => device.room(key)?.record.phase !== 'live')
    for (const device of out) {
      const came = await answered(world, device, { kind: 'joinByLink', link })
      must('LetsIn', came?.kind === 'done', () => `${device.name} does not join: ${said(came)}`)
    }
    const isIn = (device: SimDevice) => device.room(key)?.record.phase === 'live'
    await until(world, () => out.every(isIn))
    for (const device of out) {
      const { phase, code } = device.room(key)?.record ?? { phase: 'absent', code: '' }
      must('LetsIn', phase === 'live', () => `${device.name} is ${phase} ${code} in ${key}`)
      world.chronicle.outcome('late join done')
    }
  }
}

/** Everybody says something more in each of their rooms. */
export function letEverybodySpeak(world: World, workload: Workload): void {
  for (const device of world.devices) {
    for (const { key, record: { phase } } of device.state.rooms.values()) {
      if (phase === 'live') workload.write(device, key)
    }
  }
}

/** Who may not commit for an hour is not locked out: the hour passes (VOTE-8). */
async function passBars(world: World, reader: LogReader): Promise<void> {
  const untilMs = Math.max(...world.devices.map(({ seat }) => reader.barredUntilMs(seat)))
  if (untilMs <= world.nowMs) return
  world.chronicle.note('an hour passes, for who may not commit')
  await world.leap(untilMs - world.nowMs)
  await world.rest(60_000, STEP_MS)
}

function canInvite(device: SimDevice, key: string, reader: LogReader): boolean {
  const room = device.room(key)
  return room?.record.phase === 'live' && room.joining === null && topOf(room)?.group != null &&
    reader.replay().epochs.at(-1)?.seats.has(device.seat) === true
}

async function answered(
  world: World,
  device: SimDevice,
  command: Command,
): Promise<CommandOutcome | null> {
  const outcomes: (CommandOutcome | null)[] = []
  void device.command(command).then((outcome) => outcomes.push(outcome))
  await until(world, () => outcomes.length > 0)
  return outcomes[0] ?? null
}

/** Goes on until something holds, or patience is over. */
async function until(world: World, holds: () => boolean): Promise<void> {
  const overMs = world.nowMs + PATIENCE_MS
  while (!holds() && world.nowMs < overMs) await world.rest(STEP_MS, STEP_MS)
}

function said(outcome: CommandOutcome | null): string {
  if (outcome === null) return 'no answer'
  return outcome.kind === 'failed' ? outcome.code : outcome.kind
}
