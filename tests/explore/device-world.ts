/**
 * A device world: production device machines, the gateway's checks and the sequencer, with frames
 * that lie in order on each way (up, down on the lane of control, down on that of the room) and in
 * no order between ways. Owns the composition, sessions that end and begin, and the invariants of
 * all together. An answer that something was taken arrives at once: of an entry it says nothing
 * that the log does not; of an anchor it does, and what comes of a late one is not seen here.
 */
import { NO_ROOM, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Command, DeviceInput } from '#core/device/io.ts'
import { sessionHash, signGreeting } from '#core/identity/session-proof.ts'
import { encodeMessage } from '#core/wire/bodies.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import { type DeviceHub, type HubStep, hubTakes, hubTicks } from './device-hub.ts'
import { type Moment, openDeviceHub } from './device-hub.ts'
import type { Follower } from './device-gateway.ts'
import type { Letter } from './letters.ts'
import {
  type DeviceNode,
  judgeLink,
  judgeNode,
  type NodeInput,
  openNode,
  roomOf,
} from './device-node.ts'
import { startAnew, stepNode, textsOf } from './device-node.ts'
import type { Shelf } from './device-shelf.ts'
import { type Beginning, beginRoom, crypto, DAN, IDENTITY, type Lie, NAMES } from './device-room.ts'
import { digestOf } from './digest.ts'
import { Endings } from './ending.ts'
import { type Choice, holds, type World } from './search.ts'

/** Something that a person does, once. */
export interface Deed {
  readonly seat: number
  readonly name: string
  command(at: Pick<Beginning, 'key' | 'link'>): Command
  readonly lie?: Lie
}

export interface DeviceBounds {
  readonly deeds: readonly Deed[]
  /** Mallory follows nobody's commits, and says so. */
  readonly isMalloryDeaf: boolean
  readonly ends: number
  /** Devices that lose their memory. */
  readonly restarts: number
  readonly waits: readonly { readonly ms: number; readonly count: number }[]
}

interface Party {
  readonly node: DeviceNode
  readonly isHere: boolean
  readonly follower: Follower
  readonly up: readonly Letter[]
  readonly control: readonly Letter[]
  readonly lane: readonly Letter[]
}

export interface DeviceWorldState {
  readonly hub: DeviceHub
  readonly parties: readonly Party[]
  readonly nowMs: TimeMs
  /** Bits of the deeds that are done. */
  readonly done: number
  readonly ends: number
  readonly restarts: number
  readonly waits: readonly number[]
}

const MALLORY = 0
const WITHOUT_MALLORY = [1, 2, DAN] as const

export async function deviceWorld(
  name: string,
  bounds: DeviceBounds,
): Promise<World<DeviceWorldState>> {
  const beginning = await beginRoom()
  const stage = new Stage(beginning, bounds)
  const { deeds, ends, restarts, waits, isMalloryDeaf } = bounds
  const asleep: DeviceWorldState = {
    hub: openDeviceHub(beginning),
    parties: beginning.devices.map((_state, seat) => openParty(beginning, seat)),
    nowMs: beginning.nowMs,
    done: 0,
    ends,
    restarts,
    waits: waits.map(({ count }) => count),
  }
  const said = waits.map(({ ms, count }) => `${count} × ${ms} ms`).join(', ')
  return {
    name,
    bounds: `${deeds.map((deed) => `${NAMES[deed.seat]} ${deed.name}`).join(', ')}; ` +
      `${
        isMalloryDeaf ? 'mallory follows nobody, ' : ''
      }${ends} ends of sessions, ${restarts} restarts, ${said}`,
    initial: await stage.wake(asleep),
    keyOf,
    choices: (state) => stage.choices(state),
    finish: (state) => stage.finish(state),
  }
}

function openParty({ devices, shelves }: Beginning, seat: number): Party {
  const state = devices[seat] as DeviceState
  const { account } = state
  holds(account.kind === 'registered', 'devices are registered', () => account.kind)
  const follower = {
    author: { account: account.record.name, device: account.record.device },
    following: null,
    right: null,
    session: null,
  }
  const node = openNode(seat, state, shelves[seat] as Shelf)
  return { node, isHere: false, follower, up: [], control: [], lane: [] }
}

