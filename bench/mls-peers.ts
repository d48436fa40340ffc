/**
 * The libraries beside the engine in the benchmark of MLS, on the very trees that the engine is
 * measured on: the engine adds two of their clients at the first two leaves, and these commit and
 * follow. Owns the sequence; what a client of a library does is `Contender`.
 */
import { ok } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { makeGroupInfo } from '#core/mls/group.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { makeGroup, makePackage, makePerson, type Population, type TreeState } from './mls-group.ts'
import {
  measure,
  type Measured,
  measuredOf,
  type Op,
  type Sample,
  type Taken,
  timed,
} from './mls-measure.ts'
import { accepted, COMMON } from './mls-ops.ts'

/** One client of a library. Bytes are those of MLSMessages; each call rejects on a refusal. */
export interface Contender {
  keyPackage(): Promise<Uint8Array>
  join(welcome: Uint8Array): Promise<void>
  joinFromOutside(groupInfo: Uint8Array): Promise<Uint8Array>
  /** Without adds it renews the own path. */
  commit(
    change: { readonly adds: readonly Uint8Array[]; readonly removes: readonly string[] },
  ): Promise<{ readonly commit: Uint8Array; readonly welcome: Uint8Array | null }>
  follow(commit: Uint8Array): Promise<void>
  /** Some secret of the epoch that members share. */
  epochSecret(): Promise<Uint8Array>
}

type PeerOp = Exclude<Op, 'publicProcess'>

/** Leaves for the clients. */
const VACANT = [0, 1]
const CREATOR = 2
const FIRST_DEVICE = 0x10000

/** Measures one library on a group; `members` counts its two clients. */
export async function measureContender(
  population: Population,
  shape: { readonly members: number; readonly tree: TreeState },
  create: (device: number) => Promise<Contender>,
): Promise<Readonly<Record<PeerOp, Measured>>> {
  const bench = await makeGroup(population, { ...shape, vacant: VACANT })
  const creator = bench.member(CREATOR)
  let device = FIRST_DEVICE
  const next = () => create(device++)
  const welcomed = async (clients: readonly Contender[]) => {
    const packages = await Promise.all(clients.map((client) => client.keyPackage()))
    return accepted(
      await makeCommit(creator, {
        ...COMMON,
        welcome: { ratchetTree: true, externalPub: false },
        proposals: packages.map(addOf),
        // The removal has left the path of these leaves blank: a warm tree has it back.
        path: shape.tree === 'warm' ? 'always' : 'whenRequired',
      }),
    )
  }
  const [left, right] = [await next(), await next()]
  const made = await welcomed([left, right])
  for (const client of [left, right]) await client.join(made.welcome as Uint8Array)
  await expectAgreement(left, right)
  const groupInfo = encodeMlsMessage({
    kind: 'groupInfo',
    groupInfo: await makeGroupInfo(made.next, { ratchetTree: true, externalPub: true }),
  })
  const { made: commits, followed } = await measurePair(left, right)
  return {
    makeCommit: commits,
    processCommit: followed,
    joinWelcome: await measure(async () => {
      const client = await next()
      const { welcome } = await welcomed([client])
      const { ms } = await timed(() => client.join(welcome as Uint8Array))
      return { ms, bytes: (welcome as Uint8Array).length, commit: 0 }
    }),
    joinExternal: await measure(async () => {
      const client = await next()
      const { ms, value } = await timed(() => client.joinFromOutside(groupInfo))
      return { ms, bytes: groupInfo.length + value.length, commit: value.length }
    }),
    add: await measure(addSample(population, left, right)),
  }
}

/** What one commits, the other follows; both samples come of the same commits. */
async function measurePair(left: Contender, right: Contender) {
  const followed: Taken[] = []
  const made = await measure(async () => {
    const { ms, value } = await timed(() => left.commit({ adds: [], removes: [] }))
    const sizes = { bytes: value.commit.length, commit: value.commit.length }
    followed.push({ ms: (await timed(() => right.follow(value.commit))).ms, ...sizes })
    await expectAgreement(left, right)
    return { ms, ...sizes }
  })
  return { made, followed: measuredOf(followed) }
}

function addSample(population: Population, left: Contender, right: Contender): Sample {
  const { suite } = population
  let device = 0
  return async () => {
    const { keyPackage } = await makePackage(suite, makePerson(suite, 2 * FIRST_DEVICE + device++))
    const message = encodeMlsMessage({ kind: 'keyPackage', keyPackage })
    const { ms, value } = await timed(() => left.commit({ adds: [message], removes: [] }))
    await right.follow(value.commit)
    const { commit, welcome } = value
    return { ms, bytes: commit.length + (welcome?.length ?? 0), commit: commit.length }
  }
}

async function expectAgreement(one: Contender, other: Contender): Promise<void> {
  const [a, b] = [await one.epochSecret(), await other.epochSecret()]
  ok(equalBytes(a, b), 'members of one epoch have the same secrets')
}

function addOf(message: Uint8Array): Proposal {
  const { keyPackage } = decodeMlsMessage('keyPackage', message) ?? {}
  ok(keyPackage, 'a KeyPackage')
  return { kind: 'add', keyPackage }
}
