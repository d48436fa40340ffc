/**
 * `npm run storage-faults [-- --stride N] [--seed S] [--frames F]`: flips the bytes of a data
 * folder one at a time. Owns the command line and the report; ends with 1 where anything wrong was
 * given out.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Counts, DamagedFolder, newCounts, openStore } from './flips.ts'
import { GoingOn } from './going-on.ts'
import { checkStory } from './reads.ts'
import { liveStory, type Story } from './story.ts'

const { values } = parseArgs({
  options: {
    stride: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    frames: { type: 'string', default: '300' },
  },
})
const [stride, seed] = [Number(values.stride), Number(values.seed)]
const frameCount = Number(values.frames)
if (![stride, seed, frameCount].every(Number.isSafeInteger) || stride < 1) {
  console.error('npm run storage-faults [-- --stride N] [--seed S] [--frames F]')
  process.exit(2)
}

const GUESTS = 24
/** Of how many bytes one is changed for a hub that then writes. */
const WRITTEN_ON_EVERY = 2_003

/** Memory where there is one, so that a million writes wear no disk. */
const shared = '/dev/shm'
const inMemory = await Deno.stat(shared).then(({ isDirectory }) => isDirectory, () => false)
const folder = Deno.makeTempDirSync({ prefix: 'kalandra-', ...(inMemory ? { dir: shared } : {}) })

function sizes(dir: string): string {
  return [...Deno.readDirSync(dir)].map(({ name }) =>
    `${name} ${Deno.statSync(`${dir}/${name}`).size}`
  )
    .sort().join(', ')
}

function report(title: string, counts: Counts, startedMs: number): void {
  const { flipped, detected, harmless, wrong, codes } = counts
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
  console.log(
    `${title}: ${flipped} bytes flipped, ${detected} detected, ${harmless} harmless, ` +
      `${wrong.length} WRONG, ${seconds} s`,
  )
  const rows = [...codes].sort(([, a], [, b]) => b - a)
  console.log(`  detected by ${rows.map(([by, count]) => `${by} ${count}`).join(', ')}`)
}

async function flipAll(story: Story): Promise<number> {
  const { inventory } = story
  const scratch = `${folder}/scratch`
  let wrong = 0
  const closed = await DamagedFolder.of({ folder: story.closed, scratch, inventory })
  const killed = await DamagedFolder.of({ folder: story.killed, scratch, inventory })
  const flip = async (title: string, run: (counts: Counts) => Promise<void>) => {
    const counts = newCounts()
    const startedMs = performance.now()
    await run(counts)
    report(title, counts, startedMs)
    wrong += counts.wrong.length
  }
  const flipDatabase = (mask: number, every: number) =>
    flip(`hub.sqlite, ^0x${mask.toString(16)}`, (counts) => {
      const flipping = { stride: stride * every, offset: seed % every, mask }
      return closed.flipDatabase(flipping, counts)
    })
  // Every byte by its lowest bit; some also by their highest and by all.
  await flipDatabase(0x01, 1)
  await flipDatabase(0x80, 16)
  await flipDatabase(0xff, 16)
  for (const name of ['hub.sqlite-wal', 'hub.sqlite-commits']) {
    const flipping = { stride: name.endsWith('wal') ? stride : 1, offset: 0, mask: 0x01 }
    await flip(`${name} after a kill, ^0x1`, (counts) => killed.flipFile(name, flipping, counts))
  }
  await flip('hub.sqlite, ^0x1, then written on', async (counts) => {
    const going = await GoingOn.of({ folder: story.closed, scratch, inventory })
    const flipping = { stride: stride * WRITTEN_ON_EVERY, offset: seed % WRITTEN_ON_EVERY }
    await going.flipDatabase({ ...flipping, mask: 0x01 }, counts)
  })
  return wrong
}

try {
  const story = await liveStory(folder, { seed, frameCount, guestCount: GUESTS })
  console.log(`drained: ${sizes(story.closed)}; killed: ${sizes(story.killed)}`)
  const opened = openStore(story.closed, story.inventory.nowMs)
  if (typeof opened === 'string') throw new Error(opened)
  await checkStory(createNobleCrypto(), opened.store, story.inventory)
  opened.close()
  process.exitCode = await flipAll(story) > 0 ? 1 : 0
} finally {
  Deno.removeSync(folder, { recursive: true })
}
