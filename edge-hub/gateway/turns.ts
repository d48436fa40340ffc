/**
 * Turns: what was checked in all rooms is sequenced, stored in one append, and only then installed,
 * answered and published (HUB-3). While one append is under way the turn before is acted upon, so
 * that disk and network are busy at once. Owns that order; decides nothing by itself.
 */
import { assert } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'
import { flush, settle, UNAVAILABLE } from '#hub/gateway/answering.ts'
import { askAbout, hasElectorHere } from '#hub/gateway/asking.ts'
import { spendShare } from '#hub/gateway/check-commit.ts'
import { cutAll } from '#hub/gateway/fan-out.ts'
import { headMoved } from '#hub/gateway/heads.ts'
import { publishToMembers, settleMembers } from '#hub/gateway/membership.ts'
import { type Arrival, type Checked, type Hub, nowMs, type Room } from '#hub/gateway/model.ts'
import type { AppendOutcome, RoomAppend } from '#hub/ports.ts'
import { type Decision, install, type Outcome, sequence } from '#hub/sequencer/sequencer.ts'
import type { Submission } from '#hub/sequencer/sequencer.ts'

/** One room's part of a turn. */
interface Part {
  readonly room: Room
  readonly checked: readonly Checked[]
  readonly decision: Decision
}

type Stored =
  | { readonly kind: 'stored'; readonly part: Part }
  | { readonly kind: 'notStored'; readonly part: Part; readonly conflict: boolean }

/** Runs turns until nothing is checked that is not stored. One run at a time. */
export function runTurns(hub: Hub): void {
  if (hub.turnRunning) return flush(hub)
  hub.turnRunning = true
  run(hub).catch((error) => hub.ports.effects.faulted(error))
}

async function run(hub: Hub): Promise<void> {
  let before: readonly Stored[] = []
  for (;;) {
    const parts = takeParts(hub)
    const storing = parts.length === 0 ? null : store(hub, parts)
    for (const stored of before) act(hub, stored)
    flush(hub)
    before = []
    if (storing !== null) {
      before = await storing
      // In the same step as what is said of it: nobody sees the one without the other.
      for (const stored of before) installed(hub, stored)
    } else if (hub.ready.size === 0) break
  }
  // In the same step as the last look at `ready`: what gets ready later starts a new run.
  hub.turnRunning = false
}

/** Rooms in the order in which they got ready; one that is not done goes to the end. */
function takeParts(hub: Hub): Part[] {
  const parts: Part[] = []
  let left: number = LIMITS.framesPerTurnMax
  for (const room of [...hub.ready]) {
    if (left === 0) break
    const checked = room.queue.takeChecked(Math.min(left, LIMITS.framesPerRoomTurnMax))
    hub.ready.delete(room)
    if (room.queue.checkedCount > 0) hub.ready.add(room)
    if (checked.length === 0 && !room.verdictDue) continue
    room.verdictDue = false
    left -= checked.length
    parts.push({ room, checked, decision: decide(hub, room, checked) })
  }
  return parts
}

function decide(hub: Hub, room: Room, checked: readonly Checked[]): Decision {
  return sequence(room.sequenced, checked.map(({ submission }) => submission), {
    nowMs: room.judgingAtMs ?? nowMs(hub),
    sha256: (bytes) => hub.ports.crypto.hash('sha256', bytes),
    hasElectorHere: (view, facts) => hasElectorHere(room, view, facts),
  })
}

/** Stores a turn; what of it was stored counts from then on. */
async function store(hub: Hub, parts: readonly Part[]): Promise<readonly Stored[]> {
  const growing = parts.filter(({ decision }) => decision.entries.length > 0)
  const startedMs = nowMs(hub)
  const outcomes = await append(hub, growing)
  if (growing.length > 0 && outcomes !== null) {
    hub.ports.effects.observe({
      kind: 'turnStored',
      rooms: growing.length,
      entries: growing.reduce((sum, { decision }) => sum + decision.entries.length, 0),
      durationMs: Math.max(0, nowMs(hub) - startedMs),
    })
  }
  return parts.map((part): Stored => {
    const index = growing.indexOf(part)
    if (index < 0) return { kind: 'stored', part }
    const outcome = outcomes?.[index]
    if (outcome?.kind === 'appended') return { kind: 'stored', part }
    return { kind: 'notStored', part, conflict: outcome !== undefined }
  })
}

