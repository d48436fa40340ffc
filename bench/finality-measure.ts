/**
 * What is measured in a room: frames at random moments while nothing, single commits, or a join
 * each second happens. Owns the meaning of `finalMs` and `stallMs`.
 */
import { ok } from 'node:assert/strict'
import { logPosition } from '#core/base/ids.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import type { HandDevice } from '../tests/support/hand-device.ts'
import { type BenchDevice, clockMs, done, isSettled, pause } from './finality-devices.ts'
import { until } from './finality-devices.ts'
import { askForGroup, comeIn } from './finality-room.ts'
import { percentile } from './hub-figures.ts'

/** A random moment of a span, from 0 to below 1. */
function fraction(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] as number) / 2 ** 32
}

export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

/** What was seen in a span of time. */
export interface Span {
  /** Of each commit: hub time of the verdict less that of the commit. */
  readonly finalMs: readonly number[]
  /** Of each commit and member: from the commit's coming to its verdict's. */
  readonly finalSeenMs: readonly number[]
  readonly commits: number
  readonly voids: number
  /** Of each frame: from writing to its coming back in an epoch that stays. */
  readonly frameMs: readonly number[]
  /** Of those written from shortly before a commit until it was final. */
  readonly frameNearCommitMs: readonly number[]
}

const FRAMES_PER_SECOND = 10
/** A frame that was written so long before a commit may still have been on its way. */
const BEFORE_COMMIT_MS = 50

interface Written {
  readonly by: BenchDevice
  readonly text: string
  readonly atMs: number
  /** The device has stored it. */
  readonly kept: Promise<unknown>
}

let texts = 0

/** Members write at random moments, ten times a second in all, until `over` resolves. */
async function write(devices: readonly BenchDevice[], over: Promise<void>): Promise<Written[]> {
  const written: Written[] = []
  let isOver = false
  void over.then(() => {
    isOver = true
  })
  while (!isOver) {
    // Times between events of a Poisson process.
    await pause(-Math.log(1 - fraction()) * 1_000 / FRAMES_PER_SECOND)
    const by = devices[Math.floor(fraction() * devices.length)]
    ok(by !== undefined)
    const text = `text ${++texts}`
    const atMs = clockMs()
    const { key: room, device } = by
    const kept = device.command({ kind: 'sendMessage', room, text, localId: text }).then(done)
    written.push({ by, text, atMs, kept })
  }
  return written
}

/** Runs `happen` while members write; then all that was written has come. */
export async function span(
  devices: readonly BenchDevice[],
  happen: () => Promise<void>,
): Promise<Span> {
  const [first] = devices
  ok(first !== undefined)
  const from = Number(nextOf(first))
  const happened = happen()
  const written = await write(devices, happened)
  await happened
  await Promise.all(written.map(({ kept }) => kept))
  const isDone = (own: BenchDevice) =>
    isSettled(own) && own.device.room(own.key)?.outbox.length === 0
  await until(() => devices.every(isDone), 'the end of a span')
  await until(() => devices.every((own) => nextOf(own) === nextOf(first)), 'the same log')
  return await found(devices, written, from)
}

const nextOf = ({ device, key }: BenchDevice): bigint => device.room(key)?.record.next ?? 0n

async function found(
  devices: readonly BenchDevice[],
  written: readonly Written[],
  from: number,
): Promise<Span> {
  const [first] = devices as [BenchDevice, ...BenchDevice[]]
  const entries = [...first.seen].filter(([position]) => position >= from)
  const commits = entries.filter(([, { kind }]) => kind === 'commit').map(([position]) => position)
  const verdicts = entries.filter(([position, { about }]) =>
    position >= from && about !== null && commits.includes(about.position)
  )
  const finals = verdicts.filter(([, { about }]) => about?.isFinal === true)
  const timeOf = (position: number) => first.seen.get(position)?.timeMs ?? Number.NaN
  const came = (own: BenchDevice, position: number) => own.seen.get(position)?.atMs ?? Number.NaN
  const abouts = finals.map(([at, { about }]) => [about?.position ?? Number.NaN, at] as const)
  const open = abouts.map(([commit, final]) => [came(first, commit), came(first, final)] as const)
  const frames = await Promise.all(written.map(async ({ by, text, atMs }) => {
    const position = await positionOf(by, text)
    return { atMs, tookMs: came(by, position) - atMs }
  }))
  const isNear = (atMs: number) =>
    open.some(([begin, end]) => atMs >= begin - BEFORE_COMMIT_MS && atMs <= end)
  return {
    finalMs: abouts.map(([commit, final]) => timeOf(final) - timeOf(commit)),
    finalSeenMs: abouts.flatMap(([commit, final]) =>
      devices.map((own) => came(own, final) - came(own, commit))
    ),
    commits: commits.length,
    voids: verdicts.length - finals.length,
    frameMs: frames.map(({ tookMs }) => tookMs),
    frameNearCommitMs: frames.filter(({ atMs }) => isNear(atMs)).map(({ tookMs }) => tookMs),
  }
}

