/**
 * A random story of one room: honest people on device machines, a hostile member by hand, and a
 * hub, all of whose interleavings come from a seed. Owns what may happen in a story and the checks
 * at its end; what is checked against is `sim-oracle.ts`.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { leafIndex, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CommandOutcome } from '#core/device/io.ts'
import { roomIdOfKey } from '#core/device/room.ts'
import type { DeviceState } from '#core/device/state.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { readEpochs, readGroup } from '#hub/gateway/load-group.ts'
import { decodeState } from '#hub/sequencer/room-state.ts'
import { type HandChange, HandDevice, makeIdentity } from './hand-device.ts'
import { joinByLink } from './hand-joiner.ts'
import { HostileMember, type Lie } from './hostile-member.ts'
import type { SimDevice } from './sim-device.ts'
import { plainFinality, readLog, type Replay, replayLog, sameGroup } from './sim-oracle.ts'
import { crypto, SimWorld } from './sim-world.ts'

export interface StoryPlan {
  readonly seed: number
  /** Honest devices, of which some are let in only as the story goes. */
  readonly people: number
  readonly turns: number
  readonly lies: readonly Lie[]
  /** The hostile member votes against the truth. */
  readonly falseVotes: boolean
  readonly cuts: boolean
  readonly restarts: boolean
  readonly crashes: boolean
  /** The hostile member takes people out. */
  readonly removes: boolean
  /** Less arrives between two things that happen. */
  readonly busy: boolean
}

/** What came of a story, for who wants to know that it had something in it. */
export interface StoryEnd extends Pick<Replay, 'finals' | 'voids' | 'openMax' | 'goneMax'> {
  readonly entries: number
  readonly messages: number
}

const HOUR_MS = 3_600_000

export class Story {
  readonly plan: StoryPlan
  readonly world: SimWorld
  readonly trace: string[] = []
  readonly #sent = new Map<SimDevice, string[]>()
  #key = ''
  #links: string[] = []
  #hostile: HostileMember | null = null
  #hostileIsHere = false
  #working = 0
  #texts = 0

  constructor(plan: StoryPlan) {
    this.plan = plan
    this.world = new SimWorld(plan.seed)
  }

  get room(): RoomId {
    return roomIdOfKey(this.#key) as RoomId
  }

  async play(): Promise<StoryEnd> {
    await this.#begin()
    for (let turn = 0; turn < this.plan.turns; turn++) await this.#turn()
    await this.#heal()
    return await this.#check()
  }

  #note(what: string): void {
    this.trace.push(what)
  }

