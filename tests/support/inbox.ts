/** A queue that a test awaits: what happened, in order, without a clock. */
export class Inbox<T> {
  readonly #items: T[] = []
  readonly #waiting: ((item: T) => void)[] = []

  push(item: T): void {
    const taker = this.#waiting.shift()
    if (taker === undefined) this.#items.push(item)
    else taker(item)
  }

  /** The next item, as soon as there is one. */
  next(): Promise<T> {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve(item)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Items that nobody has taken. */
  get size(): number {
    return this.#items.length
  }
}
