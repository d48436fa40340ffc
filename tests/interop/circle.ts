/**
 * A group of peers: gives each commit to every member, lets in whoever has been added, and demands
 * after each step that all of them are in the same epoch with the same exporter and the same
 * members, and that an onlooker without secrets holds the same tree. Owns the bookkeeping of who
 * is in; decides on no step.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import type { RatchetTree } from '#core/mls/ratchet-tree.ts'
import { createOnlooker, type Onlooker } from './onlooker.ts'
import type { Change, CommitMade, MlsPeer, OutsideSender } from './peer.ts'

const NO_CHANGE: Change = { adds: [], removes: [] }

export interface Circle {
  /** Who follows the group. */
  readonly members: readonly MlsPeer[]
  /** As everybody sees it; null before the first GroupInfo. */
  tree(): RatchetTree | null
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
  /** Every member takes these proposals; `by` commits them. */
  gather(by: MlsPeer, proposed: readonly Proposed[]): Promise<void>
  /** Each member sends a message that every other one reads. */
  talk(): Promise<void>
}

export interface Proposed {
  readonly message: Uint8Array
  /** Who has it from itself. */
  readonly maker?: MlsPeer
  /** Whom it removes. */
  readonly leaver?: MlsPeer
}

export interface CircleOptions {
  readonly groupId: Uint8Array
  readonly sender?: OutsideSender
  /** What a peer wrongly refuses to join at this moment must match; null: it has to join. */
  readonly refusalOf?: (comer: MlsPeer, tree: RatchetTree | null) => RegExp | null
}

interface Kept {
  readonly members: MlsPeer[]
  readonly strays: MlsPeer[]
  readonly onlooker: Onlooker
  readonly refusalOf: (comer: MlsPeer) => RegExp | null
}

/** A group that `first` has made. */
export async function createCircle(first: MlsPeer, options: CircleOptions): Promise<Circle> {
  await first.create(options.groupId, options.sender)
  const onlooker = createOnlooker()
  const refusalOf = (comer: MlsPeer) => options.refusalOf?.(comer, onlooker.tree()) ?? null
  const kept: Kept = { members: [first], strays: [], onlooker, refusalOf }
  await demandAgreement(kept)
  return {
    members: kept.members,
    strays: kept.strays,
    tree: onlooker.tree,
    async change(by, { comers = [], leavers = [] }) {
      const adds = await Promise.all(comers.map((comer) => comer.keyPackage()))
      const made = await by.commit({ adds, removes: leavers.map(({ name }) => name) })
      await enter(kept, by, { ...made, comers, leavers })
    },
    async renew(by) {
      await enter(kept, by, { ...await by.commit(NO_CHANGE), comers: [], leavers: [] })
    },
    async resync(lost, by) {
      const groupInfo = await publishedBy(by)
      const refusal = refusalOf(lost)
      if (refusal !== null) return await rejects(lost.resync(groupInfo), refusal)
      const commit = await lost.resync(groupInfo)
      await enter(kept, lost, { commit, welcome: null, comers: [], leavers: [] })
    },
    async letIn(comer, by) {
      const groupInfo = await publishedBy(by)
      const refusal = refusalOf(comer)
      if (refusal !== null) return await rejects(comer.joinFromOutside(groupInfo), refusal)
      const commit = await comer.joinFromOutside(groupInfo)
      kept.members.push(comer)
      await enter(kept, comer, { commit, welcome: null, comers: [], leavers: [] })
    },
    async gather(by, proposed) {
      const leavers = proposed.flatMap(({ leaver }) => leaver ?? [])
      const takers = kept.members.filter((each) => !leavers.includes(each))
      for (const { message, maker } of proposed) {
        await onlooker.see(message)
        for (const taker of takers) if (taker !== maker) await taker.takeProposal(message)
      }
      await enter(kept, by, { ...await by.commitProposed(), comers: [], leavers })
    },
    talk: () => talkAll(kept.members),
  }
}

interface Movement extends CommitMade {
  readonly comers: readonly MlsPeer[]
  readonly leavers: readonly MlsPeer[]
}

/** Everybody but its maker follows a commit. */
async function enter(kept: Kept, by: MlsPeer, moved: Movement): Promise<void> {
  const { members, strays, onlooker, refusalOf } = kept
  for (const leaver of moved.leavers) {
    const from = strays.includes(leaver) ? strays : members
    from.splice(from.indexOf(leaver), 1)
  }
  await onlooker.see(moved.commit)
  for (const member of members) if (member !== by) await member.follow(moved.commit)
  strictEqual(moved.welcome !== null, moved.comers.length > 0, 'a Welcome exactly with adds')
  for (const comer of moved.comers) {
    const joined = comer.join(moved.welcome ?? new Uint8Array())
    const refusal = refusalOf(comer)
    if (refusal === null) await joined
    else await rejects(joined, refusal)
    const list = refusal === null ? members : strays
    list.push(comer)
  }
  await demandAgreement(kept)
}

/** The GroupInfo that a member can make now. */
export async function publishedBy(member: MlsPeer): Promise<Uint8Array> {
  const groupInfo = await member.groupInfo()
  ok(groupInfo, `${member.engine} publishes a GroupInfo`)
  return groupInfo
}

async function demandAgreement({ members, strays, onlooker }: Kept): Promise<void> {
  const names = [...members, ...strays].map(({ name }) => name).sort()
  const [first] = members
  ok(first)
  const expected = [await first.epoch(), await first.exporter(), names]
  for (const each of members) {
    const found = [await each.epoch(), await each.exporter(), await each.members()]
    deepStrictEqual(found, expected, `${each.engine} agrees with ${first.engine}`)
  }
  const shown = await Promise.all(members.map((each) => each.epochAuthenticator()))
  const authenticators = shown.filter((each) => each !== null)
  for (const each of authenticators) deepStrictEqual(each, authenticators[0])
  const groupInfo = await anyGroupInfo(members)
  if (groupInfo !== null) await onlooker.compare(groupInfo)
}

/** Of another member in each epoch. */
async function anyGroupInfo(members: readonly MlsPeer[]): Promise<Uint8Array | null> {
  const turn = Number(await members[0]?.epoch()) % members.length
  for (const member of [...members.slice(turn), ...members.slice(0, turn)]) {
    const groupInfo = await member.groupInfo()
    if (groupInfo !== null) return groupInfo
  }
  return null
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
