/**
 * The engine of the product as a peer. Owns the choice of what a room does not fix: capabilities,
 * lifetime, and whether a commit that needs no path has one. Secrets that the engine gives back as
 * consumed are wiped at once, so that a state which still needed one of them fails.
 */
import { ok } from 'node:assert/strict'
import { wipe } from '#core/base/bytes.ts'
import { type CommitMade as Made, makeCommit } from '#core/mls/commit-make.ts'
import { type Extension, EXTENSION_TYPE, externalPub } from '#core/mls/extension.ts'
import { externalSenders, makeExtension, readExtension } from '#core/mls/extension.ts'
import type { MlsRefusal } from '#core/mls/fault.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { createGroup, exportSecret, type Group, makeGroupInfo } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { type Processed, processMessage } from '#core/mls/messages.ts'
import { proposeUpdate, protectApplication } from '#core/mls/messages.ts'
import { type KeyPackageMade, type LeafTemplate, makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { openPublicGroup } from '#core/mls/public-group.ts'
import { leafAt, members, signatureKeyOwner } from '#core/mls/ratchet-tree.ts'
import { createPrng, type Prng } from '../core/prng.ts'
import { nowMs, SUITE } from './onlooker.ts'
import { EXPORTER_LABEL, EXPORTER_LENGTH } from './peer.ts'
import type { Change, CommitMade, MlsPeer, OutsideSender } from './peer.ts'

const NOTHING = new Uint8Array()
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** What only tests of the product's own choices look at. */
export interface KalandraPeer extends MlsPeer {
  readonly engine: 'kalandra'
  group(): Group
  leafOf(name: string): number
  /** Takes any message, and enters the state behind it. */
  take(message: Uint8Array): Promise<Exclude<Processed, MlsRefusal>>
  /** A commit of the proposals given, whatever they are. */
  commitOf(proposals: readonly Proposal[], options?: CommitOptions): Promise<CommitMade>
}

export interface CommitOptions {
  readonly references?: readonly Uint8Array[]
  readonly wireFormat?: 'publicMessage' | 'privateMessage'
}

/** What a client says of itself beside its name. */
export interface Traits {
  /** Types in its capabilities. */
  readonly extensionTypes?: readonly number[]
  /** Of its leaf. */
  readonly extensions?: readonly Extension[]
}

interface Kept {
  readonly name: string
  readonly prng: Prng
  readonly entropy: { randomBytes(length: number): Uint8Array }
  readonly template: LeafTemplate
  readonly signatureSecret: Uint8Array
  keyPackage: KeyPackageMade | null
  group: Group | null
}

/** A client whose randomness follows from its name. */
export function createKalandraPeer(name: string, traits: Traits = {}): Promise<KalandraPeer> {
  const prng = createPrng([...name].reduce((sum, each) => sum * 31 + each.charCodeAt(0) | 0, 7))
  const pair = SUITE.signatureKeyPair(prng.bytes(SUITE.signatureSeedLength))
  const kept: Kept = {
    name,
    prng,
    entropy: { randomBytes: (length) => prng.bytes(length) },
    template: {
      credential: { kind: 'basic', identity: encoder.encode(name) },
      signatureKey: pair.publicKey,
      // core-crypto requires both credential types of its groups.
      capabilities: {
        versions: [1],
        cipherSuites: [SUITE.id],
        extensions: traits.extensionTypes ?? [],
        proposals: [],
        credentials: [1, 2],
      },
      extensions: traits.extensions ?? [],
    },
    signatureSecret: pair.secretKey,
    keyPackage: null,
    group: null,
  }
  return Promise.resolve({
    engine: 'kalandra',
    name,
    mixesChanges: true,
    ...membership(kept),
    ...commits(kept),
    ...readings(kept),
  })
}

/** What is no refusal. */
function accepted<T extends { readonly kind: string }>(value: T | MlsRefusal): T {
  ok(value.kind !== 'refused', `kalandra refuses: ${'code' in value ? value.code : ''}`)
  return value as T
}

function groupOf({ group }: Kept): Group {
  ok(group, 'a member of a group')
  return group
}

/** From an hour ago for a week. */
function lifetime() {
  const nowS = BigInt(Math.floor(nowMs() / 1_000))
  return { notBefore: nowS - 3_600n, notAfter: nowS + 604_800n }
}

function leafMaking({ template, signatureSecret, entropy }: Kept) {
  return { template, signatureSecret, entropy, lifetime: lifetime() }
}

function membership(kept: Kept) {
  return {
    async keyPackage(): Promise<Uint8Array> {
      kept.keyPackage = await makeKeyPackage(SUITE, leafMaking(kept))
      const { keyPackage } = kept.keyPackage
      return encodeMlsMessage({ kind: 'keyPackage', keyPackage })
    },
    async create(groupId: Uint8Array, sender?: OutsideSender): Promise<void> {
      const extensions = sender === undefined ? [] : [outsideSenders(sender)]
      kept.group = await createGroup(SUITE, { ...leafMaking(kept), groupId, extensions })
    },
    async join(welcome: Uint8Array): Promise<void> {
      const { keyPackage: made, signatureSecret } = kept
      ok(made, 'a KeyPackage was given out')
      const { keyPackage, secrets } = made
      const joining = { welcome, keyPackage, secrets, signatureSecret, ratchetTree: null }
      const joined = accepted(await joinByWelcome(SUITE, { ...joining, psks: () => null }))
      wipe(secrets.initSecret)
      kept.group = joined.group
    },
    joinFromOutside: (groupInfo: Uint8Array) => joinOutside(kept, groupInfo, false),
    resync: (groupInfo: Uint8Array) => joinOutside(kept, groupInfo, true),
  }
}

function outsideSenders({ signatureKey, identity }: OutsideSender) {
  const credential = { kind: 'basic', identity } as const
  return makeExtension(EXTENSION_TYPE.externalSenders, externalSenders, [
    { signatureKey, credential },
  ])
}

async function joinOutside(kept: Kept, bytes: Uint8Array, resync: boolean): Promise<Uint8Array> {
  const message = decodeMlsMessage('groupInfo', bytes)
  ok(message, 'a GroupInfo')
  const { groupInfo } = message
  const { group } = accepted(await openPublicGroup(SUITE, { groupInfo, ratchetTree: null }))
  const { signatureKey } = kept.template
  const key = readExtension(groupInfo.extensions, EXTENSION_TYPE.externalPub, externalPub)
  ok(key !== null && key !== 'malformed', 'external_pub')
  const made = accepted(
    await joinByExternalCommit(group, {
      externalPub: key,
      template: kept.template,
      signatureSecret: kept.signatureSecret,
      removed: resync ? signatureKeyOwner(group.tree, signatureKey) : null,
      psks: () => null,
      authenticatedData: NOTHING,
      timeMs: nowMs(),
      entropy: kept.entropy,
    }),
  )
  return adopt(kept, made).commit
}

/** Enters the epoch that an own commit has made. */
function adopt(kept: Kept, { next, consumed, message, welcome }: Made): CommitMade {
  kept.group = next
  wipe(...consumed)
  return { commit: message, welcome }
}

function commits(kept: Kept) {
  const commit = async (
    proposals: readonly Proposal[],
    { references = [], wireFormat = 'publicMessage' }: CommitOptions = {},
  ): Promise<CommitMade> =>
    adopt(
      kept,
      accepted(
        await makeCommit(groupOf(kept), {
          proposals,
          references,
          path: kept.prng.pick(['always', 'whenRequired'] as const),
          authenticatedData: NOTHING,
          wireFormat,
          welcome: { ratchetTree: true, externalPub: false },
          psks: () => null,
          timeMs: nowMs(),
          entropy: kept.entropy,
        }),
      ),
    )
  return {
    group: () => groupOf(kept),
    leafOf: (name: string) => leafOf(groupOf(kept), name),
    take: (message: Uint8Array) => take(kept, message),
    commitOf: commit,
    commit({ adds, removes }: Change): Promise<CommitMade> {
      const leaving = removes.map((name): Proposal => ({
        kind: 'remove',
        removed: leafOf(groupOf(kept), name),
      }))
      return commit([...leaving, ...adds.map(addOf)])
    },
    commitProposed(): Promise<CommitMade> {
      const cached = [...groupOf(kept).public.proposals.values()]
      return commit([], { references: cached.map(({ reference }) => reference) })
    },
    async follow(message: Uint8Array): Promise<void> {
      ok((await take(kept, message)).kind === 'commit', 'a commit')
    },
    async proposeUpdate(): Promise<Uint8Array> {
      const { entropy } = kept
      const sending = { authenticatedData: NOTHING, wireFormat: 'publicMessage', entropy } as const
      const sent = accepted(await proposeUpdate(groupOf(kept), sending))
      kept.group = sent.group
      wipe(...sent.consumed)
      return sent.message
    },
    async takeProposal(message: Uint8Array): Promise<void> {
      ok((await take(kept, message)).kind === 'proposal', 'a proposal')
    },
  }
}

const nameOf = (leafNode: ReturnType<typeof leafAt>): string => {
  ok(leafNode?.credential.kind === 'basic')
  return decoder.decode(leafNode.credential.identity)
}

function leafOf({ public: { tree } }: Group, name: string): number {
  for (const { leaf, leafNode } of members(tree)) if (nameOf(leafNode) === name) return leaf
  throw new TypeError(`${name} is no member`)
}

/** The Add of who has given out a KeyPackage. */
export function addOf(bytes: Uint8Array): Proposal {
  const message = decodeMlsMessage('keyPackage', bytes)
  ok(message, 'a KeyPackage')
  return { kind: 'add', keyPackage: message.keyPackage }
}

/** Takes what came, and enters the state behind it. */
async function take(kept: Kept, message: Uint8Array): Promise<Exclude<Processed, MlsRefusal>> {
  const processing = { timeMs: nowMs(), psks: () => null }
  const taken = accepted(await processMessage(groupOf(kept), message, processing))
  if ('group' in taken) kept.group = taken.group
  wipe(...taken.consumed)
  return taken
}

function readings(kept: Kept) {
  return {
    async groupInfo(): Promise<Uint8Array> {
      const contents = { ratchetTree: true, externalPub: true }
      const groupInfo = await makeGroupInfo(groupOf(kept), contents)
      return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
    },
    async protect(plaintext: Uint8Array): Promise<Uint8Array> {
      const { entropy, prng } = kept
      const sending = { authenticatedData: NOTHING, paddingLength: prng.integer(40), entropy }
      const sent = accepted(await protectApplication(groupOf(kept), plaintext, sending))
      kept.group = sent.group
      wipe(...sent.consumed)
      return sent.message
    },
    async unprotect(message: Uint8Array): Promise<Uint8Array> {
      const taken = await take(kept, message)
      ok(taken.kind === 'application', 'an application message')
      return taken.content
    },
    exporter: () =>
      Promise.resolve(exportSecret(groupOf(kept), {
        label: EXPORTER_LABEL,
        context: NOTHING,
        length: EXPORTER_LENGTH,
      })),
    epochAuthenticator: () => Promise.resolve(groupOf(kept).secrets.epochAuthenticator),
    epoch: () => Promise.resolve(groupOf(kept).public.context.epoch),
    members(): Promise<readonly string[]> {
      const names = [...members(groupOf(kept).public.tree)].map(({ leafNode }) => nameOf(leafNode))
      return Promise.resolve(names.sort())
    },
  }
}
