/**
 * Commit and UpdatePath (RFC 9420 sections 12.4 and 7.6): encodings alone. Making and following
 * them are `commit-make.ts`, `commit-process.ts` and `update-path.ts`.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { HpkeCiphertext } from '#core/mls/labelled.ts'
import { type LeafNode, leafNode } from '#core/mls/leaf-node.ts'
import { type ProposalOrRef, proposalOrRef } from '#core/mls/proposal.ts'
import { type Codec, opaque, optional, struct, vector } from '#core/wire/codec.ts'

export const hpkeCiphertext: Codec<HpkeCiphertext> = struct({
  kemOutput: opaque(LIMITS.mlsKeySizeMax),
  ciphertext: opaque(LIMITS.mlsMessageSizeMax),
})

export interface UpdatePathNode {
  readonly encryptionKey: Uint8Array
  /** One for each node in the resolution of the copath node, in its order. */
  readonly encryptedPathSecret: readonly HpkeCiphertext[]
}

export interface UpdatePath {
  readonly leafNode: LeafNode
  /** One for each node of the sender's filtered direct path, from the leaf up. */
  readonly nodes: readonly UpdatePathNode[]
}

const updatePathNode: Codec<UpdatePathNode> = struct({
  encryptionKey: opaque(LIMITS.mlsKeySizeMax),
  encryptedPathSecret: vector(hpkeCiphertext, LIMITS.mlsCiphertextsMax),
})

export const updatePath: Codec<UpdatePath> = struct({
  leafNode,
  nodes: vector(updatePathNode, LIMITS.mlsPathNodesMax),
})

export interface Commit {
  readonly proposals: readonly ProposalOrRef[]
  readonly path: UpdatePath | null
}

export const commit: Codec<Commit> = struct({
  proposals: vector(proposalOrRef, LIMITS.mlsProposalsMax),
  path: optional(updatePath),
})
