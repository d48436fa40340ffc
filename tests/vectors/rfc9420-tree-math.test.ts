/** Arithmetic of node indices (RFC 9420 appendix C) against published vectors. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { left, parent, right, root, sibling } from '#core/mls/tree-math.ts'
import { plainFamilyTest } from './families.ts'

interface TreeMath {
  readonly n_leaves: number
  readonly n_nodes: number
  readonly root: number
  readonly left: readonly (number | null)[]
  readonly right: readonly (number | null)[]
  readonly parent: readonly (number | null)[]
  readonly sibling: readonly (number | null)[]
}

plainFamilyTest<TreeMath>('tree-math', 'tree-math*.json', (vector) => {
  const width = vector.n_leaves
  const nodes = Array.from({ length: vector.n_nodes }, (_, node) => node)
  strictEqual(vector.n_nodes, 2 * width - 1)
  strictEqual(root(width), vector.root)
  deepStrictEqual(nodes.map(left), vector.left)
  deepStrictEqual(nodes.map(right), vector.right)
  deepStrictEqual(nodes.map((node) => parent(node, width)), vector.parent)
  deepStrictEqual(nodes.map((node) => sibling(node, width)), vector.sibling)
})
