/**
 * What was said, at the end of a run: each message once, in order, in the same place for everybody
 * who was there, and what a room is called.
 */
import { LIMITS } from '#core/base/limits.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { FALSE_TEXT, FALSE_TITLE } from '../support/hostile-speech.ts'
import type { SimDevice } from './device.ts'
import { must } from './invariants.ts'
import type { LogFrame, LogReader, Place } from './oracle.ts'
import type { FaultName } from './plan.ts'
import type { Workload } from './workload.ts'
import type { World } from './world.ts'

export interface Judged extends Place {
  readonly there: readonly SimDevice[]
  readonly workload: Workload
}

/** Each message once, in its sender's order, in the same place for everybody who was there. */
export async function judgeMessages(world: World, judged: Judged): Promise<void> {
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
    const first = firstPlace(places, text)
    const isRight = cameBackBetween(reader, { from: first, to: at })
    must('DeliveredOnce', isRight, () => `"${text}" stands at ${first} and ${at} in ${key}`)
  }
  const firsts = places.filter((place) => !again.includes(place))
  for (const device of world.devices) {
    const hidden = honest.filter(({ position, sender }) =>
      sender === device.seat && !texts.has(Number(position))
    )
    const ownFirsts = firsts.filter(([, text]) =>
      text.startsWith(`${device.name} `) && !judged.workload.isUnsure(text)
    )
    const said = judged.workload.said.filter((each) => each.device === device && each.room === key)
      .map(({ text }) => text)
    const own = inOrder(ownFirsts, {
      said,
      hiddenFrom: Number(hidden[0]?.position ?? Infinity),
      cameIn: cameIn(reader, device),
    })
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
      if (position <= since || !epoch.seats.has(device.seat)) continue
      const text = texts.get(Number(position))
      // A frame that nobody shows is the profile of a room.
      if (text === undefined) continue
      const isShown = positions.get(Number(position)) === text ||
        again.some(([at]) => at === Number(position)) && [...positions.values()].includes(text)
      must('Readable', isShown, () => `${device.name} does not show "${text}" at ${position}`)
    }
  }
}

/** A text, and where it stands first as far as anybody shows it. */
type First = readonly [number, string]

/**
 * Texts of one sender in the order of their places. What stands below an anchor, and nobody who is
 * left saw there, is said again behind the way in (JOIN-7): it has the place that it had.
 */
function inOrder(
  firsts: readonly First[],
  { said, hiddenFrom, cameIn }: {
    readonly said: readonly string[]
    /** First entry of the sender that nobody shows. */
    readonly hiddenFrom: number
    readonly cameIn: readonly number[]
  },
): readonly string[] {
  const isBefore = (one: string, other: string) => said.indexOf(one) < said.indexOf(other)
  const cameBack = (from: number, to: number) => cameIn.some((at) => from < at && at < to)
  const isHidden = ([at, text]: First) =>
    firsts.some(([other, later]) =>
      hiddenFrom < other && other < at && cameBack(other, at) && isBefore(text, later)
    )
  const hidden = firsts.filter(isHidden)
  const order = firsts.filter((place) => !hidden.includes(place)).map(([, text]) => text)
  for (const [, text] of hidden) {
    const at = order.findIndex((later) => isBefore(text, later))
    order.splice(at, 0, text)
  }
  return order
}

/** Where the seat of a device came into the room, each time. */
function cameIn(reader: LogReader, { seat }: SimDevice): readonly number[] {
  return reader.replay().epochs.filter(({ entered }) => entered.has(seat))
    .map(({ position }) => Number(position))
}

function isHostile(sender: string): boolean {
  return sender.startsWith('mallory@')
}

/**
 * Members have the title that the creator gave, or that of a hostile member behind it, unless
 * nobody had to tell them. What is too long was refused. What a person marked as read stays so, but
 * for a mark that went with the power.
 */
export function judgeTold(world: World, { key, reader, there, workload }: Judged): void {
  const titles = there.map((device) => device.room(key)?.record.title ?? null)
  const given = workload.titles.get(key) ?? titles.find((title) => title !== null)
  // Who had not been told yet made a link that tells nothing.
  const isUntold = workload.links.some(({ room, link }) =>
    room === key && decodeInviteLink(link)?.title === ''
  )
  const isExcused = UNTOLD_BY.some((fault) => world.chronicle.faults.has(fault))
  const told = toldByCreator(reader)
  for (const device of there) {
    const mayMiss = isExcused || isUntold && !told.has(device.seat)
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

/** Who made the room, and whom they added: these know what it is called, whatever links say. */
function toldByCreator(reader: LogReader): ReadonlySet<string> {
  const [genesis, ...commits] = reader.replay().epochs
  const creators = new Set(genesis?.seats)
  const told = new Set(creators)
  for (const { entered, committer } of commits) {
    const isTold = committer !== null && creators.has(committer) && !entered.has(committer)
    for (const seat of entered) {
      creators.delete(seat)
      if (isTold) told.add(seat)
      else told.delete(seat)
    }
  }
  return told
}

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
 * The log does not tell that from a resync after an absence, which is let pass.
 */
function cameBackBetween(
  reader: LogReader,
  { from, to }: { readonly from: number; readonly to: number },
): boolean {
  const { epochs, frames } = reader.replay()
  // Its person may sit elsewhere by now.
  const [seat, again] = [from, to].map((at) =>
    frames.find(({ position }) => position === BigInt(at))?.sender
  )
  const between = epochs.filter(({ position }) => from < position && position < to)
  const out = between.findIndex(({ seats }) => seat !== undefined && !seats.has(seat))
  return seat === again && out >= 0 &&
    between.slice(out).some(({ returned }) => returned === seat)
}

/** Texts by position, each of who signed it; no two devices show different ones. */
async function textsOf(world: World, { key, reader }: Judged): Promise<Map<number, string>> {
  const texts = new Map<number, string>()
  const { frames, voidFrames } = reader.replay()
  const bySender = (list: readonly LogFrame[]) =>
    new Map(list.map(({ position, sender }) => [Number(position), sender]))
  const [kept, dropped] = [bySender(frames), bySender(voidFrames)]
  for (const device of world.devices) {
    for (const { position, text, author } of await messagesOf(device, key)) {
      const known = texts.get(position) ?? text
      must('OneOrder', known === text, () => `${position} is "${known}" and "${text}"`)
      const isThere = kept.has(position) || wasOut(reader, { device, since: position })
      must('DeliveredOnce', isThere, () => `${device.name} shows "${text}", void at ${position}`)
      const sender = kept.get(position) ?? dropped.get(position)
      const isTrue = sender?.split('/')[0] === author && text !== FALSE_TEXT
      must('TrueNames', isTrue, () => `${device.name} shows "${text}" of ${author}`)
      texts.set(position, text)
    }
  }
  return texts
}

/** Who is out of a room keeps what it was shown in open epochs: no void reaches it (VOTE-5). */
function wasOut(
  reader: LogReader,
  { device, since }: { readonly device: SimDevice; readonly since: number },
): boolean {
  return reader.replay().epochs.some(({ position, seats }) =>
    position > since && !seats.has(device.seat)
  )
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
  const own = device.seat
  return reader.replay().epochs.findLast(({ entered }) => entered.has(own))?.position ?? 0n
}
