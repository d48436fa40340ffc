/**
 * Bugs on purpose, to show that the simulation finds what it should: each is a change of a copy of
 * the product, which the product itself knows nothing of. Owns the changes; `hunt.ts` runs a copy.
 */
import type { InvariantName } from './invariants.ts'

export interface Edit {
  readonly file: string
  /** Stands in the file once. */
  readonly find: string
  readonly replace: string
}

export interface Bug {
  readonly name: string
  /** That breaks; others may break before it. */
  readonly invariant: InvariantName
  readonly edits: readonly Edit[]
}

export const BUGS: readonly Bug[] = [
  {
    name: 'acknowledge before sync',
    invariant: 'EntriesAreDurable',
    edits: [{
      file: 'edge-hub/gateway/turns.ts',
      find: 'const outcomes = await hub.ports.log.append(parts.map(appendOf))',
      replace: `void hub.ports.log.append(parts.map(appendOf)).catch(() => {})
    const outcomes: AppendOutcome[] = parts.map(() => ({ kind: 'appended' }))`,
    }],
  },
  {
    name: 'drop one frame on reconnect',
    invariant: 'DeliveredOnce',
    edits: [{
      file: 'shared/core/device/outbox.ts',
      find: 'room.outbox.map((item) => ({ ...item, inFlight: false })))',
      replace: `room.outbox.map((item) => ({ ...item, inFlight: false })))
  const [first] = turn.room(key)?.outbox ?? []
  if (first !== undefined) dropItems(turn, turn.room(key) ?? room, [first])`,
    }],
  },
  {
    name: 'accept a second commit in an epoch',
    invariant: 'LogIsValid',
    edits: [{
      file: 'edge-hub/gateway/check-commit.ts',
      find: 'const { author, body, find } = check\n  const head = headView(room.sequenced)',
      replace: `const { author, body, find } = check
  const head = room.sequenced.epochs.find(({ epochId }) => equalBytes(epochId, body.epochId)) ??
    headView(room.sequenced)`,
    }, {
      file: 'edge-hub/sequencer/sequencer.ts',
      find: 'const outdated = judgeEpoch(head, commit) ?? judgeCommitter(draft, head, commit)',
      replace: 'const outdated = null as ReturnType<typeof judgeCommitter>',
    }, {
      file: 'shared/core/policy/finality.ts',
      find: "return seen < lowest || !hasSeenVoids(finality, seen) ? 'staleSeen' : null",
      replace: "return lowest < 0n || !hasSeenVoids(finality, seen) ? 'staleSeen' : null",
    }],
  },
  {
    name: 'reuse a generation',
    invariant: 'NoKeyReuse',
    edits: [{
      file: 'shared/core/device/epoch-keys.ts',
      find: 'const reserved = keys.reserved.slice(plaintexts.length)',
      replace: 'const reserved = keys.reserved.slice(plaintexts.length - 1)',
    }],
  },
  {
    name: 'seal anew what was refused',
    invariant: 'DeliveredOnce',
    edits: [{
      file: 'shared/core/device/outbox.ts',
      find: "record: { ...item.record, refused: again ? '' : refusal.kind },",
      replace: "record: { ...item.record, sealed: null, refused: again ? '' : refusal.kind },",
    }],
  },
  {
    name: 'send before store',
    invariant: 'StoredBeforeSent',
    edits: [{
      file: 'shared/core/base/driver.ts',
      find: '    if (step.changes.length > 0) {',
      replace: `    for (const effect of step.effects) host.run(effect)
    if (step.changes.length > 0) {`,
    }, {
      file: 'shared/core/base/driver.ts',
      find: `    state = step.state
    for (const effect of step.effects) host.run(effect)`,
      replace: '    state = step.state',
    }],
  },
  {
    name: 'count a position twice',
    invariant: 'NoFault',
    edits: [{
      file: 'edge-hub/sequencer/draft.ts',
      find: '    this.#next++\n    return position',
      replace: "    if (kind !== 'vote') this.#next++\n    return position",
    }],
  },
  {
    name: 'apply a voided commit',
    invariant: 'NoRoomBreaks',
    edits: [{
      file: 'shared/core/device/verdicts.ts',
      find: 'if (lowest !== undefined) {',
      replace: 'if (lowest !== undefined && lowest.position < 0n) {',
    }],
  },
  {
    name: 'skip the wiping',
    invariant: 'SecretsAreWiped',
    edits: [{
      file: 'shared/core/device/room.ts',
      find: 'secrets: secrets.filter((secret) => !held.has(secret))',
      replace: 'secrets: secrets.filter((secret) => held.has(secret))',
    }],
  },
  {
    name: 'show a message as often as it is said',
    invariant: 'DeliveredOnce',
    edits: [{
      file: 'shared/core/device/timeline.ts',
      find: 'if (id !== null && said.has(id)) continue',
      replace: 'if (id !== null && said.has(id)) said.add(id)',
    }],
  },
  {
    name: 'show a message whoever it names',
    invariant: 'TrueNames',
    edits: [{
      file: 'shared/core/device/timeline.ts',
      find: "? null\n    : 'wrongSender'",
      replace: '? null\n    : null',
    }],
  },
  {
    name: 'drop what a chunk begins',
    invariant: 'NoFault',
    edits: [{
      file: 'shared/core/wire/frame.ts',
      find: "    return { kind: 'frames', frames }",
      replace: `    if (frames.length > 0) {
      this.#pending = []
      this.#pendingLength = 0
    }
    return { kind: 'frames', frames }`,
    }],
  },
  {
    name: 'keep an ended session among the followers of its room',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/fan-out.ts',
      find: '  room.subscribers.delete(subscription)\n}',
      replace: '}',
    }],
  },
  {
    name: 'keep the request of a session that ended',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/answering.ts',
      find: '  endRequest(hub, connection, size)\n  if (outcome',
      replace: `  if (connection.state.kind !== 'closed') endRequest(hub, connection, size)
  if (outcome`,
    }],
  },
  {
    name: 'count what the transport has taken',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/outbound.ts',
      find: '      for (const item of batch) this.#forget(item)',
      replace: '      for (const item of batch) if (item.sender !== null) this.#forget(item)',
    }],
  },
  {
    name: 'remember the Welcomes that a device has taken',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/welcomes.ts',
      find: 'each?.welcomes.offered.delete(body.id)',
      replace: 'each?.welcomes.offered.has(body.id)',
    }],
  },
  {
    name: 'give the store what no request stands for',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/gateway/welcomes.ts',
      find: '  beginRequest(hub, connection, size)\n',
      replace: '',
    }, {
      file: 'edge-hub/gateway/welcomes.ts',
      find: '.then(() => endRequest(hub, connection, size))',
      replace: '',
    }],
  },
  {
    name: 'keep the chains of epochs that are over',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/sequencer/sequencer.ts',
      find: 'if (!kept.has(origin)) room.generations.delete(origin)',
      replace: 'if (kept.size === 0) room.generations.delete(origin)',
    }],
  },
  {
    name: 'keep the epochs that a void has ended',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/sequencer/draft.ts',
      find: '    this.#epochs = this.#epochs.filter(({ origin }) => origin < from)\n',
      replace: '',
    }],
  },
  {
    name: 'keep a session whose transport is gone',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/sessions.ts',
      find: '  hub.connections.delete(connection.number)\n',
      replace: '',
    }],
  },
  {
    name: 'keep a device that has gone',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/sessions.ts',
      find: 'if (hub.devices.get(connection.actor.key) === connection) {',
      replace: 'if (hub.devices.get(connection.actor.key) === undefined) {',
    }],
  },
  {
    name: 'never end a silent session',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/session.ts',
      find: 'if (nowMs - state.lastHeardMs <= LIMITS.sessionSilenceMsMax) return stay(state)',
      replace: 'if (nowMs >= state.lastHeardMs) return stay(state)',
    }],
  },
  {
    name: 'keep the place of what was answered in the queue of its room',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/sequencer/room-queue.ts',
      find: '      count--\n',
      replace: '',
    }],
  },
  {
    name: 'keep a group that was sent',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/group-requests.ts',
      find: '    connection.groupAnswer = null\n    break',
      replace: '    break',
    }, {
      file: 'edge-hub/gateway/group-requests.ts',
      find: '  if (sending === null || sending.bytes === null || connection',
      replace: `  if (sending?.offset === sending?.bytes?.length) return
  if (sending === null || sending.bytes === null || connection`,
    }],
  },
  {
    name: 'count a group that somebody has gone without',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/group-requests.ts',
      find: '      hub.groupsReading--\n',
      replace: "      if ('bytes' in answer) hub.groupsReading--\n",
    }],
  },
  {
    name: 'count a page that nobody waits for',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/fan-out.ts',
      find: '      pages.reading--\n',
      replace: "      if (subscription.phase !== 'live') pages.reading--\n",
    }],
  },
  {
    name: 'take a head for due for ever',
    invariant: 'HubForgets',
    edits: [{
      file: 'edge-hub/gateway/heads.ts',
      find: "phase !== 'open') {\n    hub.headsDue.delete(room)",
      replace: "phase !== 'open') {",
    }, {
      file: 'edge-hub/gateway/heads.ts',
      find: '  hub.headsDue.delete(room)\n  head.signing = true',
      replace: '  head.signing = true',
    }],
  },
  {
    name: 'take a room for provisional for ever',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/gateway/turns.ts',
      find: '  else hub.provisional.delete(room)\n',
      replace: '',
    }],
  },
  {
    name: 'hold a room under a second name',
    invariant: 'HubStaysSmall',
    edits: [{
      file: 'edge-hub/gateway/rooms.ts',
      find: '    room = placeFor(hub, id)\n',
      replace: '    room = placeFor(hub, id)\n    hub.rooms.set(`${key} too`, room)\n',
    }],
  },
  {
    name: 'store what was sealed as if it could be lost',
    invariant: 'StoredBeforeSent',
    edits: [{
      file: 'shared/core/device/outbox-items.ts',
      find: "encode(outboxRecordCodec, item.record), 'strict')",
      replace: 'encode(outboxRecordCodec, item.record))',
    }],
  },
  {
    name: 'store a commit under way as if it could be lost',
    invariant: 'StoredBeforeSent',
    edits: [{
      file: 'shared/core/device/submit.ts',
      find: "turn.put('groups', pendingKey(key), bytes, 'strict')",
      replace: "turn.put('groups', pendingKey(key), bytes)",
    }],
  },
  {
    name: 'take a frame whoever signed it',
    invariant: 'LogIsValid',
    edits: [{
      file: 'edge-hub/gateway/checks.ts',
      find:
        "if (authenticator.kind === 'single') return verifySealedFrame(hub.ports.crypto, proof)",
      replace: "if (authenticator.kind === 'single') return true",
    }],
  },
  {
    name: 'take a generation twice',
    invariant: 'GenerationsOnce',
    edits: [{
      file: 'edge-hub/sequencer/sequencer.ts',
      find: 'if (frame.generation <= last) return',
      replace: 'if (frame.generation < 0) return',
    }],
  },
  {
    name: 'sign a head of the entry to come',
    invariant: 'EntriesAreDurable',
    edits: [{
      file: 'edge-hub/gateway/heads.ts',
      find: '  const position = next - 1n\n  const signed',
      replace: '  const position = next + 0n\n  const signed',
    }],
  },
  {
    name: 'chain no vote',
    invariant: 'OneOrder',
    edits: [{
      file: 'shared/core/device/follow.ts',
      find: 'const headHash = entryHash(sha256, place, entry)',
      replace: `const isVote = entry.header.entry === 'vote'
  const headHash = isVote ? place.previous : entryHash(sha256, place, entry)`,
    }],
  },
  {
    name: 'take entries of one moment for a broken log',
    invariant: 'NoRoomBreaks',
    edits: [{
      file: 'shared/core/device/follow.ts',
      find: 'if (placed.time < room.record.headTime)',
      replace: 'if (placed.time <= room.record.headTime)',
    }],
  },
  {
    name: 'keep a verdict in memory alone',
    invariant: 'FinalStays',
    edits: [{
      file: 'shared/core/device/verdicts.ts',
      find: "case 'final':\n      setFinality(turn, key, outcome.finality)",
      replace: "case 'final':\n      turn.setRoom(key, { finality: outcome.finality })",
    }, {
      file: 'shared/core/device/epochs.ts',
      find: `    turn.delete('groups', epochKey(key, epoch.position))
    storeFinal(turn, key, epoch, epoch.changed)
    dropKeys(turn, key, old)
`,
      replace: '    wipeKeys(turn, old.keys)\n',
    }],
  },
  {
    name: 'store another secret for that of an epoch',
    invariant: 'SameEpochSameSecrets',
    edits: [{
      file: 'shared/core/mls/state-codec.ts',
      find: '    privateKeys,\n    secrets,\n    secretTree,',
      replace: `    privateKeys,
    secrets: { ...secrets, epochAuthenticator: secrets.resumptionPsk },
    secretTree,`,
    }],
  },
  {
    name: 'leave a room before its secrets do',
    invariant: 'OnlyMembersHaveSecrets',
    edits: [{
      file: 'shared/core/device/commits.ts',
      find: '    turn.setRoom(key, { jobs: [] })\n  }\n  turn.effect',
      replace: `    turn.setRoom(key, { jobs: [] })
    turn.setRecord(key, { phase: 'removed' })
  }
  turn.effect`,
    }],
  },
  {
    name: 'keep a commit that is over in the store',
    invariant: 'NothingIsLeft',
    edits: [{
      file: 'shared/core/device/submit.ts',
      find: "  turn.delete('groups', pendingKey(key))\n",
      replace: '',
    }],
  },
  {
    name: 'take for given what was under way when a session ended',
    invariant: 'Converges',
    edits: [{
      file: 'shared/core/device/device.ts',
      find: '    landOutbox(turn, room.key)\n',
      replace: '',
    }],
  },
  {
    name: 'ask for KeyPackages in a session that ended',
    invariant: 'Answered',
    edits: [{
      file: 'shared/core/device/device.ts',
      find: "    if (pending.kind === 'claim') turn.fail(pending.command, 'offline')\n",
      replace: '',
    }],
  },
  {
    name: 'open a frame only where none is missing before it',
    invariant: 'Readable',
    edits: [{
      file: 'shared/core/sender-keys/secret-tree.ts',
      find: 'if (isLast || generation - chain.generation > LIMITS.generationJumpMax) {',
      replace: 'if (isLast || generation > chain.generation) {',
    }],
  },
  {
    name: 'store no group of an epoch that became final',
    invariant: 'HubRebuilds',
    edits: [{
      file: 'edge-hub/sequencer/draft.ts',
      find: '    this.#versions.push(versionOf(before, view, invitations))\n',
      replace: '    if (invitations === null) this.#versions.push(versionOf(before, view, []))\n',
    }],
  },
  {
    name: 'keep the certificate of who has gone',
    invariant: 'Named',
    edits: [{
      file: 'shared/core/device/members.ts',
      find: 'if (certificates.delete(hash)) turn',
      replace: 'if (hashes.size === 0 && certificates.delete(hash)) turn',
    }],
  },
  {
    name: 'who was refused in a room asks no more',
    invariant: 'LetsIn',
    edits: [{
      file: 'shared/core/device/joining.ts',
      find: "const again = existing === null || existing.record.phase === 'joinRefused' ||",
      replace: 'const again = existing === null ||',
    }],
  },
]
