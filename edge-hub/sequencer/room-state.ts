/**
 * A room as the sequencer knows it, and what of it is stored beside the log. Owns its shape, its
 * empty state and its stored form; only `install` (`sequencer.ts`) changes it. What is stored here
 * follows from the log, and is kept so that a room need not be read from its beginning.
 */
import { assert } from '#core/base/assert.ts'
import { type LogPosition, type RoomId, type Term, type TimeMs, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Finality, finalityCodec, finalityRecord } from '#core/policy/finality.ts'
import { accountNameCodec, deviceIdCodec, positionCodec, timeCodec } from '#core/wire/bodies.ts'
import { decode, encode, struct, vector } from '#core/wire/codec.ts'
import { FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'
import type { StoredGeneration } from '#hub/ports.ts'
import { type ChainMemory, createChainMemory } from '#hub/sequencer/chain-memory.ts'
import type { Author, EpochView } from '#hub/sequencer/group-view.ts'

/** A device whose commit became void, where that stands, and when it did (VOTE-8). */
export interface Strike extends Author {
  readonly origin: LogPosition
  readonly timeMs: TimeMs
}

/** A leaf was asked for its vote on the commit at a position. */
export interface Ask {
  readonly position: LogPosition
  readonly leaf: number
}

/** Last accepted generation by `chainKey`. */
export type Chains = Map<number, number>

export interface SequencedRoom {
  readonly id: RoomId
  readonly term: Term
  /** The last final epoch, then the provisional ones above it; empty before the genesis. */
  epochs: readonly EpochView[]
  /** Of the same epochs; null until the genesis is stored. */
  finality: Finality | null
  strikes: readonly Strike[]
  /** Not yet part of `finality`. */
  asks: readonly Ask[]
  next: bigint
  headHash: Uint8Array
  /** Hub time of the last entry; time never decreases (LOG-4). */
  time: TimeMs
  readonly memory: ChainMemory
  /** By the position of an epoch's genesis or commit. */
  readonly generations: Map<bigint, Chains>
}

/** A room without entries. */
export function emptyRoom(id: RoomId, term: Term): SequencedRoom {
  return {
    id,
    term,
    epochs: [],
    finality: null,
    strikes: [],
    asks: [],
    next: 0n,
    headHash: FIRST_PREVIOUS_HASH,
    time: timeMs(0),
    memory: createChainMemory(0n),
    generations: new Map(),
  }
}

/** The newest epoch, final or not: the one in which frames and commits are made. */
export function headView({ epochs }: Pick<SequencedRoom, 'epochs'>): EpochView | null {
  return epochs.at(-1) ?? null
}

/** The last final epoch. */
export function finalView({ epochs }: Pick<SequencedRoom, 'epochs'>): EpochView | null {
  return epochs[0] ?? null
}

/** The epoch that the entry at a position made, if it is the last final one or provisional. */
export function viewAt(
  { epochs }: Pick<SequencedRoom, 'epochs'>,
  position: bigint,
): EpochView | null {
  return epochs.find(({ origin }) => origin === position) ?? null
}

export interface RestoredRoom {
  readonly epochs: readonly EpochView[]
  readonly state: RoomState
  readonly next: LogPosition
  readonly headHash: Uint8Array
  readonly time: TimeMs
  readonly generations: readonly StoredGeneration[]
}

/** A room as the log has it. Hashes before the head are read from the log when they are named. */
export function restoreRoom(id: RoomId, term: Term, stored: RestoredRoom): SequencedRoom {
  const { epochs, state, next, headHash, time } = stored
  assert(next > 0n && epochs.length > 0, 'a stored room has its genesis')
  const memory = createChainMemory(next - 1n)
  memory.remember(next - 1n, headHash)
  const generations = new Map<bigint, Chains>()
  for (const { origin, leaf, lane, generation } of stored.generations) {
    chainsAt(generations, origin).set(chainKey(leaf, lane), generation)
  }
  const { finality, strikes } = state
  return {
    id,
    term,
    epochs,
    finality,
    strikes,
    asks: [],
    next,
    headHash,
    time,
    memory,
    generations,
  }
}

/** The chains of an epoch, made if there were none. */
export function chainsAt(generations: Map<bigint, Chains>, origin: bigint): Chains {
  let chains = generations.get(origin)
  if (chains === undefined) {
    chains = new Map()
    generations.set(origin, chains)
  }
  return chains
}

/** One number for each chain of message keys: leaf and lane. */
export function chainKey(leaf: number, lane: number): number {
  return leaf * LIMITS.lanesMax + lane
}

// ---- Stored form --------------------------------------------------------------------------

/** What is stored beside the log, besides versions of the group and generations. */
export interface RoomState {
  readonly finality: Finality
  readonly strikes: readonly Strike[]
  /** Positions of the proposals of the epochs that `finality` names. */
  readonly proposals: readonly LogPosition[]
}

/** Strikes that a room remembers: the newest. */
export const STRIKES_MAX = 1_024

const stateCodec = struct({
  format: format('room state'),
  finality: finalityCodec,
  strikes: vector(
    struct({
      account: accountNameCodec,
      device: deviceIdCodec,
      origin: positionCodec,
      timeMs: timeCodec,
    }),
    STRIKES_MAX,
  ),
  proposals: vector(
    positionCodec,
    LIMITS.proposalsPerEpochMax * (LIMITS.provisionalEpochsMax + 1),
  ),
})

export function encodeState(
  room: {
    readonly epochs: readonly EpochView[]
    readonly finality: Finality
    readonly strikes: readonly Strike[]
  },
): Uint8Array {
  const { epochs, finality, strikes } = room
  return encode(stateCodec, {
    format: STRUCTURE_VERSION,
    finality: finalityRecord(finality),
    strikes,
    proposals: epochs.flatMap(({ proposals }) => proposals),
  })
}

/** Reads what `encodeState` wrote; null when it is something else. */
export function decodeState(bytes: Uint8Array): RoomState | null {
  const decoded = decode(stateCodec, bytes.slice())
  if (decoded.kind === 'malformed') return null
  const { finality, strikes, proposals } = decoded.value
  const { began, final, lastVoid, open } = finality
  return { finality: { began, final, lastVoid, open }, strikes, proposals }
}
