/**
 * A capsule that somebody gives away may be anything: what is out of bounds is refused at once with
 * a code, what is printed steers no terminal, and the command may read one file.
 */
import { ok, strictEqual, throws } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { inRoot } from '../../scripts/lib/project.mjs'
import { CAPSULE_FILE_SIZE_MAX, type CapsuleFault, RefusedCapsule } from './bounds.ts'
import { readCapsule } from './reading.ts'
import { told, visible } from './story.ts'
import { calmWorld, openInWorld, rest, told as answered } from './world.ts'

const options = { sanitizeOps: false, sanitizeResources: false }
const HEADER = { capsule: 1, build: 1, faults: 0, lost: 0 }

function written(...lines: readonly unknown[]): string {
  return lines.map((line) => JSON.stringify(line)).join('\n')
}

/** A capsule of one room whose last final epoch has these facts. */
function ofRoom(final: unknown): string {
  return written(HEADER, { state: { rooms: { r1: { phase: 'live', final } } } })
}

function nested(depth: number): unknown {
  return depth === 0 ? 0 : [nested(depth - 1)]
}

const refused: readonly (readonly [CapsuleFault, string])[] = [
  ['badNumber', ofRoom({ people: [[100_000, 1]] })],
  ['badNumber', ofRoom({ people: [[-1, 1]] })],
  ['badNumber', ofRoom({ people: [[0.5, 1]] })],
  ['badNumber', ofRoom({ generation: 2 ** 31 })],
  ['badNumber', ofRoom({ at: 1e300 })],
  ['badNumber', written(HEADER, { state: { keyPackages: 1_000_000 } })],
  ['badNumber', written(HEADER, { state: { rooms: { r1: { invitations: [257, 0] } } } })],
  ['tooMany', ofRoom({ people: Array(65).fill([1, 1]) })],
  ['tooMany', written(HEADER, {}, { in: { frames: Array(9_000).fill(0) } })],
  [
    'tooMany',
    written(HEADER, Object.fromEntries(Array(600).fill(0).map((_, at) => [`n${at}`, 0]))),
  ],
  ['tooDeep', written(HEADER, { state: nested(20) })],
  ['badWord', written(HEADER, {}, { in: { kind: 'started\u001b[2J' } })],
  ['badName', written(HEADER, {}, { in: { '\u001b[2J': 1 } })],
  ['badName', `${written(HEADER)}\n{"__proto__":{"state":1}}`],
  ['noJson', `${written(HEADER)}\n{`],
  ['noRecord', `${written(HEADER)}\n[]`],
  ['otherVersion', written({ ...HEADER, capsule: 2 }, {})],
  ['tooManySteps', Array(4_100).fill(written(HEADER)).join('\n')],
  ['tooLong', ' '.repeat(CAPSULE_FILE_SIZE_MAX + 1)],
]

for (const [index, [code, text]] of refused.entries()) {
  Deno.test(`a capsule out of bounds is refused as ${code}, ${index}`, () => {
    throws(
      () => readCapsule(text),
      (error) => error instanceof RefusedCapsule && error.code === code,
    )
  })
}

Deno.test('what a capsule says is printed without what steers a terminal', () => {
  strictEqual(visible('a\u001b[2J\u202eb\r\nc\u009b'), 'a\\u{1b}[2J\\u{202e}b\\u{d}\\u{a}c\\u{9b}')
  const input = { kind: '\u001b]0;owned\u0007', '\u001b[31m': 1 }
  const step = {
    index: 1,
    atMs: 0,
    input,
    out: [{ do: '\r' }],
    from: {},
    to: { '\u001b': '\u001b' },
  }
  const words = told({ ...step, undone: false, fault: false, running: false })
  ok(!/\p{Cc}/u.test(words.replaceAll('\n', '')), words)
})

interface Ended {
  readonly status: number
  readonly output: string
}

/** `npm run replay -- FILE`, without npm. */
function replayed(file: string): Promise<Ended> {
  return new Promise((resolve) => {
    execFile('node', [inRoot('scripts/replay.mjs'), file], (error, stdout, stderr) => {
      const status = error === null ? 0 : Number(error.code)
      resolve({ status, output: stdout + stderr })
    })
  })
}

Deno.test(
  'DEV-10: the command replays a file, and refuses one with its code',
  options,
  async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'kalandra, replay-'))
    try {
      const world = calmWorld(40)
      const alice = await openInWorld(world, 'alice')
      const signedUp = alice.sdk.signUp({ name: 'alice', deviceName: 'Tablet' })
      await answered(world, [alice], signedUp)
      await answered(world, [alice], alice.sdk.createRoom({ title: 'Larks' }))
      await rest(world, [alice], 1_000)
      const file = path.join(directory, 'whole.jsonl')
      await writeFile(file, alice.sdk.exportCapsule())
      const whole = await replayed(file)
      ok(/All \d+ steps went as recorded\./.test(whole.output), whole.output)
      strictEqual(whole.status, 0)

      const wide = path.join(directory, 'wide.jsonl')
      await writeFile(wide, ofRoom({ people: [[100_000, 1]] }))
      const { status, output } = await replayed(wide)
      ok(output.includes('badNumber: line 2, state, rooms, r1, final, people'), output)
      strictEqual(status, 2)
    } finally {
      await rm(directory, { recursive: true })
    }
  },
)
