/**
 * The stored form of groups: a head and the nodes that a step changed give the same state again,
 * whatever was in progress (KEY-1). Owns no storage.
 */
import { concat, EMPTY, equalBytes, toHex } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { createGroup, exportSecret, type Group, takeExports } from '#core/mls/group.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage, proposeUpdate, protectApplication } from '#core/mls/messages.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import { changedNodes, type RatchetTree, treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { encodeGroupHead, encodePublicHead, memberLeafWidthOf } from '#core/mls/state-codec.ts'
import { leafWidthOf, restoreGroup, restorePublicGroup } from '#core/mls/state-codec.ts'
import { createPrng } from './prng.ts'
import { assert } from '#core/base/assert.ts'
import { noble } from '../vectors/implementations.ts'

const suite = cipherSuite(noble, SUITES.interoperation)
const noPsks = () => null

function person(name: string, entropy: Entropy) {
  const pair = suite.signatureKeyPair(entropy.randomBytes(suite.signatureSeedLength))
  return {
    signatureSecret: pair.secretKey,
    lifetime: { notBefore: 0n, notAfter: 1n << 60n },
    entropy,
    template: {
      credential: { kind: 'basic', identity: new TextEncoder().encode(name) } as const,
      signatureKey: pair.publicKey,
      capabilities: {
        versions: [1],
        cipherSuites: [suite.id],
        extensions: [],
        proposals: [],
        credentials: [1],
      },
      extensions: [],
    },
  }
}

/** Nodes as a store holds them, brought from one tree to the next. */
function stored(nodes: Map<number, Uint8Array>, before: RatchetTree | null, after: RatchetTree) {
  for (const { node, bytes } of changedNodes(before, after).nodes) {
    if (bytes === null) nodes.delete(node)
    else nodes.set(node, bytes)
  }
}

function reread(of: CipherSuite, group: Group, nodes: Map<number, Uint8Array>): Group {
  const head = encodeGroupHead(group)
  const width = memberLeafWidthOf(head)
  assert(width === group.public.tree.leafWidth, 'the head tells how wide its tree is')
  const list = [...nodes].map(([node, bytes]) => ({ node, bytes }))
  const tree = treeOfNodes(of, width, list)
  assert(tree !== null, 'the nodes are a tree')
  const restored = restoreGroup(of, { head, tree, signatureSecret: group.signatureSecret })
  assert(restored !== null, 'the head is read again')
  assert(equalBytes(encodeGroupHead(restored), head), 'the same head is written again')
  return restored
}

async function pair(entropy: Entropy): Promise<{ alice: Group; bob: Group }> {
  const founder = person('alice', entropy)
  const first = await createGroup(suite, {
    ...founder,
    groupId: entropy.randomBytes(16),
    extensions: [],
  })
  const joiner = person('bob', entropy)
  const { keyPackage, secrets } = await makeKeyPackage(suite, joiner)
  const made = await makeCommit(first, {
    proposals: [{ kind: 'add', keyPackage }],
    path: 'always',
    authenticatedData: EMPTY,
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: noPsks,
    timeMs: null,
    entropy,
  })
  assert(made.kind === 'committed' && made.welcome !== null, 'the commit is made')
  const joined = await joinByWelcome(suite, {
    welcome: made.welcome,
    keyPackage,
    secrets,
    signatureSecret: joiner.signatureSecret,
    ratchetTree: null,
    psks: noPsks,
  })
  assert(joined.kind === 'joined', 'the Welcome is accepted')
  return { alice: made.next, bob: joined.group }
}

const prngEntropy = (seed: number): Entropy => {
  const prng = createPrng(seed)
  return { randomBytes: (length) => prng.bytes(length) }
}

