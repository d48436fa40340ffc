/**
 * A room's log, replayed from its genesis by the rules alone: what the hub keeps beside the log is
 * held against this. Owns no store and no memory of the hub.
 */
import { ok } from 'node:assert/strict'
import type { LogPosition, RoomId, TimeMs } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { judgeCommit } from '#core/policy/commit-rules.ts'
import { appendCommit, applyVerdict, castVote, type Finality } from '#core/policy/finality.ts'
import { openFinality } from '#core/policy/finality.ts'
import { judgeGenesis } from '#core/policy/genesis-rules.ts'
import { judgeVote } from '#core/policy/vote.ts'
import { type Codec, decode } from '#core/wire/codec.ts'
import { commitEntryCodec, genesisEntryCodec, proposalEntryCodec } from '#core/wire/log-entry.ts'
import { verdictEntryCodec, voteEntryCodec } from '#core/wire/log-entry.ts'
import type { StoredEntry } from '#hub/ports.ts'

export interface ReplayedEpoch {
  readonly origin: LogPosition
  /** As its commit made it, and with what was proposed since. */
  readonly made: PublicGroup
  readonly group: PublicGroup
  readonly certificates: readonly Uint8Array[]
}

export interface Replayed {
  readonly finality: Finality
  /** The last final one, then the provisional ones. */
  readonly epochs: readonly ReplayedEpoch[]
}

interface Entry {
  readonly position: LogPosition
  readonly timeMs: TimeMs
  readonly bytes: Uint8Array
}

/** Every entry must be good. */
export async function replayLog(
  crypto: Crypto,
  room: RoomId,
  log: readonly StoredEntry[],
): Promise<Replayed> {
  let state: Replayed | null = null
  for (const { position, entry: { header, body } } of log) {
    ok(body.kind === 'whole')
    const entry = { position, timeMs: Number(header.time) as TimeMs, bytes: body.bytes }
    if (header.entry === 'frame') continue
    if (state === null) {
      state = await begin(crypto, room, entry)
    } else if (header.entry === 'commit') {
      state = await commit(crypto, { room, state, entry })
    } else if (header.entry === 'proposal') {
      state = await proposal(state, entry)
    } else if (header.entry === 'vote') {
      state = await vote(crypto, { room, state, entry })
    } else {
      state = verdict(state, entry)
    }
  }
  ok(state !== null, 'a log has its genesis')
  return state
}

function read<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const decoded = decode(codec, bytes)
  ok(decoded.kind === 'decoded', 'the hub stores what can be read')
  return decoded.value
}

async function begin(crypto: Crypto, room: RoomId, { bytes }: Entry): Promise<Replayed> {
  const entry = read(genesisEntryCodec, bytes)
  const judged = await judgeGenesis(crypto, room, entry)
  ok(judged.kind === 'judged', 'a good genesis')
  const { group } = judged
  const origin = 0n as LogPosition
  const finality = openFinality({
    position: origin,
    epochId: epochIdOf(group.suite, group.context),
  })
  const certificates = [entry.certificate]
  return { finality, epochs: [{ origin, made: group, group, certificates }] }
}

interface Step {
  readonly room: RoomId
  readonly state: Replayed
  readonly entry: Entry
}

async function commit(crypto: Crypto, { room, state, entry }: Step): Promise<Replayed> {
  const { position, timeMs } = entry
  const said = read(commitEntryCodec, entry.bytes)
  const before = (state.epochs.at(-1) as ReplayedEpoch).group
  const taken = await publicProcess(before, said.commit, { timeMs })
  ok(taken.kind === 'commit', 'a commit that MLS takes')
  const { group: after, change } = taken
  const { finality } = state
  const judged = await judgeCommit(crypto, {
    room,
    before,
    after,
    change,
    entry: said,
    timeMs,
    finality,
  })
  ok(judged.kind === 'judged', 'a good commit')
  const epoch = { origin: position, made: after, group: after, certificates: said.certificates }
  return {
    finality: appendCommit(finality, { ...judged.facts, position }),
    epochs: [...state.epochs, epoch],
  }
}

async function proposal(state: Replayed, { bytes, timeMs }: Entry): Promise<Replayed> {
  const head = state.epochs.at(-1) as ReplayedEpoch
  const said = read(proposalEntryCodec, bytes)
  const taken = await publicProcess(head.group, said.proposal, { timeMs })
  ok(taken.kind === 'proposal', 'a good proposal')
  return { ...state, epochs: [...state.epochs.slice(0, -1), { ...head, group: taken.group }] }
}

async function vote(crypto: Crypto, { room, state, entry }: Step): Promise<Replayed> {
  const { finality, epochs } = state
  const groupAt = (position: LogPosition) =>
    epochs.find(({ origin }) => origin === position)?.made ?? null
  const said = read(voteEntryCodec, entry.bytes)
  const judged = await judgeVote(crypto, { room, finality, groupAt }, said.vote)
  ok(judged.kind === 'judged', 'a good vote')
  const cast = castVote(finality, judged.vote)
  ok(cast.kind === 'taken', 'a vote that counts or lets speak')
  return { ...state, finality: cast.finality }
}

function verdict(state: Replayed, { position, timeMs, bytes }: Entry): Replayed {
  const entry = read(verdictEntryCodec, bytes)
  const outcome = applyVerdict(state.finality, { position, timeMs, entry })
  ok(outcome.kind === 'final' || outcome.kind === 'void', 'a verdict that the votes bear out')
  const { epochs } = state
  const kept = outcome.kind === 'final'
    ? epochs.slice(1)
    : epochs.filter(({ origin }) => origin < entry.position)
  return { finality: outcome.finality, epochs: kept }
}
