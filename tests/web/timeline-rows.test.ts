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
