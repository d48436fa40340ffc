/**
 * Votes on a commit (VOTE-1, VOTE-2): what a leaf signs, the MAC that only those can make who
 * follow, and the check of both. Owns no count (see `finality.ts`).
 *
 * Whether a vote counts follows from its signature and place, which everybody can check, also who
 * cannot follow. The MAC can be checked only by who follows, so it decides nothing: a wrong one
 * shows its voter as a liar to all who do.
 */
import { EMPTY, equalBytes, wipe } from '#core/base/bytes.ts'
import type { EpochId, LogPosition, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto, HashName, SignatureName } from '#core/crypto/crypto.ts'
import { expandWithLabel, LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { decodeIdentity } from '#core/identity/leaf-identity.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { type Finality, headEpoch, type JudgedVote, VOTE_CHOICES } from '#core/policy/finality.ts'
import { epochIdCodec, positionCodec } from '#core/wire/bodies.ts'
import { decode, encode, enumU8, fixed, type Infer, opaque, struct, u32 } from '#core/wire/codec.ts'
import type { VoteFault } from '#core/wire/refusals.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const voteContent = struct({
  format: format('vote'),
  room: fixed(32),
  /** Of the epoch in which the commit was made, and of the one that it makes. */
  epochIdBefore: epochIdCodec,
  epochId: epochIdCodec,
  /** Of the commit in the log. */
  position: positionCodec,
  /** Index of the voter in the epoch made. */
  leaf: u32,
  choice: enumU8(VOTE_CHOICES),
  /** As long as the suite's hash for `agree`, empty for `cannot`. */
  mac: opaque(48),
  extensions,
})
const voteCodec = struct({ content: voteContent, signature: opaque(128, 8) })
export type Vote = Omit<Infer<typeof voteContent>, 'format' | 'extensions'>

const macContent = struct({ leaf: u32, epochId: epochIdCodec, groupInfoHash: fixed(32) })

/** What the MAC of an agree is over, and the secret that proves that the voter follows. */
export interface VoteMac {
  /** Hash of the group's suite. */
  readonly hash: HashName
  /** Of the epoch made (RFC 9420 section 8.7); stays the caller's. */
  readonly epochAuthenticator: Uint8Array
  readonly epochId: EpochId
  readonly leaf: number
  /** As it was published with the commit. */
  readonly groupInfo: Uint8Array
}

/** The MAC of an agree (VOTE-1), as long as the hash. */
export function voteMac(crypto: Crypto, mac: VoteMac): Uint8Array {
  const { hash, epochAuthenticator, epochId, leaf, groupInfo } = mac
  const key = expandWithLabel(crypto, hash, {
    secret: epochAuthenticator,
    label: LABELS.voteKey,
    context: epochId,
    length: 32,
  })
  const groupInfoHash = crypto.hash('sha256', groupInfo)
  const made = crypto.hmac(hash, key, encode(macContent, { leaf, epochId, groupInfoHash }))
  wipe(key)
  return made
}

/** Whether an agree was made by somebody who follows the epoch, for this very GroupInfo. */
export function isVoteProven(crypto: Crypto, vote: Vote, mac: Omit<VoteMac, 'leaf'>): boolean {
  return vote.choice === 'agree' &&
    equalBytes(vote.mac, voteMac(crypto, { ...mac, leaf: vote.leaf }))
}

/** Signs a vote with the leaf's key (VOTE-1). */
export async function makeVote(
  crypto: Crypto,
  vote: Vote,
  signer: { readonly algorithm: SignatureName; readonly secretKey: Uint8Array },
): Promise<Uint8Array> {
  const content = { ...vote, format: STRUCTURE_VERSION, extensions: NO_EXTENSIONS } as const
  const signature = await signWithLabel(crypto, {
    ...signer,
    label: LABELS.vote,
    content: encode(voteContent, content),
  })
  return encode(voteCodec, { content, signature })
}

/** The `mac` of a complaint. */
export const NO_MAC = EMPTY

/** Reads a vote without judging it; null when it is malformed. */
export function readVote(bytes: Uint8Array): Vote | null {
  if (bytes.length > LIMITS.voteSizeMax) return null
  const decoded = decode(voteCodec, bytes)
  return decoded.kind === 'malformed' ? null : decoded.value.content
}

export interface VotePlace {
  readonly room: RoomId
  readonly finality: Finality
  /** The public group of the epoch that the commit at this position made; null: not kept. */
  groupAt(position: LogPosition): PublicGroup | null
}

export type VoteJudgement =
  | { readonly kind: 'judged'; readonly vote: JudgedVote; readonly said: Vote }
  | { readonly kind: 'refused'; readonly fault: VoteFault }

const refused = (fault: VoteFault): VoteJudgement => ({ kind: 'refused', fault })

/**
 * Whether a vote may stand in the log (VOTE-2), but for what `castVote` decides. The same for the
 * hub, which refuses what fails, and for members, who ignore it.
 */
export async function judgeVote(
  crypto: Crypto,
  place: VotePlace,
  bytes: Uint8Array,
): Promise<VoteJudgement> {
  const decoded = bytes.length > LIMITS.voteSizeMax ? null : decode(voteCodec, bytes)
  if (decoded === null || decoded.kind === 'malformed') return refused('malformed')
  const { content, signature } = decoded.value
  const { finality, room } = place
  if (!equalBytes(content.room, room)) return refused('otherEpoch')
  const index = finality.open.findIndex(({ position }) => position === content.position)
  const epoch = finality.open[index]
  if (epoch === undefined) {
    return refused(content.position > headEpoch(finality).position ? 'otherEpoch' : 'settled')
  }
  const before = finality.open[index - 1] ?? finality.final
  const same = equalBytes(content.epochId, epoch.epochId) &&
    equalBytes(content.epochIdBefore, before.epochId)
  if (!same) return refused('otherEpoch')
  // Before its signature is checked: a word twice is no work.
  if (epoch.votes.some(({ leaf }) => leaf === content.leaf)) return refused('twice')
  const group = place.groupAt(epoch.position)
  const leafNode = group === null ? null : leafAt(group.tree, content.leaf)
  const algorithm = suiteById(group?.suite.id ?? 0)
  const identity = leafNode?.credential.kind === 'basic'
    ? decodeIdentity(leafNode.credential.identity)
    : null
  if (leafNode === null || algorithm === null || identity === null) return refused('wrongLeaf')
  const macLength = content.choice === 'agree' ? algorithm.hashLength : 0
  if (content.mac.length !== macLength) return refused('malformed')
  const signed = await verifyWithLabel(crypto, {
    algorithm: algorithm.signature,
    publicKey: leafNode.signatureKey,
    label: LABELS.vote,
    content: encode(voteContent, content),
    signature,
  })
  if (!signed) return refused('wrongSignature')
  const { position, leaf, choice } = content
  return {
    kind: 'judged',
    vote: { position, leaf, account: identity.account, choice },
    said: content,
  }
}
