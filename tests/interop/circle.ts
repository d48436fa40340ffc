/**
 * A group of peers: gives each commit to every member, lets in whoever has been added, and demands
 * after each step that all of them are in the same epoch with the same exporter and the same
 * members. Owns the bookkeeping of who is in; decides on no step.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { Change, CommitMade, MlsPeer, OutsideSender } from './peer.ts'

const NO_CHANGE: Change = { adds: [], removes: [] }

export interface Circle {
  readonly members: readonly MlsPeer[]
  /** `by` adds `comers` and removes `leavers` in one commit. */
  change(
    by: MlsPeer,
    who: { readonly comers?: readonly MlsPeer[]; readonly leavers?: readonly MlsPeer[] },
  ): Promise<void>
  /** `by` renews its path. */
  renew(by: MlsPeer): Promise<void>
  /** `comer` joins by an external commit on a GroupInfo of `by`. */
  letIn(comer: MlsPeer, by: MlsPeer): Promise<void>
  /** Every member takes an external Remove of `leaver`; `by` commits it. */
  putOut(leaver: MlsPeer, by: MlsPeer, proposal: Uint8Array): Promise<void>
  /** Each member sends a message that every other one reads. */
  talk(): Promise<void>
}

/** A group that `first` has made. */
export async function createCircle(
  first: MlsPeer,
  groupId: Uint8Array,
  sender?: OutsideSender,
): Promise<Circle> {
  await first.create(groupId, sender)
  const members = [first]
  const entered = async (by: MlsPeer, made: CommitMade, who: Movement): Promise<void> => {
    for (const leaver of who.leavers) members.splice(members.indexOf(leaver), 1)
    for (const member of members) if (member !== by) await member.follow(made.commit)
    strictEqual(made.welcome !== null, who.comers.length > 0, 'a Welcome exactly with adds')
    for (const comer of who.comers) await comer.join(made.welcome ?? new Uint8Array())
    members.push(...who.comers)
    await demandAgreement(members)
  }
  return {
    members,
    async change(by, { comers = [], leavers = [] }) {
      const adds = await Promise.all(comers.map((comer) => comer.keyPackage()))
      const made = await by.commit({ adds, removes: leavers.map(({ name }) => name) })
      await entered(by, made, { comers, leavers })
    },
    async renew(by) {
      await entered(by, await by.commit(NO_CHANGE), { comers: [], leavers: [] })
    },
    async letIn(comer, by) {
      const groupInfo = await by.groupInfo()
      ok(groupInfo, `${by.engine} publishes a GroupInfo`)
      const commit = await comer.joinFromOutside(groupInfo)
      for (const member of members) await member.follow(commit)
      members.push(comer)
      await demandAgreement(members)
    },
    async putOut(leaver, by, proposal) {
      for (const member of members) if (member !== leaver) await member.takeProposal(proposal)
      await entered(by, await by.commitProposed(), { comers: [], leavers: [leaver] })
    },
    talk: () => talkAll(members),
  }
}

interface Movement {
  readonly comers: readonly MlsPeer[]
  readonly leavers: readonly MlsPeer[]
}

async function demandAgreement(members: readonly MlsPeer[]): Promise<void> {
  const names = members.map(({ name }) => name).sort()
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
