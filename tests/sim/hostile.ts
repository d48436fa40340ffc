/**
 * A member in the simulated world whom the hub cannot tell from an honest one, in as many rooms as
 * links let it into: false commits and votes, people put in and out, frames that are forged,
 * replayed, malformed or too many, and contents that are false or said again. Owns when it does
 * what; the lies themselves are `hostile-member.ts` and `hostile-speech.ts`.
 */
import { toHex } from '#core/base/bytes.ts'
import { type AccountName, type LeafIndex, leafIndex, type RequestId } from '#core/base/ids.ts'
import type { RoomId } from '#core/base/ids.ts'
import type { Dialer } from '#core/device/transport.ts'
import { roomIdOfKey } from '#core/device/room.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import type { Group } from '#core/mls/group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { leavesOfAccount, rosterOf } from '#core/policy/roster.ts'
import { type HandChange, HandDevice, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'
import { HostileMember, type Lie } from '../support/hostile-member.ts'
import { FALSE_CONTENTS, falseContent, textOf } from '../support/hostile-speech.ts'
import type { Chance } from './chance.ts'
import type { FaultName } from './plan.ts'
import type { Link } from './workload.ts'
import type { World } from './world.ts'

const NAME = 'mallory'
const FLOOD_FRAMES = 200
const REMEMBERED_FRAMES_MAX = 64

export class Hostile {
  readonly #world: World
  readonly #chance: Chance
  readonly #links: readonly Link[]
  readonly #members = new Map<string, HostileMember>()
  readonly #frames: Uint8Array[] = []
  /** What it said in a room, to say it again. */
  readonly #contents = new Map<HostileMember, Uint8Array[]>()
  /** The group whose sender keys a member has. */
  readonly #keyed = new Map<HostileMember, Group>()
  #device: HandDevice | null = null
  #isConnected = false
  #isWorking = false
  #isOver = false

  /** `links` are those that people gave away; they grow. */
  constructor(world: World, links: readonly Link[]) {
    this.#world = world
    this.#chance = world.chances.hostile
    this.#links = links
  }

  get #prng() {
    return this.#chance.prng
  }

  end(): void {
    this.#isOver = true
    this.#device?.hangUp()
  }

  async tick(): Promise<void> {
    for (const [fault, act] of Object.entries(this.#acts)) {
      if (!this.#chance.comes(fault as FaultName) || this.#isOver || this.#isWorking) continue
      if (!this.#isConnected) {
        this.#work(this.#connect())
        continue
      }
      const member = await this.#somewhere()
      if (member !== null) await act(member, fault as FaultName)
    }
  }

  /** Something that takes several ticks; it ends also where its session does. */
  #work(work: Promise<unknown>): void {
    this.#isWorking = true
    work.catch((error) => this.#world.chronicle.note(`  ${NAME} stops: ${String(error)}`))
      .finally(() => {
        this.#isWorking = false
      })
  }

  async #connect(): Promise<void> {
    const parts = this.#world.handParts
    const self = this.#device?.self ?? await makeIdentity(parts, NAME)
    const device = new HandDevice(parts, self)
    this.#device = device
    for (const { room } of this.#members.values()) device.rooms.set(toHex(room.id), room)
    await device.connect(this.#dialer())
    this.#isConnected = true
    device.closed.then(() => {
      if (this.#device === device) this.#isConnected = false
    })
    for (const member of this.#members.values()) {
      member.device = device
      await device.subscribe(member.room)
    }
  }

  /** What its own bookkeeping cannot take ends its session, and not the world. */
  #dialer(): Dialer {
    const over = this.#world.network.dialer(NAME)
    return {
      dial: (endpoint, listener) =>
        over.dial(endpoint, {
          ...listener,
          framesReceived: (frames) => {
            try {
              listener.framesReceived(frames)
            } catch {
              this.#device?.hangUp()
            }
          },
        }),
    }
  }

  /** One of its rooms, or the way into another one. */
  async #somewhere(): Promise<HostileMember | null> {
    const rooms = [...this.#members.values()]
    const ahead = this.#links.filter(({ room }) => !this.#members.has(room))
    if (ahead.length > 0 && (rooms.length === 0 || this.#prng.integer(4) === 0)) {
      this.#work(this.#join(this.#prng.pick(ahead)))
      return null
    }
    if (rooms.length === 0) return null
    const member = this.#prng.pick(rooms)
    await member.follow()
    return member
  }

  async #join({ room, link }: Link): Promise<void> {
    const decoded = decodeInviteLink(link)
    const device = this.#device
    if (decoded === null || device === null) return
    const id = roomIdOfKey(room) as RoomId
    const joined = await joinByLink(device, id, decoded.secret)
    this.#members.set(room, new HostileMember(device, joined))
    this.#world.chronicle.note(`  ${NAME} is in ${room}`)
  }

  #answered(request: RequestId | null, fault: FaultName, what: string): void {
    const device = this.#device
    if (request === null || device === null) return
    this.#world.chronicle.fault(fault, what)
    device.answer(request).catch(() => 'unanswered').then((said) => {
      this.#world.chronicle.note(`  ${NAME}’s ${what}: ${said}`)
    })
  }

  readonly #acts: Partial<
    Record<FaultName, (member: HostileMember, fault: FaultName) => void | Promise<void>>
  > = {
    'false commit': async (member, fault) => {
      const { lies } = this.#world.plan
      if (lies.length === 0) return
      const lie = this.#prng.pick(lies)
      this.#answered(await member.post(lie), fault, lie)
    },
    'false vote': async (member, fault) => {
      const how = this.#prng.pick(['agree', 'complain', 'falseMac'] as const)
      this.#answered(await member.vote(how), fault, how)
    },
    removal: async (member, fault) => {
      const change = this.#removal(member)
      if (change !== null) this.#answered(await member.post(null, change), fault, 'removal')
    },
    proposal: async (member, fault) => this.#answered(await member.propose(), fault, 'proposal'),
    'forged frame': async (member, fault) => {
      const frame = await this.#frameOf(member)
      if (frame === null) return
      const at = this.#prng.integer(frame.length)
      frame[at] = (frame[at] as number) ^ (1 << this.#prng.integer(8))
      this.#answered(member.device.submit(member.room, frame), fault, `bit of byte ${at}`)
    },
    'replayed frame': (member, fault) => {
      if (this.#frames.length === 0) return
      const frame = this.#prng.pick(this.#frames)
      this.#answered(member.device.submit(member.room, frame), fault, 'replay')
    },
    'malformed frame': (member, fault) => {
      const bytes = this.#prng.bytes(1 + this.#prng.integer(200))
      if (this.#prng.integer(2) === 0) bytes[0] = 1
      this.#world.chronicle.fault(fault, `${bytes.length} B`)
      member.device.sayBytes(bytes)
    },
    flood: async (member, fault) => {
      const frame = await this.#frameOf(member)
      if (frame === null) return
      this.#world.chronicle.fault(fault)
      for (let count = 0; count < FLOOD_FRAMES; count++) {
        void member.device.answer(member.device.submit(member.room, frame)).catch(() => {})
      }
    },
    'false change': (member, fault) => this.#work(this.#falseChange(member, fault)),
    'two commits': (member, fault) => this.#work(this.#twoCommits(member, fault)),
    'repeated message': async (member, fault) => {
      const said = this.#contents.get(member) ?? []
      this.#contents.set(member, said)
      const isFirst = said.length === 0 || this.#prng.integer(3) === 0
      if (isFirst) said.push(textOf(member.device, member.room, `${NAME} ${said.length}`))
      await this.#say(member, this.#prng.pick(said), { fault, what: isFirst ? 'text' : 'again' })
    },
    'false content': async (member, fault) => {
      const what = this.#prng.pick(FALSE_CONTENTS)
      await this.#say(member, falseContent(member.device, member.room, what), { fault, what })
    },
  }

  /** Seals a content well and gives it to the hub. */
  async #say(
    member: HostileMember,
    content: Uint8Array,
    { fault, what }: { readonly fault: FaultName; readonly what: string },
  ): Promise<void> {
    if (!this.#holdsKeys(member)) return
    const frame = await member.device.sealContent(member.room, content)
    this.#answered(member.device.submit(member.room, frame), fault, what)
  }

  /** Whether it can seal in the newest epoch. */
  #holdsKeys(member: HostileMember): boolean {
    const { group } = member.top
    if (group === null) return false
    if (this.#keyed.get(member) !== group) member.device.adopt(member.room, group)
    this.#keyed.set(member, group)
    return true
  }

  // ---- Changes ----------------------------------------------------------------------------

  /** Somebody, rather one who is away, and a KeyPackage of theirs. */
  async #victim({ device }: HostileMember): Promise<Victim> {
    const people = this.#world.devices.flatMap(({ state: { account, session } }) =>
      account.kind === 'registered'
        ? [{ account: account.record.name, isAway: session.kind !== 'ready' }]
        : []
    )
    const away = people.filter(({ isAway }) => isAway)
    const { account } = this.#prng.pick(away.length > 0 ? away : people)
    return { account, adds: [await device.claim(account)] }
  }

  /** A lie with a change: somebody is added; whoever is there loses the old leaf by it. */
  async #falseChange(member: HostileMember, fault: FaultName): Promise<void> {
    const { account, adds } = await this.#victim(member)
    await member.follow()
    const change = { adds, removes: leavesOf(member, account) }
    await this.#post(member, { lie: this.#lie(), change, fault, what: account })
  }

  /**
   * Two commits in one breath, the second above its own provisional one: somebody is taken out and
   * put back, or the other way round.
   */
  async #twoCommits(member: HostileMember, fault: FaultName): Promise<void> {
    const { account, adds } = await this.#victim(member)
    const { device, room } = member
    await member.follow()
    const removes = leavesOf(member, account)
    const isBack = removes.length > 0 && this.#prng.integer(2) === 0
    const first = isBack ? { removes } : { adds, removes }
    const request = await member.post(null, first, this.#spoils(first))
    if (request === null) return
    const position = await device.position(request)
    await device.follow(room, position + 1n)
    await member.follow()
    const change = isBack ? { adds } : { removes: leavesOf(member, account) }
    // Who is back in the first stays there where the second becomes void.
    const lie = isBack ? this.#lie() : this.#anyLie()
    await this.#post(member, { lie, change, fault, what: account })
  }

  async #post(
    member: HostileMember,
    { lie, change, fault, what }: {
      readonly lie: Lie | null
      readonly change: HandChange
      readonly fault: FaultName
      readonly what: string
    },
  ): Promise<void> {
    const request = await member.post(lie, change, this.#spoils(change))
    this.#answered(request, fault, `${lie ?? 'no lie'}, ${what}`)
  }

  /** One of the plan's, where it has any. */
  #anyLie(): Lie | null {
    const { lies } = this.#world.plan
    return lies.length > 0 ? this.#prng.pick(lies) : null
  }

  #lie(): Lie | null {
    return this.#prng.integer(2) === 0 ? this.#anyLie() : null
  }

  #spoils({ adds = [] }: HandChange): boolean {
    const isSpoiled = adds.length > 0 && this.#chance.comes('spoiled Welcome')
    if (isSpoiled) this.#world.chronicle.fault('spoiled Welcome')
    return isSpoiled
  }

  // ---- Frames -----------------------------------------------------------------------------

  /** A frame of its own, well sealed; kept for later. */
  async #frameOf(member: HostileMember): Promise<Uint8Array | null> {
    if (!this.#holdsKeys(member)) return null
    const [frame] = await member.device.seal(member.room)
    if (frame === undefined) return null
    if (this.#frames.length < REMEMBERED_FRAMES_MAX) this.#frames.push(frame.slice())
    return frame
  }

  #removal({ top: { group } }: HostileMember): HandChange | null {
    if (group === null) return null
    const leaf = this.#prng.integer(group.public.tree.leafWidth)
    const isThere = leaf !== group.ownLeaf && leafAt(group.public.tree, leaf) !== null
    return isThere ? { removes: [leafIndex(leaf)] } : null
  }
}

interface Victim {
  readonly account: AccountName
  readonly adds: NonNullable<HandChange['adds']>
}

/** Leaves of an account in the newest epoch. */
function leavesOf({ top: { group } }: HostileMember, account: AccountName): readonly LeafIndex[] {
  if (group === null) return []
  const leaves = leavesOfAccount(rosterOf(group.public.tree), account)
  return leaves.map(({ leaf }) => leafIndex(leaf))
}
