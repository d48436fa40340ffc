/**
 * What waits to be written to one session: control before rooms, one write in flight for each pipe,
 * everything that came meanwhile in the next write. Owns the queues and their size; what happens
 * when they are too long is decided by the caller. A frame is shared by all sessions and never
 * copied here.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { HubSession, Lane } from '#hub/ports.ts'

/** Whoever queues frames and may take them back. `queuedBytes` is kept up to date here. */
export interface Sender {
  queuedBytes: number
}

/** Frames of one sender. `first` is the position of its first entry; null for other frames. */
export interface OutboundItem {
  readonly lane: Lane
  readonly frames: readonly Uint8Array[]
  readonly bytes: number
  readonly first: bigint | null
}

interface Queued extends OutboundItem {
  readonly sender: Sender | null
}

interface Pipe {
  items: Queued[]
  writing: boolean
}

const CONTROL: Lane = { kind: 'control' }

/**
 * The queues of one session. Where all lanes share one stream (WebSocket) there is one pipe for the
 * rooms; elsewhere each lane is a pipe. A write that is not taken since the session is gone ends in
 * silence: `HubSessionListener.closed` tells of it.
 */
export class Outbound {
  readonly #session: HubSession
  readonly #taken: () => void
  readonly #control: Pipe = { items: [], writing: false }
  readonly #pipes = new Map<string, Pipe>()
  #controlBytes = 0
  #roomBytes = 0

  /** `taken` is called when the transport took a write: there is room again. */
  constructor(session: HubSession, taken: () => void) {
    this.#session = session
    this.#taken = taken
  }

  get controlBytes(): number {
    return this.#controlBytes
  }

  /** Frames of rooms that the transport has not taken. */
  get roomBytes(): number {
    return this.#roomBytes
  }

  control(frame: Uint8Array): void {
    const bytes = frame.length
    this.#control.items.push({ lane: CONTROL, frames: [frame], bytes, first: null, sender: null })
    this.#controlBytes += bytes
  }

  queue(sender: Sender, { lane, frames, bytes, first }: OutboundItem): void {
    this.#pipeOf(lane).items.push({ lane, frames, bytes, first, sender })
    this.#roomBytes += bytes
    sender.queuedBytes += bytes
  }

  /** Takes back entries that are not being written; their smallest `first`, or null. */
  takeBack(sender: Sender): bigint | null {
    let first: bigint | null = null
    for (const pipe of this.#pipes.values()) {
      const kept: Queued[] = []
      for (const item of pipe.items) {
        if (item.sender !== sender || item.first === null) {
          kept.push(item)
          continue
        }
        this.#forget(item)
        if (first === null || item.first < first) first = item.first
      }
      pipe.items = kept
    }
    return first
  }

  /** Drops everything that is not being written. */
  clear(): void {
    for (const pipe of [this.#control, ...this.#pipes.values()]) {
      for (const item of pipe.items) this.#forget(item)
      pipe.items = []
    }
  }

  /** Starts a write on each pipe that has something and is not writing. */
  flush(): void {
    if (!this.#control.writing) this.#write(this.#control)
    for (const pipe of this.#pipes.values()) if (!pipe.writing) this.#write(pipe)
  }

  #write(pipe: Pipe): void {
    const batch = takeBatch(pipe)
    const [first] = batch
    if (first === undefined) return
    pipe.writing = true
    const frames = batch.length === 1 ? first.frames : batch.flatMap((item) => item.frames)
    this.#session.write(first.lane, frames).then(() => {
      pipe.writing = false
      for (const item of batch) this.#forget(item)
      this.#write(pipe)
      this.#taken()
    }, () => {})
  }

  #forget({ sender, bytes }: Queued): void {
    if (sender === null) this.#controlBytes -= bytes
    else {
      this.#roomBytes -= bytes
      sender.queuedBytes -= bytes
    }
  }

  #pipeOf(lane: Lane): Pipe {
    const name = pipeName(lane, this.#session.transport === 'webTransport')
    let pipe = this.#pipes.get(name)
    if (pipe === undefined) {
      pipe = { items: [], writing: false }
      this.#pipes.set(name, pipe)
    }
    return pipe
  }
}

function pipeName(lane: Lane, lanesAreStreams: boolean): string {
  if (!lanesAreStreams) return 'rooms'
  return lane.kind === 'shared' ? `shared ${lane.index}` : lane.kind
}

/** Everything that waits, or as much as one write may hold; at least one item. */
function takeBatch(pipe: Pipe): Queued[] {
  let bytes = 0
  let count = 0
  for (const item of pipe.items) {
    if (count > 0 && bytes + item.bytes > LIMITS.writeBytesMax) break
    bytes += item.bytes
    count++
  }
  if (count === pipe.items.length) {
    const { items } = pipe
    pipe.items = []
    return items
  }
  return pipe.items.splice(0, count)
}
