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
import { leafNode } from '#core/mls/leaf-node.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { filteredDirectPath, leafAt, parentAt, resolution } from '#core/mls/ratchet-tree.ts'
import { isLeaf, nodeToLeaf } from '#core/mls/tree-math.ts'
import { nodeBytes } from '#core/mls/tree-node.ts'
import { occupied } from '#core/mls/subtree.ts'
import { encode } from '#core/wire/codec.ts'
import { entropy, type Population } from './mls-group.ts'
import type { FloorSample, Op } from './mls-measure.ts'

/** Calls of one kind that are started together; synchronous ones run one after the other. */
interface Phase {
  readonly count: number
  call(index: number): unknown
}

/** Phases, each after the one before. */
type Floor = readonly Phase[]

const CALLS_MAX = 512

/** Milliseconds of one run. */
async function timeOf(floor: Floor): Promise<number> {
  let total = 0
  for (const { count, call } of floor) {
    const calls = Math.min(count, CALLS_MAX)
    const began = performance.now()
    const started: unknown[] = []
    for (let index = 0; index < calls; index++) started.push(call(index))
    await Promise.all(started)
    if (calls > 0) total += (performance.now() - began) * (count / calls)
  }
  return total
}

/** Signatures under as many keys. */
export interface Signers {
  readonly signatureSecret: Uint8Array
  /** In turn: more of them than any cache of keys holds, where a population is large. */
  next(): {
    readonly publicKey: Uint8Array
    readonly content: Uint8Array
    readonly signature: Uint8Array
  }
}

const SIGNERS_MAX = 2_048

export async function makeSigners({ suite, people }: Population): Promise<Signers> {
  const content = encode(leafNode, (people[0] as Population['people'][number]).leafNode)
  const signed = await Promise.all(
    people.slice(0, SIGNERS_MAX).map(async ({ signatureSecret, template }) => ({
      publicKey: template.signatureKey,
      content,
      signature: await suite.sign(signatureSecret, content),
    })),
  )
  let turn = 0
  return {
    signatureSecret: (people[0] as Population['people'][number]).signatureSecret,
    next: () => signed[turn++ % signed.length] as (typeof signed)[number],
  }
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
  readonly secret: Uint8Array
}

function inputsOf({ suite, tree, context }: PublicGroup, leaf: number): Inputs {
  const path = filteredDirectPath(tree, leaf)
  const nodes = [...occupied(tree.root)]
  const [first] = nodes
  assert(first !== undefined, 'a tree has a node')
  return {
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
    secret: entropy.randomBytes(suite.hashLength),
  }
}

/** Floors of the operations around a commit of the member at a leaf. */
export async function floorsOf(
  group: PublicGroup,
  leaf: number,
  signers: Signers,
): Promise<(op: Op) => FloorSample> {
  const inputs = inputsOf(group, leaf)
  const calls = await callsOf(inputs, signers)
  return (op) => (commitLength) => timeOf(floorOf(op, inputs, calls(new Uint8Array(commitLength))))
}

function floorOf(op: Op, { pathLength, members, parents }: Inputs, calls: Calls): Floor {
  const epoch = [calls.transcript, calls.schedule]
  const merged = [calls.parentHashes(pathLength), calls.treeHashes(pathLength + 1)]
  const path = [
    calls.pathSecrets(pathLength),
    calls.keyPairs(pathLength + 1),
    ...merged,
    calls.signatures(1),
    calls.seals,
  ]
  const receivedTree = [
    calls.treeHashes(members + parents),
    calls.blankHashes(members - parents),
    calls.parentHashes(parents),
    calls.verifications(members + 1),
  ]
  const oneSeal = { ...calls.seals, count: 1 }
  switch (op) {
    case 'add':
      return [
        calls.verifications(2),
        calls.treeHashes(pathLength + 1),
        calls.signatures(2),
        ...epoch,
        calls.membershipTag,
        oneSeal,
      ]
    case 'joinWelcome':
      return [calls.opens(1), ...receivedTree, calls.schedule]
    case 'joinExternal':
      return [...receivedTree, ...path, oneSeal, calls.signatures(1), ...epoch]
    case 'makeCommit':
      return [...path, calls.signatures(1), ...epoch, calls.membershipTag]
    case 'processCommit':
      return [
        together(calls.verifications(2), calls.opens(1)),
        calls.pathSecrets(pathLength),
        calls.keyPairs(pathLength),
        ...merged,
        ...epoch,
        calls.membershipTag,
      ]
    case 'publicProcess':
      return [calls.verifications(2), ...merged, calls.transcript]
  }
}

/** Two phases that need not wait for each other. */
function together(one: Phase, other: Phase): Phase {
  return {
    count: one.count + other.count,
    call: (index) => index < one.count ? one.call(index) : other.call(index - one.count),
  }
}

type Calls = ReturnType<Awaited<ReturnType<typeof callsOf>>>

async function callsOf({ suite, receivers, node, context, secret }: Inputs, signers: Signers) {
  const encryptContext = new Uint8Array(context.length + 32)
  const pair = await suite.deriveKeyPair(secret)
  const encapsulation = (publicKey: Uint8Array) => ({
    publicKey,
    info: encryptContext,
    randomness: entropy.randomBytes(suite.encapsulationEntropyLength),
  })
  const sealed = await suite.hpkeSeal(encapsulation(pair.publicKey), secret)
  assert(sealed !== null, 'a key of our own takes an encapsulation')
  const opening = { secretKey: pair.secretKey, enc: sealed.enc, info: encryptContext }
  const expand = () => suite.expand(secret, SHORT_LABEL, suite.hashLength)
  const short = new Uint8Array(suite.hashLength * 2)
  const hash = (count: number): Phase => ({ count, call: () => suite.hash(node) })
  const seals: Phase = {
    count: receivers.length,
    call: (index) => suite.hpkeSeal(encapsulation(receivers[index] as Uint8Array), secret),
  }
  const counted = (call: Phase['call']) => (count: number): Phase => ({ count, call })
  return (commit: Uint8Array) => ({
    /** "path" and "node" of each. */
    pathSecrets: (count: number): Phase => ({ count: count * 2, call: expand }),
    keyPairs: counted(() => suite.deriveKeyPair(secret)),
    seals,
    opens: counted(() => suite.hpkeOpen(opening, sealed.ciphertext)),
    signatures: counted(() => suite.sign(signers.signatureSecret, node)),
    verifications: counted(() => suite.verify(signers.next())),
    treeHashes: hash,
    /** Of parents without a key. */
    blankHashes: counted(() => suite.hash(short)),
    parentHashes: hash,
    /** Confirmed and interim, and the confirmation tag. */
    transcript: { count: 3, call: (index: number) => suite.hash(index === 0 ? commit : short) },
    /** Joiner, epoch and the secrets of an epoch (section 8). */
    schedule: {
      count: 15,
      call: (index: number) => index < 2 ? suite.extract(secret, secret) : expand(),
    },
    membershipTag: { count: 1, call: () => suite.mac(secret, commit) },
  })
}

const SHORT_LABEL = new Uint8Array(32)
