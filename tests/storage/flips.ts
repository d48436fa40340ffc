/**
 * One byte of a data folder changed at a time, the store opened as the hub opens it, everything
 * read back: each change must be told with a code or must not show. Owns the folder that it damages
 * and the count of what came of it.
 *
 * An answer depends on nothing but the pages that are read for it. Which these are is found out by
 * damaging each page whole; then a changed byte is judged by the answers that need its page, on
 * connections that stay open and hold no page in memory. One change in `WHOLE_EVERY` is judged by
 * everything, on a store that is opened anew, and must come out the same.
 */
import { ok, strictEqual } from 'node:assert/strict'
import type { TimeMs } from '#core/base/ids.ts'
import { claim } from '#hub/adapters/sqlite-directory.ts'
import { findName } from '#hub/adapters/sqlite-names.ts'
import { isRowDamage, isStructureDamage } from '#hub/adapters/sqlite-proof.ts'
import { createReader, StoreError } from '#hub/adapters/sqlite-reader.ts'
import { type OpenedWriter, openForReading, openForWriting } from '#hub/adapters/sqlite-schema.ts'
import { type Answer, answerOf, isSame, type ReadStore, type Step, stepsOf } from './reads.ts'
import { copyFolder, type Inventory } from './story.ts'

export const PAGE_SIZE = 4_096
const WHOLE_EVERY = 1_024

export interface Counts {
  flipped: number
  detected: number
  harmless: number
  /** What was given out though it is not what was stored: the places of the bytes. */
  readonly wrong: string[]
  /** Detections by step and code. */
  readonly codes: Map<string, number>
}

export const newCounts = (): Counts => ({
  flipped: 0,
  detected: 0,
  harmless: 0,
  wrong: [],
  codes: new Map(),
})

export type Verdict =
  | { readonly kind: 'harmless' }
  | { readonly kind: 'detected'; readonly by: string }
  | { readonly kind: 'wrong'; readonly by: string }

export interface FlipOptions {
  /** Left as it is. */
  readonly folder: string
  /** Where the copy that is damaged stands; made and removed by the caller. */
  readonly scratch: string
  readonly inventory: Inventory
}

interface Opened {
  readonly store: ReadStore
  /** Pages are read anew from here on. */
  forget(): void
  close(): void
}

/** The store as the hub opens it, without its threads; the code of a refusal. */
export function openStore(dataDir: string, nowMs: number): Opened | string {
  const path = `${dataDir}/hub.sqlite`
  const writer = openForWriting(path)
  if (writer.kind === 'refused') return writer.code
  const reading = openForReading(path)
  const closeWriter = () => {
    writer.db.close()
    writer.commitsFile.close()
  }
  if (reading.kind === 'refused') {
    closeWriter()
    return reading.code
  }
  const { db } = reading
  const shrinks = [db, writer.db].map((each) => each.prepare('PRAGMA shrink_memory'))
  const clock = { nowMs: () => nowMs as TimeMs }
  return {
    store: { ...createReader(db, { clock, observe: () => {} }), ...undone(writer) },
    forget() {
      for (const shrink of shrinks) shrink.get()
    },
    close() {
      db.close()
      closeWriter()
    },
  }
}

/** What the writer would say; nothing of it stays. */
function undone({ db, sql }: OpenedWriter): Pick<ReadStore, 'claim' | 'isKnown'> {
  const attempt = <T>(run: () => T): Promise<T> => {
    try {
      db.exec('BEGIN IMMEDIATE')
      return Promise.resolve(run())
    } catch (error) {
      if (isRowDamage(error)) return Promise.reject(new StoreError('damaged'))
      return Promise.reject(new StoreError(isStructureDamage(error) ? 'broken' : 'failed'))
    } finally {
      if (db.isTransaction) db.exec('ROLLBACK')
    }
  }
  return {
    claim: (account, { suite, nowMs }) =>
      attempt(() => claim(sql, { kind: 'claim', account, suite, nowMs })),
    isKnown: (reference) => attempt(() => findName(sql, 'keyPackage', reference) !== null),
  }
}

