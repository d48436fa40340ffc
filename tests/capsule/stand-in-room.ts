/**
 * A room of stand-ins whose log has the shape that a capsule recorded: entries of the same kinds at
 * the same positions and times, by the same leaves. Owns the log and the groups of the stand-ins;
 * what the device itself wrote is taken from the device under replay.
 */
import { ok } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import { leafIndex, logPosition } from '#core/base/ids.ts'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { Group } from '#core/mls/group.ts'
import { processMessage } from '#core/mls/messages.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { type PolicyInvitation, policyOf } from '#core/policy/room-policy.ts'
import { leafOfDevice, memberAt, rosterOf } from '#core/policy/roster.ts'
import type { SenderKeys } from '#core/sender-keys/secret-tree.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { commitEntryCodec, entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { genesisEntryCodec, type LogEntry } from '#core/wire/log-entry.ts'
import { verdictEntryCodec, type VERDICTS, voteEntryCodec } from '#core/wire/log-entry.ts'
import type { HandChange, HandDevice, HandRoom } from '../support/hand-device.ts'
import { externalCommit } from '../support/hand-joiner.ts'
import type { Handed } from './cast.ts'
import { type Facts, factsOf, listOf, numberOf, roomShapeOf } from './reading.ts'
import { type ScriptedEntry, textOf } from './reading.ts'
import { type MadeGroup, openWelcome } from './stand-in-group.ts'
import { NotReproduced, type RoomInWords, type RoomParts, type Seen } from './room-parts.ts'
import { type StandInEpoch, START_MS } from './room-parts.ts'
import { sealedBy, spoiledCommit, votedBy } from './stand-in-words.ts'

export class StandInRoom implements RoomInWords {
  readonly parts: RoomParts
  readonly id: RoomId
  readonly epochs: StandInEpoch[] = []
  readonly invitations: { invitation: PolicyInvitation; secret: Uint8Array }[] = []
  /** Welcomes of the device, by the position of the commit that added it. */
  readonly welcomes = new Map<number, Uint8Array>()
  title = 'stand-in'
  readonly said = new Map<string, Uint8Array>()
  next: number
  readonly #log = new Map<number, { readonly entry: LogEntry; readonly hash: Uint8Array }>()
  readonly #founder: HandDevice | null
  readonly #genesis: Body<'createRoom'> | null

  private constructor(
    parts: RoomParts,
    from: {
      readonly id: RoomId
      readonly next: number
      readonly founder?: HandDevice
      readonly genesis?: Body<'createRoom'>
    },
  ) {
    this.parts = parts
    this.id = from.id
    this.next = from.next
    this.#founder = from.founder ?? null
    this.#genesis = from.genesis ?? null
  }

  /** A room that the device made. */
  static created(parts: RoomParts, id: RoomId): StandInRoom {
    return new StandInRoom(parts, { id, next: 0 })
  }

  /** A room that a stand-in made, and whose log is known from the beginning. */
  static async founded(parts: RoomParts, who: number): Promise<StandInRoom> {
    const founder = await parts.cast.person(who)
    const { room, body } = await founder.genesis()
    const made = new StandInRoom(parts, { id: room.id, next: 0, founder, genesis: body })
    const groups = new Map([[0, room.group]])
    const { groupInfo } = body
    made.epochs.push({ position: 0, public: room.group.public, groups, groupInfo, keys: null })
    return made
  }

  /** A room in its midst: its log begins above the entry that made the epoch. */
  static midst(
    parts: RoomParts,
    made: MadeGroup,
    at: { readonly position: number; readonly next: number },
  ): StandInRoom {
    const room = new StandInRoom(parts, { id: made.id, next: at.next })
    const groups = new Map(made.groups)
    const [some] = groups.values()
    ok(some !== undefined)
    const { groupInfo } = made
    const { position } = at
    room.epochs.push({ position, public: some.public, groups, groupInfo, keys: null })
    room.invitations.push(...made.invitations)
    const own = room.ownLeaf
    if (own !== null) groups.delete(own)
    return room
  }

  get top(): StandInEpoch {
    const top = this.epochs.at(-1)
    if (top === undefined) throw new NotReproduced('the room has no epoch yet')
    return top
  }

  get ownLeaf(): number | null {
    const self = this.parts.self()?.self
    if (self === undefined) return null
    return leafOfDevice(rosterOf(this.top.public.tree), self.account, self.device)?.leaf ?? null
  }

