/**
 * Proposals by chance: what somebody proposes by itself, and which of them a committer can take
 * together (RFC 9420 section 12.2). Owns the drawing; refused lists are `forgeries.ts`.
 */
import {
  type Extension,
  EXTENSION_TYPE,
  makeExtension,
  readExternalSenders,
  requiredCapabilities,
} from '#core/mls/extension.ts'
import type { Group } from '#core/mls/group.ts'
import { processMessage, propose, proposeExternally } from '#core/mls/messages.ts'
import { proposeOwnAdd, proposeUpdate, type Sent } from '#core/mls/messages.ts'
import type { KeyPackageMade, LeafTemplate } from '#core/mls/own-leaf.ts'
import { type PreSharedKeyId, preSharedKeyId, type Proposal } from '#core/mls/proposal.ts'
import type { CachedProposal } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { encode } from '#core/wire/codec.ts'
import { toHex } from './hex.ts'
import { damageHandshake } from './damage.ts'
import {
  adopt,
  count,
  keyPackageOf,
  must,
  newExternalPsk,
  nextPerson,
  NOW,
  oneIn,
  outsideExtension,
  type Person,
  pskOf,
  resumptionPskId,
  type Seat,
  shuffled,
  SPARE_EXTENSIONS,
  taken,
  type World,
} from './world.ts'

/** KeyPackages that are on offer, by the hex of their leaf's signature. */
export type Offers = Map<string, { readonly person: Person; readonly made: KeyPackageMade }>

export interface Epoch {
  readonly offers: Offers
  readonly membersMax: number
  /** How handshake messages of members are framed. */
  readonly framing: 'public' | 'private' | 'mixed'
  /** Whether some members take their exports and then speak in the open alone. */
  readonly frugal: boolean
  /** False once the public group has missed a proposal. */
  publicKnowsAll: boolean
}

export function wireFormatOf(world: World, { framing }: Epoch) {
  const isPublic = framing === 'public' || (framing === 'mixed' && oneIn(world, 2))
  return isPublic ? 'publicMessage' as const : 'privateMessage' as const
}

export function sendingOf(world: World, epoch: Epoch) {
  return {
    authenticatedData: world.entropy.randomBytes(world.prng.integer(12)),
    wireFormat: wireFormatOf(world, epoch),
    paddingLength: world.prng.integer(3) * world.prng.integer(64),
    entropy: world.entropy,
  }
}

// ---- One proposal -------------------------------------------------------------------------

/** Who was in the group and is not now. */
export function absentPersons(world: World): Person[] {
  const seated = new Set(world.seats.map(({ person }) => person))
  return world.gone.map(({ person }) => person).filter((person) => !seated.has(person))
}

/** Somebody new, or who was here before. */
export async function offer(world: World, epoch: Epoch): Promise<Proposal & { kind: 'add' }> {
  const absent = absentPersons(world)
  const person = absent.length > 0 && oneIn(world, 3) ? world.prng.pick(absent) : nextPerson(world)
  return await offerOf(world, epoch, person)
}

export async function offerOf(
  world: World,
  { offers }: Epoch,
  person: Person,
): Promise<Proposal & { kind: 'add' }> {
  const made = await keyPackageOf(world, person)
  offers.set(toHex(made.keyPackage.leafNode.signature), { person, made })
  return { kind: 'add', keyPackage: made.keyPackage }
}

export function removal(world: World): Proposal {
  return { kind: 'remove', removed: world.prng.pick(world.seats).group.ownLeaf }
}

export function pskProposal(world: World): Proposal {
  return { kind: 'psk', psk: oneIn(world, 2) ? newExternalPsk(world) : pskIdOf(world) }
}

/** The resumption PSK of this epoch or of one of the last. */
export function pskIdOf(world: World): PreSharedKeyId {
  const { epoch } = world.publicGroup.context
  const known = Number(epoch - world.firstEpoch) + 1
  const back = BigInt(world.prng.integer(Math.min(8, known)))
  return resumptionPskId(world, epoch - back)
}

