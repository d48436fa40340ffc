/**
 * Coming in from outside by an external commit (RFC 9420 section 12.4.3.2): plainly, in place of
 * an earlier state of one's own, and with PSKs. Owns the joiner's side; all others follow as ever.
 */
import type { CommitMade } from '#core/mls/commit-make.ts'
import { type Extension, EXTENSION_TYPE, externalPub, readExtension } from '#core/mls/extension.ts'
import { type GroupInfo, groupInfo as groupInfoCodec } from '#core/mls/group-info.ts'
import { makeGroupInfo } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import type { PreSharedKeyId } from '#core/mls/proposal.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { addedLearnNothing, withEarlier } from './attackers.ts'
import { damageHandshake, flip } from './damage.ts'
import { followCommit } from './follow.ts'
import { refuseForgeries } from './forgeries.ts'
import { absentPersons, type Epoch, pskIdOf } from './proposals.ts'
import {
  count,
  must,
  newExternalPsk,
  nextPerson,
  NOW,
  oneIn,
  type PastCommit,
  type Person,
  pskOf,
  seatOf,
  SPARE_EXTENSIONS,
  taken,
  type World,
} from './world.ts'

export async function joinFromOutside(world: World, epoch: Epoch): Promise<PastCommit> {
  const inside = world.prng.pick(world.seats)
  const replaced = oneIn(world, 2) ? world.prng.pick(world.seats) : null
  const absent = absentPersons(world)
  const back = absent.length > 0 && oneIn(world, 3) ? world.prng.pick(absent) : nextPerson(world)
  const person = replaced?.person ?? back
  const withTree = oneIn(world, 2)
  const contents = { ratchetTree: withTree, externalPub: true }
  const groupInfo = await makeGroupInfo(inside.group, contents)
  const ratchetTree = withTree ? null : encodeRatchetTree(inside.group.public.tree)
  await damageGroupInfo(world, { groupInfo, ratchetTree })
  const opened = await openPublicGroup(world.suite, { groupInfo, ratchetTree })
  const { group } = taken(opened, 'a GroupInfo')
  const key = readExtension(groupInfo.extensions, EXTENSION_TYPE.externalPub, externalPub)
  must(key !== null && key !== 'malformed', 'a GroupInfo has the external key')
  const pskIds = world.prng.pick([0, 0, 1, 2]) === 0 ? [] : somePskIds(world)
  const made = taken(
    await joinByExternalCommit(group, {
      ...person,
      externalPub: key,
      removed: replaced?.group.ownLeaf ?? null,
      pskIds,
      psks: pskOf(world),
      authenticatedData: world.entropy.randomBytes(world.prng.integer(12)),
      timeMs: NOW,
      ...extensionsOfKey(world),
    }),
    'an external commit',
  )
  await refusedBesideItself(world, { group, key })
  await damageHandshake(world, { message: made.message, from: null }, 3)
  const before = inside.group.public
  await refuseForgeries(world, { made, before, publicKnowsAll: epoch.publicKnowsAll })
  const past = await followCommit(world, epoch, {
    committer: null,
    made,
    before,
  })
  await sitDown(world, { person, made, past })
  count(world, replaced === null ? 'external joins' : 'external resyncs')
  if (pskIds.length > 0) count(world, 'external joins with PSKs')
  return past
}

/** Whoever is in the group cannot come in a second time. */
async function refusedBesideItself(
  world: World,
  { group, key }: { readonly group: PublicGroup; readonly key: Uint8Array },
): Promise<void> {
  const twice = await joinByExternalCommit(group, {
    ...world.prng.pick(world.seats).person,
    externalPub: key,
    removed: null,
    psks: pskOf(world),
    authenticatedData: new Uint8Array(0),
    timeMs: NOW,
  })
  const code = twice.kind === 'refused' ? twice.code : twice.kind
  must(code === 'duplicateKey', `a member who joins beside itself is met with ${code}`)
}

/** The old state of who comes in anew stays with those who are gone. */
async function sitDown(
  world: World,
  { person, made, past }: {
    readonly person: Person
    readonly made: CommitMade
    readonly past: PastCommit
  },
): Promise<void> {
  const hoard = { name: person.name, states: [made.next], keys: [] }
  await addedLearnNothing(world, past, withEarlier(world, person, { hoard, past }))
  world.seats.push(seatOf(world, person, { group: made.next, cameWith: [] }))
}

function somePskIds(world: World): PreSharedKeyId[] {
  return [newExternalPsk(world), pskIdOf(world)].slice(0, 1 + world.prng.integer(2))
}

/** A leaf whose extensions depend on its key, or a plain one. */
function extensionsOfKey(world: World) {
  if (oneIn(world, 2)) return {}
  const type = SPARE_EXTENSIONS[0]
  const extensionsFor = (body: Uint8Array): Promise<readonly Extension[]> =>
    Promise.resolve([{ type, body }])
  return { extensionsFor }
}

async function damageGroupInfo(
  world: World,
  given: { readonly groupInfo: GroupInfo; readonly ratchetTree: Uint8Array | null },
): Promise<void> {
  const flipped = flip(world, encode(groupInfoCodec, given.groupInfo))
  const decoded = decode(groupInfoCodec, flipped.bytes)
  if (decoded.kind === 'decoded') {
    const damaged = { ...given, groupInfo: decoded.value }
    const opened = await openPublicGroup(world.suite, damaged)
    must(opened.kind === 'refused', `a GroupInfo with byte ${flipped.position} altered is taken`)
  }
  count(world, 'flips of GroupInfos refused')
  if (world.earlierTree !== null) {
    const ratchetTree = encodeRatchetTree(world.earlierTree)
    const opened = await openPublicGroup(world.suite, { ...given, ratchetTree })
    must(opened.kind === 'refused', 'a GroupInfo is taken with the tree of the epoch before')
    count(world, 'earlier trees refused')
  }
  if (given.ratchetTree === null) return
  const tree = flip(world, given.ratchetTree)
  const opened = await openPublicGroup(world.suite, { ...given, ratchetTree: tree.bytes })
  must(opened.kind === 'refused', `a tree with byte ${tree.position} altered is taken`)
  count(world, 'flips of trees refused')
}
