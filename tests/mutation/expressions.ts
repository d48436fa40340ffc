/**
 * What one expression can become: conditions, operators, literals, returned values, calls on
 * arrays, optional chains. Owns the changes; whether the compiler would take one is for
 * `validity.ts`.
 */
import ts from 'typescript'

const K = ts.SyntaxKind

/** One change that an expression can suffer. */
export interface Change {
  /** What is replaced: the expression, or what encloses it. */
  readonly node: ts.Node
  readonly text: string
  /** What a reader sees, where the whole span would say too much. */
  readonly shown?: { readonly from: string; readonly to: string }
}

/** Each operator and what it is taken for. */
const operators: ReadonlyMap<ts.SyntaxKind, readonly string[]> = new Map([
  [K.LessThanToken, ['<=', '>=']],
  [K.LessThanEqualsToken, ['<', '>']],
  [K.GreaterThanToken, ['>=', '<=']],
  [K.GreaterThanEqualsToken, ['>', '<']],
  [K.EqualsEqualsEqualsToken, ['!==']],
  [K.ExclamationEqualsEqualsToken, ['===']],
  [K.EqualsEqualsToken, ['!=']],
  [K.ExclamationEqualsToken, ['==']],
  [K.AmpersandAmpersandToken, ['||']],
  [K.BarBarToken, ['&&']],
  [K.PlusToken, ['-']],
  [K.MinusToken, ['+']],
  [K.AsteriskToken, ['/']],
  [K.SlashToken, ['*']],
  [K.PercentToken, ['*']],
  [K.AsteriskAsteriskToken, ['*']],
  [K.LessThanLessThanToken, ['>>']],
  [K.GreaterThanGreaterThanToken, ['<<']],
  [K.GreaterThanGreaterThanGreaterThanToken, ['<<']],
  [K.AmpersandToken, ['|']],
  [K.BarToken, ['&']],
  [K.CaretToken, ['&']],
  [K.PlusEqualsToken, ['-=']],
  [K.MinusEqualsToken, ['+=']],
  [K.AsteriskEqualsToken, ['/=']],
  [K.LessThanLessThanEqualsToken, ['>>=']],
  [K.GreaterThanGreaterThanEqualsToken, ['<<=']],
  [K.BarEqualsToken, ['&=']],
  [K.AmpersandEqualsToken, ['|=']],
  [K.CaretEqualsToken, ['&=']],
])

export function expressionChanges(node: ts.Node, checker: ts.TypeChecker): readonly Change[] {
  if (isInsideChain(node)) return chainBreaks(node)
  return [
    ...conditions(node),
    ...binaries(node, checker),
    ...unaries(node),
    ...literals(node, checker),
    ...returned(node, checker),
    ...calls(node, checker),
    ...chainBreaks(node),
  ]
}

// ---- Conditions ---------------------------------------------------------------------------

const negated = (node: ts.Node): string => `!(${node.getText()})`

function conditionOf(parent: ts.Node): ts.Expression | undefined {
  if (ts.isIfStatement(parent) || ts.isWhileStatement(parent) || ts.isDoStatement(parent)) {
    return parent.expression
  }
  return ts.isForStatement(parent) || ts.isConditionalExpression(parent)
    ? parent.condition
    : undefined
}

/** True, false and its opposite; a loop is not made endless. */
function conditions(node: ts.Node): readonly Change[] {
  const { parent } = node
  if (parent === undefined || conditionOf(parent) !== node) return operands(node)
  const isChoice = ts.isIfStatement(parent) || ts.isConditionalExpression(parent)
  const texts = isChoice ? ['true', 'false'] : ['false']
  const isPlain = !ts.isBinaryExpression(node) && !ts.isPrefixUnaryExpression(node)
  return [...texts, ...(isPlain ? [negated(node)] : [])].map((text) => ({ node, text }))
}

