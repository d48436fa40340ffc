/**
 * An immutable map from byte strings to values: an edit gives a new map that shares all but
 * O(log n) branches with the old one. Owns order and balance; owns no meaning of a key.
 *
 * It is a weight-balanced search tree in the order of the bytes (Adams 1993; the parameters 3 and 2
 * of Hirai and Yamamoto 2011), not a hash table: many keys are chosen by peers, and without a hash
 * there is no collision to aim at. Keys that share a long prefix cost no more than its comparison.
 * The time of a comparison depends on the keys, so they may not be secret. Keys are held by
 * reference.
 */

interface Branch<V> {
  /** `headOf` the key. */
  readonly head: number
  readonly key: Uint8Array
  readonly value: V
  readonly left: Branch<V> | null
  readonly right: Branch<V> | null
  readonly size: number
}

export interface MapEntry<V> {
  readonly key: Uint8Array
  readonly value: V
}

export class PersistentMap<V> {
  readonly #top: Branch<V> | null

  private constructor(top: Branch<V> | null) {
    this.#top = top
  }

  /** The map of these entries in O(n log n); of entries with one key the first stays. */
  static of<V>(entries: readonly MapEntry<V>[]): PersistentMap<V> {
    const sorted = entries.map(placed).sort(compare)
    const distinct = sorted.filter((entry, index) => {
      const before = sorted[index - 1]
      return before === undefined || compare(before, entry) !== 0
    })
    return new PersistentMap(balanced(distinct, 0, distinct.length))
  }

  get size(): number {
    return sizeOf(this.#top)
  }

  get(key: Uint8Array): V | undefined {
    const sought = { head: headOf(key), key }
    let branch = this.#top
    while (branch !== null) {
      const order = compare(sought, branch)
      if (order === 0) return branch.value
      branch = order < 0 ? branch.left : branch.right
    }
    return undefined
  }

  set(key: Uint8Array, value: V): PersistentMap<V> {
    return new PersistentMap(inserted(this.#top, placed({ key, value })))
  }

  delete(key: Uint8Array): PersistentMap<V> {
    const top = deleted(this.#top, { head: headOf(key), key })
    return top === this.#top ? this : new PersistentMap(top)
  }

  /** In the order of the keys. */
  *[Symbol.iterator](): IterableIterator<MapEntry<V>> {
    const above: Branch<V>[] = []
    let branch = this.#top
    while (branch !== null || above.length > 0) {
      while (branch !== null) {
        above.push(branch)
        branch = branch.left
      }
      const next = above.pop() as Branch<V>
      yield { key: next.key, value: next.value }
      branch = next.right
    }
  }
}

/** A key and where it stands. */
interface Sought {
  readonly head: number
  readonly key: Uint8Array
}

type Entry<V> = Sought & MapEntry<V>

/**
 * The first 30 bits of a key, in the order of keys. They stand in the branch itself, so that the
 * way through a large map does not fetch every key that it passes.
 */
function headOf(key: Uint8Array): number {
  const upper = ((key[0] ?? 0) << 22) | ((key[1] ?? 0) << 14)
  return upper | ((key[2] ?? 0) << 6) | ((key[3] ?? 0) >> 2)
}

function placed<V>({ key, value }: MapEntry<V>): Entry<V> {
  return { head: headOf(key), key, value }
}

function compare(a: Sought, b: Sought): number {
  return a.head - b.head || compareKeys(a.key, b.key)
}

/** Lexicographic; a prefix stands before what it begins. */
function compareKeys(a: Uint8Array, b: Uint8Array): number {
  if (a === b) return 0
  const common = Math.min(a.length, b.length)
  for (let i = 0; i < common; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

function sizeOf(branch: Branch<unknown> | null): number {
  return branch === null ? 0 : branch.size
}

function branchOf<V>(
  { head, key, value }: Entry<V>,
  left: Branch<V> | null,
  right: Branch<V> | null,
): Branch<V> {
  return { head, key, value, left, right, size: sizeOf(left) + sizeOf(right) + 1 }
}

/** The tree of sorted entries from `start` to before `end`; as deep as it is high. */
function balanced<V>(
  entries: readonly Entry<V>[],
  start: number,
  end: number,
): Branch<V> | null {
  if (start === end) return null
  const middle = (start + end) >>> 1
  const entry = entries[middle] as Entry<V>
  return branchOf(entry, balanced(entries, start, middle), balanced(entries, middle + 1, end))
}

function inserted<V>(branch: Branch<V> | null, entry: Entry<V>): Branch<V> {
  if (branch === null) return branchOf(entry, null, null)
  const order = compare(entry, branch)
  const { left, right } = branch
  if (order === 0) return branchOf(entry, left, right)
  return order < 0
    ? rebalanced(branch, inserted(left, entry), right)
    : rebalanced(branch, left, inserted(right, entry))
}

function deleted<V>(branch: Branch<V> | null, key: Sought): Branch<V> | null {
  if (branch === null) return null
  const order = compare(key, branch)
  if (order === 0) return joined(branch.left, branch.right)
  const { left, right } = branch
  if (order < 0) {
    const smaller = deleted(left, key)
    return smaller === left ? branch : rebalanced(branch, smaller, right)
  }
  const smaller = deleted(right, key)
  return smaller === right ? branch : rebalanced(branch, left, smaller)
}

/** Two trees of which the first stands before the second, and which were balanced siblings. */
function joined<V>(left: Branch<V> | null, right: Branch<V> | null): Branch<V> | null {
  if (left === null) return right
  if (right === null) return left
  if (left.size > right.size) {
    const last = edge(left, 'right')
    return rebalanced(last, deleted(left, last), right)
  }
  const first = edge(right, 'left')
  return rebalanced(first, left, deleted(right, first))
}

function edge<V>(branch: Branch<V>, side: 'left' | 'right'): Branch<V> {
  let at = branch
  for (let next = at[side]; next !== null; next = at[side]) at = next
  return at
}

/** Whether `heavy` may stand beside `light`. */
function balances(light: Branch<unknown> | null, heavy: Branch<unknown> | null): boolean {
  return 3 * (sizeOf(light) + 1) >= sizeOf(heavy) + 1
}

/** Whether one rotation is enough, by the weights of the heavy side's inner and outer child. */
function rotatesOnce(inner: Branch<unknown> | null, outer: Branch<unknown> | null): boolean {
  return sizeOf(inner) + 1 < 2 * (sizeOf(outer) + 1)
}

/** An entry between two trees of which one has lost or won one entry. */
function rebalanced<V>(
  entry: Entry<V>,
  left: Branch<V> | null,
  right: Branch<V> | null,
): Branch<V> {
  if (right !== null && !balances(left, right)) {
    const inner = right.left
    if (inner === null || rotatesOnce(inner, right.right)) {
      return branchOf(right, branchOf(entry, left, inner), right.right)
    }
    const outer = branchOf(right, inner.right, right.right)
    return branchOf(inner, branchOf(entry, left, inner.left), outer)
  }
  if (left !== null && !balances(right, left)) {
    const inner = left.right
    if (inner === null || rotatesOnce(inner, left.left)) {
      return branchOf(left, left.left, branchOf(entry, inner, right))
    }
    const outer = branchOf(left, left.left, inner.left)
    return branchOf(inner, outer, branchOf(entry, inner.right, right))
  }
  return branchOf(entry, left, right)
}