/** A story's folder, what there is to read of it, and what is right. */
export class DamagedFolder {
  readonly #options: FlipOptions
  readonly #steps: readonly Step[]
  readonly #right: readonly Answer[]

  #needs: readonly PageNeed[] | null = null

  private constructor(options: FlipOptions, steps: readonly Step[], right: readonly Answer[]) {
    this.#options = options
    this.#steps = steps
    this.#right = right
  }

  static async of(options: FlipOptions): Promise<DamagedFolder> {
    const { folder, scratch, inventory } = options
    copyFolder(folder, scratch)
    const opened = openStore(scratch, inventory.nowMs)
    ok(typeof opened !== 'string')
    const steps = await stepsOf(opened.store, inventory)
    const right: Answer[] = []
    for (const step of steps) right.push(await answerOf(step, opened.store))
    opened.close()
    ok(right.every(({ kind }) => kind === 'answered'))
    return new DamagedFolder(options, steps, right)
  }

  get stepCount(): number {
    return this.#steps.length
  }

  /** Opens a fresh copy with `damage` done to it and reads everything. */
  async judgeWhole(damage: (scratch: string) => void): Promise<Verdict> {
    const { folder, scratch, inventory } = this.#options
    copyFolder(folder, scratch)
    damage(scratch)
    const opened = openStore(scratch, inventory.nowMs)
    if (typeof opened === 'string') return { kind: 'detected', by: `open ${opened}` }
    try {
      return await this.#judge({ ...opened, forget: () => {} }, this.#steps.keys())
    } finally {
      opened.close()
    }
  }

  async #judge(opened: Opened, indices: Iterable<number>): Promise<Verdict> {
    let verdict: Verdict = { kind: 'harmless' }
    for (const index of indices) {
      const step = this.#steps[index] as Step
      opened.forget()
      const answer = await answerOf(step, opened.store)
      if (answer.kind === 'refused') {
        verdict = { kind: 'detected', by: `${step.name} ${answer.code}` }
      } else if (!isSame(answer, this.#right[index] as Answer)) {
        return { kind: 'wrong', by: step.name }
      }
    }
    return verdict
  }

  /**
   * Flips every `stride`th byte of a file beside the database, opening the store anew each time. A
   * store that is refused is left as it was, so that the next byte can be changed in the same copy.
   */
  async flipFile(name: string, { stride, offset, mask }: Flipping, counts: Counts): Promise<void> {
    const { folder, scratch } = this.#options
    const bytes = Deno.readFileSync(`${folder}/${name}`)
    copyFolder(folder, scratch)
    for (let at = offset; at < bytes.length; at += stride) {
      count(counts, await this.#judgeInPlace(name, at, mask), `${name}:${at}^${mask}`)
    }
  }

  /** On a store that is opened anew; the copy is as it was afterwards. */
  async #judgeInPlace(name: string, at: number, mask: number): Promise<Verdict> {
    const { folder, scratch, inventory } = this.#options
    flipByte(`${scratch}/${name}`, at, mask)
    const opened = openStore(scratch, inventory.nowMs)
    if (typeof opened === 'string') {
      flipByte(`${scratch}/${name}`, at, mask)
      return { kind: 'detected', by: `open ${opened}` }
    }
    const verdict = await this.#judge({ ...opened, forget: () => {} }, this.#steps.keys())
    opened.close()
    copyFolder(folder, scratch)
    return verdict
  }

