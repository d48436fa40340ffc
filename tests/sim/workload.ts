/**
 * What people do, by weights that a seed chooses (see `plan.ts`). Owns what was said and asked, so
 * that the end can be held against it; owns no check.
 */
import { toBase64Url } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Command, CommandOutcome, LinkLimits } from '#core/device/io.ts'
import type { RoomState } from '#core/device/state.ts'
import type { Chance } from './chance.ts'
import type { SimDevice } from './device.ts'
import type { OperationName, Plan } from './plan.ts'
import type { World } from './world.ts'

/** Something that was written, and that its device took on. */
export interface Said {
  readonly device: SimDevice
  readonly room: string
  readonly text: string
  readonly localId: string
}

/** A person saw everything up to a position, and the device took that on. */
export interface Mark {
  readonly device: SimDevice
  readonly room: string
  readonly position: number
  /** Of the device at that moment: the next one may take the mark away (KEY-4). */
  readonly powerLosses: number
}

export interface Link {
  readonly room: string
  readonly link: string
}

const BURST_MAX = 40
const LEAPS_MS = [60_000, 3_600_000, 25 * 3_600_000, 8 * 24 * 3_600_000] as const
const LINK_LIVES_MS = [600_000, 6 * 24 * 3_600_000] as const
/** How far back a person looks for a message to give once more; ids are kept longer (DEV-4). */
const AGAIN_MAX = 30
/** Longest texts make pages of a few; what is longer is refused. */
const LONG_TEXTS = [1_000, LIMITS.textMax - 1, LIMITS.textMax, LIMITS.textMax + 1] as const
const LONG_COUNTS = [1, 1, 2, 12] as const

export class Workload {
  readonly said: Said[] = []
  /** Whose device ended before it said whether it took them on. */
  readonly #unsure = new Set<string>()
  readonly marks: Mark[] = []
  readonly links: Link[] = []
  /** Rooms that were created, by their key. */
  readonly rooms: string[] = []
  /** What their creators call them, by their key. */
  readonly titles = new Map<string, string>()
  /** Whose typing nobody has seen yet, and where. */
  readonly #typing = new Map<SimDevice, string>()
  readonly #world: World
  readonly #chance: Chance
  readonly #table: readonly OperationName[]
  #texts = 0
  #titles = 0

  constructor(world: World) {
    this.#world = world
    this.#chance = world.chances.workload
    this.#table = tableOf(world.plan)
  }

  /** Its device ended before it said whether it took it on. */
  isUnsure(text: string): boolean {
    return this.#unsure.has(text)
  }

  /** People sign up, and the first rooms are there. */
  async begin(): Promise<void> {
    const { plan } = this.#world
    for (let index = 0; index < plan.devices; index++) {
      await this.#world.addDevice(`person${index}`)
    }
    for (let index = 0; index < plan.rooms; index++) this.#firstRooms++
  }

  #firstRooms = 0