Deno.test('a stored member goes on as if it had not stopped, amid an epoch', async () => {
  const entropy = prngEntropy(1)
  let { alice, bob } = await pair(entropy)
  const processing = { timeMs: null, psks: noPsks }
  const messages: Uint8Array[] = []
  for (let index = 0; index < 3; index++) {
    const sent = await protectApplication(alice, Uint8Array.of(index), {
      authenticatedData: EMPTY,
      entropy,
    })
    assert(sent.kind === 'sent', 'the message is sealed')
    alice = sent.group
    messages.push(sent.message)
  }
  const nodes = new Map<number, Uint8Array>()
  stored(nodes, null, bob.public.tree)
  // The last one first: two keys are skipped, and must be there after the restart.
  for (const index of [2, 0, 1]) {
    const taken = await processMessage(bob, messages[index] as Uint8Array, processing)
    assert(taken.kind === 'application', 'the message opens')
    assert(equalBytes(taken.content, Uint8Array.of(index)), 'it is the message that was sent')
    bob = reread(suite, taken.group, nodes)
    const again = await processMessage(bob, messages[index] as Uint8Array, processing)
    assert(again.kind === 'refused' && again.code === 'generationUsed', 'a key is used once')
  }
  const update = await proposeUpdate(bob, {
    authenticatedData: EMPTY,
    wireFormat: 'publicMessage',
    entropy,
  })
  assert(update.kind === 'sent', 'the update is proposed')
  bob = reread(suite, update.group, nodes)
  const proposed = await processMessage(alice, update.message, processing)
  assert(proposed.kind === 'proposal', 'the update is taken')
  const made = await makeCommit(proposed.group, {
    proposals: [],
    references: [proposed.cached.reference],
    path: 'whenRequired',
    authenticatedData: EMPTY,
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: noPsks,
    timeMs: null,
    entropy,
  })
  assert(made.kind === 'committed', 'the update is committed')
  const followed = await processMessage(bob, made.message, processing)
  assert(followed.kind === 'commit', 'the restored member follows with its new key')
  stored(nodes, bob.public.tree, followed.group.public.tree)
  bob = reread(suite, followed.group, nodes)
  const exporting = { label: 'test', context: EMPTY, length: 32 }
  const [ours, theirs] = [exportSecret(made.next, exporting), exportSecret(bob, exporting)]
  assert(equalBytes(ours, theirs), 'both are in the same epoch')
})

Deno.test('a head of another kind, suite or tree is no state', async () => {
  const { alice } = await pair(prngEntropy(2))
  const { signatureSecret } = alice
  const { tree } = alice.public
  const head = encodeGroupHead(alice)
  assert(restoreGroup(suite, { head, tree, signatureSecret }) !== null, 'the head is read')
  const other = cipherSuite(noble, SUITES.performance)
  assert(restoreGroup(other, { head, tree, signatureSecret }) === null, 'of another suite')
  const cut = head.subarray(0, head.length - 1)
  assert(restoreGroup(suite, { head: cut, tree, signatureSecret }) === null, 'cut short')
  const longer = concat(head, Uint8Array.of(0))
  assert(restoreGroup(suite, { head: longer, tree, signatureSecret }) === null, 'too long')
  const publicHead = encodePublicHead(alice.public)
  assert(leafWidthOf(publicHead) === tree.leafWidth, 'a public head tells its width')
  assert(restoreGroup(suite, { head: publicHead, tree, signatureSecret }) === null, 'no secrets')
  assert(restorePublicGroup(suite, publicHead, tree) !== null, 'a public head is read')
  assert(restorePublicGroup(suite, head, tree) === null, 'a member is no public group')
})

Deno.test('the state after the exports holds nothing that they were made of (KEY-1)', async () => {
  const { alice } = await pair(prngEntropy(3))
  const exporting = { label: 'test', context: EMPTY, length: 32 }
  const gone = [
    alice.secrets.exporterSecret,
    alice.secrets.encryptionSecret,
    alice.secrets.senderDataSecret,
  ].map((secret) => secret.slice())
  const taken = takeExports(alice, [exporting])
  assert(equalBytes(taken.exports[0] as Uint8Array, exportSecret(alice, exporting)), 'as exported')
  const head = toHex(encodeGroupHead(taken.group))
  for (const secret of gone) {
    assert(toHex(encodeGroupHead(alice)).length > 0 && !head.includes(toHex(secret)), 'it is gone')
    assert(taken.consumed.some((each) => equalBytes(each, secret)), 'and the caller can wipe it')
  }
})
