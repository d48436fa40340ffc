/**
 * Random stories of one room: people on device machines, a hostile member, a hub that begins anew,
 * in interleavings that a seed chooses. At the end of each everybody has the same room, every
 * message stands once, in order and for all who were there, and log, hub and stores agree.
 * `KALANDRA_STORIES` tells more of them, from `KALANDRA_SEED` on.
 */
import { ok } from 'node:assert/strict'
import { LIES } from '../support/hostile-member.ts'
import { Story, type StoryEnd, type StoryPlan } from '../support/sim-story.ts'

type Kind = Omit<StoryPlan, 'seed' | 'people' | 'turns'>

const HONEST: Kind = {
  lies: [],
  falseVotes: false,
  cuts: false,
  restarts: false,
  crashes: false,
  removes: false,
  busy: false,
}
const TURNS = 60
const COUNT = Number(Deno.env.get('KALANDRA_STORIES') ?? 2)
const FIRST = Number(Deno.env.get('KALANDRA_SEED') ?? 0)

async function tell(kind: Kind, first: number): Promise<StoryEnd[]> {
  const ends: StoryEnd[] = []
  for (let seed = FIRST + first; seed < FIRST + first + COUNT; seed++) {
    const story = new Story({ ...kind, seed, people: 2 + seed % 5, turns: TURNS })
    try {
      ends.push(await story.play())
    } catch (error) {
      console.error(`seed ${seed}:\n${story.trace.join('\n')}`)
      throw error
    }
  }
  return ends
}

/** Stories in which nothing was decided would show nothing. */
function hadFinals(ends: readonly StoryEnd[]): void {
  ok(ends.every(({ finals, messages }) => finals > 0 && messages > 0), 'something happened')
}

function hadVoids(ends: readonly StoryEnd[]): void {
  hadFinals(ends)
  ok(ends.some(({ voids }) => voids > 0), 'something became void')
}

Deno.test('VOTE-3, DEV-5: honest people who write, invite and add at once', async () => {
  // 8: a refusal came behind the commit that caused it.
  hadFinals(await tell(HONEST, 8))
})

Deno.test('HUB-3, DEV-7: sessions drop, hub and devices begin anew', async () => {
  hadFinals(await tell({ ...HONEST, cuts: true, restarts: true, crashes: true }, 22))
})

Deno.test('VOTE-3, VOTE-4: a member who makes bad commits and votes falsely', async () => {
  const lies = LIES.filter((lie) => lie !== 'onePathSecret')
  hadVoids(await tell({ ...HONEST, lies, falseVotes: true }, 32))
})

Deno.test('VOTE-6: frames on their way while their epoch is left and comes back', async () => {
  // 105, 108 and 110 had messages twice.
  hadVoids(await tell({ ...HONEST, lies: LIES, falseVotes: true, busy: true }, 105))
})

Deno.test('VOTE-7, JOIN-5: some follow, some cannot, all else goes wrong', async () => {
  const all = { cuts: true, restarts: true, crashes: true, falseVotes: true, busy: true }
  hadVoids(await tell({ ...HONEST, ...all, lies: LIES }, 137))
})