function sessionOf({ session }: DeviceState): Uint8Array | null {
  return session.kind === 'ready' ? sessionHash(crypto, session) : null
}

function keyOf(state: DeviceWorldState): string {
  const { done, ends, restarts } = state
  return `${partsOf(state)},${done},${ends},${restarts}`
}

function partsOf({ hub, parties, nowMs }: DeviceWorldState): string {
  const idsOf = (letters: readonly Letter[]) => letters.map(({ id }) => id).join()
  const ways = parties.map(({ node, isHere, follower, up, control, lane }) =>
    `${node.id} ${isHere} ${digestOf(follower)} ${idsOf(up)};${idsOf(control)};${idsOf(lane)}`
  )
  return [hub.id, nowMs, ...ways].join('|')
}

type Way = 'control' | 'lane'

class Stage {
  readonly #beginning: Beginning
  readonly #bounds: DeviceBounds
  readonly #endings = new Endings<DeviceWorldState>({
    keyOf: (state) => `${partsOf(state)},${state.done}`,
    prompted: (state) => Promise.resolve(this.#prompted(state, WITHOUT_MALLORY)),
    isAtRest: (state) => this.#isAtRest(state),
    later: (state, ms) => this.#later(state, ms),
    pictureOf: (state) => this.#pictureOf(state),
  })

  constructor(beginning: Beginning, bounds: DeviceBounds) {
    this.#beginning = beginning
    this.#bounds = bounds
  }

  *choices(state: DeviceWorldState): Iterable<Choice<DeviceWorldState>> {
    for (const [seat, party] of state.parties.entries()) {
      const who = NAMES[seat]
      yield* this.#arrivals(state, seat)
      if (!party.isHere) {
        yield { name: `${who} comes back`, run: () => this.#comeBack(state, seat) }
      } else if (state.ends > 0) {
        const left = { ...state, ends: state.ends - 1 }
        yield { name: `the session of ${who} ends`, run: () => this.#leave(left, seat) }
      }
      if (state.restarts > 0 && seat !== MALLORY) {
        const left = { ...state, restarts: state.restarts - 1 }
        yield { name: `${who} starts anew`, run: () => this.#startAnew(left, seat) }
      }
    }
    for (const [index, deed] of this.#bounds.deeds.entries()) {
      const bit = 1 << index
      if ((state.done & bit) !== 0 || !state.parties[deed.seat]?.isHere) continue
      const name = `${NAMES[deed.seat]} ${deed.name}`
      yield { name, run: () => this.#do({ ...state, done: state.done | bit }, deed) }
    }
    for (const [index, { ms }] of this.#bounds.waits.entries()) {
      const left = state.waits[index] as number
      if (left === 0) continue
      const waits = state.waits.map((count, at) => at === index ? count - 1 : count)
      yield { name: `${ms} ms pass`, run: () => this.#later({ ...state, waits }, ms) }
    }
  }

  *#arrivals(state: DeviceWorldState, seat: number): Iterable<Choice<DeviceWorldState>> {
    const { up, control, lane } = state.parties[seat] as Party
    const who = NAMES[seat]
    if (up[0] !== undefined) {
      const name = `the hub takes ${up[0].message.kind} of ${who}`
      yield { name, run: () => this.#hubTakes(state, seat) }
    }
    for (const [way, letters] of [['control', control], ['lane', lane]] as const) {
      const [first] = letters
      if (first === undefined) continue
      const name = `${who} takes ${titleOf(first)}`
      yield { name, run: () => this.#deviceTakes(state, seat, way) }
    }
  }

  // ---- Steps ------------------------------------------------------------------------------

  async #step(
    state: DeviceWorldState,
    seat: number,
    input: NodeInput,
  ): Promise<DeviceWorldState> {
    const party = state.parties[seat] as Party
    const isDeaf = this.#bounds.isMalloryDeaf && seat === MALLORY && input.lie === undefined
    const heard = isDeaf ? { ...input, name: `${input.name}/deaf`, lie: 'deaf' as const } : input
    const step = await stepNode(party.node, heard, state.nowMs)
    holds(!step.hangsUp, 'no device hangs up', () => input.name)
    const up = party.isHere ? [...party.up, ...step.sent] : party.up
    const after = replaced(state, seat, { ...party, node: step.node, up })
    judgeNode(step.node, after.hub, this.#beginning)
    for (const link of step.links) judgeLink(link, after.hub)
    return after
  }

  #do(state: DeviceWorldState, deed: Deed): Promise<DeviceWorldState> {
    const command = deed.command(this.#beginning)
    const input = { kind: 'commandGiven', id: 1, command } as const
    const name = `${deed.name}/${deed.lie ?? ''}`
    return this.#step(state, deed.seat, { name, input, ...lieOf(deed) })
  }

  async #deviceTakes(state: DeviceWorldState, seat: number, way: Way): Promise<DeviceWorldState> {
    const party = state.parties[seat] as Party
    const [letter, ...rest] = party[way]
    holds(letter !== undefined, 'there is something to take', () => way)
    const left = replaced(state, seat, { ...party, [way]: rest })
    return await this.#heard(left, seat, letter)
  }

  #heard(state: DeviceWorldState, seat: number, letter: Letter): Promise<DeviceWorldState> {
    const { session } = (state.parties[seat] as Party).node.state
    const attempt = 'attempt' in session ? session.attempt : 0
    const input = { kind: 'framesReceived', attempt, frames: [letter.bytes] } as const
    return this.#step(state, seat, { name: `take ${letter.id}`, input })
  }

  #moment({ parties, nowMs }: DeviceWorldState): Moment {
    return { nowMs, followers: parties.map(({ follower }) => follower) }
  }

  async #hubTakes(from: DeviceWorldState, seat: number): Promise<DeviceWorldState> {
    const party = from.parties[seat] as Party
    const [letter, ...up] = party.up
    holds(letter !== undefined, 'there is something to take', () => 'up')
    const step = await hubTakes(from.hub, { seat, letter }, this.#moment(from))
    const left = replaced(from, seat, { ...party, up })
    return await this.#given(left, step)
  }

  /** What the hub sends is on its way; that something was taken is known at once. */
  async #given(from: DeviceWorldState, step: HubStep): Promise<DeviceWorldState> {
    let state: DeviceWorldState = { ...from, hub: step.hub }
    for (const [seat, { control, lane }] of step.given.entries()) {
      const party = state.parties[seat] as Party
      const isTaken = ({ message }: Letter) => message.kind === 'accepted'
      state = replaced(state, seat, {
        ...party,
        follower: step.followers[seat] as Follower,
        control: [...party.control, ...control.filter((letter) => !isTaken(letter))],
        lane: [...party.lane, ...lane],
      })
      for (const letter of control.filter(isTaken)) state = await this.#heard(state, seat, letter)
    }
    return judgedAll(state, this.#beginning)
  }

  async #later(from: DeviceWorldState, ms: number): Promise<DeviceWorldState> {
    const nowMs = from.nowMs + ms as TimeMs
    let state: DeviceWorldState = { ...from, nowMs }
    state = await this.#given(state, await hubTicks(from.hub, this.#moment(state)))
    for (const seat of state.parties.keys()) {
      const { timers } = (state.parties[seat] as Party).node
      for (const [timer, atMs] of timers) {
        if (atMs > nowMs) continue
        const input = { kind: 'timerFired', timer } as const
        state = await this.#step(state, seat, { name: timer, input })
      }
    }
    return judgedAll(state, this.#beginning)
  }

  async #leave(from: DeviceWorldState, seat: number): Promise<DeviceWorldState> {
    const party = from.parties[seat] as Party
    const { session } = party.node.state
    const attempt = 'attempt' in session ? session.attempt : 0
    const follower = { ...party.follower, following: null, right: null, session: null }
    const gone = { isHere: false, up: [], control: [], lane: [] }
    const state = replaced(from, seat, { ...party, ...gone, follower })
    const input = { kind: 'sessionClosed', attempt } as const
    return await this.#step(state, seat, { name: 'session ends', input })
  }

  /** Memory and session are gone, what was stored is there. */
  async #startAnew(from: DeviceWorldState, seat: number): Promise<DeviceWorldState> {
    const party = from.parties[seat] as Party
    const node = await startAnew(party.node)
    const follower = { ...party.follower, following: null, right: null, session: null }
    const gone = { isHere: false, up: [], control: [], lane: [] }
    judgeNode(node, from.hub, this.#beginning)
    return replaced(from, seat, { ...party, ...gone, follower, node })
  }

  /** Dials, and goes through the greeting and the proof; then the device asks for its rooms. */
  async #comeBack(from: DeviceWorldState, seat: number): Promise<DeviceWorldState> {
    const before = (from.parties[seat] as Party).node
    const input: DeviceInput = before.state.session.kind === 'idle'
      ? { kind: 'started' }
      : { kind: 'timerFired', timer: 'redial' }
    let { node } = await stepNode(before, { name: input.kind, input }, from.nowMs)
    const { session } = node.state
    holds(session.kind === 'dialing', 'a device dials', () => session.kind)
    const { attempt } = session
    const opened = { kind: 'sessionOpened', attempt, transport: 'memory' } as const
    let step = await stepNode(node, { name: 'opened', input: opened }, from.nowMs)
    const [hello] = step.sent
    holds(hello !== undefined, 'a device says hello', () => `${attempt}`)
    for (const bytes of [await greetingFor(hello, from.nowMs), readyAt(from.nowMs)]) {
      node = step.node
      const heard = { kind: 'framesReceived', attempt, frames: [bytes] } as const
      step = await stepNode(node, { name: `session ${bytes.length}`, input: heard }, from.nowMs)
    }
    const party = from.parties[seat] as Party
    const follower = { ...party.follower, session: sessionOf(step.node.state) }
    const back = { ...party, node: step.node, isHere: true, follower, up: step.sent }
    return replaced(from, seat, back)
  }

  // ---- The end ----------------------------------------------------------------------------

  /**
   * Mallory is gone for good; everything else arrives, everybody comes back and time passes. Then
   * Ann and Ben agree, nothing is open, and each of their words stands once.
   */
  async finish(from: DeviceWorldState): Promise<void> {
    const isHere = from.parties[MALLORY]?.isHere === true
    await this.#endings.play(isHere ? await this.#leave(from, MALLORY) : from)
  }

  /** Everybody begins a session, and all that follows from that has arrived. */
  async wake(asleep: DeviceWorldState): Promise<DeviceWorldState> {
    let state = asleep
    for (const seat of asleep.parties.keys()) state = await this.#comeBack(state, seat)
    const seats = asleep.parties.map((_party, seat) => seat)
    for (;;) {
      const next = await this.#prompted(state, seats)
      if (next === null) return state
      state = next
    }
  }

  #prompted(
    state: DeviceWorldState,
    seats: readonly number[],
  ): Promise<DeviceWorldState> | null {
    for (const seat of seats) {
      if (state.parties[seat]?.isHere !== true) return this.#comeBack(state, seat)
      const [arrival] = [...this.#arrivals(state, seat)]
      if (arrival !== undefined) return Promise.resolve(arrival.run())
    }
    return null
  }

  #isAtRest(state: DeviceWorldState): boolean {
    const { hub: { room: { sequenced } }, parties } = state
    if ((sequenced.finality?.open.length ?? 0) > 0) return false
    const honest = parties.filter((_party, seat) => seat !== MALLORY && this.#isIn(state, seat))
    const isQuiet = honest.every(({ node }) => {
      const room = roomOf(node, this.#beginning)
      return room !== null && room.record.phase === 'live' && isCalm(room) &&
        room.record.next === sequenced.next
    })
    return isQuiet &&
      this.#wordsOf(state).every((text) =>
        honest.some(({ node }) => textsOf(node).some((shown) => shown.text === text))
      )
  }

  /** Dan is where he has taken the link. */
  #isIn({ done }: DeviceWorldState, seat: number): boolean {
    const comes = this.#bounds.deeds.findIndex((deed) => deed.seat === DAN)
    return seat !== DAN || (comes >= 0 && (done & (1 << comes)) !== 0)
  }

  /** What Ann and Ben have written. */
  #wordsOf({ done }: DeviceWorldState): readonly string[] {
    return this.#bounds.deeds.flatMap((deed, index) => {
      const command = deed.command(this.#beginning)
      const isSaid = (done & (1 << index)) !== 0 && deed.seat !== MALLORY
      return isSaid && command.kind === 'sendMessage' ? [command.text] : []
    })
  }

  #pictureOf({ hub, parties }: DeviceWorldState): string {
    const { entries, sequenced } = hub.room
    const log = entries.slice(this.#beginning.entries.length).map(({ entry }) => entry.header.entry)
    const open = sequenced.finality?.open.map(({ position }) => String(position))
    return JSON.stringify({ log, open, parties: parties.map((each) => this.#portraitOf(each)) })
  }

  #portraitOf({ node }: Party): unknown {
    const room = roomOf(node, this.#beginning)
    if (room === null) return null
    const { record, outbox, pending, jobs, chain, final, subscription } = room
    return {
      next: String(record.next),
      phase: `${record.phase} ${record.code}`,
      outbox: outbox.map((item) => [item.inFlight, item.record.refused]),
      pending: pending !== null,
      jobs: jobs.length,
      chain: chain.map(({ position, group }) => `${position} ${group !== null}`),
      final: `${final?.position} ${final?.group != null}`,
      subscription: subscription.kind,
      texts: textsOf(node).map(({ text }) => text),
    }
  }
}

/** Nothing is open, nothing waits. */
function isCalm({ outbox, pending, jobs, chain, final }: RoomState): boolean {
  return outbox.length === 0 && pending === null && jobs.length === 0 && chain.length === 0 &&
    final?.group != null
}

const lieOf = ({ lie }: Deed): { readonly lie?: Lie } => lie === undefined ? {} : { lie }

function titleOf({ message }: Letter): string {
  if (message.kind !== 'entries') return message.kind
  const { first, entries } = message.body
  return `${entries.map(({ header }) => header.entry).join(' and ')} at ${first}`
}

function replaced(state: DeviceWorldState, seat: number, party: Party): DeviceWorldState {
  return { ...state, parties: state.parties.map((each, at) => at === seat ? party : each) }
}

function judgedAll(state: DeviceWorldState, at: Beginning): DeviceWorldState {
  for (const { node } of state.parties) judgeNode(node, state.hub, at)
  return state
}

async function greetingFor(letter: Letter, time: TimeMs): Promise<Uint8Array> {
  const { message } = letter
  holds(message.kind === 'hello', 'a device says hello', () => message.kind)
  const hello = message.body
  const { domain, publicKey, secretKey, appVersion } = IDENTITY
  const [version = 0] = hello.versions
  const greeting = {
    versions: [version],
    version,
    appVersion,
    features: [],
    hubDomain: domain,
    hubKey: publicKey,
    hubNonce: new Uint8Array(32),
    time,
  }
  const signed = await signGreeting(crypto, { hello, greeting }, secretKey)
  return encodeMessage('greeting', NO_ROOM, signed)
}

function readyAt(time: TimeMs): Uint8Array {
  const { heartbeatIntervalMs, sessionSilenceMsMax, keyPackagesTarget } = LIMITS
  return encodeMessage('ready', NO_ROOM, {
    session: new Uint8Array(16),
    heartbeatIntervalMs,
    sessionSilenceMsMax,
    time,
    keyPackagesLeft: keyPackagesTarget,
  })
}
