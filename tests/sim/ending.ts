/**
 * The end of a run: faults are over, people stop, and everybody has time. Then hub and devices are
 * held against the log and against what was said. Owns what everybody comes to, and the checks of
 * devices; those of the hub are `ending-hub.ts`, those of what was said `ending-messages.ts`, those
 * of every tick `watch.ts`.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { epochKey, finalityKey, pendingKey } from '#core/device/records.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import { members } from '#core/mls/ratchet-tree.ts'
import { isElector, type OpenEpoch } from '#core/policy/finality.ts'
import { identityOf } from '#core/policy/roster.ts'
import type { SimDevice } from './device.ts'
import { judgeHub, STEP_MS } from './ending-hub.ts'
import { judgeMessages, judgeTold } from './ending-messages.ts'
import { must } from './invariants.ts'
import type { Place } from './oracle.ts'
import { sameFinality, sameGroup } from './same.ts'
import { epochsOf, topOf } from './watch.ts'
import type { Workload } from './workload.ts'
import type { World } from './world.ts'

const ROUNDS = 10

/** Everybody has time: what is open is decided, who was lost comes back. */
export async function settleWorld(world: World): Promise<void> {
  world.heal()
  for (const device of world.devices) {
    if (!device.state.online) device.networkChanged(true)
  }
  await world.rest(60_000, STEP_MS)
  for (let round = 0; round < ROUNDS && !isSettled(world); round++) {
    if (round % 2 === 0) await world.rest(12 * 60_000, 4 * STEP_MS)
    else {
      judgeOpen(world)
      world.chronicle.note('a week passes, for what nobody decides')
      await world.leap(LIMITS.provisionalMsMax)
      // Who cannot follow what became final so comes back, which it may once in ten minutes.
      await world.rest(12 * 60_000, 4 * STEP_MS)
    }
  }
}

/** What is still open waits for somebody who is not there, or cannot decide it (VOTE-3). */
function judgeOpen(world: World): void {
  for (const [key, reader] of world.watch.readers) {
    const { finality, epochs } = reader.replay()
    for (const facts of finality.open) {
      const epoch = epochs.find(({ position }) => position === facts.position)
      // Who came in by the commit, in another leaf than before, has no vote on it (VOTE-2).
      const isThere = (seat: string) => epoch?.seats.has(seat) && !epoch.entered.has(seat)
      const there = world.devices.filter((device) => isThere(device.seat))
      const silent = there.find((device) => isSilent(device, key, facts))
      const what = () => `${silent?.name} does not vote on ${facts.position} of ${key}`
      must('Converges', silent === undefined, what)
    }
  }
}

/** Has a vote on an open epoch, and has not given it. */
function isSilent(device: SimDevice, key: string, facts: OpenEpoch): boolean {
  const { account } = device.state
  const room = device.room(key)
  if (room === null || account.kind !== 'registered' || room.joining !== null) return false
  const at = room.chain.findIndex(({ position }) => position === facts.position)
  const below = at === 0 ? room.final : room.chain[at - 1]
  // Who has no secrets of either could follow nothing, whatever was committed.
  const leaf = room.chain[at]?.group?.ownLeaf ?? below?.group?.ownLeaf
  if (leaf === undefined || facts.votes.some((vote) => vote.leaf === leaf)) return false
  return isElector(facts, { leaf, account: account.record.name })
}

/** Nothing is open, nobody on the way; who is in a room can read it and has said everything. */
function isSettled(world: World): boolean {
  for (const [key, reader] of world.watch.readers) {
    const { finality, epochs, next } = reader.replay()
    if (finality.open.length > 0) return false
    for (const device of world.devices) {
      if (epochs.at(-1)?.seats.has(device.seat) !== true) continue
      const room = device.room(key)
      const isThere = room?.record.next === next && topOf(room)?.group != null
      if (!isThere || room.outbox.length > 0 || room.joining !== null) return false
    }
  }
  return world.devices.every(({ waiting, state }) =>
    waiting.length === 0 && ![...state.rooms.values()].some(isUnderWay)
  )
}

function isUnderWay({ record: { phase } }: RoomState): boolean {
  return phase === 'joining' || phase === 'creating'
}

/** Holds the world against its logs. */
export async function judgeEnd(world: World, workload: Workload): Promise<void> {
  for (const key of workload.rooms) judgeStands(world, key)
  for (const [key, reader] of world.watch.readers) {
    await judgeHub(world, key, reader)
    const there = world.devices.filter((device) =>
      reader.replay().epochs.at(-1)?.seats.has(device.seat) === true
    )
    for (const device of there) await judgeMember(device, { key, reader })
    judgeTold(world, { key, reader, there, workload })
    await judgeMessages(world, { key, reader, there, workload })
  }
  for (const device of world.devices) {
    judgeDevice(device)
    for (const room of device.state.rooms.values()) judgeSeat(world, device, room)
  }
}

