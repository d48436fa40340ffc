/**
 * Keeps the reading position of a log that grows at both ends. Owns measuring and setting of the
 * scroll offset; owns no rows.
 */

const endSlackPx = 48

export class ScrollKeeper {
  #atEnd = true
  #fromEnd = 0
  #firstRow: string | null = null

  /** Call before the rows change. */
  before(log: HTMLElement): void {
    this.#atEnd = this.isAtEnd(log)
    this.#fromEnd = log.scrollHeight - log.scrollTop
    this.#firstRow = firstRowOf(log)
  }

  /** Call after the rows changed: stays at the end, or with what was in sight. */
  after(log: HTMLElement): void {
    if (this.#atEnd) this.toEnd(log)
    else if (firstRowOf(log) !== this.#firstRow) log.scrollTop = log.scrollHeight - this.#fromEnd
  }

  isAtEnd(log: HTMLElement): boolean {
    return log.scrollHeight - log.scrollTop - log.clientHeight < endSlackPx
  }

  toEnd(log: HTMLElement): void {
    log.scrollTop = log.scrollHeight
  }
}

function firstRowOf(log: HTMLElement): string | null {
  return log.querySelector('[data-row]')?.getAttribute('data-id') ?? null
}
