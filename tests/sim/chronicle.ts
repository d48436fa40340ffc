/**
 * What a run leaves behind: how often each thing really happened, the hash of everything that
 * happened in its order, and the story, if somebody wants to read it. Owns no decision.
 */
import { toBase64Url } from '#core/base/bytes.ts'
import { bodyKind, decodeMessage } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import type { FaultName, OperationName } from './plan.ts'

export class Chronicle {
  readonly faults = new Map<FaultName, number>()
  readonly operations = new Map<OperationName, number>()
  readonly outcomes = new Map<string, number>()
  /** Frames that arrived, by who, which way and what. */
  readonly frames = new Map<string, number>()
  readonly story: string[] | null
  /** Set by the world: what stands in front of a line. */
  moment = ''
  #high = 0xdeadbeef
  #low = 0x41c6ce57

  constructor(keepsStory: boolean) {
    this.story = keepsStory ? [] : null
  }

  fault(name: FaultName, what = ''): void {
    this.faults.set(name, (this.faults.get(name) ?? 0) + 1)
    this.note(`* ${name} ${what}`)
  }

  operation(name: OperationName, what: string): void {
    this.operations.set(name, (this.operations.get(name) ?? 0) + 1)
    this.note(`> ${name} ${what}`)
  }

  outcome(name: string): void {
    this.outcomes.set(name, (this.outcomes.get(name) ?? 0) + 1)
  }

  note(line: string): void {
    for (let at = 0; at < line.length; at++) this.#mix(line.charCodeAt(at))
    this.story?.push(`${this.moment} ${line}`)
  }

  /** Something that arrived: part of the hash, and in the story by its kind. */
  arrival(who: string, way: string, frame: Uint8Array): void {
    this.#mix(frame.length)
    for (let at = 0; at < frame.length; at += 7) this.#mix(frame[at] as number)
    for (let at = Math.max(0, frame.length - 8); at < frame.length; at++) {
      this.#mix(frame[at] as number)
    }
    const name = `${who} ${way} ${kindOf(frame)}`
    this.frames.set(name, (this.frames.get(name) ?? 0) + 1)
    if (this.story === null) return
    const where = (frame[1] ?? 0) >= 0x20 ? toBase64Url(frame.subarray(2, 34)).slice(0, 6) : ''
    this.story.push(`${this.moment} ${name} ${where}${refusalOf(frame)} ${frame.length} B`)
  }

  get hash(): string {
    const hex = (word: number) => (word >>> 0).toString(16).padStart(8, '0')
    return hex(this.#high) + hex(this.#low)
  }

  #mix(value: number): void {
    this.#high = Math.imul(this.#high ^ value, 2654435761)
    this.#low = Math.imul(this.#low ^ value, 1597334677)
    this.#high = (this.#high << 13) | (this.#high >>> 19)
    this.#low ^= this.#high >>> 7
  }
}

function kindOf(frame: Uint8Array): string {
  return bodyKind(frame[1] ?? 0) ?? 'of no kind'
}

/** Why, where the frame is a refusal. */
function refusalOf(bytes: Uint8Array): string {
  const frame = parseFrame(bytes)
  if (kindOf(bytes) !== 'refused' || frame.kind !== 'frame') return ''
  const decoded = decodeMessage(frame)
  if (decoded.kind !== 'message' || decoded.message.kind !== 'refused') return ''
  const { refusal } = decoded.message.body
  return 'fault' in refusal ? `${refusal.kind} ${refusal.fault}` : refusal.kind
}
