/**
 * Whom the hub asks for a vote (VOTE-2): up to 16 connected accounts, one device each, and at least
 * one from each subtree of the committer's copath that has one. Owns that choice alone.
 *
 * The choice is random. *A committer that knew who will be asked could encrypt rightly to them, and
 * wrongly to all others.*
 */
import { LIMITS } from '#core/base/limits.ts'
import type { AccountName } from '#core/base/ids.ts'
import { type CommitFacts, isElector } from '#core/policy/finality.ts'

export interface ConnectedLeaf {
  readonly leaf: number
  readonly account: AccountName
}

export interface Asking {
  readonly facts: CommitFacts
  /** Leaves of the epoch made whose devices are connected. */
  readonly connected: readonly ConnectedLeaf[]
  /** Leaves and accounts asked before. */
  readonly asked: readonly ConnectedLeaf[]
  /** Four random bytes for each connected leaf. */
  readonly random: Uint8Array
}

/** Leaves to ask now, besides those asked before. Empty where nobody new is there. */
export function chooseAsked(asking: Asking): readonly ConnectedLeaf[] {
  const { facts, asked } = asking
  const accounts = new Set(asked.map(({ account }) => account))
  const subtrees = new Set(asked.map(({ leaf }) => copathLevel(facts.committer, leaf)))
  const electors = shuffled(asking).filter((leaf) => isElector(facts, leaf))
  const chosen: ConnectedLeaf[] = []
  const take = (wanted: (leaf: ConnectedLeaf) => boolean): void => {
    for (const leaf of electors) {
      if (asked.length + chosen.length >= LIMITS.askedMax) return
      if (accounts.has(leaf.account) || !wanted(leaf)) continue
      accounts.add(leaf.account)
      subtrees.add(copathLevel(facts.committer, leaf.leaf))
      chosen.push(leaf)
    }
  }
  take(({ leaf }) => !subtrees.has(copathLevel(facts.committer, leaf)))
  take(() => true)
  return chosen
}

/** Level of the lowest node above both leaves: it names the subtree of the copath. */
function copathLevel(committer: number, leaf: number): number {
  return 32 - Math.clz32(committer ^ leaf)
}

/** Sorted by random keys. */
function shuffled({ connected, random }: Asking): readonly ConnectedLeaf[] {
  const view = new DataView(random.buffer, random.byteOffset, random.byteLength)
  return connected
    .map((leaf, index) => ({ leaf, key: view.getUint32(index * 4) }))
    .sort((a, b) => a.key - b.key)
    .map(({ leaf }) => leaf)
}
