/**
 * Tests of finality: a small room explored in all its interleavings, long random lives, and each
 * rule by itself. The hub and a member run the machine side by side; what a verdict must be is
 * counted here once more, from nothing but the votes in the log.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { AccountName, EpochId, LogPosition, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import * as machine from '#core/policy/finality.ts'
import type { CommitFacts, Finality, VoteChoice } from '#core/policy/finality.ts'
import { decode, encode } from '#core/wire/codec.ts'
import type { Verdict, VerdictEntry } from '#core/wire/log-entry.ts'
import { createPrng } from '../core/prng.ts'

const account = (name: string) => `${name}@hub.example` as AccountName
const position = (value: number | bigint) => BigInt(value) as LogPosition
const time = (value: number) => value as TimeMs
const epochIdAt = (at: bigint) => new Uint8Array(32).fill(Number(at % 251n) + 1) as EpochId
const START = { position: position(0), epochId: epochIdAt(0n) }

/** Ann has two devices, Ben has two, Cem and Dia one each. */
const WHO = ['ann', 'ann', 'ben', 'ben', 'cem', 'dia'].map(account)
const ofLeaf = (leaf: number) => WHO[leaf] as AccountName

interface Facts {
  readonly at: number
  readonly ms?: number
  readonly committer?: number
  readonly added?: readonly number[]
  readonly hasElectors?: boolean
}

function facts({ at, ms = 0, committer = 0, added = [], hasElectors = true }: Facts): CommitFacts {
  return {
    position: position(at),
    timeMs: time(ms),
    epochId: epochIdAt(BigInt(at)),
    committer,
    account: ofLeaf(committer),
    added,
    hasElectors,
  }
}

function vote(finality: Finality, at: number, leaf: number, choice: VoteChoice) {
  const judged = { position: position(at), leaf, account: ofLeaf(leaf), choice }
  return machine.castVote(finality, judged)
}

function taken(finality: Finality, at: number, leaf: number, choice: VoteChoice): Finality {
  const outcome = vote(finality, at, leaf, choice)
  ok(outcome.kind === 'taken', `leaf ${leaf} votes`)
  return outcome.finality
}

const opened = (commit: Facts) => machine.appendCommit(machine.openFinality(START), facts(commit))

// ---- What a verdict must be, counted anew ---------------------------------------------------

interface Ballot {
  readonly leaf: number
  readonly choice: VoteChoice
}

/** Rule VOTE-3 in other words than the machine's: from the ballots of one commit in their order. */
function due(
  commit: CommitFacts,
  ballots: readonly Ballot[],
  when: { readonly ms: number; readonly asked: readonly number[] },
): Verdict | null {
  if (!commit.hasElectors) return 'final'
  const words = new Map<AccountName, VoteChoice>()
  let agreeingAsked = 0
  for (const { leaf, choice } of ballots) {
    if (ofLeaf(leaf) === commit.account || commit.added.includes(leaf)) continue
    if (!words.has(ofLeaf(leaf))) words.set(ofLeaf(leaf), choice)
    if (choice === 'agree' && when.asked.includes(leaf)) agreeingAsked++
  }
  let balance = 0
  for (const choice of words.values()) balance += choice === 'agree' ? 1 : -1
  const age = when.ms - commit.timeMs
  if (balance < 0) return age >= 2_000 ? 'void' : null
  if (balance > 0 && (age >= 2_000 || agreeingAsked > when.asked.length / 2)) return 'final'
  return age >= 7 * 24 * 3_600_000 ? 'final' : null
}

// ---- A room with a hub and a member ---------------------------------------------------------

interface Life {
  readonly hub: Finality
  readonly member: Finality
  readonly ms: number
  readonly next: number
  readonly commits: number
  readonly ballots: ReadonlyMap<bigint, readonly Ballot[]>
  readonly finals: readonly bigint[]
  readonly voids: readonly bigint[]
}

