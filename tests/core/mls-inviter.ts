/**
 * An inviter who has every key of a group: Welcomes in which one thing is a lie and all that
 * follows from it is done right, secrets, hashes, signature and tags included. Owns no rule, as
 * `mls-parties.ts`.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { EMPTY, toHex } from '#core/base/bytes.ts'
import { EXTENSION_TYPE, withExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { enterEpoch, type Group } from '#core/mls/group.ts'
import { groupInfo, type GroupInfoContent, signGroupInfo } from '#core/mls/group-info.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import { welcomeKeyNonce, welcomeSecretOf } from '#core/mls/key-schedule.ts'
import { decryptWithLabel, encryptWithLabel } from '#core/mls/labelled.ts'
import { type Psk, pskSecret } from '#core/mls/psk.ts'
import { changedNodes, parentAt, type RatchetTree, treeHash } from '#core/mls/ratchet-tree.ts'
import { treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { type ParentNode, treeNode } from '#core/mls/tree-node.ts'
import { type GroupSecrets, groupSecrets } from '#core/mls/welcome.ts'
import { type Codec, decode, encode } from '#core/wire/codec.ts'
import { addOf, assertAgreement, type Candidate, candidate, circle } from './mls-parties.ts'
import { codeOf, commit, createStory, follow, type Story, suite, tryJoin } from './mls-parties.ts'

const NO_AAD = EMPTY

export function read<T>(codec: Codec<T>, bytes: Uint8Array | null): T {
  const decoded = bytes === null ? null : decode(codec, bytes)
  ok(decoded?.kind === 'decoded')
  return decoded.value
}

export interface Lie {
  readonly secrets?: (secrets: GroupSecrets) => GroupSecrets
  /** All PSKs that count, where the lie has some. */
  readonly psks?: readonly Psk[]
  readonly described?: (content: GroupInfoContent) => GroupInfoContent
  readonly tag?: Uint8Array
  readonly signatureSecret?: Uint8Array
}

/** The Welcome with something changed, and with all that follows from it done right. */
export async function rewelcomed(
  inviter: Group,
  comer: Candidate,
  { lie, welcome: message }: { readonly lie: Lie; readonly welcome: Uint8Array },
): Promise<Uint8Array> {
  const welcome = decodeMlsMessage('welcome', message)?.welcome
  const reference = toHex(keyPackageRef(suite, comer.keyPackage))
  const own = welcome?.secrets.find(({ newMember }) => toHex(newMember) === reference)
  ok(welcome !== undefined && own !== undefined)
  const opened = await decryptWithLabel(suite, comer.secrets.initSecret, {
    ...own.encryptedGroupSecrets,
    label: 'Welcome',
    context: welcome.encryptedGroupInfo,
  })
  const before = read(groupSecrets, opened)
  const keyed = (joinerSecret: Uint8Array, psks: readonly Psk[]) =>
    welcomeKeyNonce(suite, welcomeSecretOf(suite, joinerSecret, pskSecret(suite, psks)))
  const described = read(
    groupInfo,
    suite.open({ ...keyed(before.joinerSecret, []), aad: NO_AAD }, welcome.encryptedGroupInfo),
  )
  const secrets = lie.secrets?.(before) ?? before
  const content = lie.described?.(described) ?? described
  const psks = lie.psks ?? []
  const { joinerSecret } = secrets
  const entered = enterEpoch(suite, { joinerSecret, psks, context: content.groupContext })
  const confirmationTag = lie.tag ?? entered.confirmationTag
  const signatureSecret = lie.signatureSecret ?? inviter.signatureSecret
  const signed = await signGroupInfo(suite, { ...content, confirmationTag }, signatureSecret)
  const context = suite.seal(
    { ...keyed(joinerSecret, psks), aad: NO_AAD },
    encode(groupInfo, signed),
  )
  const publicKey = comer.keyPackage.initKey
  const plaintext = encode(groupSecrets, secrets)
  const to = { publicKey, label: 'Welcome', context, plaintext } as const
  const encryptedGroupSecrets = await encryptWithLabel(suite, to, createStory(1).entropy)
  ok(encryptedGroupSecrets !== null)
  const list = [{ newMember: own.newMember, encryptedGroupSecrets }]
  return encodeMlsMessage({
    kind: 'welcome',
    welcome: { cipherSuite: suite.id, secrets: list, encryptedGroupInfo: context },
  })
}

interface Invited {
  readonly story: Story
  readonly inviter: Group
  readonly comer: Candidate
  readonly welcome: Uint8Array
}

/** Alice lets Dave in at the leaf that somebody has left, below two parents that Bob has set. */
export async function invited(
  seed: number,
  path: 'always' | 'whenRequired' = 'always',
): Promise<Invited> {
  const story = createStory(seed)
  const names = ['alice', 'bob', 'carol', 'somebody', 'erin']
  const { members: [alice, bob] } = await circle(story, names)
  ok(alice !== undefined && bob !== undefined)
  const removal = await commit(story, alice, { proposals: [{ kind: 'remove', removed: 3 }] })
  const byBob = await commit(story, await follow(bob, removal.message), {})
  const inviter = await follow(removal.next, byBob.message)
  const comer = await candidate(story, 'dave')
  const made = await commit(story, inviter, { proposals: [addOf(comer)], path })
  ok(made.welcome !== null)
  return { story, inviter: made.next, comer, welcome: made.welcome }
}

export async function assertLies(
  { inviter, comer, welcome }: Invited,
  lies: readonly (readonly [string, string, Lie])[],
  joining: Parameters<typeof tryJoin>[2] = {},
): Promise<void> {
  for (const [what, code, lie] of lies) {
    const message = await rewelcomed(inviter, comer, { lie, welcome })
    strictEqual(codeOf(await tryJoin(comer, message, joining)), code, what)
  }
  // The tool itself makes no Welcome wrong.
  const same = await rewelcomed(inviter, comer, { lie: {}, welcome })
  const joined = await tryJoin(comer, same)
  ok(joined.kind === 'joined', codeOf(joined))
  assertAgreement([inviter, joined.group])
}

export const onContext = (change: Partial<GroupInfoContent['groupContext']>): Lie => ({
  described: (content) => ({ ...content, groupContext: { ...content.groupContext, ...change } }),
})

type Edits = readonly (readonly [number, Uint8Array | null])[]

/** The tree with other nodes, by node index. */
export function edited(tree: RatchetTree, edits: Edits): RatchetTree {
  const nodes = new Map(changedNodes(null, tree).nodes.map(({ node, bytes }) => [node, bytes]))
  for (const [node, bytes] of edits) nodes.set(node, bytes)
  const list = [...nodes].flatMap(([node, bytes]) => bytes === null ? [] : [{ node, bytes }])
  const made = treeOfNodes(suite, tree.leafWidth, list)
  ok(made !== null)
  return made
}

export const withTree = (tree: RatchetTree): Lie => ({
  described: (content) => ({
    ...content,
    groupContext: { ...content.groupContext, treeHash: treeHash(suite, tree) },
    extensions: withExtension(
      content.extensions,
      EXTENSION_TYPE.ratchetTree,
      encodeRatchetTree(tree),
    ),
  }),
})

export const parent = (
  tree: RatchetTree,
  node: number,
  change: Partial<ParentNode>,
): Edits[number] => {
  const before = parentAt(tree, node)
  ok(before !== null, `parent ${node}`)
  const parentNode = { ...before, ...change }
  return [node, encode(treeNode, { kind: 'parent', parentNode, bytes: null })]
}
