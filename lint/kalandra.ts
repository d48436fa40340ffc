/**
 * The lint rules of this repository: the import table, no ambient time and entropy, no dynamic
 * import where code must be deterministic. Owns the walk; the tables are beside it.
 */
import { bannedNames, ENTROPY_EXPORTS, ENTROPY_MEMBERS, SEEDED_CALLS, worldOf } from './ambient.ts'
import { judgeImport } from './boundaries.ts'
import { declaredIn, isReference } from './scope.ts'

const root = decodeURIComponent(new URL('..', import.meta.url).pathname).replaceAll('\\', '/')

/** The linted file from the root of the repository. */
const pathOf = (context: Deno.lint.RuleContext): string => {
  const name = context.filename.replaceAll('\\', '/')
  return name.startsWith(root) ? name.slice(root.length) : name
}

type ImportNode =
  | Deno.lint.ImportDeclaration
  | Deno.lint.ExportNamedDeclaration
  | Deno.lint.ExportAllDeclaration

const typeOnly = (node: ImportNode): boolean => {
  if (node.type === 'ImportDeclaration') {
    return node.importKind === 'type' ||
      (node.specifiers.length > 0 &&
        node.specifiers.every((each) =>
          each.type === 'ImportSpecifier' && each.importKind === 'type'
        ))
  }
  return node.exportKind === 'type'
}

/** The import table of `boundaries.ts`. */
const imports: Deno.lint.Rule = {
  create(context) {
    const from = pathOf(context)
    const check = (node: Deno.lint.Node, specifier: unknown, type: boolean): void => {
      if (typeof specifier !== 'string') return
      const message = judgeImport({ from, specifier, typeOnly: type })
      if (message !== null) context.report({ node, message })
    }
    const declaration = (node: ImportNode): void => {
      if (node.source) check(node, node.source.value, typeOnly(node))
    }
    return {
      ImportDeclaration: declaration,
      ExportNamedDeclaration: declaration,
      ExportAllDeclaration: declaration,
      ImportExpression(node) {
        if (node.source.type === 'Literal') check(node, node.source.value, false)
      },
      TSImportType(node) {
        if (node.argument.type === 'TSLiteralType' && 'value' in node.argument.literal) {
          check(node, node.argument.literal.value, true)
        }
      },
    }
  },
}

const dynamicImport: Deno.lint.Rule = {
  create(context) {
    if (worldOf(pathOf(context)) !== 'core') return {}
    return {
      ImportExpression(node) {
        context.report({ node, message: 'dynamic import is banned in deterministic code' })
      },
    }
  },
}

/** `Math.floor` and `new Date(milliseconds)` compute; they read no clock and throw no dice. */
function computes(node: Deno.lint.Identifier, core: boolean): boolean {
  const { parent } = node
  if (node.name === 'Math') {
    return parent.type === 'MemberExpression' && parent.object === node && !parent.computed &&
      parent.property.type === 'Identifier' && parent.property.name !== 'random'
  }
  if (node.name !== 'Date' || core) return false
  return parent.type === 'NewExpression' && parent.callee === node && parent.arguments.length > 0
}

/** Names of the host's clock, dice, timers and globals. */
const ambient: Deno.lint.Rule = {
  create(context) {
    const path = pathOf(context)
    const banned = bannedNames(path)
    const core = worldOf(path) === 'core'
    return {
      Identifier(node) {
        if (!banned.has(node.name) || !isReference(node) || computes(node, core)) return
        if (declaredIn(node.name, context.sourceCode.getAncestors(node))) return
        context.report({ node, message: `${node.name} is ambient: take it as an argument` })
      },
    }
  },
}

/** Entropy is an argument: no helper of a library that draws its own. */
const entropy: Deno.lint.Rule = {
  create(context) {
    if (worldOf(pathOf(context)) !== 'core') return {}
    const report = (node: Deno.lint.Node, name: string): void =>
      context.report({ node, message: `${name} draws its own entropy: pass it in` })
    return {
      ImportSpecifier(node) {
        const { imported } = node
        const parent = node.parent as Deno.lint.ImportDeclaration
        if (imported.type !== 'Identifier' || /^[#.]/.test(String(parent.source.value))) return
        if (ENTROPY_EXPORTS.has(imported.name)) report(node, imported.name)
      },
      MemberExpression(node) {
        const { property } = node
        if (property.type !== 'Identifier') return
        if (ENTROPY_MEMBERS.has(property.name)) report(property, property.name)
      },
      CallExpression(node) {
        const { callee } = node
        if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return
        const { name } = callee.property
        if (node.arguments.length < (SEEDED_CALLS[name] ?? 0)) report(node, name)
        if (name === 'sign' && context.sourceCode.getText(callee.object).startsWith('ml_dsa')) {
          if (node.arguments.length < 3) report(node, 'ml_dsa sign')
        }
      },
    }
  },
}

const plugin: Deno.lint.Plugin = {
  name: 'kalandra',
  rules: { imports, 'dynamic-import': dynamicImport, ambient, entropy },
}
export default plugin
