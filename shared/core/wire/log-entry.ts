/**
 * Log entries and their hash chain (LOG-1, LOG-2). Owns the encoding of an entry, of its header and
 * the hash; owns no rule of who may append (see `edge-hub/sequencer`).
 */
import { LIMITS } from '#core/base/limits.ts'
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import { utf8Encode } from '#core/base/bytes.ts'
import { encode, enumU8, fixed, opaque, struct, u32, u64, variant } from '#core/wire/codec.ts'
import { type Infer, vector } from '#core/wire/codec.ts'

/** What an entry is. `frame` is a sealed frame; everything else is control traffic. */
export const ENTRY_KINDS = {
  genesis: 0,
  commit: 1,
  frame: 2,
  vote: 3,
  verdict: 4,
  proposal: 5,
} as const
export type EntryKind = keyof typeof ENTRY_KINDS

/** Hub time in ms since 1970, never decreasing within a room (LOG-4). Nothing names the hub. */
export const entryHeaderCodec = struct({ entry: enumU8(ENTRY_KINDS), time: u64 })

/**
 * The last entry that a sender had seen (LOG-5): stands in the header of a frame, beside a commit,
 * and is the authenticated_data of the commit itself.
 */
export const seenCodec = struct({ position: u64, hash: fixed(32) })

/** A body may be delivered whole or as a hole; both verify alike (LOG-2). */
export const logEntryCodec = struct({
  header: entryHeaderCodec,
  body: variant('kind', {
    whole: [0, struct({ bytes: opaque(LIMITS.frameSizeMax) })],
    hole: [1, struct({ hash: fixed(32) })],
  }),
})
export type LogEntry = Infer<typeof logEntryCodec>

/** Body of a `commit` entry (ROOM-4): what every member needs to follow it. */
export const commitEntryCodec = struct({
  /** MLSMessage(PublicMessage) with a Commit. */
  commit: opaque(LIMITS.commitSizeMax, 1),
  /** MLSMessage(GroupInfo) of the epoch that the commit makes: `external_pub`, no tree. */
  groupInfo: opaque(LIMITS.groupInfoSizeMax, 1),
  /** Certificates of the identities that the commit brings, each once (ID-6). */
  certificates: vector(opaque(LIMITS.certificateSizeMax, 1), LIMITS.certificatesPerCommitMax),
  /** Last entry that the committer had seen (LOG-5). */
  seen: seenCodec,
})
export type CommitEntry = Infer<typeof commitEntryCodec>

/** Body of the `genesis` entry (ROOM-1); the room id is the hash of `genesis`. */
export const genesisEntryCodec = struct({
  genesis: opaque(LIMITS.genesisSizeMax, 1),
  /** MLSMessage(GroupInfo) of epoch 0: `ratchet_tree` and `external_pub`. */
  groupInfo: opaque(LIMITS.groupInfoSizeMax, 1),
  certificate: opaque(LIMITS.certificateSizeMax, 1),
})
export type GenesisEntry = Infer<typeof genesisEntryCodec>

/** Body of a `vote` entry: a vote as its leaf signed it (VOTE-1, `policy/vote.ts`). */
export const voteEntryCodec = struct({ vote: opaque(LIMITS.voteSizeMax, 1) })
export type VoteEntry = Infer<typeof voteEntryCodec>

/** What becomes of a provisional epoch (VOTE-3). */
export const VERDICTS = { final: 1, void: 2 } as const
export type Verdict = keyof typeof VERDICTS

/** Body of a `verdict` entry: the hub's, and checked by every member (VOTE-4). */
export const verdictEntryCodec = struct({
  /** Position of the commit that it is about. */
  position: u64,
  verdict: enumU8(VERDICTS),
  /** Leaves of the epoch made that the hub asked, in the order of their asking. */
  asked: vector(u32, LIMITS.askedMax),
})
export type VerdictEntry = Infer<typeof verdictEntryCodec>

/** Body of a `proposal` entry: MLSMessage(PublicMessage) with a Proposal (GROUP-4). */
export const proposalEntryCodec = struct({ proposal: opaque(LIMITS.proposalSizeMax, 1) })
export type ProposalEntry = Infer<typeof proposalEntryCodec>

const LABEL = utf8Encode('Kalandra 1.0 entry')
const chained = struct({
  label: opaque(32),
  room: fixed(32),
  position: u64,
  previous: fixed(32),
  headerHash: fixed(32),
  bodyHash: fixed(32),
})

/** The `previous` of the genesis entry. */
export const FIRST_PREVIOUS_HASH = new Uint8Array(32)

/** SHA-256; an argument, since this layer knows no crypto. */
export type Sha256 = (content: Uint8Array) => Uint8Array

/** SHA-256 of a body. A hole carries it in place of the bytes (LOG-2). */
export function entryBodyHash(sha256: Sha256, body: LogEntry['body']): Uint8Array {
  return body.kind === 'hole' ? body.hash : sha256(body.bytes)
}

export interface EntryPlace {
  readonly room: RoomId
  readonly position: LogPosition
  readonly previous: Uint8Array
}

/**
 * H(label, room, position, previous hash, H(header), H(body)), SHA-256, 32 bytes (LOG-1).
 */
export function entryHash(sha256: Sha256, place: EntryPlace, entry: LogEntry): Uint8Array {
  return chainedHash(sha256, place, {
    headerHash: entryHeaderHash(sha256, entry.header),
    bodyHash: entryBodyHash(sha256, entry.body),
  })
}

/** SHA-256 of a header: the same for all entries of one kind and time. */
export function entryHeaderHash(sha256: Sha256, header: LogEntry['header']): Uint8Array {
  return sha256(encode(entryHeaderCodec, header))
}

/** `entryHash` of an entry whose parts are hashed already. */
export function chainedHash(
  sha256: Sha256,
  { room, position, previous }: EntryPlace,
  hashes: { readonly headerHash: Uint8Array; readonly bodyHash: Uint8Array },
): Uint8Array {
  return sha256(encode(chained, { label: LABEL, room, position, previous, ...hashes }))
}
