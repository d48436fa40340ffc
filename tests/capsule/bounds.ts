/**
 * What a capsule may be, whoever made it: how long, how deep, which strings, and how large each of
 * its numbers. Checked before a number sizes anything. Owns the bounds; what the facts mean is the
 * replay's.
 */
import { LIMITS } from '#core/base/limits.ts'

/** Why a file is no capsule, or none that is replayed. */
export type CapsuleFault =
  | 'tooLong'
  | 'tooManySteps'
  | 'noJson'
  | 'noRecord'
  | 'otherVersion'
  | 'tooDeep'
  | 'badName'
  | 'badWord'
  | 'badNumber'
  | 'tooMany'

export class RefusedCapsule extends Error {
  readonly code: CapsuleFault

  constructor(code: CapsuleFault, where: string) {
    super(`${code}: ${where}`)
    this.code = code
  }
}

/** Bytes of a file: the two halves of the ring with one step more each, and what runs. */
export const CAPSULE_FILE_SIZE_MAX = LIMITS.capsuleSizeMax * 4

/** The ring, and the step that had not ended. */
const STEPS_MAX = LIMITS.capsuleStepsMax + 1
const DEPTH_MAX = 12
const LIST_MAX = 8_192
const NAMES_MAX = 512
const NAME = /^[A-Za-z][A-Za-z0-9]{0,31}$/
/** As the recorder writes them. */
const WORD = /^[A-Za-z0-9]{0,40}(:[A-Za-z0-9]{1,40})?$/

/** Whatever a hub may say: positions and times size nothing here. */
const U64_MAX = 2 ** 64
/** Leaves of a room that is rebuilt: each below is filled with a stand-in. */
const LEAF_MAX = 255
/** Frames of one device in an epoch: keys are derived up to the last of them. */
const GENERATION_MAX = 16_383
const KEY_PACKAGES_MAX = 1_024

interface Bounds {
  /** Of a number, or of each in a list, by its place there; the last holds for all behind. */
  readonly max: readonly number[]
  readonly isSigned?: boolean
  /** Of a list. */
  readonly listMax?: number
}

const OTHERS: Bounds = { max: [U64_MAX] }
/** Either way from the beginning of the capsule. */
const times: Bounds = { max: [U64_MAX], isSigned: true }
const counts: Bounds = { max: [LIMITS.invitationsPerRoomMax], listMax: 2 }
/** By the name of a fact, wherever it stands. */
const BOUNDS: Readonly<Record<string, Bounds>> = {
  adds: { ...OTHERS, listMax: LIMITS.membersPerCommitMax },
  anchors: { ...times, listMax: LIMITS.invitationsPerRoomMax },
  at: times,
  chain: { ...OTHERS, listMax: LIMITS.provisionalEpochsMax },
  generation: { max: [GENERATION_MAX] },
  headTime: times,
  heard: times,
  hold: times,
  invitations: counts,
  items: { ...OTHERS, listMax: LIMITS.capsuleOutboxMax },
  keyPackages: { max: [KEY_PACKAGES_MAX] },
  ms: times,
  people: { max: [LEAF_MAX, U64_MAX], listMax: LIMITS.capsulePeopleMax },
  policy: counts,
  requests: times,
  wake: times,
}

/** A capsule's lines as JSON, each within its bounds; throws `RefusedCapsule`. */
export function boundedLines(text: string): readonly Record<string, unknown>[] {
  if (text.length > CAPSULE_FILE_SIZE_MAX) {
    throw new RefusedCapsule('tooLong', `more than ${CAPSULE_FILE_SIZE_MAX} characters`)
  }
  const lines = text.trimEnd().split('\n')
  if (lines.length > STEPS_MAX + 2) {
    throw new RefusedCapsule('tooManySteps', `more than ${STEPS_MAX}`)
  }
  return lines.map((line, index) => {
    const where = `line ${index + 1}`
    const value = parsed(line, where)
    if (!isRecord(value)) throw new RefusedCapsule('noRecord', where)
    checkRecord(value, { path: where, depth: 0 })
    return value
  })
}

function parsed(line: string, where: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw new RefusedCapsule('noJson', where)
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

interface Place {
  readonly path: string
  readonly depth: number
}

function checkRecord(record: Record<string, unknown>, { path, depth }: Place): void {
  const named = Object.entries(record)
  if (named.length > NAMES_MAX) throw new RefusedCapsule('tooMany', path)
  for (const [name, value] of named) {
    if (!NAME.test(name)) throw new RefusedCapsule('badName', path)
    const bounds = Object.hasOwn(BOUNDS, name) ? BOUNDS[name] : undefined
    checkValue(value, bounds ?? OTHERS, { path: `${path}, ${name}`, depth: depth + 1 })
  }
}

function checkValue(value: unknown, bounds: Bounds, { path, depth }: Place, index = -1): void {
  if (depth > DEPTH_MAX) throw new RefusedCapsule('tooDeep', path)
  if (typeof value === 'number') {
    // In the place of a long list there is its length.
    const isLength = index < 0 && bounds.listMax !== undefined
    return checkNumber(value, isLength ? OTHERS : bounds, { path, index })
  }
  if (typeof value === 'string') {
    if (!WORD.test(value)) throw new RefusedCapsule('badWord', path)
  } else if (Array.isArray(value)) {
    const { listMax = LIST_MAX } = bounds
    if (value.length > listMax) throw new RefusedCapsule('tooMany', `${path}: over ${listMax}`)
    for (const [at, each] of value.entries()) {
      checkValue(each, bounds, { path, depth: depth + 1 }, at)
    }
  } else if (isRecord(value)) checkRecord(value, { path, depth })
}

function checkNumber(
  value: number,
  { max, isSigned = false }: Bounds,
  { path, index }: { readonly path: string; readonly index: number },
): void {
  const bound = max[Math.max(0, Math.min(index, max.length - 1))] ?? 0
  const isIn = Number.isInteger(value) && value <= bound && value >= (isSigned ? -bound : 0)
  if (!isIn) throw new RefusedCapsule('badNumber', `${path}: ${value} is not up to ${bound}`)
}
