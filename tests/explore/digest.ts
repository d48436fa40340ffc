/**
 * One short name for an immutable value: equal for values that are equal throughout. Parts that are
 * shared between values are read once. Owns that reading alone; a kind of object that it cannot see
 * into is an error, so that no two values are taken for one.
 */
import { toHex, utf8Encode } from '#core/base/bytes.ts'
import { PersistentMap } from '#core/mls/persistent-map.ts'
import { ChainTable } from '#core/sender-keys/chains.ts'
import { mix } from '../support/mixer.ts'

const known = new WeakMap<object, string>()
const PURPOSE = 78
const NAME_LENGTH = 16

/** 32 hex digits. */
export function digestOf(value: object): string {
  const before = known.get(value)
  if (before !== undefined) return before
  const digest = value instanceof Uint8Array
    ? named([value])
    : named([utf8Encode(partsOf(value).join(';'))])
  known.set(value, digest)
  return digest
}

function named(parts: readonly Uint8Array[]): string {
  return toHex(mix(PURPOSE, parts, NAME_LENGTH))
}

function partsOf(value: object): readonly string[] {
  // An index of what stands beside it.
  if (value instanceof PersistentMap) return ['index']
  if (Array.isArray(value) || value instanceof Set || value instanceof ChainTable) {
    return ['list', ...[...value as Iterable<unknown>].map(textOf)]
  }
  if (value instanceof Map) {
    return ['map', ...[...value].map(([key, each]) => `${textOf(key)}=${textOf(each)}`)]
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    throw new Error(`a ${value.constructor.name} cannot be read`)
  }
  return Object.entries(value).map(([name, each]) => `${name}=${textOf(each)}`).sort()
}

function textOf(value: unknown): string {
  if (typeof value === 'object' && value !== null) return digestOf(value)
  // Functions belong to ports and suites, which are the same throughout.
  return typeof value === 'function' ? 'function' : `${typeof value}:${String(value)}`
}
