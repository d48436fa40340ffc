/**
 * The capsule of a device: what its machine was given, what it did and what became of its state, in
 * a form that a person can read and give away (DEV-10). Owns the ring of the last steps, in memory
 * alone, and the format; what may be said of a state is `capsule-shape.ts`, of inputs
 * `capsule-facts.ts`.
 *
 * A capsule is JSON lines. The first is the header: version, build, faults of the recorder, and how
 * many steps before were let go. The second is the shape of the state in which the first step
 * began. Each other line is one step: when (ms since the capsule began), what came in, what went
 * out, and what changed in the shape. A last step that is still running says so.
 *
 * It has neither keys nor texts nor names, no hash and no ciphertext: all strings in it are words
 * of this code. So nothing of it can be opened, and it cannot be run as it stands: a replay puts
 * stand-ins in the place of people and of what they wrote, and the real machine among them
 * (`tests/capsule`). It does show when things happened, in which order, and between how many.
 */
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { effectFacts, inputFacts, shownFacts } from '#core/device/capsule-facts.ts'
import { changesOf, type PlainRecord, Pseudonyms, shapeOf } from '#core/device/capsule-shape.ts'
import type { DeviceMachine } from '#core/device/device.ts'
import type { DeviceInput } from '#core/device/io.ts'
import type { DeviceState } from '#core/device/state.ts'

/** Grows when a replay of before could not read what is written. */
export const CAPSULE_VERSION = 1

/** Steps one after another, from the shape in which the first began. */
interface Stretch {
  readonly start: string
  readonly lines: string[]
  size: number
}

/** A machine under observation. */
export interface RecordedMachine {
  /** Does what the machine does, and remembers what it was. */
  readonly machine: DeviceMachine
  /** What is remembered now. */
  capsule(): string
}

/**
 * Observes a machine. The state between steps is the driver's: what it did not keep is noticed. A
 * fault of the recorder is counted in the header and changes nothing for the device.
 */
export function recordCapsule(machine: DeviceMachine, appVersion: number): RecordedMachine {
  const recorder = new Recorder(appVersion)
  return {
    machine: {
      async step(before, input, nowMs) {
        recorder.began({ before, input, nowMs })
        let after = null
        try {
          after = await machine.step(before, input, nowMs)
          return after
        } finally {
          recorder.ended({ before, input, nowMs, after })
        }
      },
      storeFailed: (input) => machine.storeFailed(input),
    },
    capsule: () => recorder.text(),
  }
}

class Recorder {
  readonly #appVersion: number
  readonly #ring = new Ring()
  #names: Pseudonyms | null = null
  /** Names that the first shape needed; a hub makes up others. */
  #namesAtStartCount = 0
  /** As it would be if the last step was kept. */
  #last: DeviceState | null = null
  #running: Begun | null = null
  #faultCount = 0

  constructor(appVersion: number) {
    this.#appVersion = appVersion
  }

  began(step: Begun): void {
    this.#running = step
  }

  ended(step: Observed): void {
    this.#running = null
    const isKept = this.#last === null || this.#last === step.before
    this.#last = step.after?.state ?? step.before
    try {
      const names = this.#names ?? this.#begin(step)
      this.#ring.begin(() => JSON.stringify({ state: shapeOf(step.before, names) }))
      const line = JSON.stringify(stepFacts(names, step, isKept))
      // Names are the same throughout a capsule: with too many of them another begins.
      if (names.count <= this.#namesAtStartCount + LIMITS.capsuleNamesMax) this.#ring.add(line)
      else {
        this.#ring.letGo()
        this.#names = null
      }
    } catch {
      this.#faultCount++
      this.#ring.letGo()
    }
  }

  #begin({ before, nowMs }: Observed): Pseudonyms {
    const names = new Pseudonyms(nowMs)
    this.#names = names
    shapeOf(before, names)
    this.#namesAtStartCount = names.count
    return names
  }

  text(): string {
    const header = { capsule: CAPSULE_VERSION, build: this.#appVersion, faults: this.#faultCount }
    const text = this.#ring.text(header)
    const [names, running] = [this.#names, this.#running]
    if (names === null || running === null) return text
    return `${text}${runningLine(names, running)}\n`
  }
}

interface Begun {
  readonly before: DeviceState
  readonly input: DeviceInput
  readonly nowMs: TimeMs
}

interface Observed extends Begun {
  /** Null where the step failed by a fault of ours. */
  readonly after: Awaited<ReturnType<DeviceMachine['step']>> | null
}

/** A step that has begun and not ended: where a device hangs, this is why. */
function runningLine(names: Pseudonyms, running: Begun): string {
  const { before, input, nowMs } = running
  const facts = inputFacts({ names, state: before }, input)
  return JSON.stringify({ at: names.ms(nowMs), in: facts, running: true })
}

function stepFacts(names: Pseudonyms, observed: Observed, isKept: boolean): PlainRecord {
  const { before, input, nowMs, after } = observed
  // What was not stored did not happen: the shape goes on from the step before.
  const undone = isKept ? {} : { undone: true }
  const from = shapeOf(before, names)
  const seen = { names, state: after?.state ?? before }
  const facts = { at: names.ms(nowMs), ...undone, in: inputFacts(seen, input) }
  if (after === null) return { ...facts, fault: true }
  const out = after.effects.map((effect) => effectFacts(seen, effect))
  const to = changesOf(from, shapeOf(after.state, names))
  return {
    ...facts,
    out: [...out.filter((each) => each !== null), ...shownFacts(seen, after.changes)],
    ...(to === null ? {} : { to }),
  }
}

/** Two stretches of steps: when the newer is full, the older is let go. */
class Ring {
  #older: Stretch | null = null
  #newer: Stretch | null = null
  #lostCount = 0

  /** Before a step: where a stretch begins, the shape is kept. */
  begin(start: () => string): void {
    const { capsuleStepsMax, capsuleSizeMax } = LIMITS
    const full = this.#newer
    const isFull = full !== null &&
      (full.lines.length >= capsuleStepsMax / 2 || full.size >= capsuleSizeMax / 2)
    if (full !== null && !isFull) return
    this.#lostCount += this.#older?.lines.length ?? 0
    this.#older = full
    const state = start()
    this.#newer = { start: state, lines: [], size: state.length }
  }

  /** A step; one that says more than a capsule takes ends its stretch, and is let go with it. */
  add(line: string): void {
    if (this.#newer === null) return
    if (line.length > LIMITS.capsuleStepSizeMax) return this.letGo()
    this.#newer.lines.push(line)
    this.#newer.size += line.length + 1
  }

  /** Everything so far and the step that could not be held. */
  letGo(): void {
    this.#lostCount += (this.#older?.lines.length ?? 0) + (this.#newer?.lines.length ?? 0) + 1
    this.#older = null
    this.#newer = null
  }

  text(header: PlainRecord): string {
    const stretches = [this.#older, this.#newer].filter((each) => each !== null)
    const [first] = stretches
    const start = first === undefined ? [] : [first.start]
    const lines = stretches.flatMap((each) => each.lines)
    const whole = { ...header, lost: this.#lostCount }
    return [JSON.stringify(whole), ...start, ...lines, ''].join('\n')
  }
}
