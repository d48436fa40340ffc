/** Which statements a mutant may leave out: calls, assignments, throws, early ends. */
import ts from 'typescript'

/** The end of a function may return; before it a return is an early one. */
function isEarly(node: ts.ReturnStatement): boolean {
  if (node.expression === undefined) return true
  const { parent } = node
  if (!ts.isBlock(parent)) return true
  return !(ts.isFunctionLike(parent.parent) && parent.statements.at(-1) === node)
}

function isSaid(node: ts.ExpressionStatement): boolean {
  const { expression } = node
  if (!ts.isCallExpression(expression)) return true
  const callee = expression.expression
  if (callee.kind === ts.SyntaxKind.SuperKeyword) return false
  return !(ts.isIdentifier(callee) && callee.text === 'assert')
}

export function isRemovable(node: ts.Node): boolean {
  if (ts.isExpressionStatement(node)) return isSaid(node)
  if (ts.isReturnStatement(node)) return isEarly(node)
  return ts.isThrowStatement(node) || ts.isContinueStatement(node) || ts.isBreakStatement(node)
}
