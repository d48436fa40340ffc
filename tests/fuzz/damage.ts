/**
 * One flipped bit, anywhere in what is sent: members refuse it, and so does the public group, but
 * for the tags that only a member can judge. Owns which bytes those are:
 *
 * - `membership_tag` of a member's PublicMessage: the public group takes the message as if nothing
 *   had happened to it;
 * - `confirmation_tag` of a commit: the public group comes to the same GroupContext, and to
 *   another interim transcript hash, so that it refuses the commit after. A member whom an
 *   external commit removes cannot judge it either, having no key of the new epoch; in a member's
 *   commit the membership tag covers it.
 *
 * All else of a PublicMessage is under the sender's signature, the ciphertexts of a path included.
 * Ciphertexts that a sender itself signed wrongly are `forgeries.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { processMessage } from '#core/mls/messages.ts'
import { type PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { count, must, NOW, pskOf, type Seat, type World } from './world.ts'

export interface Flip {
  readonly position: number
  readonly bytes: Uint8Array
}

/** One bit of a copy; more often near the ends, where there are headers and tags. */
export function flip(world: World, bytes: Uint8Array): Flip {
  const { prng } = world
  const near = Math.min(bytes.length, 120)
  const position = prng.pick([
    () => prng.integer(bytes.length),
    () => prng.integer(bytes.length),
    () => prng.integer(near),
    () => bytes.length - 1 - prng.integer(near),
  ])()
  const copy = bytes.slice()
  copy[position] = (copy[position] as number) ^ (1 << prng.integer(8))
  return { position, bytes: copy }
}

export type TagKind = 'membershipTag' | 'confirmationTag'

/** Which tag a byte of a PublicMessage belongs to; null for a byte of something else. */
export function tagAt(world: World, message: Uint8Array, position: number): TagKind | null {
  const decoded = decodeMlsMessage('publicMessage', message)
  if (decoded === null) return null
  const { membershipTag, auth } = decoded.publicMessage
  let end = message.length
  const within = (length: number) => position >= end - length && position < end
  const { hashLength } = world.suite
  const prefix = 1
  if (membershipTag !== null) {
    if (within(hashLength)) return 'membershipTag'
    end -= hashLength + prefix
  }
  return auth.confirmationTag !== null && within(hashLength) ? 'confirmationTag' : null
}

export interface Damaged {
  readonly message: Uint8Array
  /** Who sent it, if a member. */
  readonly from: Seat | null
}

/** A proposal or commit with single bits flipped, before anybody has taken it as it was. */
export async function damageHandshake(world: World, sent: Damaged, times = 2): Promise<void> {
  const readers = world.seats.filter((seat) => seat !== sent.from)
  for (let time = 0; time < times; time++) {
    const damaged = flip(world, sent.message)
    if (readers.length > 0) {
      const tag = tagAt(world, sent.message, damaged.position)
      const goes = sent.from === null && tag === 'confirmationTag'
      await refusedByMember(world, world.prng.pick(readers), { ...damaged, goes })
    }
    await judgedByPublicGroup(world, sent.message, damaged)
  }
}

/** `goes`: whoever the message removes takes it all the same. */
export async function refusedByMember(
  world: World,
  seat: Seat,
  flipped: Flip & { readonly goes?: boolean },
): Promise<void> {
  const processing = { timeMs: NOW, psks: pskOf(world) }
  const result = await processMessage(seat.group, flipped.bytes, processing)
  if (result.kind === 'removed' && flipped.goes === true) return
  const where = `bit flipped in byte ${flipped.position}`
  must(result.kind === 'refused', `${seat.person.name} took a message with a ${where}`)
  count(world, 'flips refused by members')
}

async function judgedByPublicGroup(
  world: World,
  original: Uint8Array,
  { bytes, position }: Flip,
): Promise<void> {
  const result = await publicProcess(world.publicGroup, bytes, { timeMs: NOW })
  const tag = tagAt(world, original, position)
  if (tag === null || result.kind === 'refused') {
    must(result.kind === 'refused', `the public group took a bit flipped in byte ${position}`)
    count(world, 'flips refused by the public group')
    return
  }
  const intact = await publicProcess(world.publicGroup, original, { timeMs: NOW })
  must(intact.kind === result.kind, 'a flipped tag gives another kind of outcome')
  if (intact.kind === 'commit' && result.kind === 'commit') {
    sameButForTranscript(intact.group, result.group, tag === 'confirmationTag')
  }
  count(world, `flips of a ${tag} taken by the public group`)
}

function sameButForTranscript(a: PublicGroup, b: PublicGroup, differs: boolean): void {
  const same = equalBytes(encodeGroupContext(a.context), encodeGroupContext(b.context))
  must(same, 'a flipped tag changes the GroupContext')
  const interim = equalBytes(a.interimTranscriptHash, b.interimTranscriptHash)
  must(interim !== differs, 'the interim transcript hash covers the confirmation tag alone')
}
