/**
 * Arrow keys in a list of rows marked `data-row`. Owns the movement of focus; owns no rows.
 */

function rowsOf(container: HTMLElement): HTMLElement[] {
  return [...container.querySelectorAll<HTMLElement>('[data-row]')]
}

/** A knot takes focus on its summary, any other row itself. */
function focusRow(row: HTMLElement | undefined): void {
  const target = row?.querySelector<HTMLElement>('summary') ?? row
  target?.focus({ preventScroll: true })
  row?.scrollIntoView({ block: 'nearest' })
}

/** Up, Down, Home and End; anything else passes. */
export function moveAlongRows(container: HTMLElement, event: KeyboardEvent): void {
  const rows = rowsOf(container)
  const focused = document.activeElement
  const current = rows.findIndex((row) => focused !== null && row.contains(focused))
  const end = rows.length - 1
  const next = new Map([
    ['ArrowUp', current === -1 ? end : Math.max(0, current - 1)],
    ['ArrowDown', current === -1 ? end : Math.min(end, current + 1)],
    ['Home', 0],
    ['End', end],
  ]).get(event.key)
  if (next === undefined || rows.length === 0) return
  event.preventDefault()
  focusRow(rows[next])
}

/** Focus on the newest row. */
export function focusLastRow(container: HTMLElement): void {
  focusRow(rowsOf(container).at(-1))
}
