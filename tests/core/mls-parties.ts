/**
 * Parties of groups for tests of the engine: Alice, Bob and whoever else is named, all on one seed,
 * with an onlooker who holds no secret. And what a member with valid keys can forge: messages,
 * leaves, KeyPackages and Welcomes that are signed and tagged as they must be and break one rule.
 * Owns no rule: what is refused, and with which code, is for the tests to say.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { EMPTY, toHex, utf8Encode } from '#core/base/bytes.ts'
import { type TimeMs, timeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, type CommitMaking, makeCommit } from '#core/mls/commit-make.ts'
import type { Commit } from '#core/mls/commit.ts'
import type { Extension } from '#core/mls/extension.ts'
import { type Content, decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import type { ContentWireFormat, FramedContent, PublicMessage, Sender } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { createGroup, exportSecret, type Group, makeGroupInfo } from '#core/mls/group.ts'
import type { PskLookup } from '#core/mls/group.ts'
import { joinByWelcome, type Joined, type WelcomeJoining } from '#core/mls/join-welcome.ts'
import { type KeyPackage, type KeyPackageContent, signKeyPackage } from '#core/mls/key-package.ts'
import { type Capabilities, type LeafNode, type LeafNodeContent } from '#core/mls/leaf-node.ts'
import { signLeafNode } from '#core/mls/leaf-node.ts'
import { type Processed, processMessage } from '#core/mls/messages.ts'
import { propose, proposeUpdate, protectApplication } from '#core/mls/messages.ts'
import { type KeyPackageMade, type LeafMaking, makeKeyPackage } from '#core/mls/own-leaf.ts'
import { protect } from '#core/mls/private-message.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { membershipTag, signContent } from '#core/mls/public-message.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { noble } from '../vectors/implementations.ts'
import { createPrng, type Prng } from './prng.ts'

export const suite = cipherSuite(noble, SUITES.interoperation)
export const NOW: TimeMs = timeMs(1_800_000_000_000)
const NOW_SECONDS = 1_800_000_000n
export const noPsks: PskLookup = () => null

export interface Story {
  readonly prng: Prng
  readonly entropy: Entropy
}

export function createStory(seed: number): Story {
  const prng = createPrng(seed)
  return { prng, entropy: { randomBytes: (length) => prng.bytes(length) } }
}

/** What is unusual about a party. */
export interface Traits {
  readonly capabilities?: Partial<Capabilities>
  readonly extensions?: readonly Extension[]
  readonly lifetime?: LeafMaking['lifetime']
  readonly credential?: LeafNode['credential']
}

/** A client that has no group yet. */
export function partyOf(story: Story, name: string, traits: Traits = {}): LeafMaking {
  const seed = story.entropy.randomBytes(suite.signatureSeedLength)
  const { secretKey, publicKey } = suite.signatureKeyPair(seed)
  return {
    signatureSecret: secretKey,
    lifetime: traits.lifetime ?? { notBefore: NOW_SECONDS - 60n, notAfter: NOW_SECONDS + 60n },
    entropy: story.entropy,
    template: {
      credential: traits.credential ?? { kind: 'basic', identity: utf8Encode(name) },
      signatureKey: publicKey,
      capabilities: {
        versions: [1],
        cipherSuites: [suite.id],
        extensions: [],
        proposals: [],
        credentials: [1],
        ...traits.capabilities,
      },
      extensions: traits.extensions ?? [],
    },
  }
}

/** A client with a KeyPackage that others can add. */
export interface Candidate extends KeyPackageMade {
  readonly party: LeafMaking
}

export async function candidate(
  story: Story,
  name: string,
  traits: Traits & { readonly packageExtensions?: readonly Extension[] } = {},
): Promise<Candidate> {
  const party = partyOf(story, name, traits)
  const extensions = traits.packageExtensions ?? []
  return { party, ...await makeKeyPackage(suite, { ...party, extensions }) }
}

export function addOf({ keyPackage }: { readonly keyPackage: KeyPackage }): Proposal {
  return { kind: 'add', keyPackage }
}

