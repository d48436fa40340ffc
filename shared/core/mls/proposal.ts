/**
 * Proposals (RFC 9420 section 12.1) and how a Commit names them. Owns encodings and type numbers;
 * which of them may stand together is `proposal-list.ts`.
 */
import { LIMITS } from '#core/base/limits.ts'
import { type Extension, extensions } from '#core/mls/extension.ts'
import { type KeyPackage, keyPackage } from '#core/mls/key-package.ts'
import { type LeafNode, leafNode } from '#core/mls/leaf-node.ts'
import { type Codec, enumU8, opaque, struct, u16, u32, u64, variant } from '#core/wire/codec.ts'

/** RFC 9420 section 17.4. */
export const PROPOSAL_TYPE = {
  add: 1,
  update: 2,
  remove: 3,
  psk: 4,
  reInit: 5,
  externalInit: 6,
  groupContextExtensions: 7,
} as const

/** Types that every client supports and that need no capability (RFC 9420 section 7.2). */
export const DEFAULT_PROPOSAL_TYPES: ReadonlySet<number> = new Set(Object.values(PROPOSAL_TYPE))

const PSK_USAGE = { application: 1, reInit: 2, branch: 3 } as const
export type ResumptionUsage = keyof typeof PSK_USAGE

/** PreSharedKeyID (RFC 9420 section 8.4). */
export type PreSharedKeyId =
  & (
    | { readonly kind: 'external'; readonly pskId: Uint8Array }
    | {
      readonly kind: 'resumption'
      readonly usage: ResumptionUsage
      readonly pskGroupId: Uint8Array
      readonly pskEpoch: bigint
    }
  )
  & { readonly pskNonce: Uint8Array }

const nonce = opaque(255)
const groupId = opaque(LIMITS.mlsGroupIdMax)
export const preSharedKeyId: Codec<PreSharedKeyId> = variant('kind', {
  external: [1, struct({ pskId: opaque(LIMITS.mlsIdentitySizeMax), pskNonce: nonce })],
  resumption: [
    2,
    struct({ usage: enumU8(PSK_USAGE), pskGroupId: groupId, pskEpoch: u64, pskNonce: nonce }),
  ],
})

export interface AddProposal {
  readonly kind: 'add'
  readonly keyPackage: KeyPackage
}
export interface UpdateProposal {
  readonly kind: 'update'
  readonly leafNode: LeafNode
}
export interface RemoveProposal {
  readonly kind: 'remove'
  /** Leaf index of who goes. */
  readonly removed: number
}
export interface PskProposal {
  readonly kind: 'psk'
  readonly psk: PreSharedKeyId
}
/** The group that takes this one's place (RFC 9420 section 11.2). */
export interface ReInitProposal {
  readonly kind: 'reInit'
  readonly groupId: Uint8Array
  readonly version: number
  readonly cipherSuite: number
  readonly extensions: readonly Extension[]
}
export interface ExternalInitProposal {
  readonly kind: 'externalInit'
  readonly kemOutput: Uint8Array
}
export interface GroupContextExtensionsProposal {
  readonly kind: 'groupContextExtensions'
  readonly extensions: readonly Extension[]
}
export type Proposal =
  | AddProposal
  | UpdateProposal
  | RemoveProposal
  | PskProposal
  | ReInitProposal
  | ExternalInitProposal
  | GroupContextExtensionsProposal

/** The body of each type, behind its number. */
const bodies = {
  add: struct({ keyPackage }),
  update: struct({ leafNode }),
  remove: struct({ removed: u32 }),
  psk: struct({ psk: preSharedKeyId }),
  reInit: struct({ groupId, version: u16, cipherSuite: u16, extensions }),
  externalInit: struct({ kemOutput: opaque(LIMITS.mlsKeySizeMax) }),
  groupContextExtensions: struct({ extensions }),
} as const

const namesByType = new Map(
  Object.entries(PROPOSAL_TYPE).map(([name, type]) => [type as number, name as Proposal['kind']]),
)

/** A proposal of another type has no length of its own, and so cannot be read: it is refused. */
export const proposal: Codec<Proposal> = {
  encode(w, value) {
    w.u16(PROPOSAL_TYPE[value.kind])
    ;(bodies[value.kind] as Codec<unknown>).encode(w, value)
  },
  decode(r) {
    const kind = namesByType.get(r.u16()) ?? r.refuse('badValue')
    return { kind, ...(bodies[kind] as Codec<object>).decode(r) } as Proposal
  },
}

/** ProposalOrRef (RFC 9420 section 12.4). */
export type ProposalOrRef =
  | { readonly kind: 'proposal'; readonly proposal: Proposal }
  | { readonly kind: 'reference'; readonly reference: Uint8Array }

export const proposalOrRef: Codec<ProposalOrRef> = variant('kind', {
  proposal: [1, struct({ proposal })],
  reference: [2, struct({ reference: opaque(255) })],
})