  async tick(): Promise<void> {
    for (const device of this.#world.devices) {
      if (device.state.account.kind === 'none' && !this.#signing.has(device.name)) {
        this.#signUp(device)
      }
    }
    this.#openRooms()
    this.#seeTyping()
    if (this.#firstRooms > 0 && this.#create(this.#device())) this.#firstRooms--
    if (this.#prng.integer(1_000_000) >= this.#world.plan.load) return
    const name = this.#prng.pick(this.#table)
    await this.#operations[name]()
  }

  readonly #signing = new Set<string>()
  /** Rooms that nobody was let into, with their creators. */
  #closed: { readonly device: SimDevice; readonly room: string }[] = []

  /** Without a link nobody else comes. */
  #openRooms(): void {
    this.#closed = this.#closed.filter(({ device, room }) => {
      if (device.room(room)?.record.phase !== 'live') return true
      this.#invite(device, room, LINK_LIVES_MS[1])
      return false
    })
  }

  #seeTyping(): void {
    for (const [device, key] of this.#typing) {
      const isSeen = this.#world.devices.some((each) =>
        each !== device && (each.room(key)?.typing.length ?? 0) > 0
      )
      if (!isSeen) continue
      this.#typing.delete(device)
      this.#world.chronicle.outcome('setTyping seen')
    }
  }

  get #prng() {
    return this.#chance.prng
  }

  #device(): SimDevice {
    return this.#prng.pick(this.#world.devices)
  }

  /** A room of the device that is live, if it has one. */
  #liveRoom(device: SimDevice): RoomState | null {
    const live = [...device.state.rooms.values()].filter(({ record }) => record.phase === 'live')
    return live.length === 0 ? null : this.#prng.pick(live)
  }

  #do(
    name: OperationName | 'signUp',
    device: SimDevice,
    command: Command,
    answered: { done?(value: string): void; failed?(): void } = {},
  ): void {
    const { chronicle } = this.#world
    if (name !== 'signUp') chronicle.operation(name, device.name)
    device.command(command).then((outcome: CommandOutcome | null) => {
      const said = outcome === null ? 'ended' : outcome.kind === 'done' ? 'done' : outcome.code
      chronicle.outcome(`${name} ${said}`)
      chronicle.note(`  ${device.name} ${name}: ${said}`)
      if (outcome?.kind === 'done') answered.done?.(outcome.value ?? '')
      if (outcome?.kind === 'failed') answered.failed?.()
      if (name === 'signUp') this.#signing.delete(device.name)
    })
  }

  #signUp(device: SimDevice): void {
    this.#signing.add(device.name)
    this.#do('signUp', device, { kind: 'signUp', name: device.name, deviceName: 'simulated' })
  }

  #create(device: SimDevice): boolean {
    if (device.state.account.kind !== 'registered') return false
    const command = { kind: 'createRoom', title: `Room ${++this.#titles}` } as const
    this.#do('createRoom', device, command, {
      done: (room) => {
        this.rooms.push(room)
        this.titles.set(room, command.title)
        this.#closed.push({ device, room })
      },
    })
    return true
  }

  #invite(device: SimDevice, room: string, lifetimeMs: number): void {
    this.#inviteWith('invite', { device, room, limits: { usesMax: 100, lifetimeMs } })
  }

  #inviteWith(
    name: 'invite' | 'inviteFew' | 'inviteAgain',
    { device, room, limits }: { device: SimDevice; room: string; limits: LinkLimits | null },
  ): void {
    this.#do(name, device, { kind: 'invite', room, limits }, {
      done: (link) => {
        const isKnown = this.links.some((known) => known.link === link)
        if (!isKnown) this.links.push({ room, link })
      },
    })
  }

  write(device: SimDevice, room: string, name: 'sendMessage' | 'sendLong' = 'sendMessage'): void {
    const localId = `${device.name} ${++this.#texts}`
    const isLong = name === 'sendLong'
    const text = isLong ? localId.padEnd(this.#prng.pick(LONG_TEXTS), '語') : localId
    this.#unsure.add(text)
    const sure = () => void this.#unsure.delete(text)
    this.#do(name, device, { kind: 'sendMessage', room, text, localId }, {
      done: () => {
        sure()
        this.said.push({ device, room, text, localId })
      },
      // What was refused stands nowhere.
      failed: sure,
    })
  }

  readonly #operations: Readonly<Record<OperationName, () => void | Promise<void>>> = {
    sendMessage: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room !== null) this.write(device, room.key)
    },
    burst: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      this.#world.chronicle.operation('burst', device.name)
      const count = 2 + this.#prng.integer(BURST_MAX)
      for (let index = 0; index < count; index++) this.write(device, room.key)
    },
    sendAgain: () => {
      const device = this.#device()
      const own = this.said.slice(-AGAIN_MAX).filter((each) =>
        each.device === device && device.room(each.room)?.record.phase === 'live'
      )
      if (own.length === 0) return
      const { room, text, localId } = this.#prng.pick(own)
      this.#do('sendAgain', device, { kind: 'sendMessage', room, text, localId })
    },
    sendLong: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      const count = this.#prng.pick(LONG_COUNTS)
      for (let index = 0; index < count; index++) this.write(device, room.key, 'sendLong')
    },
    createRoom: () => {
      if (this.rooms.length < 2 * this.#world.plan.rooms) this.#create(this.#device())
    },
    invite: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room !== null) this.#invite(device, room.key, this.#prng.pick(LINK_LIVES_MS))
    },
    inviteFew: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      const limits = {
        usesMax: this.#prng.pick([1, 2]),
        lifetimeMs: this.#prng.pick(LINK_LIVES_MS),
      }
      this.#inviteWith('inviteFew', { device, room: room.key, limits })
    },
    inviteAgain: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      this.#inviteWith('inviteAgain', { device, room: room.key, limits: null })
    },
    revokeInvitation: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      const listed = room?.record.links ?? []
      if (room === null || listed.length === 0) return
      const invitation = toBase64Url(this.#prng.pick(listed).id)
      const command = { kind: 'revokeInvitation', room: room.key, invitation } as const
      this.#do('revokeInvitation', device, command)
    },
    joinByLink: () => {
      const device = this.#device()
      const isOut = ({ room }: Link) => device.room(room)?.record.phase !== 'live'
      const links = this.links.filter(isOut)
      if (links.length === 0) return
      const { link } = this.#prng.pick(links)
      this.#do('joinByLink', device, { kind: 'joinByLink', link })
    },
    addMember: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      const account = `${this.#device().name}@hub.example`
      this.#do('addMember', device, { kind: 'addMember', room: room.key, account })
    },
    setTyping: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      this.#typing.set(device, room.key)
      this.#do('setTyping', device, { kind: 'setTyping', room: room.key })
    },
    markRead: () => {
      const device = this.#device()
      const room = this.#liveRoom(device)
      if (room === null) return
      const position = this.#prng.integer(Number(room.record.next) + 1)
      this.#do('markRead', device, { kind: 'markRead', room: room.key, position }, {
        done: () => {
          const { powerLosses } = device
          this.marks.push({ device, room: room.key, position, powerLosses })
        },
      })
    },
    networkChanged: () => {
      const device = this.#device()
      const online = this.#prng.integer(2) === 0
      this.#world.chronicle.operation('networkChanged', `${device.name} ${online}`)
      device.networkChanged(online)
    },
    closeProgram: () => {
      const device = this.#device()
      this.#world.chronicle.operation('closeProgram', device.name)
      device.close(() => this.#world.chronicle.outcome('closeProgram done'))
    },
    timePasses: async () => {
      const ms = this.#prng.pick(LEAPS_MS)
      this.#world.chronicle.operation('timePasses', `${ms / 1_000} s`)
      await this.#world.leap(ms)
    },
  }
}

/** Each operation as often as its weight says. */
function tableOf(plan: Plan): readonly OperationName[] {
  return Object.entries(plan.operations).flatMap(([name, weight]) =>
    new Array<OperationName>(Math.ceil(weight)).fill(name as OperationName)
  )
}