  /** Flips every `stride`th byte of the database, which must have no write-ahead log. */
  async flipDatabase(flipping: Flipping, counts: Counts): Promise<void> {
    const { folder, scratch, inventory } = this.#options
    const { stride, offset, mask } = flipping
    const bytes = Deno.readFileSync(`${folder}/hub.sqlite`)
    const needs = this.#needs ??= await this.#pagesNeeded(bytes)
    const place = (at: number) => `hub.sqlite:${at}^${mask}`
    copyFolder(folder, scratch)
    const opened = openStore(scratch, inventory.nowMs)
    ok(typeof opened !== 'string')
    const file = Deno.openSync(`${scratch}/hub.sqlite`, { read: true, write: true })
    const rest: { readonly at: number; readonly verdict: Verdict | null }[] = []
    for (let at = offset, n = 0; at < bytes.length; at += stride, n++) {
      const need = needs[Math.floor(at / PAGE_SIZE)] as PageNeed
      if (need.toOpen) {
        rest.push({ at, verdict: null })
        continue
      }
      writeByte(file, at, (bytes[at] as number) ^ mask)
      const verdict = await this.#judge(opened, need.steps)
      writeByte(file, at, bytes[at] as number)
      count(counts, verdict, place(at))
      if (n % WHOLE_EVERY === 0) rest.push({ at, verdict })
    }
    opened.close()
    file.close()
    copyFolder(folder, scratch)
    for (const { at, verdict } of rest) {
      const whole = await this.#judgeInPlace('hub.sqlite', at, mask)
      if (verdict === null) count(counts, whole, place(at))
      else strictEqual(whole.kind, verdict.kind, place(at))
    }
  }

  /** By page: the answers that change when it is damaged whole, and whether opening needs it. */
  async #pagesNeeded(bytes: Uint8Array): Promise<readonly PageNeed[]> {
    const { folder, scratch, inventory } = this.#options
    const needs: PageNeed[] = []
    for (let page = 0; page < bytes.length / PAGE_SIZE; page++) {
      const steps = new Set<number>()
      let toOpen = page === 0
      for (const fill of [0x00, 0xff]) {
        copyFolder(folder, scratch)
        const file = Deno.openSync(`${scratch}/hub.sqlite`, { read: true, write: true })
        const damage = () => writeAt(file, page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(fill))
        damage()
        const damaged = openStore(scratch, inventory.nowMs)
        if (typeof damaged === 'string') toOpen = true
        else damaged.close()
        file.close()
        if (toOpen) continue
        for (const index of await this.#changedBy(page, fill)) steps.add(index)
      }
      needs.push({ toOpen, steps: [...steps] })
    }
    return needs
  }

  async #changedBy(page: number, fill: number): Promise<readonly number[]> {
    const { folder, scratch, inventory } = this.#options
    copyFolder(folder, scratch)
    const opened = openStore(scratch, inventory.nowMs)
    ok(typeof opened !== 'string')
    const file = Deno.openSync(`${scratch}/hub.sqlite`, { read: true, write: true })
    writeAt(file, page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(fill))
    const changed: number[] = []
    for (const [index, step] of this.#steps.entries()) {
      opened.forget()
      const answer = await answerOf(step, opened.store)
      if (!isSame(answer, this.#right[index] as Answer)) changed.push(index)
    }
    opened.close()
    file.close()
    return changed
  }
}

export interface Flipping {
  readonly stride: number
  readonly offset: number
  /** What a byte is changed by. */
  readonly mask: number
}

interface PageNeed {
  readonly toOpen: boolean
  readonly steps: readonly number[]
}

export function count(counts: Counts, verdict: Verdict, place: string): void {
  counts.flipped++
  if (verdict.kind === 'harmless') counts.harmless++
  else if (verdict.kind === 'wrong') {
    counts.wrong.push(`${place} ${verdict.by}`)
    console.log(`WRONG ${place} ${verdict.by}`)
  } else {
    counts.detected++
    counts.codes.set(verdict.by, (counts.codes.get(verdict.by) ?? 0) + 1)
  }
}

export function flipByte(path: string, at: number, mask: number): void {
  const file = Deno.openSync(path, { read: true, write: true })
  const byte = new Uint8Array(1)
  file.seekSync(at, Deno.SeekMode.Start)
  file.readSync(byte)
  writeByte(file, at, (byte[0] as number) ^ mask)
  file.close()
}

const writeByte = (file: Deno.FsFile, at: number, byte: number) =>
  writeAt(file, at, Uint8Array.of(byte))

function writeAt(file: Deno.FsFile, at: number, bytes: Uint8Array): void {
  file.seekSync(at, Deno.SeekMode.Start)
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done))
}
