/**
 * The end of a run: faults are over, people stop, and everybody has time. Then hub and devices are
 * held against the log and against what was said. Owns the checks of the last invariants; those of
 * every tick are `watch.ts`.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { epochKey, finalityKey, pendingKey } from '#core/device/records.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { members } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { type Finality, isElector, type OpenEpoch } from '#core/policy/finality.ts'
import { identityOf } from '#core/policy/roster.ts'
import { readEpochs, readGroup } from '#hub/gateway/load-group.ts'
import type { HubMemory } from '#hub/gateway/memory.ts'
import { decodeState } from '#hub/sequencer/room-state.ts'
import { FALSE_TEXT, FALSE_TITLE } from '../support/hostile-speech.ts'
import type { SimDevice } from './device.ts'
import { type InvariantName, Violation } from './invariants.ts'
import { type LogReader, plainFinality, seatWord } from './oracle.ts'
import { epochsOf, topOf } from './watch.ts'
import type { Workload } from './workload.ts'
import type { FaultName } from './plan.ts'
import type { World } from './world.ts'

const STEP_MS = 1_000
const ROUNDS = 10

function must(invariant: InvariantName, holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new Violation(invariant, what())
}

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
      const there = world.devices.filter((device) => isThere(seatOf(device)))
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
      if (epochs.at(-1)?.seats.has(seatOf(device)) !== true) continue
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

function seatOf(device: SimDevice): string {
  const { account } = device.state
  return account.kind === 'registered'
    ? seatWord(account.record.name, account.record.device)
    : device.name
}

/** Holds the world against its logs. */
export async function judgeEnd(world: World, workload: Workload): Promise<void> {
  for (const key of workload.rooms) judgeStands(world, key)
  for (const [key, reader] of world.watch.readers) {
    await judgeHub(world, key, reader)
    const there = world.devices.filter((device) =>
      reader.replay().epochs.at(-1)?.seats.has(seatOf(device)) === true
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

// ---- The hub ------------------------------------------------------------------------------

async function judgeHub(world: World, key: string, reader: LogReader): Promise<void> {
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

function sameFinality(a: Finality, b: Finality): boolean {
  const plain = (finality: Finality) => JSON.stringify(plainFinality(finality), withBytes)
  return plain(a) === plain(b)
}

function withBytes(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}`
  return value instanceof Uint8Array ? toHex(value) : value
}

function sameGroup(a: PublicGroup, b: PublicGroup): boolean {
  return equalBytes(epochIdOf(a.suite, a.context), epochIdOf(b.suite, b.context)) &&
    equalBytes(encodeRatchetTree(a.tree), encodeRatchetTree(b.tree))
}

// ---- Members ------------------------------------------------------------------------------

interface Place {
  readonly key: string
  readonly reader: LogReader
}

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
  const isIn = phase !== 'live' || top?.seats.has(seatOf(device)) === true
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

// ---- Messages -----------------------------------------------------------------------------

interface Judged extends Place {
  readonly there: readonly SimDevice[]
  readonly workload: Workload
}

/** Each message once, in its sender's order, in the same place for everybody who was there. */
async function judgeMessages(world: World, judged: Judged): Promise<void> {
  const { key, reader, there } = judged
  const { frames } = reader.replay()
  const texts = await textsOf(world, judged)
  const honest = frames.filter(({ sender }) => !isHostile(sender))
  const places = honest.flatMap(({ position }) => {
    const text = texts.get(Number(position))
    return text === undefined ? [] : [[Number(position), text] as const]
  })
  const again = places.filter(([at, text]) => at !== firstPlace(places, text))
  for (const [at, text] of again) {
    const author = world.devices.find(({ name }) => text.startsWith(`${name} `))
    const first = firstPlace(places, text)
    const isRight = author !== undefined && linkedBetween(reader, { author, from: first, to: at })
    must('DeliveredOnce', isRight, () => `"${text}" stands at ${first} and ${at} in ${key}`)
  }
  const order = places.filter((place) => !again.includes(place)).map(([, text]) => text)
  for (const device of world.devices) {
    const own = order.filter((text) =>
      text.startsWith(`${device.name} `) && !judged.workload.isUnsure(text)
    )
    const said = judged.workload.said.filter((each) => each.device === device && each.room === key)
      .map(({ text }) => text)
    const wanted = there.includes(device) ? said : said.filter((text) => own.includes(text))
    const isSame = JSON.stringify(own) === JSON.stringify(wanted)
    must('DeliveredOnce', isSame, () => `${device.name} said ${wanted}, in the log is ${own}`)
  }
  for (const device of world.devices) await judgeShown(device, key)
  for (const device of there) {
    const since = enteredAt(reader, device)
    const shown = await messagesOf(device, key)
    const positions = new Map(shown.map(({ position, text }) => [position, text]))
    for (const { position, epoch } of honest) {
      if (position <= since || !epoch.seats.has(seatOf(device))) continue
      const text = texts.get(Number(position))
      // A frame that nobody shows is the profile of a room.
      if (text === undefined) continue
      const isShown = positions.get(Number(position)) === text ||
        again.some(([at]) => at === Number(position)) && [...positions.values()].includes(text)
      must('Readable', isShown, () => `${device.name} does not show "${text}" at ${position}`)
    }
  }
}

function isHostile(sender: string): boolean {
  return sender.startsWith('mallory@')
}

/**
 * Members have the title that the creator gave, or that of a hostile member behind it, unless
 * nobody had to tell them. What is too long was refused. What a person marked as read stays so, but
 * for a mark that went with the power.
 */
function judgeTold(world: World, { key, there, workload }: Judged): void {
  const titles = there.map((device) => device.room(key)?.record.title ?? null)
  const given = workload.titles.get(key) ?? titles.find((title) => title !== null)
  // Who had not been told yet made a link that tells nothing.
  const isUntold = workload.links.some(({ room, link }) =>
    room === key && decodeInviteLink(link)?.title === ''
  )
  const mayMiss = isUntold || UNTOLD_BY.some((fault) => world.chronicle.faults.has(fault))
  for (const device of there) {
    const title = device.room(key)?.record.title ?? null
    const isGiven = title === given || title === FALSE_TITLE || title === null && mayMiss
    must('Converges', isGiven, () => `${device.name} calls ${key} ${title}, not ${given}`)
  }
  for (const { device, room, text } of workload.said) {
    const isGood = room !== key || text.length <= LIMITS.textMax
    must('Answered', isGood, () => `${device.name} took on a text of ${text.length} characters`)
  }
  for (const { device, room, position, powerLosses } of workload.marks) {
    if (room !== key || !there.includes(device) || powerLosses !== device.powerLosses) continue
    const readUpTo = device.room(key)?.record.readUpTo ?? -1n
    const isKept = readUpTo >= BigInt(position)
    must(
      'Converges',
      isKept,
      () => `${device.name} has read ${key} to ${position}, not ${readUpTo}`,
    )
  }
}

/**
 * By these a newcomer may go without the title: who adds tells it, once (ROOM-11), and may be gone
 * or lost before that; and nobody tells who comes back by a commit of its own.
 */
const UNTOLD_BY = [
  'eviction',
  'power loss',
  'removal',
  'false commit',
  'false vote',
  'false change',
  'two commits',
] as const satisfies readonly FaultName[]

/** A person sees a message once, also where its sender repeats it (CONTENT-4). */
async function judgeShown(device: SimDevice, key: string): Promise<void> {
  const room = device.room(key)
  const ids = room === null ? [] : (await device.shown(room)).map(({ id }) => id)
  const twice = ids.find((id, index) => ids.indexOf(id) !== index)
  must('DeliveredOnce', twice === undefined, () => `${device.name} shows ${twice} twice in ${key}`)
}

function firstPlace(places: readonly (readonly [number, string])[], text: string): number {
  return places.find((place) => place[1] === text)?.[0] ?? -1
}

/**
 * What stands below the walk of its author is said again, as the same message (JOIN-7): it was out
 * of the room, and came back by a commit of its own, for a link, though others had added it again.
 */
function linkedBetween(
  reader: LogReader,
  { author, from, to }: { readonly author: SimDevice; readonly from: number; readonly to: number },
): boolean {
  const seat = seatOf(author)
  const between = reader.replay().epochs.filter(({ position }) => from < position && position < to)
  const out = between.findIndex(({ seats }) => !seats.has(seat))
  return out >= 0 && between.slice(out).some(({ returned }) => returned === seat)
}

/** Texts by position, each of who signed it; no two devices show different ones. */
async function textsOf(world: World, { key, reader }: Judged): Promise<Map<number, string>> {
  const texts = new Map<number, string>()
  const { frames } = reader.replay()
  const kept = new Map(frames.map(({ position, sender }) => [Number(position), sender]))
  for (const device of world.devices) {
    for (const { position, text, author } of await messagesOf(device, key)) {
      const known = texts.get(position) ?? text
      must('OneOrder', known === text, () => `${position} is "${known}" and "${text}"`)
      const isThere = kept.has(position)
      must('DeliveredOnce', isThere, () => `${device.name} shows "${text}", void at ${position}`)
      const isTrue = kept.get(position)?.split('/')[0] === author && text !== FALSE_TEXT
      must('TrueNames', isTrue, () => `${device.name} shows "${text}" of ${author}`)
      texts.set(position, text)
    }
  }
  return texts
}

async function messagesOf(device: SimDevice, key: string) {
  const timeline = await device.timeline(key)
  return timeline.flatMap((item) =>
    item.kind === 'message' && item.position !== null
      ? [{ position: Number(item.position), text: item.text, author: item.author }]
      : []
  )
}

function enteredAt(reader: LogReader, device: SimDevice): bigint {
  const own = seatOf(device)
  return reader.replay().epochs.findLast(({ entered }) => entered.has(own))?.position ?? 0n
}
