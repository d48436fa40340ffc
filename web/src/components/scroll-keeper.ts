/**
 * Keeps the reading position of a log that grows at both ends. Owns measuring and setting of the
 * scroll offset; owns no rows.
 */

const endSlackPx = 48

export class ScrollKeeper {
  #atEnd = true
  #fromEnd = 0
  #firstRow: string | null = null
  #lastRow: string | null = null

  /** Call before the rows change. */
  before(log: HTMLElement): void {
    this.#atEnd = this.isAtEnd(log)
    this.#fromEnd = log.scrollHeight - log.scrollTop
    this.#firstRow = idOf(rowsOf(log)[0])
    this.#lastRow = idOf(rowsOf(log).at(-1))
  }

  /**
   * Call after the rows changed: stays at the end, goes there with a message that was just written
   * here, and otherwise stays with what was in sight.
   */
  after(log: HTMLElement): void {
    const [first, last] = [rowsOf(log)[0], rowsOf(log).at(-1)]
    const written = idOf(last) !== this.#lastRow && last?.dataset['own'] === 'true'
    if (this.#atEnd || written) this.toEnd(log)
    else if (idOf(first) !== this.#firstRow) log.scrollTop = log.scrollHeight - this.#fromEnd
  }

  isAtEnd(log: HTMLElement): boolean {
    return log.scrollHeight - log.scrollTop - log.clientHeight < endSlackPx
  }

  toEnd(log: HTMLElement): void {
    log.scrollTop = log.scrollHeight
  }
}

function rowsOf(log: HTMLElement): HTMLElement[] {
  return [...log.querySelectorAll<HTMLElement>('[data-row]')]
}

function idOf(row: HTMLElement | undefined): string | null {
  return row?.dataset['id'] ?? null
}
