/**
 * Bugs on purpose, to show that the simulation finds what it should: each is a change of a copy of
 * the product, which the product itself knows nothing of. Owns the changes, and running a copy.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { InvariantName } from './invariants.ts'

interface Edit {
  readonly file: string
  /** Stands in the file once. */
  readonly find: string
  readonly replace: string
}

export interface Bug {
  readonly name: string
  /** By which it is found; by any of them, where it is not said. */
  readonly invariant?: InvariantName
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
      find: '  skipGenerations(turn, key, lane.generation)\n',
      replace: '  if (lane.generation < 0) skipGenerations(turn, key, -1)\n',
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
      file: 'shared/core/device/room.ts',
      find: 'secrets: secrets.filter((secret) => !held.has(secret))',
      replace: 'secrets: secrets.filter((secret) => held.has(secret))',
    }],
  },
  {
    name: 'show a message as often as it is said',
    edits: [{
      file: 'shared/core/device/timeline.ts',
      find: 'if (id !== null && said.has(id)) continue',
      replace: 'if (id !== null && said.has(id)) said.add(id)',
    }],
  },
  {
    name: 'show a message whoever it names',
    edits: [{
      file: 'shared/core/device/timeline.ts',
      find: "? null\n    : 'wrongSender'",
      replace: '? null\n    : null',
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
  {
    name: 'keep an ended session among the followers of its room',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/fan-out.ts',
      find: '  room.subscribers.delete(subscription)\n  return connection.outbound',
      replace: '  return connection.outbound',
    }],
  },
  {
    name: 'keep the request of a session that ended',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/answering.ts',
      find: '  endRequest(hub, connection, size)\n  if (outcome',
      replace: `  if (connection.state.kind !== 'closed') endRequest(hub, connection, size)
  if (outcome`,
    }],
  },
  {
    name: 'count what the transport has taken',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/outbound.ts',
      find: '      for (const item of batch) this.#forget(item)',
      replace: '      for (const item of batch) if (item.sender !== null) this.#forget(item)',
    }],
  },
  {
    name: 'remember the Welcomes that a device has taken',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/welcomes.ts',
      find: 'welcomes.offered = new Set(page.map(({ id }) => id))',
      replace: 'welcomes.offered = new Set([...before, ...page.map(({ id }) => id)])',
    }],
  },
  {
    name: 'give the store what no request stands for',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/gateway/welcomes.ts',
      find: '  beginRequest(hub, connection, size)\n',
      replace: '',
    }, {
      file: 'edge-hub/gateway/welcomes.ts',
      find: '      endRequest(hub, connection, size)\n',
      replace: '',
    }],
  },
  {
    name: 'keep the chains of epochs that are over',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/sequencer/sequencer.ts',
      find: 'if (!kept.has(origin)) room.generations.delete(origin)',
      replace: 'if (kept.size === 0) room.generations.delete(origin)',
    }],
  },
  {
    name: 'keep the epochs that a void has ended',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/sequencer/draft.ts',
      find: '    this.#epochs = this.#epochs.filter(({ origin }) => origin < from)\n',
      replace: '',
    }],
  },
  {
    name: 'keep a session whose transport is gone',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/sessions.ts',
      find: '  hub.connections.delete(connection.number)\n',
      replace: '',
    }],
  },
  {
    name: 'keep a device that has gone',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/sessions.ts',
      find: 'if (hub.devices.get(connection.actor.key) === connection) {',
      replace: 'if (hub.devices.get(connection.actor.key) === undefined) {',
    }],
  },
  {
    name: 'never end a silent session',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/session.ts',
      find: 'if (nowMs - state.lastHeardMs <= LIMITS.sessionSilenceMsMax) return stay(state)',
      replace: 'if (nowMs >= state.lastHeardMs) return stay(state)',
    }],
  },
  {
    name: 'keep the place of what was answered in the queue of its room',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/sequencer/room-queue.ts',
      find: '      count--\n',
      replace: '',
    }],
  },
  {
    name: 'keep a group that was sent',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/group-requests.ts',
      find: '    connection.groupAnswer = null\n    break',
      replace: '    break',
    }, {
      file: 'edge-hub/gateway/group-requests.ts',
      find: '  if (sending === null || sending.bytes === null || connection',
      replace: `  if (sending?.offset === sending?.bytes?.length) return
  if (sending === null || sending.bytes === null || connection`,
    }],
  },
  {
    name: 'count a group that somebody has gone without',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/group-requests.ts',
      find: '      hub.groupsReading--\n',
      replace: "      if ('bytes' in answer) hub.groupsReading--\n",
    }],
  },
  {
    name: 'count a page that nobody waits for',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/fan-out.ts',
      find: '      pages.reading--\n',
      replace: "      if (subscription.phase !== 'live') pages.reading--\n",
    }],
  },
  {
    name: 'take a head for due for ever',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/heads.ts',
      find: "phase !== 'open') {\n    hub.headsDue.delete(room)",
      replace: "phase !== 'open') {",
    }, {
      file: 'edge-hub/gateway/heads.ts',
      find: '  hub.headsDue.delete(room)\n  head.signing = true',
      replace: '  head.signing = true',
    }],
  },
  {
    name: 'take a room for provisional for ever',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/gateway/turns.ts',
      find: '  else hub.provisional.delete(room)\n',
      replace: '',
    }],
  },
  {
    name: 'hold a room for each session that speaks of it',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/gateway/rooms.ts',
      find: '  const key = keyOf(id)\n',
      replace: '  const key = `${keyOf(id)} ${connection.number}`\n',
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
    const runs = ['--seeds', `${seeds}`, '--ticks', `${ticks}`]
    // On one lane, the first seed that fails is always the same.
    const options = [...runs, '--lanes', '1', '--first-violation']
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