const BORN: Life = {
  hub: machine.openFinality(START),
  member: machine.openFinality(START),
  ms: 0,
  next: 1,
  commits: 0,
  ballots: new Map(),
  finals: [0n],
  voids: [],
}

const withoutAsked = (finality: Finality): Finality => ({
  ...finality,
  open: finality.open.map((epoch) => ({ ...epoch, asked: [] })),
})

/** Every verdict but the right one is refused by the member. */
function refusesLies(life: Life): void {
  for (const epoch of life.member.open) {
    const ballots = life.ballots.get(epoch.position) ?? []
    for (const verdict of ['final', 'void'] as const) {
      for (const asked of [[], [2], [2, 4, 5], [0, 1], [4, 4]]) {
        const entry: VerdictEntry = { position: epoch.position, verdict, asked }
        const at = position(life.next)
        const outcome = machine.applyVerdict(life.member, {
          position: at,
          timeMs: time(life.ms),
          entry,
        })
        const repeats = new Set(asked).size !== asked.length
        const isLowest = epoch === life.member.open[0]
        const isDue = due(epoch, ballots, { ms: life.ms, asked }) === verdict
        const isRight = isDue && !repeats && (verdict === 'void' || isLowest)
        strictEqual(outcome.kind, isRight ? verdict : 'wrongVerdict')
      }
    }
  }
}

/** The hub writes what is due; the member checks each verdict. */
function settle(life: Life): Life {
  let { hub, member, next, finals, voids } = life
  for (;;) {
    const entry = machine.nextVerdict(hub, time(life.ms))
    if (entry === null) break
    const commit = hub.open.find((open) => open.position === entry.position)
    ok(commit !== undefined)
    const ballots = life.ballots.get(entry.position) ?? []
    const { asked } = entry
    strictEqual(due(commit, ballots, { ms: life.ms, asked }), entry.verdict)
    const placed = { position: position(next), timeMs: time(life.ms), entry }
    const above = hub.open.filter((open) => open.position >= entry.position)
    const byHub = machine.applyVerdict(hub, placed)
    const byMember = machine.applyVerdict(member, placed)
    ok(byHub.kind === 'final' || byHub.kind === 'void')
    ok(byMember.kind === byHub.kind)
    if (byHub.kind === 'final') {
      strictEqual(entry.position, hub.open[0]?.position, 'final comes from the lowest up')
      ok(entry.position > (finals.at(-1) as bigint) && !voids.includes(entry.position))
      finals = [...finals, entry.position]
    } else {
      deepStrictEqual(byHub.epochs, above, 'a void takes all above')
      ok(above.every((open) => !finals.includes(open.position)), 'final is never undone')
      voids = [...voids, ...above.map((open) => open.position)]
    }
    hub = byHub.finality
    member = byMember.finality
    strictEqual(hub.final.position, finals.at(-1))
    next++
  }
  deepStrictEqual(withoutAsked(hub), member, 'hub and member stand alike')
  for (const epoch of hub.open) {
    const ballots = life.ballots.get(epoch.position) ?? []
    const verdict = due(epoch, ballots, { ms: life.ms, asked: epoch.asked })
    ok(verdict === null || (verdict === 'final' && epoch !== hub.open[0]), 'nothing due is left')
  }
  return { ...life, hub, member, next, finals, voids }
}

function commitStep(life: Life, committer: number, added: readonly number[]): Life {
  // Positions that do not tell how many votes there were let lives meet again.
  const at = Math.max(life.next, life.commits * 100 + 100)
  const made = facts({ at, ms: life.ms, committer, added })
  const hasElectors = WHO.some((_name, leaf) =>
    machine.isElector(made, {
      leaf,
      account: ofLeaf(leaf),
    })
  )
  const commit = { ...made, hasElectors }
  return settle({
    ...life,
    hub: machine.appendCommit(life.hub, commit),
    member: machine.appendCommit(life.member, commit),
    next: at + 1,
    commits: life.commits + 1,
  })
}

function askStep(life: Life, at: bigint, leaves: readonly number[]): Life {
  return settle({ ...life, hub: machine.askLeaves(life.hub, position(at), leaves) })
}

