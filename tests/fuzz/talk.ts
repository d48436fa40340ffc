/**
 * Application messages: everybody who may reads them, in any order, once. Owns sending and reading
 * within an epoch; who must not read them is `attackers.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { processMessage, protectApplication } from '#core/mls/messages.ts'
import { flip, refusedByMember } from './damage.ts'
import {
  adopt,
  count,
  isBefore,
  must,
  NOW,
  oneIn,
  type PastCommit,
  pskOf,
  type Seat,
  type SentApplication,
  shuffled,
  taken,
  type World,
} from './world.ts'

export async function talk(world: World): Promise<void> {
  const many = world.prng.pick([0, 1, 2, 2, 5])
  for (let index = 0; index < many; index++) world.messages.push(await say(world))
  for (const seat of world.seats) {
    for (const sent of shuffled(world, world.messages)) {
      if (!oneIn(world, 5)) await hear(world, seat, sent)
    }
  }
}

async function say(world: World): Promise<SentApplication> {
  const seat = world.prng.pick(world.seats)
  const content = world.entropy.randomBytes(world.prng.integer(100))
  const sent = taken(
    await protectApplication(seat.group, content, {
      authenticatedData: world.entropy.randomBytes(world.prng.integer(10)),
      paddingLength: world.prng.integer(3) * 16,
      entropy: world.entropy,
    }),
    'an application message',
  )
  adopt(seat, sent.group, sent.consumed)
  const known = new Set([seat])
  return { sender: seat.group.ownLeaf, message: sent.message, content, known }
}

async function hear(world: World, seat: Seat, sent: SentApplication): Promise<void> {
  const processing = { timeMs: NOW, psks: pskOf(world) }
  const { name } = seat.person
  if (seat.group.ownLeaf === sent.sender) {
    const own = await processMessage(seat.group, sent.message, processing)
    must(own.kind === 'refused', `${name} reads its own message`)
    return
  }
  if (oneIn(world, 6)) await refusedByMember(world, seat, flip(world, sent.message))
  const result = taken(await processMessage(seat.group, sent.message, processing), 'a message')
  must(result.kind === 'application', `an application message came as ${result.kind}`)
  must(equalBytes(result.content, sent.content), 'a message has another content')
  must(result.sender === sent.sender, 'a message has another sender')
  adopt(seat, result.group, result.consumed)
  sent.known.add(seat)
  const again = await processMessage(seat.group, sent.message, processing)
  const code = again.kind === 'refused' ? again.code : again.kind
  must(code === 'generationUsed', `a message that was read before is met with ${code}`)
  count(world, 'messages read')
}

/** Messages of the epoch before open late, with a state that was kept from then. */
export async function hearLate(world: World, past: PastCommit): Promise<void> {
  const processing = { timeMs: NOW, psks: pskOf(world) }
  for (const seat of world.seats) {
    const last = seat.kept?.at(-1)
    if (last === undefined || !isBefore(last, past)) continue
    for (const sent of past.messages) {
      const result = await processMessage(last, sent.message, processing)
      const code = result.kind === 'refused' ? result.code : result.kind
      const wanted = sent.known.has(seat) ? 'generationUsed' : 'application'
      must(code === wanted, `${seat.person.name} meets a late message with ${code}`)
      count(world, 'late messages')
    }
  }
}
