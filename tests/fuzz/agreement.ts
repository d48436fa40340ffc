/**
 * What must hold after each commit: all members are in one epoch with one set of secrets, the
 * public group is at the same context, and who holds the private key of a node is who sits below
 * it, as far as it is merged (RFC 9420 section 4.2). Owns the comparison; makes no step.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { exportSecret, type Group } from '#core/mls/group.ts'
import type { EpochSecrets } from '#core/mls/key-schedule.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { directPath, leafAt, parentAt, treeHash } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { isLeaf, leafToNode, nodeToLeaf } from '#core/mls/tree-math.ts'
import { toHex } from './hex.ts'
import { must, oneIn, type Seat, type World } from './world.ts'

export async function agree(world: World): Promise<void> {
  const [first, ...others] = world.seats
  must(first !== undefined, 'a group without members')
  const { suite, tree, context } = first.group.public
  must(equalBytes(treeHash(suite, tree), context.treeHash), 'the tree is not that of the context')
  const exporting = {
    label: toHex(world.entropy.randomBytes(3)),
    context: world.entropy.randomBytes(world.prng.integer(20)),
    length: 1 + world.prng.integer(80),
  }
  const exported = exportSecret(first.group, exporting)
  for (const seat of others) {
    samePublic(first.group.public, seat.group.public, seat.person.name)
    sameSecrets(first.group, seat.group, seat.person.name)
    const same = equalBytes(exportSecret(seat.group, exporting), exported)
    must(same, `${seat.person.name} exports something else`)
  }
  samePublic(first.group.public, world.publicGroup, 'the public group')
  if (oneIn(world, 4)) sameTrees(world)
  for (const seat of world.seats) await holdsItsKeys(world, seat)
}

function samePublic(a: PublicGroup, b: PublicGroup, name: string): void {
  const same = equalBytes(encodeGroupContext(a.context), encodeGroupContext(b.context))
  must(same, `${name} is at another GroupContext`)
  must(equalBytes(a.confirmationTag, b.confirmationTag), `${name} has another confirmation tag`)
  const interim = equalBytes(a.interimTranscriptHash, b.interimTranscriptHash)
  must(interim, `${name} has another interim transcript hash`)
  must(JSON.stringify(census(a)) === JSON.stringify(census(b)), `${name} counts other leaves`)
  must(a.tree.memberCount === b.tree.memberCount, `${name} counts other members`)
}

function census({ census }: PublicGroup): unknown {
  return Object.values(census).map((each) => each instanceof Map ? [...each].sort() : each)
}

function sameSecrets(a: Group, b: Group, name: string): void {
  for (const [field, secret] of Object.entries<Uint8Array>({ ...a.secrets })) {
    const other = b.secrets[field as keyof EpochSecrets]
    must(equalBytes(secret, other), `${name} has another ${field}`)
  }
}

function sameTrees(world: World): void {
  const encoded = toHex(encodeRatchetTree(world.publicGroup.tree))
  const seat = world.prng.pick(world.seats)
  must(toHex(encodeRatchetTree(seat.group.public.tree)) === encoded, 'trees differ')
}

/** The keys of its leaf and of each parent above it that it is merged into, and no others. */
async function holdsItsKeys(world: World, { group, person }: Seat): Promise<void> {
  const { ownLeaf, privateKeys } = group
  const { tree } = group.public
  const due = directPath(tree, ownLeaf).filter((node) => {
    const parent = parentAt(tree, node)
    return parent !== null && !parent.unmergedLeaves.includes(ownLeaf)
  })
  const wanted = [leafToNode(ownLeaf), ...due].sort((a, b) => a - b)
  const held = [...privateKeys.keys()].sort((a, b) => a - b)
  const said = `${held} instead of ${wanted}`
  must(held.join() === wanted.join(), `${person.name} holds keys of the nodes ${said}`)
  for (const [node, secretKey] of privateKeys) {
    if (world.costly && !oneIn(world, 16)) continue
    const place = isLeaf(node) ? leafAt(tree, nodeToLeaf(node)) : parentAt(tree, node)
    must(place !== null, 'a held key is of a node')
    const fits = await opens(world, place.encryptionKey, secretKey)
    must(fits, `${person.name} holds another key than that of node ${node}`)
  }
}

/** Whether two keys are of one pair. */
async function opens(
  { suite, entropy }: World,
  publicKey: Uint8Array,
  secretKey: Uint8Array,
): Promise<boolean> {
  const info = Uint8Array.of(1)
  const randomness = entropy.randomBytes(suite.encapsulationEntropyLength)
  const sealed = await suite.hpkeSeal({ publicKey, info, randomness }, info)
  if (sealed === null) return false
  const opened = await suite.hpkeOpen({ secretKey, enc: sealed.enc, info }, sealed.ciphertext)
  return opened !== null
}
