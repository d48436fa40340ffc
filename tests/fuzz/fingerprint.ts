/**
 * All of a state as one text, to see that a call has left it as it was: contexts, secrets, keys
 * and the tree as it is encoded. Owns the walk; caches that a tree fills in place are not part of
 * it.
 */
import type { Group } from '#core/mls/group.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { toHex } from './hex.ts'

const NOT_WALKED: ReadonlySet<string> = new Set(['suite', 'tree'])

function walk(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value)
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Map) return [...value].map(walk)
  if (value instanceof Set) return [...value].map(walk)
  if (Array.isArray(value)) return value.map(walk)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).filter(([name]) => !NOT_WALKED.has(name))
  fields.sort(([a], [b]) => a < b ? -1 : 1)
  return Object.fromEntries(fields.map(([name, field]) => [name, walk(field)]))
}

export function fingerprint(group: Group | PublicGroup): string {
  const { tree } = 'public' in group ? group.public : group
  return `${toHex(encodeRatchetTree(tree))} ${JSON.stringify(walk(group))}`
}
