/**
 * Whether a name in a syntax tree refers to something, and whether an enclosing scope declares it.
 * Owns a reading of scopes that is good enough for bans; owns no bans.
 */
type Node = Deno.lint.Node
/** A node of which only the kind is known. */
type Loose = { readonly type: string } & Readonly<Record<string, unknown>>

const loose = (value: unknown): Loose | null =>
  typeof value === 'object' && value !== null && 'type' in value ? value as Loose : null

const list = (value: unknown): readonly unknown[] => Array.isArray(value) ? value : []

/** False where the identifier is only a label: a property, a key, a parameter of a signature. */
export function isReference(node: Deno.lint.Identifier): boolean {
  const parent = loose(node.parent)
  if (parent === null) return true
  switch (parent.type) {
    case 'MemberExpression':
    case 'TSQualifiedName':
      return parent.computed === true || (parent.property !== node && parent.right !== node)
    case 'Property':
      return parent.key !== node || parent.computed === true || parent.shorthand === true
    case 'PropertyDefinition':
    case 'MethodDefinition':
    case 'TSPropertySignature':
    case 'TSMethodSignature':
      return parent.key !== node || parent.computed === true
    case 'ImportSpecifier':
    case 'ExportSpecifier':
    case 'LabeledStatement':
    case 'TSNamedTupleMember':
    case 'TSFunctionType':
    case 'TSInterfaceDeclaration':
    case 'TSTypeAliasDeclaration':
    case 'TSTypeParameter':
      return false
    default:
      return true
  }
}

/** True when one of the enclosing nodes declares the name. */
export function declaredIn(name: string, ancestors: readonly Node[]): boolean {
  return ancestors.some((ancestor) => {
    const node = ancestor as unknown as Loose
    return [...list(node.params), node.param, node.id].some((each) => binds(each, name)) ||
      statementsOf(node).some((each) => declares(each, name))
  })
}

/** The statements whose declarations are visible inside of the node. */
function statementsOf(node: Loose): readonly unknown[] {
  return [
    ...list(node.body),
    ...list(loose(node.body)?.body),
    ...list(node.cases).flatMap((each) => list(loose(each)?.consequent)),
    node.init,
    node.left,
  ]
}

/** True when a statement, or the declaration that it exports, brings the name. */
function declares(statement: unknown, name: string): boolean {
  const node = loose(statement)
  if (node === null) return false
  switch (node.type) {
    case 'ExportNamedDeclaration':
      return declares(node.declaration, name)
    case 'VariableDeclaration':
      return list(node.declarations).some((each) => binds(loose(each)?.id, name))
    case 'ImportDeclaration':
      return list(node.specifiers).some((each) => binds(loose(each)?.local, name))
    case 'FunctionDeclaration':
    case 'ClassDeclaration':
    case 'TSTypeAliasDeclaration':
    case 'TSInterfaceDeclaration':
      return binds(node.id, name)
    default:
      return false
  }
}

/** True when a pattern binds the name. */
function binds(pattern: unknown, name: string): boolean {
  const node = loose(pattern)
  if (node === null) return false
  switch (node.type) {
    case 'Identifier':
      return node.name === name
    case 'AssignmentPattern':
      return binds(node.left, name)
    case 'RestElement':
      return binds(node.argument, name)
    case 'ArrayPattern':
      return list(node.elements).some((each) => binds(each, name))
    case 'ObjectPattern':
      return list(node.properties).some((each) => {
        const property = loose(each)
        return binds(property?.type === 'RestElement' ? property : property?.value, name)
      })
    default:
      return false
  }
}