/** Extensions of a group, which every member supports. */
export function extensionsProposal(world: World): Proposal {
  const extensions: Extension[] = []
  if (!oneIn(world, 6)) extensions.push(outsideExtension(world.outside))
  for (const type of SPARE_EXTENSIONS) {
    if (oneIn(world, 3)) {
      extensions.push({ type, body: world.entropy.randomBytes(world.prng.integer(40)) })
    }
  }
  if (oneIn(world, 4)) {
    const wanted = { extensions: [SPARE_EXTENSIONS[0]], proposals: [], credentials: [1] }
    extensions.push(
      makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, wanted),
    )
  }
  return { kind: 'groupContextExtensions', extensions: shuffled(world, extensions) }
}

/** A leaf's template with other extensions; undefined leaves it as it is. */
export function nextTemplate(world: World, { person }: Seat): { template?: LeafTemplate } {
  if (!oneIn(world, 3)) return {}
  const body = world.entropy.randomBytes(world.prng.integer(60))
  const extensions = [{ type: world.prng.pick([...SPARE_EXTENSIONS]), body }]
  return { template: { ...person.template, extensions } }
}

async function someProposal(world: World, epoch: Epoch): Promise<Proposal> {
  const drawn = world.prng.integer(8)
  if (drawn < 3) return await offer(world, epoch)
  if (drawn < 5) return removal(world)
  return drawn < 7 ? pskProposal(world) : extensionsProposal(world)
}

// ---- Sent by themselves -------------------------------------------------------------------

interface Outgoing {
  readonly message: Uint8Array
  readonly from: Seat | null
  readonly reference: Uint8Array | null
}

/** Somebody sends a proposal, and everybody takes it in. */
export async function proposeSomething(world: World, epoch: Epoch): Promise<void> {
  const outgoing = oneIn(world, 4)
    ? await fromOutside(world, epoch)
    : await fromMember(world, epoch)
  if (outgoing === null) return
  await damageHandshake(world, outgoing)
  for (const seat of shuffled(world, world.seats)) {
    if (seat === outgoing.from) continue
    const followed = await processMessage(seat.group, outgoing.message, {
      timeMs: NOW,
      psks: pskOf(world),
    })
    const result = taken(followed, `a proposal at ${seat.person.name}`)
    must(result.kind === 'proposal', `a proposal came as ${result.kind}`)
    adopt(seat, result.group, result.consumed)
  }
  const seen = await publicProcess(world.publicGroup, outgoing.message, { timeMs: NOW })
  if (seen.kind === 'refused') {
    must(seen.code === 'malformed', `the public group refused a proposal with ${seen.code}`)
    epoch.publicKnowsAll = false
  } else world.publicGroup = seen.group
}

async function fromMember(world: World, epoch: Epoch): Promise<Outgoing> {
  const seat = world.prng.pick(world.seats)
  const sending = sendingOf(world, epoch)
  const updates = oneIn(world, 2)
  const made = updates
    ? await proposeUpdate(seat.group, { ...sending, ...nextTemplate(world, seat) })
    : await propose(seat.group, await someProposal(world, epoch), sending)
  const sent = taken(made, 'proposing')
  count(world, `proposal ${sending.wireFormat}`)
  adopt(seat, sent.group, (sent as Sent).consumed)
  return { message: sent.message, from: seat, reference: sent.reference }
}

async function fromOutside(world: World, epoch: Epoch): Promise<Outgoing | null> {
  const { context } = world.publicGroup
  const frame = {
    groupId: context.groupId,
    epoch: context.epoch,
    authenticatedData: world.entropy.randomBytes(world.prng.integer(9)),
  }
  if (oneIn(world, 3)) {
    const { keyPackage } = await offer(world, epoch)
    const { person } = epoch.offers.get(toHex(keyPackage.leafNode.signature)) as {
      person: Person
    }
    count(world, 'new member proposal')
    const message = await proposeOwnAdd(world.suite, keyPackage, {
      ...frame,
      signatureSecret: person.signatureSecret,
    })
    return { message, from: null, reference: null }
  }
  if (!Array.isArray(readExternalSenders(context.extensions))) return null
  const proposal = await someProposal(world, epoch)
  count(world, `external ${proposal.kind}`)
  const { outside, place } = world.outside
  const { signatureSecret } = outside
  const from = { ...frame, senderIndex: place, signatureSecret }
  const message = await proposeExternally(world.suite, proposal, from)
  return { message, from: null, reference: null }
}

