/**
 * What a hub holds in memory, in numbers, for whoever runs it. Owns the counting, and says for each
 * count what bounds it; what is not counted is a constant for each session, room or rate. It names
 * nobody (HUB-7).
 */
import type { Hub } from '#hub/gateway/model.ts'

/** Taken at one moment; counts, and bytes where the name says so. */
export interface HubMemory {
  /** Until the transport says that a session is gone: `sessionsMax`. */
  readonly sessions: number
  /** Ready devices, of one session each. */
  readonly devices: number
  /** As sessions hold them: `subscriptionsPerSessionMax` of each. */
  readonly subscriptions: number
  /** The same as rooms hold them: as many, or something that has ended is kept. */
  readonly followers: number
  /**
   * Requests that are not answered, also those of sessions that have ended since:
   * `requestsInFlightMax` of each session, until the store has answered.
   */
  readonly requests: number
  /** `inboundBytesMax` of each session, in the same way. */
  readonly requestBytes: number
  /** Requests that wait in rooms, for their turn or for the room. */
  readonly waiting: number
  /**
   * Not taken by the transports: for each session `controlQueueBytesMax` and
   * `outboundQueueBytesMax`, and what is being written.
   */
  readonly outboundBytes: number
  /** Welcomes that sessions were offered and have not taken. */
  readonly welcomes: number
  /** Groups that are being put together. */
  readonly groups: number
  /** Groups on their way: `groupAnswerSizeMax`, and one more answer. */
  readonly groupBytes: number
  /** Pages of logs that are read or wait for it: one for each subscription. */
  readonly pages: number
  /** `roomsCachedMax`, or as many as somebody needs. */
  readonly rooms: number
  /** Those of them with provisional epochs. */
  readonly roomsProvisional: number
  /** Those of them whose signed head is behind, while they are followed. */
  readonly headsDue: number
  /** Groups of the rooms: the last final one and `provisionalEpochsMax` of each. */
  readonly epochs: number
  /** Last generations: `lanesMax` for each leaf of these epochs. */
  readonly chains: number
  /** Newest entries of the rooms, encoded: `roomTailBytesMax` of each. */
  readonly tailBytes: number
  /** Rates that were asked of somebody: `bucketsKeptMax` of each kind. */
  readonly buckets: number
}

/** Walks all sessions and rooms: not for each frame. */
export function memoryOf(hub: Hub): HubMemory {
  return {
    sessions: hub.connections.size,
    devices: hub.devices.size,
    requests: hub.unanswered.count,
    requestBytes: hub.unanswered.bytes,
    groups: hub.groupsReading,
    pages: hub.pages.waiting.size + hub.pages.reading,
    rooms: hub.rooms.size,
    roomsProvisional: hub.provisional.size,
    headsDue: hub.headsDue.size,
    buckets: bucketsOf(hub),
    ...ofSessions(hub),
    ...ofRooms(hub),
  }
}

function ofSessions({ connections }: Hub) {
  let [subscriptions, outboundBytes, welcomes, groupBytes] = [0, 0, 0, 0]
  for (const connection of connections.values()) {
    subscriptions += connection.subscriptions.size
    outboundBytes += connection.outbound.controlBytes + connection.outbound.roomBytes
    welcomes += connection.welcomes.offered.size
    groupBytes += connection.groupAnswer?.bytes?.length ?? 0
  }
  return { subscriptions, outboundBytes, welcomes, groupBytes }
}

function ofRooms({ rooms }: Hub) {
  let [followers, waiting, epochs, chains, tailBytes] = [0, 0, 0, 0, 0]
  for (const { subscribers, queue, held, sequenced, tail } of rooms.values()) {
    followers += subscribers.size
    waiting += queue.unsettledCount + held.length
    epochs += sequenced.epochs.length
    for (const ofEpoch of sequenced.generations.values()) chains += ofEpoch.size
    tailBytes += tail.bytes
  }
  return { followers, waiting, epochs, chains, tailBytes }
}

function bucketsOf(hub: Hub): number {
  const { strangerRequests, claims, commits, creations, resyncs, groupRequests, anchors } = hub
  const all = [strangerRequests, claims, commits, creations, resyncs, groupRequests, anchors]
  return all.reduce((sum, { size }) => sum + size, 0)
}
