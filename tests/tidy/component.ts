/**
 * The syntax tree of a component: markup, scripts and style. Owns walking it, and the reading of
 * what the linter would read if it looked into components; judges nothing.
 */
import { type AST, parse } from 'svelte/compiler'
import { lineAt, type SourceText } from './source.ts'

/** The component as its compiler reads it. */
export const parseComponent = ({ text }: SourceText): AST.Root => parse(text, { modern: true })

/** A node of markup, script or style of which only the kind and the place are known. */
export type Node =
  & { readonly type: string; readonly start: number }
  & Readonly<Record<string, unknown>>

export const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'

/** Calls `see` on a node and on all below it, unless `see` answers false. */
export function walk(
  node: Node,
  see: (node: Node, parent: Node | null) => boolean | void,
  parent: Node | null = null,
): void {
  if (see(node, parent) === false) return
  for (const [key, value] of Object.entries(node)) {
    if (key === 'parent' || key === 'loc') continue
    for (const each of Array.isArray(value) ? value : [value]) {
      if (isNode(each)) walk(each, see, node)
    }
  }
}

/** Modules that expressions of the markup import. */
export function markupImports(file: SourceText): readonly { specifier: string; line: number }[] {
  const found: { specifier: string; line: number }[] = []
  walk(parseComponent(file).fragment as unknown as Node, ({ type, source, start }) => {
    if (type !== 'ImportExpression' || !isNode(source)) return
    found.push({ specifier: String(source.value), line: lineAt(file.text, start) })
  })
  return found
}

/** Readings of the host's clock and dice, in scripts and in markup. */
export function ambientReads(file: SourceText): readonly { name: string; line: number }[] {
  const found: { name: string; line: number }[] = []
  const { fragment, instance, module } = parseComponent(file)
  for (const part of [fragment, instance, module]) {
    if (!isNode(part)) continue
    walk(part as Node, (node, parent) => {
      if (node.type !== 'Identifier' || !isAmbient(node, parent)) return
      found.push({ name: String(node.name), line: lineAt(file.text, node.start) })
    })
  }
  return found
}

function isAmbient(node: Node, parent: Node | null): boolean {
  const isLabel = parent !== null && parent.computed !== true &&
    (parent.property === node || (parent.key === node && parent.shorthand !== true))
  if (isLabel) {
    return node.name === 'random' && isNode(parent.object) && parent.object.name === 'Math'
  }
  if (node.name === 'performance') return true
  if (node.name === 'Math') return parent?.type !== 'MemberExpression' || parent.computed === true
  if (node.name !== 'Date') return false
  const given = parent?.type === 'NewExpression' && Array.isArray(parent.arguments)
    ? parent.arguments.length
    : 0
  return given === 0
}
