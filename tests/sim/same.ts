/** When two accounts of one thing are the same: what is final, and a group as everybody sees it. */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import type { Finality } from '#core/policy/finality.ts'

export function sameFinality(a: Finality, b: Finality): boolean {
  const plain = (finality: Finality) => JSON.stringify(plainFinality(finality), withBytes)
  return plain(a) === plain(b)
}

/** What of a finality follows from the log above a position alone. */
function plainFinality({ final, open }: Finality) {
  return {
    final,
    open: open.map(({ position, epochId, votes }) => ({ position, epochId, votes })),
  }
}

function withBytes(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}`
  return value instanceof Uint8Array ? toHex(value) : value
}

export function sameGroup(a: PublicGroup, b: PublicGroup): boolean {
  return equalBytes(epochIdOf(a.suite, a.context), epochIdOf(b.suite, b.context)) &&
    equalBytes(encodeRatchetTree(a.tree), encodeRatchetTree(b.tree))
}