/** Null where the vote is refused, which it is by both. */
function voteStep(life: Life, at: bigint, ballot: Ballot): Life | null {
  const byHub = vote(life.hub, Number(at), ballot.leaf, ballot.choice)
  const byMember = vote(life.member, Number(at), ballot.leaf, ballot.choice)
  strictEqual(byHub.kind, byMember.kind)
  if (byHub.kind !== 'taken' || byMember.kind !== 'taken') return null
  const ballots = new Map(life.ballots).set(at, [...life.ballots.get(at) ?? [], ballot])
  return settle({
    ...life,
    hub: byHub.finality,
    member: byMember.finality,
    next: life.next + 1,
    ballots,
  })
}

/** Everything that can happen next. */
function* steps(life: Life, limits: { readonly commits: number }): Iterable<Life> {
  if (life.commits < limits.commits) {
    // Ann commits, then Ben, who brings Cem in.
    yield life.commits === 0 ? commitStep(life, 0, []) : commitStep(life, 2, [4])
  }
  for (const { position: at, asked } of life.hub.open) {
    if (asked.length === 0) {
      yield askStep(
        life,
        at,
        [2, 4, 5].filter((leaf) => leaf !== 4 || at < 2n),
      )
    }
    for (const leaf of [1, 2, 3, 4]) {
      for (const choice of ['agree', 'cannot'] as const) {
        const voted = voteStep(life, at, { leaf, choice })
        if (voted !== null) yield voted
      }
    }
  }
  yield settle({ ...life, ms: life.ms + LIMITS.verdictWaitMs })
  yield settle({ ...life, ms: life.ms + LIMITS.provisionalMsMax })
}

/** Lives that differ only in how they came about are one. */
function keyOf(life: Life): string {
  const stored = encode(machine.finalityCodec, machine.finalityRecord(life.hub))
  return `${toHex(stored)}/${life.ms}/${life.commits}`
}

Deno.test('VOTE-3, VOTE-4: two commits and all that can befall them, in every order', () => {
  const seen = new Set<string>()
  let front: Life[] = [BORN]
  const verdicts = { final: 0, void: 0, stacked: 0 }
  for (let depth = 0; depth < 7; depth++) {
    const reached: Life[] = []
    for (const life of front) {
      for (const next of steps(life, { commits: 2 })) {
        verdicts.final += next.finals.length > life.finals.length ? 1 : 0
        verdicts.void += next.voids.length > life.voids.length ? 1 : 0
        verdicts.stacked += next.voids.length > life.voids.length + 1 ? 1 : 0
        const key = keyOf(next)
        if (seen.has(key)) continue
        seen.add(key)
        refusesLies(next)
        reached.push(next)
      }
    }
    front = reached
  }
  // The search reached what it is about.
  ok(seen.size > 10_000 && verdicts.final > 100 && verdicts.void > 100 && verdicts.stacked > 10)
})

Deno.test('VOTE-3, VOTE-4: long random lives keep the order, and final stays final', () => {
  let [finals, voids] = [0, 0]
  for (let seed = 1; seed <= 60; seed++) {
    const prng = createPrng(seed)
    let life = BORN
    for (let turn = 0; turn < 120; turn++) {
      const { open } = life.hub
      const kind = prng.integer(10)
      if (kind < 2 && open.length < 6) {
        life = commitStep(life, prng.integer(6), prng.integer(3) === 0 ? [prng.integer(6)] : [])
      } else if (kind < 7 && open.length > 0) {
        const at = prng.pick(open).position
        const choice = prng.pick(['agree', 'agree', 'cannot'] as const)
        life = voteStep(life, at, { leaf: prng.integer(6), choice }) ?? life
      } else if (kind < 8 && open.length > 0) {
        life = askStep(life, prng.pick(open).position, [prng.integer(6), prng.integer(6)])
      } else {
        const span = prng.integer(20) === 0 ? LIMITS.provisionalMsMax : 3_000
        life = settle({ ...life, ms: life.ms + prng.integer(span) })
      }
      if (turn % 10 === 0) refusesLies(life)
    }
    finals += life.finals.length - 1
    voids += life.voids.length
  }
  ok(finals > 100 && voids > 100, `${finals} final and ${voids} void epochs`)
})

