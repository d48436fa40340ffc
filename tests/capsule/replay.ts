/**
 * Replays a capsule: the real device machine among stand-ins, given inputs of the same kinds in the
 * same order at the same times. After each step its shape and what it did are held against what was
 * recorded. Owns the loop and the comparison.
 *
 * What is the same: every decision that the machine takes on kinds, numbers, positions, epochs,
 * votes, refusals, times and sessions. What is stood in for: keys, people, texts, and whether
 * something opens or is rightly signed: where the device found that it does not, the stand-in is
 * made wrong in the way that gives the same code.
 */
import { createPrng } from '../core/prng.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { effectFacts, inputFacts, shownFacts } from '#core/device/capsule-facts.ts'
import { type Plain, Pseudonyms, shapeOf } from '#core/device/capsule-shape.ts'
import { createDeviceMachine, type DeviceMachine } from '#core/device/device.ts'
import type { DeviceInput, TimerName } from '#core/device/io.ts'
import { roomKey } from '#core/device/room.ts'
import type { DeviceState } from '#core/device/state.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { policyOf } from '#core/policy/room-policy.ts'
import { Cast, DOMAIN } from './cast.ts'
import { commandOf, type KnownLink } from './stand-in-person.ts'
import { SaidByDevice } from './own-words.ts'
import { type Capsule, type CapsuleStep, factsOf, listOf, numberOf } from './reading.ts'
import { type Facts, readCapsule, roomShapeOf, scriptOf, textOf } from './reading.ts'
import { stage } from './stage.ts'
import { seatsOf } from './stage-room.ts'
import { makeGroup } from './stand-in-group.ts'
import { frameOf } from './stand-in-hub.ts'
import { NotReproduced, type RoomParts, START_MS } from './room-parts.ts'
import { StandInRoom } from './stand-in-room.ts'

/** Where a replay and a capsule part. */
export interface Divergence {
  readonly step: number
  /** `input`: the stand-in said something else. `state`, `out`: the machine did something else. */
  readonly of: 'input' | 'state' | 'out' | 'fault' | 'notReproduced'
  readonly what: string
}

export interface Replayed {
  readonly capsule: Capsule
  /** Steps that went as recorded. */
  readonly steps: number
  readonly divergence: Divergence | null
  /** What of the beginning could not be rebuilt. */
  readonly missing: readonly string[]
}

export interface ReplayOptions {
  readonly crypto?: Crypto
  /** Called with each step that went as recorded. */
  readonly passed?: (step: CapsuleStep) => void
}

/** Replays the text of a capsule; throws where it is none. */
export async function replayCapsule(text: string, options: ReplayOptions = {}): Promise<Replayed> {
  const capsule = readCapsule(text)
  const replay = new Replay(capsule, options.crypto ?? createNobleCrypto())
  const missing = await replay.begin()
  for (const [index, step] of capsule.steps.entries()) {
    const divergence = await replay.take(step)
    if (divergence !== null) return { capsule, steps: index, divergence, missing }
    options.passed?.(step)
  }
  return { capsule, steps: capsule.steps.length, divergence: null, missing }
}

class Replay {
  readonly #capsule: Capsule
  readonly #cast: Cast
  readonly #machine: DeviceMachine
  readonly #names = new Pseudonyms(START_MS as TimeMs)
  readonly #said = new SaidByDevice((key) => this.#names.room(key))
  readonly #rooms = new Map<string, StandInRoom>()
  #state: DeviceState | null = null
  /** Before the last step, should that not have been kept. */
  #before: DeviceState | null = null
  #nowMs = START_MS as TimeMs
  #messages = 0