const positions = new WeakMap<BenchDevice, Map<string, number>>()

/** Where an own message stands; a void took it out of the timeline before. */
async function positionOf(own: BenchDevice, text: string): Promise<number> {
  let known = positions.get(own)?.get(text)
  if (known === undefined) {
    const items = await own.device.timeline(own.key)
    const read = new Map(
      items.flatMap((item) =>
        item.kind === 'message' && item.own && item.position !== null
          ? [[item.text, item.position] as const]
          : []
      ),
    )
    positions.set(own, read)
    known = read.get(text)
  }
  ok(known !== undefined, `"${text}" stands in the log`)
  return known
}

/** Nothing but frames. */
export const nothing = (ms: number) => (): Promise<void> => pause(ms)

/** A member commits at a random moment of each interval: it makes a link, in turn. */
export function singleCommits(
  devices: readonly BenchDevice[],
  { count, everyMs }: { readonly count: number; readonly everyMs: number },
) {
  return async (): Promise<void> => {
    for (let index = 0; index < count; index++) {
      const endMs = clockMs() + everyMs
      await pause(fraction() * everyMs / 2)
      const own = devices[index % devices.length]
      ok(own !== undefined)
      const limits = { usesMax: 1, lifetimeMs: 86_400_000 }
      const command = { kind: 'invite', room: own.key, limits } as const
      void own.device.command(command).then(done)
      await pause(Math.max(0, endMs - clockMs()))
    }
  }
}

/** Somebody comes in by a link each second, above what the first member knows, and stays away. */
export function joinEachSecond(
  first: BenchDevice,
  { link, joiners, connect }: {
    readonly link: string
    readonly joiners: readonly HandDevice[]
    connect(joiner: HandDevice): Promise<unknown>
  },
) {
  return async (): Promise<void> => {
    const opened = decodeInviteLink(link)
    ok(opened !== null, 'a link')
    const joins: Promise<void>[] = []
    for (const joiner of joiners) {
      const nextMs = clockMs() + 1_000
      joins.push(connect(joiner).then(() => join(first, joiner, opened.secret)))
      await pause(Math.max(0, nextMs - clockMs()))
    }
    await Promise.all(joins)
  }
}

/** Asks for the group, of which nothing is read, and commits; again where another was first. */
async function join(first: BenchDevice, joiner: HandDevice, secret: Uint8Array): Promise<void> {
  const id = first.device.room(first.key)?.id
  ok(id !== undefined)
  await askForGroup(joiner, id, secret)
  for (;;) {
    const room = first.device.room(first.key)
    const top = room?.chain.at(-1) ?? room?.final
    ok(room != null && top != null)
    const { next, headHash } = room.record
    const log = { id: room.id, next: logPosition(next), headHash, entries: [] }
    const replayed = { log, group: top.public, groupInfo: top.groupInfo }
    const outcome = await comeIn(joiner, replayed, secret)
    if (outcome === 'accepted') break
    ok(outcome === 'staleEpoch', `a join was refused: ${outcome}`)
    await until(() => nextOf(first) > next, 'what came first')
  }
  joiner.hangUp()
}

export function percentiles(values: readonly number[], less?: readonly number[]): Percentiles {
  const of = (part: number) =>
    percentile(values, part) - (less === undefined ? 0 : percentile(less, part))
  const rounded = (value: number) => Number(Math.max(0, value).toFixed(1))
  return { p50: rounded(of(0.5)), p99: rounded(of(0.99)) }
}
