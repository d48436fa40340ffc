/**
 * Looks for a bug on purpose: runs seeds on a copy of the product with the bug in it. Owns the
 * copy.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Bug, Edit } from './bugs.ts'

const ROOT = path.resolve(import.meta.dirname ?? '.', '../..')
const COPIED = ['shared', 'edge-hub', 'tests', 'package.json', 'deno.json'] as const

/** What a copy with the bug shows within so many seeds. */
export interface Hunt {
  /** The first seed that broke the bug's invariant; null: none did. */
  readonly seed: number | null
  readonly what: string
}

export interface HuntOptions {
  readonly seeds: number
  readonly ticks: number
}

/** Runs seeds on a copy of the product with a bug in it, until one breaks the bug's invariant. */
export async function hunt(bug: Bug, { seeds, ticks }: HuntOptions): Promise<Hunt> {
  const copy = await mkdtemp(path.join(tmpdir(), 'kalandra-bug-'))
  try {
    for (const name of COPIED) await cp(path.join(ROOT, name), path.join(copy, name), RECURSIVE)
    await mkdir(path.join(copy, 'data'))
    await symlink(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'))
    for (const edit of bug.edits) await apply(path.join(copy, edit.file), edit)
    const program = path.join(copy, 'tests/sim/main.ts')
    // On one lane, the first seed that fails is always the same.
    const options = ['--seeds', `${seeds}`, '--ticks', `${ticks}`, '--lanes', '1']
    const args = ['run', '--quiet', '--no-check', '--allow-all', program, ...options]
    return await firstOf(new Deno.Command(Deno.execPath(), { cwd: copy, args, ...PIPES }), bug)
  } finally {
    await rm(copy, RECURSIVE)
  }
}

/** Reads what the seeds show, and ends them at the first that breaks the invariant. */
async function firstOf(command: Deno.Command, { invariant }: Bug): Promise<Hunt> {
  const run = command.spawn()
  let what = ''
  for await (const line of linesOf(run.stdout)) {
    const seed = /^fails: .*--seed (\d+)/.exec(line)?.[1]
    if (seed === undefined) {
      what += `${line}\n`
      continue
    }
    if (what.startsWith(`${invariant}: `)) {
      run.kill()
      await run.status
      return { seed: Number(seed), what }
    }
    what = ''
  }
  await run.status
  return { seed: null, what }
}

async function* linesOf(bytes: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of bytes.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

const PIPES = { stdout: 'piped', stderr: 'inherit' } as const
const RECURSIVE = { recursive: true } as const

async function apply(file: string, { find, replace }: Edit): Promise<void> {
  const text = await readFile(file, 'utf8')
  const parts = text.split(find)
  if (parts.length !== 2) throw new Error(`a bug fits ${file} ${parts.length - 1} times`)
  await writeFile(file, parts.join(replace))
}
