/**
 * Who is added by a commit: joins by the Welcome, with the tree in it or beside it, and by no
 * Welcome with a flipped bit. Owns who must refuse which: what all joiners share
 * (suite, encrypted GroupInfo, the form of the whole) each of them refuses, and an entry of one
 * joiner that joiner, since nobody else can judge it.
 */
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import type { KeyPackageMade } from '#core/mls/own-leaf.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import type { Welcome } from '#core/mls/welcome.ts'
import { toHex } from './hex.ts'
import { addedLearnNothing, withEarlier } from './attackers.ts'
import { flip } from './damage.ts'
import { refuseFalseWelcome } from './false-welcomes.ts'
import type { Epoch } from './proposals.ts'
import { count, must, oneIn, type PastCommit, type Person } from './world.ts'
import { pskOf, seatOf, shuffled, taken, type World } from './world.ts'

interface Joiner {
  readonly leaf: number
  readonly person: Person
  readonly made: KeyPackageMade
}

interface Added {
  readonly made: CommitMade
  readonly past: PastCommit
}

/** Everybody whom a commit adds takes a seat. */
export async function welcomeAdded(
  world: World,
  epoch: Epoch,
  { made, past }: Added,
): Promise<void> {
  const { added } = made.change
  const { welcome } = made
  must((welcome !== null) === (added.length > 0), 'a Welcome is there for who is added')
  if (welcome === null) return
  const joiners = added.map(({ leaf, leafNode }): Joiner => {
    const offered = epoch.offers.get(toHex(leafNode.signature))
    must(offered !== undefined, 'whoever is added has offered a KeyPackage')
    return { leaf, ...offered }
  })
  await damageWelcome(world, { welcome, joiners, past })
  const { person, made: offered } = world.prng.pick(joiners)
  const decoded = decodeMlsMessage('welcome', welcome)
  must(decoded !== null, 'a Welcome decodes')
  await refuseFalseWelcome(world, { welcome: decoded.welcome, person, offered, by: made.next })
  for (const joiner of joiners) {
    const { person } = joiner
    const group = await joined(world, { welcome, past }, joiner)
    must(group.ownLeaf === joiner.leaf, 'a joiner sits where the commit put it')
    const { initSecret, encryptionSecret } = joiner.made.secrets
    const cameWith = [initSecret.slice(), encryptionSecret.slice()]
    const hoard = { name: person.name, states: [group], keys: cameWith }
    await addedLearnNothing(world, past, withEarlier(world, person, { hoard, past }))
    wipe(initSecret)
    world.seats.push(seatOf(world, person, { group, cameWith }))
    count(world, 'members added')
  }
}

async function joined(
  world: World,
  { welcome, past }: { readonly welcome: Uint8Array; readonly past: PastCommit },
  { person, made }: Joiner,
): Promise<Group> {
  const { keyPackage, secrets } = made
  const { signatureSecret } = person
  const joining = { welcome, keyPackage, secrets, signatureSecret, psks: pskOf(world) }
  const ratchetTree = encodeRatchetTree(past.after.tree)
  const inside = await joinByWelcome(world.suite, { ...joining, ratchetTree: null })
  if (inside.kind === 'refused') must(inside.code === 'badTree', `joining: ${inside.code}`)
  if (inside.kind === 'joined') {
    count(world, 'Welcomes with a tree')
    if (oneIn(world, 2)) return inside.group
  }
  const beside = taken(
    await joinByWelcome(world.suite, { ...joining, ratchetTree }),
    `joining as ${person.name}`,
  )
  if (inside.kind === 'refused') return beside.group
  const [one, other] = [inside.group.secrets.initSecret, beside.group.secrets.initSecret]
  must(equalBytes(one, other), 'the way of the tree changes nothing')
  return inside.group
}

async function damageWelcome(
  world: World,
  given: {
    readonly welcome: Uint8Array
    readonly joiners: readonly Joiner[]
    readonly past: PastCommit
  },
): Promise<void> {
  const { welcome, joiners, past } = given
  const flipped = flip(world, welcome)
  const [before, after] = [welcome, flipped.bytes].map((bytes) =>
    decodeMlsMessage('welcome', bytes)
  )
  must(before !== null && before !== undefined, 'a Welcome decodes')
  const ratchetTree = encodeRatchetTree(past.after.tree)
  for (const joiner of shuffled(world, joiners).slice(0, 3)) {
    const { keyPackage, secrets } = joiner.made
    const reference = toHex(keyPackageRef(world.suite, keyPackage))
    if (after && isSame(before.welcome, after.welcome, reference)) continue
    const { signatureSecret } = joiner.person
    const psks = pskOf(world)
    const joined = await joinByWelcome(world.suite, {
      ...{ welcome: flipped.bytes, keyPackage, secrets, signatureSecret, ratchetTree, psks },
    })
    const where = `bit flipped in byte ${flipped.position} of ${welcome.length}`
    must(joined.kind === 'refused', `${joiner.person.name} took a Welcome with a ${where}`)
    count(world, 'flips of Welcomes refused')
  }
}

/** Whether the flipped bit stands in an entry of somebody else. */
function isSame(before: Welcome, after: Welcome, reference: string): boolean {
  const shared = before.cipherSuite === after.cipherSuite &&
    toHex(before.encryptedGroupInfo) === toHex(after.encryptedGroupInfo)
  const entry = ({ secrets }: Welcome) => {
    const own = secrets.find(({ newMember }) => toHex(newMember) === reference)
    if (own === undefined) return null
    const { kemOutput, ciphertext } = own.encryptedGroupSecrets
    return `${toHex(kemOutput)} ${toHex(ciphertext)}`
  }
  return shared && entry(before) !== null && entry(before) === entry(after)
}
