/**
 * Submissions and rooms for tests of the sequencer: Alice, Bob and Carol in groups of the engine,
 * without certificates. Owns no check: what a submission claims to be checked counts as checked.
 */
import { ok } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, RoomId, Term, TimeMs } from '#core/base/ids.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { groupIdOf } from '#core/identity/genesis.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { createGroup, type Group } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage, proposeUpdate } from '#core/mls/messages.ts'
import { type KeyPackageMade, type LeafTemplate, makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { members } from '#core/mls/ratchet-tree.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import type { VoteChoice } from '#core/policy/finality.ts'
import { ROOM_EXTENSION_TYPES, roomExtensions } from '#core/policy/room-policy.ts'
import { identityOf } from '#core/policy/roster.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { type Author, type EpochView, memberAt } from '#hub/sequencer/group-view.ts'
import { emptyRoom, headView, type SequencedRoom } from '#hub/sequencer/room-state.ts'
import type { CommitSubmission, Decision, FrameSubmission } from '#hub/sequencer/sequencer.ts'
import { install, type ProposalSubmission, sequence } from '#hub/sequencer/sequencer.ts'
import type { GenesisSubmission, Submission, VoteSubmission } from '#hub/sequencer/sequencer.ts'
import { createPrng } from '../core/prng.ts'

const crypto = createNobleCrypto()
const prng = createPrng(7)
const entropy = { randomBytes: (length: number) => prng.bytes(length) }
export const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
export const ROOM = new Uint8Array(32).fill(7) as RoomId
/** X25519 and Ed25519: the sequencer does not depend on the suite, and this one is quick. */
const QUICK = SUITES.interoperation
export const SUITE = QUICK.id
export const engine = cipherSuite(crypto, QUICK)
export const START_MS = 1_700_000_000_000 as TimeMs

export interface Person extends Author {
  readonly key: KeyPair
  readonly template: LeafTemplate
  /** What the leaf's certificate would be. */
  readonly certificate: { readonly hash: Uint8Array; readonly certificate: Uint8Array }
}

export function person(name: string, number: number, deviceNumber = number): Person {
  const account = `${name}@hub.example` as AccountName
  const device = new Uint8Array(16).fill(deviceNumber) as DeviceId
  const key = crypto.signatureKeyPair('ed25519', prng.bytes(32))
  const hash = new Uint8Array(32).fill(number)
  const identity = encodeIdentity({
    account,
    device,
    manifestVersion: 1,
    rootHash: new Uint8Array(32).fill(number),
    certificateHash: hash,
  })
  return {
    account,
    device,
    key,
    certificate: { hash, certificate: new Uint8Array(40).fill(number) },
    template: {
      credential: { kind: 'basic', identity },
      signatureKey: key.publicKey,
      capabilities: {
        versions: [1],
        cipherSuites: [SUITE],
        extensions: [...ROOM_EXTENSION_TYPES],
        proposals: [],
        credentials: [1],
      },
      extensions: [],
    },
  }
}

export const ALICE = person('alice', 1)
export const BOB = person('bob', 2)
export const CAROL = person('carol', 3)

export const authorOf = ({ account, device }: Author): Author => ({ account, device })

const SECONDS = BigInt(START_MS) / 1_000n
const lifetime = { notBefore: SECONDS - 3_600n, notAfter: SECONDS + 3_600n }
const making = ({ template, key }: Person) => ({
  template,
  signatureSecret: key.secretKey,
  lifetime,
  entropy,
})

/** A room, and what each of its members holds in the newest epoch that it followed. */
export interface Story {
  readonly room: SequencedRoom
  readonly groups: Map<Person, Group>
}

export async function genesis(by = ALICE): Promise<{
  readonly submission: GenesisSubmission
  readonly group: Group
}> {
  const groupId = groupIdOf(ROOM)
  const group = await createGroup(engine, {
    ...making(by),
    groupId,
    extensions: roomExtensions(),
  })
  const submission: GenesisSubmission = {
    kind: 'genesis',
    author: authorOf(by),
    group: group.public,
    certificate: by.certificate,
    bytes: Uint8Array.of(1, 2, 3),
  }
  return { submission, group }
}

export async function openedRoom(): Promise<Story> {
  const room = emptyRoom(ROOM, 1n as Term)
  const { submission, group } = await genesis()
  run(room, [submission])
  return { room, groups: new Map([[ALICE, group]]) }
}

/** Alice, Bob and Carol in a final epoch, in which nobody has spoken. */
export async function roomOfThree(): Promise<Story> {
  const story = await openedRoom()
  await pass(story, { adds: [BOB, CAROL] })
  return story
}

/** The newest epoch. */
export function headOf(room: SequencedRoom): EpochView {
  const head = headView(room)
  ok(head !== null, 'an opened room')
  return head
}

/** The head of a room as its members have seen it. */
export function seenNow(room: SequencedRoom) {
  return { position: room.next - 1n, hash: room.headHash, found: null }
}

export function frame(
  room: SequencedRoom,
  over: Partial<FrameSubmission> = {},
): FrameSubmission {
  const head = headView(room)
  return {
    kind: 'frame',
    author: authorOf(ALICE),
    suite: SUITE,
    epoch: head?.epoch ?? 0n,
    epochId: head?.epochId ?? new Uint8Array(32),
    leaf: 0,
    lane: 0,
    generation: 0,
    after: null,
    seen: seenNow(room),
    signature: 'right',
    bytes: Uint8Array.of(9, over.generation ?? 0),
    ...over,
  }
}

export interface Change {
  readonly by?: Person
  readonly adds?: readonly Person[]
  readonly removes?: readonly number[]
  readonly over?: Partial<CommitSubmission>
  /** When it was judged. */
  readonly atMs?: number
}

export interface MadeCommit {
  readonly submission: CommitSubmission
  /** Whoever follows has these groups then. */
  enter(): Promise<void>
}

/** A commit of a member in the epoch that it holds, judged against the room as it is. */
export async function commit(story: Story, change: Change = {}): Promise<MadeCommit> {
  const { room, groups } = story
  const { by = ALICE, adds = [], removes = [], atMs = START_MS } = change
  const group = groups.get(by)
  ok(group !== undefined, 'a committer follows the room')
  const packages = await Promise.all(adds.map((who) => makeKeyPackage(engine, making(who))))
  const proposals: Proposal[] = [
    ...removes.map((removed) => ({ kind: 'remove', removed }) as const),
    ...packages.map(({ keyPackage }) => ({ kind: 'add', keyPackage }) as const),
  ]
  const made = await makeCommit(group, {
    proposals,
    references: [...group.public.proposals.values()].map(({ reference }) => reference),
    path: 'always',
    authenticatedData: new Uint8Array(0),
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: () => null,
    timeMs: null,
    entropy,
  })
  ok(made.kind === 'committed', 'the engine commits')
  const before = headOf(room).group
  const taken = await publicProcess(before, made.message, { timeMs: null })
  ok(taken.kind === 'commit', 'everybody can follow')
  const { group: after, change: said } = taken
  const submission: CommitSubmission = {
    kind: 'commit',
    author: authorOf(by),
    epoch: before.context.epoch,
    epochId: headOf(room).epochId,
    seen: seenNow(room),
    before,
    after,
    change: said,
    facts: factsOf(after, said, Math.max(room.time, atMs) as TimeMs),
    external: null,
    certificates: adds.map(({ certificate }) => certificate),
    welcome: made.welcome ?? new Uint8Array(0),
    bytes: made.message,
    ...change.over,
  }
  const enter = async () => {
    const gone = new Set(said.removed.map(({ leafNode }) => toHex(leafNode.signatureKey)))
    for (const [who, old] of [...groups]) {
      if (who === by) groups.set(who, made.next)
      else if (gone.has(toHex(who.key.publicKey))) groups.delete(who)
      else groups.set(who, await followed(old, made.message))
    }
    for (const [index, who] of adds.entries()) {
      const keyPackage = packages[index] as KeyPackageMade
      groups.set(who, await welcomed(who, made.welcome as Uint8Array, keyPackage))
    }
  }
  return { submission, enter }
}

async function followed(group: Group, message: Uint8Array): Promise<Group> {
  const processed = await processMessage(group, message, { timeMs: null, psks: () => null })
  ok(processed.kind === 'commit', 'a member follows')
  return processed.group
}

async function welcomed(who: Person, welcome: Uint8Array, made: KeyPackageMade): Promise<Group> {
  const joined = await joinByWelcome(engine, {
    welcome,
    keyPackage: made.keyPackage,
    secrets: made.secrets,
    signatureSecret: who.key.secretKey,
    ratchetTree: null,
    psks: () => null,
  })
  ok(joined.kind === 'joined', 'a Welcome opens')
  return joined.group
}

function factsOf(
  after: PublicGroup,
  { committer, added, external }: CommitChange,
  timeMs: TimeMs,
): CommitSubmission['facts'] {
  const leaves = [...added.map(({ leaf }) => leaf), ...external ? [committer] : []]
  const accounts = new Map(
    [...members(after.tree)].map(({ leaf, leafNode }) => [leaf, identityOf(leafNode)?.account]),
  )
  const account = accounts.get(committer)
  ok(account !== undefined, 'a committer has a leaf')
  return {
    timeMs,
    epochId: epochIdOf(after.suite, after.context),
    committer,
    account,
    added: leaves,
    hasElectors: [...accounts].some(([leaf, who]) => !leaves.includes(leaf) && who !== account),
  }
}

/** An Update that its member proposes by itself. */
export async function proposal(story: Story, by: Person): Promise<ProposalSubmission> {
  const group = story.groups.get(by)
  ok(group !== undefined, 'a member follows the room')
  const made = await proposeUpdate(group, {
    wireFormat: 'publicMessage',
    authenticatedData: new Uint8Array(0),
    entropy,
  })
  ok(made.kind === 'sent', 'the engine proposes')
  const before = headOf(story.room).group
  const taken = await publicProcess(before, made.message, { timeMs: null })
  ok(taken.kind === 'proposal', 'everybody takes it')
  story.groups.set(by, made.group)
  for (const [who, old] of [...story.groups]) {
    if (who === by) continue
    const options = { timeMs: null, psks: () => null }
    const processed = await processMessage(old, made.message, options)
    ok(processed.kind === 'proposal', 'a member takes it')
    story.groups.set(who, processed.group)
  }
  return {
    kind: 'proposal',
    author: authorOf(by),
    leaf: group.ownLeaf,
    before,
    after: taken.group,
    bytes: made.message,
  }
}

/** A vote on the newest commit, as if its signature had been checked. */
export function vote(
  room: SequencedRoom,
  by: Person,
  over: Partial<VoteSubmission['vote']> = {},
): VoteSubmission {
  const { origin } = headOf(room)
  const leaf = over.leaf ?? leafOfPerson(room, by)
  const said = { position: origin, leaf, account: by.account, choice: 'agree' as VoteChoice }
  return {
    kind: 'vote',
    author: authorOf(by),
    vote: { ...said, ...over },
    bytes: Uint8Array.of(4, leaf),
  }
}

function leafOfPerson(room: SequencedRoom, { account }: Author): number {
  const head = headOf(room)
  for (const { leaf } of members(head.made.tree)) {
    if (memberAt(head, leaf)?.account === account) return leaf
  }
  return 99
}

export interface Running {
  readonly nowMs?: number
  readonly electors?: boolean
}

/** Decides on a batch and installs it, as if the log had stored it. */
export function run(
  room: SequencedRoom,
  batch: readonly Submission[],
  running: Running = {},
): Decision {
  const decision = decide(room, batch, running)
  install(room, decision)
  return decision
}

export function decide(
  room: SequencedRoom,
  batch: readonly Submission[],
  { nowMs = START_MS, electors = true }: Running = {},
): Decision {
  return sequence(room, batch, {
    nowMs: nowMs as TimeMs,
    sha256,
    hasElectorHere: () => electors,
  })
}

/** Sequences a commit and lets its followers enter the epoch. */
export async function pass(story: Story, change: Change = {}, running: Running = {}) {
  const made = await commit(story, change)
  const decision = run(story.room, [made.submission], {
    nowMs: change.atMs ?? START_MS,
    ...running,
  })
  ok(decision.outcomes[0]?.kind === 'accepted', 'the commit is taken')
  await made.enter()
  return decision
}

/** Codes of the refusals, `accepted` for the others. */
export function codes(decision: Decision): readonly (Refusal['kind'] | 'accepted')[] {
  return decision.outcomes.map((outcome) =>
    outcome.kind === 'accepted' ? 'accepted' : outcome.refusal.kind
  )
}

/** Kinds of the entries, in order. */
export function kinds(decision: Decision): readonly string[] {
  return decision.entries.map(({ entry }) => entry.header.entry)
}
