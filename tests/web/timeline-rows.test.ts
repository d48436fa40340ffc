/** Rows on the line: groups, dates and knots. Owns no look. */
import { deepEqual, equal } from 'node:assert/strict'
import type { TimelineItem } from '#sdk/views.ts'
import { groupGapMsMax, timelineRows } from '../../web/src/components/timeline-rows.ts'

const noon = new Date(2026, 4, 9, 12).getTime()
const dayMs = 24 * 60 * 60_000

function message(id: string, time: number, author = 'alice@hub.example'): TimelineItem {
  const own = author.startsWith('alice')
  return { kind: 'message', id, author, own, text: id, time, position: 1, delivery: 'sent' }
}

function joined(id: string, time: number): TimelineItem {
  const actor = 'alice@hub.example'
  return {
    kind: 'event',
    id,
    event: 'joined',
    actor,
    subject: 'bob@hub.example',
    time,
    position: 1,
  }
}

const shape = (items: readonly TimelineItem[]): string[] =>
  timelineRows(items).map((row) => {
    if (row.kind !== 'message') return row.kind
    return `${row.item.id}${row.head ? ' head' : ''}${row.tail ? ' tail' : ''}`
  })

Deno.test('a day begins with its date', () => {
  deepEqual(shape([message('a', noon), message('b', noon + dayMs)]), [
    'date',
    'a head tail',
    'date',
    'b head tail',
  ])
})

Deno.test('messages of one person within five minutes stand together', () => {
  const items = [
    message('a', noon),
    message('b', noon + groupGapMsMax - 1),
    message('c', noon + 2 * groupGapMsMax),
  ]
  deepEqual(shape(items), ['date', 'a head', 'b tail', 'c head tail'])
})

Deno.test('another person and a knot end a group', () => {
  const items = [
    message('a', noon),
    message('b', noon + 1, 'bob@hub.example'),
    joined('j', noon + 2),
    message('c', noon + 3, 'bob@hub.example'),
  ]
  deepEqual(shape(items), ['date', 'a head tail', 'b head tail', 'event', 'c head tail'])
})

Deno.test('every row has a key of its own', () => {
  const items = [message('a', noon), joined('j', noon), message('b', noon + dayMs)]
  const keys = timelineRows(items).map((row) => row.key)
  equal(new Set(keys).size, keys.length)
})

Deno.test('CONTENT-4: no two rows have one key, whatever the items say', () => {
  const bob = 'bob@hub.example'
  const at = (item: TimelineItem, position: number) => ({ ...item, position }) as TimelineItem
  const items = [
    at(message('same', noon, bob), 1),
    at(message('same', noon, bob), 2),
    at(message('same', noon, bob), 2),
    at(message('same', noon), 3),
    message('same', noon + dayMs),
    at(joined('same', noon), 4),
    at(joined('same', noon + dayMs), 5),
    at(message('same', noon, bob), 1),
  ]
  const keys = timelineRows(items).map((row) => row.key)
  equal(new Set(keys).size, keys.length)
})

Deno.test('an own message keeps its row when it gets its place', () => {
  const queued = { ...message('mine', noon), position: null, delivery: 'sending' } as TimelineItem
  const rowOf = (item: TimelineItem) => timelineRows([item]).find(({ kind }) => kind === 'message')
  equal(rowOf(queued)?.key, rowOf(message('mine', noon + 5))?.key)
})

Deno.test('a row keeps its key when earlier ones come above it', () => {
  const bob = 'bob@hub.example'
  const later = [message('b', noon + dayMs, bob), joined('j', noon + dayMs)]
    .map((item, index) => ({ ...item, position: index + 7 }) as TimelineItem)
  const keys = (items: readonly TimelineItem[]) =>
    timelineRows(items).filter(({ kind }) => kind !== 'date').map(({ key }) => key)
  deepEqual(keys([message('a', noon, bob), ...later]).slice(1), keys(later))
})
