/**
 * Work on several cores: each lane is a worker that is given one order after the other. Owns the
 * workers; which order comes next, and what an answer means, is the caller's.
 */

export interface Drain<Order, Answer> {
  /** Module of the worker. */
  readonly worker: URL
  readonly lanes: number
  /** The next order; null when there is none, for any lane. */
  next(): Order | null
  /** An answer that came; true when its worker has nothing more to say to its order. */
  answered(answer: Answer, order: Order): boolean
}

/** Resolves when all orders are answered; rejects where a worker throws. */
export async function drain<Order, Answer>(work: Drain<Order, Answer>): Promise<void> {
  await Promise.all(Array.from({ length: work.lanes }, () => drainLane(work)))
}

async function drainLane<Order, Answer>(work: Drain<Order, Answer>): Promise<void> {
  let order = work.next()
  if (order === null) return
  const worker = new Worker(work.worker, { type: 'module' })
  try {
    for (; order !== null; order = work.next()) await answer(worker, work, order)
  } finally {
    worker.terminate()
  }
}

function answer<Order, Answer>(
  worker: Worker,
  { answered }: Drain<Order, Answer>,
  order: Order,
): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data: said }: MessageEvent<Answer>) => {
      if (answered(said, order)) resolve()
    }
    worker.onerror = (event) => {
      reject(new Error(`${event.message}, of ${JSON.stringify(order)}`))
    }
    worker.postMessage(order)
  })
}
