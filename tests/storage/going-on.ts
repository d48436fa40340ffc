/**
 * A hub that goes on writing on a damaged store: what it says meanwhile and what stands there
 * afterwards must be what an undamaged store says and holds, or be refused. Owns the operations;
 * what is read is `reads.ts`.
 */
import { ok } from 'node:assert/strict'
import type { LogPosition, RoomId, Term } from '#core/base/ids.ts'
import { type Operation, packAppends } from '#hub/adapters/sqlite-batch.ts'
import { openForWriting } from '#hub/adapters/sqlite-schema.ts'
import { BatchWriter } from '#hub/adapters/sqlite-writer.ts'
import type { RoomAppend } from '#hub/ports.ts'
import { count, type Counts, flipByte, type Flipping, openStore } from './flips.ts'
import type { Verdict } from './flips.ts'
import { type Answer, answerOf, flat, isSame, type ReadStore, type Step } from './reads.ts'
import { stepsOf } from './reads.ts'
import { copyFolder, type Inventory } from './story.ts'

export interface GoingOnOptions {
  readonly folder: string
  readonly scratch: string
  readonly inventory: Inventory
}

/** Packed anew each time: a batch is handed over once. */
type MakeOperation = () => Operation

export class GoingOn {
  readonly #options: GoingOnOptions
  readonly #operations: readonly MakeOperation[]
  #said: readonly Answer[] = []
  #steps: readonly Step[] = []
  #right: readonly Answer[] = []

  private constructor(options: GoingOnOptions, operations: readonly MakeOperation[]) {
    this.#options = options
    this.#operations = operations
  }

