/** Words that say nothing, in names of files and of code. Owns the list and its exceptions. */
import { type Finding, isScript, type SourceText } from './source.ts'
import { namesOf } from './syntax.ts'

const bannedWords: ReadonlySet<string> = new Set([
  ...['manager', 'helper', 'util', 'data', 'info', 'channel', 'packet', 'socket'],
  ...['managers', 'helpers', 'utils', 'infos', 'channels', 'packets', 'sockets'],
])

/** Terms of RFC 9420, RFC 9180, RFC 5280, W3C and of the platform, which are used exactly. */
const terms = new RegExp(
  [
    'group-?infos?|associated-?data|authenticated-?data|additional-?data|labeled-?info|^info$',
    '(public|private)-?key-?info|broadcast-?channel|message-?channel|web[-_]?sockets?',
    'data-?(dir|plane)|sender[-_]?data',
  ].join('|'),
  'gi',
)

const wordsOf = (name: string): readonly string[] =>
  name.replace(terms, '-').replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase().split(/[^a-z]+/)

const bannedWordIn = (name: string): string | undefined =>
  wordsOf(name).find((word) => bannedWords.has(word))

export function vagueNames(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(isScript).flatMap((file) => {
    const { path } = file
    const inPath = bannedWordIn(path.slice(path.lastIndexOf('/') + 1))
    const found: Finding[] = inPath === undefined
      ? []
      : [{ path, line: 0, message: `"${inPath}" says nothing in a file name` }]
    for (const { name, line } of namesOf(file)) {
      const word = bannedWordIn(name)
      if (word !== undefined) {
        found.push({ path, line, message: `"${word}" says nothing in the name ${name}` })
      }
    }
    return found
  })
}

const kebab = /^[a-z0-9.-]+\.(ts|mjs)$/
const pascal = /^[A-Z][A-Za-z0-9]*\.svelte$/

export function fileNames(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(isScript).flatMap(({ path }) => {
    const name = path.slice(path.lastIndexOf('/') + 1)
    const fits = (name.endsWith('.svelte') ? pascal : kebab).test(name)
    return fits ? [] : [{ path, line: 0, message: 'files are kebab-case, components PascalCase' }]
  })
}

/** Every file says first what it owns and what it refuses to own. */
export function missingHeaders(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(isScript).flatMap(({ path, text }) => {
    const start = text.replace(/^#!.*\n/, '')
    const opens = path.endsWith('.svelte') ? /^(<script[^>]*>\s*\/[/*]|<!--)/ : /^\/(\/|\*\*)/
    return opens.test(start)
      ? []
      : [{ path, line: 1, message: 'the file does not open with a comment on what it owns' }]
  })
}
