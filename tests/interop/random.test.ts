/**
 * Random lives of groups whose members run on different engines. Owns the choice of steps; that
 * all members agree after each of them is `circle.ts`. A failure names its seed.
 */
import { ok } from 'node:assert/strict'
import { members, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import { createPrng, type Prng } from '../core/prng.ts'
import { type Circle, createCircle, type Proposed } from './circle.ts'
import { createPeer, ENGINE_NAMES, type EngineName } from './engines.ts'
import { createOutsider, type Outsider } from './outsider.ts'
import type { MlsPeer } from './peer.ts'
import { refusalOf } from './ts-mls-refusals.ts'

const STEPS = 24
const MEMBERS_MAX = 12

interface Life {
  readonly prng: Prng
  readonly engines: readonly EngineName[]
  readonly circle: Circle
  readonly outsider: Outsider
  readonly groupId: Uint8Array
  devices: number
}

/** Everybody but `by` may have to go, as long as no engine is wrong about who stays. */
function leaversFor(life: Life, by: MlsPeer): readonly MlsPeer[] {
  const { prng, circle: { members, strays } } = life
  const free = members.filter((each) => each !== by)
  const leavers = [...strays, ...free.filter(() => prng.integer(free.length) < 2)].slice(0, 4)
  if (has(life, 'ts-mls')) { while (emptiesLeftHalf(treeOf(life), leavers)) leavers.pop() }
  return leavers
}

const has = ({ circle }: Life, engine: EngineName) =>
  circle.members.some((each) => each.engine === engine)

/** True when the root would have nothing on its left, where ts-mls derives another secret. */
function emptiesLeftHalf(tree: RatchetTree, leavers: readonly MlsPeer[]): boolean {
  const gone = new Set(leavers.map((each) => leafOf(tree, each)))
  const stay = [...members(tree)].map(({ leaf }) => leaf).filter((leaf) => !gone.has(leaf))
  const [leftmost = 0, rightmost = 0] = [stay[0], stay.at(-1)]
  return rightmost > 0 && leftmost >= 2 ** Math.floor(Math.log2(rightmost))
}

async function comersFor(life: Life): Promise<readonly MlsPeer[]> {
  const { prng, circle } = life
  const room = MEMBERS_MAX - circle.members.length - circle.strays.length
  const count = Math.min(room, 1 + prng.integer(3))
  const comers: MlsPeer[] = []
  for (let made = 0; made < count; made++) {
    comers.push(await createPeer(prng.pick(life.engines), ++life.devices))
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
  await circle.letIn(await createPeer(prng.pick(life.engines), ++life.devices), by)
}

function treeOf({ circle }: Life): RatchetTree {
  const tree = circle.tree()
  ok(tree, 'the group was opened')
  return tree
}

function leafOf(tree: RatchetTree, { name }: MlsPeer): number {
  for (const { leaf, leafNode } of members(tree)) {
    const { credential } = leafNode
    if (credential.kind !== 'basic') continue
    if (new TextDecoder().decode(credential.identity) === name) return leaf
  }
  throw new TypeError(`${name} is no member`)
}

/**
 * True when the tree loses its right half with a leaf and gets it back with the next one: there
 * core-crypto is wrong, see `core-crypto-faults.test.ts`.
 */
function standsAlone(tree: RatchetTree, member: MlsPeer): boolean {
  const own = leafOf(tree, member)
  const half = tree.leafWidth / 2
  const others = [...members(tree)].map(({ leaf }) => leaf).filter((leaf) => leaf !== own)
  return own >= half && others.length === half && others.every((leaf) => leaf < half)
}

async function resync(life: Life, by: MlsPeer): Promise<void> {
  const { prng, circle } = life
  const tree = treeOf(life)
  const mayStandAlone = !has(life, 'core-crypto')
  const others = circle.members.filter((each) =>
    each !== by && (mayStandAlone || !standsAlone(tree, each))
  )
  if (others.length === 0 || await by.groupInfo() === null) return
  await circle.resync(prng.pick(others), by)
}

/** A Remove from outside and Updates, all in one commit by reference. */
async function gather(life: Life, by: MlsPeer): Promise<void> {
  const { prng, circle, outsider, groupId } = life
  const [leaver] = leaversFor(life, by)
  const proposed: Proposed[] = []
  for (const maker of circle.members) {
    if (maker === by || maker === leaver || prng.integer(2) === 0) continue
    const message = await maker.proposeUpdate()
    if (message !== null) proposed.push({ message, maker })
  }
  if (leaver !== undefined) {
    const of = { groupId, epoch: await by.epoch(), leaf: leafOf(treeOf(life), leaver) }
    proposed.push({ message: await outsider.remove(of), leaver })
  }
  if (proposed.length > 0) await circle.gather(by, proposed)
}

async function live(engines: readonly EngineName[], seed: number): Promise<void> {
  const prng = createPrng(seed)
  const outsider = await createOutsider()
  const groupId = prng.bytes(16)
  const first = await createPeer(prng.pick(engines), 1)
  const circle = await createCircle(first, { groupId, sender: outsider.sender, refusalOf })
  const life: Life = { prng, engines, circle, outsider, groupId, devices: 1 }
  await circle.change(first, { comers: await comersFor(life) })
  for (let step = 1; step < STEPS; step++) {
    const by = prng.pick(circle.members)
    const kind = prng.integer(10)
    if (kind < 4) await changeMembers(life, by)
    else if (kind < 6) await circle.renew(by)
    else if (kind < 8) await letIn(life, by)
    else if (kind === 8) await resync(life, by)
    else await gather(life, by)
  }
  await circle.talk()
}

for (
  const engines of [ENGINE_NAMES, ['kalandra', 'core-crypto'], ['kalandra', 'ts-mls']] as const
) {
  for (const seed of [1]) {
    const title = `interop: a group of ${engines.join(', ')} lives ${STEPS} steps, seed ${seed}`
    Deno.test(title, () => live(engines, seed))
  }
}