/** The code of a refusal, else the kind of an outcome. */
export function codeOf(outcome: { readonly kind: string; readonly code?: string }): string {
  return outcome.code ?? outcome.kind
}

type Making = Partial<CommitMaking>

export function tryCommit(
  story: Story,
  group: Group,
  making: Making,
): ReturnType<typeof makeCommit> {
  return makeCommit(group, {
    proposals: [],
    path: 'whenRequired',
    authenticatedData: EMPTY,
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: noPsks,
    timeMs: NOW,
    entropy: story.entropy,
    ...making,
  })
}

export async function commit(story: Story, group: Group, making: Making): Promise<CommitMade> {
  const made = await tryCommit(story, group, making)
  ok(made.kind === 'committed', codeOf(made))
  return made
}

export function take(group: Group, message: Uint8Array, psks = noPsks): Promise<Processed> {
  return processMessage(group, message, { timeMs: NOW, psks })
}

export async function follow(group: Group, message: Uint8Array, psks = noPsks): Promise<Group> {
  const taken = await take(group, message, psks)
  ok(taken.kind === 'commit' || taken.kind === 'proposal', codeOf(taken))
  return taken.group
}

export async function look(group: PublicGroup, message: Uint8Array): Promise<PublicGroup> {
  const taken = await publicProcess(group, message, { timeMs: NOW })
  ok(taken.kind !== 'refused', codeOf(taken))
  return taken.group
}

type Joining = Partial<WelcomeJoining>

export function tryJoin(
  { party, keyPackage, secrets }: Candidate,
  welcome: Uint8Array,
  joining: Joining = {},
  on = suite,
): ReturnType<typeof joinByWelcome> {
  // What joining wipes belongs to the candidate, who may try again.
  const own = {
    initSecret: secrets.initSecret.slice(),
    encryptionSecret: secrets.encryptionSecret.slice(),
  }
  const { signatureSecret } = party
  const bare = { welcome, keyPackage, secrets: own, signatureSecret, ratchetTree: null }
  return joinByWelcome(on, { ...bare, psks: noPsks, ...joining })
}

export async function join(
  comer: Candidate,
  { welcome }: CommitMade,
  joining: Joining = {},
): Promise<Group> {
  ok(welcome !== null, 'a commit with adds has a Welcome')
  const joined: Joined | { kind: 'refused' } = await tryJoin(comer, welcome, joining)
  ok(joined.kind === 'joined', codeOf(joined))
  return joined.group
}

export async function found(
  story: Story,
  party: LeafMaking,
  extensions: readonly Extension[] = [],
): Promise<Group> {
  const groupId = story.entropy.randomBytes(16)
  return await createGroup(suite, { ...party, groupId, extensions })
}

/** Who sees a group from outside. */
export async function onlookerOf(group: Group): Promise<PublicGroup> {
  const groupInfo = await makeGroupInfo(group, { ratchetTree: true, externalPub: true })
  const opened = await openPublicGroup(suite, { groupInfo, ratchetTree: null })
  ok(opened.kind === 'opened', codeOf(opened))
  return opened.group
}

export interface Circle {
  /** By leaf. */
  readonly members: readonly Group[]
  readonly onlooker: PublicGroup
}

/** Members of one group, the first its founder; each as it is in the newest epoch. */
export async function circle(
  story: Story,
  names: readonly string[],
  traits: Traits & { readonly groupExtensions?: readonly Extension[] } = {},
): Promise<Circle> {
  const [founder = 'alice', ...others] = names
  const alone = await found(story, partyOf(story, founder, traits), traits.groupExtensions)
  const comers = await Promise.all(others.map((name) => candidate(story, name, traits)))
  const made = await commit(story, alone, { proposals: comers.map(addOf), path: 'always' })
  const joined = await Promise.all(comers.map((comer) => join(comer, made)))
  return { members: [made.next, ...joined], onlooker: await onlookerOf(made.next) }
}

export async function threeMembers(story: Story, traits: Parameters<typeof circle>[2] = {}) {
  const { members, onlooker } = await circle(story, ['alice', 'bob', 'carol'], traits)
  const [alice, bob, carol] = members as [Group, Group, Group]
  return { alice, bob, carol, onlooker }
}

