/** A worker that explores one world after another. Owns nothing but the order. */
import type { Report } from './search.ts'
import { explorationOf } from './worlds.ts'

/** What a lane is asked for; states above the limit of a world are left alone. */
export interface LaneOrder {
  readonly worlds: readonly string[]
  readonly statesMax: number | null
}

/** What a worker's global scope is, of that which is needed here. */
interface Host {
  onmessage: ((event: MessageEvent<LaneOrder>) => void) | null
  /** Null: all that was asked for is visited. */
  postMessage(report: Report | null): void
}

const host = globalThis as unknown as Host
host.onmessage = ({ data: order }) => void visit(order)

async function visit({ worlds, statesMax }: LaneOrder): Promise<void> {
  for (const name of worlds) {
    const world = explorationOf(name)
    if (world === null) continue
    const { limits } = world
    host.postMessage(await world.explore({ ...limits, statesMax: statesMax ?? limits.statesMax }))
  }
  host.postMessage(null)
}
