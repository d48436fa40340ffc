/**
 * Empty commits made by hand, whole and consistent but for the keys of the path: a key that does
 * not follow from its path secret, which only its readers can tell, and a key that the tree has
 * already, which everybody can. The same commit with its own keys is followed. Owns how such a
 * commit is made.
 */
import type { KeyPair } from '#core/crypto/crypto.ts'
import { signedCommit } from '#core/mls/commit-make.ts'
import type { UpdatePath } from '#core/mls/commit.ts'
import { encodeMlsMessage, type FramedContent } from '#core/mls/framing.ts'
import { encodeGroupContext, type GroupContext } from '#core/mls/group-context.ts'
import { enterEpoch, type Group, nextJoinerSecret } from '#core/mls/group.ts'
import { signLeafNode } from '#core/mls/leaf-node.ts'
import { processMessage } from '#core/mls/messages.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { membershipTag } from '#core/mls/public-message.ts'
import {
  filteredDirectPath,
  leafAt,
  mergePath,
  pathParentHashes,
  type RatchetTree,
} from '#core/mls/ratchet-tree.ts'
import { nextContext } from '#core/mls/staged-commit.ts'
import { encryptPath, makePathSecrets, type PathSecrets } from '#core/mls/update-path.ts'
import { count, must, NOW, pskOf, type World } from './world.ts'

const NOTHING = new Uint8Array(0)
const KINDS = ['own keys', 'a key of no secret', 'a key of the tree'] as const
type Kind = (typeof KINDS)[number]

/** One such commit by a member, for another one and for the public group. */
export async function judgeFalsePath(world: World): Promise<void> {
  const { group } = world.prng.pick(world.seats)
  const others = world.seats.filter((seat) => seat.group !== group)
  if (others.length === 0 || group.public.reInit !== null) return
  const kind = world.prng.pick(KINDS)
  const message = await commitWith(world, group, kind)
  const reader = world.prng.pick(others)
  const read = await processMessage(reader.group, message, { timeMs: NOW, psks: pskOf(world) })
  const seen = await publicProcess(world.publicGroup, message, { timeMs: NOW })
  const codes = [read, seen].map((each) => each.kind === 'refused' ? each.code : each.kind)
  const wanted = {
    'own keys': 'commit commit',
    'a key of no secret': 'badPath commit',
    'a key of the tree': 'duplicateKey duplicateKey',
  }[kind]
  must(codes.join(' ') === wanted, `a path with ${kind} is met with ${codes.join(' ')}`)
  count(world, `paths with ${kind}`)
}

async function commitWith(world: World, group: Group, kind: Kind): Promise<Uint8Array> {
  const { suite, entropy } = world
  const { tree, context } = group.public
  const path = filteredDirectPath(tree, group.ownLeaf)
  const made = await makePathSecrets(suite, path, entropy.randomBytes(suite.hashLength))
  const secrets = await withFalseKey(world, { group, made, kind })
  const keys = secrets.nodes.map(({ node, keyPair }) => {
    return { node, encryptionKey: keyPair.publicKey }
  })
  const { nodes, leafParentHash } = pathParentHashes(suite, tree, group.ownLeaf, keys)
  const leaf = leafAt(tree, group.ownLeaf)
  must(leaf !== null, 'a committer has a leaf')
  const fresh = await suite.deriveKeyPair(entropy.randomBytes(suite.hashLength))
  const leafNode = await signLeafNode(suite, {
    ...leaf,
    encryptionKey: fresh.publicKey,
    source: { kind: 'commit', parentHash: leafParentHash },
  }, {
    signatureSecret: group.signatureSecret,
    place: { groupId: context.groupId, leaf: group.ownLeaf },
  })
  const merged = mergePath(tree, { leaf: group.ownLeaf, leafNode, nodes })
  const provisional = nextContext(group.public, merged, context.extensions)
  const encrypted = await encryptPath(suite, tree, {
    path,
    secrets,
    excluded: new Set(),
    groupContext: encodeGroupContext(provisional),
    entropy,
  })
  must(encrypted !== null, 'keys of a tree take ciphertexts')
  const { commitSecret } = made
  return await framed(group, { path: { leafNode, nodes: encrypted }, commitSecret, provisional })
}

/** The chain as it is, with one public key of it replaced. */
async function withFalseKey(
  world: World,
  { group, made, kind }: {
    readonly group: Group
    readonly made: PathSecrets
    readonly kind: Kind
  },
): Promise<PathSecrets> {
  if (kind === 'own keys') return made
  // The root's key is above every reader; below it a reader might not see the one that is false.
  const [last] = made.nodes.slice(-1)
  must(last !== undefined, 'a path above another member has nodes')
  const publicKey = kind === 'a key of the tree'
    ? keyOfTree(world, group.public.tree)
    : await strangeKey(world)
  const keyPair: KeyPair = { ...last.keyPair, publicKey }
  return { ...made, nodes: [...made.nodes.slice(0, -1), { ...last, keyPair }] }
}

function keyOfTree(world: World, tree: RatchetTree): Uint8Array {
  const leaf = leafAt(tree, world.prng.pick(world.seats).group.ownLeaf)
  must(leaf !== null, 'a member has a leaf')
  return leaf.encryptionKey
}

async function strangeKey({ suite, entropy }: World): Promise<Uint8Array> {
  return (await suite.deriveKeyPair(entropy.randomBytes(suite.hashLength))).publicKey
}

async function framed(
  group: Group,
  parts: {
    readonly path: UpdatePath
    readonly commitSecret: Uint8Array
    readonly provisional: GroupContext
  },
): Promise<Uint8Array> {
  const { suite, context } = group.public
  const { path, commitSecret, provisional } = parts
  const content: FramedContent = {
    groupId: context.groupId,
    epoch: context.epoch,
    sender: { kind: 'member', leaf: group.ownLeaf },
    authenticatedData: NOTHING,
    body: { kind: 'commit', commit: { proposals: [], path } },
  }
  const wireFormat = 'publicMessage'
  const signed = await signedCommit(group, { wireFormat, content, provisional })
  const { initSecret, membershipKey } = group.secrets
  const joinerSecret = nextJoinerSecret(suite, {
    initSecret,
    commitSecret,
    context: signed.context,
  })
  const entered = enterEpoch(suite, { joinerSecret, psks: [], context: signed.context })
  const { signature } = signed
  const auth = { signature, confirmationTag: entered.confirmationTag }
  const groupContext = encodeGroupContext(context)
  const tag = membershipTag(suite, membershipKey, { content, auth, groupContext })
  const publicMessage = { content, auth, membershipTag: tag }
  return encodeMlsMessage({ kind: 'publicMessage', publicMessage })
}
