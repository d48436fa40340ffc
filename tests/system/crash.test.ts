/**
 * A hub that is killed in the middle of a burst, again and again, on one folder. Owns the proof
 * that `accepted` means kept: what was acknowledged stands in the log at its position, once, in
 * order.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { logPosition } from '#core/base/ids.ts'
import type { Head } from '#core/identity/head.ts'
import { verifyHead } from '#core/identity/head.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createPrng } from '../core/prng.ts'
import { type HubProcess, startHub } from '../e2e/support/hub.ts'
import { createWebSocketDialer } from '../support/hub-client.ts'
import { type Answer, ProtocolSession, signIn, signUp } from '../support/protocol-client.ts'
import { entropy, native, within } from '../support/protocol-parts.ts'
import { createRoom, FollowedLog, type RoomClient } from '../support/room-client.ts'

const KILLS = 10
/** Frames on the way at any time of a burst. */
const WINDOW = 512
const ACKNOWLEDGED_MAX = 192

const dialer = createWebSocketDialer()

/** What the sender knows: texts in the order of their sending, and positions that were said. */
interface Story {
  /** Texts that do not stand in the log yet. */
  waiting: string[]
  /** Texts that stand in the log as far as the sender knows, in order. */
  readonly told: string[]
  readonly acknowledged: Map<string, bigint>
}

async function sealAll(room: RoomClient, texts: readonly string[]): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  for (let from = 0; from < texts.length; from += LIMITS.burstFramesMax) {
    frames.push(...await room.sealBurst(texts.slice(from, from + LIMITS.burstFramesMax)))
  }
  return frames
}

/**
 * Sends with `WINDOW` frames always on the way, and kills the hub at the very moment of an
 * acknowledgement, with the frame that answers it just sent.
 */
async function burst(
  hub: HubProcess,
  room: RoomClient,
  told: { readonly story: Story; readonly killAfter: number },
): Promise<readonly Answer[]> {
  const { story, killAfter } = told
  const frames = await sealAll(room, story.waiting)
  const killed = Promise.withResolvers<void>()
  const answers: Promise<Answer>[] = []
  let acknowledgedCount = 0
  const sendNext = (): void => {
    const index = answers.length
    const frame = frames[index]
    const text = story.waiting[index]
    if (frame === undefined || text === undefined) return
    answers.push(
      room.submit(frame).then((answer) => {
        if (answer.kind === 'refused') killed.reject(new Error(`refused: ${answer.refusal.kind}`))
        if (answer.kind !== 'accepted' || answer.position === null) return answer
        ok(!story.acknowledged.has(text), 'a frame is acknowledged once')
        story.acknowledged.set(text, answer.position)
        acknowledgedCount++
        if (acknowledgedCount <= killAfter) sendNext()
        if (acknowledgedCount === killAfter) hub.kill().then(killed.resolve, killed.reject)
        return answer
      }),
    )
  }
  for (let count = 0; count < WINDOW; count++) sendNext()
  await within(killed.promise, 'the kill')
  await within(room.session.closed, 'the end of the session')
  return Promise.all(answers)
}

/** After a restart: what of the burst stands in the log, and what has to be sent again. */
function settle(room: RoomClient, story: Story, sent: number): number {
  const landed = frameCount(room.log) - story.told.length
  ok(landed >= 0 && landed <= sent, 'the log holds a part of what was sent')
  const texts = story.waiting.splice(0, landed)
  story.told.push(...texts)
  for (const text of story.waiting) {
    ok(!story.acknowledged.has(text), `"${text}" was acknowledged and is not in the log`)
  }
  return landed
}

const frameCount = (log: FollowedLog): number =>
  log.entries.filter(({ header }) => header.entry === 'frame').length

/** The hub's word on the end of the log is ours (LOG-3). */
async function headAgrees(room: RoomClient, session: ProtocolSession): Promise<void> {
  const head: Head = await session.next('head')
  const { greeting } = session
  ok(greeting !== null)
  const { hubDomain, hubKey } = greeting
  ok(await verifyHead(native, { hubDomain, room: room.id, head }, hubKey), 'a signed head')
  strictEqual(head.position, room.log.next - 1n)
  deepStrictEqual(head.entryHash, room.log.headHash)
}

async function textsOf(reader: RoomClient): Promise<ReadonlyMap<bigint, string>> {
  const texts = new Map<bigint, string>()
  for (const [position, { header, body }] of reader.log.entries.entries()) {
    if (header.entry !== 'frame') continue
    ok(body.kind === 'whole')
    texts.set(BigInt(position), await reader.openText(body.bytes))
  }
  return texts
}