/** An operand of && or || is left out by making it the one that decides nothing. */
function operands(node: ts.Node): readonly Change[] {
  const { parent } = node
  if (parent === undefined || !ts.isBinaryExpression(parent)) return []
  if (node === parent.operatorToken) return []
  const kind = parent.operatorToken.kind
  if (kind === K.AmpersandAmpersandToken) return [{ node, text: 'true' }]
  return kind === K.BarBarToken ? [{ node, text: 'false' }] : []
}

// ---- Operators ----------------------------------------------------------------------------

function binaries(node: ts.Node, checker: ts.TypeChecker): readonly Change[] {
  if (!ts.isBinaryExpression(node)) return []
  const { left, right, operatorToken } = node
  if (operatorToken.kind === K.QuestionQuestionToken) {
    const [first, second] = [left.getText(), right.getText()]
    return [
      { node, text: `(${first})`, shown: { from: `… ?? ${second}`, to: '…' } },
      { node, text: `(${second})`, shown: { from: `${first} ?? …`, to: '…' } },
    ]
  }
  const joins = [K.PlusToken, K.PlusEqualsToken].includes(operatorToken.kind)
  if (joins && isText(checker.getTypeAtLocation(left))) return []
  return (operators.get(operatorToken.kind) ?? []).map((operator) => ({
    node,
    text: `${left.getText()} ${operator} ${right.getText()}`,
  }))
}

const isText = (type: ts.Type): boolean => (type.flags & ts.TypeFlags.StringLike) !== 0

function unaries(node: ts.Node): readonly Change[] {
  if (!ts.isPrefixUnaryExpression(node) && !ts.isPostfixUnaryExpression(node)) return []
  const operand = node.operand.getText()
  switch (node.operator) {
    case K.PlusPlusToken:
      return [{ node, text: node.getText().replace('++', '--') }]
    case K.MinusMinusToken:
      return [{ node, text: node.getText().replace('--', '++') }]
    default:
      return [{ node, text: `(${operand})` }]
  }
}

// ---- Literals -----------------------------------------------------------------------------

/** A name, or a choice that the compiler already guards. */
function isFixed(node: ts.Node): boolean {
  const { parent } = node
  const named = parent as { readonly name?: ts.Node }
  return named.name === node || ts.isCaseClause(parent) || ts.isTaggedTemplateExpression(parent)
}

function literals(node: ts.Node, checker: ts.TypeChecker): readonly Change[] {
  if (node.parent === undefined || isFixed(node)) return []
  if (ts.isNumericLiteral(node)) {
    const value = Number(node.text)
    const texts = value === 1 ? ['0', '2'] : [String(value + 1)]
    return texts.map((text) => ({ node, text }))
  }
  if (ts.isBigIntLiteral(node)) {
    const value = BigInt(node.text.replace(/n$/, ''))
    return (value === 1n ? ['0n', '2n'] : [`${value + 1n}n`]).map((text) => ({ node, text }))
  }
  if (node.kind === K.TrueKeyword) return [{ node, text: 'false' }]
  if (node.kind === K.FalseKeyword) return [{ node, text: 'true' }]
  if (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)) {
    const expected = checker.getContextualType(node as ts.Expression)
    const isOpen = expected === undefined || (expected.flags & ts.TypeFlags.String) !== 0
    return isOpen ? [{ node, text: node.getText() === "''" ? "'mutant'" : "''" }] : []
  }
  if (ts.isArrayLiteralExpression(node) && node.elements.length > 0) {
    const isTarget = ts.isBinaryExpression(node.parent) && node.parent.left === node
    return isTarget ? [] : [{ node, text: '[]' }]
  }
  return []
}

// ---- Returned values ----------------------------------------------------------------------

const parts = (type: ts.Type): readonly ts.Type[] => type.isUnion() ? type.types : [type]

