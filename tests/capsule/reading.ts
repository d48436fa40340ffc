/**
 * A capsule, read: header, first shape, steps with the shape after each, and what the log of each
 * room said at which position. Owns reading; what it means is the replay's.
 */
import { CAPSULE_VERSION } from '#core/device/capsule.ts'
import { type Plain, type PlainRecord, withChanges } from '#core/device/capsule-shape.ts'
import { boundedLines, RefusedCapsule } from './bounds.ts'

/** Facts of the capsule; what is not there is read as nothing. */
export type Facts = PlainRecord

export interface CapsuleStep {
  /** In the capsule, from 1. */
  readonly index: number
  readonly atMs: number
  readonly input: Facts
  readonly out: readonly Facts[]
  /** Before and after the step. */
  readonly from: Facts
  readonly to: Facts
  /** What the step before did was not kept. */
  readonly undone: boolean
  readonly fault: boolean
  /** The step had not ended when the capsule was made. */
  readonly running: boolean
}

export interface Capsule {
  readonly build: number
  /** Steps before the first. */
  readonly lost: number
  readonly start: Facts
  readonly steps: readonly CapsuleStep[]
}

export function numberOf(facts: Facts, name: string): number {
  const value = facts[name]
  return typeof value === 'number' ? value : 0
}

export function textOf(facts: Facts, name: string): string {
  const value = facts[name]
  return typeof value === 'string' ? value : ''
}

export function listOf(facts: Facts, name: string): readonly Plain[] {
  const value = facts[name]
  return Array.isArray(value) ? value : []
}

export function factsOf(value: Plain | undefined): Facts {
  const isFacts = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isFacts ? value as Facts : {}
}

/** The shape of a room; empty where there is none. */
export function roomShapeOf(shape: Facts, room: string): Facts {
  return factsOf(factsOf(shape['rooms'])[room])
}

/** Reads a capsule; throws `RefusedCapsule` where it is none, of this version and within bounds. */
export function readCapsule(text: string): Capsule {
  const [header = {}, start = {}, ...lines] = boundedLines(text) as readonly Facts[]
  if (header['capsule'] !== CAPSULE_VERSION) throw new RefusedCapsule('otherVersion', 'line 1')
  const first = factsOf(start['state'])
  let shape = first
  let before = first
  const steps = lines.map((line, at): CapsuleStep => {
    const undone = line['undone'] === true
    const from = undone ? before : shape
    const to = line['to'] === undefined ? from : withChanges(from, factsOf(line['to']))
    before = from
    shape = to
    return {
      index: at + 1,
      atMs: numberOf(line, 'at'),
      input: factsOf(line['in']),
      out: listOf(line, 'out').map(factsOf),
      from,
      to,
      undone,
      fault: line['fault'] === true,
      running: line['running'] === true,
    }
  })
  const { build, lost } = header
  return { build: Number(build), lost: Number(lost), start: first, steps }
}

/** An entry of a room's log as the capsule has it, and the step in which it came. */
export interface ScriptedEntry {
  readonly position: number
  readonly facts: Facts
  readonly step: CapsuleStep
}

/** What the log of a room said, by position: the first word on each. */
export function scriptOf(capsule: Capsule, room: string): ReadonlyMap<number, ScriptedEntry> {
  const script = new Map<number, ScriptedEntry>()
  for (const step of capsule.steps) {
    for (const frame of listOf(step.input, 'frames').map(factsOf)) {
      if (frame['kind'] !== 'entries' || frame['room'] !== room) continue
      listOf(frame, 'entries').map(factsOf).forEach((facts, index) => {
        const position = numberOf(frame, 'first') + index
        if (!script.has(position)) script.set(position, { position, facts, step })
      })
    }
  }
  return script
}
