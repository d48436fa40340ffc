/**
 * Components and styles: no visible words in markup, only logical directions in styles. Owns what
 * counts as visible and as physical.
 */
import { parse } from 'svelte/compiler'
import { type Finding, lineAt, type SourceText } from './source.ts'
import { isNode, type Node, parseComponent, walk } from './component.ts'

const spokenAttributes: ReadonlySet<string> = new Set([
  ...['aria-label', 'aria-description', 'aria-roledescription', 'aria-valuetext'],
  ...['aria-placeholder', 'title', 'placeholder', 'alt', 'label'],
])

const hasWords = (text: unknown): boolean => typeof text === 'string' && /\p{L}/u.test(text)

/** The words that an expression shows as they stand. */
function shownWords(expression: Node): string | null {
  let shown: string | null = null
  walk(expression, (node) => {
    // What is passed to a call or compared is not shown as it stands.
    if (/^(CallExpression|MemberExpression|BinaryExpression|NewExpression)$/.test(node.type)) {
      return node.type === 'BinaryExpression' && node.operator === '+'
    }
    if (node.type === 'ConditionalExpression') {
      for (const branch of [node.consequent, node.alternate]) {
        if (isNode(branch)) shown ??= shownWords(branch)
      }
      return false
    }
    if (node.type === 'Literal' && hasWords(node.value)) shown ??= String(node.value)
    if (node.type === 'TemplateElement') {
      const { cooked } = node.value as { cooked: string }
      if (hasWords(cooked)) shown ??= cooked
    }
  })
  return shown
}

function wordsIn(node: Node): string | null {
  if (node.type === 'Text') return hasWords(node.data) ? String(node.data).trim() : null
  if (node.type === 'ExpressionTag' && isNode(node.expression)) return shownWords(node.expression)
  return null
}

/** Words in markup that do not come from a catalogue of messages. */
export function literalTexts(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(({ path }) => path.endsWith('.svelte')).flatMap((file) => {
    const found: Finding[] = []
    const check = (node: Node): void => {
      const shown = wordsIn(node)
      if (shown === null) return
      const message = `"${shown.slice(0, 40)}" is not in a catalogue of messages`
      found.push({ path: file.path, line: lineAt(file.text, node.start), message })
    }
    walk(parseComponent(file).fragment as unknown as Node, (node) => {
      if (node.type !== 'Attribute') {
        check(node)
        return node.type !== 'ExpressionTag' && !node.type.endsWith('Directive')
      }
      if (spokenAttributes.has(String(node.name))) {
        for (const each of [node.value].flat()) if (isNode(each)) check(each)
      }
      return false
    })
    return found
  })
}

const physicalProperty =
  /^(left|right|top|bottom|(margin|padding|border|scroll-margin|scroll-padding)-(left|right|top|bottom)(-.*)?|border-(top|bottom)-(left|right)-radius)$/
const sidedProperty = /^(float|clear|text-align|caption-side)$/

function physicalStyle(property: string, value: string): boolean {
  return physicalProperty.test(property) ||
    (sidedProperty.test(property) && /^(left|right)\b/.test(value.trim()))
}

/** Left and right, top and bottom: wrong as soon as a script runs the other way. */
export function physicalStyles(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(({ path }) => /\.(svelte|css)$/.test(path)).flatMap((file) => {
    const isSheet = file.path.endsWith('.css')
    const opening = '<style>'
    const text = isSheet ? `${opening}${file.text}</style>` : file.text
    const tree = parse(text, { modern: true })
    const found: Finding[] = []
    const report = (node: Node, what: string): void => {
      const line = lineAt(text, node.start)
      found.push({ path: file.path, line, message: `${what} is physical: use a logical property` })
    }
    walk(tree.fragment as unknown as Node, (node) => {
      if (node.type === 'StyleDirective' && physicalStyle(String(node.name), '')) {
        report(node, String(node.name))
      }
    })
    if (tree.css !== null) {
      walk(tree.css as unknown as Node, (node) => {
        if (node.type !== 'Declaration') return
        if (physicalStyle(String(node.property), String(node.value))) {
          report(node, String(node.property))
        }
      })
    }
    return found
  })
}
