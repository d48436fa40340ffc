/**
 * A group as a random history sees it: everybody who is in it with the state of each, the public
 * group beside them, those who left with all they ever knew, and the one source of chance. Owns
 * who is there and what they keep; what happens to them is `history.ts`, what must hold
 * `agreement.ts`.
 */
import { EMPTY, equalBytes, utf8Encode, wipe } from '#core/base/bytes.ts'
import { type TimeMs, timeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import {
  type Extension,
  EXTENSION_TYPE,
  externalSenders,
  makeExtension,
} from '#core/mls/extension.ts'
import type { AuthenticatedContent } from '#core/mls/framing.ts'
import { createGroup, type Group, makeGroupInfo } from '#core/mls/group.ts'
import type { EpochSecrets } from '#core/mls/key-schedule.ts'
import type { Lifetime } from '#core/mls/leaf-node.ts'
import { type KeyPackageMade, type LeafTemplate, makeKeyPackage } from '#core/mls/own-leaf.ts'
import { type PreSharedKeyId, preSharedKeyId } from '#core/mls/proposal.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import type { RatchetTree } from '#core/mls/ratchet-tree.ts'
import { secretsOfTree } from '#core/mls/secret-tree.ts'
import { encode } from '#core/wire/codec.ts'
import { createPrng, type Prng } from '../core/prng.ts'
import { toHex } from './hex.ts'
import { Disk } from './disk.ts'
import { STAND_INS } from './stand-in-suite.ts'

export const NOW: TimeMs = timeMs(1_800_000_000_000)
/** Types of no meaning, which everybody supports. */
export const SPARE_EXTENSIONS = [0xf101, 0xf102, 0xf103] as const

/** A value that is never to mean anything (RFC 9420 section 13.5). */
const GREASE = 0x2a2a
const NOTHING = new Uint8Array(0)

export class Violation extends Error {}

/** States what must hold, in words that make a failure readable. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Violation(what)
}

/** The outcome, which must not be a refusal. */
export function taken<T extends { readonly kind: string }>(
  outcome: T,
  what: string,
): Exclude<T, { readonly kind: 'refused' }> {
  if (outcome.kind !== 'refused') return outcome as Exclude<T, { readonly kind: 'refused' }>
  throw new Violation(`${what} was refused with ${(outcome as { readonly code?: string }).code}`)
}

/** A client. The same person may be in the group, leave it and come back. */
export interface Person {
  readonly name: string
  readonly signatureSecret: Uint8Array
  readonly template: LeafTemplate
  readonly lifetime: Lifetime
  readonly entropy: Entropy
}

/** Somebody in the group, with the state of the present epoch. */
export interface Seat {
  readonly person: Person
  group: Group
  /** HPKE keys of the KeyPackage by which the person came, if by one. */
  readonly cameWith: readonly Uint8Array[]
  /** A member who wipes nothing: every state since it came, the present one not among them. */
  readonly kept: Group[] | null
  /** Where the tree is stored by who starts again now and then. */
  readonly disk: Disk | null
}

/** Somebody who was removed, with the last state and whatever else was kept. */
export interface Gone {
  readonly person: Person
  readonly leaf: number
  readonly states: readonly Group[]
  readonly cameWith: readonly Uint8Array[]
  /** Commits since then that it has tried. */
  tries: number
}

export interface SentApplication {
  readonly sender: number
  readonly message: Uint8Array
  readonly content: Uint8Array
  /** Who has read it, or sent it. */
  readonly known: Set<Seat>
}

/** A commit that all have followed, as the attackers look back at it. */
export interface PastCommit {
  readonly message: Uint8Array
  readonly authenticated: AuthenticatedContent
  /** Leaf of the committer after the commit. */
  readonly committer: number
  /** The public group before it, with the proposals of its epoch. */
  readonly before: PublicGroup
  readonly after: PublicGroup
  readonly welcome: Uint8Array | null
  readonly secrets: EpochSecrets
  readonly secretsBefore: EpochSecrets
  /** Application messages of the epoch before it. */
  readonly messages: readonly SentApplication[]
}

/** Who may propose from outside. */
export interface Outside {
  readonly outside: Person
  readonly decoy: Person | null
  /** Of the one outside among `external_senders`. */
  readonly place: number
}

export interface World {
  suite: CipherSuite
  /** True on a real suite, where not every key can be tried each time. */
  readonly costly: boolean
  readonly prng: Prng
  readonly entropy: Entropy
  readonly outside: Outside
  seats: Seat[]
  gone: Gone[]
  publicGroup: PublicGroup
  publicDisk: Disk
  /** External PSKs and all resumption PSKs of the group, by their identifier without nonce. */
  readonly psks: Map<string, Uint8Array>
  /** A copy of the present epoch's secrets, before anybody uses and wipes them. */
  present: EpochSecrets
  /** Of the oldest epoch in the group whose resumption PSK is known. */
  firstEpoch: bigint
  /** Hex of every epoch secret so far. */
  readonly seen: Set<string>
  messages: SentApplication[]
  /** Of proposals of the epoch before. */
  earlierReferences: readonly Uint8Array[]
  /** Of the epoch before, where it is another. */
  earlierTree: RatchetTree | null
  people: number
  readonly counts: Record<string, number>
}

export function count(world: World, what: string): void {
  world.counts[what] = (world.counts[what] ?? 0) + 1
}

/** True in one of so many cases. */
export function oneIn(world: World, many: number): boolean {
  return world.prng.integer(many) === 0
}

export function shuffled<T>(world: World, values: readonly T[]): T[] {
  const rest = [...values]
  const out: T[] = []
  while (rest.length > 0) out.push(...rest.splice(world.prng.integer(rest.length), 1))
  return out
}

/** Bytes of chance for the engine, apart from the choices of the history. */
export function entropyOf(seed: number): Entropy {
  let [a, b, c, counter] = [seed | 0, 0x9e3779b9, 0x243f6a88, 1]
  const word = () => {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum
  }
  for (let warm = 0; warm < 16; warm++) word()
  return {
    randomBytes(length) {
      const words = Int32Array.from({ length: Math.ceil(length / 4) }, word)
      return new Uint8Array(words.buffer).slice(0, length)
    },
  }
}

export function newPerson(
  suite: CipherSuite,
  entropy: Entropy,
  name: string,
): Person {
  const isOdd = (entropy.randomBytes(1)[0] as number) % 4 === 0
  const pair = suite.signatureKeyPair(entropy.randomBytes(suite.signatureSeedLength))
  return {
    name,
    entropy,
    signatureSecret: pair.secretKey,
    lifetime: { notBefore: 0n, notAfter: 1n << 60n },
    template: {
      credential: isOdd
        ? { kind: 'x509', certificates: [utf8Encode(name), NOTHING] }
        : { kind: 'basic', identity: utf8Encode(name) },
      signatureKey: pair.publicKey,
      capabilities: {
        versions: [1],
        cipherSuites: [suite.id, ...STAND_INS.filter((id) => id !== suite.id)],
        extensions: [...SPARE_EXTENSIONS, GREASE],
        proposals: [GREASE],
        credentials: [GREASE, 2, 1],
      },
      extensions: [],
    },
  }
}

export function nextPerson(world: World): Person {
  return newPerson(world.suite, world.entropy, `person ${++world.people}`)
}

export function keyPackageOf(world: World, person: Person): Promise<KeyPackageMade> {
  const type = SPARE_EXTENSIONS[0]
  const extensions = oneIn(world, 3) ? [{ type, body: world.entropy.randomBytes(9) }] : []
  return makeKeyPackage(world.suite, { ...person, extensions })
}

/** `external_senders` with the one outside, beside another of no meaning or alone. */
export function outsideExtension({ outside, decoy, place }: Outside): Extension {
  const senders = [outside, ...decoy === null ? [] : [decoy]].map(({ template }) => {
    const { signatureKey, credential } = template
    return { signatureKey, credential }
  })
  if (place > 0) senders.reverse()
  return makeExtension(EXTENSION_TYPE.externalSenders, externalSenders, senders)
}

function newOutside(suite: CipherSuite, entropy: Entropy, prng: Prng): Outside {
  const outside = newPerson(suite, entropy, 'outside')
  const decoy = prng.integer(2) === 0 ? null : newPerson(suite, entropy, 'decoy')
  return { outside, decoy, place: decoy === null ? 0 : prng.integer(2) }
}

/** A group of one, and nothing that has happened yet. */
export async function createWorld(
  { suite, costly }: { readonly suite: CipherSuite; readonly costly: boolean },
  seed: number,
): Promise<World> {
  const entropy = entropyOf(seed)
  const person = newPerson(suite, entropy, 'person 0')
  const prng = createPrng(seed)
  const outside = newOutside(suite, entropy, prng)
  const group = await createGroup(suite, {
    ...person,
    groupId: entropy.randomBytes(prng.integer(24)),
    extensions: [outsideExtension(outside)],
  })
  const world: World = {
    suite,
    costly,
    prng,
    entropy,
    outside,
    seats: [],
    gone: [],
    publicGroup: await openedPublicGroup(group),
    publicDisk: new Disk(),
    psks: new Map(),
    present: group.secrets,
    firstEpoch: 0n,
    seen: new Set(),
    messages: [],
    earlierReferences: [],
    earlierTree: null,
    people: 0,
    counts: {},
  }
  world.seats.push(seatOf(world, person, { group, cameWith: [] }))
  rememberSecrets(world, group)
  return world
}

export function seatOf(
  world: World,
  person: Person,
  came: { readonly group: Group; readonly cameWith: readonly Uint8Array[] },
): Seat {
  const kept = oneIn(world, 3) ? [] : null
  return { person, ...came, kept, disk: oneIn(world, 3) ? new Disk() : null }
}

/** The public group from a member's GroupInfo, as whoever has seen nothing before opens it. */
export async function openedPublicGroup(group: Group): Promise<PublicGroup> {
  const contents = { ratchetTree: true, externalPub: false }
  const groupInfo = await makeGroupInfo(group, contents)
  const opened = await openPublicGroup(group.public.suite, { groupInfo, ratchetTree: null })
  return taken(opened, 'opening the public group').group
}

/** Steps a seat into its next state. Whoever keeps nothing wipes at once what is to be wiped. */
export function adopt(seat: Seat, next: Group, consumed: readonly Uint8Array[]): void {
  const before = seat.group
  seat.group = next
  if (seat.kept === null) {
    wipe(...consumed)
    leavesNothing(before, next)
  } else if (before.public.context.epoch !== next.public.context.epoch) seat.kept.push(before)
}

/** All secrets that a state holds, but for the signature key. */
export function secretsHeld(group: Group): readonly Uint8Array[] {
  return [
    ...Object.values<Uint8Array>({ ...group.secrets }),
    ...group.privateKeys.values(),
    ...group.pendingUpdates.values(),
    ...group.resumptions.map(({ psk }) => psk),
    ...group.secretTree === null ? [] : secretsOfTree(group.secretTree),
  ]
}

/** Once what was consumed is wiped, a state holds only what the next one holds too. */
function leavesNothing(before: Group, next: Group): void {
  const goesOn = new Set(secretsHeld(next))
  for (const secret of secretsHeld(before)) {
    const gone = goesOn.has(secret) || secret.every((byte) => byte === 0)
    must(gone, 'a secret of the state before is neither wiped nor in use')
  }
}

/** The seat leaves the group; what it knows is kept by its person. */
export function leave(world: World, seat: Seat): void {
  world.seats = world.seats.filter((each) => each !== seat)
  const { person, group, cameWith, kept } = seat
  const states = [...kept ?? [], group]
  world.gone.push({ person, leaf: group.ownLeaf, states, cameWith, tries: 0 })
}

export function seatAt(world: World, leaf: number): Seat {
  const found = world.seats.find(({ group }) => group.ownLeaf === leaf)
  must(found !== undefined, `nobody sits at leaf ${leaf}`)
  return found
}

// ---- Pre-shared keys ----------------------------------------------------------------------

/** An identifier's place among the known PSKs; its nonce does not choose the key. */
function pskPlace(id: PreSharedKeyId): string {
  return toHex(encode(preSharedKeyId, { ...id, pskNonce: EMPTY }))
}

export function pskOf(world: World): (id: PreSharedKeyId) => Uint8Array | null {
  return (id) => world.psks.get(pskPlace(id)) ?? null
}

/** A new external PSK, which everybody has got by other ways. */
export function newExternalPsk(world: World): PreSharedKeyId {
  const id: PreSharedKeyId = {
    kind: 'external',
    pskId: world.entropy.randomBytes(world.prng.integer(20)),
    pskNonce: world.entropy.randomBytes(world.suite.hashLength),
  }
  const place = pskPlace(id)
  const known = world.psks.get(place) ?? world.entropy.randomBytes(1 + world.prng.integer(48))
  world.psks.set(place, known)
  return id
}

/** The resumption PSK of one of the last epochs. */
export function resumptionPskId(world: World, epoch: bigint): PreSharedKeyId {
  return {
    kind: 'resumption',
    usage: 'application',
    pskGroupId: world.publicGroup.context.groupId,
    pskEpoch: epoch,
    pskNonce: world.entropy.randomBytes(world.suite.hashLength),
  }
}

/** Copies an epoch's secrets, its resumption PSK for those who come later; all must be new. */
export function rememberSecrets(world: World, group: Group): void {
  const { epoch, groupId } = group.public.context
  const usage = 'application'
  const named = { kind: 'resumption', usage, pskGroupId: groupId, pskEpoch: epoch } as const
  const place = pskPlace({ ...named, pskNonce: EMPTY })
  world.psks.set(place, group.secrets.resumptionPsk.slice())
  world.present = copiedSecrets(group.secrets)
  for (const [name, secret] of Object.entries<Uint8Array>({ ...world.present })) {
    const hex = toHex(secret)
    must(!world.seen.has(hex), `${name} of epoch ${epoch} was a secret before`)
    world.seen.add(hex)
  }
}

export function copiedSecrets(secrets: EpochSecrets): EpochSecrets {
  const copies = Object.entries({ ...secrets }).map(([name, secret]) => [name, secret.slice()])
  return Object.fromEntries(copies) as EpochSecrets
}

/** Whether a state is of the epoch before a commit. */
export function isBefore(group: Group, { before }: PastCommit): boolean {
  const { epoch, groupId } = group.public.context
  return epoch === before.context.epoch && equalBytes(groupId, before.context.groupId)
}