// ---- Each rule by itself ----------------------------------------------------------------------

Deno.test('VOTE-2: one vote a leaf, one word an account, none of the committer', () => {
  const start = opened({ at: 1, added: [5] })
  const outcomes = [
    vote(start, 1, 0, 'agree'),
    vote(taken(start, 1, 2, 'agree'), 1, 2, 'cannot'),
    vote(start, 1, 1, 'cannot'),
    vote(start, 1, 5, 'cannot'),
    vote(start, 7, 2, 'agree'),
  ]
  deepStrictEqual(
    outcomes.map((outcome) => outcome.kind === 'refused' && outcome.fault),
    ['wrongLeaf', 'twice', 'noElector', 'noElector', 'settled'],
  )
  // Two devices of one account are one word, the first; others may agree, for nothing.
  let finality = taken(start, 1, 2, 'cannot')
  for (const leaf of [3, 1, 5]) finality = taken(finality, 1, leaf, 'agree')
  const [epoch] = finality.open
  ok(epoch !== undefined)
  deepStrictEqual(machine.tally(epoch, [1, 2, 3, 5]), {
    agrees: 0,
    complaints: 1,
    agreesOfAsked: 1,
  })
  strictEqual(machine.nextVerdict(finality, time(2_000))?.verdict, 'void')
})

Deno.test('VOTE-3: more than half of the asked make it final at once, half of them do not', () => {
  const asked = machine.askLeaves(opened({ at: 1 }), position(1), [2, 4])
  const half = taken(asked, 1, 2, 'agree')
  strictEqual(machine.nextVerdict(half, time(1_999)), null)
  strictEqual(machine.nextVerdict(half, time(2_000))?.verdict, 'final')
  const both = taken(half, 1, 4, 'agree')
  const entry = machine.nextVerdict(both, time(0))
  deepStrictEqual(entry, { position: 1n, verdict: 'final', asked: [2, 4] })
  // Complaints of those who were not asked weigh as much.
  const torn = taken(taken(half, 1, 4, 'cannot'), 1, 5, 'cannot')
  strictEqual(machine.nextVerdict(torn, time(1_999)), null)
  strictEqual(machine.nextVerdict(torn, time(2_000))?.verdict, 'void')
})

Deno.test('VOTE-3: nobody to ask makes it final, a tie and silence only after seven days', () => {
  const alone = opened({ at: 1, hasElectors: false })
  strictEqual(machine.nextVerdict(alone, time(0))?.verdict, 'final')
  const silent = opened({ at: 1 })
  const tie = taken(taken(silent, 1, 2, 'cannot'), 1, 4, 'agree')
  for (const finality of [silent, tie]) {
    strictEqual(machine.nextVerdict(finality, time(LIMITS.provisionalMsMax - 1)), null)
    strictEqual(machine.nextVerdict(finality, time(LIMITS.provisionalMsMax))?.verdict, 'final')
  }
  const against = taken(silent, 1, 2, 'cannot')
  strictEqual(machine.nextVerdict(against, time(LIMITS.provisionalMsMax))?.verdict, 'void')
  strictEqual(machine.verdictDueMs(silent, time(0)), 2_000)
  strictEqual(machine.verdictDueMs(silent, time(2_000)), LIMITS.provisionalMsMax)
  strictEqual(machine.verdictDueMs(machine.openFinality(START), time(0)), null)
})