  constructor(capsule: Capsule, crypto: Crypto) {
    this.#capsule = capsule
    const random = createPrng(1)
    const entropy = { randomBytes: (length: number) => random.bytes(length) }
    const clock = { nowMs: () => this.#nowMs }
    this.#cast = new Cast({ crypto, clock, entropy, domain: DOMAIN })
    this.#machine = createDeviceMachine({ crypto, entropy, appVersion: capsule.build })
  }

  async begin(): Promise<readonly string[]> {
    const { state, rooms, missing } = await stage({
      machine: this.#machine,
      cast: this.#cast,
      said: this.#said,
      shape: this.#capsule.start,
      parts: (name) => this.#parts(name),
      comeTo: (name) => this.#midst(this.#parts(name), 0),
    })
    this.#state = state
    for (const [name, room] of rooms) this.#rooms.set(name, room)
    // Names of rooms and people are given out in the same order as they were.
    shapeOf(state, this.#names)
    return missing
  }

  #parts(name: string): RoomParts {
    return {
      name,
      cast: this.#cast,
      script: scriptOf(this.#capsule, name),
      own: this.#said,
      self: () => this.#said.self,
    }
  }

  /** One step; null where all is as recorded. */
  async take(step: CapsuleStep): Promise<Divergence | null> {
    const differs = (of: Divergence['of'], what: string): Divergence => ({
      step: step.index,
      of,
      what,
    })
    const kept = step.undone ? this.#before ?? this.#state : this.#state
    if (kept === null) return differs('state', 'nothing came before')
    this.#nowMs = START_MS + step.atMs as TimeMs
    this.#state = kept
    let input: DeviceInput
    try {
      input = await this.#input(kept, step)
    } catch (error) {
      if (error instanceof NotReproduced) return differs('notReproduced', error.message)
      throw error
    }
    // It went wrong, or was only under way: what it would have come to is not recorded.
    if (step.running) return null
    let after: Awaited<ReturnType<DeviceMachine['step']>>
    try {
      after = await this.#machine.step(kept, input, this.#nowMs)
    } catch (error) {
      return step.fault ? null : differs('fault', String(error))
    }
    if (step.fault) return differs('fault', 'the recorded step failed, this one did not')
    this.#before = kept
    this.#state = after.state
    this.#nameNewRooms(step, after.state)
    for (const effect of after.effects) this.#said.hears(effect)
    const { account } = after.state
    if (account.kind === 'registered') this.#said.self = this.#cast.own(account.record)
    this.#learnLinks()
    const seen = { names: this.#names, state: after.state }
    shapeOf(kept, this.#names)
    const said = difference(
      plainInput(step.input, step),
      plainInput(inputFacts(seen, input), step),
    )
    const out = [
      ...after.effects.map((effect) => effectFacts(seen, effect)).filter((each) => each !== null),
      ...shownFacts(seen, after.changes),
    ]
    const shape = shapeOf(after.state, this.#names)
    const became = difference(step.to, shape)
    if (became !== null) return differs('state', became)
    const done = difference(sorted(step.out), sorted(out))
    if (done !== null) return differs('out', done)
    return said === null ? null : differs('input', said)
  }

  async #input(state: DeviceState, step: CapsuleStep): Promise<DeviceInput> {
    const { input } = step
    const attempt = numberOf(input, 'attempt')
    const kind = textOf(input, 'kind') as DeviceInput['kind']
    switch (kind) {
      case 'started':
      case 'closeRequested':
        return { kind }
      case 'sessionClosed':
        return { kind, attempt }
      case 'sessionOpened':
        return { kind, attempt, transport: textOf(input, 'transport') as 'memory' }
      case 'timerFired':
        return { kind, timer: textOf(input, 'timer') as TimerName }
      case 'networkChanged':
        return { kind, online: input['online'] === true }
      case 'storeFailed':
        return {
          kind,
          command: typeof input['id'] === 'number' ? input['id'] : null,
          timer: typeof input['timer'] === 'string' ? input['timer'] as TimerName : null,
        }
      case 'commandGiven': {
        const key = async (name: string) => roomKey((await this.#room(name, step)).id)
        const place = {
          step,
          state,
          key,
          link: (name: string) => this.#link(name, step),
          texts: ++this.#messages,
        }
        return { kind, id: numberOf(input, 'id'), command: await commandOf(place, this.#cast) }
      }
      case 'framesReceived':
        return { kind, attempt, frames: await this.#frames(state, step) }
    }
  }

  async #frames(state: DeviceState, step: CapsuleStep): Promise<readonly Uint8Array[]> {
    const words = {
      cast: this.#cast,
      said: this.#said,
      state,
      step,
      nowMs: this.#nowMs,
      room: (name: string) => this.#room(name, step),
    }
    const frames: Uint8Array[] = []
    for (const facts of listOf(step.input, 'frames').map(factsOf)) {
      frames.push(await frameOf(words, facts))
    }
    return frames
  }

  // ---- Rooms ----------------------------------------------------------------------------

  /** The room of a name; where it is new, it is as the capsule shows it first. */
  async #room(name: string, step: CapsuleStep): Promise<StandInRoom> {
    const known = this.#rooms.get(name)
    if (known !== undefined) return known
    const parts = this.#parts(name)
    const room = parts.script.has(0)
      ? await this.#founded(parts)
      : await this.#midst(parts, step.index - 1)
    this.#rooms.set(name, room)
    this.#names.room(roomKey(room.id))
    return room
  }

  async #founded(parts: RoomParts): Promise<StandInRoom> {
    const first = parts.script.get(0)
    const final = factsOf(roomShapeOf(first?.step.to ?? {}, parts.name)['final'])
    const founder = seatsOf(final).find(({ leaf }) => leaf === 0)
    return await StandInRoom.founded(parts, founder?.who ?? UNNAMED)
  }

  /** A room that is come to by a link: its log begins above the anchor. */
  async #midst(parts: RoomParts, from: number): Promise<StandInRoom> {
    const shown = this.#capsule.steps.slice(from)
      .map(({ to }) => roomShapeOf(to, parts.name)).find((shape) => factsOf(shape['final'])['at'])
    const final = factsOf(shown?.['final'])
    const [own = 0, others = 0] = listOf(shown ?? {}, 'invitations').map(Number)
    const seats = seatsOf(final)
    const made = await makeGroup(this.#cast, {
      seats: seats.length === 0 ? [{ leaf: 0, who: UNNAMED }] : seats,
      epoch: numberOf(final, 'epoch'),
      invitations: [own, others],
      own: null,
    })
    const position = numberOf(final, 'at')
    const room = StandInRoom.midst(parts, made, { position, next: position + 1 })
    room.knows(position, this.#cast.parts.entropy.randomBytes(32))
    if (room.invitations.length === 0) await inviteAhead(room)
    return room
  }

  async #link(name: string, step: CapsuleStep): Promise<KnownLink | null> {
    const room = await this.#room(name, step)
    const [known] = room.invitations
    return known === undefined ? null : { room: room.id, ...known }
  }

  /** A room that the device made in this step is one of the capsule's from now on. */
  #nameNewRooms(step: CapsuleStep, state: DeviceState): void {
    if (step.input['command'] !== 'createRoom') return
    const name = newRoomOf(step)
    const known = new Set([...this.#rooms.values()].map(({ id }) => roomKey(id)))
    const made = [...state.rooms.values()].find(({ key }) => !known.has(key))
    if (name === null || made === undefined || made.final === null) return
    const room = StandInRoom.created(this.#parts(name), made.id)
    const { public: group, groupInfo } = made.final
    room.epochs.push({ position: 0, public: group, groups: new Map(), groupInfo, keys: null })
    this.#rooms.set(name, room)
    this.#names.room(made.key)
  }

  /** Links that the device made are known to those who come by them. */
  #learnLinks(): void {
    const { crypto } = this.#cast.parts
    for (const link of this.#said.links.splice(0)) {
      const room = [...this.#rooms.values()].find(({ id }) =>
        roomKey(id) === roomKey(link.room as never)
      )
      const { publicKey } = invitationKeyPair(crypto, link.secret, link.room as never)
      const id = invitationId(crypto, publicKey)
      const listed = room === undefined
        ? []
        : policyOf(room.top.public.context.extensions)?.invitations ?? []
      const invitation = listed.find((each) => each.id.every((byte, at) => byte === id[at]))
      if (invitation !== undefined) room?.invitations.push({ invitation, secret: link.secret })
    }
  }
}

/** Somebody who lists invitations later gives a link of theirs away now. */
async function inviteAhead(room: StandInRoom): Promise<void> {
  const lister = [...room.parts.script.values()].find(({ facts }) =>
    facts['policy'] !== undefined && typeof facts['by'] === 'number'
  )
  const leaf = lister === undefined ? [...room.top.groups.keys()][0] : Number(lister.facts['by'])
  const group = room.top.groups.get(leaf ?? 0)
  if (leaf === undefined || group === undefined) return
  const inviter = await room.deviceAt(leaf)
  room.invitations.push(inviter.invitation(room.handRoom(group, room.seenBy({}))))
}

/** Account of whom a capsule does not name. */
const UNNAMED = 99_999

/** The room that a step brings, by the capsule's name. */
function newRoomOf({ from, to }: CapsuleStep): string | null {
  const before = factsOf(from['rooms'])
  return Object.keys(factsOf(to['rooms'])).find((name) => !(name in before)) ?? null
}

// ---- Comparison ---------------------------------------------------------------------------

/** Without sizes, which stand-ins do not keep to, and without entries that were not taken. */
function plainInput(input: Facts, { to }: CapsuleStep): Plain {
  const frames = listOf(input, 'frames').map(factsOf).map(({ kib: _, ...frame }) => {
    const next = numberOf(roomShapeOf(to, textOf(frame, 'room')), 'next')
    const first = numberOf(frame, 'first')
    const entries = listOf(frame, 'entries').filter((_, index) => first + index < next)
    return { ...frame, ...('entries' in frame ? { entries } : {}) }
  })
  return 'frames' in input ? { ...input, frames } : input
}

/** Random ids stand in lists in their own order, and so does what is done for each of them. */
function sorted(out: readonly Plain[]): readonly Plain[] {
  return out.toSorted((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
}

/** The first place where two values differ, in words; null where they are the same. */
export function difference(recorded: Plain, replayed: Plain, path = ''): string | null {
  const isBoth = (test: (value: Plain) => boolean) => test(recorded) && test(replayed)
  const isObject = (value: Plain) => typeof value === 'object' && value !== null
  if (!isBoth(isObject)) {
    if (recorded === replayed) return null
    const [was, is] = [recorded, replayed].map((value) => JSON.stringify(value) ?? 'nothing')
    return `${path || 'it'} was ${was} and is ${is}`
  }
  const [a, b] = [recorded, replayed] as unknown as [Facts, Facts]
  for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const inner = path === '' ? name : `${path}.${name}`
    const found = difference(a[name] as Plain, b[name] as Plain, inner)
    if (found !== null) return found
  }
  return null
}
