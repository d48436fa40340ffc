/**
 * Commits that their own committer has spoilt and signed again, tags and all: members and the
 * public group refuse them, with one code. The public group takes what is wrong in ciphertexts and
 * in the confirmation tag. Owns the signing and the judgement; single flipped bits are
 * `damage.ts`.
 */
import type { CommitMade } from '#core/mls/commit-make.ts'
import { decodeMlsMessage, encodeMlsMessage, type PublicMessage } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { processMessage } from '#core/mls/messages.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { membershipTag, signContent } from '#core/mls/public-message.ts'
import { altered, HIDDEN, OPEN } from './spoilings.ts'
import { count, must, NOW, pskOf, type Seat, type World } from './world.ts'

export interface Forging {
  readonly made: CommitMade
  readonly before: PublicGroup
  /** False where the public group has missed a proposal of the epoch. */
  readonly publicKnowsAll: boolean
}

/** Some spoilt versions of a commit before it is followed; none of a PrivateMessage. */
export async function refuseForgeries(world: World, forging: Forging, times = 3): Promise<void> {
  const { made, before, publicKnowsAll } = forging
  const decoded = decodeMlsMessage('publicMessage', made.message)
  if (decoded === null || decoded.publicMessage.content.body.kind !== 'commit') return
  const { publicMessage } = decoded
  const { commit } = decoded.publicMessage.content.body
  const { signatureSecret, public: after } = made.next
  for (let time = 0; time < times; time++) {
    const table = world.prng.integer(4) === 0 ? HIDDEN : OPEN
    const [name, spoil] = world.prng.pick(Object.entries(table))
    const { change } = made
    const spoilt = await spoil({ world, before, after, commit, change, signatureSecret })
    if (spoilt === null) continue
    const tag = publicMessage.auth.confirmationTag as Uint8Array
    const confirmationTag = spoilt === commit ? altered(world, tag) : tag
    const body = { kind: 'commit', commit: spoilt } as const
    const content = { ...publicMessage.content, body }
    const auth = { ...publicMessage.auth, confirmationTag }
    const message = await signedAgain(world, forging, { ...publicMessage, content, auth })
    const seenBy = publicKnowsAll ? world.publicGroup : null
    await judge(world, { name, message, made, seenBy, isHidden: table === HIDDEN })
  }
}

async function signedAgain(
  world: World,
  { made, before }: Forging,
  { content, auth, membershipTag: tag }: PublicMessage,
): Promise<Uint8Array> {
  const groupContext = encodeGroupContext(before.context)
  const { signatureSecret } = made.next
  const wireFormat = 'publicMessage'
  const signing = { wireFormat, content, groupContext, signatureSecret } as const
  const signature = await signContent(before.suite, signing)
  const signed = { ...auth, signature }
  const { membershipKey } = world.present
  const tagging = { content, auth: signed, groupContext }
  const publicMessage = {
    content,
    auth: signed,
    membershipTag: tag && membershipTag(before.suite, membershipKey, tagging),
  }
  return encodeMlsMessage({ kind: 'publicMessage', publicMessage })
}

interface Forged {
  readonly name: string
  readonly message: Uint8Array
  readonly made: CommitMade
  readonly seenBy: PublicGroup | null
  readonly isHidden: boolean
}

async function judge(world: World, forged: Forged): Promise<void> {
  const { name, message, made, seenBy, isHidden } = forged
  const gone = new Set(made.change.removed.map(({ leaf }) => leaf))
  const readers = world.seats.filter(({ group }) => {
    return group.ownLeaf !== made.change.committer && !gone.has(group.ownLeaf)
  })
  const codes = new Set<string>()
  if (readers.length > 0) codes.add(await codeAt(world, world.prng.pick(readers), message))
  must(!codes.has('commit'), `a member follows a commit with ${name}`)
  count(world, 'forgeries refused by members')
  if (seenBy === null) return
  const seen = await publicProcess(seenBy, message, { timeMs: NOW })
  if (isHidden) {
    must(seen.kind === 'commit', `the public group can judge a commit with ${name}`)
    return
  }
  must(seen.kind === 'refused', `the public group takes a commit with ${name}`)
  codes.add(seen.code)
  must(codes.size === 1, `a commit with ${name} is refused as ${[...codes].join(' and ')}`)
  count(world, 'forgeries refused by the public group')
}

async function codeAt(world: World, { group }: Seat, message: Uint8Array): Promise<string> {
  const result = await processMessage(group, message, { timeMs: NOW, psks: pskOf(world) })
  return result.kind === 'refused' ? result.code : result.kind
}
