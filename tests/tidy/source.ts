/**
 * The files of the repository as plain text, and what a check says about them. Owns reading the
 * list of files; every check is a function of that list alone.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface SourceText {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
}

export interface Finding {
  readonly path: string
  /** From 1; 0 when it is about the whole file. */
  readonly line: number
  readonly message: string
}

export type Check = (files: readonly SourceText[]) => readonly Finding[]

const root = fileURLToPath(new URL('../../', import.meta.url))
const binary = /\.(png|ico|woff2?|jpg|webp|gif|wasm|db)$/

/** Every file that is tracked or could be, without binaries. */
export function readRepository(): readonly SourceText[] {
  const listed = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  })
  return listed.split('\0')
    .filter((path) => path !== '' && !binary.test(path) && existsSync(root + path))
    .map((path) => ({ path, text: readFileSync(root + path, 'utf8') }))
}

/** Ours to shape: source, not catalogues, documents or lock files. */
export const isCode = ({ path }: SourceText): boolean => /\.(ts|mjs|svelte|css|html)$/.test(path)

export const isScript = ({ path }: SourceText): boolean => /\.(ts|mjs|svelte)$/.test(path)

/** The number of the line, from 1, that holds the offset. */
export function lineAt(text: string, offset: number): number {
  let line = 1
  for (let index = text.indexOf('\n'); index !== -1 && index < offset; line++) {
    index = text.indexOf('\n', index + 1)
  }
  return line
}

/** One line for each finding. */
export const describe = (findings: readonly Finding[]): string =>
  findings.map(({ path, line, message }) => `${path}${line > 0 ? `:${line}` : ''}: ${message}`)
    .join('\n')