/** Everybody, the onlooker included, is in the same epoch; members have the same secrets. */
export function assertAgreement(groups: readonly Group[], onlooker?: PublicGroup): void {
  const [first, ...others] = groups as [Group, ...Group[]]
  const contextOf = (group: PublicGroup) => toHex(encodeGroupContext(group.context))
  const exporting = { label: 'agreement', context: EMPTY, length: 32 }
  for (const other of others) {
    strictEqual(contextOf(other.public), contextOf(first.public))
    strictEqual(toHex(exportSecret(other, exporting)), toHex(exportSecret(first, exporting)))
    strictEqual(toHex(other.secrets.initSecret), toHex(first.secrets.initSecret))
  }
  if (onlooker !== undefined) strictEqual(contextOf(onlooker), contextOf(first.public))
}

/** Refused by a member and by the onlooker, each with its code; neither state changes. */
export async function assertRefused(
  message: Uint8Array,
  by: { readonly member: Group; readonly onlooker?: PublicGroup; readonly psks?: PskLookup },
  codes: { readonly member: string; readonly onlooker?: string },
): Promise<void> {
  const { member, onlooker, psks = noPsks } = by
  strictEqual(codeOf(await take(member, message, psks)), codes.member)
  if (onlooker === undefined) return
  const taken = await publicProcess(onlooker, message, { timeMs: NOW })
  strictEqual(codeOf(taken), codes.onlooker ?? codes.member)
}

// ---- What a member with valid keys can forge ----------------------------------------------

export interface Draft {
  readonly body: Content
  readonly sender?: Sender
  readonly groupId?: Uint8Array
  readonly epoch?: bigint
  readonly authenticatedData?: Uint8Array
  readonly confirmationTag?: Uint8Array
  readonly signatureSecret?: Uint8Array
  readonly membershipKey?: Uint8Array
  readonly wireFormat?: ContentWireFormat
}

/** A message that is signed and tagged, or encrypted, as a member can; nothing else is judged. */
export async function forged(group: Group, draft: Draft): Promise<Uint8Array> {
  const { context } = group.public
  const sender: Sender = draft.sender ?? { kind: 'member', leaf: group.ownLeaf }
  const content: FramedContent = {
    groupId: draft.groupId ?? context.groupId,
    epoch: draft.epoch ?? context.epoch,
    sender,
    authenticatedData: draft.authenticatedData ?? EMPTY,
    body: draft.body,
  }
  const wireFormat = draft.wireFormat ?? 'publicMessage'
  const groupContext = encodeGroupContext(context)
  const signatureSecret = draft.signatureSecret ?? group.signatureSecret
  const signing = { wireFormat, content, groupContext, signatureSecret }
  const signature = await signContent(suite, signing)
  const tag = draft.confirmationTag ?? new Uint8Array(suite.hashLength)
  const auth = { signature, confirmationTag: draft.body.kind === 'commit' ? tag : null }
  if (wireFormat === 'privateMessage') return sealedPrivately(group, content, auth)
  const membershipKey = draft.membershipKey ?? group.secrets.membershipKey
  const membership = sender.kind === 'member'
    ? membershipTag(suite, membershipKey, { content, auth, groupContext })
    : null
  const publicMessage = { content, auth, membershipTag: membership }
  return encodeMlsMessage({ kind: 'publicMessage', publicMessage })
}

function sealedPrivately(
  group: Group,
  content: FramedContent,
  auth: Parameters<typeof protect>[2]['auth'],
): Uint8Array {
  const { secretTree, secrets, ownLeaf } = group
  ok(secretTree !== null)
  const { message } = protect(suite, { senderDataSecret: secrets.senderDataSecret, secretTree }, {
    content,
    auth,
    ownLeaf,
    paddingLength: 0,
    entropy: createStory(1).entropy,
  })
  return encodeMlsMessage({ kind: 'privateMessage', privateMessage: message })
}

/** A commit of proposals by value, without path. */
export function forgedList(group: Group, proposals: readonly Proposal[]): Promise<Uint8Array> {
  const listed = proposals.map((proposal) => ({ kind: 'proposal', proposal } as const))
  return forged(group, { body: { kind: 'commit', commit: { proposals: listed, path: null } } })
}

