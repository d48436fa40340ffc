/**
 * From items of a room to rows on the line: dates, groups of one person within five minutes, knots.
 * Pure; owns no words and no state.
 */
import type { TimelineItem } from '#sdk/views.ts'

export const groupGapMsMax = 5 * 60_000

export type MessageItem = Extract<TimelineItem, { kind: 'message' }>
export type EventItem = Extract<TimelineItem, { kind: 'event' }>
export type UnreadableItem = Extract<TimelineItem, { kind: 'unreadable' }>

export type TimelineRow =
  | { readonly kind: 'date'; readonly key: string; readonly time: number }
  | {
    readonly kind: 'message'
    readonly key: string
    readonly item: MessageItem
    /** First and last message of a group. */
    readonly head: boolean
    readonly tail: boolean
  }
  | { readonly kind: 'event'; readonly key: string; readonly item: EventItem }
  | { readonly kind: 'unreadable'; readonly key: string; readonly item: UnreadableItem }

function dayOf(time: number): string {
  const date = new Date(time)
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`
}

/** Whether `next` continues the group that `item` is in. */
function continues(item: TimelineItem | undefined, next: TimelineItem | undefined): boolean {
  return item?.kind === 'message' && next?.kind === 'message' && item.author === next.author &&
    item.own === next.own && next.time - item.time < groupGapMsMax &&
    dayOf(item.time) === dayOf(next.time)
}

/**
 * What makes an item's row its own. The own message keeps its row, and with it the focus, when it
 * comes from the queue into the log; what others say has its place, which none of them chooses.
 */
function keyOf(item: TimelineItem): string {
  if (item.kind !== 'message') return `at-${item.id}`
  return item.own ? `own-${item.id}` : `at-${item.position}`
}

/** Rows in the order of `items`. A list in which a key came twice would not be shown at all. */
export function timelineRows(items: readonly TimelineItem[]): TimelineRow[] {
  const rows: TimelineRow[] = []
  const keys = new Set<string>()
  let day = ''
  for (const [index, item] of items.entries()) {
    let key = keyOf(item)
    while (keys.has(key)) key += '+'
    keys.add(key)
    if (dayOf(item.time) !== day) {
      day = dayOf(item.time)
      rows.push({ kind: 'date', key: `date-${key}`, time: item.time })
    }
    if (item.kind === 'message') {
      const head = !continues(items[index - 1], item)
      const tail = !continues(item, items[index + 1])
      rows.push({ kind: 'message', key, item, head, tail })
    } else if (item.kind === 'event') rows.push({ kind: 'event', key, item })
    else rows.push({ kind: 'unreadable', key, item })
  }
  return rows
}