  /** Goes on until a command is answered. */
  async #until<T>(answer: Promise<T>): Promise<T> {
    let done = false
    const noted = answer.finally(() => {
      done = true
    })
    noted.catch(() => {})
    for (let round = 0; !done; round++) {
      ok(round < 2_000, 'an answer comes')
      if (!await this.world.step() && !done) await this.world.advance(100)
    }
    return await noted
  }

  // ---- The beginning ----------------------------------------------------------------------

  async #begin(): Promise<void> {
    const { world, plan } = this
    for (let index = 0; index < plan.people; index++) {
      const name = `person${index}`
      const device = await world.device(name)
      this.#sent.set(device, [])
      await this.#until(device.command({ kind: 'signUp', name, deviceName: 'simulated' }))
    }
    const [first, ...others] = world.devices as [SimDevice, ...SimDevice[]]
    const made = await this.#until(first.command({ kind: 'createRoom', title: 'Larks' }))
    ok(made.kind === 'done' && made.value !== null)
    this.#key = made.value
    await world.rest(1_000)
    await this.#until(this.#invite(first))
    for (const other of others.slice(0, Math.ceil(others.length / 2))) this.#join(other)
    await world.rest(5_000)
    if (plan.lies.length > 0 || plan.falseVotes) await this.#letHostileIn()
    await world.rest(5_000)
  }

  async #invite(device: SimDevice): Promise<void> {
    const limits = { usesMax: 100, lifetimeMs: 6 * 24 * HOUR_MS }
    const outcome = await device.command({ kind: 'invite', room: this.#key, limits })
    this.#note(`  ${device.name} has a link: ${outcome.kind}`)
    if (outcome.kind === 'done' && outcome.value !== null) this.#links.push(outcome.value)
  }

  #join(device: SimDevice): void {
    const link = this.world.prng.pick(this.#links)
    this.#watch(device, 'join', device.command({ kind: 'joinByLink', link }))
  }

  #watch(device: SimDevice, what: string, answer: Promise<CommandOutcome>): void {
    this.#note(`${device.name} ${what}`)
    answer.then((outcome) => {
      const said = outcome.kind === 'done' ? 'done' : outcome.code
      this.#note(`  ${device.name} ${what}: ${said}`)
    })
  }

  async #letHostileIn(): Promise<void> {
    const { world } = this
    const self = await makeIdentity(world.parts, 'mallory')
    const device = new HandDevice(world.parts, self)
    await this.#until(device.connect(world.dialer('mallory')))
    const link = decodeInviteLink(this.#links[0] as string)
    ok(link !== null)
    const room = await this.#until(joinByLink(device, this.room, link.secret))
    this.#hostile = new HostileMember(device, room)
    this.#noteCut(device)
  }

  #noteCut(device: HandDevice): void {
    this.#hostileIsHere = true
    device.closed.then(() => {
      if (this.#hostile?.device === device) this.#hostileIsHere = false
    })
  }

  // ---- What happens -----------------------------------------------------------------------

  async #turn(): Promise<void> {
    const { world, plan } = this
    const { prng } = world
    const device = prng.pick(world.devices)
    const isLive = device.room(this.#key)?.record.phase === 'live'
    switch (prng.integer(this.plan.busy ? 16 : 12)) {
      case 0:
      case 1:
      case 2:
        if (isLive) this.#write(device)
        break
      case 3:
        if (isLive) void this.#invite(device)
        break
      case 4:
        if (!isLive) this.#join(device)
        break
      case 5:
        if (isLive) this.#add(device)
        break
      case 6:
        if (plan.cuts) {
          this.#note(`cut ${device.name}`)
          world.links.cut(device.name)
        }
        break
      case 7:
        if (plan.restarts && prng.integer(4) === 0) {
          this.#note('the hub begins anew')
          world.restartHub()
        }
        break
      case 8:
        if (plan.crashes && prng.integer(3) === 0) {
          this.#note(`${device.name} crashes`)
          await device.crash()
        }
        break
      default:
        await this.#hostileTurn()
    }
    const steps = prng.integer(plan.busy ? 6 : 20)
    for (let step = 0; step < steps; step++) await world.step()
    if (prng.integer(3) === 0) await world.advance(prng.integer(1_500))
  }

  #write(device: SimDevice): void {
    const text = `${device.name} ${++this.#texts}`
    this.#note(`writes ${text}`)
    const command = { kind: 'sendMessage', room: this.#key, text, localId: text } as const
    device.command(command).then((outcome) => {
      if (outcome.kind === 'done') this.#sent.get(device)?.push(text)
    })
  }

  #add(device: SimDevice): void {
    const { prng, devices } = this.world
    const account = `${prng.pick(devices).name}@hub.example`
    const command = { kind: 'addMember', room: this.#key, account } as const
    this.#watch(device, `adds ${account}`, device.command(command))
  }

  async #hostileTurn(): Promise<void> {
    const hostile = this.#hostile
    const { prng } = this.world
    if (hostile === null || this.#working > 0) return
    if (!this.#hostileIsHere) return this.#hostileComesBack(hostile)
    await hostile.follow()
    const choice = prng.integer(6)
    if (choice === 0 && this.plan.lies.length > 0) {
      const lie = prng.pick(this.plan.lies)
      this.#note(`mallory commits with a wrong ${lie} at ${hostile.room.next}`)
      this.#answered(await hostile.post(lie), lie)
    } else if (choice === 1) {
      this.#note(`mallory commits honestly at ${hostile.room.next}`)
      this.#answered(await hostile.post(null, this.#removal(hostile)), 'commit')
    } else {
      const how = this.plan.falseVotes
        ? prng.pick(['agree', 'complain', 'falseMac'] as const)
        : 'agree'
      this.#answered(await hostile.vote(how), how)
    }
  }

  #removal({ top: { group } }: HostileMember): HandChange {
    if (!this.plan.removes || group === null) return {}
    const leaf = this.world.prng.integer(group.public.tree.leafWidth)
    const isThere = leaf !== group.ownLeaf && leafAt(group.public.tree, leaf) !== null
    if (isThere) this.#note(`  without leaf ${leaf}`)
    return isThere ? { removes: [leafIndex(leaf)] } : {}
  }

  #answered(request: Parameters<HandDevice['answer']>[0] | null, what: string): void {
    const device = this.#hostile?.device
    if (request === null || device === undefined) return
    const unanswered = () => 'unanswered'
    void device.answer(request).catch(unanswered)
      .then((said) => this.#note(`  mallory’s ${what}: ${said}`))
  }

  #hostileComesBack(hostile: HostileMember): void {
    const { world } = this
    const device = new HandDevice(world.parts, hostile.device.self)
    device.rooms.set(toHex(hostile.room.id), hostile.room)
    hostile.device = device
    this.#noteCut(device)
    const back = device.connect(world.dialer('mallory')).then(() => device.subscribe(hostile.room))
    this.#working++
    Promise.race([back, device.closed]).catch(() => {}).finally(() => this.#working--)
  }

  // ---- The end ----------------------------------------------------------------------------

  /** Everybody has time: what is open is decided, who was lost comes back. */
  async #heal(): Promise<void> {
    const { world } = this
    this.#note('-- the end')
    this.#hostile?.device.hangUp()
    await world.rest(40_000, 2_000)
    for (let round = 0; round < 8 && !await this.#isSettled(); round++) {
      if (round % 2 === 0) await world.rest(12 * 60_000, 5_000)
      else {
        this.#note('a week passes, for what nobody decides')
        await world.sleep(LIMITS.provisionalMsMax)
      }
    }
    for (const device of world.devices) {
      if (device.room(this.#key)?.record.phase === 'live') this.#write(device)
    }
    await world.rest(20_000, 2_000)
  }

  /** Nothing is open, and everybody who is in the room can read it. */
  async #isSettled(): Promise<boolean> {
    const replay = await replayLog(this.room, await readLog(this.world.stores.log, this.room))
    const isIn = (device: SimDevice) => replay.epochs.at(-1)?.seats.has(seat(device)) === true
    return replay.finality.open.length === 0 && this.world.devices.every((device) => {
      const room = device.room(this.#key)
      return !isIn(device) || (room?.record.next === replay.next && topOf(room).group !== null)
    })
  }

  async #check(): Promise<StoryEnd> {
    const { world } = this
    deepStrictEqual(world.faults, [])
    for (const { name, faults } of world.devices) {
      deepStrictEqual(faults, [], `${name} has no fault`)
    }
    const entries = await readLog(world.stores.log, this.room)
    const replay = await replayLog(this.room, entries)
    await this.#checkHub(replay)
    const there = world.devices.filter((device) => replay.epochs.at(-1)?.seats.has(seat(device)))
    for (const device of world.devices) {
      const phase = device.room(this.#key)?.record.phase
      const wanted = there.includes(device)
      const said = `${device.name} is ${phase} ${device.room(this.#key)?.record.code}`
      ok(phase !== 'broken' && (phase === 'live') === wanted, said)
    }
    for (const device of there) await this.#checkMember(device, replay)
    const messages = await this.#checkMessages(there, replay)
    const { finals, voids, openMax, goneMax } = replay
    return { entries: entries.length, finals, voids, openMax, goneMax, messages }
  }

  /** The store of the hub holds what its log says. */
  async #checkHub(replay: Replay): Promise<void> {
    const { log } = this.world.stores
    const stored = await log.readRoom(this.room)
    const state = stored === null ? null : decodeState(stored.state)
    ok(stored !== null && state !== null)
    strictEqual(stored.next as bigint, replay.next)
    deepStrictEqual(plainFinality(state.finality), plainFinality(replay.finality))
    deepStrictEqual(state.finality.lastVoid, replay.finality.lastVoid)
    const views = await readEpochs(crypto, log, { room: this.room, state })
    ok(views !== null, 'the epochs can be read back')
    const { final } = replay.finality
    const kept = replay.epochs.filter(({ position }) => position >= final.position)
    strictEqual(views.length, kept.length)
    for (const [index, { group }] of kept.entries()) {
      const view = views[index]
      ok(view !== undefined)
      sameGroup(view.group, group, `the hub at ${view.origin}`)
    }
    const version = await readGroup(crypto, log, { room: this.room, position: final.position })
    ok(version !== null && kept[0] !== undefined)
    sameGroup(version, kept[0].group, 'the version')
  }

  async #checkMember(device: SimDevice, replay: Replay): Promise<void> {
    const { name } = device
    this.#checkState(`${name}`, device.state, replay)
    const stored = await device.stored()
    this.#checkState(`${name} from its store`, stored, replay)
    const [now, then] = [device.state, stored].map((state) => state.rooms.get(this.#key))
    strictEqual(then?.outbox.length, now?.outbox.length)
    ok(
      equalBytes(
        topOf(now).group?.secrets.epochAuthenticator as Uint8Array,
        topOf(then).group?.secrets.epochAuthenticator as Uint8Array,
      ),
      `${name} keeps its secrets`,
    )
  }

  #checkState(name: string, state: DeviceState, replay: Replay): void {
    const room = state.rooms.get(this.#key)
    ok(room?.finality != null && room.final !== null, `${name} knows the room`)
    strictEqual(room.record.next as bigint, replay.next, `${name} has the whole log`)
    ok(equalBytes(room.record.headHash, replay.headHash), `${name} has the head`)
    deepStrictEqual(plainFinality(room.finality), plainFinality(replay.finality), name)
    const top = topOf(room)
    const last = replay.epochs.at(-1)
    ok(last !== undefined)
    sameGroup(top.public, last.group, name)
    ok(top.group !== null, `${name} can follow`)
    const [first] = this.world.devices.flatMap((device) => {
      const other = device.room(this.#key)
      return other?.record.phase === 'live' ? topOf(other).group ?? [] : []
    })
    const { epochAuthenticator } = top.group.secrets
    ok(
      first !== undefined && equalBytes(first.secrets.epochAuthenticator, epochAuthenticator),
      name,
    )
  }

  /** Each message once, in its sender's order, in the same place for everybody who was there. */
  async #checkMessages(there: readonly SimDevice[], replay: Replay): Promise<number> {
    const texts = new Map<number, string>()
    for (const device of this.world.devices) {
      for (const [position, text] of await this.#messages(device)) {
        const known = texts.get(position)
        ok(known === undefined || known === text, `${position} is "${known}" and "${text}"`)
        texts.set(position, text)
      }
    }
    const frames = new Map(replay.frames.map((frame) => [Number(frame.position), frame]))
    for (const [position, text] of texts) {
      const frame = frames.get(position)
      ok(frame !== undefined, `"${text}" at ${position} is not void`)
    }
    const order = [...texts].sort(([a], [b]) => a - b).map(([, text]) => text)
    strictEqual(new Set(order).size, order.length, `each once: ${order}`)
    for (const device of this.world.devices) {
      const said = order.filter((text) => text.startsWith(`${device.name} `))
      const sent = this.#sent.get(device) ?? []
      const outbox = device.room(this.#key)?.outbox.length ?? 0
      if (there.includes(device)) {
        strictEqual(outbox, 0, `${device.name} has sent everything`)
        deepStrictEqual(said, sent, `all of ${device.name}, in order`)
      } else deepStrictEqual(said, sent.filter((text) => said.includes(text)))
    }
    for (const device of there) await this.#checkComplete(device, texts, replay)
    return order.length
  }

  async #messages(device: SimDevice): Promise<readonly (readonly [number, string])[]> {
    const timeline = await device.timeline(this.#key)
    return timeline.flatMap((item) =>
      item.kind === 'message' && item.position !== null ? [[item.position, item.text]] : []
    )
  }

  /** Whoever had a leaf when it was said reads it. */
  async #checkComplete(
    device: SimDevice,
    texts: ReadonlyMap<number, string>,
    replay: Replay,
  ): Promise<void> {
    const own = seat(device)
    const since = replay.epochs.findLast(({ entered }) => entered.has(own))?.position ?? 0n
    const wanted = replay.frames
      .filter(({ position, epoch }) => position > since && epoch.seats.has(own))
      .flatMap(({ position }) => {
        const text = texts.get(Number(position))
        return text === undefined ? [] : [[Number(position), text] as const]
      })
    const shown = (await this.#messages(device)).filter(([position]) => position > since)
    deepStrictEqual(shown, wanted, `what ${device.name} reads`)
  }
}

function seat(device: SimDevice): string {
  const { account } = device.state
  ok(account.kind === 'registered')
  return `${account.record.name}/${toHex(account.record.device)}`
}

type SomeRoom = ReturnType<SimDevice['room']> | undefined

function topOf(room: SomeRoom) {
  const top = room?.chain.at(-1) ?? room?.final
  ok(top != null)
  return top
}
