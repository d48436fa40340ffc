/**
 * Every mutant of a source file: one small change each, and where it stands. Owns walking the
 * syntax tree and what is left alone: types, names, texts of assertions. The changes themselves
 * are in `expressions.ts` and `statements.ts`.
 */
import ts from 'typescript'
import { type Change, expressionChanges } from './expressions.ts'
import { isRemovable } from './statements.ts'

export interface Mutant {
  readonly file: string
  /** Line of the change, from 1. */
  readonly line: number
  /** Function or declaration that it stands in. */
  readonly inside: string
  /** What the mutant replaces: a whole expression or statement. */
  readonly start: number
  readonly end: number
  readonly kind: 'expression' | 'statement'
  /** In place of the span; empty: the statement is gone. */
  readonly text: string
  /** The change in words of code: `a < b → a <= b`; with ` #2` where it is the second such. */
  readonly change: string
}

const shownMax = 90

function inOneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > shownMax ? `${line.slice(0, shownMax)}…` : line
}

function isNamed(node: ts.Node): node is ts.NamedDeclaration {
  const isConstant = ts.isVariableDeclaration(node) && ts.isVariableStatement(node.parent.parent) &&
    ts.isSourceFile(node.parent.parent.parent)
  return isConstant || ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node) ||
    ts.isAccessor(node) || ts.isPropertyDeclaration(node)
}

/** The nearest enclosing name: a function, a method, a constant. */
function enclosingName(node: ts.Node): string {
  for (let at: ts.Node | undefined = node.parent; at !== undefined; at = at.parent) {
    if (ts.isConstructorDeclaration(at)) return 'constructor'
    if (!isNamed(at)) continue
    const { name } = at
    if (name !== undefined) return name.getText()
  }
  return ''
}

/** An assertion states what cannot happen: no test can show that it is missing. */
const isAssertion = (node: ts.Node): boolean =>
  ts.isCallExpression(node) && ts.isIdentifier(node.expression) &&
  ['assert', 'unreachable'].includes(node.expression.text)

const isLeftAlone = (node: ts.Node): boolean =>
  ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isExportDeclaration(node) ||
  ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) || isAssertion(node)

/** Tells changes apart that look the same in one function: the second has a number. */
function createNumbering(): (inside: string, change: string) => string {
  const counts = new Map<string, number>()
  return (inside, change) => {
    const key = `${inside}\n${change}`
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return count === 1 ? change : `${change} #${count}`
  }
}

/** All mutants of a file of a program, in the order of the text. */
export function mutantsOf(program: ts.Program, path: string, file: string): readonly Mutant[] {
  const source = program.getSourceFile(path)
  if (source === undefined) throw new Error(`${file} is not a part of the program`)
  const checker = program.getTypeChecker()
  const found: Mutant[] = []
  const seen = new Set<string>()
  const numbered = createNumbering()
  const add = (at: ts.Node, kind: Mutant['kind'], { node, text, shown }: Change): void => {
    const [start, end] = [node.getStart(), node.getEnd()]
    const key = `${start} ${end} ${text}`
    if (seen.has(key) || text === node.getText()) return
    seen.add(key)
    const from = inOneLine(shown?.from ?? node.getText())
    const to = inOneLine(shown?.to ?? text)
    const line = source.getLineAndCharacterOfPosition(at.getStart()).line + 1
    const inside = enclosingName(node)
    const change = numbered(inside, `${from} → ${to === '' ? '(gone)' : to}`)
    found.push({ file, line, inside, start, end, kind, text, change })
  }
  const visit = (node: ts.Node): void => {
    if (isLeftAlone(node)) return
    if (isRemovable(node)) add(node, 'statement', { node, text: '' })
    for (const change of expressionChanges(node, checker)) add(node, 'expression', change)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}