/** Values of the type that say nothing. */
function emptyValues(type: ts.Type): readonly string[] {
  const texts = parts(type).flatMap((part) => {
    if (part.flags & ts.TypeFlags.BooleanLike) return ['true', 'false']
    if (part.flags & ts.TypeFlags.Null) return ['null']
    if (part.flags & ts.TypeFlags.Undefined) return ['undefined']
    if (part.flags & ts.TypeFlags.NumberLike) return ['0']
    if (part.flags & ts.TypeFlags.BigIntLike) return ['0n']
    if (part.flags & ts.TypeFlags.String) return ["''"]
    const name = part.getSymbol()?.getName() ?? ''
    if (name === 'Uint8Array') return ['new Uint8Array(0)']
    return name === 'Array' || name === 'ReadonlyArray' ? ['[]'] : []
  })
  return [...new Set(texts)]
}

function returned(node: ts.Node, checker: ts.TypeChecker): readonly Change[] {
  const { parent } = node
  if (parent === undefined || !ts.isExpression(node)) return []
  const ends = ts.isReturnStatement(parent) ||
    (ts.isArrowFunction(parent) && parent.body === node)
  if (!ends) return []
  const type = checker.getContextualType(node) ?? checker.getTypeAtLocation(node)
  const own = checker.getTypeAtLocation(node)
  const promised = checker.getAwaitedType(type) ?? type
  return emptyValues(type.flags & ts.TypeFlags.Any ? own : promised).map((text) => ({ node, text }))
}

// ---- Calls --------------------------------------------------------------------------------

const swaps: ReadonlyMap<string, string> = new Map([
  ['some', 'every'],
  ['every', 'some'],
  ['min', 'max'],
  ['max', 'min'],
  ['startsWith', 'endsWith'],
  ['endsWith', 'startsWith'],
  ['floor', 'ceil'],
  ['ceil', 'floor'],
  ['find', 'findLast'],
  ['findLast', 'find'],
])

/** Calls whose receiver is a value of the same kind. */
const leftOut: ReadonlySet<string> = new Set([
  ...['filter', 'slice', 'subarray', 'reverse', 'toReversed', 'sort', 'toSorted', 'concat'],
])

function calls(node: ts.Node, checker: ts.TypeChecker): readonly Change[] {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return []
  const { expression, name } = node.expression
  const swapped = swaps.get(name.text)
  if (swapped !== undefined) {
    const offset = name.getStart() - node.getStart()
    const text = node.getText()
    const changed = text.slice(0, offset) + swapped + text.slice(offset + name.text.length)
    return [{ node, text: changed, shown: { from: `.${name.text}()`, to: `.${swapped}()` } }]
  }
  const isStatement = ts.isExpressionStatement(node.parent)
  if (isStatement || !leftOut.has(name.text) || !hasValue(expression, checker)) return []
  return [{ node, text: `(${expression.getText()})` }]
}

/** A module's function of the same name has no receiver. */
const hasValue = (node: ts.Expression, checker: ts.TypeChecker): boolean =>
  (checker.getTypeAtLocation(node).symbol?.flags ?? 0) !== ts.SymbolFlags.ValueModule

// ---- Optional chains ----------------------------------------------------------------------

/** In the middle of a chain nothing may be put into brackets: the chain would end there. */
const isInsideChain = (node: ts.Node): boolean =>
  node.parent !== undefined && ts.isOptionalChain(node.parent) && node.parent.expression === node

/** `a?.b` for somebody who never thought of `a` being absent. */
function chainBreaks(node: ts.Node): readonly Change[] {
  if (!ts.isOptionalChain(node) || ts.isNonNullChain(node)) return []
  const { questionDotToken } = node
  if (questionDotToken === undefined) return []
  let whole: ts.Node = node
  while (isInsideChain(whole)) whole = whole.parent
  const text = whole.getText()
  const at = questionDotToken.getStart() - whole.getStart()
  const plain = ts.isPropertyAccessExpression(node) ? '!.' : '!'
  return [{ node: whole, text: text.slice(0, at) + plain + text.slice(at + 2) }]
}
