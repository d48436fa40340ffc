/**
 * Operational events: a closed catalogue (HUB-7). Owns the writing of one JSON line for each; labels
 * are names of a closed set or numbers, so that an id, a name, an address or a text cannot be said.
 */
import type { Clock } from '#core/base/ports.ts'
import type { GatewayEvent } from '#hub/gateway/model.ts'
import type { AdapterEvent } from '#hub/ports.ts'

/** What the process itself reports. */
export type ProcessEvent =
  | { readonly kind: 'hubStarted' }
  | { readonly kind: 'hubDraining' }
  | { readonly kind: 'hubStopped' }
  | { readonly kind: 'hubFaulted' }

export type HubEvent = GatewayEvent | AdapterEvent | ProcessEvent

export interface Events {
  report(event: HubEvent): void
}

/** Writes each event as one line: time, kind and its labels. */
export function createEvents(clock: Clock, write: (line: string) => void): Events {
  return {
    report: (event) => write(JSON.stringify({ time: clock.nowMs(), ...event })),
  }
}
