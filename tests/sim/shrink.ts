/**
 * Makes a failing run smaller: fewer ticks, faults, operations, devices and rooms, as long as the
 * same invariant breaks. Owns the order in which things are left out.
 */
import { FAULTS, OPERATIONS, planOf, type PlanOptions, STRAINS } from './plan.ts'
import { runPlan } from './run.ts'

/** The smallest options that were found; null where the run does not fail. */
export async function shrink(
  options: PlanOptions,
  tell: (options: PlanOptions) => void,
): Promise<PlanOptions | null> {
  const broken = await brokenBy(options)
  if (broken === null) return null
  let best = options
  const attempt = async (smaller: PlanOptions) => {
    if (await brokenBy(smaller) !== broken) return false
    best = smaller
    tell(best)
    return true
  }
  await shorten(best, attempt)
  for (const name of [...Object.keys(FAULTS), ...Object.keys(OPERATIONS), ...STRAINS]) {
    const without = best.without ?? []
    if (!without.includes(name)) await attempt({ ...best, without: [...without, name] })
  }
  while ((best.rooms ?? 3) > 1 && await attempt({ ...best, rooms: (best.rooms ?? 3) - 1 }));
  while ((best.devices ?? 8) > 2 && await attempt({ ...best, devices: (best.devices ?? 8) - 1 }));
  await shorten(best, attempt)
  return best
}

/** Halves what may be left out of the ticks. */
async function shorten(
  from: PlanOptions,
  attempt: (smaller: PlanOptions) => Promise<boolean>,
): Promise<void> {
  let [low, high] = [0, from.ticks ?? 2_000]
  while (high - low > 10) {
    const ticks = Math.floor((low + high) / 2)
    if (await attempt({ ...from, ticks })) high = ticks
    else low = ticks
  }
}

async function brokenBy(options: PlanOptions): Promise<string | null> {
  const { report } = await runPlan(planOf(options))
  return report.violations[0]?.invariant ?? null
}
