/**
 * Random lives of groups whose members run on different engines. Owns the choice of steps; that
 * all members agree after each of them is `circle.ts`. A failure names its seed.
 */
import { ok } from 'node:assert/strict'
import { createPrng, type Prng } from '../core/prng.ts'
import { type Circle, createCircle } from './circle.ts'
import { createPeer, ENGINE_NAMES } from './engines.ts'
import { createOutsider, type Outsider } from './outsider.ts'
import type { MlsPeer } from './peer.ts'
import { hasRefusedUnmerged, isTsMls, WRONG_UNMERGED } from './ts-mls-refusals.ts'
import type { TsMlsPeer } from './ts-mls-peer.ts'

const STEPS = 30
const MEMBERS_MAX = 14

interface Life {
  readonly prng: Prng
  readonly circle: Circle
  readonly outsider: Outsider
  readonly groupId: Uint8Array
  devices: number
}

/** A member whose tree can be looked at: there always is one. */
function observerOf(members: readonly MlsPeer[]): TsMlsPeer {
  const observer = members.find(isTsMls)
  ok(observer)
  return observer
}

const refusalOf = (comer: MlsPeer, members: readonly MlsPeer[]): RegExp | null =>
  isTsMls(comer) && hasRefusedUnmerged(observerOf(members).state().ratchetTree)
    ? WRONG_UNMERGED
    : null

/** Everybody but `by` and the observer may have to go. */
function leaversFor({ prng, circle }: Life, by: MlsPeer): readonly MlsPeer[] {
  const { members, strays } = circle
  const observer = observerOf(members)
  const free = members.filter((each) => each !== by && each !== observer)
  const chosen = free.filter(() => prng.integer(free.length) < 2)
  return [...strays, ...chosen].slice(0, 4)
}

async function comersFor(life: Life): Promise<readonly MlsPeer[]> {
  const { prng, circle } = life
  const room = MEMBERS_MAX - circle.members.length - circle.strays.length
  const count = Math.min(room, 1 + prng.integer(3))
  const comers: MlsPeer[] = []
  for (let made = 0; made < count; made++) {
    comers.push(await createPeer(prng.pick(ENGINE_NAMES), ++life.devices))
  }
  return comers
}

/** Adds, removes or both, as far as the engine of `by` does that in one commit. */
async function changeMembers(life: Life, by: MlsPeer): Promise<void> {
  const { prng, circle } = life
  const leavers = leaversFor(life, by)
  const both = by.mixesChanges && prng.integer(3) === 0
  const removing = leavers.length > 0 && (circle.strays.length > 0 || prng.integer(2) === 0)
  const comers = both || !removing ? await comersFor(life) : []
  await circle.change(by, { comers, leavers: both || removing ? leavers : [] })
}

async function letIn(life: Life, by: MlsPeer): Promise<void> {
  const { prng, circle } = life
  if (circle.members.length + circle.strays.length >= MEMBERS_MAX) return
  if (await by.groupInfo() === null) return
  await circle.letIn(await createPeer(prng.pick(ENGINE_NAMES), ++life.devices), by)
}

/**
 * True when the tree loses its right half with a leaf and gets it back with the next one: there
 * core-crypto is wrong, see `core-crypto-faults.test.ts`.
 */
function standsAlone(observer: TsMlsPeer, member: MlsPeer): boolean {
  const leaves = observer.state().ratchetTree.filter((_, node) => node % 2 === 0)
  const half = 2 ** Math.floor(Math.log2(Math.max(1, leaves.length - 1)))
  const others = leaves.toSpliced(observer.leafOf(member.name), 1, undefined)
  const taken = (from: number, to: number) => others.slice(from, to).filter(Boolean).length
  return taken(0, half) === half && taken(half, others.length) === 0
}

async function resync(life: Life, by: MlsPeer): Promise<void> {
  const { prng, circle } = life
  const observer = observerOf(circle.members)
  const others = circle.members.filter((each) =>
    each !== by && each !== observer && !standsAlone(observer, each)
  )
  if (others.length === 0 || await by.groupInfo() === null) return
  await circle.resync(prng.pick(others), by)
}

async function putOut(life: Life, by: MlsPeer): Promise<void> {
  const { circle, outsider, groupId } = life
  const observer = observerOf(circle.members)
  const [leaver] = leaversFor(life, by)
  if (leaver === undefined) return
  const of = { groupId, epoch: await observer.epoch(), leaf: observer.leafOf(leaver.name) }
  await circle.putOut(leaver, by, await outsider.remove(of))
}

async function live(seed: number): Promise<void> {
  const prng = createPrng(seed)
  const outsider = await createOutsider()
  const groupId = prng.bytes(16)
  const first = await createPeer('ts-mls', 1)
  const circle = await createCircle(first, { groupId, sender: outsider.sender, refusalOf })
  const life: Life = { prng, circle, outsider, groupId, devices: 1 }
  for (let step = 0; step < STEPS; step++) {
    const by = prng.pick(circle.members)
    const kind = prng.integer(10)
    if (kind < 4) await changeMembers(life, by)
    else if (kind < 6) await circle.renew(by)
    else if (kind < 8) await letIn(life, by)
    else if (kind === 8) await resync(life, by)
    else await putOut(life, by)
  }
  await circle.talk()
}

for (const seed of [1, 2, 3]) {
  Deno.test(`interop: a group of every engine lives ${STEPS} steps, seed ${seed}`, () => live(seed))
}
