/**
 * The rules of `shared/PROTOCOL.md` and the tests that cite them. Owns how a rule is written and
 * how a title cites it; whether the test proves the rule is for people.
 */
import { type Finding, isScript, lineAt, type SourceText } from './source.ts'
import { stringsOf } from './syntax.ts'

const documentPath = 'shared/PROTOCOL.md'
const definition = /^(?:[-*] |\| |#+ )?\*\*([A-Z]{2,8}-\d{1,3})\*\*/gm
const citation = /\b[A-Z]{2,8}-\d{1,3}\b/g
/** A title begins with its rules: `SEQ-3: …` or `SEQ-3, SEQ-4: …`. */
const title = /^((?:[A-Z]{2,8}-\d{1,3})(?:, [A-Z]{2,8}-\d{1,3})*): /
/** Names of algorithms and formats that look like rules. */
const foreign = /^(SHA|UTF|AES|ML|RFC|HMAC|BASE|ISO)-/

/** Rules by id, with the line that defines them. Absent document: null. */
function rulesIn(files: readonly SourceText[]): ReadonlyMap<string, number> | null {
  const document = files.find(({ path }) => path === documentPath)
  if (document === undefined) return null
  return new Map([...document.text.matchAll(definition)].map((match) => [
    match[1]!,
    lineAt(document.text, match.index),
  ]))
}

const isTitleFile = ({ path }: SourceText): boolean => /^tests\/.*\.ts$/.test(path)

function cited(files: readonly SourceText[]): readonly (Finding & { readonly rule: string })[] {
  return files.filter(isTitleFile).flatMap((file) =>
    stringsOf(file).flatMap(({ text, line }) => {
      const rules = title.exec(text)?.[1]?.split(', ') ?? []
      return rules.filter((rule) => !foreign.test(rule)).map((rule) => ({
        path: file.path,
        line,
        rule,
        message: `${rule} is no rule of ${documentPath}`,
      }))
    })
  )
}

/** Rules that no test cites. */
export function uncitedRules(files: readonly SourceText[]): readonly Finding[] {
  const rules = rulesIn(files)
  if (rules === null) return []
  const known = new Set(cited(files).map(({ rule }) => rule))
  return [...rules].filter(([rule]) => !known.has(rule)).map(([rule, line]) => ({
    path: documentPath,
    line,
    message: `no test cites ${rule}`,
  }))
}

/** Citations, in titles and in comments, of rules that do not exist. */
export function unknownRules(files: readonly SourceText[]): readonly Finding[] {
  const rules = rulesIn(files)
  if (rules === null) return []
  const families = new Set([...rules.keys()].map((rule) => rule.replace(/\d+$/, '')))
  const inTitles = cited(files).filter(({ rule }) => !rules.has(rule))
  const inSource = files.filter((file) => isScript(file) && !isTitleFile(file)).flatMap((file) =>
    [...file.text.matchAll(citation)]
      .filter(([rule]) => families.has(rule.replace(/\d+$/, '')) && !rules.has(rule))
      .map((match) => ({
        path: file.path,
        line: lineAt(file.text, match.index),
        message: `${match[0]} is no rule of ${documentPath}`,
      }))
  )
  return [...inTitles.map(({ path, line, message }) => ({ path, line, message })), ...inSource]
}
