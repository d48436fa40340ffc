/**
 * What an operation of MLS cannot avoid: the primitives that RFC 9420 prescribes for it in a tree
 * of this shape, called by themselves on inputs of the same lengths, with nothing between them.
 * Calls that do not wait for each other are started together, as far as the standard lets them.
 * Owns the lists of primitives; knows of the engine only its primitives and the shape of a tree.
 *
 * Of many calls of one kind a part is made and the time multiplied.
 */
import { assert } from '#core/base/assert.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { filteredDirectPath, leafAt, parentAt, resolution } from '#core/mls/ratchet-tree.ts'
import { isLeaf, nodeToLeaf } from '#core/mls/tree-math.ts'
import { nodeBytes } from '#core/mls/tree-node.ts'
import { occupied } from '#core/mls/subtree.ts'
import { median } from './hub-figures.ts'
import { entropy, makePerson } from './mls-group.ts'
import type { Op } from './mls-measure.ts'

/** Calls of one kind that are started together; synchronous ones run one after the other. */
interface Phase {
  readonly count: number
  call(index: number): unknown
}

/** Phases, each after the one before. */
type Floor = readonly Phase[]

const CALLS_MAX = 512
const ROUNDS = 3
/** A floor that takes so long is measured once. */
const LONG_MS = 1_500

/** Median of some rounds, in milliseconds. */
export async function floorMs(floor: Floor): Promise<number> {
  const rounds: number[] = []
  while (rounds.length < ROUNDS && (rounds[0] ?? 0) < LONG_MS) {
    let total = 0
    for (const { count, call } of floor) {
      const calls = Math.min(count, CALLS_MAX)
      const began = performance.now()
      const started: unknown[] = []
      for (let index = 0; index < calls; index++) started.push(call(index))
      await Promise.all(started)
      total += (performance.now() - began) * (calls === 0 ? 0 : count / calls)
    }
    rounds.push(total)
  }
  return median(rounds)
}

/** Lengths and keys that the primitives are called with. */
interface Inputs {
  readonly suite: CipherSuite
  readonly members: number
  /** Nodes of the committer's filtered direct path. */
  readonly pathLength: number
  /** Keys to which path secrets are encrypted. */
  readonly receivers: readonly Uint8Array[]
  readonly parents: number
  readonly node: Uint8Array
  readonly context: Uint8Array
  /** As long as the commit. */
  readonly commit: Uint8Array
  readonly secret: Uint8Array
}

function inputsOf({ suite, tree, context }: PublicGroup, leaf: number, commitLength: number) {
  const path = filteredDirectPath(tree, leaf)
  const nodes = [...occupied(tree.root)]
  const [first] = nodes
  assert(first !== undefined, 'a tree has a node')
  const inputs: Inputs = {
    suite,
    members: tree.memberCount,
    pathLength: path.length,
    receivers: path.flatMap(({ copath }) =>
      resolution(tree, copath).map((node) => {
        const found = isLeaf(node) ? leafAt(tree, nodeToLeaf(node)) : parentAt(tree, node)
        assert(found !== null, 'a resolution has no blank node')
        return found.encryptionKey
      })
    ),
    parents: nodes.length - tree.memberCount,
    node: nodeBytes(first.node),
    context: encodeGroupContext(context),
    commit: new Uint8Array(commitLength),
    secret: entropy.randomBytes(suite.hashLength),
  }
  return inputs
}

