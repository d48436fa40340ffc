/**
 * A sample of what `npm run storage-faults` does to every byte, and what has no bytes: files that
 * end too early or are not there. Owns the choice of the sample.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createPrng } from '../core/prng.ts'
import {
  count,
  type Counts,
  DamagedFolder,
  flipByte,
  newCounts,
  openStore,
  PAGE_SIZE,
} from './flips.ts'
import { GoingOn } from './going-on.ts'
import { checkStory } from './reads.ts'
import { copyFolder, liveStory } from './story.ts'

const SEED = 20
const FLIPS = 120
const FLIPS_WRITTEN_ON = 30
const CUTS = 60
const PAGES = 30

const folder = Deno.makeTempDirSync({ prefix: 'kalandra-' })
const story = await liveStory(folder, { seed: SEED, frameCount: 40, guestCount: 0 })
const { inventory } = story
const closed = { folder: story.closed, scratch: `${folder}/a`, inventory }
const killed = { folder: story.killed, scratch: `${folder}/b`, inventory }
const sizeOf = (path: string) => Deno.statSync(path).size

function told(what: string, { flipped, detected, harmless, wrong }: Counts): void {
  console.log(`${what}: ${flipped}, ${detected} detected, ${harmless} harmless`)
  deepStrictEqual(wrong, [])
  ok(flipped > 0 && detected > 0)
}

/** Places of a file and what its byte there is changed by. */
function* places(path: string, flips: number): Generator<readonly [number, number]> {
  const random = createPrng(SEED)
  const size = sizeOf(path)
  for (let i = 0; i < flips; i++) {
    const mask = random.pick([0x01, 0x01, 0x80, 0xff])
    // Header and schema are few bytes of many, and matter to all.
    yield [random.integer(i % 8 === 0 ? Math.min(size, 16_384) : size), mask]
  }
}

Deno.test('LOG-1, HUB-10: the story that is damaged is right in itself', async () => {
  const opened = openStore(story.closed, inventory.nowMs)
  ok(typeof opened !== 'string')
  await checkStory(createNobleCrypto(), opened.store, inventory)
  opened.close()
})

for (const [name, options] of [['hub.sqlite', closed], ['hub.sqlite-wal', killed]] as const) {
  Deno.test(`HUB-10: a changed byte of ${name} is told or does not show`, async () => {
    const damaged = await DamagedFolder.of(options)
    const counts = newCounts()
    for (const [at, mask] of places(`${options.folder}/${name}`, FLIPS)) {
      const flip = (scratch: string) => flipByte(`${scratch}/${name}`, at, mask)
      count(counts, await damaged.judgeWhole(flip), `${name}:${at}^${mask}`)
    }
    told(name, counts)
  })
}

Deno.test('HUB-10, DIR-2: a hub that writes past a changed byte does nothing wrong', async () => {
  const going = await GoingOn.of(closed)
  const counts = newCounts()
  for (const [at, mask] of places(`${story.closed}/hub.sqlite`, FLIPS_WRITTEN_ON)) {
    const verdict = await going.judge((scratch) => flipByte(`${scratch}/hub.sqlite`, at, mask))
    count(counts, verdict, `hub.sqlite:${at}^${mask}`)
  }
  told('hub.sqlite, written on', counts)
})

Deno.test('HUB-10: a page that is empty, or is another one, is told or does not show', async () => {
  const damaged = await DamagedFolder.of(closed)
  const counts = newCounts()
  const bytes = Deno.readFileSync(`${story.closed}/hub.sqlite`)
  const pageAt = (page: number) => bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)
  const random = createPrng(SEED)
  const pageCount = bytes.length / PAGE_SIZE
  for (let i = 0; i < PAGES; i++) {
    const [page, other] = [random.integer(pageCount), random.integer(pageCount)]
    for (const content of [new Uint8Array(PAGE_SIZE), pageAt(other)]) {
      const changed = bytes.slice()
      changed.set(content, page * PAGE_SIZE)
      const verdict = await damaged.judgeWhole((scratch) =>
        Deno.writeFileSync(`${scratch}/hub.sqlite`, changed)
      )
      count(counts, verdict, `page ${page}, ${other} in its place`)
    }
  }
  told('pages', counts)
})

Deno.test('HUB-10: a file that ends too early is told or does not show', async () => {
  const random = createPrng(SEED)
  for (const options of [closed, killed]) {
    const damaged = await DamagedFolder.of(options)
    const counts = newCounts()
    for (const { name } of Deno.readDirSync(options.folder)) {
      const size = sizeOf(`${options.folder}/${name}`)
      const lengths = [0, 1, 99, 100, 512, 4_095, 4_096, 8_192, size - 4_096, size - 1]
      while (lengths.length < CUTS / 2) lengths.push(random.integer(size + 1))
      for (const length of lengths.filter((each) => each >= 0 && each < size)) {
        const verdict = await damaged.judgeWhole((scratch) =>
          Deno.truncateSync(`${scratch}/${name}`, length)
        )
        count(counts, verdict, `${name} cut to ${length}`)
      }
    }
    told('cuts', counts)
  }
})

/** Places in the header (SQLite, file format 1.3) where another byte is another reading. */
const HEADER_BYTES: readonly (readonly [name: string, at: number, code: string])[] = [
  ['size of the largest root page', 55, 'damaged'],
  ['read version', 19, 'foreignFile'],
  ['user version', 63, 'olderSchema'],
  ['application id', 71, 'foreignFile'],
]

for (const [name, at, code] of HEADER_BYTES) {
  Deno.test(`HUB-10: another ${name} in the header is refused at the start`, () => {
    const { scratch } = closed
    copyFolder(story.closed, scratch)
    flipByte(`${scratch}/hub.sqlite`, at, 0x01)
    strictEqual(openStore(scratch, inventory.nowMs), code)
  })
}

Deno.test('HUB-10: a store that is refused is left as it was', () => {
  const { scratch } = killed
  copyFolder(story.killed, scratch)
  const files = ['hub.sqlite', 'hub.sqlite-wal', 'hub.sqlite-commits']
  flipByte(`${scratch}/hub.sqlite-wal`, sizeOf(`${scratch}/hub.sqlite-wal`) - 9, 0x01)
  const before = files.map((name) => Deno.readFileSync(`${scratch}/${name}`))
  strictEqual(openStore(scratch, inventory.nowMs), 'commitsLost')
  deepStrictEqual(files.map((name) => Deno.readFileSync(`${scratch}/${name}`)), before)
})

Deno.test('HUB-10: a database that is gone, or is an older copy, is no new hub', async () => {
  const damaged = await DamagedFolder.of(closed)
  // As the hub makes it where there is none.
  const gone = await damaged.judgeWhole((dir) => Deno.truncateSync(`${dir}/hub.sqlite`, 0))
  deepStrictEqual(gone, { kind: 'detected', by: 'open commitsLost' })
  const older = await damaged.judgeWhole((dir) =>
    Deno.copyFileSync(`${story.killed}/hub.sqlite`, `${dir}/hub.sqlite`)
  )
  deepStrictEqual(older, { kind: 'detected', by: 'open commitsLost' })
  // Without the number there is nothing to hold the database against.
  const unknown = await damaged.judgeWhole((dir) => Deno.removeSync(`${dir}/hub.sqlite-commits`))
  strictEqual(unknown.kind, 'harmless')
})

globalThis.addEventListener('unload', () => Deno.removeSync(folder, { recursive: true }))
