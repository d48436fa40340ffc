/**
 * What the hub may hold in memory, by what it really has to do: the sessions that the network has
 * open, what is being written to them, what its store has not answered, and what the logs say. Owns
 * the view of those sessions and the comparison; the counts are the gateway's own.
 */
import type { Gateway } from '#hub/gateway/gateway.ts'
import type { HubMemory } from '#hub/gateway/memory.ts'
import type { HubSession, HubSessionListener } from '#hub/ports.ts'
import type { LogReader } from './oracle.ts'

/** What a process of the hub holds, and what it has to do. */
export interface HubDuties {
  readonly memory: HubMemory
  /** Sessions that the network has not told the hub to be gone. */
  readonly sessions: number
  /** Of those, how many are written to, or are lost and have not been told. */
  readonly sessionsWritten: number
  /** Transactions that the store has not answered. */
  readonly transactions: number
  /** Of those, how many were asked for by a request of a device. */
  readonly transactionsOfRequests: number
}

interface OpenSession {
  writes: number
  isLost: boolean
}

/** The sessions of one process of the hub, from outside. */
export class OpenSessions {
  readonly #open = new Set<OpenSession>()

  /** Gives a session to the hub. */
  accept(gateway: Gateway, session: HubSession): HubSessionListener | null {
    const open: OpenSession = { writes: 0, isLost: false }
    const listener = gateway.accept({
      ...session,
      write(lane, frames) {
        const written = session.write(lane, frames)
        open.writes++
        written.then(() => open.writes--, () => {
          open.isLost = true
        })
        return written
      },
    })
    if (listener === null) return null
    this.#open.add(open)
    return {
      ...listener,
      closed: () => {
        this.#open.delete(open)
        listener.closed()
      },
    }
  }

  get count(): number {
    return this.#open.size
  }

  get writtenCount(): number {
    let count = 0
    for (const { writes, isLost } of this.#open) if (isLost || writes > 0) count++
    return count
  }
}

export interface Excess {
  readonly invariant: 'HubForgets' | 'HubStaysSmall'
  readonly what: string
}

/** What is held without need at the end of a tick, or null. */
export function findExcess(
  duties: HubDuties,
  readers: ReadonlyMap<string, LogReader>,
): Excess | null {
  return findForgotten(duties) ?? findGrown(duties, readers)
}

/** Whatever is over is held no more: sessions, what was answered, what was taken. */
function findForgotten(duties: HubDuties): Excess | null {
  const { memory, sessions, sessionsWritten, transactions } = duties
  const { devices, subscriptions, followers, waiting, requests, requestBytes } = memory
  const { groups, pages, outboundBytes, groupBytes } = memory
  const said = (what: string): Excess => ({ invariant: 'HubForgets', what })
  if (memory.sessions !== sessions) return said(`${memory.sessions} sessions, ${sessions} are open`)
  if (devices > sessions) return said(`${devices} devices in ${sessions} sessions`)
  if (followers !== subscriptions) {
    return said(`rooms have ${followers} followers, sessions ${subscriptions} subscriptions`)
  }
  if (waiting > requests) return said(`${waiting} wait in rooms, of ${requests} requests`)
  const asked = requests + requestBytes + groups + pages
  if (transactions === 0 && asked > 0) {
    const kinds = `${requests} requests, ${requestBytes} B, ${groups} groups, ${pages} pages`
    return said(`${kinds}, and the store has answered all`)
  }
  if (sessionsWritten === 0 && outboundBytes + groupBytes > 0) {
    return said(`${outboundBytes} B and ${groupBytes} B of groups, and nothing is being written`)
  }
  return null
}

/** Rooms are as large as their logs and limits say. */
function findGrown(
  { memory, transactions, transactionsOfRequests }: HubDuties,
  readers: ReadonlyMap<string, LogReader>,
): Excess | null {
  const { requests, rooms, roomsProvisional, epochs, chains } = memory
  const said = (what: string): Excess => ({ invariant: 'HubStaysSmall', what })
  if (transactionsOfRequests > requests) {
    return said(`the store has ${transactionsOfRequests} transactions of ${requests} requests`)
  }
  // The log is ahead of what the hub has been told, and the hub never ahead of the log.
  if (transactions > 0) return null
  const all = sizesOf(readers)
  if (rooms > readers.size) return said(`${rooms} rooms of ${readers.size}`)
  if (roomsProvisional > all.roomsProvisional) {
    return said(`${roomsProvisional} rooms with provisional epochs, of ${all.roomsProvisional}`)
  }
  if (epochs > all.epochs) return said(`${epochs} epochs of ${all.epochs}`)
  if (chains > all.chains) return said(`${chains} chains of ${all.chains}`)
  return null
}

/** What the hub would hold with all rooms in its memory. */
function sizesOf(readers: ReadonlyMap<string, LogReader>) {
  let [roomsProvisional, epochs, chains] = [0, 0, 0]
  for (const reader of readers.values()) {
    const { finality: { open }, epochs: all } = reader.replay()
    if (open.length > 0) roomsProvisional++
    epochs += 1 + open.length
    // The last final one, and those above it.
    for (let at = all.length - 1 - open.length; at < all.length; at++) {
      chains += all[at]?.chains.size ?? 0
    }
  }
  return { roomsProvisional, epochs, chains }
}
