/** A member that says one message in two frames: the others read it once. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { RoomView } from '#sdk'
import { startHub } from '../e2e/support/hub.ts'
import { sayContent, textOf } from '../support/hostile-speech.ts'
import { comeByLink } from '../support/real-stranger.ts'
import { openPerson, roomShows, signUp, texts } from './people.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

Deno.test('CONTENT-4: a message of two frames is read and counted once', options, async () => {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    await signUp(alice, 'alice')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    const link = await alice.sdk.invite({ room })
    const { device: mallory, room: joined } = await comeByLink({ endpoint, name: 'mallory' }, link)
    await roomShows(alice, room, (view) => view.members.length === 2, 'two members')

    const twice = textOf(mallory, joined, 'said twice')
    const first = await sayContent(mallory, joined, twice)
    await sayContent(mallory, joined, textOf(mallory, joined, 'between'))
    await sayContent(mallory, joined, twice)
    const [noContent] = await mallory.seal(joined)
    ok(noContent !== undefined)
    await mallory.position(mallory.submit(joined, noContent))
    const isLast = ({ items }: RoomView) => items.at(-1)?.kind === 'unreadable'
    const view = await roomShows(alice, room, isLast, 'what no message is')
    deepStrictEqual(texts(view), ['said twice', 'between'])
    strictEqual(view.items.find(({ position }) => position === Number(first))?.kind, 'message')
    strictEqual(new Set(view.items.map(({ id }) => id)).size, view.items.length)
    strictEqual(view.summary.lastText, 'between', 'what is said again is not the last word')
    strictEqual(view.summary.unreadCount, 2)
    mallory.hangUp()
    await alice.sdk.close()
    deepStrictEqual(alice.faults, [])
  } finally {
    await hub.close()
  }
})