/** The floors of all operations for a commit of the member at a leaf. */
export async function floorsOf(
  group: PublicGroup,
  leaf: number,
  commitLength: number,
): Promise<Readonly<Record<Op, Floor>>> {
  const inputs = inputsOf(group, leaf, commitLength)
  const calls = await callsOf(inputs)
  const { pathLength, members, parents } = inputs
  const epoch = [calls.transcript, calls.schedule]
  const addedPath = calls.treeHashes(pathLength + 1)
  const path = [
    calls.pathSecrets(pathLength),
    calls.keyPairs(pathLength + 1),
    calls.parentHashes(pathLength),
    calls.signatures(1),
    calls.treeHashes(pathLength + 1),
    calls.seals,
  ]
  const receivedTree = [
    calls.treeHashes(members * 2),
    calls.parentHashes(parents),
    calls.verifications(members + 1),
  ]
  return {
    add: [
      calls.verifications(2),
      addedPath,
      calls.signatures(1),
      ...epoch,
      calls.membershipTag,
      calls.signatures(1),
      { ...calls.seals, count: 1 },
    ],
    joinWelcome: [calls.opens(1), ...receivedTree, calls.schedule],
    joinExternal: [
      ...receivedTree,
      ...path,
      { ...calls.seals, count: 1 },
      calls.signatures(1),
      ...epoch,
    ],
    makeCommit: [...path, calls.signatures(1), ...epoch, calls.membershipTag],
    processCommit: [
      together(calls.verifications(2), calls.opens(1)),
      calls.pathSecrets(pathLength),
      calls.keyPairs(pathLength),
      calls.parentHashes(pathLength),
      calls.treeHashes(pathLength + 1),
      ...epoch,
      calls.membershipTag,
    ],
    publicProcess: [
      calls.verifications(2),
      calls.parentHashes(pathLength),
      calls.treeHashes(pathLength + 1),
      calls.transcript,
    ],
  }
}

/** Two phases that need not wait for each other. */
function together(one: Phase, other: Phase): Phase {
  return {
    count: one.count + other.count,
    call: (index) => index < one.count ? one.call(index) : other.call(index - one.count),
  }
}

async function callsOf(inputs: Inputs) {
  const { suite, receivers, node, context, commit, secret } = inputs
  const encryptContext = new Uint8Array(context.length + 32)
  const person = makePerson(suite, 0)
  const { signatureSecret, template: { signatureKey: publicKey } } = person
  const content = node
  const signature = await suite.sign(signatureSecret, content)
  const pair = await suite.deriveKeyPair(secret)
  const encapsulation = (publicKey: Uint8Array) => ({
    publicKey,
    info: encryptContext,
    randomness: entropy.randomBytes(suite.encapsulationEntropyLength),
  })
  const sealed = await suite.hpkeSeal(encapsulation(pair.publicKey), secret)
  assert(sealed !== null, 'a key of our own takes an encapsulation')
  const phase = (count: number, call: Phase['call']): Phase => ({ count, call })
  const expand = () => suite.expand(secret, SHORT_LABEL, suite.hashLength)
  const short = new Uint8Array(suite.hashLength * 2)
  return {
    /** "path" and "node" of each. */
    pathSecrets: (count: number) => phase(count * 2, expand),
    keyPairs: (count: number) => phase(count, () => suite.deriveKeyPair(secret)),
    seals: phase(
      receivers.length,
      (index) => suite.hpkeSeal(encapsulation(receivers[index] as Uint8Array), secret),
    ),
    opens: (count: number) =>
      phase(count, () => {
        const { enc, ciphertext } = sealed
        return suite.hpkeOpen({ secretKey: pair.secretKey, enc, info: encryptContext }, ciphertext)
      }),
    signatures: (count: number) => phase(count, () => suite.sign(signatureSecret, content)),
    verifications: (count: number) =>
      phase(count, () => suite.verify({ publicKey, content, signature })),
    treeHashes: (count: number) => phase(count, () => suite.hash(node)),
    parentHashes: (count: number) => phase(count, () => suite.hash(node)),
    /** Confirmed and interim, and the tag in it. */
    transcript: phase(3, (index) => suite.hash(index === 0 ? commit : short)),
    /** Joiner, epoch and the nine secrets of an epoch (section 8), and the confirmation tag. */
    schedule: phase(15, (index) => index < 2 ? suite.extract(secret, secret) : expand()),
    membershipTag: phase(1, () => suite.mac(secret, commit)),
  }
}

const SHORT_LABEL = new Uint8Array(32)
