/**
 * Proposals that may not stand together (RFC 9420 section 12.2): a committer refuses to make such
 * a commit. Owns the pairs; what a committer sends all the same is `spoilings.ts`.
 */
import { makeCommit } from '#core/mls/commit-make.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { newExternalPsk } from './world.ts'
import { count, must, NOW, pskOf, type Seat, type World } from './world.ts'

interface Conflict {
  readonly name: string
  readonly references: readonly Uint8Array[]
  readonly proposals: readonly Proposal[]
}

export async function refuseConflicts(world: World, { group }: Seat): Promise<void> {
  const conflicts = conflictsFor(world, group)
  const { name, references, proposals } = world.prng.pick(conflicts)
  const made = await makeCommit(group, {
    references,
    proposals,
    path: 'always',
    authenticatedData: new Uint8Array(0),
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: false, externalPub: false },
    psks: pskOf(world),
    timeMs: NOW,
    entropy: world.entropy,
  })
  must(made.kind === 'refused', `a commit with ${name} is made`)
  count(world, 'conflicts refused')
}

function conflictsFor(world: World, group: Seat['group']): readonly Conflict[] {
  const found: Conflict[] = []
  const pair = (name: string, proposals: readonly Proposal[]) =>
    found.push({ name, references: [], proposals })
  const extensions: Proposal = { kind: 'groupContextExtensions', extensions: [] }
  const psk: Proposal = { kind: 'psk', psk: newExternalPsk(world) }
  pair('extensions twice', [extensions, extensions])
  pair('a PSK twice', [psk, psk])
  pair('its own Remove', [{ kind: 'remove', removed: group.ownLeaf }])
  pair('an external init', [{ kind: 'externalInit', kemOutput: new Uint8Array(32) }])
  pair('a blank leaf removed', [{ kind: 'remove', removed: group.public.tree.leafWidth }])
  const other = world.seats.find((seat) => seat.group.ownLeaf !== group.ownLeaf)
  if (other !== undefined) {
    const remove: Proposal = { kind: 'remove', removed: other.group.ownLeaf }
    pair('a Remove twice', [remove, remove])
  }
  for (const { proposal, sender, reference } of group.public.proposals.values()) {
    const references = [reference]
    if (proposal.kind === 'update' && sender.kind === 'member') {
      const proposals: Proposal[] = sender.leaf === group.ownLeaf
        ? []
        : [{ kind: 'remove', removed: sender.leaf }]
      found.push({ name: 'an Update of who goes or commits', references, proposals })
    }
    if (proposal.kind === 'add') {
      found.push({ name: 'an Add twice', references, proposals: [proposal] })
    }
    if (proposal.kind === 'reInit') {
      found.push({ name: 'a ReInit beside others', references, proposals: [psk] })
    }
  }
  return found
}