/** A seed from the environment repeats a run's choice of moments. */
function seed(): number {
  const fresh = entropy.randomBytes(4)
  const given = Number(Deno.env.get('KALANDRA_SEED') ?? Number.NaN)
  const chosen = Number.isInteger(given) ? given : new DataView(fresh.buffer).getUint32(0)
  console.log(`seed ${chosen} (KALANDRA_SEED repeats it)`)
  return chosen
}

/** Kills, restarts and catches up; the frames that did not land go first in the next burst. */
async function killAndReturn(
  hub: HubProcess,
  room: RoomClient,
  told: { readonly story: Story; readonly killAfter: number },
): Promise<void> {
  const { story, killAfter } = told
  const answers = await burst(hub, room, told)
  const lost = answers.filter(({ kind }) => kind === 'lost').length
  const accepted = answers.filter(({ kind }) => kind === 'accepted').length
  ok(lost > 0, 'the burst was not over')
  ok(accepted >= killAfter, 'nothing but acknowledgements and silence')
  strictEqual(lost + accepted, answers.length, 'no frame was refused')
  await hub.start()
  const session = await signIn(dialer, `http://localhost:${hub.port}`, room.account)
  const subscribed = await room.follow(session)
  await headAgrees(room, session)
  const landed = settle(room, story, answers.length)
  console.log(`killed after ${accepted} of ${answers.length} acknowledgements, ${landed} stored`)
  // KEY-5: the hub knows the generations of what it kept.
  const [last] = subscribed.lastGenerations
  ok(last !== undefined && last.lane === 0, 'the last generation of the lane')
}

Deno.test(
  'HUB-3, SEQ-1: ten kills in the middle of a burst lose and repeat nothing acknowledged',
  async () => {
    const random = createPrng(seed())
    const hub = await startHub()
    try {
      const endpoint = `http://localhost:${hub.port}`
      const alice = await signUp(dialer, endpoint, 'alice')
      const bob = await signUp(dialer, endpoint, 'bob')
      const room = await createRoom(alice.account, alice.session)
      const reader = await room.add(bob.account, bob.session)
      await bob.session.leave()
      const story: Story = { waiting: [], told: [], acknowledged: new Map() }
      let count = 0
      for (let kill = 0; kill < KILLS; kill++) {
        // Half of them at once: an acknowledgement that runs ahead of its sync is caught there.
        const killAfter = 1 + random.integer(kill % 2 === 0 ? 2 : ACKNOWLEDGED_MAX)
        while (story.waiting.length < WINDOW + killAfter) story.waiting.push(`text ${count++}`)
        await killAndReturn(hub, room, { story, killAfter })
      }
      await finish(room, story)
      await compare({ room, reader, story, count, endpoint })
      await room.session.leave()
    } finally {
      await hub.close()
    }
  },
)

/** Sends what is left: all of it is taken, at the next positions. */
async function finish(room: RoomClient, story: Story): Promise<void> {
  const frames = await sealAll(room, story.waiting)
  const first = room.log.next
  const answers = await Promise.all(frames.map((frame) => room.submit(frame)))
  for (const [index, answer] of answers.entries()) {
    const position = first + BigInt(index)
    deepStrictEqual(answer, { kind: 'accepted', position })
    story.acknowledged.set(story.waiting[index] as string, position)
  }
  await room.log.reach(first + BigInt(frames.length))
  story.told.push(...story.waiting.splice(0))
}

/** The reader fetches everything from position 0 and opens it; sender and reader have one log. */
async function compare(
  of: {
    readonly room: RoomClient
    readonly reader: RoomClient
    readonly story: Story
    readonly count: number
    readonly endpoint: string
  },
): Promise<void> {
  const { room, reader, story, count, endpoint } = of
  const session = await signIn(dialer, endpoint, reader.account)
  reader.log.entries.length = 0
  reader.log.hashes.length = 0
  const { next } = await reader.follow(session)
  strictEqual(next, logPosition(room.log.next))
  await headAgrees(reader, session)
  deepStrictEqual(reader.log.hashes, room.log.hashes)
  const texts = await textsOf(reader)
  const expected = Array.from({ length: count }, (_, index) => `text ${index}`)
  deepStrictEqual([...texts.values()], expected, 'each text once, in order')
  deepStrictEqual(story.told, expected)
  for (const [text, position] of story.acknowledged) strictEqual(texts.get(position), text)
  ok(story.acknowledged.size > 0)
  await session.leave()
}