  /** Hash in the chain, where it is known. */
  hashAt(position: number): Uint8Array | null {
    return this.#log.get(position)?.hash ?? null
  }

  knows(position: number, hash: Uint8Array): void {
    const entry: LogEntry = { header: { entry: 'frame', time: 0n }, body: { kind: 'hole', hash } }
    this.#log.set(position, { entry, hash })
  }

  /** The entry of a position; made with all before it where it is new. */
  async entry(position: number): Promise<LogEntry> {
    for (; this.next <= position; this.next++) {
      const scripted = this.parts.script.get(this.next)
      if (scripted === undefined) throw new NotReproduced(`entry ${this.next} is not recorded`)
      const entry = await this.#make(scripted)
      const previous = this.hashAt(this.next - 1) ?? FIRST_PREVIOUS_HASH
      const place = { room: this.id, position: logPosition(BigInt(this.next)), previous }
      const { crypto } = this.parts.cast.parts
      const hash = entryHash((bytes) => crypto.hash('sha256', bytes), place, entry)
      this.#log.set(this.next, { entry, hash })
    }
    const made = this.#log.get(position)
    if (made === undefined) throw new NotReproduced(`entry ${position} is below what is known`)
    return made.entry
  }

  /** Bodies of what came; the header says what the capsule says. */
  async #make(scripted: ScriptedEntry): Promise<LogEntry> {
    const { facts } = scripted
    const is = textOf(facts, 'is') as LogEntry['header']['entry']
    const time = BigInt(this.timeOf(facts))
    const header = { entry: is, time }
    const random = this.parts.cast.parts.entropy.randomBytes(32)
    if (facts['hole'] === true) return { header, body: { kind: 'hole', hash: random } }
    if (facts['malformed'] === true) return { header, body: { kind: 'whole', bytes: random } }
    try {
      return { header, body: { kind: 'whole', bytes: await this.#body(scripted) } }
    } catch (error) {
      // What the device did not take says nothing to it, whatever it is.
      if (!(error instanceof NotReproduced) || wasTaken(scripted, this.parts.name)) throw error
      return { header, body: { kind: 'whole', bytes: random } }
    }
  }

  timeOf(facts: Facts): TimeMs {
    return START_MS + numberOf(facts, 'ms') as TimeMs
  }

  async #body(scripted: ScriptedEntry): Promise<Uint8Array> {
    switch (textOf(scripted.facts, 'is')) {
      case 'genesis':
        return this.#genesisBody(scripted)
      case 'commit':
        return await this.#commitBody(scripted)
      case 'frame':
        return await sealedBy(this, scripted)
      case 'vote':
        return encode(voteEntryCodec, { vote: await votedBy(this, scripted) })
      case 'verdict':
        return this.#verdictBody(scripted)
      default:
        throw new NotReproduced('a proposal')
    }
  }