  static async of(options: GoingOnOptions): Promise<GoingOn> {
    const { folder, scratch, inventory } = options
    copyFolder(folder, scratch)
    const before = openStore(scratch, inventory.nowMs)
    ok(typeof before !== 'string')
    const going = new GoingOn(options, await operationsOn(before.store, inventory))
    before.close()
    const said = going.#write()
    ok(typeof said !== 'string' && said.every(({ kind }) => kind === 'answered'))
    going.#said = said
    const after = openStore(scratch, inventory.nowMs)
    ok(typeof after !== 'string')
    going.#steps = await stepsOf(after.store, inventory)
    going.#right = await answersOf(going.#steps, after.store)
    after.close()
    ok(going.#right.every(({ kind }) => kind === 'answered'))
    return going
  }

  async judge(damage: (scratch: string) => void): Promise<Verdict> {
    const { folder, scratch, inventory } = this.#options
    copyFolder(folder, scratch)
    damage(scratch)
    const said = this.#write()
    if (typeof said === 'string') return { kind: 'detected', by: `open ${said}` }
    for (const [index, answer] of said.entries()) {
      if (answer.kind === 'refused') return { kind: 'detected', by: `writing ${answer.code}` }
      if (isSame(answer, this.#said[index] as Answer)) continue
      return { kind: 'wrong', by: `operation ${index}` }
    }
    const opened = openStore(scratch, inventory.nowMs)
    if (typeof opened === 'string') return { kind: 'detected', by: `open again ${opened}` }
    const answers = await answersOf(this.#steps, opened.store)
    opened.close()
    const refused = answers.find(({ kind }) => kind === 'refused')
    const wrong = answers.findIndex((answer, index) =>
      answer.kind === 'answered' && !isSame(answer, this.#right[index] as Answer)
    )
    if (wrong >= 0) return { kind: 'wrong', by: `then ${this.#steps[wrong]?.name}` }
    return refused?.kind === 'refused'
      ? { kind: 'detected', by: `then ${refused.code}` }
      : { kind: 'harmless' }
  }

  /** Flips every `stride`th byte of the database. */
  async flipDatabase({ stride, offset, mask }: Flipping, counts: Counts): Promise<void> {
    const { size } = Deno.statSync(`${this.#options.folder}/hub.sqlite`)
    for (let at = offset; at < size; at += stride) {
      const verdict = await this.judge((dir) => flipByte(`${dir}/hub.sqlite`, at, mask))
      count(counts, verdict, `hub.sqlite:${at}^${mask}`)
    }
  }

  /** Each operation in a transaction of its own, up to the first that is refused. */
  #write(): readonly Answer[] | string {
    const opened = openForWriting(`${this.#options.scratch}/hub.sqlite`)
    if (opened.kind === 'refused') return opened.code
    const writer = new BatchWriter(opened)
    const said: Answer[] = []
    for (const [id, make] of this.#operations.entries()) {
      const answer = answerTo(writer, id, make())
      said.push(answer)
      if (answer.kind === 'refused') break
    }
    writer.close()
    return said
  }
}

function answerTo(writer: BatchWriter, id: number, operation: Operation): Answer {
  const outcome = writer.commit(id, [operation])
  if (outcome.kind !== 'committed') return { kind: 'refused', code: outcome.kind }
  const parts = flat(outcome.results)
  return parts.includes('string damaged')
    ? { kind: 'refused', code: 'damaged' }
    : { kind: 'answered', parts }
}

async function answersOf(steps: readonly Step[], store: ReadStore): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  for (const step of steps) answers.push(await answerOf(step, store))
  return answers
}

// ---- Operations ---------------------------------------------------------------------------

async function operationsOn(
  store: ReadStore,
  inventory: Inventory,
): Promise<readonly MakeOperation[]> {
  const operations: MakeOperation[] = []
  for (const room of inventory.rooms) operations.push(...await onRoom(store, room, inventory))
  for (const { account, device } of inventory.devices) {
    const { suite, nowMs, references } = inventory
    const claim: Operation = { kind: 'claim', account, suite, nowMs }
    operations.push(() => claim, () => claim)
    const again = references.slice(0, 12)
      .map((reference) => ({ reference, suite, keyPackage: reference, notAfter: nowMs + 1 }))
    const published = { account, device, single: again, lastResort: null, nowMs }
    operations.push(() => ({ kind: 'publish', ...published }))
    const stranger = { account, certificate: device, rootHash: new Uint8Array(32) }
    operations.push(() => ({ kind: 'register', account: stranger }))
    for (const { id } of await store.directory.readWelcomes(account, device)) {
      operations.push(() => ({ kind: 'deleteWelcome', account, device, id }))
    }
  }
  return operations
}

/** A commit that is final at once, with what follows from it, then a frame; then an anchor. */
async function onRoom(
  { log }: ReadStore,
  room: RoomId,
  { invitations }: Inventory,
): Promise<readonly MakeOperation[]> {
  const stored = await log.readRoom(room)
  const before = await log.readVersion(room, (1n << 40n) as LogPosition)
  ok(stored !== null && before !== null)
  const { next } = stored
  const bytes = (seed: number) => new Uint8Array(600).fill(seed)
  const entry = (position: bigint, kind: 'commit' | 'frame') => ({
    position: position as LogPosition,
    entry: { header: { entry: kind, time: 2n ** 41n }, body: { kind: 'whole', bytes: bytes(1) } },
    entryHash: bytes(Number(position & 255n)).slice(0, 32),
  } as const)
  const append: RoomAppend = {
    room,
    term: 1n as Term,
    expectedNext: next,
    entries: [entry(next, 'commit'), entry(next + 1n, 'frame')],
    state: bytes(3),
    generations: [{ origin: next, leaf: 0, lane: 0, generation: 5 }],
    welcomes: [],
    effects: {
      voidFrom: null,
      finals: [{
        position: next,
        leafWidth: before.leafWidth,
        head: bytes(4),
        nodes: [{ node: 0, bytes: bytes(5) }],
        certificates: [{ hash: bytes(6).slice(0, 32), certificate: bytes(6) }],
        certificatesDropped: [],
        invitations,
      }],
    },
  }
  const [version, invitation] = [Number(next), invitations[0] ?? bytes(7).slice(0, 32)]
  return [
    () => ({ kind: 'append', packed: packAppends([append]) }),
    () => ({
      kind: 'leaveAnchor',
      room,
      invitation,
      version,
      position: version,
      anchor: bytes(8),
    }),
  ]
}