function installed(hub: Hub, { kind, part: { room, decision } }: Stored): void {
  if (kind !== 'stored' || decision.entries.length === 0) return
  install(room.sequenced, decision)
  if (room.phase === 'absent') room.phase = 'open'
  if (room.phase === 'gone') return
  if ((room.sequenced.finality?.open.length ?? 0) > 0) hub.provisional.add(room)
  else hub.provisional.delete(room)
}

/** Null when nothing was stored. */
async function append(
  hub: Hub,
  parts: readonly Part[],
): Promise<readonly AppendOutcome[] | null> {
  if (parts.length === 0) return []
  try {
    const outcomes = await hub.ports.log.append(parts.map(appendOf))
    assert(outcomes.length === parts.length, 'each room of an append has its outcome')
    return outcomes
  } catch {
    hub.ports.effects.observe({ kind: 'appendRejected' })
    return null
  }
}

function appendOf({ room, decision }: Part): RoomAppend {
  const { expectedNext, entries, state, generations, welcomes, effects } = decision
  const { id, term } = room.sequenced
  return { room: id, term, expectedNext, entries, state, generations, welcomes, effects }
}

function act(hub: Hub, stored: Stored): void {
  const { part } = stored
  const { room, checked, decision } = part
  const failed: Outcome = { kind: 'refused', refusal: UNAVAILABLE }
  for (const [index, { arrival, submission }] of checked.entries()) {
    const decided = decision.outcomes[index]
    assert(decided !== undefined, 'each submission has its outcome')
    // Also a refusal rests on what stood before it in the turn.
    const isKept = stored.kind === 'stored'
    settle(hub, room, arrival, isKept ? decided : failed)
    if (isKept) taken(hub, room, { submission, decided })
  }
  if (stored.kind === 'stored') spread(hub, room, decision)
  else if (stored.conflict) conflicted(hub, room)
  if (checked.some(({ arrival }) => isCreation(arrival))) hub.roomSettled(room)
  hub.checkMore(room)
}

/** What a submission leaves behind at the hub once its turn is stored. */
function taken(
  hub: Hub,
  room: Room,
  { submission, decided }: { readonly submission: Submission; readonly decided: Outcome },
): void {
  if (submission.kind === 'frame') noteStall(hub, room, { leaf: submission.leaf, decided })
  else if (submission.kind === 'commit' && decided.kind === 'accepted') {
    spendShare(hub, room, submission)
  }
}

const isCreation = ({ asked }: Arrival) => asked.kind === 'createRoom'

/** How long a sender waited, since its epoch was provisional, until a frame of its was taken. */
function noteStall(
  hub: Hub,
  room: Room,
  frame: { readonly leaf: number; readonly decided: Outcome },
): void {
  const { leaf, decided } = frame
  if (decided.kind === 'refused') {
    if (decided.refusal.kind !== 'provisional' || room.stalls.has(leaf)) return
    room.stalls.set(leaf, nowMs(hub))
  } else if (room.stalls.size > 0) {
    const sinceMs = room.stalls.get(leaf)
    if (sinceMs === undefined) return
    room.stalls.delete(leaf)
    const stallMs = Math.max(0, nowMs(hub) - sinceMs)
    hub.ports.effects.observe({ kind: 'frameStalled', stallMs })
  }
}

/** What follows from entries that are stored. */
function spread(hub: Hub, room: Room, decision: Decision): void {
  const [first] = decision.entries
  if (first === undefined) return
  publishToMembers(hub, room, decision)
  headMoved(hub, room)
  if (first.entry.header.entry === 'genesis') hub.ports.effects.observe({ kind: 'roomCreated' })
  settleMembers(hub, room, decision)
  for (const view of decision.opened) askAbout(hub, room, view)
}

/** Somebody else wrote to the room: what is in memory is not the room any more. */
function conflicted(hub: Hub, room: Room): void {
  hub.ports.effects.observe({ kind: 'appendConflicted' })
  cutAll(hub, room)
  hub.forgetRoom(room)
}
