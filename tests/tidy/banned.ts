/** Text that may stand nowhere: switched-off checks and tests, machine paths, registry hosts. */
import { type Finding, isScript, lineAt, type SourceText } from './source.ts'

const words = (...parts: string[]): string => parts.join('')

function search(file: SourceText, pattern: RegExp, message: string): readonly Finding[] {
  return [...file.text.matchAll(pattern)].map((match) => ({
    path: file.path,
    line: lineAt(file.text, match.index),
    message: `${match[0].trim()}: ${message}`,
  }))
}

const suppression = new RegExp(
  words(
    'deno-lint-',
    'ignore|deno-fmt-',
    'ignore|@ts-(ignore|nocheck|expect-error)|eslint-dis',
    'able',
  ),
  'g',
)

/** Comments that switch a check off. */
export const suppressions = (files: readonly SourceText[]): readonly Finding[] =>
  files.filter(isScript).flatMap((file) =>
    search(file, suppression, 'checks are not switched off in a file')
  )

const narrowed = /\.(only|skip|fixme)\(|\bonly: true/g

/** Tests that are switched off, or switch off the others. */
export const narrowedTests = (files: readonly SourceText[]): readonly Finding[] =>
  files.filter(({ path }) => isTest(path)).flatMap((file) =>
    search(file, narrowed, 'all tests run')
  )

const isTest = (path: string): boolean => path.startsWith('tests/') && /\.(ts|svelte)$/.test(path)

const machine = new RegExp(
  words('(?<![\\w.])/(home|Us', 'ers|root|wo', 'rk|workspace)/[\\w.-]+|[A-Z]:\\\\\\\\?Us', 'ers'),
  'g',
)
const registry = new RegExp(
  words(
    'registry\\.npm',
    'js|npm',
    'mirror|jsr\\.i',
    'o\\b|registry\\.yarn',
    'pkg|artifact',
    'ory',
  ),
  'g',
)

/** Places that exist on one machine only. */
export const machinePaths = (files: readonly SourceText[]): readonly Finding[] =>
  files.flatMap((file) => search(file, machine, 'a path of one machine'))

export const registryHosts = (files: readonly SourceText[]): readonly Finding[] =>
  files.flatMap((file) => search(file, registry, 'where packages come from is not ours to say'))

/** A lock file names versions and hashes; where they come from is up to the machine. */
export const lockAddresses = (files: readonly SourceText[]): readonly Finding[] =>
  files.filter(({ path }) => path === 'package-lock.json').flatMap((file) =>
    search(file, /"resolved"|https?:\/\/[^"\s]+\.tgz/g, 'the lock file records an address')
  )

/** Exact versions only. */
export function looseVersions(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(({ path }) => path === 'package.json').flatMap(({ path, text }) => {
    const { dependencies = {}, devDependencies = {} } = JSON.parse(text) as {
      dependencies?: Record<string, string>
      devDependencies?: Record<string, string>
    }
    return Object.entries({ ...dependencies, ...devDependencies })
      .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
      .map(([name, version]) => ({ path, line: 0, message: `${name} ${version} is not exact` }))
  })
}
