/**
 * A group of peers: gives each commit to every member, lets in whoever has been added, and demands
 * after each step that all of them are in the same epoch with the same exporter and the same
 * members, and that an onlooker without secrets holds the same tree. Owns the bookkeeping of who
 * is in; decides on no step.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { createOnlooker } from './onlooker.ts'
import type { Change, CommitMade, MlsPeer, OutsideSender } from './peer.ts'

const NO_CHANGE: Change = { adds: [], removes: [] }

export interface Circle {
  /** Who follows the group. */
  readonly members: readonly MlsPeer[]
  /** Who has been added and could not join. They can be removed. */
  readonly strays: readonly MlsPeer[]
  /** `by` adds `comers` and removes `leavers` in one commit. */
  change(
    by: MlsPeer,
    who: { readonly comers?: readonly MlsPeer[]; readonly leavers?: readonly MlsPeer[] },
  ): Promise<void>
  /** `by` renews its path. */
  renew(by: MlsPeer): Promise<void>
  /** `comer` joins by an external commit on a GroupInfo of `by`. */
  letIn(comer: MlsPeer, by: MlsPeer): Promise<void>
  /** `member` comes back by an external commit on a GroupInfo of `by`. */
  resync(member: MlsPeer, by: MlsPeer): Promise<void>
  /** Every member takes a Remove of `leaver` from outside; `by` commits it. */
  putOut(leaver: MlsPeer, by: MlsPeer, proposal: Uint8Array): Promise<void>
  /** Each member sends a message that every other one reads. */
  talk(): Promise<void>
}

export interface CircleOptions {
  readonly groupId: Uint8Array
  readonly sender?: OutsideSender
  /** What a peer wrongly refuses to join at this moment must match; null: it has to join. */
  readonly refusalOf?: (comer: MlsPeer, members: readonly MlsPeer[]) => RegExp | null
}

/** A group that `first` has made. */
export async function createCircle(first: MlsPeer, options: CircleOptions): Promise<Circle> {
  await first.create(options.groupId, options.sender)
  const members = [first]
  const strays: MlsPeer[] = []
  const onlooker = createOnlooker()
  const compared = async (): Promise<void> => {
    await demandAgreement(members, strays)
    for (const member of members) {
      const groupInfo = await member.groupInfo()
      if (groupInfo !== null) await onlooker.compare(groupInfo)
    }
  }
  await compared()
  const refusalOf = (comer: MlsPeer) => options.refusalOf?.(comer, members) ?? null
  const entered = async (by: MlsPeer, made: CommitMade, who: Movement): Promise<void> => {
    for (const leaver of who.leavers) {
      const from = strays.includes(leaver) ? strays : members
      from.splice(from.indexOf(leaver), 1)
    }
    await onlooker.see(made.commit)
    for (const member of members) if (member !== by) await member.follow(made.commit)
    strictEqual(made.welcome !== null, who.comers.length > 0, 'a Welcome exactly with adds')
    for (const comer of who.comers) {
      const joined = comer.join(made.welcome ?? new Uint8Array())
      const refusal = refusalOf(comer)
      if (refusal === null) await joined
      else await rejects(joined, refusal)
      const list = refusal === null ? members : strays
      list.push(comer)
    }
    await compared()
  }
  return {
    members,
    strays,
    async change(by, { comers = [], leavers = [] }) {
      const adds = await Promise.all(comers.map((comer) => comer.keyPackage()))
      const made = await by.commit({ adds, removes: leavers.map(({ name }) => name) })
      await entered(by, made, { comers, leavers })
    },
    async renew(by) {
      await entered(by, await by.commit(NO_CHANGE), { comers: [], leavers: [] })
    },
    async resync(lost, by) {
      const groupInfo = await publishedBy(by)
      const refusal = refusalOf(lost)
      if (refusal !== null) return await rejects(lost.resync(groupInfo), refusal)
      const commit = await lost.resync(groupInfo)
      await onlooker.see(commit)
      for (const member of members) if (member !== lost) await member.follow(commit)
      await compared()
    },
    async letIn(comer, by) {
      const groupInfo = await publishedBy(by)
      const refusal = refusalOf(comer)
      if (refusal !== null) return await rejects(comer.joinFromOutside(groupInfo), refusal)
      const commit = await comer.joinFromOutside(groupInfo)
      await onlooker.see(commit)
      for (const member of members) await member.follow(commit)
      members.push(comer)
      await compared()
    },
    async putOut(leaver, by, proposal) {
      await onlooker.see(proposal)
      for (const member of members) if (member !== leaver) await member.takeProposal(proposal)
      await entered(by, await by.commitProposed(), { comers: [], leavers: [leaver] })
    },
    talk: () => talkAll(members),
  }
}

/** The GroupInfo that a member can make now. */
export async function publishedBy(member: MlsPeer): Promise<Uint8Array> {
  const groupInfo = await member.groupInfo()
  ok(groupInfo, `${member.engine} publishes a GroupInfo`)
  return groupInfo
}

interface Movement {
  readonly comers: readonly MlsPeer[]
  readonly leavers: readonly MlsPeer[]
}

async function demandAgreement(
  members: readonly MlsPeer[],
  strays: readonly MlsPeer[],
): Promise<void> {
  const names = [...members, ...strays].map(({ name }) => name).sort()
  const [first] = members
  ok(first)
  const expected = [await first.epoch(), await first.exporter(), names]
  for (const each of members) {
    const found = [await each.epoch(), await each.exporter(), await each.members()]
    deepStrictEqual(found, expected, `${each.engine} agrees with ${first.engine}`)
  }
}

async function talkAll(members: readonly MlsPeer[]): Promise<void> {
  for (const sender of members) {
    const plaintext = new TextEncoder().encode(`from ${sender.name}`)
    const message = await sender.protect(plaintext)
    for (const reader of members) {
      if (reader !== sender) deepStrictEqual(await reader.unprotect(message), plaintext)
    }
  }
}