// ---- Taken together -----------------------------------------------------------------------

/** What a commit may still take in beside what it has. */
export class Batch {
  readonly references: Uint8Array[] = []
  readonly byValue: Proposal[] = []
  readonly #touched: Set<number>
  readonly #leaving = new Set<number>()
  readonly #clients = new Set<string>()
  readonly #psks = new Set<string>()
  readonly #committer: number
  #extensions = false
  members: number

  constructor(group: Group, members: number) {
    this.#committer = group.ownLeaf
    this.#touched = new Set([group.ownLeaf])
    this.members = members
  }

  /** By reference, where it fits. */
  refer({ proposal, sender, reference }: CachedProposal, world: World): void {
    const leaf = sender.kind === 'member' ? sender.leaf : null
    if (proposal.kind === 'reInit' || proposal.kind === 'externalInit') return
    if (this.#admits(proposal, leaf, world)) this.references.push(reference)
  }

  add(proposal: Proposal, world: World): void {
    if (this.#admits(proposal, this.#committer, world)) this.byValue.push(proposal)
  }

  #admits(proposal: Proposal, sender: number | null, world: World): boolean {
    switch (proposal.kind) {
      case 'update':
        return sender !== null && this.#touches(sender)
      case 'remove': {
        const leaves = this.#touches(proposal.removed)
        if (!leaves) return false
        this.#leaving.add(proposal.removed)
        this.members--
        return true
      }
      case 'add': {
        const client = toHex(proposal.keyPackage.leafNode.signatureKey)
        const present = world.seats.find(({ person }) =>
          toHex(person.template.signatureKey) === client
        )
        const absent = present === undefined || this.#leaving.has(present.group.ownLeaf)
        if (!absent || this.#clients.has(client)) return false
        this.#clients.add(client)
        this.members++
        return true
      }
      case 'psk': {
        const id = toHex(encode(preSharedKeyId, proposal.psk))
        const fresh = !this.#psks.has(id)
        this.#psks.add(id)
        return fresh
      }
      case 'groupContextExtensions': {
        const fresh = !this.#extensions
        this.#extensions = true
        return fresh
      }
      default:
        return false
    }
  }

  #touches(leaf: number): boolean {
    if (this.#touched.has(leaf)) return false
    this.#touched.add(leaf)
    return true
  }
}

/** A batch of what lies ready and of more by value. */
export async function drawBatch(world: World, epoch: Epoch, committer: Seat): Promise<Batch> {
  const { group } = committer
  const batch = new Batch(group, world.seats.length)
  const takes = world.prng.pick([0, 1, 1, 1])
  for (const cached of shuffled(world, [...group.public.proposals.values()])) {
    if (takes === 1 && !oneIn(world, 4)) batch.refer(cached, world)
  }
  const wish = world.prng.integer(10)
  if (batch.members < 2 || (wish < 4 && batch.members < epoch.membersMax)) {
    const room = Math.max(1, epoch.membersMax - batch.members)
    const many = 1 + world.prng.integer(Math.min(room, world.prng.pick([1, 2, 8])))
    for (let index = 0; index < many; index++) batch.add(await offer(world, epoch), world)
  }
  const removals = wish >= 8 || batch.members > epoch.membersMax
    ? 1 + world.prng.integer(Math.max(1, Math.floor(batch.members / 2)))
    : 0
  for (let index = 0; index < removals; index++) batch.add(removal(world), world)
  if (wish === 9 && oneIn(world, 2)) await comeBack(world, epoch, batch)
  if (oneIn(world, 4)) batch.add(pskProposal(world), world)
  if (oneIn(world, 8)) batch.add(extensionsProposal(world), world)
  return batch
}

/** Somebody is removed and added again by one commit. */
async function comeBack(world: World, epoch: Epoch, batch: Batch): Promise<void> {
  const seat = world.prng.pick(world.seats)
  batch.add({ kind: 'remove', removed: seat.group.ownLeaf }, world)
  batch.add(await offerOf(world, epoch, seat.person), world)
}