Deno.test('VOTE-5: in a provisional epoch its committer speaks, and who agreed', () => {
  const start = machine.openFinality(START)
  ok(machine.maySpeak(start, 4))
  let finality = opened({ at: 1, added: [5] })
  deepStrictEqual([0, 1, 2, 4, 5].map((leaf) => machine.maySpeak(finality, leaf)), [
    ...[true, false, false, false, false],
  ])
  finality = taken(taken(taken(finality, 1, 5, 'agree'), 1, 1, 'agree'), 1, 4, 'cannot')
  deepStrictEqual([0, 1, 2, 4, 5].map((leaf) => machine.maySpeak(finality, leaf)), [
    ...[true, true, false, false, true],
  ])
  // It is about the newest epoch alone: who agreed below has said nothing of what is above.
  const above = machine.appendCommit(finality, facts({ at: 4, committer: 2 }))
  deepStrictEqual([0, 2].map((leaf) => machine.maySpeak(above, leaf)), [false, true])
})

Deno.test('VOTE-6: no commit from before the last void, or from before its own epoch', () => {
  const before = taken(opened({ at: 3 }), 3, 2, 'cannot')
  const entry = machine.nextVerdict(before, time(2_000))
  ok(entry?.verdict === 'void')
  const placed = { position: position(6), timeMs: time(2_000), entry }
  const outcome = machine.applyVerdict(before, placed)
  ok(outcome.kind === 'void')
  const { finality } = outcome
  deepStrictEqual([machine.headEpoch(finality), finality.lastVoid], [START, 6n])
  // The void commit itself, sequenced again, has seen only what was there before it.
  deepStrictEqual([2n, 5n, 6n].map((seen) => machine.judgeAppend(finality, seen)), [
    ...['staleSeen', 'staleSeen', null],
  ])
  const next = machine.appendCommit(finality, facts({ at: 7 }))
  deepStrictEqual([6n, 7n].map((seen) => machine.judgeAppend(next, seen)), ['staleSeen', null])
})

Deno.test('VOTE-6: provisional epochs are bounded in number', () => {
  let finality = machine.openFinality(START)
  for (let at = 1; at <= LIMITS.provisionalEpochsMax; at++) {
    strictEqual(machine.judgeAppend(finality, BigInt(at - 1)), null)
    finality = machine.appendCommit(finality, facts({ at }))
  }
  strictEqual(machine.judgeAppend(finality, 1_000n), 'tooMany')
})

Deno.test('VOTE-4: who began at an anchor passes over verdicts about what is below', () => {
  const anchored = machine.openFinality({ position: position(9), epochId: epochIdAt(9n) })
  const about = (at: number, verdict: Verdict) =>
    machine.applyVerdict(anchored, {
      position: position(12),
      timeMs: time(0),
      entry: { position: position(at), verdict, asked: [] },
    }).kind
  deepStrictEqual([about(7, 'final'), about(9, 'final')], ['ignored', 'ignored'])
  deepStrictEqual([about(9, 'void'), about(7, 'void'), about(10, 'final')], [
    ...['wrongVerdict', 'wrongVerdict', 'wrongVerdict'],
  ])
})

Deno.test('VOTE-4: a verdict asks nobody twice', () => {
  const finality = taken(opened({ at: 1 }), 1, 2, 'agree')
  const judge = (asked: readonly number[]) =>
    machine.applyVerdict(finality, {
      position: position(5),
      timeMs: time(2_000),
      entry: { position: position(1), verdict: 'final', asked },
    }).kind
  deepStrictEqual([judge([]), judge([2, 4]), judge([2, 2])], ['final', 'final', 'wrongVerdict'])
})

Deno.test('VOTE-4: a machine is stored and comes back the same', () => {
  const prng = createPrng(9)
  let life = BORN
  for (let turn = 0; turn < 40; turn++) {
    life = commitStep(life, prng.integer(6), [])
    for (const { position: at } of life.hub.open) {
      life = voteStep(life, at, { leaf: prng.integer(6), choice: 'agree' }) ?? life
    }
    const record = machine.finalityRecord(life.hub)
    const read = decode(machine.finalityCodec, encode(machine.finalityCodec, record))
    ok(read.kind === 'decoded')
    deepStrictEqual(read.value, record)
  }
})
