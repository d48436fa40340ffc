/**
 * All mutants of a file in one text, each behind a switch, so that one process can run them all:
 * `($mutant(17) ? a <= b : a < b)`. Owns the text; who turns the switch is `probe.ts`.
 */
import type { Mutant } from './mutants.ts'

interface Numbered {
  readonly id: number
  readonly mutant: Mutant
}

interface Span {
  readonly start: number
  readonly end: number
  readonly mutants: Numbered[]
  readonly inner: Span[]
}

/** Spans of a syntax tree: each lies within another or beside it. */
function nested(mutants: readonly Numbered[], end: number): Span {
  const whole: Span = { start: 0, end, mutants: [], inner: [] }
  const sorted = mutants.toSorted(({ mutant: a }, { mutant: b }) =>
    a.start - b.start || b.end - a.end || Number(b.kind === 'statement') -
      Number(a.kind === 'statement')
  )
  const open = [whole]
  for (const each of sorted) {
    const { start, end } = each.mutant
    while ((open.at(-1) as Span).end <= start) open.pop()
    let top = open.at(-1) as Span
    const isSame = top.start === start && top.end === end &&
      top.mutants[0]?.mutant.kind === each.mutant.kind
    if (!isSame) {
      const span: Span = { start, end, mutants: [], inner: [] }
      top.inner.push(span)
      open.push(span)
      top = span
    }
    top.mutants.push(each)
  }
  return whole
}

function written(span: Span, text: string): string {
  let original = ''
  let at = span.start
  for (const inner of span.inner) {
    original += text.slice(at, inner.start) + written(inner, text)
    at = inner.end
  }
  original += text.slice(at, span.end)
  const [first] = span.mutants
  if (first === undefined) return original
  if (first.mutant.kind === 'statement') return `{ if (!$mutant(${first.id})) { ${original}; } }`
  const choices = span.mutants.map(({ id, mutant }) => `$mutant(${id}) ? ${mutant.text} : `)
  return `(${choices.join('')}${original})`
}

/** The file with a switch at each of its mutants. Lines stay where they are. */
export function withSwitches(text: string, mutants: readonly Numbered[]): string {
  return written(nested(mutants, text.length), text)
}

/** The file as one mutant would have it. */
export function withMutant(text: string, { start, end, kind, text: put }: Mutant): string {
  const changed = kind === 'statement' ? '{}' : put.includes('\n') ? put : `(${put})`
  return text.slice(0, start) + changed + text.slice(end)
}
