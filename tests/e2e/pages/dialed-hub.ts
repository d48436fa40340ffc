/** Page side of the dialer in its dedicated worker: keeps what was heard for the test to ask. */
import type { DialerEvent, DialerOrder } from './dialer.worker.ts'

let worker: Worker | null = null
let heard: DialerEvent[] = []

function tell(order: DialerOrder): void {
  worker ??= new Worker(new URL('./dialer.worker.ts', import.meta.url), { type: 'module' })
  worker.onmessage = ({ data: event }: MessageEvent<DialerEvent>) => heard.push(event)
  worker.postMessage(order)
}

/** Dials; what an earlier dial heard is forgotten, what worked is remembered. */
export function dialHub(endpoint: string): void {
  heard = []
  tell({ kind: 'dial', endpoint })
}

export function sayToHub(order: Exclude<DialerOrder, { kind: 'dial' }>): void {
  tell(order)
}

export function hearHub(): readonly DialerEvent[] {
  return heard
}
