/** A replay in words: a line for each step, and what became of it all. Owns the words. */
import type { Plain } from '#core/device/capsule-shape.ts'
import { changesOf } from '#core/device/capsule-shape.ts'
import { type CapsuleStep, type Facts, factsOf, listOf, readCapsule, textOf } from './reading.ts'
import type { Replayed } from './replay.ts'

/** Without what steers a terminal or hides in a line: a capsule may come from anybody. */
export function visible(line: string): string {
  return line.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (hidden) => `\\u{${hidden.codePointAt(0)?.toString(16)}}`,
  )
}

/** What the capsule is, before the first step. */
export function opening(text: string): string {
  const { build, lost, steps, start } = readCapsule(text)
  const rooms = Object.keys(factsOf(start['rooms'])).length
  const before = lost === 0 ? '' : `; ${lost} steps before are not in it`
  return visible(
    `A capsule of build ${build}: ${steps.length} steps from ${rooms} rooms on${before}.`,
  )
}

/** One step: when, what came, what went out, what changed, and what went wrong. */
export function told(step: CapsuleStep): string {
  const { index, atMs, input, out, from, to } = step
  const changes = changesOf(from, to)
  const lines = [
    `${String(index).padStart(5)} ${(atMs / 1_000).toFixed(3).padStart(10)} s  ${inWords(input)}`,
    ...out.map((each) => `${' '.repeat(20)}> ${plain(each)}`),
    ...(changes === null ? [] : stateWords(changes).map((line) => `${' '.repeat(20)}= ${line}`)),
    ...failuresOf(step).map((line) => `${' '.repeat(20)}! ${line}`),
  ]
  return lines.map(visible).join('\n')
}

function inWords(input: Facts): string {
  const frames = listOf(input, 'frames').map(factsOf)
  if (frames.length === 0) return plain(input)
  return frames.map(frameWords).join(' | ')
}

function frameWords(frame: Facts): string {
  const { entries, kib: _, ...rest } = frame
  const listed = Array.isArray(entries) ? entries.map((each) => plain(factsOf(each))) : []
  return [plain(rest), ...listed.map((each) => `[${each}]`)].join(' ')
}

/** Values in their order; names where a value alone would say nothing. */
function plain(facts: Facts): string {
  const words = Object.entries(facts).map(([name, value]) =>
    typeof value === 'string' ? value : `${name}=${JSON.stringify(value)}`
  )
  return words.join(' ')
}

function stateWords(changes: Facts): readonly string[] {
  const { rooms, ...rest } = changes
  const own = Object.keys(rest).length === 0 ? [] : [nested(rest)]
  const inRooms = Object.entries(factsOf(rooms)).map(([name, room]) => `${name}: ${nested(room)}`)
  return [...own, ...inRooms]
}

function nested(value: Plain): string {
  return JSON.stringify(value).replaceAll('"', '')
}

/** What went wrong in a step, as the device itself saw it. */
export function failuresOf(step: CapsuleStep): readonly string[] {
  const { out, from, to, fault, running } = step
  const failures: string[] = fault ? ['a fault of the code'] : []
  if (running) failures.push('the step had not ended when this was made')
  for (const each of out) {
    const what = textOf(each, 'what')
    if (each['do'] === 'reportFault') failures.push('a fault of the code, in one frame')
    if (what.startsWith('unreadable')) {
      failures.push(`${textOf(each, 'room')} cannot read ${each['position']}: ${what}`)
    }
    if (each['outcome'] === 'failed') failures.push(`refused: ${textOf(each, 'code')}`)
  }
  for (const [name, value] of Object.entries(factsOf(to['rooms']))) {
    const phase = textOf(factsOf(value), 'phase')
    const before = textOf(factsOf(factsOf(from['rooms'])[name]), 'phase')
    const isEnd = phase === 'broken' || phase === 'joinRefused'
    if (isEnd && phase !== before) failures.push(`${name} is ${phase}: ${factsOf(value)['code']}`)
  }
  const session = factsOf(to['session'])
  if (session['kind'] === 'refused' && factsOf(from['session'])['kind'] !== 'refused') {
    failures.push(`the session is refused: ${session['code']}`)
  }
  return failures
}

/** How it ended. */
export function ending({ capsule, steps, divergence, missing }: Replayed): string {
  const failed = capsule.steps.slice(0, steps)
    .flatMap((step) => failuresOf(step).map((failure) => `step ${step.index}: ${failure}`))
  const lines = [
    ...missing.map((what) => `Not rebuilt: ${what}.`),
    ...failed.map((failure) => `Failure at ${failure}.`),
    divergence === null
      ? `All ${steps} steps went as recorded.`
      : `Step ${divergence.step} goes another way (${divergence.of}): ${divergence.what}.`,
  ]
  return lines.map(visible).join('\n')
}
