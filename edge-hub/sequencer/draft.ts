/**
 * The state of a room while a batch is being decided: entries that would be appended, what they do
 * to epochs and finality, and the verdicts that become due by them. Owns nothing that lasts: the
 * room is only read, and what came of it is a `Decision`.
 */
import { assert } from '#core/base/assert.ts'
import type { LogPosition, TimeMs } from '#core/base/ids.ts'
import { logPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { appendCommit, applyVerdict, askLeaves, type CommitFacts } from '#core/policy/finality.ts'
import { type Finality, nextVerdict, type OpenEpoch } from '#core/policy/finality.ts'
import { openFinality } from '#core/policy/finality.ts'
import { encode } from '#core/wire/codec.ts'
import { chainedHash, entryBodyHash, entryHeaderHash } from '#core/wire/log-entry.ts'
import type { EntryKind, LogEntry, Sha256 } from '#core/wire/log-entry.ts'
import { verdictEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { HeldWelcome, StoredEntry, StoredGeneration, StoredVersion } from '#hub/ports.ts'
import type { VerdictEffects } from '#hub/ports.ts'
import { type EpochView, isSameDevice, memberAt } from '#hub/sequencer/group-view.ts'
import { openInvitations, versionOf } from '#hub/sequencer/group-view.ts'
import { chainKey, type Chains, encodeState } from '#hub/sequencer/room-state.ts'
import { type SequencedRoom, type Strike, STRIKES_MAX } from '#hub/sequencer/room-state.ts'

/** What came of a submission. */
export type Outcome =
  | { readonly kind: 'accepted'; readonly position: LogPosition }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/** An epoch that has become final, and the final one before it. */
export interface Finalised {
  readonly view: EpochView
  readonly before: EpochView
  readonly epoch: OpenEpoch
}

/** A verdict, and the epochs of the room behind it: the last final one, then those still open. */
export interface PlacedVerdict {
  readonly position: LogPosition
  readonly epochs: readonly EpochView[]
}

/** What was decided on a batch. Nothing of it counts before the log has stored it (HUB-3). */
export interface Decision {
  readonly expectedNext: LogPosition
  readonly entries: readonly StoredEntry[]
  /** One for each submission, in order. */
  readonly outcomes: readonly Outcome[]
  /** Stored state of the room; null when it stays as it was. */
  readonly state: Uint8Array | null
  readonly generations: readonly StoredGeneration[]
  readonly welcomes: readonly HeldWelcome[]
  readonly effects: VerdictEffects | null
  /** The room's, from now on. */
  readonly epochs: readonly EpochView[]
  readonly finality: Finality | null
  readonly strikes: readonly Strike[]
  /** Count of the room's `asks` that went into `finality`. */
  readonly asksTaken: number
  /** Provisional epochs that the batch began and did not end. */
  readonly opened: readonly EpochView[]
  readonly verdicts: readonly PlacedVerdict[]
  readonly finals: readonly Finalised[]
  /** Provisional epochs that became void, oldest first. */
  readonly voided: readonly EpochView[]
  readonly time: TimeMs
}

export class Draft {
  readonly room: SequencedRoom
  readonly time: TimeMs
  readonly #sha256: Sha256
  readonly #entries: StoredEntry[] = []
  #welcomes: HeldWelcome[] = []
  /** One for each kind: all entries of a batch have one time. */
  readonly #headerHashes = new Map<EntryKind, Uint8Array>()
  readonly #generations = new Map<bigint, Chains>()
  readonly #asksTaken: number
  #next: bigint
  #headHash: Uint8Array
  #epochs: readonly EpochView[]
  #finality: Finality | null
  #strikes: readonly Strike[]
  #changed = false
  readonly #verdicts: PlacedVerdict[] = []
  #versions: StoredVersion[] = []
  #finals: Finalised[] = []
  #voided: EpochView[] = []
  #voidFrom: LogPosition | null = null

  constructor(room: SequencedRoom, time: TimeMs, sha256: Sha256) {
    this.room = room
    this.time = time
    this.#sha256 = sha256
    this.#next = room.next
    this.#headHash = room.headHash
    this.#epochs = room.epochs
    this.#strikes = room.strikes
    this.#asksTaken = room.asks.length
    this.#finality = room.finality && room.asks.reduce(
      (finality, { position, leaf }) => askLeaves(finality, position, [leaf]),
      room.finality,
    )
  }

  get head(): EpochView | null {
    return this.#epochs.at(-1) ?? null
  }

  get finality(): Finality | null {
    return this.#finality
  }

  get strikes(): readonly Strike[] {
    return this.#strikes
  }

  /** The epoch that the entry at a position made, if it is the last final one or provisional. */
  viewAt(position: bigint): EpochView | null {
    return this.#epochs.find(({ origin }) => origin === position) ?? null
  }

  // ---- Generations ------------------------------------------------------------------------

  /** Last generation of a chain in the newest epoch; -1: none. */
  lastGeneration(head: EpochView, leaf: number, lane: number): number {
    const key = chainKey(leaf, lane)
    return this.#generations.get(head.origin)?.get(key) ??
      this.room.generations.get(head.origin)?.get(key) ?? -1
  }

  take(head: EpochView, key: number, generation: number): void {
    const chains = this.#generations.get(head.origin)
    if (chains === undefined) this.#generations.set(head.origin, new Map([[key, generation]]))
    else chains.set(key, generation)
  }

  // ---- Entries ----------------------------------------------------------------------------

  /** Position of the next entry. */
  get next(): LogPosition {
    return logPosition(this.#next)
  }

  append(kind: EntryKind, bytes: Uint8Array): LogPosition {
    const position = logPosition(this.#next)
    const entry: LogEntry = {
      header: { entry: kind, time: BigInt(this.time) },
      body: { kind: 'whole', bytes },
    }
    const place = { room: this.room.id, position, previous: this.#headHash }
    const headerHash = this.#headerHashes.get(kind) ?? entryHeaderHash(this.#sha256, entry.header)
    this.#headerHashes.set(kind, headerHash)
    const bodyHash = entryBodyHash(this.#sha256, entry.body)
    const hash = chainedHash(this.#sha256, place, { headerHash, bodyHash })
    this.#entries.push({ position, entry, entryHash: hash })
    this.#headHash = hash
    this.#next++
    return position
  }

  welcome(welcome: HeldWelcome): void {
    this.#welcomes.push(welcome)
  }

  // ---- Epochs -----------------------------------------------------------------------------

  /** The first epoch of a room, which is final. */
  begin(view: EpochView): void {
    this.#changed = true
    this.#epochs = [view]
    this.#finality = openFinality({ position: view.origin, epochId: view.epochId })
    this.#versions.push(versionOf(null, view, []))
  }

  /** A provisional epoch above the newest one. */
  open(view: EpochView, facts: CommitFacts): void {
    assert(this.#finality !== null, 'a commit follows the genesis')
    this.#changed = true
    this.#epochs = [...this.#epochs, view]
    this.#finality = appendCommit(this.#finality, facts)
  }

  /** The newest epoch with one more proposal. */
  propose(view: EpochView): void {
    this.#changed = true
    this.#epochs = [...this.#epochs.slice(0, -1), view]
  }

  vote(finality: Finality): void {
    this.#changed = true
    this.#finality = finality
  }

  /** Appends the verdicts that are due, and does what they say (VOTE-3). */
  settle(): void {
    if (this.#finality === null || this.#finality.open.length === 0) return
    for (;;) {
      const finality: Finality = this.#finality
      const entry = nextVerdict(finality, this.time)
      if (entry === null) return
      const position = this.append('verdict', encode(verdictEntryCodec, entry))
      const outcome = applyVerdict(finality, { position, timeMs: this.time, entry })
      assert(outcome.kind === 'final' || outcome.kind === 'void', 'a due verdict is a right one')
      this.#changed = true
      this.#finality = outcome.finality
      if (outcome.kind === 'final') this.#makeFinal(outcome.epoch)
      else this.#makeVoid(outcome.epochs)
      this.#verdicts.push({ position, epochs: this.#epochs })
    }
  }

  #makeFinal(epoch: OpenEpoch): void {
    const [before, view, ...above] = this.#epochs
    assert(before !== undefined && view?.origin === epoch.position, 'epochs become final in order')
    const invitations = openInvitations([view, ...above], this.time)
    this.#versions.push(versionOf(before, view, invitations))
    this.#epochs = [{ ...view, certificates: [] }, ...above]
    this.#finals.push({ view, before, epoch })
  }

  #makeVoid(epochs: readonly OpenEpoch[]): void {
    const [lowest] = epochs
    assert(lowest !== undefined, 'a void is of an epoch')
    const from = lowest.position
    const gone = this.#epochs.filter(({ origin }) => origin >= from)
    this.#strike(gone[0] as EpochView, lowest.committer)
    this.#epochs = this.#epochs.filter(({ origin }) => origin < from)
    this.#voided.push(...gone)
    this.#voidFrom = this.#voidFrom === null || from < this.#voidFrom ? from : this.#voidFrom
    this.#welcomes = this.#welcomes.filter(({ position }) => position < from)
    for (const origin of [...this.#generations.keys()]) {
      if (origin >= from) this.#generations.delete(origin)
    }
  }

  /**
   * Only whose own commit it was: those above fell with it. *Whoever complains of the upper of two
   * first would make two of one.*
   */
  #strike(view: EpochView, committer: number): void {
    const member = memberAt(view, committer)
    assert(member !== null, 'a committer has a leaf in the epoch that it made')
    const { account, device } = member
    const recent = this.#strikes.filter(({ timeMs }) =>
      timeMs > this.time - 2 * LIMITS.voidsWindowMs
    )
    const { origin } = view
    const stoodBelow = recent.some((strike) =>
      isSameDevice(strike, member) && strike.origin > origin
    )
    const own = stoodBelow ? [] : [{ account, device, origin, timeMs: this.time }]
    this.#strikes = [...recent, ...own].slice(-STRIKES_MAX)
  }

  decision(outcomes: readonly Outcome[]): Decision {
    const [epochs, finality, strikes] = [this.#epochs, this.#finality, this.#strikes]
    const before = new Set(this.room.epochs.map(({ origin }) => origin))
    const ended = this.#versions.length > 0 || this.#voidFrom !== null
    return {
      expectedNext: logPosition(this.room.next),
      entries: this.#entries,
      outcomes,
      state: this.#changed && finality !== null ? encodeState({ epochs, finality, strikes }) : null,
      generations: storedGenerations(this.#generations),
      welcomes: this.#welcomes,
      effects: ended ? { voidFrom: this.#voidFrom, finals: this.#versions } : null,
      epochs,
      finality,
      strikes,
      asksTaken: this.#asksTaken,
      opened: epochs.slice(1).filter(({ origin }) => !before.has(origin)),
      verdicts: this.#verdicts,
      finals: this.#finals,
      voided: this.#voided,
      time: this.time,
    }
  }
}

function storedGenerations(generations: Map<bigint, Chains>): readonly StoredGeneration[] {
  return [...generations].flatMap(([origin, chains]) =>
    [...chains].map(([key, generation]) => ({
      origin: logPosition(origin),
      leaf: Math.floor(key / LIMITS.lanesMax),
      lane: key % LIMITS.lanesMax,
      generation,
    }))
  )
}
