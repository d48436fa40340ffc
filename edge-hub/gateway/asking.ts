/**
 * Asking members for their votes (VOTE-2): at a commit some of those who are there, later those who
 * come. Owns when that is; whom is `policy/asking.ts`, what is asked goes into the room's finality
 * with the next turn. Also owns when time alone makes a verdict due.
 */
import { isElector, nextVerdict, type OpenEpoch } from '#core/policy/finality.ts'
import type { CommitFacts } from '#core/policy/finality.ts'
import { chooseAsked, type ConnectedLeaf } from '#core/policy/asking.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { encodeMessage } from '#core/wire/bodies.ts'
import { queueFrames } from '#hub/gateway/fan-out.ts'
import { type Connection, type Hub, nowMs, type Room } from '#hub/gateway/model.ts'
import type { Subscription } from '#hub/gateway/model.ts'
import { type EpochView, leafOf, memberAt } from '#hub/sequencer/group-view.ts'
import { viewAt } from '#hub/sequencer/room-state.ts'

/** Bytes of randomness for each leaf to choose from. */
const RANDOM_LENGTH = 4

interface Here extends ConnectedLeaf {
  readonly subscription: Subscription
}

/** Members that follow the room now, with their leaves in an epoch. */
function connectedTo(room: Room, view: EpochView): readonly Here[] {
  return [...room.subscribers].flatMap((subscription) => leafHere(subscription, view))
}

function leafHere(subscription: Subscription, view: EpochView): readonly Here[] {
  const { device } = subscription.connection.actor
  const leaf = device === null ? null : leafOf(view, device)
  return device === null || leaf === null ? [] : [{ leaf, account: device.account, subscription }]
}

/** Whether somebody who may vote on a commit follows the room. */
export function hasElectorHere(room: Room, view: EpochView, facts: CommitFacts): boolean {
  for (const subscription of room.subscribers) {
    if (leafHere(subscription, view).some((here) => isElector(facts, here))) return true
  }
  return false
}

/** A commit stands in the log: asks some of those who are there. */
export function askAbout(hub: Hub, room: Room, view: EpochView): void {
  const epoch = room.sequenced.finality?.open.find(({ position }) => position === view.origin)
  if (epoch !== undefined) choose(hub, room, { view, epoch, connected: connectedTo(room, view) })
}

/** A member follows the room: it is asked about what is open, again if it was asked before. */
export function askNewcomer(hub: Hub, room: Room, connection: Connection): void {
  const subscription = connection.subscriptions.get(room)
  if (subscription === undefined) return
  for (const epoch of room.sequenced.finality?.open ?? []) {
    // A session that takes no more of them is asked when it follows again.
    if (subscription.phase === 'ended') return
    const view = viewAt(room.sequenced, epoch.position)
    const [here] = view === null ? [] : leafHere(subscription, view)
    if (view === null || here === undefined) continue
    if (!isElector(epoch, here) || epoch.votes.some(({ leaf }) => leaf === here.leaf)) continue
    if (askedOf(room, epoch).includes(here.leaf)) ask(hub, here, view.origin)
    else choose(hub, room, { view, epoch, connected: [here] })
  }
}

function choose(
  hub: Hub,
  room: Room,
  among: {
    readonly view: EpochView
    readonly epoch: OpenEpoch
    readonly connected: readonly Here[]
  },
): void {
  const { view, epoch, connected } = among
  const asked = askedOf(room, epoch).flatMap((leaf): ConnectedLeaf[] => {
    const member = memberAt(view, leaf)
    return member === null ? [] : [{ leaf, account: member.account }]
  })
  const random = hub.ports.entropy.randomBytes(connected.length * RANDOM_LENGTH)
  const chosen = new Set(
    chooseAsked({ facts: epoch, connected, asked, random }).map(({ leaf }) => leaf),
  )
  for (const here of connected) {
    if (!chosen.has(here.leaf)) continue
    const { leaf } = here
    const position = view.origin
    room.sequenced.asks = [...room.sequenced.asks, { position, leaf }]
    ask(hub, here, position)
  }
}

/** Leaves that were asked, also those that no turn has taken in yet. */
function askedOf(room: Room, epoch: OpenEpoch): readonly number[] {
  const fresh = room.sequenced.asks.filter(({ position }) => position === epoch.position)
  return [...epoch.asked, ...fresh.map(({ leaf }) => leaf)]
}

/** On the lane of the room, behind the entries that it is about, and bounded like them. */
function ask(hub: Hub, { subscription }: Here, position: LogPosition): void {
  const frame = encodeMessage('askVote', subscription.room.id, { position })
  queueFrames(hub, subscription, { first: null, frames: [frame], bytes: frame.length })
}

/** Has the verdicts written that time has made due; true when there are some. */
export function findDueVerdicts(hub: Hub): boolean {
  let found = false
  for (const room of hub.provisional) {
    const { finality, time } = room.sequenced
    const now = Math.max(time, nowMs(hub)) as typeof time
    if (finality === null || room.phase !== 'open' || nextVerdict(finality, now) === null) continue
    room.verdictDue = true
    hub.ready.add(room)
    found = true
  }
  return found
}
