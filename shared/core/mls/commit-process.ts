/**
 * Following somebody else's commit (RFC 9420 section 12.4.2): what everybody can judge, then the
 * path's secret, the key schedule and the confirmation tag, which only a member can.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, toHex, wipe } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { type MlsRefusal, refuse } from '#core/mls/fault.ts'
import type { AuthenticatedContent } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { allSecrets, enterEpoch, findPsks, type Group, keptKeys } from '#core/mls/group.ts'
import { nextGroup, nextJoinerSecret, type PskLookup } from '#core/mls/group.ts'
import { externalInitReceived } from '#core/mls/key-schedule.ts'
import { publicGroupOf } from '#core/mls/public-group.ts'
import { leafAt, parentAt } from '#core/mls/ratchet-tree.ts'
import { type CommitChange, stageCommit, type StagedCommit } from '#core/mls/staged-commit.ts'
import { leafToNode } from '#core/mls/tree-math.ts'
import { decryptPath, type PathSecrets } from '#core/mls/update-path.ts'

export interface CommitProcessing {
  /** Hub time of the commit; null leaves lifetimes of KeyPackages unjudged. */
  readonly timeMs: TimeMs | null
  readonly psks: PskLookup
}

export interface CommitFollowed {
  readonly kind: 'commit'
  readonly group: Group
  readonly change: CommitChange
  /** Wiped once the state before has no use left. */
  readonly consumed: readonly Uint8Array[]
}

/** The commit removes this member: there is no next state. */
export interface RemovedByCommit {
  readonly kind: 'removed'
  readonly change: CommitChange
  readonly consumed: readonly Uint8Array[]
}

/** Follows a commit whose signature and membership tag were checked. */
export async function processCommit(
  group: Group,
  authenticated: AuthenticatedContent,
  processing: CommitProcessing,
): Promise<CommitFollowed | RemovedByCommit | MlsRefusal> {
  const { sender } = authenticated.content
  // One's own commit is adopted from where it was made: its path cannot be read.
  if (sender.kind === 'member' && sender.leaf === group.ownLeaf) return refuse('wrongSender')
  const staged = await stageCommit(group.public, authenticated, processing)
  if (staged.kind === 'refused') return staged
  const { applied, change } = staged
  if (applied.removed.some(({ leaf }) => leaf === group.ownLeaf)) {
    return { kind: 'removed', change, consumed: allSecrets(group) }
  }
  const psks = findPsks(group, applied.psks, processing.psks)
  if (psks === null) return refuse('unknownPsk')
  const initSecret = applied.kemOutput === null
    ? group.secrets.initSecret.slice()
    : await externalInitReceived(
      group.public.suite,
      group.secrets.externalSecret,
      applied.kemOutput,
    )
  if (initSecret === null) return refuse('badProposal')
  const opened = await openPath(group, staged)
  if (opened.kind === 'refused') {
    wipe(initSecret)
    return opened
  }
  const { suite } = group.public
  const joiner = nextJoinerSecret(suite, {
    initSecret,
    commitSecret: opened.secrets?.commitSecret ?? null,
    context: staged.context,
  })
  const entered = enterEpoch(suite, { joinerSecret: joiner, psks, context: staged.context })
  wipe(joiner, initSecret, entered.welcomeSecret)
  wipeUsed(opened.secrets)
  const { context, tree, census, confirmationTag } = staged
  if (!equalBytes(entered.confirmationTag, confirmationTag)) {
    wipe(...Object.values<Uint8Array>({ ...entered.secrets }))
    for (const { keyPair } of opened.secrets?.nodes ?? []) wipe(keyPair.secretKey)
    return refuse('badConfirmationTag')
  }
  const { reInit } = applied
  const publicGroup = publicGroupOf(suite, { context, tree, census, confirmationTag, reInit })
  const stepped = nextGroup(group, {
    publicGroup,
    secrets: entered.secrets,
    privateKeys: opened.privateKeys,
  })
  return { kind: 'commit', group: stepped.next, change, consumed: stepped.consumed }
}

interface OpenedPath {
  readonly kind: 'opened'
  readonly secrets: PathSecrets | null
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
}

/** The secrets above the common ancestor with the committer, and the keys that are then known. */
async function openPath(group: Group, staged: StagedCommit): Promise<OpenedPath | MlsRefusal> {
  const own = leafToNode(group.ownLeaf)
  const before = afterOwnUpdate(group, staged)
  const isHeld = (node: number) => node === own || parentAt(staged.tree, node) !== null
  if (staged.path === null) {
    return { kind: 'opened', secrets: null, privateKeys: keptKeys(before, isHeld, []) }
  }
  const { updatePath, path } = staged.path
  const decrypted = await decryptPath(group.public.suite, staged.treeBefore, {
    path,
    updatePath,
    receiver: group.ownLeaf,
    privateKeys: before,
    excluded: staged.excluded,
    groupContext: encodeGroupContext(staged.provisionalContext),
  })
  if (decrypted.kind === 'refused') {
    return refuse(decrypted.code === 'notDecryptable' ? 'notDecryptable' : 'badPath')
  }
  const { secrets } = decrypted
  const added = secrets.nodes.map(({ node, keyPair }) => [node, keyPair.secretKey] as const)
  return { kind: 'opened', secrets, privateKeys: keptKeys(before, isHeld, added) }
}

/** An own Update that the commit brings changes the leaf's key (section 12.1.2). */
function afterOwnUpdate(group: Group, staged: StagedCommit): ReadonlyMap<number, Uint8Array> {
  const leaf = leafAt(staged.treeBefore, group.ownLeaf)
  assert(leaf !== null, 'a member that stays has a leaf')
  const secretKey = group.pendingUpdates.get(toHex(leaf.encryptionKey))
  if (secretKey === undefined) return group.privateKeys
  return new Map(group.privateKeys).set(leafToNode(group.ownLeaf), secretKey)
}

function wipeUsed(secrets: PathSecrets | null): void {
  if (secrets === null) return
  for (const { pathSecret } of secrets.nodes) wipe(pathSecret)
  wipe(secrets.commitSecret)
}
