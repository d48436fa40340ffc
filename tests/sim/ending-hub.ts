/**
 * The hub at the end of a run: what it has stored against its logs, and that it forgets who is
 * gone.
 */
import { LIMITS } from '#core/base/limits.ts'
import { readEpochs, readGroup } from '#hub/gateway/load-group.ts'
import type { HubMemory } from '#hub/gateway/memory.ts'
import { decodeState } from '#hub/sequencer/room-state.ts'
import { must } from './invariants.ts'
import type { LogReader } from './oracle.ts'
import { sameFinality, sameGroup } from './same.ts'
import type { World } from './world.ts'

/** In which the end passes. */
export const STEP_MS = 1_000

/** Its store holds what the log says of the group, and nothing else. */
export async function judgeHub(world: World, key: string, reader: LogReader): Promise<void> {
  const { log } = world.stores
  const id = world.watch.rooms.get(key)
  const { finality, next, epochs } = reader.replay()
  must('HubRebuilds', id !== undefined, () => `${key} is known`)
  const stored = await log.readRoom(id)
  const state = stored === null ? null : decodeState(stored.state)
  must('HubRebuilds', stored !== null && state !== null, () => `${key} can be read`)
  must('HubRebuilds', (stored.next as bigint) === next, () => `${key} has its end`)
  must('HubRebuilds', sameFinality(state.finality, finality), () => `what is final in ${key}`)
  const views = await readEpochs(world.crypto, log, { room: id, state })
  const kept = epochs.filter(({ position }) => position >= finality.final.position)
  must('HubRebuilds', views !== null && views.length === kept.length, () => `epochs of ${key}`)
  for (const [index, { group }] of kept.entries()) {
    const view = views[index]
    must('HubRebuilds', view !== undefined && sameGroup(view.group, group), () => `tree of ${key}`)
  }
  const version = await readGroup(world.crypto, log, {
    room: id,
    position: finality.final.position,
  })
  const [oldest] = kept
  const isSame = version !== null && oldest !== undefined && sameGroup(version, oldest.group)
  must('HubRebuilds', isSame, () => `the version of ${key}`)
}

/** What does not end with sessions: counts of rooms and of rates. */
const LASTING: ReadonlySet<string> = new Set<keyof HubMemory>([
  'rooms',
  'roomsProvisional',
  'epochs',
  'chains',
  'tailBytes',
  'buckets',
])

/** Everybody goes, every second one without a word, and the hub has time to see it. */
export async function judgeEmptied(world: World): Promise<void> {
  const waiting = await countWelcomes(world)
  const { welcomes } = memoryOf(world)
  const isTaken = welcomes <= waiting
  must('HubForgets', isTaken, () => `${welcomes} Welcomes are remembered, ${waiting} wait`)
  world.chronicle.note('everybody goes')
  for (const [index, device] of world.devices.splice(0).entries()) {
    if (index % 2 === 0) device.end()
  }
  await world.rest(2 * LIMITS.sessionSilenceMsMax, STEP_MS)
  const left = Object.entries(memoryOf(world)).flatMap(([name, count]) =>
    count === 0 || LASTING.has(name) ? [] : [`${count} ${name}`]
  )
  must('HubForgets', left.length === 0, () => `nobody is there, and it holds ${left.join(', ')}`)
}

/** What the store has for those who are there. */
async function countWelcomes({ devices, stores: { directory } }: World): Promise<number> {
  let count = 0
  for (const { state: { account } } of devices) {
    if (account.kind !== 'registered') continue
    const { name, device } = account.record
    const known = new Set<bigint>()
    for (;;) {
      const page = await directory.readWelcomes(name, device, known)
      if (page.length === 0) break
      for (const { id } of page) known.add(id)
    }
    count += known.size
  }
  return count
}

function memoryOf({ hubDuties }: World): HubMemory {
  must('HubForgets', hubDuties !== null, () => 'a hub runs')
  return hubDuties.memory
}
