/**
 * One process of `probe.ts` at a time: started, listened to, ended when it is silent for too long.
 * Owns the process and its time limit; what it says is for `trial.ts`.
 */
import path from 'node:path'
import process from 'node:process'
import type { Plan, Said } from './probe.ts'
import type { Sandbox } from './sandbox.ts'

export interface Listening {
  readonly plan: Plan
  /** How long it may be silent after what it said last. */
  silenceMsMax(last: Said | null): number
  hear(said: Said): void
}

/** `silent`: it was ended. `gone`: it ended by itself before it was ready. */
export type ProcessEnd = 'ready' | 'silent' | 'gone'

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ''
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

export async function runProbe(sandbox: Sandbox, listening: Listening): Promise<ProcessEnd> {
  const plan = sandbox.write('plan.json', JSON.stringify(listening.plan))
  const probe = path.join(import.meta.dirname as string, 'probe.ts')
  const options = ['--quiet', '--no-check', '--allow-all', '--unstable-net']
  const child = new Deno.Command(process.execPath, {
    args: ['run', ...options, probe, plan],
    cwd: sandbox.root,
    stdout: 'piped',
    stderr: 'null',
  }).spawn()
  let isSilent = false
  const end = () => {
    isSilent = true
    child.kill('SIGKILL')
  }
  let timer = setTimeout(end, listening.silenceMsMax(null))
  for await (const line of linesOf(child.stdout)) {
    if (!line.startsWith('@')) continue
    const said = JSON.parse(line.slice(1)) as Said
    clearTimeout(timer)
    timer = setTimeout(end, listening.silenceMsMax(said))
    listening.hear(said)
  }
  const { code } = await child.status
  clearTimeout(timer)
  if (isSilent) return 'silent'
  return code === 0 ? 'ready' : 'gone'
}
