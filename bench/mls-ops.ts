/**
 * The operations of the engine of `#core/mls`, as the benchmark of MLS samples them, from bytes to
 * bytes and states. States are values, so each sample starts from one and the same epoch. Owns what
 * a sample is and that its outcome is right: members agree, onlookers have the same tree.
 *
 * A commit comes from the left one of two neighbouring leaves and is processed by the right one,
 * who reads all of the path; another pair has the next sample, so that no cache knows its keys.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY, equalBytes } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, makeCommit } from '#core/mls/commit-make.ts'
import { EXTENSION_TYPE, externalPub, readExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { exportSecret, type Group, makeGroupInfo } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import type { MlsRefusal } from '#core/mls/fault.ts'
import { processMessage } from '#core/mls/messages.ts'
import type { KeyPackageMade } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { type BenchGroup, entropy, makePackage, makePerson, type Person } from './mls-group.ts'
import { type Op, type Sample, timed } from './mls-measure.ts'

/** What is no refusal. */
export function accepted<T extends { readonly kind: string }>(
  value: T,
): Exclude<T, { readonly kind: 'refused' }> {
  assert(value.kind !== 'refused', `not refused: ${'code' in value ? value.code : ''}`)
  return value as Exclude<T, { readonly kind: 'refused' }>
}

/** What all commits of the benchmark have in common. */
export const COMMON = {
  authenticatedData: EMPTY,
  wireFormat: 'publicMessage',
  // A tree travels apart, from the hub.
  welcome: { ratchetTree: false, externalPub: false },
  psks: () => null,
  timeMs: null,
  entropy,
} as const

export async function addPerson(
  group: Group,
  { keyPackage }: KeyPackageMade,
): Promise<CommitMade & { readonly welcome: Uint8Array }> {
  const proposals: Proposal[] = [{ kind: 'add', keyPackage }]
  const made = accepted(
    await makeCommit(group, { ...COMMON, proposals, path: 'whenRequired' }),
  )
  assert(made.welcome !== null, 'who is added is welcome')
  return { ...made, welcome: made.welcome }
}

export const renewPath = async (group: Group): Promise<CommitMade> =>
  accepted(await makeCommit(group, { ...COMMON, proposals: [], path: 'always' }))

export const processing = { timeMs: null, psks: () => null } as const

function assertAgreed(one: Group, other: Group): void {
  const exporting = { label: 'exporter', context: EMPTY, length: 32 }
  const [a, b] = [exportSecret(one, exporting), exportSecret(other, exporting)]
  assert(equalBytes(a, b), 'members of one epoch export the same')
}

function assertFollowed(maker: Group, follower: PublicGroup): void {
  const { treeHash } = maker.public.context
  assert(equalBytes(treeHash, follower.context.treeHash), 'all have the same tree')
}

/** Samples of all operations on one group. */
export function operationsOn(bench: BenchGroup): Readonly<Record<Op, Sample>> {
  const { tree } = bench.public
  const pairs = Math.floor(tree.memberCount / 2)
  let turn = 0
  /** The left leaf of the next pair. */
  const nextLeft = () => 2 * (turn++ % pairs)
  let commits: CommitMade[] = []
  /** A commit of some earlier sample, or one that is made now; with the leaf that made it. */
  const someCommit = async () => commits[turn++ % commits.length] ?? await newCommit()
  const newCommit = async () => {
    const made = await renewPath(bench.member(nextLeft()))
    commits.push(made)
    return made
  }
  return {
    add: addSample(bench, nextLeft),
    joinWelcome: joinWelcomeSample(bench, nextLeft),
    joinExternal: joinExternalSample(bench),
    async makeCommit() {
      const left = bench.member(nextLeft())
      const { ms, value } = await timed(() => renewPath(left))
      commits = [...commits, value].slice(-COMMITS_KEPT)
      return { ms, bytes: value.message.length, commit: value.message.length }
    },
    async processCommit() {
      const { message, next } = await someCommit()
      const right = bench.member(next.ownLeaf + 1)
      const { ms, value } = await timed(() => processMessage(right, message, processing))
      const taken = accepted(value)
      assert(taken.kind === 'commit', 'a commit')
      assertAgreed(next, taken.group)
      return { ms, bytes: message.length, commit: message.length }
    },
    async publicProcess() {
      const { message, next } = await someCommit()
      const { ms, value } = await timed(() => publicProcess(bench.public, message, processing))
      assertFollowed(next, accepted(value).group)
      return { ms, bytes: message.length, commit: message.length }
    },
  }
}

const COMMITS_KEPT = 9

function addSample(bench: BenchGroup, nextLeaf: () => number): Sample {
  const { suite } = bench.public
  return async () => {
    const made = await makePackage(suite, makePerson(suite, NEXT_DEVICE))
    const member = bench.member(nextLeaf())
    const { ms, value } = await timed(() => addPerson(member, made))
    const { message, welcome } = value
    return { ms, bytes: message.length + welcome.length, commit: message.length }
  }
}

/** A device that is in no group yet. */
const NEXT_DEVICE = 0xffff

function joinWelcomeSample(bench: BenchGroup, nextLeaf: () => number): Sample {
  const { suite } = bench.public
  return async () => {
    const person = makePerson(suite, NEXT_DEVICE)
    const made = await makePackage(suite, person)
    const { welcome, next } = await addPerson(bench.member(nextLeaf()), made)
    const ratchetTree = encodeRatchetTree(next.public.tree)
    const { signatureSecret } = person
    const joining = { ...made, signatureSecret, welcome, ratchetTree, psks: () => null }
    const { ms, value } = await timed(() => joinByWelcome(suite, joining))
    assertAgreed(next, accepted(value).group)
    return { ms, bytes: welcome.length + ratchetTree.length, commit: 0 }
  }
}

function joinExternalSample(bench: BenchGroup): Sample {
  const { suite, tree } = bench.public
  return async () => {
    const person = makePerson(suite, NEXT_DEVICE)
    const member = bench.member(0)
    const contents = { ratchetTree: false, externalPub: true }
    const groupInfo = encodeMlsMessage({
      kind: 'groupInfo',
      groupInfo: await makeGroupInfo(member, contents),
    })
    const ratchetTree = encodeRatchetTree(tree)
    const { ms, value } = await timed(() =>
      joinFromOutside(suite, { groupInfo, ratchetTree, person })
    )
    const { next, message } = accepted(value)
    assertFollowed(next, accepted(await publicProcess(bench.public, message, processing)).group)
    const bytes = groupInfo.length + ratchetTree.length + message.length
    return { ms, bytes, commit: message.length }
  }
}

async function joinFromOutside(
  suite: CipherSuite,
  from: {
    readonly groupInfo: Uint8Array
    readonly ratchetTree: Uint8Array
    readonly person: Person
  },
): Promise<CommitMade | MlsRefusal> {
  const { groupInfo } = decodeMlsMessage('groupInfo', from.groupInfo) ?? {}
  assert(groupInfo !== undefined, 'a GroupInfo')
  const { ratchetTree } = from
  const { group } = accepted(await openPublicGroup(suite, { groupInfo, ratchetTree }))
  const key = readExtension(groupInfo.extensions, EXTENSION_TYPE.externalPub, externalPub)
  assert(key !== null && key !== 'malformed', 'an external key')
  return await joinByExternalCommit(group, {
    ...from.person,
    externalPub: key,
    removed: null,
    psks: () => null,
    authenticatedData: EMPTY,
    timeMs: null,
    entropy,
  })
}
