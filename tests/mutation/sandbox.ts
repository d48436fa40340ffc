/**
 * A copy of the tree in a temporary folder, for files with switches in them. Owns the folder; the
 * checkout is only read.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { existsSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Mutant } from './mutants.ts'
import { withSwitches } from './schema.ts'

const copied = ['shared', 'edge-hub', 'tests', 'package.json', 'deno.json', 'tsconfig.base.json']

/** What a run needs of a checkout: what git would take, also when it is not committed. */
export function filesOfCheckout(root: string): readonly string[] {
  const listed = ['ls-files', '-z', '-co', '--exclude-standard', '--', ...copied]
  return execFileSync('git', listed, { cwd: root, encoding: 'utf8' }).split('\0')
    .filter((file) => file !== '' && existsSync(path.join(root, file)))
}

export class Sandbox {
  readonly root: string
  readonly #source: string

  /**
   * @param source root of the checkout
   * @param files what is copied of it
   */
  constructor(source: string, files: readonly string[]) {
    this.#source = source
    this.root = mkdtempSync(path.join(realpathSync(tmpdir()), 'kalandra-mutants-'))
    for (const file of files) {
      mkdirSync(path.dirname(path.join(this.root, file)), { recursive: true })
      cpSync(path.join(source, file), path.join(this.root, file))
    }
    symlinkSync(path.join(source, 'node_modules'), path.join(this.root, 'node_modules'))
  }

  /** Puts all mutants behind switches; a mutant's number is its place in the list. */
  mutate(mutants: readonly Mutant[]): void {
    const numbered = mutants.map((mutant, id) => ({ id, mutant }))
    for (const file of new Set(mutants.map((mutant) => mutant.file))) {
      const text = readFileSync(path.join(this.#source, file), 'utf8')
      const own = numbered.filter(({ mutant }) => mutant.file === file)
      writeFileSync(path.join(this.root, file), withSwitches(text, own))
    }
  }

  /** Writes a file beside the tree and returns its path. */
  write(name: string, text: string): string {
    const file = path.join(this.root, name)
    writeFileSync(file, text)
    return file
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}
