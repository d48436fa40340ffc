/**
 * Making the group that succeeds another: reinitialisation (RFC 9420 section 11.2) and branching
 * (11.3). The new group's first commit adds everybody and is bound to the old one by its resumption
 * PSK.
 */
import type { Entropy } from '#core/base/ports.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, makeCommit } from '#core/mls/commit-make.ts'
import type { Extension } from '#core/mls/extension.ts'
import { type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { createGroup, type Group } from '#core/mls/group.ts'
import type { KeyPackage } from '#core/mls/key-package.ts'
import type { Lifetime } from '#core/mls/leaf-node.ts'
import type { LeafTemplate } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'

export interface SuccessorMaking {
  /** Of the new group; a ReInit has told which. */
  readonly suite: CipherSuite
  readonly usage: 'reInit' | 'branch'
  readonly groupId: Uint8Array
  readonly extensions: readonly Extension[]
  readonly template: LeafTemplate
  readonly signatureSecret: Uint8Array
  readonly lifetime: Lifetime
  /** Of everybody else who comes along. */
  readonly keyPackages: readonly KeyPackage[]
  readonly timeMs: TimeMs | null
  readonly entropy: Entropy
}

/** The group at epoch 1 with its Welcome. A ReInit must stand in the old group's last commit. */
export async function makeSuccessor(
  predecessor: Group,
  making: SuccessorMaking,
): Promise<CommitMade | MlsRefusal> {
  const { suite, usage, entropy } = making
  const { reInit, context } = predecessor.public
  if ((usage === 'reInit') !== (reInit !== null)) return refuse('badProposal')
  const group = await createGroup(suite, making)
  const bound: Proposal = {
    kind: 'psk',
    psk: {
      kind: 'resumption',
      usage,
      pskGroupId: context.groupId,
      pskEpoch: context.epoch,
      pskNonce: entropy.randomBytes(suite.hashLength),
    },
  }
  const adds = making.keyPackages.map((keyPackage): Proposal => ({ kind: 'add', keyPackage }))
  return await makeCommit(group, {
    proposals: [...adds, bound],
    path: 'always',
    authenticatedData: new Uint8Array(0),
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: () => predecessor.secrets.resumptionPsk,
    timeMs: making.timeMs,
    entropy,
    successor: true,
  })
}
