/**
 * Joining by an external commit (RFC 9420 sections 12.4.3.2 and 8.3), with resynchronisation and
 * PSKs. Starts from a public group that was verified, whether from a GroupInfo and a tree or by
 * replaying a log.
 */
import { wipe } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type CommitMade, signedCommit } from '#core/mls/commit-make.ts'
import { type MadePath, makePath, wipePath } from '#core/mls/commit-path.ts'
import type { Extension } from '#core/mls/extension.ts'
import { type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { encodeMlsMessage, type FramedContent, type Sender } from '#core/mls/framing.ts'
import { enterEpoch, findPsks, type Group, nextJoinerSecret } from '#core/mls/group.ts'
import type { PskLookup } from '#core/mls/group.ts'
import { externalInit } from '#core/mls/key-schedule.ts'
import { countLeaf, credentialsAgree } from '#core/mls/leaf-census.ts'
import type { LeafTemplate } from '#core/mls/own-leaf.ts'
import type { PreSharedKeyId, Proposal } from '#core/mls/proposal.ts'
import { type AppliedProposals, applyProposals, isFreeForComer } from '#core/mls/proposal-list.ts'
import type { Psk } from '#core/mls/psk.ts'
import { type PublicGroup, publicGroupOf } from '#core/mls/public-group.ts'
import { secretTree } from '#core/mls/secret-tree.ts'
import { listContext } from '#core/mls/staged-commit.ts'

export interface ExternalJoining {
  /** Body of the GroupInfo's `external_pub`: the key, decoded. */
  readonly externalPub: Uint8Array
  readonly template: LeafTemplate
  /** Extensions that depend on the new leaf key; those of the template where there are none. */
  readonly extensionsFor?: (encryptionKey: Uint8Array) => Promise<readonly Extension[]>
  readonly signatureSecret: Uint8Array
  /** Leaf of an earlier state of this client, which goes (resync); null for a new member. */
  readonly removed: number | null
  readonly pskIds?: readonly PreSharedKeyId[]
  readonly psks: PskLookup
  readonly authenticatedData: Uint8Array
  readonly timeMs: TimeMs | null
  readonly entropy: Entropy
}

/** The commit, as a PublicMessage, and the state that it leads to. */
export async function joinByExternalCommit(
  group: PublicGroup,
  joining: ExternalJoining,
): Promise<CommitMade | MlsRefusal> {
  const { suite } = group
  if (group.reInit !== null) return refuse('suspended')
  const init = await externalInit(suite, joining.externalPub, joining.entropy)
  if (init === null) return refuse('badProposal')
  const proposals = proposalsOf(joining, init.kemOutput)
  const sender: Sender = { kind: 'newMemberCommit' }
  const sent = proposals.map((proposal) => ({ proposal, sender, byReference: false }))
  const committer = { kind: 'external' } as const
  const applied = await applyProposals(listContext(group, committer, joining), sent)
  if (applied.kind === 'refused') return applied
  const psks = findPsks(null, applied.psks, joining.psks)
  if (psks === null) return refuse('unknownPsk')
  const path = await makePath(group, { ...joining, applied, committer })
  if (!isFreeForComer(applied, path.updatePath.leafNode)) return refuse('duplicateKey')
  return await enter(group, joining, { applied, path, psks, proposals, init })
}

function proposalsOf(joining: ExternalJoining, kemOutput: Uint8Array): readonly Proposal[] {
  const { removed, pskIds } = joining
  return [
    { kind: 'externalInit', kemOutput },
    ...(removed === null ? [] : [{ kind: 'remove', removed } as const]),
    ...(pskIds ?? []).map((psk) => ({ kind: 'psk', psk } as const)),
  ]
}

interface EnterParts {
  readonly applied: AppliedProposals
  readonly path: MadePath
  readonly psks: readonly Psk[]
  readonly proposals: readonly Proposal[]
  readonly init: { readonly initSecret: Uint8Array }
}

async function enter(
  group: PublicGroup,
  joining: ExternalJoining,
  parts: EnterParts,
): Promise<CommitMade | MlsRefusal> {
  const { suite } = group
  const { applied, path, psks, init } = parts
  const census = countLeaf(applied.census, path.updatePath.leafNode, 1)
  if (!credentialsAgree(census)) return refuse('unsupportedCapability')
  const content = framed(group, joining, parts)
  const signed = await signedCommit(
    { public: group, signatureSecret: joining.signatureSecret },
    { wireFormat: 'publicMessage', content, provisional: path.context },
  )
  const joiner = nextJoinerSecret(suite, {
    initSecret: init.initSecret,
    commitSecret: path.secrets.commitSecret,
    context: signed.context,
  })
  const entered = enterEpoch(suite, { joinerSecret: joiner, psks, context: signed.context })
  wipe(joiner, init.initSecret, entered.welcomeSecret)
  wipePath(path.secrets)
  const { confirmationTag, secrets } = entered
  const auth = { signature: signed.signature, confirmationTag }
  const next: Group = {
    public: publicGroupOf(suite, {
      context: signed.context,
      tree: path.tree,
      census,
      confirmationTag,
    }),
    ownLeaf: path.leaf,
    signatureSecret: joining.signatureSecret,
    privateKeys: new Map(path.privateKeys),
    secrets,
    secretTree: secretTree(secrets.encryptionSecret, path.tree.leafWidth),
    resumptions: [],
    pendingUpdates: new Map(),
  }
  const message = { content, auth, membershipTag: null }
  return {
    kind: 'committed',
    message: encodeMlsMessage({ kind: 'publicMessage', publicMessage: message }),
    welcome: null,
    next,
    change: {
      committer: path.leaf,
      external: true,
      added: [],
      removed: applied.removed,
      updated: [{ leaf: path.leaf, leafNode: path.updatePath.leafNode }],
      extensionsBefore: group.context.extensions,
      extensionsAfter: applied.extensions,
      proposals: parts.proposals.map((proposal) => ({
        proposal,
        sender: content.sender,
        byReference: false,
      })),
      authenticatedData: joining.authenticatedData,
    },
    consumed: [],
  }
}

function framed(
  group: PublicGroup,
  joining: ExternalJoining,
  { path, proposals }: EnterParts,
): FramedContent {
  const listed = proposals.map((proposal) => ({ kind: 'proposal', proposal } as const))
  return {
    groupId: group.context.groupId,
    epoch: group.context.epoch,
    sender: { kind: 'newMemberCommit' },
    authenticatedData: joining.authenticatedData,
    body: { kind: 'commit', commit: { proposals: listed, path: path.updatePath } },
  }
}