export function publicMessageOf(message: Uint8Array): PublicMessage {
  const decoded = decodeMlsMessage('publicMessage', message)
  ok(decoded !== null)
  return decoded.publicMessage
}

export function commitOf(message: Uint8Array): Commit {
  const { body } = publicMessageOf(message).content
  ok(body.kind === 'commit')
  return body.commit
}

/** A commit that a member made, changed by its maker, who signs and tags it again. */
export async function rewritten(
  group: Group,
  message: Uint8Array,
  change: (commit: Commit) => Commit | Promise<Commit>,
): Promise<Uint8Array> {
  const { content, auth } = publicMessageOf(message)
  ok(content.body.kind === 'commit' && auth.confirmationTag !== null)
  const { sender, authenticatedData } = content
  const body = { kind: 'commit', commit: await change(content.body.commit) } as const
  const { confirmationTag } = auth
  return await forged(group, { body, sender, authenticatedData, confirmationTag })
}

/** The leaf with other content, signed by its owner. `place` is null in a KeyPackage. */
export function resigned(
  leaf: LeafNode,
  change: Partial<LeafNodeContent>,
  signing: Parameters<typeof signLeafNode>[2],
): Promise<LeafNode> {
  return signLeafNode(suite, { ...leaf, ...change }, signing)
}

/** A candidate whose KeyPackage has other content, all of it signed by its owner. */
export async function repackaged(
  comer: Candidate,
  change: {
    readonly leaf?: Partial<LeafNodeContent>
    readonly whole?: Partial<KeyPackageContent>
  },
): Promise<Candidate> {
  const { signatureSecret } = comer.party
  const leafNode = await resigned(comer.keyPackage.leafNode, change.leaf ?? {}, {
    signatureSecret,
    place: null,
  })
  const content = { ...comer.keyPackage, leafNode, ...change.whole }
  return { ...comer, keyPackage: await signKeyPackage(suite, content, signatureSecret) }
}

/** The commit's path with another leaf, which its maker signs for its place. */
export function withLeaf(
  group: Group,
  change: Partial<LeafNodeContent>,
): (commit: Commit) => Promise<Commit> {
  return async (commit) => {
    ok(commit.path !== null)
    const place = { groupId: group.public.context.groupId, leaf: group.ownLeaf }
    const { signatureSecret } = group
    const leafNode = await resigned(commit.path.leafNode, change, { signatureSecret, place })
    return { ...commit, path: { ...commit.path, leafNode } }
  }
}

export function leafOf(group: Group | PublicGroup, leaf: number): LeafNode {
  const found = leafAt('public' in group ? group.public.tree : group.tree, leaf)
  ok(found !== null)
  return found
}

export function flipped(bytes: Uint8Array, at = 0): Uint8Array {
  return bytes.with(at, (bytes[at] as number) ^ 1)
}

export interface Proposed {
  readonly group: Group
  readonly message: Uint8Array
  readonly reference: Uint8Array
}

/** A standalone proposal of a member who judges it. */
export async function proposed(
  story: Story,
  group: Group,
  proposal: Proposal | 'update',
): Promise<Proposed> {
  const wireFormat = 'publicMessage'
  const sending = { authenticatedData: EMPTY, wireFormat, entropy: story.entropy } as const
  const made = proposal === 'update'
    ? await proposeUpdate(group, sending)
    : await propose(group, proposal, sending)
  ok(made.kind === 'sent', codeOf(made))
  return made
}

/** A commit of proposals by reference, without path. */
export function forgedReferences(
  group: Group,
  references: readonly Uint8Array[],
): Promise<Uint8Array> {
  const listed = references.map((reference) => ({ kind: 'reference', reference } as const))
  return forged(group, { body: { kind: 'commit', commit: { proposals: listed, path: null } } })
}

export function protectedApplication(story: Story, group: Group, content = EMPTY) {
  const { entropy } = story
  return protectApplication(group, content, { authenticatedData: EMPTY, entropy })
}
