/**
 * What waits to be written to one session: control before data, one write in flight for each pipe,
 * everything that came meanwhile in the next write. Owns the queues and their size; what happens
 * when they are too long is decided by the caller. A frame is shared by all sessions and never
 * copied here.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { HubSession, Lane } from '#hub/ports.ts'

/** Whoever queues data and may take it back. `queuedBytes` is kept up to date here. */
export interface Sender {
  queuedBytes: number
}

/** Data of one sender. `first` is the position of its first entry; null for other frames. */
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

export interface Outbound {
  readonly controlBytes: number
  /** Data that the transport has not taken. */
  readonly dataBytes: number
  control(frame: Uint8Array): void
  queue(sender: Sender, item: OutboundItem): void
  /** Takes back entries that are not being written; their smallest `first`, or null. */
  takeBack(sender: Sender): bigint | null
  /** Drops everything that is not being written. */
  clear(): void
  /** Starts a write on each pipe that has something and is not writing. */
  flush(): void
}

export interface OutboundHost {
  /** The transport took a write; there is room again. */
  taken(): void
}

const CONTROL: Lane = { kind: 'control' }

/**
 * Creates the queues of a session. Where all lanes share one stream (WebSocket) there is one pipe
 * for data; elsewhere each lane is a pipe. A write that is not taken since the session is gone ends
 * in silence: `HubSessionListener.closed` tells of it.
 */
export function createOutbound(session: HubSession, host: OutboundHost): Outbound {
  const lanesAreStreams = session.transport === 'webTransport'
  const pipes = new Map<string, Pipe>()
  const control: Pipe = { items: [], writing: false }
  let controlBytes = 0
  let dataBytes = 0

  const pipeOf = (lane: Lane): Pipe => {
    const name = pipeName(lane, lanesAreStreams)
    let pipe = pipes.get(name)
    if (pipe === undefined) {
      pipe = { items: [], writing: false }
      pipes.set(name, pipe)
    }
    return pipe
  }
  const forget = (item: Queued) => {
    if (item.sender === null) controlBytes -= item.bytes
    else {
      dataBytes -= item.bytes
      item.sender.queuedBytes -= item.bytes
    }
  }
  const write = (pipe: Pipe) => {
    const batch = takeBatch(pipe)
    const [first] = batch
    if (first === undefined) return
    pipe.writing = true
    const frames = batch.length === 1 ? first.frames : batch.flatMap((item) => item.frames)
    session.write(first.lane, frames).then(() => {
      pipe.writing = false
      for (const item of batch) forget(item)
      write(pipe)
      host.taken()
    }, () => {})
  }
  return {
    get controlBytes() {
      return controlBytes
    },
    get dataBytes() {
      return dataBytes
    },
    control(frame) {
      const bytes = frame.length
      control.items.push({ lane: CONTROL, frames: [frame], bytes, first: null, sender: null })
      controlBytes += bytes
    },
    queue(sender, item) {
      pipeOf(item.lane).items.push({ ...item, sender })
      dataBytes += item.bytes
      sender.queuedBytes += item.bytes
    },
    takeBack(sender) {
      let first: bigint | null = null
      for (const pipe of pipes.values()) {
        const kept: Queued[] = []
        for (const item of pipe.items) {
          if (item.sender !== sender || item.first === null) {
            kept.push(item)
            continue
          }
          forget(item)
          if (first === null || item.first < first) first = item.first
        }
        pipe.items = kept
      }
      return first
    },
    clear() {
      for (const pipe of [control, ...pipes.values()]) {
        for (const item of pipe.items) forget(item)
        pipe.items = []
      }
    },
    flush() {
      if (!control.writing) write(control)
      for (const pipe of pipes.values()) if (!pipe.writing) write(pipe)
    },
  }
}

function pipeName(lane: Lane, lanesAreStreams: boolean): string {
  if (!lanesAreStreams) return 'data'
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
