/**
 * Random histories of a group: whoever is in it agrees after each commit, and the roster that a hub
 * reads from the commits alone is the real one. Each run prints its seed.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type LeafIndex, leafIndex } from '#core/base/ids.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import type { CommitMade, KeyPackageMade, MlsGroup } from '#core/mls/mls.ts'
import { stateOf } from '#core/mls/ts-mls-state.ts'
import { assertAgreement, commit, createGroup, createStory, exported } from './mls-people.ts'
import { follow, join, keyPackageOf, mls, NOW, type Story } from './mls-people.ts'

interface Plan {
  readonly suite: Suite
  readonly seed: number
  readonly commits: number
  readonly membersMax: number
}

const PLANS: readonly Plan[] = [
  ...[1, 2, 3, 4, 5, 6].map((seed) => ({
    suite: SUITES.interoperation,
    seed,
    commits: 30,
    membersMax: 12,
  })),
  ...[7, 8].map((seed) => ({ suite: SUITES.performance, seed, commits: 16, membersMax: 9 })),
  { suite: SUITES.compliance, seed: 9, commits: 8, membersMax: 6 },
]

for (const plan of PLANS) {
  const { suite, seed, commits } = plan
  const title = `everybody agrees through ${commits} commits (${suite.name}, seed ${seed})`
  Deno.test(`ROOM-4: ${title}`, () => live(plan))
}

/** What a hub keeps of a roster: it reads commits and holds no secret. */
type Roster = Map<LeafIndex, string>

async function live(plan: Plan): Promise<void> {
  const story = createStory(plan.suite, plan.seed)
  const first = await createGroup(story, 'member 0')
  let groups: MlsGroup[] = [first]
  const roster: Roster = new Map(
    mls.leaves(first).map(({ leaf, signatureKey }) => [leaf, toHex(signatureKey)]),
  )
  const seen = { unmerged: 0, shrunk: 0 }
  let names = 1
  for (let turn = 0; turn < plan.commits; turn++) {
    const committer = story.prng.pick(groups)
    const room = plan.membersMax - groups.length
    const adds = await Promise.all(
      Array.from(
        { length: story.prng.integer(Math.min(room, 3) + 1) },
        () => keyPackageOf(story, `member ${names++}`),
      ),
    )
    const removes = pickRemoved(story, groups, committer)
    const made = await commit(story, committer, { adds, removes })
    readAsHub(roster, made.commit)
    groups = await everybodyFollows({ groups, committer, made, adds, removes })
    if (story.prng.integer(4) === 0) groups = groups.map(stored)
    await assertAgreement(groups)
    assertRoster(roster, made.next)
    seen.unmerged += countUnmerged(made.next)
    if (mls.leafCount(made.next) < mls.leafCount(committer)) seen.shrunk++
  }
  console.log(`  seed ${plan.seed}: ${groups.length} members, ${JSON.stringify(seen)}`)
}

function pickRemoved(
  story: Story,
  groups: readonly MlsGroup[],
  committer: MlsGroup,
): readonly LeafIndex[] {
  // Now and then many at once, so that the tree shrinks and leaves holes.
  const chance = story.prng.integer(6) === 0 ? 2 : 8
  return groups.map((group) => mls.ownLeaf(group))
    .filter((leaf) => leaf !== mls.ownLeaf(committer) && story.prng.integer(chance) === 0)
}

async function everybodyFollows(step: {
  readonly groups: readonly MlsGroup[]
  readonly committer: MlsGroup
  readonly made: CommitMade
  readonly adds: readonly KeyPackageMade[]
  readonly removes: readonly LeafIndex[]
}): Promise<MlsGroup[]> {
  const { groups, committer, made, adds, removes } = step
  const next: MlsGroup[] = []
  for (const group of groups) {
    if (group === committer) next.push(made.next)
    else if (removes.includes(mls.ownLeaf(group))) {
      const outcome = await mls.processCommit(group, made.commit, NOW)
      deepStrictEqual(outcome, { kind: 'removedFromGroup' })
    } else {
      const processed = await follow(group, made.commit)
      strictEqual(processed.added.length, adds.length)
      deepStrictEqual(processed.removed.map(({ leaf }) => leaf), removes)
      next.push(processed.next)
    }
  }
  for (const add of adds) next.push(await join(add, made.welcome))
  return next
}

function stored(group: MlsGroup): MlsGroup {
  const restored = mls.restore(mls.serialise(group))
  ok(restored !== null)
  return restored
}

/** The rule that the hub relies on: removes blank leaves, each add takes the leftmost blank one. */
function readAsHub(roster: Roster, bytes: Uint8Array): void {
  const view = mls.readCommit(bytes)
  ok(view.kind === 'commit' && view.pathLeaf !== null && view.otherProposals === 0)
  ok(roster.has(view.sender))
  roster.set(view.sender, toHex(view.pathLeaf.signatureKey))
  for (const leaf of view.removes) ok(roster.delete(leaf))
  for (const { signatureKey } of view.adds) {
    let blank = 0
    while (roster.has(leafIndex(blank))) blank++
    roster.set(leafIndex(blank), toHex(signatureKey))
  }
}

function assertRoster(roster: Roster, group: MlsGroup): void {
  const read = [...roster].sort(([a], [b]) => a - b)
  const real = mls.leaves(group).map(({ leaf, signatureKey }) => [leaf, toHex(signatureKey)])
  deepStrictEqual(read, real)
}

function countUnmerged(group: MlsGroup): number {
  return stateOf(group).tree.filter((node) =>
    node?.nodeType === 'parent' && node.parent.unmergedLeaves.length > 0
  ).length
}

Deno.test('the histories are what they are for: exports are equal only in one epoch', async () => {
  const story = createStory(SUITES.interoperation, 40)
  const alice = await createGroup(story, 'alice')
  const secrets = new Set([await exported(alice)])
  let group = alice
  for (let turn = 0; turn < 8; turn++) {
    group = (await commit(story, group, {})).next
    secrets.add(await exported(group))
  }
  strictEqual(secrets.size, 9)
})
