/**
 * What a room's log means, read a second time: each entry as it is stored, by the rules that
 * everybody shares but none of the hub's or a device's own code. Owns no comparison (`watch.ts`).
 */
import { ok, strictEqual } from 'node:assert/strict'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, LogPosition, RoomId, TimeMs } from '#core/base/ids.ts'
import { logPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { judgeCommit } from '#core/policy/commit-rules.ts'
import { appendCommit, applyVerdict, castVote, type Finality } from '#core/policy/finality.ts'
import { maySpeak, openFinality } from '#core/policy/finality.ts'
import { judgeGenesis } from '#core/policy/genesis-rules.ts'
import { identityOf } from '#core/policy/roster.ts'
import { judgeVote } from '#core/policy/vote.ts'
import { decodeSealedFrame, laneOf, type SealHeader } from '#core/sender-keys/sealed-frame.ts'
import { verifySealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { type Codec, decode } from '#core/wire/codec.ts'
import { commitEntryCodec, entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { genesisEntryCodec, proposalEntryCodec, verdictEntryCodec } from '#core/wire/log-entry.ts'
import { voteEntryCodec } from '#core/wire/log-entry.ts'
import type { StoredEntry } from '#hub/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'

/** A device of an account, as one word. */
export function seatWord(account: AccountName, device: DeviceId): string {
  return `${account}/${toHex(device)}`
}

/** Who sits in a leaf, as one word. */
export function seatName(group: PublicGroup, leaf: number): string | null {
  const node = leafAt(group.tree, leaf)
  const identity = node === null ? null : identityOf(node)
  return identity === null ? null : seatWord(identity.account, identity.device)
}

/** Epoch, leaf, lane and generation of a frame, as one word. */
export function chainOf(header: SealHeader): string {
  return `${toHex(header.epochId)} ${header.leaf} ${laneOf(header)} ${header.generation}`
}

export function seatsOf(group: PublicGroup): ReadonlySet<string> {
  const seats = new Set<string>()
  for (let leaf = 0; leaf < group.tree.leafWidth; leaf++) {
    const name = seatName(group, leaf)
    if (name !== null) seats.add(name)
  }
  return seats
}

/** A room by its name, and its log. */
export interface Place {
  readonly key: string
  readonly reader: LogReader
}

/** An epoch of the log, and the members in it. */
export interface LogEpoch {
  readonly position: bigint
  readonly group: PublicGroup
  readonly seats: ReadonlySet<string>
  /** Who came in, or came back, by this commit. */
  readonly entered: ReadonlySet<string>
  /** Of its frames so far. */
  readonly chains: Set<string>
  /** Who committed; null for the genesis. */
  readonly committer: string | null
  /** Who came in, or came back, by a commit of its own. */
  readonly returned: string | null
}

/** A frame of the log. */
export interface LogFrame {
  readonly position: bigint
  readonly sender: string
  readonly epoch: LogEpoch
  /** Epoch, leaf, lane and generation, as one word. */
  readonly chain: string
}

export interface Replay {
  readonly next: bigint
  readonly headHash: Uint8Array
  readonly finality: Finality
  /** All that are not void, oldest first; the last is the newest. */
  readonly epochs: readonly LogEpoch[]
  /** Of these epochs. */
  readonly frames: readonly LogFrame[]
  readonly voidFrames: readonly LogFrame[]
  /** Of the verdicts. */
  readonly voids: readonly bigint[]
  readonly finals: number
}

function bodyOf<T>(codec: Codec<T>, { entry }: StoredEntry): T {
  ok(entry.body.kind === 'whole')
  const decoded = decode(codec, entry.body.bytes)
  ok(decoded.kind === 'decoded', `a ${entry.header.entry} that can be read`)
  return decoded.value
}

/** Replays a log, one entry after the other; throws where it breaks a rule. */
export class LogReader {
  readonly #crypto: Crypto
  readonly #room: RoomId
  /** Hash of the entry at each position. */
  readonly hashes: Uint8Array[] = []
  /** All epochs that ever were, by epochId in hex. */
  readonly known = new Map<string, LogEpoch>()
  /** The last that was taken, be it void by now. */
  lastFrame: LogFrame | null = null
  #next = 0n
  #headHash: Uint8Array = FIRST_PREVIOUS_HASH
  #timeMs = 0
  #finality: Finality
  #epochs: LogEpoch[]
  #frames: LogFrame[] = []
  readonly #voidFrames: LogFrame[] = []
  readonly #voids: bigint[] = []
  /** When commits of a seat fell by themselves, not with one below them. */
  readonly #falls = new Map<string, number[]>()
  #finals = 0

  private constructor(crypto: Crypto, room: RoomId, first: LogEpoch) {
    this.#crypto = crypto
    this.#room = room
    this.#epochs = [first]
    this.#know(first)
    const { suite, context } = first.group
    const epochId = epochIdOf(suite, context)
    this.#finality = openFinality({ position: logPosition(0n), epochId })
  }

  static async open(crypto: Crypto, room: RoomId, first: StoredEntry): Promise<LogReader> {
    strictEqual(first.entry.header.entry, 'genesis')
    const judged = await judgeGenesis(crypto, room, bodyOf(genesisEntryCodec, first))
    ok(judged.kind === 'judged', 'a good genesis')
    const seats = seatsOf(judged.group)
    const reader = new LogReader(crypto, room, {
      position: 0n,
      group: judged.group,
      seats,
      entered: seats,
      chains: new Set(),
      committer: null,
      returned: null,
    })
    reader.#chain(first)
    return reader
  }

  replay(): Replay {
    return {
      next: this.#next,
      headHash: this.#headHash,
      finality: this.#finality,
      epochs: this.#epochs,
      frames: this.#frames,
      voidFrames: this.#voidFrames,
      voids: this.#voids,
      finals: this.#finals,
    }
  }

  /** Until when a seat may not commit, for two of its commits that fell within an hour (VOTE-8). */
  barredUntilMs(seat: string): number {
    const falls = this.#falls.get(seat) ?? []
    const [first, last] = [falls.at(-LIMITS.voidsPerDeviceMax), falls.at(-1)]
    if (first === undefined || last === undefined) return 0
    return last - first < LIMITS.voidsWindowMs ? last + LIMITS.voidsWindowMs : 0
  }

  #chain({ position, entry, entryHash: said }: StoredEntry): void {
    strictEqual(position as bigint, this.#next)
    const place = { room: this.#room, position, previous: this.#headHash }
    this.#headHash = entryHash((bytes) => this.#crypto.hash('sha256', bytes), place, entry)
    ok(equalBytes(this.#headHash, said), 'the chain holds')
    const timeMs = Number(entry.header.time)
    ok(timeMs >= this.#timeMs, 'hub time never decreases')
    this.#timeMs = timeMs
    this.hashes.push(this.#headHash)
    this.#next++
  }

  async take(stored: StoredEntry): Promise<void> {
    this.#chain(stored)
    switch (stored.entry.header.entry) {
      case 'genesis':
        throw new Error('a second genesis')
      case 'commit':
        return await this.#commit(stored)
      case 'frame':
        return await this.#frame(stored)
      case 'vote':
        return await this.#vote(stored)
      case 'verdict':
        return this.#verdict(stored)
      case 'proposal': {
        const { proposal } = bodyOf(proposalEntryCodec, stored)
        const taken = await publicProcess(this.#top.group, proposal, { timeMs: this.#now })
        ok(taken.kind === 'proposal')
        this.#epochs[this.#epochs.length - 1] = { ...this.#top, group: taken.group }
      }
    }
  }

  get #top(): LogEpoch {
    return this.#epochs.at(-1) as LogEpoch
  }

  get #now(): TimeMs {
    return this.#timeMs as TimeMs
  }

  async #commit(stored: StoredEntry): Promise<void> {
    const entry = bodyOf(commitEntryCodec, stored)
    const before = this.#top
    const taken = await publicProcess(before.group, entry.commit, { timeMs: this.#now })
    ok(taken.kind === 'commit', 'a commit of RFC 9420')
    const judged = await judgeCommit(this.#crypto, {
      room: this.#room,
      before: before.group,
      after: taken.group,
      change: taken.change,
      entry,
      timeMs: this.#now,
      finality: this.#finality,
    })
    ok(judged.kind === 'judged', `commit at ${stored.position}: ${JSON.stringify(judged.kind)}`)
    const { position } = stored
    this.#finality = appendCommit(this.#finality, { ...judged.facts, position })
    const { added, external, committer } = taken.change
    const seats = seatsOf(taken.group)
    const entered = new Set(added.flatMap(({ leaf }) => seatName(taken.group, leaf) ?? []))
    const name = seatName(taken.group, committer)
    const returned = external ? name : null
    if (returned !== null) entered.add(returned)
    const chains = new Set<string>()
    const { group } = taken
    const epoch = { position, group, seats, entered, chains, committer: name, returned }
    this.#epochs.push(epoch)
    this.#know(epoch)
  }

  #know(epoch: LogEpoch): void {
    const { suite, context } = epoch.group
    this.known.set(toHex(epochIdOf(suite, context)), epoch)
  }

  async #frame({ position, entry }: StoredEntry): Promise<void> {
    ok(entry.body.kind === 'whole')
    const frame = decodeSealedFrame(entry.body.bytes)
    ok(frame !== null)
    const { header } = frame
    const { suite, context } = this.#top.group
    ok(equalBytes(header.epochId, epochIdOf(suite, context)), 'a frame of the newest epoch')
    ok(header.seen.position >= (this.#voids.at(-1) ?? 0n), 'a frame has seen the last void')
    ok(maySpeak(this.#finality, header.leaf), 'who speaks may')
    const sender = seatName(this.#top.group, header.leaf)
    const node = leafAt(this.#top.group.tree, header.leaf)
    ok(sender !== null && node !== null)
    const proof = { frame, room: this.#room, publicKey: node.signatureKey }
    ok(await verifySealedFrame(this.#crypto, proof), 'its sender signed it')
    this.#top.chains.add(`${header.leaf} ${laneOf(header)}`)
    this.lastFrame = { position, sender, epoch: this.#top, chain: chainOf(header) }
    this.#frames.push(this.lastFrame)
  }

  async #vote(stored: StoredEntry): Promise<void> {
    const { vote } = bodyOf(voteEntryCodec, stored)
    const groupAt = (at: LogPosition) =>
      this.#epochs.find(({ position }) => position === at)?.group ?? null
    const judged = await judgeVote(this.#crypto, {
      room: this.#room,
      finality: this.#finality,
      groupAt,
    }, vote)
    ok(judged.kind === 'judged', 'the hub takes good votes')
    const cast = castVote(this.#finality, judged.vote)
    ok(cast.kind === 'taken', 'the hub takes votes that count')
    this.#finality = cast.finality
  }

  #verdict(stored: StoredEntry): void {
    const entry = bodyOf(verdictEntryCodec, stored)
    const placed = { position: stored.position, timeMs: this.#now, entry }
    const outcome = applyVerdict(this.#finality, placed)
    ok(outcome.kind === 'final' || outcome.kind === 'void', `a right verdict: ${outcome.kind}`)
    this.#finality = outcome.finality
    if (outcome.kind === 'final') {
      this.#finals++
      return
    }
    this.#voids.push(stored.position)
    const from = entry.position
    const committer = this.#epochs.find(({ position }) => position === from)?.committer
    ok(committer != null, 'what falls is the commit of somebody')
    this.#falls.set(committer, [...this.#falls.get(committer) ?? [], this.#timeMs])
    this.#epochs = this.#epochs.filter(({ position }) => position < from)
    this.#voidFrames.push(...this.#frames.filter(({ epoch }) => epoch.position >= from))
    this.#frames = this.#frames.filter(({ epoch }) => epoch.position < from)
  }
}