/** A room that was made has a log, unless its creator lost everything before the hub had it. */
function judgeStands(world: World, key: string): void {
  const isLost = world.chronicle.faults.has('eviction') &&
    world.devices.every((device) => device.room(key) === null)
  must('Converges', isLost || world.watch.readers.has(key), () => `${key} has a log`)
}

// ---- Members ------------------------------------------------------------------------------

async function judgeMember(device: SimDevice, place: Place): Promise<void> {
  const { name } = device
  const stored = await device.stored()
  judgeRoom(name, device.room(place.key), place)
  judgeRoom(`${name} from its store`, storedRoom(stored, place.key), place)
  const [now, then] = [device.room(place.key), storedRoom(stored, place.key)]
  const same = now?.outbox.length === then?.outbox.length &&
    equalBytes(
      topOf(now)?.group?.secrets.epochAuthenticator as Uint8Array,
      topOf(then)?.group?.secrets.epochAuthenticator as Uint8Array,
    )
  must('Converges', same, () => `${name} keeps what it knows of ${place.key}`)
  must('Converges', now?.outbox.length === 0, () => `${name} has said everything in ${place.key}`)
}

function storedRoom(state: DeviceState, key: string): RoomState | null {
  return state.rooms.get(key) ?? null
}

function judgeRoom(name: string, room: RoomState | null, { key, reader }: Place): void {
  const { next, headHash, finality, epochs } = reader.replay()
  const { phase, code } = room?.record ?? { phase: 'absent', code: '' }
  must('Converges', phase === 'live', () => `${name} is ${phase} ${code} in ${key}`)
  must('Converges', room !== null && room.record.next === next, () => `${name} has all of ${key}`)
  must('Converges', equalBytes(room.record.headHash, headHash), () => `${name} has its head`)
  const isFinal = room.finality !== null && sameFinality(room.finality, finality)
  must('Converges', isFinal, () => `${name} knows what is final in ${key}`)
  const top = topOf(room)
  const last = epochs.at(-1)
  const isSame = top !== null && last !== undefined && sameGroup(top.public, last.group)
  must('Converges', isSame && top.group !== null, () => `${name} can follow ${key}`)
  judgeNames(name, room)
}

/** What was proved of certificates, against the leaves of all epochs. */
function judgeNames(name: string, room: RoomState): void {
  const named = new Set<string>()
  for (const { public: { tree } } of epochsOf(room)) {
    for (const { leafNode } of members(tree)) {
      const identity = identityOf(leafNode)
      if (identity !== null) named.add(toHex(identity.certificateHash))
    }
  }
  const known = [...room.certificates.keys()]
  const isSame = known.length === named.size && known.every((hash) => named.has(hash))
  must('Named', isSame, () => `${name} knows ${known.length} of ${named.size} in ${room.key}`)
}

function judgeDevice(device: SimDevice): void {
  const { name, waiting } = device
  must('Answered', waiting.length === 0, () => `${name} does not answer ${waiting.join()}`)
  for (const table of ['groups', 'nodes', 'chains'] as const) {
    const rows = device.disk.rows(table, { from: '', to: '~', limit: 1_000_000, descending: false })
    for (const { key } of rows) {
      const room = device.room(key.split(':')[0] as string)
      const isOfNow = room !== null && holdsRow(room, table, key)
      must('NothingIsLeft', isOfNow, () => `${name} keeps ${table} ${key}`)
    }
  }
}

/** Who is in a room sits in its newest epoch, and no way in goes on for ever. */
function judgeSeat({ watch }: World, device: SimDevice, room: RoomState): void {
  const { name } = device
  const { key, record: { phase } } = room
  must('Converges', !isUnderWay(room), () => `${name} is still ${phase} in ${key}`)
  const top = watch.readers.get(key)?.replay().epochs.at(-1)
  const isIn = phase !== 'live' || top?.seats.has(device.seat) === true
  must('Converges', isIn, () => `${name} is ${phase} in ${key}, and has no seat`)
}

/** Whether a row is of an epoch that the room has, or of its commit under way. */
function holdsRow(room: RoomState, table: 'groups' | 'nodes' | 'chains', key: string): boolean {
  const { pending, joining, final, chain } = room
  // On the way in everything is in memory.
  if (final === null || joining !== null) return false
  if (table === 'nodes') return true
  if (table === 'groups') {
    const kept = [
      room.key,
      finalityKey(room.key),
      ...pending === null ? [] : [pendingKey(room.key)],
    ]
    const isOpen = chain.some(({ position }) => key === epochKey(room.key, position))
    return isOpen || kept.includes(key)
  }
  return epochsOf(room).some(({ position, keys }) =>
    keys !== null && key.startsWith(`${epochKey(room.key, position)}:`)
  )
}
