/**
 * `npm run bench -- finality [MEMBERS]`: how long a commit waits for its final verdict, and how
 * long a frame waits because of it, in rooms of 10, 100 and 1,000 members. The hub is the real
 * process; the devices are the product's machine, all in this one. Owns the rooms, the table and
 * the last line.
 */
import { ok, strictEqual } from 'node:assert/strict'
import process from 'node:process'
import { systemClock, systemEntropy } from '#hub/adapters/system-clock.ts'
import { type HubProcess, startHub } from '../tests/e2e/support/hub.ts'
import { HandDevice, type HandRoom, makeIdentity } from '../tests/support/hand-device.ts'
import { native } from '../tests/support/protocol-parts.ts'
import { type BenchDevice, clockMs, done, openDevice } from './finality-devices.ts'
import { joinEachSecond, nothing, type Percentiles, percentiles } from './finality-measure.ts'
import { singleCommits, type Span, span } from './finality-measure.ts'
import { addressOf, dialerOf } from './hub-address.ts'
import { awake, linkOf, type MadeRoom, makeRoom } from './finality-room.ts'

export const FINALITY_ROOMS = [10, 100, 1_000]
const DEVICES_MAX = 20
const JOINERS = 30
const COMMITS = 40
const COMMIT_EVERY_MS = 1_500
const QUIET_MS = 20_000

export interface Row {
  readonly members: number
  readonly situation: 'single' | 'joinEachSecond'
  /** From commit to final verdict, by the hub's times. */
  readonly finalMs: Percentiles
  /** The same as members see it: from the commit's coming to its verdict's. */
  readonly finalSeenMs: Percentiles
  /**
   * What a frame waits because of commits, less the same percentile without: of frames that were
   * written while a commit was open (`single`), of all (`joinEachSecond`).
   */
  readonly stallMs: Percentiles
  readonly commits: number
  readonly voids: number
  readonly frames: number
  /** Without commits: from writing a frame to its coming back. */
  readonly frameMs: Percentiles
}

/** Measures all rooms; what goes on is said on standard error. */
export async function finalityRows(rooms: readonly number[] = FINALITY_ROOMS): Promise<Row[]> {
  const rows: Row[] = []
  for (const members of rooms) rows.push(...await rowsOf(members))
  return rows
}

async function rowsOf(members: number): Promise<Row[]> {
  const hub = await startHub()
  try {
    await hub.stop()
    const devices = Math.min(DEVICES_MAX, members - 1)
    console.error(`${members} members, ${devices} of them here`)
    const made = await makeRoom(hub, members - devices)
    await hub.start()
    return await measured(hub, made, { members, devices })
  } catch (error) {
    console.error(await hub.readLog())
    throw error
  } finally {
    await hub.close()
  }
}

interface Wanted {
  readonly members: number
  readonly devices: number
}

async function measured(hub: HubProcess, made: MadeRoom, wanted: Wanted): Promise<Row[]> {
  const address = await addressOf(hub.port, 'webTransport')
  const { endpoint } = address
  const dialer = dialerOf(address)
  const { members } = wanted
  const devices = await settleIn({ dialer, endpoint }, made, wanted.devices)
  const [first] = devices as [BenchDevice, ...BenchDevice[]]
  const connect = (joiner: HandDevice) => joiner.connect(dialer, endpoint)
  const joiners = await registerJoiners(connect)
  const quiet = await span(devices, nothing(QUIET_MS))
  const commits = { count: COMMITS, everyMs: COMMIT_EVERY_MS }
  const single = await span(devices, singleCommits(devices, commits))
  const limits = { usesMax: 100, lifetimeMs: 86_400_000 }
  const invited = await first.device.command({ kind: 'invite', room: first.key, limits })
  const link = done(invited) ?? ''
  const joining = await span(devices, joinEachSecond(first, { link, joiners, connect }))
  for (const { stop } of devices) stop()
  return [
    rowOf({ members, situation: 'single' }, { quiet, measured: single }),
    rowOf({ members, situation: 'joinEachSecond' }, { quiet, measured: joining }),
  ]
}

function rowOf(
  which: Pick<Row, 'members' | 'situation'>,
  { quiet, measured }: { readonly quiet: Span; readonly measured: Span },
): Row {
  const isSingle = which.situation === 'single'
  const frames = isSingle ? measured.frameNearCommitMs : measured.frameMs
  const { commits, voids, finalMs, finalSeenMs } = measured
  const row = {
    ...which,
    finalMs: percentiles(finalMs),
    finalSeenMs: percentiles(finalSeenMs),
    stallMs: percentiles(frames, quiet.frameMs),
    commits,
    voids,
    frames: frames.length,
    frameMs: percentiles(quiet.frameMs),
  }
  console.error(`  ${JSON.stringify(row)}`)
  return row
}

/** The devices come in by the creator's link; to the first the creator agrees, then it goes. */
async function settleIn(
  hub: Parameters<typeof openDevice>[0],
  made: MadeRoom,
  count: number,
): Promise<BenchDevice[]> {
  const creator = awake(made)
  const { room } = made
  creator.rooms.set(made.key, room)
  await creator.connect(hub.dialer, hub.endpoint)
  await creator.subscribe(room)
  const agreed = agreeToNext(creator, room)
  const devices: BenchDevice[] = []
  for (let index = 0; index < count; index++) {
    const beganMs = clockMs()
    devices.push(await openDevice(hub, `device${index}`, { link: linkOf(made), room: made.id }))
    console.error(`  device ${index + 1} came in within ${Math.round(clockMs() - beganMs)} ms`)
    await agreed
    creator.hangUp()
  }
  ok(devices.every(({ faults }) => faults.length === 0), 'no device has a fault')
  return devices
}

async function agreeToNext(creator: HandDevice, room: HandRoom): Promise<void> {
  const { body } = await creator.hear('askVote')
  await creator.follow(room, body.position + 1n)
  await creator.process(room)
  strictEqual(await creator.answer(await creator.vote(room)), 'accepted')
}

async function registerJoiners(
  connect: (joiner: HandDevice) => Promise<unknown>,
): Promise<HandDevice[]> {
  const joiners: HandDevice[] = []
  const domain = 'localhost' as HandDevice['parts']['domain']
  const parts = { crypto: native, clock: systemClock, entropy: systemEntropy, domain }
  for (let index = 0; index < JOINERS; index++) {
    const joiner = new HandDevice(parts, await makeIdentity(parts, `joiner${index}`))
    await connect(joiner)
    joiner.hangUp()
    await joiner.closed
    joiners.push(joiner)
  }
  return joiners
}

const EXPLANATION = `\
The real hub over WebTransport, suite 0xF003. Up to ${DEVICES_MAX} members are there, as the
product's device machine, all in one thread of this process; the others came by link once and
went. Members write 10 frames a second at random moments.
single: a member commits (makes a link), in turn, ${COMMITS} times, one each ${COMMIT_EVERY_MS} ms.
joinEachSecond: ${JOINERS} people come in by link, one each second, and go; their own work but the
commit itself is not done here, the hub's is.`

async function main(): Promise<void> {
  console.error(EXPLANATION)
  const rooms = Deno.args.length === 0 ? FINALITY_ROOMS : Deno.args.map(Number)
  console.log(JSON.stringify({ rows: await finalityRows(rooms) }))
}

if (import.meta.main) {
  await main()
  process.exit(0)
}
