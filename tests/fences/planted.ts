/** A throw-away copy of the repository's rules, in which violations are planted. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { cpSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Files by path. */
export type Planting = Readonly<Record<string, string>>

/** Runs `work` in a folder that holds `copied` of this repository and the planted files. */
export async function withPlanted<T>(
  copied: readonly string[],
  planting: Planting,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'kalandra-fence-'))
  try {
    for (const each of copied) cpSync(path.join(root, each), path.join(folder, each), copyAll)
    await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'))
    for (const [name, text] of Object.entries(planting)) {
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true })
      await writeFile(path.join(folder, name), text)
    }
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const copyAll = { recursive: true }

/** Runs a program in a folder and returns all that it said. */
export async function output(folder: string, program: string, args: string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd: folder,
    env: { NO_COLOR: '1' },
    stdout: 'piped',
    stderr: 'piped',
  }).output()
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)
}
