/**
 * Bugs on purpose, to show that the simulation finds what it should: each is a change of a copy of
 * the product, which the product itself knows nothing of. Owns the changes, and running a copy.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

interface Edit {
  readonly file: string
  /** Stands in the file once. */
  readonly find: string
  readonly replace: string
}

export interface Bug {
  readonly name: string
  readonly edits: readonly Edit[]
}

export const BUGS: readonly Bug[] = [
  {
    name: 'acknowledge before sync',
    edits: [{
      file: 'edge-hub/gateway/turns.ts',
      find: 'const outcomes = await hub.ports.log.append(parts.map(appendOf))',
      replace: `void hub.ports.log.append(parts.map(appendOf)).catch(() => {})
    const outcomes: AppendOutcome[] = parts.map(() => ({ kind: 'appended' }))`,
    }],
  },
  {
    name: 'drop one frame on reconnect',
    edits: [{
      file: 'shared/core/device/outbox.ts',
      find: 'room.outbox.map((item) => ({ ...item, inFlight: false })))',
      replace: `room.outbox.map((item) => ({ ...item, inFlight: false })))
  const [first] = turn.room(key)?.outbox ?? []
  if (first !== undefined) dropItems(turn, turn.room(key) ?? room, [first])`,
    }],
  },
  {
    name: 'accept a second commit in an epoch',
    edits: [{
      file: 'edge-hub/gateway/check-commit.ts',
      find: 'const { author, body, find } = check\n  const head = headView(room.sequenced)',
      replace: `const { author, body, find } = check
  const head = room.sequenced.epochs.find(({ epochId }) => equalBytes(epochId, body.epochId)) ??
    headView(room.sequenced)`,
    }, {
      file: 'edge-hub/sequencer/sequencer.ts',
      find: 'const outdated = judgeEpoch(head, commit) ?? judgeCommitter(draft, head, commit)',
      replace: 'const outdated = null as ReturnType<typeof judgeCommitter>',
    }, {
      file: 'shared/core/policy/finality.ts',
      find: "return seen < lowest || !hasSeenVoids(finality, seen) ? 'staleSeen' : null",
      replace: "return lowest < 0n || !hasSeenVoids(finality, seen) ? 'staleSeen' : null",
    }],
  },
  {
    name: 'reuse a generation',
    edits: [{
      file: 'shared/core/device/epoch-keys.ts',
      find: "turn.put('chains', `${prefix}:${name}`, encodeChain(chain), durability)",
      replace: `if (durability === 'relaxed') {
      turn.put('chains', \`\${prefix}:\${name}\`, encodeChain(chain), durability)
    }`,
    }, {
      file: 'shared/core/device/outbox.ts',
      find: 'skipGenerations(turn, key, lane.generation)',
      replace: 'skipGenerations(turn, key, -1)',
    }],
  },
  {
    name: 'seal anew what was refused',
    edits: [{
      file: 'shared/core/device/outbox.ts',
      find: "record: { ...item.record, refused: again ? '' : refusal.kind },",
      replace: "record: { ...item.record, sealed: null, refused: again ? '' : refusal.kind },",
    }],
  },
  {
    name: 'send before store',
    edits: [{
      file: 'shared/core/base/driver.ts',
      find: '    if (step.changes.length > 0) {',
      replace: `    for (const effect of step.effects) host.run(effect)
    if (step.changes.length > 0) {`,
    }, {
      file: 'shared/core/base/driver.ts',
      find: `    state = step.state
    for (const effect of step.effects) host.run(effect)`,
      replace: '    state = step.state',
    }],
  },
  {
    name: 'count a position twice',
    edits: [{
      file: 'edge-hub/sequencer/draft.ts',
      find: '    this.#next++\n    return position',
      replace: "    if (kind !== 'vote') this.#next++\n    return position",
    }],
  },
  {
    name: 'apply a voided commit',
    edits: [{
      file: 'shared/core/device/verdicts.ts',
      find: 'if (lowest !== undefined) {',
      replace: 'if (lowest !== undefined && lowest.position < 0n) {',
    }],
  },
  {
    name: 'skip the wiping',
    edits: [{
      file: 'shared/core/device/epochs.ts',
      find: 'for (const secret of allSecrets(group)) if (!held.has(secret)) secrets.push(secret)',
      replace: 'for (const secret of allSecrets(group)) if (!held.has(secret)) held.add(secret)',
    }],
  },
  {
    name: 'drop what a chunk begins',
    edits: [{
      file: 'shared/core/wire/frame.ts',
      find: "    return { kind: 'frames', frames }",
      replace: `    if (frames.length > 0) {
      this.#pending = []
      this.#pendingLength = 0
    }
    return { kind: 'frames', frames }`,
    }],
  },
]

const ROOT = path.resolve(import.meta.dirname ?? '.', '../..')
const COPIED = ['shared', 'edge-hub', 'tests', 'package.json', 'deno.json'] as const

/** What a copy with the bug shows within so many seeds. */
export interface Hunt {
  /** The first seed that broke an invariant; null: none did. */
  readonly seed: number | null
  readonly what: string
}

export interface HuntOptions {
  readonly seeds: number
  readonly ticks: number
}

/** Runs seeds on a copy of the product with a bug in it, until one breaks an invariant. */
export async function hunt(bug: Bug, { seeds, ticks }: HuntOptions): Promise<Hunt> {
  const copy = await mkdtemp(path.join(tmpdir(), 'kalandra-bug-'))
  try {
    for (const name of COPIED) await cp(path.join(ROOT, name), path.join(copy, name), RECURSIVE)
    await mkdir(path.join(copy, 'data'))
    await symlink(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'))
    for (const edit of bug.edits) await apply(path.join(copy, edit.file), edit)
    const program = path.join(copy, 'tests/sim/main.ts')
    const options = ['--seeds', `${seeds}`, '--ticks', `${ticks}`, '--first-violation']
    const args = ['run', '--quiet', '--no-check', '--allow-all', program, ...options]
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { cwd: copy, args }).output()
    const lines = new TextDecoder().decode(stdout).split('\n')
    const at = lines.findIndex((line) => line.startsWith('fails: '))
    if (at < 0) return { seed: null, what: new TextDecoder().decode(stderr) }
    const seed = Number(/--seed (\d+)/.exec(lines[at] ?? '')?.[1])
    return { seed, what: lines[at - 1] ?? '' }
  } finally {
    await rm(copy, RECURSIVE)
  }
}

const RECURSIVE = { recursive: true } as const

async function apply(file: string, { find, replace }: Edit): Promise<void> {
  const text = await readFile(file, 'utf8')
  const parts = text.split(find)
  if (parts.length !== 2) throw new Error(`a bug fits ${file} ${parts.length - 1} times`)
  await writeFile(file, parts.join(replace))
}
