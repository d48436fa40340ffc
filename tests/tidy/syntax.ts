/**
 * Syntax trees of scripts and components. Owns parsing, and the reading of imports, functions and
 * declared names; judges nothing.
 */
import ts from 'typescript'
import { markupImports, parseComponent } from './component.ts'
import { lineAt, type SourceText } from './source.ts'

export interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
  readonly line: number
}

export interface FunctionShape {
  readonly name: string
  readonly line: number
  readonly lines: number
  readonly parameters: number
}

export interface DeclaredName {
  readonly name: string
  readonly line: number
}

interface Parsed {
  readonly tree: ts.SourceFile
  /** Lines of the component in front of the script. */
  readonly lineOffset: number
}

const parsedByFile = new WeakMap<SourceText, readonly Parsed[]>()

/** The scripts of a file: itself, or those of a component. */
export function parseScripts(file: SourceText): readonly Parsed[] {
  const known = parsedByFile.get(file)
  if (known !== undefined) return known
  const scripts = file.path.endsWith('.svelte') ? componentScripts(file) : [{ file, lineOffset: 0 }]
  const parsed = scripts.map(({ file: { path, text }, lineOffset }) => ({
    tree: ts.createSourceFile(path, text, ts.ScriptTarget.ES2024, true),
    lineOffset,
  }))
  parsedByFile.set(file, parsed)
  return parsed
}

function componentScripts(file: SourceText): { file: SourceText; lineOffset: number }[] {
  const { instance, module } = parseComponent(file)
  return [module, instance].filter((script) => script != null).map(({ content }) => {
    const { start, end } = content as unknown as { start: number; end: number }
    return {
      file: { path: `${file.path}.ts`, text: file.text.slice(start, end) },
      lineOffset: lineAt(file.text, start) - 1,
    }
  })
}

function visit(file: SourceText, see: (node: ts.Node, line: number, end: number) => void): void {
  for (const { tree, lineOffset } of parseScripts(file)) {
    const lineOf = (position: number): number =>
      tree.getLineAndCharacterOfPosition(position).line + 1 + lineOffset
    const walk = (node: ts.Node): void => {
      see(node, lineOf(node.getStart(tree)), lineOf(node.end))
      node.forEachChild(walk)
    }
    tree.forEachChild(walk)
  }
}

/** What the file imports, also by `import()` and by `new URL(…, import.meta.url)`. */
export function importsOf(file: SourceText): readonly Import[] {
  const found: Import[] = []
  visit(file, (node, line) => {
    const specifier = specifierOf(node)
    if (specifier !== null) found.push({ specifier, typeOnly: isTypeOnly(node), line })
  })
  if (!file.path.endsWith('.svelte')) return found
  return [...found, ...markupImports(file).map((each) => ({ ...each, typeOnly: false }))]
}

function specifierOf(node: ts.Node): string | null {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    return node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)
      ? node.moduleSpecifier.text
      : null
  }
  if (ts.isImportTypeNode(node)) {
    return ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)
      ? node.argument.literal.text
      : null
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return firstText(node.arguments)
  }
  if (ts.isNewExpression(node) && node.expression.getText() === 'URL') {
    const text = firstText(node.arguments ?? [])
    return text?.startsWith('.') && /\.(ts|mjs|svelte)$/.test(text) ? text : null
  }
  return null
}

const firstText = ([first]: readonly ts.Expression[]): string | null =>
  first !== undefined && ts.isStringLiteralLike(first) ? first.text : null

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isImportTypeNode(node)) return true
  if (ts.isExportDeclaration(node)) return node.isTypeOnly
  if (!ts.isImportDeclaration(node) || node.importClause === undefined) return false
  const { phaseModifier, name, namedBindings } = node.importClause
  if (phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  return name === undefined && namedBindings !== undefined && ts.isNamedImports(namedBindings) &&
    namedBindings.elements.length > 0 && namedBindings.elements.every((each) => each.isTypeOnly)
}

/** Every function with a body. */
export function functionsOf(file: SourceText): readonly FunctionShape[] {
  const found: FunctionShape[] = []
  visit(file, (node, line, end) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return
    found.push({
      name: node.name?.getText() ?? 'a function',
      line,
      lines: end - line + 1,
      parameters: node.parameters.filter((each) => each.name.getText() !== 'this').length,
    })
  })
  return found
}

/** Names that the file gives: bindings, functions, types and their members. */
export function namesOf(file: SourceText): readonly DeclaredName[] {
  const found: DeclaredName[] = []
  visit(file, (node, line) => {
    const named = ts.isVariableDeclaration(node) || ts.isParameter(node) ||
      ts.isBindingElement(node) || ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) ||
      ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) ||
      ts.isMethodDeclaration(node) || ts.isPropertyDeclaration(node) ||
      ts.isPropertySignature(node) || ts.isMethodSignature(node)
    if (!named || node.name === undefined || !ts.isIdentifier(node.name)) return
    const taken = ts.isBindingElement(node) && node.propertyName === undefined
    if (!taken) found.push({ name: node.name.text, line })
  })
  return found
}

/** Every string of the file that is written in one piece. */
export function stringsOf(file: SourceText): readonly { text: string; line: number }[] {
  const found: { text: string; line: number }[] = []
  visit(file, (node, line) => {
    if (ts.isStringLiteralLike(node)) found.push({ text: node.text, line })
    else if (ts.isTemplateHead(node)) found.push({ text: node.text, line })
  })
  return found
}