  #genesisBody({ step }: ScriptedEntry): Uint8Array {
    const made = this.#founder === null ? this.parts.own.created(this.parts.name) : this.#genesis
    if (made === null) throw new NotReproduced('the genesis')
    const isBad = roomShapeOf(step.to, this.parts.name)['code'] === 'badGenesis'
    if (this.epochs.length === 0) {
      throw new NotReproduced('the first epoch')
    }
    const genesis = isBad ? made.genesis.map((byte) => byte ^ 1) : made.genesis
    const { groupInfo, certificate } = made
    return encode(genesisEntryCodec, { genesis, groupInfo, certificate })
  }

  #verdictBody({ facts }: ScriptedEntry): Uint8Array {
    const about = numberOf(facts, 'about')
    const verdict = textOf(facts, 'verdict') as keyof typeof VERDICTS
    if (verdict === 'void') {
      const index = this.epochs.findIndex(({ position }) => position === about)
      if (index > 0) this.epochs.splice(index)
    }
    const asked = listOf(facts, 'asked').map(Number)
    return encode(verdictEntryCodec, { position: BigInt(about), verdict, asked })
  }

  // ---- Commits --------------------------------------------------------------------------

  async #commitBody(scripted: ScriptedEntry): Promise<Uint8Array> {
    const { facts } = scripted
    const by = facts['by']
    const isOwn = typeof by === 'number' ? by === this.ownLeaf : facts['who'] === 0
    if (isOwn) {
      const body = this.parts.own.commit(this.parts.name, numberOf(facts, 'epoch'))
      if (body === null) throw new NotReproduced('a commit of the device before the capsule')
      await this.enter(scripted, body, null)
      return entryOf(body, body.seen)
    }
    const made = await this.commitOf(scripted)
    const spoiled = spoiledCommit(this, scripted, made.body)
    if (spoiled === null) await this.enter(scripted, made.body, made.next)
    return entryOf(spoiled ?? made.body, (spoiled ?? made.body).seen)
  }

  /** A commit of a stand-in with these facts, and the group that it makes for whoever made it. */
  async commitOf(
    scripted: ScriptedEntry,
  ): Promise<{ readonly next: Group; readonly body: Body<'submitCommit'> }> {
    const by = scripted.facts['by']
    const seen = this.seenBy(scripted.facts)
    return typeof by === 'number'
      ? await this.#memberCommit(by, scripted, seen)
      : await this.#joinerCommit(scripted, seen)
  }

  async #memberCommit(leaf: number, { facts, step, position }: ScriptedEntry, seen: Seen) {
    const { top, parts: { cast, own } } = this
    const group = top.groups.get(leaf)
    const who = memberAt(top.public.tree, leaf)?.identity.account
    if (group === undefined || who === undefined) {
      throw new NotReproduced(`a commit of leaf ${leaf}, which does not follow`)
    }
    const device = await this.deviceAt(leaf)
    const adds: { keyPackage: Uint8Array; certificate: Uint8Array }[] = []
    const handed: Handed[] = []
    for (const added of listOf(facts, 'adds')) {
      if (added === 0) {
        const given = own.keyPackage()
        if (given === null) throw new NotReproduced('a KeyPackage of the device')
        adds.push(given)
      } else {
        const each = await cast.handOut(Number(added))
        handed.push(each)
        adds.push({ keyPackage: each.keyPackage, certificate: each.device.self.certificate })
      }
    }
    const shape = roomShapeOf(step.to, this.parts.name)
    const change: HandChange = {
      adds,
      removes: listOf(facts, 'removes').map((leaf) => leafIndex(Number(leaf))),
      ...(facts['policy'] === undefined ? {} : { invitations: this.#policy(device, group, facts) }),
    }
    const lying = await this.#lying(group, scriptedChoice(shape, position))
    const { next, body } = await device.commit(this.handRoom(lying, seen), change)
    return { next: { ...next, public: { ...next.public, suite: group.public.suite } }, body }
  }

  /** Where the device could not follow, what is encrypted to it opens for nobody. */
  #lying(group: Group, follows: boolean): Promise<Group> {
    if (follows) return Promise.resolve(group)
    const { suite } = group.public
    const hpkeSeal: typeof suite.hpkeSeal = async (sending, plaintext) => {
      const sealed = await suite.hpkeSeal(sending, plaintext)
      if (sealed === null) return sealed
      return { ...sealed, ciphertext: sealed.ciphertext.map((byte) => byte ^ 1) }
    }
    return Promise.resolve({
      ...group,
      public: { ...group.public, suite: { ...suite, hpkeSeal } },
    })
  }

  /** As many invitations as the capsule counts: of the device, and of others. */
  #policy(device: HandDevice, group: Group, facts: Facts): readonly PolicyInvitation[] {
    const listed = policyOf(group.public.context.extensions)?.invitations ?? []
    const self = this.parts.self()?.self.account
    const own = listed.filter(({ inviter }) => inviter === self)
    const others = listed.filter(({ inviter }) => inviter !== self)
    const [ownCount = own.length, count = others.length] = listOf(facts, 'policy').map(Number)
    while (others.length < count) {
      // A link may be given away before the commit that lists it.
      const isListed = (id: Uint8Array) => listed.some((each) => equalBytes(each.id, id))
      const given = this.invitations.find(({ invitation: { id, inviter } }) =>
        inviter === device.self.account && !isListed(id) && !others.some((each) => each.id === id)
      )
      const made = given ?? device.invitation(this.handRoom(group, this.seenBy({})))
      if (given === undefined) this.invitations.push(made)
      others.push(made.invitation)
    }
    return [...own.slice(0, ownCount), ...others.slice(0, count)]
  }

  async #joinerCommit({ facts }: ScriptedEntry, seen: Seen) {
    const way = textOf(facts, 'by')
    if (way === 'device') throw new NotReproduced('a new device of an account')
    const self = facts['who'] === 0 ? this.parts.self() : null
    const device = self ?? await this.parts.cast.person(numberOf(facts, 'who'))
    const { groupInfo, public: group } = this.top
    const log = { id: this.id, next: BigInt(seen.position) + 1n, headHash: seen.hash, entries: [] }
    const listed = policyOf(group.context.extensions)?.invitations ?? []
    const known = this.invitations.find(({ invitation }) =>
      listed.some(({ id }) => equalBytes(id, invitation.id))
    )
    if (way === 'link' && known === undefined) throw new NotReproduced('a link that is not known')
    const secret = way === 'link' ? known?.secret ?? null : null
    return await externalCommit(device, { log, group, groupInfo }, secret)
  }

  /** The epoch that a commit makes, for all stand-ins. */
  async enter(
    scripted: ScriptedEntry,
    body: Body<'submitCommit'>,
    next: Group | null,
  ): Promise<void> {
    const { top } = this
    const timeMs = this.timeOf(scripted.facts)
    const after = await publicProcess(top.public, body.commit, { timeMs })
    if (after.kind !== 'commit') throw new NotReproduced(`a commit that is refused: ${after.kind}`)
    const groups = new Map<number, Group>()
    if (next !== null) groups.set(next.ownLeaf, next)
    for (const [leaf, before] of top.groups) {
      if (leaf === next?.ownLeaf) continue
      const taken = await processMessage(before, body.commit, { timeMs, psks: () => null })
      if (taken.kind === 'commit') groups.set(leaf, taken.group)
    }
    if (body.welcome.length > 0) {
      for (const handed of this.parts.cast.handed) {
        const joined = await openWelcome(body.welcome, handed)
        if (joined !== null) groups.set(joined.ownLeaf, joined)
      }
      this.welcomes.set(scripted.position, body.welcome)
    }
    const { position } = scripted
    const { groupInfo } = body
    this.epochs.push({ position, public: after.group, groups, groupInfo, keys: null })
  }

  // ---- What stand-ins know --------------------------------------------------------------

  /** The stand-in in a leaf. */
  async deviceAt(leaf: number): Promise<HandDevice> {
    const account = memberAt(this.top.public.tree, leaf)?.identity.account ?? ''
    const number = Number(/^p(\d+)@/.exec(account)?.[1] ?? Number.NaN)
    if (!Number.isSafeInteger(number)) throw new NotReproduced(`somebody in leaf ${leaf}`)
    return await this.parts.cast.person(number)
  }

  /** What a sender had seen; where the capsule says that it was another log, it is another. */
  seenBy(facts: Facts): Seen {
    const position = facts['seen'] === undefined ? this.next - 1 : numberOf(facts, 'seen')
    const known = facts['contradicts'] === true ? null : this.hashAt(position)
    const hash = known ?? this.parts.cast.parts.entropy.randomBytes(32)
    return { position: logPosition(BigInt(position)), hash }
  }

  /** The room as a stand-in sees it in an epoch. */
  handRoom(group: Group, seen: Seen): HandRoom {
    return {
      id: this.id,
      group,
      keys: null as unknown as SenderKeys,
      next: BigInt(seen.position) + 1n,
      headHash: seen.hash,
      entries: [],
    }
  }

  epochId(epoch = this.top) {
    return epochIdOf(epoch.public.suite, epoch.public.context)
  }
}

function entryOf(body: Body<'submitCommit'>, seen: Seen): Uint8Array {
  const { commit, groupInfo, certificates } = body
  return encode(commitEntryCodec, { commit, groupInfo, certificates, seen })
}

/** Whether the device went beyond the entry in the step in which it came. */
export function wasTaken({ position, step }: ScriptedEntry, room: string): boolean {
  return position < numberOf(roomShapeOf(step.to, room), 'next')
}

/** Whether the device followed the commit at a position; so it is where nothing is said. */
function scriptedChoice(shape: Facts, position: number): boolean {
  const epoch = listOf(shape, 'chain').map(factsOf).find((each) => each['at'] === position)
  return epoch === undefined || epoch['leaf'] !== null || epoch['choice'] === 'agree'
}
